//! Access tokens: what is known of one, however it is written.

use std::sync::Arc;

use super::{
    authentication::Authentication,
    id::{AccountId, ClientId, FamilyId, GroupId, MemberId, TenantId, TokenId},
    ident::{Ident, Idents},
    position::Position,
    scope::Scopes,
};
use crate::time::Time;

/// An access token's content: what a JWT says in its claims, and what the store keeps of every token. Times are whole
/// seconds.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct AccessToken {
    /// `jti`. Not in the record, whose key it is.
    #[cbor(n(0), with = "implied")]
    pub id: TokenId,
    /// `ten`.
    #[n(1)]
    pub tenant: TenantId,
    /// The client that obtained it.
    #[n(2)]
    pub client: ClientId,
    /// What it acts as.
    #[n(3)]
    pub subject: Subject,
    /// What it may be used for.
    #[n(4)]
    pub scopes: Scopes,
    /// Whom it is meant for.
    #[n(5)]
    pub audience: Audience,
    #[n(6)]
    pub format: Format,
    /// Seconds since the epoch.
    #[n(7)]
    pub issued_secs: u64,
    /// Seconds of life; `None`: eternal.
    #[n(8)]
    pub ttl_secs: Option<u64>,
    /// The log's confirmed head that its issuer read at the start of the call.
    #[n(9)]
    pub rev: Position,
    /// The key that signed it (JWT).
    #[n(10)]
    pub signing_key: Option<KeyId>,
    /// `act`.
    #[n(11)]
    pub actor: Option<Actor>,
    /// `anc`: ancestors of the subject's account, nearest first.
    #[n(12)]
    pub ancestors: Vec<AccountId>,
    #[n(13)]
    pub session: Option<SessionId>,
    /// `fam`.
    #[n(14)]
    pub family: Option<FamilyId>,
    /// `src`: what else ends this token when it ends, at most 16.
    #[n(15)]
    pub sources: Vec<Source>,
    /// `opt`: feature options as JSON text. Not stored for JWTs, which carry them.
    #[n(16)]
    pub options: Option<Json>,
    /// `ext`: free claims as JSON text. Not stored for JWTs.
    #[n(17)]
    pub claims: Option<Json>,
    /// Digest of the request body, when the token was issued under a `request_id`.
    #[n(18)]
    pub request: Option<RequestDigest>,
    /// The client's own tenant, if another than `tenant`. Only in the store.
    #[n(19)]
    pub home: Option<TenantId>,
    /// `amr` and `auth_time`: of a member that signed in.
    #[n(20)]
    pub authentication: Option<Authentication>,
}

/// What a token acts as.
#[derive(Clone, Debug, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
pub enum Subject {
    /// The client itself, in its tenant or within the account that confines it.
    #[n(0)]
    Client(#[n(0)] Option<AccountId>),
    /// An account and its descendants.
    #[n(1)]
    Account(#[n(0)] AccountId),
    /// A member, acting in one account.
    #[n(2)]
    Member(#[n(0)] AccountId, #[n(1)] MemberId),
    /// An entity group, or one of its members acting in it.
    #[n(3)]
    Group(#[n(0)] GroupId, #[n(1)] Option<MemberId>),
    /// Another client than the one that obtained the token by exchange; with the account that confines it.
    #[n(8)]
    OtherClient(#[n(0)] ClientId, #[n(1)] Option<AccountId>),
}

/// How a token is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Format {
    #[n(0)]
    Jwt,
    #[n(1)]
    Opaque,
}

/// Who acts on behalf of the subject (RFC 8693 §4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
pub enum Actor {
    /// The client that obtained the token, as itself. By far the most common, so it costs nothing more to store.
    #[n(0)]
    Client,
    /// Somebody else, through that client.
    #[n(1)]
    Other(#[n(0)] String),
    /// Whoever acts now, then whoever acted before; at most 4, and never what the others can say.
    #[n(2)]
    Chain(#[n(0)] Vec<Acting>),
}

/// One who acts on behalf of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Acting {
    #[n(0)]
    pub sub: String,
    /// The client through which it acts.
    #[n(1)]
    pub client: ClientId,
}

/// What ends a token when it ends, besides what the token itself names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
pub enum Source {
    /// A token of the same tenant.
    #[n(0)]
    Token(#[n(0)] TokenId),
    /// A family of the same tenant.
    #[n(1)]
    Family(#[n(0)] FamilyId),
    /// Anything else that the revocation log can name; a client stands for its admission, too.
    #[n(2)]
    Named(#[cbor(n(0), with = "named")] Ident),
}

/// Audiences. Those that begin with the tenant's issuer are stored without it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct Audience(#[n(0)] Vec<String>);

macro_rules! text {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(&self, e: &mut minicbor::Encoder<W>, _: &mut C) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                Ok(Self(d.str()?.into()))
            }
        }
    )*};
}

text! {
    /// The id of a session, as the platform chose it.
    SessionId;
    /// The id of a signing key (`kid`).
    KeyId;
    /// JSON text.
    Json;
}

/// SHA-256 of a request body, cut to 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct RequestDigest(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

/// An id that the record does not repeat.
mod implied {
    use super::TokenId;

    pub fn encode<C, W: minicbor::encode::Write>(
        _: &TokenId,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.null()?.ok()
    }

    pub fn decode<C>(d: &mut minicbor::Decoder<'_>, _: &mut C) -> Result<TokenId, minicbor::decode::Error> {
        d.skip()?;
        Ok(TokenId::from_bytes([0; 16]))
    }
}

/// An identifier as the log writes it.
mod named {
    use super::Ident;

    pub fn encode<C, W: minicbor::encode::Write>(
        ident: &Ident,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&ident.to_string())?.ok()
    }

    pub fn decode<C>(d: &mut minicbor::Decoder<'_>, _: &mut C) -> Result<Ident, minicbor::decode::Error> {
        d.str()?.parse().map_err(|_| minicbor::decode::Error::message("malformed identifier"))
    }
}

/// The most `src` of a token: what four delegations, each through a client of its own, hang on.
pub const MAX_SOURCES: usize = 16;
/// The most actors of a token.
pub const MAX_ACTORS: usize = 4;

// === impl AccessToken ===

impl AccessToken {
    /// What the store keeps of it.
    pub fn to_record(&self) -> Vec<u8> {
        super::to_record(self)
    }

    /// Reads the record that stands under `id`.
    pub fn from_record(record: &[u8], id: &TokenId) -> Result<Self, minicbor::decode::Error> {
        Ok(Self { id: id.clone(), ..minicbor::decode(record)? })
    }

    pub fn issued(&self) -> Time {
        Time::from_secs(self.issued_secs)
    }

    /// When it expires; NEVER for an eternal token.
    pub fn expires(&self) -> Time {
        match self.ttl_secs {
            Some(ttl) => Time::from_secs(self.issued_secs.saturating_add(ttl)),
            None => Time::NEVER,
        }
    }

    /// The account that it acts as, or that confines its client.
    pub const fn account(&self) -> Option<&AccountId> {
        self.subject.account()
    }

    /// The claim `sub`.
    pub fn sub(&self) -> String {
        match &self.subject {
            Subject::Client(_) => self.client.to_string(),
            Subject::Account(account) => account.to_string(),
            Subject::Member(_, member) | Subject::Group(_, Some(member)) => member.to_string(),
            Subject::Group(group, None) => group.to_string(),
            Subject::OtherClient(client, _) => client.to_string(),
        }
    }

    /// What it acts as, said of a token that `client` obtains in exchange for it.
    pub fn subject_for(&self, client: &ClientId) -> Subject {
        match &self.subject {
            Subject::Account(_) | Subject::Member(..) | Subject::Group(..) => self.subject.clone(),
            Subject::Client(account) if self.client == *client => Subject::Client(account.clone()),
            Subject::Client(account) => Subject::OtherClient(self.client.clone(), account.clone()),
            Subject::OtherClient(own, account) if own == client => Subject::Client(account.clone()),
            Subject::OtherClient(own, account) => Subject::OtherClient(own.clone(), account.clone()),
        }
    }

    /// The `sub` of whoever acts through it, else its own: the principal that created it, unless it was exchanged.
    pub fn creator(&self) -> String {
        self.actors().into_iter().next().map_or_else(|| self.sub(), |acting| acting.sub)
    }

    /// Who acts through it, then who acted before.
    pub fn actors(&self) -> Vec<Acting> {
        let acting = |sub: String| vec![Acting { sub, client: self.client.clone() }];
        match &self.actor {
            None => Vec::new(),
            Some(Actor::Client) => acting(self.client.to_string()),
            Some(Actor::Other(sub)) => acting(sub.clone()),
            Some(Actor::Chain(chain)) => chain.clone(),
        }
    }

    /// Whether somebody acts through it, or it came from other tokens.
    pub const fn is_derived(&self) -> bool {
        self.actor.is_some() || !self.sources.is_empty()
    }

    /// Every identifier by which the revocation log can name it.
    pub fn idents(&self) -> Idents {
        let mut idents = vec![Ident::Token(self.tenant.clone(), self.id.clone())];
        idents.extend(self.family.clone().map(|family| Ident::Family(self.tenant.clone(), family)));
        let own = idents.len();
        idents.extend([
            Ident::Client(self.client.clone()),
            Ident::Admission(self.tenant.clone(), self.client.clone()),
            Ident::Tenant(self.tenant.clone()),
        ]);
        if let Some(key) = &self.signing_key {
            idents.push(Ident::SigningKey(self.tenant.clone(), key.shared()));
        }
        lineage(&mut idents, &self.tenant, self.session.as_ref(), &self.subject, &self.ancestors, &self.sources);
        Idents::new(idents, own)
    }

    /// What an entry spares when its `except` names this token's holder: the family, else the token.
    pub fn except(&self) -> Ident {
        match &self.family {
            Some(family) => Ident::Family(self.tenant.clone(), family.clone()),
            None => Ident::Token(self.tenant.clone(), self.id.clone()),
        }
    }
}

/// The identifiers that a token shares with its family.
pub(super) fn lineage(
    idents: &mut Vec<Ident>,
    tenant: &TenantId,
    session: Option<&SessionId>,
    subject: &Subject,
    ancestors: &[AccountId],
    sources: &[Source],
) {
    idents.extend(session.map(|session| Ident::Session(tenant.clone(), session.shared())));
    if let Some(account) = subject.account() {
        idents.push(Ident::Account(tenant.clone(), account.clone()));
        idents.push(Ident::Subtree(tenant.clone(), account.clone()));
    }
    if let Some(member) = subject.member() {
        idents.push(Ident::Member(tenant.clone(), member.clone()));
    }
    match subject {
        Subject::Member(account, member) => {
            idents.push(Ident::Membership(tenant.clone(), account.clone(), member.clone()));
        }
        Subject::Group(group, member) => {
            idents.push(Ident::Group(tenant.clone(), group.clone()));
            idents
                .extend(member.iter().map(|member| Ident::GroupMember(tenant.clone(), group.clone(), member.clone())));
        }
        Subject::Client(_) | Subject::Account(_) | Subject::OtherClient(..) => {}
    }
    idents.extend(ancestors.iter().map(|id| Ident::Subtree(tenant.clone(), id.clone())));
    for source in sources {
        idents.push(match source {
            Source::Token(id) => Ident::Token(tenant.clone(), id.clone()),
            Source::Family(id) => Ident::Family(tenant.clone(), id.clone()),
            Source::Named(ident) => ident.clone(),
        });
        if let Source::Named(Ident::Client(client)) = source {
            idents.push(Ident::Admission(tenant.clone(), client.clone()));
        }
    }
}

// === impl Subject ===

impl Subject {
    /// The account that it is, that it acts in, or that confines it.
    pub const fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Client(account) | Self::OtherClient(_, account) => account.as_ref(),
            Self::Account(account) | Self::Member(account, _) => Some(account),
            Self::Group(..) => None,
        }
    }

    /// The member that it is.
    pub const fn member(&self) -> Option<&MemberId> {
        match self {
            Self::Member(_, member) => Some(member),
            Self::Group(_, member) => member.as_ref(),
            Self::Client(_) | Self::Account(_) | Self::OtherClient(..) => None,
        }
    }

    /// The entity group that it is, or that it acts in.
    pub const fn group(&self) -> Option<&GroupId> {
        match self {
            Self::Group(group, _) => Some(group),
            Self::Client(_) | Self::Account(_) | Self::Member(..) | Self::OtherClient(..) => None,
        }
    }
}

// === impl Actor ===

impl Actor {
    /// Whoever acts now, then whoever acted before, through a token that `client` obtained.
    pub fn new(chain: Vec<Acting>, client: &ClientId) -> Option<Self> {
        match chain.as_slice() {
            [] => None,
            [only] if only.client == *client && only.sub == client.to_string() => Some(Self::Client),
            [only] if only.client == *client => Some(Self::Other(only.sub.clone())),
            _ => Some(Self::Chain(chain)),
        }
    }
}

// === impl Source ===

impl Source {
    /// What a token of `tenant` that hangs on a holder of `ident` must record; `None`: nothing.
    pub fn of(ident: &Ident, tenant: &TenantId) -> Option<Self> {
        match ident {
            Ident::Token(own, id) if own == tenant => Some(Self::Token(id.clone())),
            Ident::Family(own, id) if own == tenant => Some(Self::Family(id.clone())),
            // The client's own entry tells the first; the others are never revoked.
            Ident::Admission(..) | Ident::Entity(..) | Ident::Role(..) | Ident::IdentityProfile(..) => None,
            Ident::Token(..)
            | Ident::Family(..)
            | Ident::Session(..)
            | Ident::Client(_)
            | Ident::Account(..)
            | Ident::Subtree(..)
            | Ident::Member(..)
            | Ident::Membership(..)
            | Ident::Group(..)
            | Ident::GroupMember(..)
            | Ident::Tenant(_)
            | Ident::SigningKey(..) => Some(Self::Named(ident.clone())),
        }
    }

    /// Reads what the claim `src` of a token of `tenant` says.
    pub fn parse(text: &str, tenant: &TenantId) -> Option<Self> {
        if let Ok(source) = text.parse().map(Self::Token).or_else(|_| text.parse().map(Self::Family)) {
            return Some(source);
        }
        // One text for each.
        Self::of(&text.parse().ok()?, tenant).filter(|source| matches!(source, Self::Named(_)))
    }
}

// === impl Audience ===

impl Audience {
    /// What an audience that begins with the issuer begins with in the store.
    const ISSUER: char = '~';

    /// Takes absolute audiences; `issuer` is the tenant's.
    pub fn new(audiences: impl IntoIterator<Item = impl AsRef<str>>, issuer: &str) -> Self {
        let relative = audiences.into_iter().map(|audience| {
            let audience = audience.as_ref();
            match audience.strip_prefix(issuer) {
                // Not "{issuer}~x", which would read back as the literal "~x".
                Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{}{rest}", Self::ISSUER),
                // A literal "~" doubles, so that it reads back as itself.
                _ if audience.starts_with(Self::ISSUER) => format!("{}{audience}", Self::ISSUER),
                _ => audience.to_owned(),
            }
        });
        Self(relative.collect())
    }

    /// The absolute audiences.
    pub fn absolute<'a>(&'a self, issuer: &'a str) -> impl Iterator<Item = String> + 'a {
        self.0.iter().map(move |audience| match audience.strip_prefix(Self::ISSUER) {
            Some(literal) if literal.starts_with(Self::ISSUER) => literal.to_owned(),
            Some(rest) => format!("{issuer}{rest}"),
            None => audience.clone(),
        })
    }

    /// Whether jeton itself is meant.
    pub fn is_issuer(&self) -> bool {
        self.0.iter().any(|audience| audience.len() == 1 && audience.starts_with(Self::ISSUER))
    }

    /// Whether any of `wanted` (absolute, or "*") is meant.
    pub fn meets(&self, wanted: &[String], issuer: &str) -> bool {
        wanted.iter().any(|wanted| wanted == "*" || self.absolute(issuer).any(|own| own == *wanted))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_read_back_whatever_they_begin_with() {
        let issuer = "https://id.example/t/default";
        let absolute = [
            issuer.to_owned(),
            format!("{issuer}/api"),
            "~".into(),
            "~~x".into(),
            format!("{issuer}~y"),
            "https://other".into(),
        ];
        let audience = Audience::new(&absolute, issuer);
        assert!(audience.absolute(issuer).eq(absolute.iter().cloned()));
        assert!(audience.is_issuer());
        assert!(!Audience::new(["~"], issuer).is_issuer());
        assert!(audience.meets(&["https://other".into()], issuer));
        assert!(!audience.meets(&["https://third".into()], issuer));
    }

    #[test]
    fn the_record_of_a_jwt_is_small() {
        let issuer = "http://localhost:7443/t/default";
        let token = AccessToken {
            id: TokenId::from_bytes([1; 16]),
            tenant: "default".parse().unwrap(),
            client: ClientId::from_bytes([2; 16]),
            subject: Subject::Account(AccountId::from_bytes([3; 16])),
            scopes: Scopes::new(["invoices.read", "invoices.write", "orders.read"]),
            audience: Audience::new([format!("{issuer}/api")], issuer),
            format: Format::Jwt,
            issued_secs: 1_800_000_000,
            ttl_secs: Some(14 * 86_400),
            rev: Position::new(470_000, 1_800_000_000_000_000).unwrap(),
            signing_key: Some(KeyId::new("4fQ0xK2mZ")),
            actor: Some(Actor::Client),
            ancestors: Vec::new(),
            session: None,
            family: None,
            sources: Vec::new(),
            options: None,
            claims: None,
            request: None,
            home: None,
            authentication: None,
        };
        let record = token.to_record();
        // With expiry and header this is 160 bytes for Redis, the size of one of its classes of memory.
        assert!(record.len() <= 150, "{} bytes", record.len());
        assert_eq!(AccessToken::from_record(&record, &token.id).unwrap(), token);
    }
}

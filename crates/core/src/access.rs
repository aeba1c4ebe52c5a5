//! Access tokens: what is known of one, however it is written.

use std::time::Duration;

use crate::{
    actor::{Acting, Actor},
    audience::Audience,
    authentication::Authentication,
    id::{AccountId, ClientId, FamilyId, TenantId, TokenId},
    ident::{Ident, Idents},
    position::Position,
    scope::Scopes,
    source::Source,
    subject::Subject,
    text::{Json, KeyId, SessionId},
    time::{Time, secs},
};

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
    /// `iat`.
    #[cbor(n(7), with = "secs")]
    pub issued: Time,
    /// How long it lives; `None`: for ever.
    #[cbor(n(8), with = "secs")]
    pub ttl: Option<Duration>,
    /// The log's confirmed head that its issuer read at the start of the call.
    #[n(9)]
    pub rev: Position,
    /// The key that signed it (JWT).
    #[n(10)]
    pub signing_key: Option<KeyId>,
    /// `act`.
    #[n(11)]
    pub actor: Option<Actor>,
    /// `src`: what else ends this token when it ends, at most 16.
    #[n(12)]
    pub sources: Vec<Source>,
    /// `sid`.
    #[n(13)]
    pub session: Option<SessionId>,
    /// `fam`.
    #[n(14)]
    pub family: Option<FamilyId>,
    /// `opt`: feature options as JSON text. Not stored for JWTs, which carry them.
    #[n(15)]
    pub options: Option<Json>,
    /// `ext`: free claims as JSON text. Not stored for JWTs.
    #[n(16)]
    pub claims: Option<Json>,
    /// Digest of the request body, when the token was issued under a `request_id`.
    #[n(17)]
    pub request: Option<RequestDigest>,
    /// The client's own tenant, if another than `tenant`. Only in the store.
    #[n(18)]
    pub home: Option<TenantId>,
    /// `amr` and `auth_time`: of a member that signed in.
    #[n(19)]
    pub authentication: Option<Authentication>,
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

    /// When it expires; NEVER for an eternal token.
    pub fn expires(&self) -> Time {
        self.ttl.map_or(Time::NEVER, |ttl| self.issued.plus(ttl))
    }

    /// The account that it acts as, or that confines its client.
    pub const fn account(&self) -> Option<&AccountId> {
        self.subject.account()
    }

    /// The claim `sub`.
    pub fn sub(&self) -> String {
        match &self.subject {
            Subject::Client(_) => self.client.to_string(),
            Subject::Account(lineage) => lineage.account.to_string(),
            Subject::Member(_, member) | Subject::Group(_, Some(member)) => member.to_string(),
            Subject::Group(group, None) => group.to_string(),
            Subject::OtherClient(client, _) => client.to_string(),
        }
    }

    /// What it acts as, said of a token that `client` obtains in exchange for it.
    pub fn subject_for(&self, client: &ClientId) -> Subject {
        match &self.subject {
            Subject::Account(_) | Subject::Member(..) | Subject::Group(..) => self.subject.clone(),
            Subject::Client(lineage) if self.client == *client => Subject::Client(lineage.clone()),
            Subject::Client(lineage) => Subject::OtherClient(self.client.clone(), lineage.clone()),
            Subject::OtherClient(own, lineage) if own == client => Subject::Client(lineage.clone()),
            Subject::OtherClient(own, lineage) => Subject::OtherClient(own.clone(), lineage.clone()),
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
        idents.extend(self.signing_key.clone().map(|key| Ident::SigningKey(self.tenant.clone(), key)));
        idents.extend(self.session.clone().map(|session| Ident::Session(self.tenant.clone(), session)));
        self.subject.name(&self.tenant, &mut idents);
        self.sources.iter().for_each(|source| source.name(&self.tenant, &mut idents));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lineage;

    #[test]
    fn the_record_of_a_jwt_is_small() {
        let issuer = "http://localhost:7443/t/default";
        let token = AccessToken {
            id: TokenId::from_bytes([1; 16]),
            tenant: "default".parse().unwrap(),
            client: ClientId::from_bytes([2; 16]),
            subject: Subject::Account(Lineage { account: AccountId::from_bytes([3; 16]), ancestors: Vec::new() }),
            scopes: Scopes::new(["invoices.read", "invoices.write", "orders.read"]),
            audience: Audience::new([format!("{issuer}/api")], issuer),
            format: Format::Jwt,
            actor: Some(Actor::Client),
            sources: Vec::new(),
            session: None,
            home: None,
            options: None,
            claims: None,
            issued: Time::from_secs(1_800_000_000),
            ttl: Some(Duration::from_secs(14 * 86_400)),
            rev: Position::new(470_000, 1_800_000_000_000_000).unwrap(),
            signing_key: Some("4fQ0xK2mZ".parse().unwrap()),
            family: None,
            request: None,
            authentication: None,
        };
        let record = token.to_record();
        // With expiry and header this is 160 bytes for Redis, the size of one of its classes of memory.
        assert!(record.len() <= 150, "{} bytes", record.len());
        assert_eq!(AccessToken::from_record(&record, &token.id).unwrap(), token);
    }
}

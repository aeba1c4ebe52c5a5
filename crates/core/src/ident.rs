//! What an entry of the revocation log can name.

use std::{fmt, str::FromStr, sync::Arc};

use super::id::{AccountId, ClientId, FamilyId, GroupId, IdentityProfileId, MemberId, RoleId, TenantId, TokenId};

/// An identifier that an entry of the revocation log names and that tokens carry. Its text form is the key of the stored
/// state map.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ident {
    /// One access token.
    Token(TokenId),
    /// A family of refresh tokens with every access token renewed from it.
    Family(FamilyId),
    /// A session of a tenant.
    Session(TenantId, Arc<str>),
    /// A client, in every tenant.
    Client(ClientId),
    /// A client within one tenant.
    Admission(TenantId, ClientId),
    /// An account without its descendants.
    Account(AccountId),
    /// An account with its descendants.
    Subtree(AccountId),
    /// A member, in every account.
    Member(MemberId),
    /// A member in one account.
    Membership(AccountId, MemberId),
    /// An entity group.
    Group(GroupId),
    /// An account's place in an entity group.
    Entity(GroupId, AccountId),
    /// A member in an entity group.
    GroupMember(GroupId, MemberId),
    /// A role. It is only ever changed, never revoked.
    Role(RoleId),
    /// An identity profile. It is only ever changed, never revoked.
    IdentityProfile(IdentityProfileId),
    /// A whole tenant.
    Tenant(TenantId),
    /// Everything that one signing key signed.
    SigningKey(TenantId, Arc<str>),
}

/// All identifiers of one token or family.
#[derive(Clone, Debug)]
pub struct Idents {
    list: Box<[Ident]>,
    /// How many of them, from the first, an exception may spare: the token and its family, not what it descends from.
    own: usize,
}

/// A string that is no identifier.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

// === impl Ident ===

impl Ident {
    /// Whether an entry counts whatever the token's `rev` says: a stolen key can forge any `rev`, and a token's own
    /// revocation can only follow its issue.
    pub const fn ignores_rev(&self) -> bool {
        matches!(self, Self::Token(_) | Self::SigningKey(..))
    }
}

// === impl Idents ===

impl Idents {
    /// `own` counts the identifiers, from the first, that an entry's exception may spare.
    pub fn new(list: Vec<Ident>, own: usize) -> Self {
        Self { own: own.min(list.len()), list: list.into() }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Ident> {
        self.list.iter()
    }

    /// What an entry's exception may spare.
    pub fn own(&self) -> &[Ident] {
        &self.list[..self.own]
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => write!(f, "t:{id}"),
            Self::Family(id) => write!(f, "f:{id}"),
            Self::Session(tenant, session) => write!(f, "s:{tenant}:{session}"),
            Self::Client(id) => write!(f, "c:{id}"),
            Self::Admission(tenant, client) => write!(f, "d:{tenant}:{client}"),
            Self::Account(id) => write!(f, "a:{id}"),
            Self::Subtree(id) => write!(f, "b:{id}"),
            Self::Member(id) => write!(f, "m:{id}"),
            Self::Membership(account, member) => write!(f, "h:{account}:{member}"),
            Self::Group(id) => write!(f, "g:{id}"),
            Self::Entity(group, account) => write!(f, "e:{group}:{account}"),
            Self::GroupMember(group, member) => write!(f, "p:{group}:{member}"),
            Self::Role(id) => write!(f, "r:{id}"),
            Self::IdentityProfile(id) => write!(f, "i:{id}"),
            Self::Tenant(id) => write!(f, "n:{id}"),
            Self::SigningKey(tenant, key) => write!(f, "k:{tenant}:{key}"),
        }
    }
}

impl FromStr for Ident {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        fn id<K: super::id::Kind>(text: &str) -> Result<super::id::Id<K>, Malformed> {
            text.parse().map_err(|_| Malformed)
        }
        let (kind, rest) = text.split_once(':').ok_or(Malformed)?;
        let pair = || rest.split_once(':').ok_or(Malformed);
        Ok(match kind {
            "t" => Self::Token(id(rest)?),
            "f" => Self::Family(id(rest)?),
            "s" => pair().and_then(|(tenant, session)| Ok(Self::Session(id(tenant)?, session.into())))?,
            "c" => Self::Client(id(rest)?),
            "d" => pair().and_then(|(tenant, client)| Ok(Self::Admission(id(tenant)?, id(client)?)))?,
            "a" => Self::Account(id(rest)?),
            "b" => Self::Subtree(id(rest)?),
            "m" => Self::Member(id(rest)?),
            "h" => pair().and_then(|(account, member)| Ok(Self::Membership(id(account)?, id(member)?)))?,
            "g" => Self::Group(id(rest)?),
            "e" => pair().and_then(|(group, account)| Ok(Self::Entity(id(group)?, id(account)?)))?,
            "p" => pair().and_then(|(group, member)| Ok(Self::GroupMember(id(group)?, id(member)?)))?,
            "r" => Self::Role(id(rest)?),
            "i" => Self::IdentityProfile(id(rest)?),
            "n" => Self::Tenant(id(rest)?),
            "k" => pair().and_then(|(tenant, key)| Ok(Self::SigningKey(id(tenant)?, key.into())))?,
            _ => return Err(Malformed),
        })
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed identifier in the revocation log")
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identifier_reads_back() {
        let tenant: TenantId = "default".parse().unwrap();
        let account = AccountId::from_bytes([1; 16]);
        let member = MemberId::from_bytes([2; 16]);
        for ident in [
            Ident::Token(TokenId::from_bytes([3; 16])),
            Ident::Family(FamilyId::from_bytes([4; 16])),
            Ident::Session(tenant.clone(), "a:b".into()),
            Ident::Client("admin".parse().unwrap()),
            Ident::Admission(tenant.clone(), ClientId::from_bytes([5; 16])),
            Ident::Account(account.clone()),
            Ident::Subtree(account.clone()),
            Ident::Member(member.clone()),
            Ident::Membership(account.clone(), member.clone()),
            Ident::Group(GroupId::from_bytes([6; 16])),
            Ident::Entity(GroupId::from_bytes([6; 16]), account),
            Ident::GroupMember(GroupId::from_bytes([6; 16]), member),
            Ident::Role(RoleId::from_bytes([7; 16])),
            Ident::IdentityProfile(IdentityProfileId::from_bytes([8; 16])),
            Ident::Tenant(tenant.clone()),
            Ident::SigningKey(tenant, "k1".into()),
        ] {
            assert_eq!(ident.to_string().parse(), Ok(ident));
        }
    }
}

//! What an entry of the revocation log can name.

use std::{fmt, str::FromStr, sync::LazyLock};

use super::{
    id::{AccountId, ClientId, FamilyId, GroupId, IdentityProfileId, MemberId, RoleId, TenantId, TokenId},
    text::{KeyId, SessionId},
};

/// An identifier that an entry of the revocation log names and that tokens carry, with its tenant. Its text form,
/// `kind:tenant:rest`, is the key of the stored state map.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ident {
    /// One access token.
    Token(TenantId, TokenId),
    /// A family of refresh tokens with every access token renewed from it.
    Family(TenantId, FamilyId),
    /// A session of a tenant.
    Session(TenantId, SessionId),
    /// A client, in every tenant. It stands in `system`, as what is no tenant's own does: the JWT of a client that is a guest
    /// does not say where it is at home.
    Client(ClientId),
    /// A client within one tenant.
    Admission(TenantId, ClientId),
    /// An account without its descendants.
    Account(TenantId, AccountId),
    /// An account with its descendants.
    Subtree(TenantId, AccountId),
    /// A member, in every account.
    Member(TenantId, MemberId),
    /// A member in one account.
    Membership(TenantId, AccountId, MemberId),
    /// An entity group.
    Group(TenantId, GroupId),
    /// An account's place in an entity group.
    Entity(TenantId, GroupId, AccountId),
    /// A member in an entity group.
    GroupMember(TenantId, GroupId, MemberId),
    /// A role. It is only ever changed, never revoked.
    Role(TenantId, RoleId),
    /// An identity profile. It is only ever changed, never revoked.
    IdentityProfile(TenantId, IdentityProfileId),
    /// A whole tenant.
    Tenant(TenantId),
    /// Everything that one signing key signed.
    SigningKey(TenantId, KeyId),
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
        matches!(self, Self::Token(..) | Self::SigningKey(..))
    }

    /// The tenant that it stands in.
    pub fn tenant(&self) -> &TenantId {
        static SYSTEM: LazyLock<TenantId> = LazyLock::new(TenantId::system);
        match self {
            Self::Client(_) => &SYSTEM,
            Self::Token(tenant, _)
            | Self::Family(tenant, _)
            | Self::Session(tenant, _)
            | Self::Admission(tenant, _)
            | Self::Account(tenant, _)
            | Self::Subtree(tenant, _)
            | Self::Member(tenant, _)
            | Self::Membership(tenant, ..)
            | Self::Group(tenant, _)
            | Self::Entity(tenant, ..)
            | Self::GroupMember(tenant, ..)
            | Self::Role(tenant, _)
            | Self::IdentityProfile(tenant, _)
            | Self::Tenant(tenant)
            | Self::SigningKey(tenant, _) => tenant,
        }
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
        let tenant = self.tenant();
        match self {
            Self::Token(_, id) => write!(f, "t:{tenant}:{id}"),
            Self::Family(_, id) => write!(f, "f:{tenant}:{id}"),
            Self::Session(_, session) => write!(f, "s:{tenant}:{session}"),
            Self::Client(id) => write!(f, "c:{tenant}:{id}"),
            Self::Admission(_, client) => write!(f, "d:{tenant}:{client}"),
            Self::Account(_, id) => write!(f, "a:{tenant}:{id}"),
            Self::Subtree(_, id) => write!(f, "b:{tenant}:{id}"),
            Self::Member(_, id) => write!(f, "m:{tenant}:{id}"),
            Self::Membership(_, account, member) => write!(f, "h:{tenant}:{account}:{member}"),
            Self::Group(_, id) => write!(f, "g:{tenant}:{id}"),
            Self::Entity(_, group, account) => write!(f, "e:{tenant}:{group}:{account}"),
            Self::GroupMember(_, group, member) => write!(f, "p:{tenant}:{group}:{member}"),
            Self::Role(_, id) => write!(f, "r:{tenant}:{id}"),
            Self::IdentityProfile(_, id) => write!(f, "i:{tenant}:{id}"),
            Self::Tenant(_) => write!(f, "n:{tenant}:"),
            Self::SigningKey(_, key) => write!(f, "k:{tenant}:{key}"),
        }
    }
}

impl FromStr for Ident {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        fn id<T: FromStr>(text: &str) -> Result<T, Malformed> {
            text.parse().map_err(|_| Malformed)
        }
        let (kind, rest) = text.split_once(':').ok_or(Malformed)?;
        let (tenant, rest) = rest.split_once(':').ok_or(Malformed)?;
        let tenant: TenantId = id(tenant)?;
        let pair = || rest.split_once(':').ok_or(Malformed);
        Ok(match kind {
            "t" => Self::Token(tenant, id(rest)?),
            "f" => Self::Family(tenant, id(rest)?),
            "s" => Self::Session(tenant, id(rest)?),
            "c" if tenant == TenantId::system() => Self::Client(id(rest)?),
            "d" => Self::Admission(tenant, id(rest)?),
            "a" => Self::Account(tenant, id(rest)?),
            "b" => Self::Subtree(tenant, id(rest)?),
            "m" => Self::Member(tenant, id(rest)?),
            "h" => pair().and_then(|(account, member)| Ok(Self::Membership(tenant, id(account)?, id(member)?)))?,
            "g" => Self::Group(tenant, id(rest)?),
            "e" => pair().and_then(|(group, account)| Ok(Self::Entity(tenant, id(group)?, id(account)?)))?,
            "p" => pair().and_then(|(group, member)| Ok(Self::GroupMember(tenant, id(group)?, id(member)?)))?,
            "r" => Self::Role(tenant, id(rest)?),
            "i" => Self::IdentityProfile(tenant, id(rest)?),
            "n" if rest.is_empty() => Self::Tenant(tenant),
            "k" => Self::SigningKey(tenant, id(rest)?),
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
            Ident::Token(tenant.clone(), TokenId::from_bytes([3; 16])),
            Ident::Family(tenant.clone(), FamilyId::from_bytes([4; 16])),
            Ident::Session(tenant.clone(), "a:b".parse().unwrap()),
            Ident::Client("admin".parse().unwrap()),
            Ident::Admission(tenant.clone(), ClientId::from_bytes([5; 16])),
            Ident::Account(tenant.clone(), account.clone()),
            Ident::Subtree(tenant.clone(), account.clone()),
            Ident::Member(tenant.clone(), member.clone()),
            Ident::Membership(tenant.clone(), account.clone(), member.clone()),
            Ident::Group(tenant.clone(), GroupId::from_bytes([6; 16])),
            Ident::Entity(tenant.clone(), GroupId::from_bytes([6; 16]), account),
            Ident::GroupMember(tenant.clone(), GroupId::from_bytes([6; 16]), member),
            Ident::Role(tenant.clone(), RoleId::from_bytes([7; 16])),
            Ident::IdentityProfile(tenant.clone(), IdentityProfileId::from_bytes([8; 16])),
            Ident::Tenant(tenant.clone()),
            Ident::SigningKey(tenant, "k1".parse().unwrap()),
        ] {
            assert_eq!(ident.to_string().split(':').nth(1).unwrap(), ident.tenant().to_string());
            assert_eq!(ident.to_string().parse(), Ok(ident));
        }
    }

    #[test]
    fn what_would_tear_an_entry_apart_is_no_identifier() {
        for text in ["s:default:", "s:default:a b", "s:default:a\nb", "k:default:", "k:default:a b"] {
            assert_eq!(text.parse::<Ident>(), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn what_names_no_tenant_or_names_a_client_in_one_is_no_identifier() {
        for text in ["t:tok_0000000000000000000001", "a:acc_0000000000000000000001", "c:default:admin", "n:default:x"] {
            assert_eq!(text.parse::<Ident>(), Err(Malformed), "{text}");
        }
    }
}

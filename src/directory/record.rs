//! What the directory stores.

use std::{collections::BTreeMap, time::Duration};

use super::{
    credentials::{Secret, WorkloadIdentity},
    settings::Settings,
};
use crate::{
    ambient::Time,
    keys::jwk::Jwk,
    store::{Kind, Name, Refusal},
    token::{AccountId, ClientId, Error, GrantType, Ident, Reason, Result, Scopes, TenantId, family::RenewalPolicy},
};

/// A record of the directory: its kind, and what the revocation log calls it.
pub trait Stored: Clone + minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()> + Send + Sync {
    const KIND: Kind;
    /// What it is called in errors, as its message in the contract.
    const NAME: &'static str;

    /// The identifier that a Changed entry about it names.
    fn ident(&self) -> Ident;

    /// The version of the stored record; not part of its body.
    fn version(&self) -> u64;
    fn set_version(&mut self, version: u64);

    fn to_bytes(&self) -> bytes::Bytes {
        let mut body = Vec::new();
        // Writing to memory cannot fail.
        let written = minicbor::encode(self, &mut body);
        debug_assert!(written.is_ok());
        body.into()
    }
}

/// A tenant.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Tenant {
    #[n(0)]
    pub id: TenantId,
    #[n(1)]
    pub display_name: String,
    #[n(2)]
    pub state: State,
    #[n(3)]
    pub service_urls: BTreeMap<String, String>,
    #[n(4)]
    pub settings: Settings,
    #[n(5)]
    pub created: Time,
    #[n(6)]
    pub updated: Time,
    #[cbor(skip)]
    pub version: u64,
}

/// Whether a principal may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum State {
    #[n(0)]
    Enabled,
    #[n(1)]
    Disabled,
    /// A tombstone: the id is never used again.
    #[n(2)]
    Deleted,
}

/// A machine's credential.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Client {
    #[n(0)]
    pub id: ClientId,
    #[n(1)]
    pub tenant: TenantId,
    #[n(2)]
    pub display_name: String,
    #[n(3)]
    pub state: State,
    #[n(4)]
    pub allowed_grants: Vec<GrantType>,
    #[n(5)]
    pub allowed_scopes: Scopes,
    #[n(6)]
    pub default_scopes: Scopes,
    /// What it may ask for besides the tenant's default; "*" is any.
    #[n(7)]
    pub audiences: Vec<String>,
    /// Whose tokens it may ask about; "*" is all.
    #[n(8)]
    pub introspects: Vec<String>,
    /// The account whose subtree confines it, with that account's ancestors, which never change.
    #[n(9)]
    pub confinement: Option<Confinement>,
    #[n(10)]
    pub token_ttl: Option<Duration>,
    #[n(11)]
    pub refresh_idle_ttl: Option<Duration>,
    #[n(12)]
    pub refresh_absolute_ttl: Option<Duration>,
    #[n(13)]
    pub replay_window: Option<Duration>,
    #[n(14)]
    pub renewal_policy: RenewalPolicy,
    #[n(15)]
    pub labels: BTreeMap<String, String>,
    #[n(16)]
    pub secrets: Vec<Secret>,
    #[n(17)]
    pub created: Time,
    #[n(18)]
    pub updated: Time,
    /// Keys that check its assertions. Not together with `jwks_uri`.
    #[cbor(n(19), default)]
    pub jwks: Vec<Jwk>,
    #[n(20)]
    pub jwks_uri: Option<String>,
    #[cbor(n(21), default)]
    pub workload_identities: Vec<WorkloadIdentity>,
    /// Names of client certificates that prove it: `spiffe://…` and `dns:…`.
    #[cbor(n(22), default)]
    pub certificate_identities: Vec<String>,
    /// What it may hand on; `None`: what it holds itself.
    #[n(23)]
    pub grantable: Option<Grantable>,
    #[cbor(skip)]
    pub version: u64,
}

/// What a client may hand on, as its record says.
#[derive(Clone, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Grantable {
    /// "*" is every scope but `jeton.admin`; one of `jeton.` only as far as the caller holds it.
    #[n(0)]
    pub scopes: Scopes,
    /// "*" is any.
    #[n(1)]
    pub audiences: Vec<String>,
    /// "*" is all.
    #[n(2)]
    pub introspects: Vec<String>,
    #[n(3)]
    pub grants: Vec<GrantType>,
    /// The longest that may be given; `None`: what the tenant allows.
    #[n(4)]
    pub token_ttl: Option<Duration>,
    #[n(5)]
    pub refresh_idle_ttl: Option<Duration>,
    #[n(6)]
    pub refresh_absolute_ttl: Option<Duration>,
}

/// An account with its ancestors, nearest first.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Confinement {
    #[n(0)]
    pub account: AccountId,
    #[n(1)]
    pub ancestors: Vec<AccountId>,
}

/// A company, organization or sub-account.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Account {
    #[n(0)]
    pub id: AccountId,
    #[n(1)]
    pub tenant: TenantId,
    #[n(2)]
    pub display_name: String,
    #[n(3)]
    pub legal_name: String,
    #[n(4)]
    pub registration_id: Option<String>,
    #[n(5)]
    pub foreign_id: Option<String>,
    /// All ancestors, nearest first; the first is the parent.
    #[n(6)]
    pub ancestors: Vec<AccountId>,
    #[n(7)]
    pub state: State,
    #[n(8)]
    pub children_disabled: bool,
    #[n(9)]
    pub labels: BTreeMap<String, String>,
    #[n(10)]
    pub metadata: BTreeMap<String, String>,
    #[n(11)]
    pub created: Time,
    #[n(12)]
    pub updated: Time,
    #[n(13)]
    pub deleted: Option<Time>,
    #[cbor(skip)]
    pub version: u64,
}

/// Lets a client of another tenant work in this one.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Admission {
    #[n(0)]
    pub tenant: TenantId,
    #[n(1)]
    pub client: ClientId,
    #[n(2)]
    pub scopes: Scopes,
    #[n(3)]
    pub audiences: Vec<String>,
    #[n(4)]
    pub confinement: Option<Confinement>,
    /// Enabled, or Deleted once expelled.
    #[n(5)]
    pub state: State,
    #[n(6)]
    pub created: Time,
    #[n(7)]
    pub updated: Time,
    #[cbor(skip)]
    pub version: u64,
}

/// A tenant's signing keys as a record of its directory.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct KeySetRecord {
    #[n(0)]
    pub tenant: TenantId,
    #[n(1)]
    pub set: crate::keys::signing::StoredKeySet,
    #[cbor(skip)]
    pub version: u64,
}

/// How deep the account tree may be, the root included.
pub const MAX_DEPTH: usize = 8;

macro_rules! stored {
    ($($record:ident $kind:ident $name:literal |$self:ident| $ident:expr;)*) => {$(
        impl Stored for $record {
            const KIND: Kind = Kind::$kind;
            const NAME: &'static str = $name;

            fn ident(&$self) -> Ident {
                $ident
            }

            fn version(&self) -> u64 {
                self.version
            }

            fn set_version(&mut self, version: u64) {
                self.version = version;
            }
        }
    )*};
}

pub(super) use stored;

stored! {
    Tenant Tenant "Tenant" |self| Ident::Tenant(self.id.clone());
    Client Client "Client" |self| Ident::Client(self.id.clone());
    Account Account "Account" |self| Ident::Account(self.tenant.clone(), self.id.clone());
    Admission Admission "Admission" |self| Ident::Admission(self.tenant.clone(), self.client.clone());
    KeySetRecord KeySet "SigningKey" |self| Ident::Tenant(self.tenant.clone());
}

// === impl Confinement ===

impl Confinement {
    /// Whether it is `root` or stands below it.
    pub fn is_within(&self, root: &AccountId) -> bool {
        self.account == *root || self.ancestors.contains(root)
    }
}

// === impl Account ===

impl Account {
    /// The ids that platforms gave to accounts.
    pub(super) const FOREIGN_IDS: &'static Name = &foreign_ids(Self::KIND, Self::NAME);
    /// The numbers of registers of companies.
    pub(super) const REGISTRATION_IDS: &'static Name = &Name {
        kind: Self::KIND,
        field: "registration_id",
        taken: Refusal {
            reason: Reason::RegistrationIdTaken,
            message: "the registration id is taken",
            resource: Some(Self::NAME),
        },
    };

    pub fn parent(&self) -> Option<&AccountId> {
        self.ancestors.first()
    }

    /// Whether it is `root` or stands below it.
    pub fn is_within(&self, root: &AccountId) -> bool {
        self.id == *root || self.ancestors.contains(root)
    }

    pub fn confinement(&self) -> Confinement {
        Confinement { account: self.id.clone(), ancestors: self.ancestors.clone() }
    }
}

/// The foreign ids of a kind of record.
pub(super) const fn foreign_ids(kind: Kind, resource: &'static str) -> Name {
    let message = "the foreign id is taken";
    Name {
        kind,
        field: "foreign_id",
        taken: Refusal { reason: Reason::ForeignIdTaken, message, resource: Some(resource) },
    }
}

/// The etag of a version.
pub fn etag(version: u64) -> String {
    format!("v{version}")
}

/// Refuses an etag that is given and not the current one.
pub fn check_etag(given: Option<&str>, version: u64) -> Result<()> {
    match given {
        Some(given) if !given.is_empty() && given != etag(version) => {
            Err(Error::new(Reason::ConcurrentUpdate, "the resource was changed since it was read"))
        }
        _ => Ok(()),
    }
}

//! Identity profiles: the ways in which members of a tenant sign in.

use jeton_core::{Ident, IdentityProfileId, TenantId, Time};

use super::stored::{Kept, State, Stored, stored};
use crate::{keys::ring::Destination, metrics::labels, store::Kind};

/// A way in which members of a tenant sign in.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct IdentityProfile {
    #[n(0)]
    pub id: IdentityProfileId,
    #[n(1)]
    pub tenant: TenantId,
    #[n(2)]
    pub display_name: String,
    /// Never another kind than at first.
    #[n(3)]
    pub kind: ProfileKind,
    /// Enabled or Deleted.
    #[n(4)]
    pub state: State,
    #[n(5)]
    pub created: Time,
    #[n(6)]
    pub updated: Time,
    #[cbor(skip)]
    pub version: u64,
}

/// By what members prove who they are.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
pub enum ProfileKind {
    /// A username with a password, or with a one-time password.
    #[n(0)]
    Password(#[n(0)] PasswordProfile),
    /// An OpenID provider.
    #[n(1)]
    Oidc(#[n(0)] OidcProfile),
}

/// How passwords are used.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct PasswordProfile {
    /// Counts for usernames that are set from now on.
    #[n(0)]
    pub username_format: UsernameFormat,
    /// Whether one-time passwords work, too.
    #[n(1)]
    pub one_time_passwords: bool,
}

/// What a username may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum UsernameFormat {
    #[default]
    #[n(0)]
    Any,
    #[n(1)]
    Email,
}

/// A registration of this service at an OpenID provider.
#[derive(Clone, Debug, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct OidcProfile {
    /// Where discovery begins (OpenID Connect Discovery 1.0 §4), and the `iss` of ID tokens.
    #[n(0)]
    pub issuer: String,
    /// As what the provider knows this service.
    #[n(1)]
    pub client_id: String,
    /// Sealed under the master key for [`Self::destination`]; see `Directory::provider_secret`. None: a public
    /// client.
    #[n(2)]
    pub sealed_secret: Option<minicbor::bytes::ByteVec>,
    /// Where the provider may send people back to; compared as a whole.
    #[n(3)]
    pub redirect_uris: Vec<String>,
    /// What is asked of the provider; always with "openid".
    #[n(4)]
    pub scopes: Vec<String>,
}

/// The most identity profiles of a tenant.
pub const MAX_IDENTITY_PROFILES: u32 = 50;

stored! {
    IdentityProfile IdentityProfile "IdentityProfile" |self| Ident::IdentityProfile(self.tenant.clone(), self.id.clone());
}

impl Kept for IdentityProfile {
    type Key = IdentityProfileId;
    const CACHE: labels::Cache = labels::Cache::Profiles;
    const KEEPS_ABSENCE: bool = false;

    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    fn outdated_by(ident: &Ident) -> Option<Self::Key> {
        let Ident::IdentityProfile(_, id) = ident else { return None };
        Some(id.clone())
    }
}

// === impl OidcProfile ===

impl OidcProfile {
    /// Where the secret may be sent, and as whose.
    pub fn destination(&self) -> Destination<'_> {
        Destination { issuer: &self.issuer, client_id: &self.client_id }
    }
}

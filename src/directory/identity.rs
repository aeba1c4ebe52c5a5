//! What the directory stores of how members sign in: the profiles of a tenant, and the identities of its members.

use std::fmt;

use super::record::{State, Stored, stored};
use crate::{
    ambient::Time,
    keys::ring::{Destination, digest_text},
    store::{Kind, Name, Refusal, Unique},
    token::{Ident, IdentityProfileId, Reason, TenantId},
};

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
    /// Sealed under the master key for [`Self::destination`]; see [`super::Directory::provider_secret`]. None: a public
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

/// A member's way in through an identity profile. Part of the member's record.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Identity {
    #[n(0)]
    pub profile: IdentityProfileId,
    #[n(1)]
    pub kind: IdentityKind,
}

/// As whom the profile knows the member.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum IdentityKind {
    #[n(0)]
    Password(#[n(0)] PasswordIdentity),
    /// A subject of the profile's provider.
    #[n(1)]
    Oidc(#[n(0)] OidcIdentity),
}

/// A username, and what proves it.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct PasswordIdentity {
    /// As it was given, without space around it. See [`normalized`].
    #[n(0)]
    pub username: String,
    /// None: one cannot sign in by password.
    #[n(1)]
    pub hash: Option<PasswordHash>,
    #[n(2)]
    pub password_set: Option<Time>,
}

/// A subject of an OpenID provider.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct OidcIdentity {
    /// `iss`. The profile may get another one; this identity does not.
    #[n(0)]
    pub issuer: String,
    /// `sub`.
    #[n(1)]
    pub subject: String,
}

/// An Argon2id hash in the PHC string format, with its salt and parameters.
#[derive(Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct PasswordHash(#[n(0)] pub String);

/// What usernames and e-mail addresses are compared by: people do not mind case, nor space around.
pub fn normalized(text: &str) -> String {
    text.trim().to_lowercase()
}

/// What it means that a username or subject is another member's.
pub const IDENTITY_TAKEN: Refusal =
    Refusal::new(Reason::IdentityTaken, "another member has this username or subject in the identity profile");
static USERNAMES: Name = Name { kind: Kind::Identity, field: "username", taken: IDENTITY_TAKEN };
static SUBJECTS: Name = Name { kind: Kind::Identity, field: "subject", taken: IDENTITY_TAKEN };
/// The most identity profiles of a tenant.
pub const MAX_IDENTITY_PROFILES: u32 = 50;

stored! {
    IdentityProfile IdentityProfile "IdentityProfile" |self| Ident::IdentityProfile(self.tenant.clone(), self.id.clone());
}

// === impl OidcProfile ===

impl OidcProfile {
    /// Where the secret may be sent, and as whose.
    pub fn destination(&self) -> Destination<'_> {
        Destination { issuer: &self.issuer, client_id: &self.client_id }
    }
}

// === impl Identity ===

impl Identity {
    /// The name that no other member has.
    pub fn unique(&self) -> Unique {
        match &self.kind {
            IdentityKind::Password(own) => username(&self.profile, &own.username),
            IdentityKind::Oidc(own) => subject(&self.profile, own),
        }
    }
}

/// The name of a username in a profile.
pub fn username(profile: &IdentityProfileId, username: &str) -> Unique {
    Unique { name: &USERNAMES, value: format!("{profile}:{}", normalized(username)) }
}

/// The name of a subject in a profile. Digested: both parts of it can be long.
pub fn subject(profile: &IdentityProfileId, subject: &OidcIdentity) -> Unique {
    let digest = digest_text(&[subject.issuer.as_bytes(), subject.subject.as_bytes()]);
    Unique { name: &SUBJECTS, value: format!("{profile}:{digest}") }
}

// === impl PasswordHash ===

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

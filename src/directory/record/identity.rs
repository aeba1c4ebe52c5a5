//! Identities: by what the profiles of a tenant know its members. Part of the record of a member.

use std::fmt;

use jeton_contract::reason::Reason;
use jeton_core::{IdentityProfileId, Time};

use crate::{
    keys::ring::digest_text,
    store::{Kind, Name, Refusal, Unique},
};

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

/// What it means that a username or subject is another member's.
pub const IDENTITY_TAKEN: Refusal =
    Refusal::new(Reason::IdentityTaken, "another member has this username or subject in the identity profile");
static USERNAMES: Name = Name { kind: Kind::Identity, field: "username", taken: IDENTITY_TAKEN };
static SUBJECTS: Name = Name { kind: Kind::Identity, field: "subject", taken: IDENTITY_TAKEN };

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

// === impl PasswordHash ===

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// What usernames and e-mail addresses are compared by: people do not mind case, nor space around.
pub fn normalized(text: &str) -> String {
    text.trim().to_lowercase()
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

//! What a member brings to sign in, and which tokens it wants.

use jeton_core::{Format, Json, SessionId, secret::SecretText};
use tokio::time::Instant;

use super::{federated::Redirected, request::Lifetime};
use crate::directory::commit::Repeat;

/// A member's wish for tokens.
#[derive(Clone, Debug)]
pub struct SignIn {
    pub mechanism: Mechanism,
    pub wanted: WantedTokens,
    /// Up to [`MAX_PAGE`](super::signin::MAX_PAGE); 0 is [`DEFAULT_PAGE`](super::signin::DEFAULT_PAGE).
    pub page_size: usize,
    pub page_token: String,
    /// Digest of the whole request as far as it is the same for all of its pages.
    pub query: [u8; 16],
    pub repeat: Option<Repeat>,
    /// When the caller stops to wait.
    pub deadline: Instant,
}

/// By what the member proves who it is.
#[derive(Clone, Debug)]
pub enum Mechanism {
    Password {
        profile: String,
        username: String,
        password: SecretText,
    },
    OneTimePassword {
        profile: String,
        username: String,
        code: SecretText,
    },
    /// The word of an OpenID provider.
    Oidc(Redirected),
    /// It is nobody yet.
    SelfSignup {
        profile: String,
        username: String,
        password: SecretText,
        display_name: String,
        email: String,
        /// Proves the address.
        code: Option<SecretText>,
    },
    /// A token of an earlier sign-in.
    Switch {
        token: SecretText,
    },
}

/// What each of the tokens is to be.
#[derive(Clone, Debug)]
pub struct WantedTokens {
    pub scopes: Vec<String>,
    pub audience: Vec<String>,
    pub lifetime: Lifetime,
    pub session: Option<SessionId>,
    pub options: Option<Json>,
    pub claims: Option<Json>,
    pub format: Option<Format>,
}

// === impl Mechanism ===

impl Mechanism {
    /// What the contract calls it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Password { .. } => "password",
            Self::OneTimePassword { .. } => "one_time_password",
            Self::Oidc(_) => "oidc",
            Self::SelfSignup { .. } => "self_signup",
            Self::Switch { .. } => "switch",
        }
    }
}

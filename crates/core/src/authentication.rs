//! How and when the member of a token proved who it is.

use crate::time::{Time, secs};

/// What a token says of a member's sign-in: the claims `amr` and `auth_time` (RFC 9068 §2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Authentication {
    #[n(0)]
    pub method: Method,
    /// When, in whole seconds. It stays when a token is replaced by another one of the same sign-in.
    #[cbor(n(1), with = "secs")]
    pub at: Time,
}

/// By what (RFC 8176 §2). There is no registered value for the word of an identity provider: "fed" stands for it by
/// agreement, as §1 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Method {
    #[n(0)]
    Password,
    #[n(1)]
    OneTimePassword,
    /// The provider does not say by what means it knew the member.
    #[n(2)]
    Federated,
}

// === impl Method ===

impl Method {
    const ALL: [Self; 3] = [Self::Password, Self::OneTimePassword, Self::Federated];

    /// Its value in `amr`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::OneTimePassword => "otp",
            Self::Federated => "fed",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

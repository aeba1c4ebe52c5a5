//! How and when the member of a token proved who it is.

use crate::time::Time;

/// What a token says of a member's sign-in: the claims `amr` and `auth_time` (RFC 9068 §2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Authentication {
    #[n(0)]
    pub method: Method,
    /// Seconds since the epoch. It stays when a token is replaced by another one of the same sign-in.
    #[n(1)]
    pub at_secs: u64,
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

// === impl Authentication ===

impl Authentication {
    pub const fn at(self) -> Time {
        Time::from_secs(self.at_secs)
    }
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

//! How and when the member of a token proved who it is.

use crate::ambient::Time;

/// What a token tells of a member's sign-in: the claims `amr` and `auth_time` (RFC 9068 §2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Authentication {
    #[n(0)]
    pub method: Method,
    /// Seconds since the epoch. It stays when a token is replaced by another one of the same sign-in.
    #[n(1)]
    pub at_secs: u64,
}

/// By what (RFC 8176 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Method {
    #[n(0)]
    Password,
    #[n(1)]
    OneTimePassword,
}

// === impl Authentication ===

impl Authentication {
    pub const fn at(self) -> Time {
        Time::from_secs(self.at_secs)
    }
}

// === impl Method ===

impl Method {
    const ALL: [Self; 2] = [Self::Password, Self::OneTimePassword];

    /// Its value in `amr`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::OneTimePassword => "otp",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

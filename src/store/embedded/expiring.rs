//! What expires, and its number in stored keys.

/// What expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiring {
    Token,
    Family,
    Session,
    Request,
    Slot,
    Record,
}

// === impl Expiring ===

impl Expiring {
    /// The number in stored keys. Never change one.
    pub const fn code(self) -> u8 {
        match self {
            Self::Token => 1,
            Self::Family => 2,
            Self::Session => 3,
            Self::Request => 4,
            Self::Slot => 5,
            Self::Record => 6,
        }
    }

    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Token),
            2 => Some(Self::Family),
            3 => Some(Self::Session),
            4 => Some(Self::Request),
            5 => Some(Self::Slot),
            6 => Some(Self::Record),
            _ => None,
        }
    }
}

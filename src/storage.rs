//! Why calls to what keeps records and the log fail. Apart from the store, so that the log can be followed without it.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call to the store failed.
#[derive(Debug)]
pub enum Error {
    /// Not reached in time, or not durable in time. The outcome of a mutation is unknown.
    Unavailable { attempted: &'static str, source: Option<Cause> },
    /// A record cannot be read or names something else than what was asked for.
    Corrupt { what: String },
    /// The store is set up in a way that breaks the promises above.
    Unsuitable { why: String },
}

pub type Cause = Box<dyn std::error::Error + Send + Sync>;

// === impl Error ===

impl Error {
    pub fn unavailable(attempted: &'static str, source: impl Into<Cause>) -> Self {
        Self::Unavailable { attempted, source: Some(source.into()) }
    }

    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { attempted, .. } => write!(f, "{attempted}: the store did not answer in time"),
            Self::Corrupt { what } => write!(f, "the store holds an unreadable record: {what}"),
            Self::Unsuitable { why } => write!(f, "the store is not set up for use: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unavailable { source: Some(source), .. } => Some(&**source),
            Self::Unavailable { source: None, .. } | Self::Corrupt { .. } | Self::Unsuitable { .. } => None,
        }
    }
}

impl From<Error> for crate::error::Error {
    fn from(error: Error) -> Self {
        use jeton_contract::reason::Reason;
        match error {
            Error::Unavailable { .. } => {
                Self::new(Reason::StoreUnavailable, "the store did not answer in time").with_source(error)
            }
            Error::Corrupt { .. } | Error::Unsuitable { .. } => {
                Self::internal("read from the store").with_source(error)
            }
        }
    }
}

//! Why a call to another service failed.

use std::fmt;

use super::address::{NOT_PUBLIC, NotPublic};

pub type Result<T, E = Error> = std::result::Result<T, E>;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to another service failed. Written for operators: it names the host and never a path, a query or anything
/// that the other side said; a reply to a caller is written anew.
#[derive(Debug)]
pub enum Error {
    /// It may not be called, and was not.
    Forbidden { host: String, why: &'static str },
    /// No name, no connection, no TLS, or it was broken off.
    Unreachable { host: String, source: Cause },
    /// The deadline passed.
    TimedOut { host: String },
    /// The reply is longer than its limit, in bytes.
    TooLarge { host: String, limit: usize },
    /// A status other than the one that was needed.
    Refused { host: String, status: u16 },
    /// The reply does not have the form that was asked for.
    Unreadable { host: String, why: &'static str, source: Option<serde_json::Error> },
    /// No call can be made at all, for want of valid certificates.
    Unusable { source: Cause },
}

// === impl Error ===

impl Error {
    /// What a call came to. Without the URL, which may hold a secret.
    pub(super) fn of(error: reqwest::Error, host: &str) -> Self {
        let host = host.to_owned();
        let mut cause = std::error::Error::source(&error);
        while let Some(source) = cause {
            if source.is::<NotPublic>() {
                return Self::Forbidden { host, why: NOT_PUBLIC };
            }
            cause = source.source();
        }
        if error.is_timeout() {
            Self::TimedOut { host }
        } else {
            Self::Unreachable { host, source: error.without_url().into() }
        }
    }

    pub(super) fn unusable(error: reqwest::Error) -> Self {
        Self::Unusable { source: error.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { host, why } => write!(f, "{host:?} may not be called: {why}"),
            Self::Unreachable { host, .. } => write!(f, "{host:?} was not reached, or broke off"),
            Self::TimedOut { host } => write!(f, "{host:?} did not answer in time"),
            Self::TooLarge { host, limit } => write!(f, "{host:?} answered with more than {limit} bytes"),
            Self::Refused { host, status } => write!(f, "{host:?} answered with status {status}"),
            Self::Unreadable { host, why, .. } => write!(f, "{host:?} answered what cannot be used: {why}"),
            Self::Unusable { .. } => f.write_str("make a client for calls to other services"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable { source, .. } | Self::Unusable { source } => Some(&**source),
            Self::Unreadable { source: Some(source), .. } => Some(source),
            Self::Unreadable { source: None, .. }
            | Self::Forbidden { .. }
            | Self::TimedOut { .. }
            | Self::TooLarge { .. }
            | Self::Refused { .. } => None,
        }
    }
}

//! Sessions that tokens are issued in: whose they are, and what becomes of those that have lapsed.

use jeton_core::{AccessToken, Subject};

use crate::{error::Error, keys::ring::digest128};

/// What becomes of a token whose session has lapsed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lapsed {
    /// It begins the session anew.
    Revive,
    /// It comes from a token of the session, which has ended with it.
    Refuse(fn() -> Error),
}

// === impl Lapsed ===

impl Lapsed {
    /// Whom a session that is named must be of: whom it was first minted for. What comes from a token of the session is in
    /// it already, for any subject.
    pub(super) fn owner(self, token: &AccessToken) -> Option<[u8; 16]> {
        let kind: &[u8] = match &token.subject {
            Subject::Client(_) | Subject::OtherClient(..) => b"client",
            Subject::Account(_) => b"account",
            Subject::Member(..) | Subject::Group(_, Some(_)) => b"member",
            Subject::Group(_, None) => b"group",
        };
        match self {
            Self::Revive => Some(digest128(&[b"session owner", kind, token.sub().as_bytes()])),
            Self::Refuse(_) => None,
        }
    }
}

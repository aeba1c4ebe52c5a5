//! What the port says of sessions.

use std::time::Duration;

use jeton_core::{Position, SessionId, TenantId, Time};

/// Which session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    pub tenant: TenantId,
    pub session: SessionId,
}

/// A mint to note on a session.
#[derive(Clone, Debug)]
pub struct SessionMint {
    pub key: SessionKey,
    /// The mint's time.
    pub now: Time,
    /// The session lives for so long from now on.
    pub idle: Duration,
    /// When nothing of what is minted lives any more. The record is kept at least as long.
    pub until: Time,
    /// The `rev` of what is minted.
    pub rev: Position,
    /// A digest of whom the session must have been minted for first; `None`: what is minted belongs to it already.
    pub owner: Option<[u8; 16]>,
    /// Whether a lapsed session is brought back. Its tokens must have been revoked in the log before.
    pub revive: bool,
}

/// What is known of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// When it lapses unless something is minted for it.
    pub alive_until: Time,
    /// When nothing lives any more that was minted for it.
    pub until: Time,
}

/// Why a mint was not noted on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionConflict {
    /// It was minted for somebody else first.
    Owned,
    /// It has lapsed, or was ended after the mint's `rev`.
    Ended(Ended),
}

/// A session that has ended, and what that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Above the `rev` of all that was noted for it. Nothing is noted any more with a lower one.
    pub floor: Position,
    /// When nothing lives any more of what has ended.
    pub until: Time,
}

/// How much earlier the mint of a session sees it lapsed than introspection does.
pub const SESSION_MARGIN: Duration = Duration::from_secs(5);

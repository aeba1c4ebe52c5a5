//! Tokens with the lists that they stand in, families and sessions.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use jeton_core::{AccountId, ClientId, FamilyId, GroupId, MemberId, TenantId, Time, TokenId};

use super::session::{Ended, Session, SessionConflict, SessionKey, SessionMint};
use crate::storage::Result;

/// The port of what is issued.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// Stores a token, a family and a session's mint, as far as given, each in one atomic step.
    async fn mint(&self, mint: &Mint) -> Result<Minted>;

    /// Reads a token's record. Confirmed.
    async fn token(&self, id: &TokenId) -> Result<Option<Bytes>>;

    /// Reads tokens' records, in the order of `ids`. Confirmed.
    async fn tokens(&self, ids: &[TokenId]) -> Result<Vec<Option<Bytes>>>;

    /// Reads a family's record. Confirmed.
    async fn family(&self, id: &FamilyId) -> Result<Option<FamilyRecord>>;

    /// What is known of sessions, in the order given. Confirmed.
    async fn sessions(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Session>>>;

    /// Ends what was minted for sessions so far: no later mint is noted with a `rev` from before. `None`: nothing was.
    async fn end_sessions(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Ended>>>;

    /// Up to `limit` tokens of a subject in the order of (expiry, id), after `after`.
    async fn subject_page(
        &self,
        subject: &SubjectKey,
        after: Option<&IndexEntry>,
        now: Time,
        limit: usize,
    ) -> Result<Vec<IndexEntry>>;
}

/// Which list of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectKey {
    /// Tokens that act as a client in a tenant.
    Client(TenantId, ClientId),
    /// Tokens that act as an account.
    Account(AccountId),
    /// Tokens that act as a member.
    Member(MemberId),
    /// Tokens that act for an entity group and none of its members.
    Group(GroupId),
}

/// One token in a subject's list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexEntry {
    pub expires: Time,
    pub token: TokenId,
}

/// What one issue or renewal stores. The parts are sent together and each is atomic by itself.
#[derive(Clone, Debug)]
pub struct Mint {
    pub now: Time,
    pub token: Option<TokenMint>,
    pub family: Option<FamilyMint>,
    pub session: Option<SessionMint>,
}

/// A token to store and to list.
#[derive(Clone, Debug)]
pub struct TokenMint {
    pub id: TokenId,
    pub record: Bytes,
    /// When the token expires: where it stands in its subject's list.
    pub expires: Time,
    /// When the record may be forgotten; not before `expires`.
    pub keep_until: Time,
    pub subject: SubjectKey,
    /// Whether a record that is there already is kept and returned, or replaced.
    pub exists: Existing,
}

/// What to do about a record that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Keep,
    Replace,
}

/// A family to create or to move on.
#[derive(Clone, Debug)]
pub struct FamilyMint {
    pub id: FamilyId,
    pub record: FamilyRecord,
    /// When the record may be forgotten.
    pub expires: Time,
    /// The revision that it must have now; `None`: it must not exist.
    pub expected: Option<u32>,
}

/// A family's record.
#[derive(Clone, Debug, PartialEq)]
pub struct FamilyRecord {
    /// Grows by one with each write: what a concurrent renewal compares.
    pub revision: u32,
    pub body: Bytes,
}

/// What became of a mint.
#[derive(Clone, Debug, PartialEq)]
pub struct Minted {
    /// The token's record that was there already and was kept.
    pub token: Option<Bytes>,
    /// The family's record that was there instead of the expected one; nothing was written to it.
    pub family: Option<FamilyConflict>,
    /// Why the session was not touched.
    pub session: Option<SessionConflict>,
}

/// Why a family was not written.
#[derive(Clone, Debug, PartialEq)]
pub enum FamilyConflict {
    /// Another record stands there.
    Other(FamilyRecord),
    /// It is gone.
    Gone,
}

/// Expired entries stay in a subject's list at least so long after their expiry by the store's own clock.
pub const PRUNE_MARGIN: Duration = Duration::from_secs(5);

// === impl SubjectKey ===

impl fmt::Display for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(tenant, client) => write!(f, "c:{tenant}:{client}"),
            Self::Account(account) => write!(f, "a:{account}"),
            Self::Member(member) => write!(f, "m:{member}"),
            Self::Group(group) => write!(f, "g:{group}"),
        }
    }
}

// === impl IndexEntry ===

impl IndexEntry {
    /// 6 bytes of expiry (ms) and 16 of id: compares as the entry does.
    pub fn to_bytes(&self) -> [u8; 22] {
        let mut bytes = [0; 22];
        bytes[..6].copy_from_slice(&self.expires.as_millis().to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(self.token.random_bytes().unwrap_or(&[0; 16]));
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 22] = bytes.try_into().ok()?;
        let (expires, token) = bytes.split_first_chunk::<6>()?;
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(expires);
        Some(Self {
            expires: Time::from_millis(u64::from_be_bytes(millis)),
            token: TokenId::from_bytes(token.try_into().ok()?),
        })
    }
}

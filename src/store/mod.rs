//! The store: what must survive, and how to reach it.
//!
//! [`Store`] is the port, written for what the domain needs; [`embedded`] and [`redis`] are its adapters, held to one
//! conformance suite (`tests/suite/store.rs`). It promises: a mutation that returned `Ok` is durable; one that returned
//! an error has an unknown outcome that converges when it is repeated; nothing is half done.
//!
//! Invariant: the store knows records as bytes with a version and an expiry, and decides nothing about tokens. Expiry is
//! decided by the `now` that is passed in; what a store removes by itself is garbage collection only.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    ambient::Time,
    revocation::entry::{Entry, LogEntry, Slot},
    token::{AccountId, ClientId, FamilyId, GroupId, Ident, MemberId, Position, TenantId, TokenId},
};

pub mod embedded;
mod error;
pub mod observed;
pub mod redis;
mod session;
mod unique;

pub use error::{Cause, Error, Result};
pub use session::{Ended, SESSION_MARGIN, Session, SessionConflict, SessionKey, SessionMint};
pub use unique::{Name, Refusal, Unique};

/// The port.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    // --- the revocation log ---

    /// The log's confirmed head, and the entries after `after`, oldest first.
    ///
    /// Confirmed: an acknowledged append is never above a head that is returned later, whatever fails over meanwhile.
    /// This call also raises the line if the store's history may have forked since the last one.
    async fn tail(&self, after: Position) -> Result<Tail>;

    /// Appends entries, in this order, and merges them into the state map. Returns the position of the last one.
    async fn append(&self, entries: &[Entry]) -> Result<Position>;

    /// One page of the state map, as `cursor` of the page before says. Entries that are appended meanwhile may be missing:
    /// follow from a head that was read before the first page. Confirmed, as the head is: a page may come over another
    /// connection than the head did, from a primary that was replaced.
    async fn state_page(&self, cursor: Option<String>) -> Result<StatePage>;

    // --- a tenant's directory ---

    /// Reads records, in the order of `keys`. Confirmed, "not found" included.
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>>;

    /// The ids that hold unique names, in the order of `names`. Confirmed.
    async fn holders(&self, tenant: &TenantId, names: &[Unique]) -> Result<Vec<Option<String>>>;

    /// The id that holds a unique name. Confirmed.
    async fn holder(&self, tenant: &TenantId, name: &Unique) -> Result<Option<String>> {
        Ok(self.holders(tenant, std::slice::from_ref(name)).await?.pop().flatten())
    }

    /// Writes records of one tenant in one atomic step, or nothing at all.
    async fn write(&self, change: &Change) -> Result<Written>;

    /// What a request that is remembered at `now` wrote: the digest of its body, and its result. Confirmed.
    async fn remembered(&self, tenant: &TenantId, request: [u8; 16], now: Time) -> Result<Option<([u8; 16], String)>>;

    /// Clears what a record owes the log, if it still has this version; another or no record is left alone. The version
    /// stays: to readers nothing changed.
    async fn settle(&self, key: &RecordKey, version: u64) -> Result<()>;

    /// Up to `limit` ids of the index that stand after `after`, in the order of their bytes.
    async fn list(&self, index: &Index, after: Option<&str>, limit: usize) -> Result<Vec<String>>;

    /// The same ids, each with the record of `kind` that it names, in one round trip. Confirmed.
    async fn rows(&self, index: &Index, kind: Kind, after: Option<&str>, limit: usize) -> Result<Vec<Row>>;

    // --- tokens ---

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

    // --- the store itself ---

    /// Whether the store can be reached and written; for readiness.
    async fn ping(&self) -> Result<()>;

    /// What the operator should know about how the store is set up, found at start.
    fn warnings(&self) -> Vec<String>;
}

/// The end of the log.
#[derive(Debug, Clone)]
pub struct Tail {
    /// The confirmed head.
    pub head: Position,
    /// Entries after the position asked for, oldest first, at most [`TAIL_LIMIT`]; the last one stands at `head` unless
    /// there are more than that, or `head` was only raised.
    pub entries: Vec<LogEntry>,
    /// There are more entries up to `head`: ask again from the last one.
    pub more: bool,
    /// Entries after the position asked for were trimmed, or it stands above the head: load the state map instead.
    pub gap: bool,
}

/// One page of the state map.
#[derive(Debug)]
pub struct StatePage {
    pub slots: Vec<(Ident, Slot)>,
    /// Opens the next page; `None`: this was the last one.
    pub next: Option<String>,
}

/// What kind of record in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A tenant; all stand in the directory of `system`.
    Tenant,
    /// A client.
    Client,
    /// When a client's secrets were last used; approximate, so apart from the client's record.
    SecretUse,
    /// An account.
    Account,
    /// An entity group.
    Group,
    /// An account's place in an entity group; its id is the ids of both.
    Entity,
    /// A member's place in an entity group; its id is the ids of both.
    GroupMember,
    /// A client's admission.
    Admission,
    /// A member.
    Member,
    /// A role.
    Role,
    /// A member's place in an account; its id is the ids of both.
    Membership,
    /// How many memberships an account or a member has, or how many identity profiles a tenant.
    Tally,
    /// An identity profile.
    IdentityProfile,
    /// A member's way in through an identity profile: only its name and lists, the rest is in the member's record.
    Identity,
    /// An event that is to be delivered, in the directory of `system`.
    Event,
    /// A one-time password that was asked for, in the directory of `system`.
    OneTimePassword,
    /// How often it was attempted of late to sign in as somebody.
    Attempts,
    /// A tenant's signing keys, all in one record.
    KeySet,
    /// Until when the master keys are needed, in the directory of `system`.
    MasterKeys,
}

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    pub tenant: TenantId,
    pub kind: Kind,
    /// Text of the id.
    pub id: String,
}

/// A directory record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Grows by one with each write; 1 is the first.
    pub version: u64,
    /// Entries that the write owes the log: whoever loads the record appends them first. Empty once they are logged and
    /// [`Store::settle`] said so.
    pub pending: Vec<Entry>,
    pub body: Bytes,
}

/// A list that records stand in: all of a kind, or those with one parent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Index {
    pub tenant: TenantId,
    pub kind: Kind,
    pub parent: Option<String>,
}

/// A row of an index, with the record that it names.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub id: String,
    /// `None`: there is no such record.
    pub record: Option<Record>,
}

/// An atomic change of one tenant's directory. All checks are made before anything is written.
#[derive(Clone, Debug)]
pub struct Change {
    pub tenant: TenantId,
    pub now: Time,
    pub puts: Vec<Put>,
    /// Versions that records which are not written must have now.
    pub require: Vec<(Kind, String, u64)>,
    /// Names to take for an id. Refused if another id holds one, even if it is freed by the same change.
    pub take: Vec<(Unique, String)>,
    /// Names to free, if the id holds them.
    pub free: Vec<(Unique, String)>,
    /// Ids to put into indexes.
    pub index: Vec<(Index, String)>,
    /// Ids to take out of indexes.
    pub unindex: Vec<(Index, String)>,
    /// Indexes that must be empty, and what it means if one is not.
    pub require_empty: Vec<(Index, Refusal)>,
    /// Makes the change repeatable.
    pub request: Option<Request>,
}

/// One record to write.
#[derive(Clone, Debug)]
pub struct Put {
    pub kind: Kind,
    pub id: String,
    /// The version that it must have now; 0: it must not exist; `None`: any.
    pub expected: Option<u64>,
    pub pending: Vec<Entry>,
    pub body: Bytes,
    /// When the record may be forgotten, with its version; mostly never. Who reads it decides by the body whether it counts.
    pub keep_until: Time,
}

/// What makes a change repeatable.
#[derive(Clone, Debug)]
pub struct Request {
    /// Digest of tenant, caller, method and request id.
    pub key: [u8; 16],
    /// Digest of the body.
    pub body: [u8; 16],
    /// The id that the change creates, told to a repeat.
    pub result: String,
    /// When the key may be forgotten.
    pub until: Time,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// All written.
    Done,
    /// Nothing: a record has another version than expected. Its kind and id.
    Conflict(Kind, String),
    /// Nothing: another id holds a name.
    Taken(Unique),
    /// Nothing: an index is not empty, which means this.
    NotEmpty(Refusal),
    /// Nothing: the request was done before; this is its result.
    Repeated { body: [u8; 16], result: String },
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

/// How long the log's entries are kept for followers; who was away longer loads the state map.
pub const LOG_RETENTION: Duration = Duration::from_secs(3600);
/// The most entries that one [`Store::tail`] returns.
pub const TAIL_LIMIT: usize = 1000;
/// Expired entries stay in a subject's list at least so long after their expiry by the store's own clock.
pub const PRUNE_MARGIN: Duration = Duration::from_secs(5);

// === impl Change ===

impl Change {
    /// A change that does nothing yet.
    pub const fn new(tenant: TenantId, now: Time) -> Self {
        Self {
            tenant,
            now,
            puts: Vec::new(),
            require: Vec::new(),
            take: Vec::new(),
            free: Vec::new(),
            index: Vec::new(),
            unindex: Vec::new(),
            require_empty: Vec::new(),
            request: None,
        }
    }
}

// === impl Put ===

impl Put {
    /// A record that is kept for ever, and of which nothing is owed to the log yet.
    pub const fn new(kind: Kind, id: String, expected: Option<u64>, body: Bytes) -> Self {
        Self { kind, id, expected, pending: Vec::new(), body, keep_until: Time::NEVER }
    }
}

// === impl Kind ===

impl Kind {
    /// The kind's name in stored keys. Never change one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Client => "client",
            Self::SecretUse => "secretuse",
            Self::Account => "account",
            Self::Group => "group",
            Self::Entity => "entity",
            Self::GroupMember => "groupmember",
            Self::Admission => "admission",
            Self::Member => "member",
            Self::Role => "role",
            Self::Membership => "membership",
            Self::Tally => "tally",
            Self::IdentityProfile => "identityprofile",
            Self::Identity => "identity",
            Self::Event => "event",
            Self::OneTimePassword => "otp",
            Self::Attempts => "attempts",
            Self::KeySet => "keyset",
            Self::MasterKeys => "masterkeys",
        }
    }
}

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

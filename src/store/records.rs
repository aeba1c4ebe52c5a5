//! Tenants' directories: records with versions, unique names, indexes and remembered requests.

use async_trait::async_trait;
use bytes::Bytes;
use jeton_core::{TenantId, Time, entry::Entry};

use super::{
    kind::Kind,
    unique::{Refusal, Unique},
};
use crate::storage::Result;

/// The port of tenants' directories.
#[async_trait]
pub trait Records: Send + Sync {
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
    /// Entries that the write owes the log: a load of the record appends them first. Empty once they are logged and
    /// [`Records::settle`] said so.
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
    /// The id that the change creates, and that a repeat gets.
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

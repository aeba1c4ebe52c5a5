//! What is stored, and how.
//!
//! Keys are tuples, which are compared part by part, so no text inside of a key can be mistaken for another key. Values
//! are CBOR arrays that can grow by fields, or the text forms of the revocation log.

use bytes::Bytes;
use jeton_core::{Position, Time, id};
use minicbor::{Decode, Encode};
use redb::{ReadableTable, StorageError, Table, TableDefinition, TableError, WriteTransaction};

use super::{
    super::{FamilyRecord, SessionKey},
    expiring::Expiring,
    failure::Failure,
};
use crate::{ambient::Clock, storage::Error};

pub type RecordsKey = (&'static str, &'static str, &'static str);
pub type UniquesKey = (&'static str, &'static str, &'static str, &'static str);
pub type IndexesKey = (&'static str, &'static str, Option<&'static str>, &'static str);
pub type SubjectsKey = (&'static str, &'static [u8; 22]);
pub type ExpiryKey = (u64, u8, &'static [u8]);
type IdKey = &'static [u8; 16];
type Stored = &'static [u8];

/// Single values: see the names below.
pub const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
/// The revocation log: (line, µs) → text of an entry.
pub const LOG: TableDefinition<'_, (u32, u64), &str> = TableDefinition::new("log");
/// The state map: text of an identifier → text of a slot.
pub const STATE: TableDefinition<'_, &str, &str> = TableDefinition::new("state");
/// The directory: (tenant, kind, id) → [`StoredRecord`].
pub const RECORDS: TableDefinition<'_, RecordsKey, Stored> = TableDefinition::new("records");
/// Unique names: (tenant, kind, field, value) → the id that holds it.
pub const UNIQUES: TableDefinition<'_, UniquesKey, &str> = TableDefinition::new("uniques");
/// Indexes: (tenant, kind, parent, id).
pub const INDEXES: TableDefinition<'_, IndexesKey, ()> = TableDefinition::new("indexes");
/// Request keys → [`StoredRequest`].
pub const REQUESTS: TableDefinition<'_, IdKey, Stored> = TableDefinition::new("requests");
/// Token ids → [`StoredToken`].
pub const TOKENS: TableDefinition<'_, IdKey, Stored> = TableDefinition::new("tokens");
/// Subjects' tokens: (text of the subject, index entry).
pub const SUBJECTS: TableDefinition<'_, SubjectsKey, ()> = TableDefinition::new("subjects");
/// Family ids → [`StoredFamily`].
pub const FAMILIES: TableDefinition<'_, IdKey, Stored> = TableDefinition::new("families");
/// Session keys → [`StoredSession`].
pub const SESSIONS: TableDefinition<'_, &str, Stored> = TableDefinition::new("sessions");
/// When to look whether something has expired: (ms, [`Expiring`], key).
pub const EXPIRY: TableDefinition<'_, ExpiryKey, ()> = TableDefinition::new("expiry");

/// In [`META`]: the version of this layout.
pub const FORMAT: &str = "format";
/// In [`META`]: the log's head.
pub const HEAD: &str = "head";
/// In [`META`]: the last entry that was trimmed from the log.
pub const FLOOR: &str = "floor";
/// The layout that this file describes. Files of another one are not opened.
pub const CURRENT_FORMAT: &str = "1";

/// All tables, open in one write transaction.
pub struct Tables<'txn> {
    pub meta: Table<'txn, &'static str, &'static str>,
    pub log: Table<'txn, (u32, u64), &'static str>,
    pub state: Table<'txn, &'static str, &'static str>,
    pub records: Table<'txn, RecordsKey, Stored>,
    pub uniques: Table<'txn, UniquesKey, &'static str>,
    pub indexes: Table<'txn, IndexesKey, ()>,
    pub requests: Table<'txn, IdKey, Stored>,
    pub tokens: Table<'txn, IdKey, Stored>,
    pub subjects: Table<'txn, SubjectsKey, ()>,
    pub families: Table<'txn, IdKey, Stored>,
    pub sessions: Table<'txn, &'static str, Stored>,
    pub expiry: Table<'txn, ExpiryKey, ()>,
    /// The log's head, with what this transaction appended.
    pub head: Position,
    /// The store's own clock, for positions and for the sweep; never for what an answer says.
    pub now: Time,
    pub now_micros: u64,
    /// How much this transaction adds that somebody will have to sweep up.
    pub debts: usize,
}

#[derive(Encode, Decode)]
#[cbor(array)]
pub struct StoredRecord<'a> {
    #[n(0)]
    pub version: u64,
    /// Texts of entries.
    #[n(1)]
    pub pending: Vec<String>,
    #[cbor(b(2), with = "minicbor::bytes")]
    pub body: &'a [u8],
    /// When it may be forgotten; `None`: never.
    #[n(3)]
    pub keep_until: Option<Time>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
pub struct StoredRequest<'a> {
    #[n(0)]
    pub until: Time,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub body: [u8; 16],
    #[b(2)]
    pub result: &'a str,
}

#[derive(Encode, Decode)]
#[cbor(array)]
pub struct StoredToken<'a> {
    /// Where it stands in its subject's list.
    #[n(0)]
    pub expires: Time,
    /// Text of the subject in whose list it stands.
    #[b(1)]
    pub subject: &'a str,
    #[cbor(b(2), with = "minicbor::bytes")]
    pub body: &'a [u8],
    /// When the record may be forgotten.
    #[n(3)]
    pub keep_until: Time,
}

#[derive(Encode, Decode)]
#[cbor(array)]
pub struct StoredFamily<'a> {
    #[n(0)]
    pub expires: Time,
    #[n(1)]
    pub revision: u32,
    #[cbor(b(2), with = "minicbor::bytes")]
    pub body: &'a [u8],
}

#[derive(Clone, Copy, Encode, Decode)]
#[cbor(array)]
pub struct StoredSession {
    #[n(0)]
    pub last_mint: Time,
    /// When it lapses, as of the last mint.
    #[n(1)]
    pub alive_until: Time,
    /// When nothing lives any more that was minted for it; the record is kept as long.
    #[n(2)]
    pub until: Time,
    /// The highest `rev` that was minted.
    #[n(3)]
    pub newest: Position,
    /// What has a lower `rev` is not noted any more.
    #[n(4)]
    pub floor: Position,
    /// A digest of whom it was first minted for.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub owner: Option<[u8; 16]>,
}

// === impl StoredSession ===

impl StoredSession {
    /// The floor that ends all that was minted so far.
    pub fn end(&self) -> Position {
        // No clock: right above what was minted. Positions do not run out in the year 4253 only.
        self.floor.max(self.newest.next(0).unwrap_or(self.newest))
    }
}

// === impl Tables ===

impl<'txn> Tables<'txn> {
    pub fn open(transaction: &'txn WriteTransaction, head: Position, clock: &Clock) -> Result<Self, TableError> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            log: transaction.open_table(LOG)?,
            state: transaction.open_table(STATE)?,
            records: transaction.open_table(RECORDS)?,
            uniques: transaction.open_table(UNIQUES)?,
            indexes: transaction.open_table(INDEXES)?,
            requests: transaction.open_table(REQUESTS)?,
            tokens: transaction.open_table(TOKENS)?,
            subjects: transaction.open_table(SUBJECTS)?,
            families: transaction.open_table(FAMILIES)?,
            sessions: transaction.open_table(SESSIONS)?,
            expiry: transaction.open_table(EXPIRY)?,
            head,
            now: clock.now(),
            now_micros: clock.now_micros(),
            debts: 0,
        })
    }

    /// Makes sure that the sweep looks at something when it expires. `filed` is the expiry that it had before.
    ///
    /// One row stands at or before the expiry: the sweep that comes too early moves it. So what lives on and on, such as
    /// a family, costs no write here when it is renewed.
    pub fn file(&mut self, what: Expiring, key: &[u8], filed: Option<Time>, expires: Time) -> Result<(), StorageError> {
        if expires.is_never() || filed.is_some_and(|filed| !filed.is_never() && filed <= expires) {
            return Ok(());
        }
        self.debts += 1;
        self.expiry.insert((expires.as_millis(), what.code(), key), ())?;
        Ok(())
    }
}

// === impl StoredFamily ===

impl StoredFamily<'_> {
    pub fn record(&self) -> FamilyRecord {
        FamilyRecord { revision: self.revision, body: Bytes::copy_from_slice(self.body) }
    }
}

// === keys ===

/// Token and family ids have no literals, so there are always bytes.
pub fn id_bytes<K: id::Tag>(id: &id::Id<K>) -> &[u8; 16] {
    id.random_bytes().unwrap_or(&[0; 16])
}

/// No tenant id contains a colon, so this is unambiguous.
pub fn session_key(key: &SessionKey) -> String {
    format!("{}:{}", key.tenant, key.session.as_str())
}

/// Neither tenant ids nor names of kinds contain a colon.
pub fn record_key((tenant, kind, id): (&str, &str, &str)) -> String {
    format!("{tenant}:{kind}:{id}")
}

/// The parts of what [`record_key`] made.
pub fn record_parts(key: &str) -> Option<(&str, &str, &str)> {
    let (tenant, rest) = key.split_once(':')?;
    let (kind, id) = rest.split_once(':')?;
    Some((tenant, kind, id))
}

// === values ===

pub fn encode(value: &impl Encode<()>) -> Result<Vec<u8>, Error> {
    minicbor::to_vec(value).map_err(|error| Error::corrupt(format!("write a record: {error}")))
}

pub fn decode<'a, T: Decode<'a, ()>>(stored: &'a [u8]) -> Result<T, Error> {
    minicbor::decode(stored).map_err(|error| Error::corrupt(error.to_string()))
}

/// A position among the single values; [`Position::START`] if it was never set.
pub fn position<T>(meta: &T, name: &'static str) -> Result<Position, Failure>
where
    T: ReadableTable<&'static str, &'static str>,
{
    match meta.get(name)? {
        Some(text) => Ok(text.value().parse().map_err(|_| Error::corrupt(format!("the log's {name}")))?),
        None => Ok(Position::START),
    }
}

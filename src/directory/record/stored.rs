//! What all records have in common.

use std::hash::Hash;

use jeton_contract::reason::Reason;
use jeton_core::{Ident, TenantId, id, id::Id};

use crate::{
    error::{Error, Result},
    metrics::labels,
    store::{Kind, Name, RecordKey, Refusal},
};

/// A record of the directory: its kind, and what the revocation log calls it.
pub trait Stored: Clone + minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()> + Send + Sync {
    const KIND: Kind;
    /// What it is called in errors, as its message in the contract.
    const NAME: &'static str;

    /// The identifier that a Changed entry about it names.
    fn ident(&self) -> Ident;

    /// The version of the stored record; not part of its body.
    fn version(&self) -> u64;
    fn set_version(&mut self, version: u64);

    fn to_bytes(&self) -> bytes::Bytes {
        let mut body = Vec::new();
        // Writing to memory cannot fail.
        let written = minicbor::encode(self, &mut body);
        debug_assert!(written.is_ok());
        body.into()
    }
}

/// A record of which copies are kept in memory, where the revocation log keeps them true.
pub trait Kept: Stored + 'static {
    /// By what a copy is found.
    type Key: RecordId;

    /// As what its lookups are counted.
    const CACHE: labels::Cache;
    /// Whether it is also kept in mind that there is no such record. Only where the key says in which tenant that was: what
    /// is found by an id alone may stand in another tenant than the one where it was looked for.
    const KEEPS_ABSENCE: bool;

    /// The tenant that it belongs to.
    fn tenant(&self) -> &TenantId;

    /// Where the record of a key stands, in the directory of `tenant` unless its kind or key says otherwise.
    fn place(tenant: &TenantId, key: &Self::Key) -> RecordKey {
        RecordKey { tenant: tenant.clone(), kind: Self::KIND, id: key.to_text() }
    }

    /// The key of the record that stands there; `None`: none can.
    fn key_at(place: &RecordKey) -> Option<Self::Key> {
        Self::Key::from_text(&place.id)
    }

    /// The key of the copy that an entry about `ident` outdates.
    fn outdated_by(ident: &Ident) -> Option<Self::Key>;
}

/// The key of a record among those of its kind: an id, or two of a record that stands between two things.
pub trait RecordId: Clone + Eq + Hash + Send + Sync {
    /// The stored form.
    fn to_text(&self) -> String;
    fn from_text(text: &str) -> Option<Self>;
}

/// Whether a principal may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum State {
    #[n(0)]
    Enabled,
    #[n(1)]
    Disabled,
    /// A tombstone: the id is never used again.
    #[n(2)]
    Deleted,
}

macro_rules! stored {
    ($($record:ident $kind:ident $name:literal |$self:ident| $ident:expr;)*) => {$(
        impl Stored for $record {
            const KIND: Kind = Kind::$kind;
            const NAME: &'static str = $name;

            fn ident(&$self) -> Ident {
                $ident
            }

            fn version(&self) -> u64 {
                self.version
            }

            fn set_version(&mut self, version: u64) {
                self.version = version;
            }
        }
    )*};
}

pub(super) use stored;

/// The foreign ids of a kind of record.
pub(super) const fn foreign_ids(kind: Kind, resource: &'static str) -> Name {
    let message = "the foreign id is taken";
    Name {
        kind,
        field: "foreign_id",
        taken: Refusal { reason: Reason::ForeignIdTaken, message, resource: Some(resource) },
    }
}

// === impl RecordId ===

impl<K: id::Tag> RecordId for Id<K> {
    fn to_text(&self) -> String {
        self.to_string()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl<A: id::Tag, B: id::Tag> RecordId for (Id<A>, Id<B>) {
    fn to_text(&self) -> String {
        format!("{}:{}", self.0, self.1)
    }

    fn from_text(text: &str) -> Option<Self> {
        let (first, second) = text.split_once(':')?;
        Some((first.parse().ok()?, second.parse().ok()?))
    }
}

/// The etag of a version.
pub fn etag(version: u64) -> String {
    format!("v{version}")
}

/// Refuses an etag that is given and not the current one.
pub fn check_etag(given: Option<&str>, version: u64) -> Result<()> {
    match given {
        Some(given) if !given.is_empty() && given != etag(version) => {
            Err(Error::new(Reason::ConcurrentUpdate, "the resource was changed since it was read"))
        }
        _ => Ok(()),
    }
}

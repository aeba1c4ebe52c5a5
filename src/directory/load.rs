//! Reading records: from the copies that the log keeps true, else from the store, all that is missing in one read.

use std::sync::Arc;

use jeton_core::{TenantId, state::Ticket};
use tokio::time::Instant;

use super::{Directory, record::Stored, shelf::Shelved};
use crate::{
    error::{Error, Result},
    store::{Record, RecordKey, SessionKey},
};

/// What is wanted soon and is not in memory. One read of records and one of sessions gets all of it.
#[derive(Debug)]
pub struct Missing<'d> {
    directory: &'d Directory,
    records: Vec<(RecordKey, Keep)>,
    sessions: Vec<SessionKey>,
}

/// When a load began, by the log and by the clock.
pub(super) type Began = (Ticket, Instant);

/// Keeps a copy of what was found of one kind.
type Keep = fn(&Directory, &RecordKey, Option<&Record>, Began) -> Result<()>;

// === impl Directory ===

impl Directory {
    /// A record of a tenant, deleted ones included.
    pub(super) async fn find<R: Shelved>(&self, tenant: &TenantId, key: &R::Key) -> Result<Option<Arc<R>>> {
        if let Some(copy) = R::shelf(&self.shelves).get(key) {
            return Ok(copy.filter(|record| record.tenant() == tenant));
        }
        // Boxed, as every way to the store is here: what is in memory should not pay for the state of what is not.
        Box::pin(self.read(&R::place(tenant, key))).await
    }

    /// Nothing missing yet.
    pub fn missing(&self) -> Missing<'_> {
        Missing { directory: self, records: Vec::new(), sessions: Vec::new() }
    }

    /// Reads what is missing of records of one kind, in one read.
    pub(super) async fn load_all<'k, R: Shelved>(
        &self,
        tenant: &TenantId,
        keys: impl IntoIterator<Item = &'k R::Key>,
    ) -> Result<()>
    where
        R::Key: 'k,
    {
        let mut missing = self.missing();
        for key in keys {
            missing.want::<R>(tenant, key);
        }
        missing.load().await
    }

    /// Reads one record from the store, keeps a copy, and repairs what a crash left undone.
    async fn read<R: Shelved>(&self, place: &RecordKey) -> Result<Option<Arc<R>>> {
        let began = self.core.log.ticket();
        let record = self.core.store.read(std::slice::from_ref(place)).await?.pop().flatten();
        let found = self.keep(place, record.as_ref(), began)?;
        if let Some(record) = record {
            self.repair(place, &record).await?;
        }
        Ok(found)
    }

    /// Reads records of which no copies are kept, in the order of `places`.
    pub(super) async fn read_records<R: Stored>(&self, places: &[RecordKey]) -> Result<Vec<Option<R>>> {
        let records = self.core.store.read(places).await?;
        let mut decoded = Vec::with_capacity(places.len());
        for (place, record) in places.iter().zip(records) {
            decoded.push(match record {
                Some(record) => {
                    self.repair(place, &record).await?;
                    Some(decode(place, &record)?)
                }
                None => None,
            });
        }
        Ok(decoded)
    }

    /// Decodes what was read, and keeps a copy of it unless it still owes entries to the log.
    pub(super) fn keep<R: Shelved>(
        &self,
        place: &RecordKey,
        record: Option<&Record>,
        (ticket, began): Began,
    ) -> Result<Option<Arc<R>>> {
        let found = record.map(|record| decode(place, record).map(Arc::new)).transpose()?;
        if record.is_none_or(|record| record.pending.is_empty()) {
            let key = R::key_at(place);
            let key = key.ok_or_else(|| Error::internal(format!("read the id {} of a record", place.id)))?;
            R::shelf(&self.shelves).fill(&self.core.log.state(), ticket, began, key, found.clone());
        }
        Ok(found)
    }

    /// Reads records of any kinds, and keeps copies of them.
    async fn read_all(&self, wanted: &[(RecordKey, Keep)]) -> Result<()> {
        let began = self.core.log.ticket();
        let places: Vec<_> = wanted.iter().map(|(place, _)| place.clone()).collect();
        let records = self.core.store.read(&places).await?;
        for ((place, keep), record) in wanted.iter().zip(&records) {
            keep(self, place, record.as_ref(), began)?;
        }
        for (place, record) in places.iter().zip(&records) {
            if let Some(record) = record {
                self.repair(place, record).await?;
            }
        }
        Ok(())
    }
}

// === impl Missing ===

impl Missing<'_> {
    /// Asks for a record of a tenant.
    pub(crate) fn want<R: Shelved>(&mut self, tenant: &TenantId, key: &R::Key) {
        if R::shelf(&self.directory.shelves).get(key).is_none() {
            self.records.push((R::place(tenant, key), |directory, place, record, began| {
                directory.keep::<R>(place, record, began).map(drop)
            }));
        }
    }

    /// Asks until when a session is alive.
    pub fn want_session(&mut self, session: SessionKey) {
        if self.directory.known_alive(&session).is_none() {
            self.sessions.push(session);
        }
    }

    /// Reads what was asked for: records and sessions at the same time.
    pub async fn load(self) -> Result<()> {
        let Self { directory, mut records, mut sessions } = self;
        if records.is_empty() && sessions.is_empty() {
            return Ok(());
        }
        let load = async move {
            records.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            records.dedup_by(|(one, _), (other, _)| one == other);
            sessions.sort_unstable();
            sessions.dedup();
            let records = async { if records.is_empty() { Ok(()) } else { directory.read_all(&records).await } };
            let sessions =
                async { if sessions.is_empty() { Ok(()) } else { directory.read_sessions(&sessions).await } };
            tokio::try_join!(records, sessions).map(|_| ())
        };
        Box::pin(load).await
    }
}

/// Where a record of a tenant stands.
pub(super) fn key<R: Stored>(tenant: &TenantId, id: &impl ToString) -> RecordKey {
    RecordKey { tenant: tenant.clone(), kind: R::KIND, id: id.to_string() }
}

/// Reads a record's body.
pub(super) fn decode<R: Stored>(place: &RecordKey, record: &Record) -> Result<R> {
    let mut decoded: R = minicbor::decode(&record.body)
        .map_err(|source| Error::internal(format!("decode the {} {}", R::NAME, place.id)).with_source(source))?;
    decoded.set_version(record.version);
    Ok(decoded)
}

//! Tenants' directories.

use std::ops::Bound::{Excluded, Included, Unbounded};

use async_trait::async_trait;
use bytes::Bytes;
use jeton_core::{TenantId, Time, entry::Entry};
use redb::{ReadTransaction, ReadableTable};

use super::{
    super::{Change, Index, Kind, Record, RecordKey, Records, Row, Unique, Written},
    Embedded,
    expiring::Expiring,
    failure::Failure,
    tables::{self, INDEXES, RECORDS, StoredRecord, StoredRequest, Tables, UNIQUES},
};
use crate::storage::{Error, Result};

#[async_trait]
impl Records for Embedded {
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        self.read_committed("read records", |snapshot| read(snapshot, keys))
    }

    async fn holders(&self, tenant: &TenantId, names: &[Unique]) -> Result<Vec<Option<String>>> {
        self.read_committed("look up unique names", |snapshot| holders(snapshot, tenant, names))
    }

    async fn write(&self, change: &Change) -> Result<Written> {
        let change = change.clone();
        self.writer.submit("change the directory", move |tables| tables.write(&change)).await
    }

    async fn remembered(&self, tenant: &TenantId, request: [u8; 16], now: Time) -> Result<Option<([u8; 16], String)>> {
        let _: &TenantId = tenant; // A request's key is a digest that covers the tenant.
        self.read_committed("look up a request", |snapshot| remembered(snapshot, request, now))
    }

    async fn settle(&self, key: &RecordKey, version: u64) -> Result<()> {
        let key = key.clone();
        self.writer.submit("settle a record", move |tables| tables.settle(&key, version)).await
    }

    async fn list(&self, index: &Index, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        self.read_committed("list records", |snapshot| list(snapshot, index, after, limit))
    }

    async fn rows(&self, index: &Index, kind: Kind, after: Option<&str>, limit: usize) -> Result<Vec<Row>> {
        let attempted = "list records with their bodies";
        self.read_committed(attempted, |snapshot| rows(snapshot, index, kind, after, limit))
    }
}

/// Reads records, in the order of `keys`.
fn read(snapshot: &ReadTransaction, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, Failure> {
    let records = snapshot.open_table(RECORDS)?;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let tenant = key.tenant.to_string();
        let stored = records.get((tenant.as_str(), key.kind.name(), key.id.as_str()))?;
        found.push(stored.map(|stored| record(stored.value())).transpose()?);
    }
    Ok(found)
}

/// The ids that hold unique names, in the order of `names`.
fn holders(snapshot: &ReadTransaction, tenant: &TenantId, names: &[Unique]) -> Result<Vec<Option<String>>, Failure> {
    let uniques = snapshot.open_table(UNIQUES)?;
    let tenant = tenant.to_string();
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let holder = uniques.get(unique_key(&tenant, name))?;
        found.push(holder.map(|holder| holder.value().to_owned()));
    }
    Ok(found)
}

/// What a request that is remembered at `now` wrote.
fn remembered(snapshot: &ReadTransaction, request: [u8; 16], now: Time) -> Result<Option<([u8; 16], String)>, Failure> {
    let requests = snapshot.open_table(tables::REQUESTS)?;
    let Some(stored) = requests.get(&request)? else { return Ok(None) };
    let stored: StoredRequest<'_> = tables::decode(stored.value())?;
    Ok((stored.until > now).then(|| (stored.body, stored.result.to_owned())))
}

/// Up to `limit` ids of an index after `after`.
fn list(snapshot: &ReadTransaction, index: &Index, after: Option<&str>, limit: usize) -> Result<Vec<String>, Failure> {
    let indexes = snapshot.open_table(INDEXES)?;
    members(&indexes, index, after, limit)
}

/// The same ids, each with the record of `kind` that it names.
fn rows(
    snapshot: &ReadTransaction,
    index: &Index,
    kind: Kind,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Row>, Failure> {
    let ids = list(snapshot, index, after, limit)?;
    let (records, tenant) = (snapshot.open_table(RECORDS)?, index.tenant.to_string());
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        let stored = records.get((tenant.as_str(), kind.name(), id.as_str()))?;
        let record = stored.map(|stored| record(stored.value())).transpose()?;
        rows.push(Row { id, record });
    }
    Ok(rows)
}

fn members<T>(indexes: &T, index: &Index, after: Option<&str>, limit: usize) -> Result<Vec<String>, Failure>
where
    T: ReadableTable<tables::IndexesKey, ()>,
{
    let tenant = index.tenant.to_string();
    let list = (tenant.as_str(), index.kind.name(), index.parent.as_deref());
    let key = |id| (list.0, list.1, list.2, id);
    let start = after.map_or(Included(key("")), |after| Excluded(key(after)));
    let mut ids = Vec::new();
    for row in indexes.range::<(&str, &str, Option<&str>, &str)>((start, Unbounded))?.take(limit) {
        let (row, _) = row?;
        let (tenant, kind, parent, id) = row.value();
        if (tenant, kind, parent) != list {
            break;
        }
        ids.push(id.to_owned());
    }
    Ok(ids)
}

fn record(stored: &[u8]) -> Result<Record, Error> {
    let stored: StoredRecord<'_> = tables::decode(stored)?;
    let entry = |text: &String| Entry::from_text(text).ok_or_else(|| Error::corrupt("a record's pending entry"));
    Ok(Record {
        version: stored.version,
        pending: stored.pending.iter().map(entry).collect::<Result<_, _>>()?,
        body: Bytes::copy_from_slice(stored.body),
    })
}

fn unique_key<'a>(tenant: &'a str, Unique { name, value }: &'a Unique) -> (&'a str, &'a str, &'a str, &'a str) {
    (tenant, name.kind.name(), name.field, value)
}

// === impl Tables ===

impl Tables<'_> {
    /// Makes all of a change, or nothing.
    pub fn write(&mut self, change: &Change) -> Result<Written, Failure> {
        let tenant = change.tenant.to_string();
        if let Some(refused) = self.check(&tenant, change)? {
            return Ok(refused);
        }
        let mut puts = Vec::with_capacity(change.puts.len());
        for put in &change.puts {
            let key = (tenant.as_str(), put.kind.name(), put.id.as_str());
            let pending = put.pending.iter().map(Entry::to_text).collect();
            let (version, filed) = self.place(key)?;
            let keep_until = Some(put.keep_until).filter(|until| !until.is_never());
            let stored = StoredRecord { version: version + 1, pending, body: &put.body, keep_until };
            puts.push((key, tables::encode(&stored)?, filed, put.keep_until));
        }
        let request = match &change.request {
            Some(request) => {
                let stored = StoredRequest { until: request.until, body: request.body, result: &request.result };
                Some((request, self.request_until(&request.key)?, tables::encode(&stored)?))
            }
            None => None,
        };

        // From here on only the file itself can fail.
        for (name, id) in &change.free {
            if self.holder(&tenant, name)?.as_ref() == Some(id) {
                self.uniques.remove(unique_key(&tenant, name))?;
            }
        }
        for (name, id) in &change.take {
            self.uniques.insert(unique_key(&tenant, name), id.as_str())?;
        }
        for (key, stored, filed, keep_until) in puts {
            self.records.insert(key, stored.as_slice())?;
            self.file(Expiring::Record, tables::record_key(key).as_bytes(), filed, keep_until)?;
        }
        for (index, id) in &change.index {
            let tenant = index.tenant.to_string();
            self.indexes.insert((tenant.as_str(), index.kind.name(), index.parent.as_deref(), id.as_str()), ())?;
        }
        for (index, id) in &change.unindex {
            let tenant = index.tenant.to_string();
            self.indexes.remove((tenant.as_str(), index.kind.name(), index.parent.as_deref(), id.as_str()))?;
        }
        if let Some((request, filed, stored)) = request {
            self.requests.insert(&request.key, stored.as_slice())?;
            self.file(Expiring::Request, &request.key, filed, request.until)?;
        }
        Ok(Written::Done)
    }

    /// Clears what a record owes the log, if it still has this version.
    pub fn settle(&mut self, key: &RecordKey, version: u64) -> Result<(), Failure> {
        let tenant = key.tenant.to_string();
        let key = (tenant.as_str(), key.kind.name(), key.id.as_str());
        let settled = {
            let Some(stored) = self.records.get(key)? else { return Ok(()) };
            let stored: StoredRecord<'_> = tables::decode(stored.value())?;
            if stored.version != version || stored.pending.is_empty() {
                return Ok(());
            }
            tables::encode(&StoredRecord { pending: Vec::new(), ..stored })?
        };
        self.records.insert(key, settled.as_slice())?;
        Ok(())
    }

    /// Why a change cannot be made, if it cannot. A repeat comes before anything that its first try brought about.
    fn check(&self, tenant: &str, change: &Change) -> Result<Option<Written>, Failure> {
        if let Some(request) = &change.request
            && let Some(stored) = self.requests.get(&request.key)?
        {
            let stored: StoredRequest<'_> = tables::decode(stored.value())?;
            if stored.until > change.now {
                return Ok(Some(Written::Repeated { body: stored.body, result: stored.result.to_owned() }));
            }
        }
        for put in &change.puts {
            let Some(expected) = put.expected else { continue };
            if self.version((tenant, put.kind.name(), &put.id))? != expected {
                return Ok(Some(Written::Conflict(put.kind, put.id.clone())));
            }
        }
        for (kind, id, expected) in &change.require {
            if self.version((tenant, kind.name(), id))? != *expected {
                return Ok(Some(Written::Conflict(*kind, id.clone())));
            }
        }
        for (name, id) in &change.take {
            if self.holder(tenant, name)?.is_some_and(|holder| holder != *id) {
                return Ok(Some(Written::Taken(name.clone())));
            }
        }
        for (index, refusal) in &change.require_empty {
            if !members(&self.indexes, index, None, 1)?.is_empty() {
                return Ok(Some(Written::NotEmpty(*refusal)));
            }
        }
        Ok(None)
    }

    /// A record's version; 0 if there is none.
    fn version(&self, key: (&str, &str, &str)) -> Result<u64, Failure> {
        self.place(key).map(|(version, _)| version)
    }

    /// A record's version, and when it may be forgotten.
    fn place(&self, key: (&str, &str, &str)) -> Result<(u64, Option<Time>), Failure> {
        let Some(stored) = self.records.get(key)? else { return Ok((0, None)) };
        let stored: StoredRecord<'_> = tables::decode(stored.value())?;
        Ok((stored.version, stored.keep_until))
    }

    fn holder(&self, tenant: &str, name: &Unique) -> Result<Option<String>, redb::StorageError> {
        Ok(self.uniques.get(unique_key(tenant, name))?.map(|holder| holder.value().to_owned()))
    }

    fn request_until(&self, key: &[u8; 16]) -> Result<Option<Time>, Failure> {
        let Some(stored) = self.requests.get(key)? else { return Ok(None) };
        let stored: StoredRequest<'_> = tables::decode(stored.value())?;
        Ok(Some(stored.until))
    }
}

//! Changing records: write with `pending`, append to the log, acknowledge, settle.
//!
//! The order matters: a change that stood in the log before its record was written could be followed by a token that was
//! issued from the old record with a `rev` above the entry, and would live for ever.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{Position, TenantId, Time, entry::Entry};

use super::{
    Directory,
    caller::Caller,
    load::decode,
    record::{Stored, check_etag},
};
use crate::{
    error::{Error, Result},
    keys::ring::digest128,
    store::{Change, Kind, Put, Record, RecordKey, Request, Written},
};

/// A request id with what it must match (AIP-155).
#[derive(Clone, Copy, Debug)]
pub struct Repeat {
    pub request_id: uuid::Uuid,
    /// The method, so that one id can serve different calls.
    pub method: &'static str,
    /// Digest of the request's body.
    pub body: [u8; 16],
}

/// How long a request id is remembered, at least.
pub const REQUEST_MEMORY: std::time::Duration = std::time::Duration::from_secs(600);
/// How often a change that lost a race is made again.
pub(super) const MAX_RACES: usize = 16;

/// The body digest and result of a remembered request.
pub(super) type Remembered = ([u8; 16], String);

/// What an edit makes of a record.
pub(super) struct Edit<R> {
    pub record: R,
    /// Names, indexes and conditions that change with it.
    pub change: Change,
    /// What goes to the log; at least one entry.
    pub entries: Vec<Entry>,
}

// === impl Repeat ===

impl Repeat {
    /// The key under which the request is remembered.
    pub fn key(&self, tenant: &TenantId, caller: &Caller) -> [u8; 16] {
        digest128(&[
            tenant.to_string().as_bytes(),
            caller.tenant.to_string().as_bytes(),
            caller.sub.as_bytes(),
            self.method.as_bytes(),
            self.request_id.as_bytes(),
        ])
    }

    /// The stored form.
    pub fn request(&self, tenant: &TenantId, caller: &Caller, result: String, now: Time) -> Request {
        Request { key: self.key(tenant, caller), body: self.body, result, until: now.plus(REQUEST_MEMORY) }
    }

    /// Refuses a body that differs from the one remembered.
    pub fn check(&self, body: [u8; 16]) -> Result<()> {
        if body == self.body {
            return Ok(());
        }
        Err(Error::new(Reason::RequestIdReused, "the request id was used with another body"))
    }
}

// === impl Directory ===

impl Directory {
    /// Writes a change whose records owe `entries` to the log, and appends them. `None`: see [`Written`].
    pub(super) async fn commit(&self, mut change: Change, entries: &[Entry]) -> Result<(Written, Position)> {
        // A place in a group is written together with the group's record only, and that owes the entries of all places:
        // else a change of many would owe their square. A tally is written together with what it counts.
        let carried = |kind| matches!(kind, Kind::Entity | Kind::GroupMember | Kind::Tally);
        for put in change.puts.iter_mut().filter(|put| !carried(put.kind)) {
            put.pending = entries.to_vec();
        }
        let written = self.core.store.write(&change).await?;
        if written != Written::Done {
            return Ok((written, Position::START));
        }
        let position = self.core.log.append(entries).await?;
        self.settle_later(change);
        Ok((Written::Done, position))
    }

    /// Writes a new record with the names and indexes of `change`. A repeat receives what the first request made.
    pub(super) async fn create<R: Stored>(
        &self,
        caller: &Caller,
        record: R,
        id: String,
        mut change: Change,
        repeat: Option<Repeat>,
    ) -> Result<(Arc<R>, Position)> {
        let tenant = change.tenant.clone();
        change.request = repeat.map(|repeat| repeat.request(&tenant, caller, id.clone(), change.now));
        change.puts.push(Put::new(R::KIND, id, Some(0), record.to_bytes()));
        let (written, position) = self.commit(change, &[Entry::changed(record.ident())]).await?;
        match (written, repeat) {
            (Written::Done, _) => Ok((Arc::new(record), position)),
            (Written::Repeated { body, result }, Some(repeat)) => self.made(&tenant, repeat, (body, result)).await,
            (other, _) => Err(refused(other)),
        }
    }

    /// The record that a remembered request made.
    pub(super) async fn made<R: Stored>(
        &self,
        tenant: &TenantId,
        repeat: Repeat,
        (body, id): Remembered,
    ) -> Result<(Arc<R>, Position)> {
        repeat.check(body)?;
        let made: Option<R> = self.fresh(&RecordKey { tenant: tenant.clone(), kind: R::KIND, id }).await?;
        let made = made.ok_or_else(|| Error::internal("find what a remembered request made"))?;
        let position = self.core.log.append(&[Entry::changed(made.ident())]).await?;
        Ok((Arc::new(made), position))
    }

    /// Reads a record afresh, edits it, and writes it back; again if another change came between.
    pub(super) async fn edit<R: Stored>(
        &self,
        key: &RecordKey,
        etag: Option<&str>,
        edit: impl Fn(R) -> Result<Edit<R>>,
    ) -> Result<(Arc<R>, Position)> {
        let repeated = |_| Error::internal("handle a repeat that was not asked for");
        self.edit_repeatable(key, etag, edit).await?.map_err(repeated)
    }

    /// As [`Self::edit`], of a change that carries a request id: the inner error is what was remembered.
    pub(super) async fn edit_repeatable<R: Stored>(
        &self,
        key: &RecordKey,
        etag: Option<&str>,
        edit: impl Fn(R) -> Result<Edit<R>>,
    ) -> Result<Result<(Arc<R>, Position), Remembered>> {
        for _ in 0..MAX_RACES {
            let record: R = self.fresh(key).await?.ok_or_else(|| Error::not_found(R::NAME, &*key.id))?;
            let version = record.version();
            check_etag(etag, version)?;
            let Edit { mut record, mut change, entries } = edit(record)?;
            change.puts.push(Put::new(key.kind, key.id.clone(), Some(version), record.to_bytes()));
            let (written, position) = self.commit(change, &entries).await?;
            match written {
                Written::Done => {
                    record.set_version(version + 1);
                    return Ok(Ok((Arc::new(record), position)));
                }
                Written::Repeated { body, result } => return Ok(Err((body, result))),
                Written::Conflict(..) => {}
                other @ (Written::Taken(_) | Written::NotEmpty(_)) => return Err(refused(other)),
            }
        }
        Err(Error::new(Reason::ConcurrentUpdate, "too many concurrent changes of the resource"))
    }

    /// Reads a record from the store, past the caches.
    pub(super) async fn fresh<R: Stored>(&self, key: &RecordKey) -> Result<Option<R>> {
        let record = self.core.store.read(std::slice::from_ref(key)).await?.pop().flatten();
        let Some(record) = record else { return Ok(None) };
        self.repair(key, &record).await?;
        decode(key, &record).map(Some)
    }

    /// Appends what a record still owes to the log: its writer may have died in between.
    pub(super) async fn repair(&self, key: &RecordKey, record: &Record) -> Result<()> {
        if record.pending.is_empty() {
            return Ok(());
        }
        self.core.log.append(&record.pending).await?;
        // A failure leaves the entries pending: they are appended once more, which is harmless.
        let _ = self.core.store.settle(key, record.version).await;
        Ok(())
    }

    /// Clears `pending` after the reply.
    fn settle_later(&self, change: Change) {
        let store = Arc::clone(&self.core.store);
        self.core.tasks.spawn(async move {
            for put in change.puts.into_iter().filter(|put| !put.pending.is_empty()) {
                let key = RecordKey { tenant: change.tenant.clone(), kind: put.kind, id: put.id };
                // A failure leaves the entries pending; see `repair`.
                let _ = store.settle(&key, put.expected.unwrap_or_default() + 1).await;
            }
        });
    }
}

/// Why a change was not written.
pub(super) fn refused(written: Written) -> Error {
    match written {
        Written::Taken(unique) => unique.taken(),
        Written::NotEmpty(refusal) => refusal.error(),
        Written::Conflict(..) => Error::new(Reason::ConcurrentUpdate, "a concurrent change won"),
        Written::Done | Written::Repeated { .. } => Error::internal("handle the outcome of a write"),
    }
}

//! The revocation log and its state map.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use async_trait::async_trait;
use jeton_core::{
    Position, Time,
    entry::{Entry, LogEntry, Slot},
};
use redb::{Database, ReadTransaction, ReadableTable};

use super::{
    Embedded,
    expiring::Expiring,
    failure::Failure,
    tables::{self, CURRENT_FORMAT, FLOOR, FORMAT, HEAD, LOG, META, STATE, Tables},
};
use crate::{
    ambient::Clock,
    revocation::log::{Log, StatePage, TAIL_LIMIT, Tail},
    storage::{Error, Result},
};

/// How many slots one page of the state map has: some 100 KiB.
const STATE_PAGE: usize = 1000;

/// Raises the line by one and says where the log's head is now; in a new file it also makes the tables.
///
/// A start is the only moment at which the file can have been swapped for a backup, and nothing can tell. So each one is
/// taken for a fork of history, before anything is read or written.
pub fn raise_line(database: &Database, clock: &Clock) -> Result<Position> {
    let attempted = "raise the line of the revocation log";
    let transaction = database.begin_write().map_err(|error| Error::unavailable(attempted, error))?;
    let raised = raise(
        &mut Tables::open(&transaction, Position::START, clock)
            .map_err(|error| Error::unavailable(attempted, error))?,
    );
    let head = raised.map_err(|failure| failure.into_error(attempted))?;
    transaction.commit().map_err(|error| Error::unavailable(attempted, error))?;
    Ok(head)
}

fn raise(tables: &mut Tables<'_>) -> Result<Position, Failure> {
    let format = tables.meta.get(FORMAT)?.map(|format| format.value().to_owned());
    match format.as_deref() {
        None => drop(tables.meta.insert(FORMAT, CURRENT_FORMAT)?),
        Some(CURRENT_FORMAT) => {}
        Some(other) => {
            let why = format!("the file has format {other}, this program reads format {CURRENT_FORMAT}");
            return Err(Error::Unsuitable { why }.into());
        }
    }
    let head = tables::position(&tables.meta, HEAD)?.next_line(tables.now_micros).ok_or_else(exhausted)?;
    tables.meta.insert(HEAD, head.to_string().as_str())?;
    Ok(head)
}

#[async_trait]
impl Log for Embedded {
    async fn tail(&self, after: Position) -> Result<Tail> {
        // The common case of a follower that is up to date costs no transaction.
        let head = self.committed.head();
        if after == head {
            return Ok(Tail { head, entries: Vec::new(), more: false, gap: false });
        }
        self.read_committed("read the revocation log", |snapshot| tail(snapshot, after))
    }

    async fn append(&self, entries: &[Entry]) -> Result<Position> {
        let entries = entries.to_vec();
        self.writer.submit("append to the revocation log", move |tables| tables.append(&entries)).await
    }

    async fn state_page(&self, cursor: Option<String>) -> Result<StatePage> {
        self.read_committed("read the revocation state", |snapshot| state_page(snapshot, cursor.as_deref()))
    }
}

/// The committed head and what stands after `after`, out of one snapshot.
fn tail(snapshot: &ReadTransaction, after: Position) -> Result<Tail, Failure> {
    let meta = snapshot.open_table(META)?;
    let head = tables::position(&meta, HEAD)?;
    // Above the head stands only who followed a history that is lost. Nothing that it knows can be continued.
    if after < tables::position(&meta, FLOOR)? || after > head {
        return Ok(Tail { head, entries: Vec::new(), more: false, gap: true });
    }
    let log = snapshot.open_table(LOG)?;
    let mut rows = log.range((Excluded((after.line(), after.micros())), Unbounded))?;
    let mut entries = Vec::new();
    for row in rows.by_ref().take(TAIL_LIMIT) {
        let (key, entry) = row?;
        let (line, micros) = key.value();
        let unreadable = || Error::corrupt(format!("the log's entry at {line}-{micros}"));
        let position = Position::new(line, micros).ok_or_else(unreadable)?;
        entries.push(LogEntry { position, entry: Entry::from_text(entry.value()).ok_or_else(unreadable)? });
    }
    Ok(Tail { head, entries, more: rows.next().is_some(), gap: false })
}

/// The slots after `cursor`, which is the text of the last identifier of the page before.
fn state_page(snapshot: &ReadTransaction, cursor: Option<&str>) -> Result<StatePage, Failure> {
    let state = snapshot.open_table(STATE)?;
    let mut rows = state.range::<&str>((cursor.map_or(Unbounded, Excluded), Unbounded))?;
    let mut slots = Vec::new();
    let mut last = None;
    for row in rows.by_ref().take(STATE_PAGE) {
        let (ident, slot) = row?;
        let ident = ident.value();
        let unreadable = || Error::corrupt(format!("the slot of {ident}"));
        let slot = Slot::from_text(slot.value()).ok_or_else(unreadable)?;
        slots.push((ident.parse().map_err(|_| unreadable())?, slot));
        last = Some(ident.to_owned());
    }
    let next = if rows.next().is_some() { last } else { None };
    Ok(StatePage { slots, next })
}

// === impl Tables ===

impl Tables<'_> {
    /// Appends entries at growing positions and merges them into the state map.
    pub fn append(&mut self, entries: &[Entry]) -> Result<Position, Failure> {
        let mut head = self.head;
        let mut placed = Vec::with_capacity(entries.len());
        // Several entries may name the same identifier, so they merge here before anything is written. With each slot
        // the expiry under which it was filed before.
        let mut slots: BTreeMap<String, (Slot, Option<Time>)> = BTreeMap::new();
        for entry in entries {
            head = head.next(self.now_micros).ok_or_else(exhausted)?;
            placed.push((head, entry.to_text()));
            let Some(slot) = entry.slot(head) else { continue };
            let ident = entry.ident.to_string();
            if let Some((known, _)) = slots.get_mut(&ident) {
                known.merge(&slot);
                continue;
            }
            let stored = self.slot(&ident)?;
            let filed = stored.as_ref().map(|stored| stored.until);
            let merged = match stored {
                Some(mut stored) => {
                    stored.merge(&slot);
                    stored
                }
                None => slot,
            };
            slots.insert(ident, (merged, filed));
        }

        for (position, text) in placed {
            self.log.insert((position.line(), position.micros()), text.as_str())?;
        }
        for (ident, (slot, filed)) in slots {
            self.state.insert(ident.as_str(), slot.to_text().as_str())?;
            self.file(Expiring::Slot, ident.as_bytes(), filed, slot.until)?;
        }
        self.debts += entries.len();
        self.head = head;
        Ok(head)
    }

    fn slot(&self, ident: &str) -> Result<Option<Slot>, Failure> {
        let Some(stored) = self.state.get(ident)? else { return Ok(None) };
        let slot = Slot::from_text(stored.value()).ok_or_else(|| Error::corrupt(format!("the slot of {ident}")))?;
        Ok(Some(slot))
    }
}

/// Lines last for sixteen million starts, and microseconds until the year 4253.
fn exhausted() -> Error {
    Error::Unsuitable { why: "the revocation log has run out of positions".into() }
}

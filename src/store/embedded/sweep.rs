//! Garbage collection without scanning.
//!
//! Everything that expires is filed in a table ordered by expiry. Each transaction looks at the rows that are due, and at
//! the oldest entries of the log: a few, and two for each that it adds, so that garbage never piles up and no single
//! commit pays for all of it.

use jeton_core::{Position, Time, TokenId, entry::Slot};
use redb::{Key, ReadableTable, StorageError, Table, Value};

use super::{
    super::{IndexEntry, PRUNE_MARGIN},
    expiring::Expiring,
    tables::{self, StoredFamily, StoredRecord, StoredRequest, StoredSession, StoredToken, Tables},
};
use crate::revocation::log::LOG_RETENTION;

/// What the sweep found at a row of the expiry table.
enum Found {
    /// Nothing, or nothing readable. What cannot be read stays where it is, so that a read of it fails.
    Nothing,
    /// It lives longer than the row says.
    Alive(Time),
    /// It was removed.
    Expired,
}

/// What a transaction sweeps even if it adds nothing.
const LEAST: usize = 16;

// === impl Tables ===

impl Tables<'_> {
    /// Removes some of what nobody can ask for any more.
    pub fn sweep(&mut self) -> Result<(), StorageError> {
        let budget = LEAST + 2 * self.debts;
        self.trim(budget)?;
        // Callers' clocks may be behind the store's; what they still hold alive must be there.
        let cutoff = self.now.minus(PRUNE_MARGIN);
        let mut due = Vec::new();
        for row in self.expiry.range(..=(cutoff.as_millis(), u8::MAX, [].as_slice()))?.take(budget) {
            let (row, _) = row?;
            let (millis, code, key) = row.value();
            due.push((millis, code, key.to_vec()));
        }
        for (millis, code, key) in due {
            self.expiry.remove((millis, code, key.as_slice()))?;
            let Some(what) = Expiring::from_code(code) else { continue };
            if let Found::Alive(expires) = self.expire(what, &key, cutoff)? {
                self.file(what, &key, None, expires)?;
            }
        }
        Ok(())
    }

    /// Removes the log's entries that are older than [`LOG_RETENTION`], and notes how far.
    fn trim(&mut self, budget: usize) -> Result<(), StorageError> {
        let retention = u64::try_from(LOG_RETENTION.as_micros()).unwrap_or(u64::MAX);
        let oldest = self.now_micros.saturating_sub(retention);
        let mut floor = None;
        for _ in 0..budget {
            let Some(first) = self.log.first()?.map(|(key, _)| key.value()) else { break };
            if first.1 >= oldest {
                break;
            }
            self.log.remove(first)?;
            floor = Some(first);
        }
        if let Some(floor) = floor.and_then(|(line, micros)| Position::new(line, micros)) {
            self.meta.insert(tables::FLOOR, floor.to_string().as_str())?;
        }
        Ok(())
    }

    /// Removes one thing if its expiry is at or before `cutoff`.
    fn expire(&mut self, what: Expiring, key: &[u8], cutoff: Time) -> Result<Found, StorageError> {
        let (id, text) = (<&[u8; 16]>::try_from(key), std::str::from_utf8(key));
        match (what, id, text) {
            (Expiring::Token, Ok(id), _) => self.expire_token(id, cutoff),
            (Expiring::Family, Ok(id), _) => expire_from(&mut self.families, &id, cutoff, |stored| {
                tables::decode(stored).map(|StoredFamily { expires, .. }| expires).ok()
            }),
            (Expiring::Request, Ok(id), _) => expire_from(&mut self.requests, &id, cutoff, |stored| {
                tables::decode(stored).map(|StoredRequest { until, .. }| until).ok()
            }),
            (Expiring::Session, _, Ok(key)) => expire_from(&mut self.sessions, &key, cutoff, |stored| {
                tables::decode(stored).map(|StoredSession { until, .. }| until).ok()
            }),
            (Expiring::Slot, _, Ok(ident)) => {
                expire_from(&mut self.state, &ident, cutoff, |stored| Some(Slot::from_text(stored)?.until))
            }
            (Expiring::Record, _, Ok(key)) => match tables::record_parts(key) {
                Some(key) => expire_from(&mut self.records, &key, cutoff, |stored| {
                    tables::decode(stored).ok().and_then(|StoredRecord { keep_until, .. }| keep_until)
                }),
                None => Ok(Found::Nothing),
            },
            (Expiring::Token | Expiring::Family | Expiring::Request, Err(_), _)
            | (Expiring::Session | Expiring::Slot | Expiring::Record, _, Err(_)) => Ok(Found::Nothing),
        }
    }

    /// A token leaves its subject's list as well.
    fn expire_token(&mut self, id: &[u8; 16], cutoff: Time) -> Result<Found, StorageError> {
        let mut listed = None;
        let found = expire_from(&mut self.tokens, &id, cutoff, |stored| {
            let stored: StoredToken<'_> = tables::decode(stored).ok()?;
            listed = Some((stored.subject.to_owned(), stored.expires));
            Some(stored.keep_until)
        })?;
        if let (Found::Expired, Some((subject, expires))) = (&found, listed) {
            let entry = IndexEntry { expires, token: TokenId::from_bytes(*id) };
            self.subjects.remove((subject.as_str(), &entry.to_bytes()))?;
        }
        Ok(found)
    }
}

fn expire_from<'k, K: Key, V: Value>(
    table: &mut Table<'_, K, V>,
    key: &K::SelfType<'k>,
    cutoff: Time,
    expiry: impl FnOnce(V::SelfType<'_>) -> Option<Time>,
) -> Result<Found, StorageError> {
    let stored = table.get(key)?.and_then(|stored| expiry(stored.value()));
    match stored {
        Some(expires) if expires > cutoff => Ok(Found::Alive(expires)),
        Some(_) => {
            table.remove(key)?;
            Ok(Found::Expired)
        }
        None => Ok(Found::Nothing),
    }
}

//! What the log means: the state map in memory.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::{
    Ident, Position, Time,
    entry::{Effect, Entry, LogEntry, Slot},
    ident::Idents,
    retention,
};

/// The merged log up to a position, and which records its last entries named.
#[derive(Debug, Default)]
pub struct State {
    applied: Position,
    slots: HashMap<Ident, Slot>,
    /// Slots that can be forgotten, soonest first.
    expiring: BTreeSet<(Time, Ident)>,
    /// Grows with every entry, and with every load.
    version: u64,
    /// Grows with every load: what was read from the log before a load says nothing about the state after it.
    epoch: u64,
    /// What the last entries named, newest last: entry `version` stands at the back.
    recent: VecDeque<Ident>,
}

/// When the load of a record began.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    version: u64,
    epoch: u64,
}

/// How many of the last entries are remembered to judge slow loads. A load that more entries overtook is not cached.
const RECENT: usize = 4096;
/// How many expired slots one entry sweeps at most.
const SWEEP: usize = 4;

// === impl State ===

impl State {
    /// The state map as loaded at `head`. Continues the versions of `self`, so that no earlier judgement survives.
    pub fn reloaded(&self, head: Position, slots: Vec<(Ident, Slot)>) -> Self {
        let mut state = Self { applied: head, version: self.version + 1, epoch: self.epoch + 1, ..Self::default() };
        for (ident, slot) in slots {
            state.merge(ident, slot);
        }
        state
    }

    /// How far the log was applied.
    pub const fn applied(&self) -> Position {
        self.applied
    }

    pub const fn version(&self) -> u64 {
        self.version
    }

    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub const fn ticket(&self) -> Ticket {
        Ticket { version: self.version, epoch: self.epoch }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many of the slots are never forgotten.
    pub fn permanent(&self) -> usize {
        self.slots.len() - self.expiring.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes in an entry that stands after all applied ones.
    pub fn apply(&mut self, at: &LogEntry, now: Time) {
        if at.position <= self.applied {
            return;
        }
        self.applied = at.position;
        self.version += 1;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(at.entry.ident.clone());
        if let Some(slot) = at.entry.slot(at.position) {
            self.merge(at.entry.ident.clone(), slot);
        }
        self.sweep(now);
    }

    /// Notes that the log has no entry up to `head` that was not applied.
    pub fn reach(&mut self, head: Position) {
        self.applied = self.applied.max(head);
    }

    /// Whether the log revokes what has these identifiers and was issued at `rev`.
    pub fn revokes(&self, idents: &Idents, rev: Position) -> bool {
        idents.iter().any(|ident| {
            self.slots.get(ident).is_some_and(|slot| {
                ident.ignores_rev() || slot.position_for(idents.own()).is_some_and(|position| position > rev)
            })
        })
    }

    /// Whether an entry would add nothing to what is known for as long as the entry says.
    pub fn knows(&self, entry: &Entry) -> bool {
        let Effect::Revoke { except, until } = &entry.effect else { return false };
        let (Some(wanted), Some(slot)) = (retention::position_wanted(entry), self.slots.get(&entry.ident)) else {
            return false;
        };
        slot.until >= *until && slot.position_except(except.as_ref()).is_some_and(|position| position >= wanted)
    }

    /// Whether a record whose load began at `ticket` may be cached: no load of the map since, and no entry since that
    /// `names` it.
    pub fn unchanged_since(&self, ticket: Ticket, names: impl Fn(&Ident) -> bool) -> bool {
        if ticket.epoch != self.epoch {
            return false;
        }
        let Ok(since) = usize::try_from(self.version - ticket.version) else {
            return false;
        };
        since <= self.recent.len() && !self.recent.iter().rev().take(since).any(names)
    }

    fn merge(&mut self, ident: Ident, slot: Slot) {
        let merged = match self.slots.get_mut(&ident) {
            Some(own) => {
                self.expiring.remove(&(own.until, ident.clone()));
                own.merge(&slot);
                own.until
            }
            None => {
                let until = slot.until;
                self.slots.insert(ident.clone(), slot);
                until
            }
        };
        if !merged.is_never() {
            self.expiring.insert((merged, ident));
        }
    }

    fn sweep(&mut self, now: Time) {
        for _ in 0..SWEEP {
            let Some((until, _)) = self.expiring.first() else { return };
            if *until > now {
                return;
            }
            if let Some((_, ident)) = self.expiring.pop_first() {
                self.slots.remove(&ident);
            }
        }
    }
}

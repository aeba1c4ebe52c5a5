//! What one store node holds, and the scripts that run on it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use jeton::{
    revocation::log::{StatePage, Tail},
    store::{Change, FamilyConflict, FamilyRecord, Mint, Minted, Record, RecordKey, Written},
};
use jeton_core::{
    FamilyId, Ident, Position, Time, TokenId,
    entry::{Entry, LogEntry, Slot},
};

use super::{cluster::Script, rules::Rule};

/// The data of one node. Changed by [`Write`]s only, which travel to the replicas.
#[derive(Clone, Debug, Default)]
pub struct Data {
    /// The replication id under which the current line began.
    history: u64,
    last: Position,
    stream: VecDeque<LogEntry>,
    /// The highest position that was trimmed from the stream.
    trimmed: Position,
    map: BTreeMap<Ident, Slot>,
    records: BTreeMap<RecordKey, Record>,
    tokens: BTreeMap<TokenId, Bytes>,
    families: BTreeMap<FamilyId, FamilyRecord>,
}

/// One change of a node's data.
#[derive(Clone, Debug)]
pub enum Write {
    /// Changes nothing, but has an offset that replicas can confirm.
    Beat,
    /// A new line begins.
    Line {
        history: u64,
        at: Position,
    },
    Append(LogEntry),
    /// As `Append`, but the map forgets what the slot knew: what [`Rule::SlotsMerge`] prevents.
    AppendOverwriting(LogEntry),
    Trim(Position),
    Put(RecordKey, Record),
    Token(TokenId, Bytes),
    Family(FamilyId, FamilyRecord),
}

/// How long the stream keeps entries: so short that a replica that is away for a moment finds a gap.
const RETENTION_MICROS: u64 = 4_000_000;
/// Entries per tail, and slots per page: so few that runs need several.
const PAGE: usize = 4;

// === impl Data ===

impl Data {
    pub fn new(history: u64) -> Self {
        Self { history, ..Self::default() }
    }

    /// The replication id under which the current line began.
    pub fn history(&self) -> u64 {
        self.history
    }

    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Beat => {}
            Write::Line { history, at } => {
                self.history = *history;
                self.last = *at;
            }
            Write::Append(at) => {
                if let Some(slot) = at.entry.slot(at.position) {
                    self.map.entry(at.entry.ident.clone()).and_modify(|own| own.merge(&slot)).or_insert(slot);
                }
                self.push(at);
            }
            Write::AppendOverwriting(at) => {
                if let Some(slot) = at.entry.slot(at.position) {
                    self.map.insert(at.entry.ident.clone(), slot);
                }
                self.push(at);
            }
            Write::Trim(upto) => {
                while self.stream.front().is_some_and(|first| first.position <= *upto) {
                    self.trimmed = self.stream.pop_front().unwrap().position;
                }
            }
            Write::Put(key, record) => drop(self.records.insert(key.clone(), record.clone())),
            Write::Token(id, record) => drop(self.tokens.insert(id.clone(), record.clone())),
            Write::Family(id, record) => drop(self.families.insert(id.clone(), record.clone())),
        }
    }

    fn push(&mut self, at: &LogEntry) {
        self.last = at.position;
        self.stream.push_back(at.clone());
    }
}

// === the log's scripts ===

/// Raises the line if the node's history is not the one under which the line began.
fn meet(script: &mut Script<'_>) {
    let (history, at) = (script.history(), script.data().last.next_line(script.clock()).unwrap());
    if script.data().history != history && script.sim.keeps(Rule::LineRaised) {
        script.sim.saw("lines raised");
        script.sim.note(|| format!("{} begins line {at}", script.name()));
        script.write(Write::Line { history, at });
    }
}

pub fn tail(script: &mut Script<'_>, after: Position) -> Tail {
    meet(script);
    script.write(Write::Beat);
    let data = script.data();
    let mut entries: Vec<_> = data.stream.iter().filter(|at| at.position > after).cloned().collect();
    let more = entries.len() > PAGE;
    entries.truncate(PAGE);
    let gap = after < data.trimmed;
    if gap && after != Position::START {
        script.sim.saw("gaps");
    }
    Tail { head: data.last, entries, more, gap: gap && script.sim.keeps(Rule::GapsSignalled) }
}

pub fn append(script: &mut Script<'_>, entries: &[Entry]) -> Position {
    meet(script);
    for entry in entries {
        let position = script.data().last.next(script.clock()).unwrap();
        let at = LogEntry { position, entry: entry.clone() };
        script.sim.note(|| format!("{} appends {position} {}", script.name(), entry.to_text()));
        script.write(match script.sim.keeps(Rule::SlotsMerge) {
            true => Write::Append(at),
            false => Write::AppendOverwriting(at),
        });
    }
    let last = script.data().last;
    let upto = Position::new(last.line(), script.clock().saturating_sub(RETENTION_MICROS)).unwrap();
    if script.data().stream.front().is_some_and(|first| first.position <= upto) {
        script.write(Write::Trim(upto));
    }
    last
}

/// Whether the map already knows all of this: what a retry must not take for an acknowledgement.
pub fn knows(script: &Script<'_>, entries: &[Entry]) -> Option<Position> {
    let data = script.data();
    entries.iter().all(|entry| data.stream.iter().any(|at| at.entry == *entry)).then_some(data.last)
}

pub fn page(script: &mut Script<'_>, cursor: Option<String>) -> StatePage {
    script.write(Write::Beat);
    let now = Time::from_millis(script.clock() / 1000);
    let after: Option<Ident> = cursor.map(|cursor| cursor.parse().unwrap());
    let rest = script.data().map.iter().filter(|(ident, _)| after.as_ref().is_none_or(|after| *ident > after));
    let all: Vec<_> = rest.take(PAGE + 1).map(|(ident, slot)| (ident.clone(), slot.clone())).collect();
    let next = (all.len() > PAGE).then(|| all[PAGE - 1].0.to_string());
    // What is forgotten is forgotten by the store's own clock.
    let slots = all.into_iter().take(PAGE).filter(|(_, slot)| slot.until > now).collect();
    StatePage { slots, next }
}

// === scripts of records ===

pub fn read(script: &mut Script<'_>, keys: &[RecordKey]) -> Vec<Option<Record>> {
    script.write(Write::Beat);
    keys.iter().map(|key| script.data().records.get(key).cloned()).collect()
}

pub fn write(script: &mut Script<'_>, change: &Change) -> Written {
    script.write(Write::Beat);
    let key = |kind, id: &str| RecordKey { tenant: change.tenant.clone(), kind, id: id.to_owned() };
    let version = |key: &RecordKey| script.data().records.get(key).map_or(0, |record| record.version);
    for put in &change.puts {
        if put.expected.is_some_and(|expected| expected != version(&key(put.kind, &put.id))) {
            return Written::Conflict(put.kind, put.id.clone());
        }
    }
    for put in &change.puts {
        let key = key(put.kind, &put.id);
        let version = script.data().records.get(&key).map_or(0, |record| record.version) + 1;
        let record = Record { version, pending: put.pending.clone(), body: put.body.clone() };
        script.sim.note(|| format!("{} writes {} v{version} {:?}", script.name(), put.id, put.body));
        script.write(Write::Put(key, record));
    }
    Written::Done
}

pub fn settle(script: &mut Script<'_>, key: &RecordKey, version: u64) {
    let record = script.data().records.get(key).filter(|record| record.version == version).cloned();
    if let Some(record) = record {
        script.write(Write::Put(key.clone(), Record { pending: Vec::new(), ..record }));
    }
}

pub fn mint(script: &mut Script<'_>, mint: &Mint) -> Minted {
    script.write(Write::Beat);
    let mut minted = Minted { token: None, family: None, session: None };
    if let Some(token) = &mint.token {
        script.write(Write::Token(token.id.clone(), token.record.clone()));
    }
    if let Some(family) = &mint.family {
        let there = script.data().families.get(&family.id).cloned();
        if there.as_ref().map(|there| there.revision) == family.expected {
            script.write(Write::Family(family.id.clone(), family.record.clone()));
        } else {
            minted.family = Some(there.map_or(FamilyConflict::Gone, FamilyConflict::Other));
        }
    }
    minted
}

pub fn token(script: &mut Script<'_>, id: &TokenId) -> Option<Bytes> {
    script.write(Write::Beat);
    script.data().tokens.get(id).cloned()
}

pub fn family(script: &mut Script<'_>, id: &FamilyId) -> Option<FamilyRecord> {
    script.write(Write::Beat);
    script.data().families.get(id).cloned()
}

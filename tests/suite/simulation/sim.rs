//! What every part of a run shares: choices, time, the schedule, and counts of what was seen.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{chance::Chance, rules::Rule};

/// One run's shared state.
#[derive(Debug)]
pub struct Sim {
    pub chance: Chance,
    pub began: Instant,
    /// The rule that this run goes without.
    without: Option<Rule>,
    /// Everything that happened, when it is to be recorded.
    schedule: Option<Mutex<Vec<String>>>,
    seen: Mutex<Counts>,
    violation: Mutex<Option<String>>,
    moments: AtomicU64,
    calm: AtomicBool,
}

/// How often what was seen.
pub type Counts = BTreeMap<&'static str, u64>;

/// When something happened: what happened in the same millisecond has an order, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    number: u64,
    pub at: Duration,
}

// === impl Sim ===

impl Sim {
    pub fn new(seed: u64, without: Option<Rule>, recorded: bool) -> Self {
        Self {
            chance: Chance::new(seed),
            began: Instant::now(),
            without,
            schedule: recorded.then(Mutex::default),
            seen: Mutex::default(),
            violation: Mutex::default(),
            moments: AtomicU64::new(0),
            calm: AtomicBool::new(false),
        }
    }

    /// Whether the run keeps a rule.
    pub fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// From now on nothing fails any more.
    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    pub fn calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub fn now(&self) -> Moment {
        Moment { number: self.moments.fetch_add(1, Ordering::Relaxed), at: self.began.elapsed() }
    }

    pub fn elapsed_micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap()
    }

    /// Adds a line to the schedule, if it is to be recorded.
    pub fn note(&self, line: impl FnOnce() -> String) {
        if let Some(schedule) = &self.schedule {
            schedule.lock().push(format!("{:>9.3} {}", self.began.elapsed().as_secs_f64(), line()));
        }
    }

    pub fn saw(&self, what: &'static str) {
        *self.seen.lock().entry(what).or_default() += 1;
    }

    /// Notes that a guarantee was broken. The first one counts.
    pub fn violate(&self, what: impl FnOnce() -> String) {
        let mut violation = self.violation.lock();
        if violation.is_none() {
            let what = what();
            self.note(|| format!("VIOLATION {what}"));
            *violation = Some(what);
        }
    }

    pub fn violated(&self) -> bool {
        self.violation.lock().is_some()
    }

    pub fn violation(&self) -> Option<String> {
        self.violation.lock().clone()
    }

    pub fn seen(&self) -> Counts {
        self.seen.lock().clone()
    }

    pub fn schedule(&self) -> Vec<String> {
        self.schedule.as_ref().map_or_else(Vec::new, |schedule| schedule.lock().clone())
    }
}

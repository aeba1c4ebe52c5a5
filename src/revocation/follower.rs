//! Follows the log into memory and answers "up to where" with a confirmed head.
//!
//! One read of the head is in flight at a time per worker; it is shared by all calls that were waiting when it was sent,
//! never by a later one. The read brings the entries after the last applied one with it, so a call that has the answer
//! has the entries, too.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jeton_contract::reason::Reason;
use jeton_core::{
    Ident, Position,
    entry::Entry,
    ident::Idents,
    state::{State, Ticket},
};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::time::Instant;

use super::{
    cache::Invalidate,
    gate::{Gate, Reopen},
    log::{Log, Tail},
};
use crate::{
    ambient::Clock,
    error::{Error, Result},
    storage, trace,
    worker::PerWorker,
};

/// A bounded answer wants a confirmed head that was asked for less than this ago.
pub const BOUND: Duration = Duration::from_secs(1);
/// How often the head is asked for when nobody else does.
pub const HEARTBEAT: Duration = Duration::from_millis(250);
/// How many loads of the state map one read of the head puts up with before it gives up.
const MAX_LOADS: usize = 8;

/// A read that takes so long before it fails fails for those, too, who came while it was in flight: nobody is to wait for
/// two reads, because a call is answered within a second even if the store is not. The store's own limit is 850 ms.
const IMPATIENCE: Duration = Duration::from_millis(100);

/// The log as one replica knows it.
pub struct Follower {
    log: Arc<dyn Log>,
    clock: Clock,
    state: RwLock<State>,
    /// `state.version()`, for those who only compare.
    version: AtomicU64,
    /// Set once, before the first call.
    caches: OnceLock<Vec<Arc<dyn Invalidate>>>,
    gates: PerWorker<Arc<Gate>>,
    /// Only one load of the state map at a time.
    loading: tokio::sync::Mutex<()>,
    started: Instant,
    /// When the newest head that was reached had been asked for, in microseconds after `started`; 0: never.
    asked: AtomicU64,
}

// === impl Follower ===

impl Follower {
    pub fn new(log: Arc<dyn Log>, clock: Clock, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            log,
            clock,
            state: RwLock::default(),
            version: AtomicU64::new(0),
            caches: OnceLock::new(),
            gates: PerWorker::new(workers, |_| Arc::default()),
            loading: tokio::sync::Mutex::default(),
            started: Instant::now(),
            asked: AtomicU64::new(0),
        })
    }

    /// Names the caches to keep true. Once, before the first call.
    pub fn keep_true(&self, caches: Vec<Arc<dyn Invalidate>>) {
        // A second call would be a second composition root; the first one's caches stay.
        let _ = self.caches.set(caches);
    }

    /// The log's head, confirmed after this call began, with every entry up to it applied.
    pub async fn head(self: &Arc<Self>) -> Result<Position> {
        let gate = self.gates.mine();
        let (is_first, wait) = gate.enter();
        if is_first {
            // A task of its own: a caller that goes away must not take the others' answer along.
            tokio::spawn(Arc::clone(self).drive(Arc::clone(gate)));
        }
        wait.await
            .ok()
            .flatten()
            .ok_or_else(|| Error::new(Reason::StoreUnavailable, "the revocation log could not be read in time"))
    }

    /// The head that memory has reached, if it was asked for under [`BOUND`] ago.
    pub fn bounded(&self) -> Result<Position> {
        let asked = self.asked.load(Ordering::Acquire);
        let since = self.started.elapsed().saturating_sub(Duration::from_micros(asked));
        if asked == 0 || since >= BOUND {
            return Err(Error::new(Reason::Stale, "the revocation log was not reached within the last second"));
        }
        Ok(self.state.read().applied())
    }

    /// How long ago the newest head that memory has reached was asked for; since the start, if there was none yet.
    pub fn lag(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_micros(self.asked.load(Ordering::Acquire)))
    }

    /// How old the newest entry is that memory has reached; zero if its position is ahead of the clock.
    pub fn head_age(&self) -> Duration {
        let newest = self.state.read().applied();
        Duration::from_micros(self.clock.now_micros().saturating_sub(newest.micros()))
    }

    /// How many slots of the state map memory knows, and how many of them are never forgotten.
    pub fn slots(&self) -> (usize, usize) {
        let state = self.state.read();
        (state.len(), state.permanent())
    }

    /// Appends entries to the log. When this returns, they are durable and every later head is at or above them.
    pub async fn append(&self, entries: &[Entry]) -> Result<Position> {
        Ok(self.log.append(entries).await?)
    }

    /// Appends those of the entries that add something. An entry that the log has already, or that names nothing that
    /// may still be alive, is left out.
    pub async fn append_new(&self, mut entries: Vec<Entry>) -> Result<Position> {
        let now = self.clock.now();
        let known = {
            let state = self.state.read();
            entries.retain(|entry| !entry.is_over(now) && !state.knows(entry));
            // What was applied is confirmed, so it is as good as appended.
            state.applied()
        };
        if entries.is_empty() { Ok(known) } else { self.append(&entries).await }
    }

    /// Whether the applied log revokes what has these identifiers and was issued at `rev`.
    pub fn revokes(&self, idents: &Idents, rev: Position) -> bool {
        self.state.read().revokes(idents, rev)
    }

    /// Grows with every applied entry: what was judged at the same version need not be judged again.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// To take before loading a record that is to be cached.
    pub fn ticket(&self) -> (Ticket, Instant) {
        (self.state.read().ticket(), Instant::now())
    }

    /// The state, for filling caches.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    /// Asks for the head every [`HEARTBEAT`], so that bounded answers stay possible; ends with `stop`.
    pub async fn heartbeat(self: Arc<Self>, stop: tokio_util::sync::CancellationToken) {
        let mut ticks = tokio::time::interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            // A failure is logged by the read itself, and bounded answers go stale by themselves.
            let _ = self.head().await;
        }
    }

    /// Reads heads for as long as calls wait at `gate`.
    async fn drive(self: Arc<Self>, gate: Arc<Gate>) {
        let _reopen = Reopen(&gate);
        while let Some(mut calls) = gate.take() {
            let began = Instant::now();
            // The read is one for all of them, so it stands in one trace only.
            let head = match trace::within(calls.sampled(), self.advance()).await {
                Ok(head) => Some(head),
                Err(error) => {
                    tracing::warn!(error = %crate::error::chain(&error), "reading the head of the revocation log failed");
                    if began.elapsed() > IMPATIENCE {
                        // The calls that came meanwhile would wait for another read that fails as slowly.
                        gate.join(&mut calls);
                    }
                    None
                }
            };
            calls.answer(head);
        }
    }

    /// Reads the confirmed head and applies everything up to it.
    async fn advance(&self) -> storage::Result<Position> {
        let asked = self.started.elapsed();
        let mut loads = 0;
        while loads < MAX_LOADS {
            let (after, epoch) = {
                let state = self.state.read();
                (state.applied(), state.epoch())
            };
            if epoch == 0 {
                self.load(epoch).await?;
                loads += 1;
                continue;
            }
            let tail = self.log.tail(after).await?;
            // A grown line means that history may have forked: nothing from before can be trusted to be complete.
            if tail.gap || tail.head.line() != after.line() {
                self.load(epoch).await?;
                loads += 1;
                continue;
            }
            if !self.apply(&tail, epoch) {
                loads += 1;
            } else if !tail.more {
                let micros = u64::try_from(asked.as_micros()).unwrap_or(u64::MAX).max(1);
                self.asked.fetch_max(micros, Ordering::AcqRel);
                return Ok(tail.head);
            }
        }
        Err(storage::Error::Unavailable { attempted: "follow the revocation log", source: None })
    }

    /// Applies what was read while the state was of `epoch`; false if it was loaded anew meanwhile.
    fn apply(&self, tail: &Tail, epoch: u64) -> bool {
        if tail.entries.is_empty() {
            let state = self.state.read();
            if state.epoch() != epoch {
                return false;
            }
            if state.applied() >= tail.head {
                return true;
            }
        }
        let now = self.clock.now();
        let mut state = self.state.write();
        if state.epoch() != epoch {
            return false;
        }
        for at in &tail.entries {
            state.apply(at, now);
            self.outdate(&at.entry.ident);
        }
        if !tail.more {
            state.reach(tail.head);
        }
        self.version.store(state.version(), Ordering::Release);
        true
    }

    /// Drops every cached copy and loads the state map, unless somebody else did so since `epoch`.
    async fn load(&self, epoch: u64) -> storage::Result<()> {
        let _one_at_a_time = self.loading.lock().await;
        if self.state.read().epoch() != epoch {
            return Ok(());
        }
        // The head first: whatever is appended while the pages are read stands above it and is followed afterwards.
        let head = self.log.tail(Position::START).await?.head;
        let mut slots = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.log.state_page(cursor).await?;
            slots.extend(page.slots);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let mut state = self.state.write();
        // Another worker, which had asked before the stream was trimmed, has gone past the gap meanwhile and answered
        // its callers by it. What was loaded may lack what they were answered by, and the state has no gap any more.
        if epoch != 0 && state.applied().line() == head.line() && state.applied() > head {
            return Ok(());
        }
        *state = state.reloaded(head, slots);
        for cache in self.caches.get().into_iter().flatten() {
            cache.clear();
        }
        self.version.store(state.version(), Ordering::Release);
        tracing::info!(position = %head, slots = state.len(), "loaded the revocation state");
        Ok(())
    }

    fn outdate(&self, ident: &Ident) {
        for cache in self.caches.get().into_iter().flatten() {
            cache.outdate(ident);
        }
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("applied", &self.state.read().applied()).finish_non_exhaustive()
    }
}

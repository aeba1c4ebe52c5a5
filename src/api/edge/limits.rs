//! How many calls are let in: counted by worker, by lane and by connection, and given back by drop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jeton_contract::reason::Reason;

use crate::{
    api::policy::Lane,
    error::{Error, Result},
};

/// How much is let in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls in flight, over all workers; each worker has an equal share.
    pub calls: usize,
    /// Revocations in flight, over all workers, besides `calls`.
    pub revocations: usize,
    /// Health and reflection calls in flight, over all workers, besides `calls`.
    pub probes: usize,
    /// Calls in flight on one connection, without revocations and probes.
    pub calls_per_connection: usize,
    /// The longest that a call may take, whatever its `grpc-timeout` says; at most an hour.
    pub call_timeout: Duration,
}

/// The places that are taken on one worker. Alone on its cache lines, because every call writes to it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Taken {
    ordinary: AtomicUsize,
    revocation: AtomicUsize,
    probe: AtomicUsize,
}

/// The places that a connection's calls can take.
#[derive(Debug)]
pub(super) struct Places {
    worker: Arc<Taken>,
    connection: AtomicUsize,
    /// All calls of the connection that are open.
    open: AtomicUsize,
    /// Per worker, except for `calls_per_connection`.
    limits: Limits,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    lane: Lane,
}

/// A call that is not answered to its last byte yet, until it is dropped.
#[derive(Debug)]
pub(super) struct Open(Arc<Places>);

const MAX_CALL_TIMEOUT: Duration = Duration::from_secs(3600);

// === impl Limits ===

impl Limits {
    /// The share of one of `workers` workers.
    pub(super) fn share(self, workers: usize) -> Self {
        let share = |places: usize| places.div_ceil(workers.max(1));
        Self {
            calls: share(self.calls),
            revocations: share(self.revocations),
            probes: share(self.probes),
            calls_per_connection: self.calls_per_connection,
            call_timeout: self.call_timeout.min(MAX_CALL_TIMEOUT),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 8192,
            revocations: 1024,
            probes: 256,
            // Below the 128 streams of a connection, so that some are left for revocations and probes.
            calls_per_connection: 120,
            call_timeout: Duration::from_secs(10),
        }
    }
}

// === impl Places ===

impl Places {
    pub(super) fn new(worker: &Arc<Taken>, limits: Limits) -> Self {
        let worker = Arc::clone(worker);
        Self { worker, connection: AtomicUsize::new(0), open: AtomicUsize::new(0), limits }
    }

    /// Whether no call of the connection is open.
    pub(super) fn is_idle(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    /// A place in `lane`, or OVERLOADED.
    pub(super) fn take(self: &Arc<Self>, lane: Lane) -> Result<Place> {
        let (taken, limit) = self.lane(lane);
        if !increase(taken, limit) {
            return Err(Error::new(Reason::Overloaded, "too many calls in flight"));
        }
        // From here on the place is given back by its drop.
        let place = Place { places: Arc::clone(self), lane };
        // Only the ordinary lane is counted by connection: the others are small enough to be shared.
        if lane == Lane::Ordinary && self.connection.fetch_add(1, Ordering::Relaxed) >= self.limits.calls_per_connection
        {
            return Err(Error::new(Reason::Overloaded, "too many calls in flight on this connection"));
        }
        Ok(place)
    }

    fn lane(&self, lane: Lane) -> (&AtomicUsize, usize) {
        match lane {
            Lane::Ordinary => (&self.worker.ordinary, self.limits.calls),
            Lane::Revocation => (&self.worker.revocation, self.limits.revocations),
            Lane::Probe => (&self.worker.probe, self.limits.probes),
        }
    }
}

/// Relaxed: the counters guard nothing but themselves.
fn increase(counter: &AtomicUsize, limit: usize) -> bool {
    let fits = counter.fetch_add(1, Ordering::Relaxed) < limit;
    if !fits {
        counter.fetch_sub(1, Ordering::Relaxed);
    }
    fits
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lane(self.lane).0.fetch_sub(1, Ordering::Relaxed);
        if self.lane == Lane::Ordinary {
            self.places.connection.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Open {
    pub(super) fn new(places: &Arc<Places>) -> Self {
        places.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(places))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

//! Counters, gauges and durations, for Prometheus and OTLP.
//!
//! Promises: recording costs a few nanoseconds and no lock, because every worker writes to cells of its own, which are
//! only added up when they are read; and nothing of a request can become a label, because labels are enums and the
//! contract's methods. Both exports read the same cells: [`text`] for Prometheus, and OpenTelemetry's instruments
//! ([`Metrics::instrument`]). While there are such instruments, each duration also costs a lock and a lookup, because
//! they record every one.
//!
//! Invariant: knows what is counted and nothing of how it comes about. Start reading at [`labels`] and [`Event`].

mod events;
mod families;
mod instruments;
pub mod labels;
pub mod text;
mod values;

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

pub use self::{
    events::Event,
    families::{Observed, Read},
    values::{BOUNDS_SECONDS, BUCKETS, Distribution, Family, Instrument, Labels, Point, Points, Unit, number},
};
use self::{
    events::{Cells, DISTRIBUTION, METHOD, place},
    instruments::Durations,
    labels::{Code, Lane, Operation},
    values::BOUNDS_NANOS,
};
use crate::worker::PerWorker;

/// All metrics of one process.
pub struct Metrics {
    workers: PerWorker<Cells>,
    methods: Vec<Method>,
    /// Counters and gauges: our own, and those that were added by [`Metrics::observe`].
    observed: Mutex<Vec<Arc<Observed>>>,
    /// Instruments that record durations besides the cells.
    durations: OnceLock<Durations>,
}

/// A method of the contract, as metrics name it. Its place in the list that [`Metrics::new`] takes is its index.
#[derive(Clone, Debug)]
pub struct Method {
    /// `jeton.v1.TokenService`.
    pub service: String,
    /// `IssueToken`.
    pub name: String,
    /// `unary`, `client_stream`, `server_stream` or `bidi_stream`, as gRPC dashboards know them.
    pub kind: &'static str,
    pub lane: Lane,
}

// === impl Metrics ===

impl Metrics {
    /// Metrics that so many threads write to: the workers and the one beside them. `methods` are those of the contract;
    /// calls of unknown methods count as one more.
    pub fn new(threads: usize, methods: Vec<Method>) -> Self {
        let cells = place::METHODS + (methods.len() + 1) * METHOD;
        let workers = PerWorker::new(threads, |_| Cells((0..cells).map(|_| AtomicU64::new(0)).collect()));
        let observed = families::own().into_iter().map(Arc::new).collect();
        Self { workers, methods, observed: Mutex::new(observed), durations: OnceLock::new() }
    }

    /// Counts what happened.
    pub fn count(&self, event: Event) {
        self.add(event.cell(), 1);
    }

    /// A call of a method began; `None`: of an unknown one.
    pub fn began(&self, method: Option<usize>) {
        self.add(self.method(method), 1);
    }

    /// A call ended.
    pub fn ended(&self, method: Option<usize>, code: Code, took: Duration) {
        self.measure(self.method(method) + 1 + code.index() * DISTRIBUTION, took);
        if let Some(durations) = self.durations.get() {
            durations.call(self.row(method), code, took);
        }
    }

    /// An operation of the store ended.
    pub fn stored(&self, operation: Operation, took: Duration) {
        self.measure(place::STORE + operation.index() * DISTRIBUTION, took);
        if let Some(durations) = self.durations.get() {
            durations.store(operation, took);
        }
    }

    /// Reads another value whenever metrics are read.
    pub fn observe(&self, observed: Observed) {
        self.observed.lock().push(Arc::new(observed));
    }

    /// The index of a method; an unknown one comes last.
    fn row(&self, method: Option<usize>) -> usize {
        let unknown = self.methods.len();
        method.unwrap_or(unknown).min(unknown)
    }

    fn method(&self, method: Option<usize>) -> usize {
        place::METHODS + self.row(method) * METHOD
    }

    fn measure(&self, first: usize, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NANOS.partition_point(|bound| *bound < nanos);
        self.add(first + bucket, 1);
        self.add(first + BUCKETS, nanos);
    }

    /// Relaxed: the cells guard nothing but themselves.
    fn add(&self, cell: usize, by: u64) {
        if let Some(cell) = self.workers.mine().0.get(cell) {
            cell.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// The sum over all workers.
    fn sum(&self, cell: usize) -> u64 {
        let of = |cells: &Cells| cells.0.get(cell).map_or(0, |cell| cell.load(Ordering::Relaxed));
        self.workers.iter().map(of).fold(0, u64::wrapping_add)
    }

    fn distribution(&self, first: usize) -> Distribution {
        let mut buckets = [0; BUCKETS];
        for (i, bucket) in buckets.iter_mut().enumerate() {
            *bucket = self.sum(first + i);
        }
        Distribution { buckets, sum_seconds: Duration::from_nanos(self.sum(first + BUCKETS)).as_secs_f64() }
    }
}

impl Default for Metrics {
    /// Metrics that are not exported.
    fn default() -> Self {
        Self::new(1, Vec::new())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_the_same_in_both_units_and_belong_to_their_bucket() {
        for (seconds, nanos) in BOUNDS_SECONDS.into_iter().zip(BOUNDS_NANOS) {
            assert_eq!(Duration::from_secs_f64(seconds), Duration::from_nanos(nanos));
        }
        let metrics = Metrics::default();
        for took in [0, 100_000, 100_001, 10_000_000_000, 10_000_000_001] {
            metrics.stored(Operation::Mint, Duration::from_nanos(took));
        }
        let seen = metrics.distribution(place::STORE + Operation::Mint.index() * DISTRIBUTION);
        assert_eq!(
            (seen.buckets[0], seen.buckets[1], seen.buckets[BUCKETS - 2], seen.buckets[BUCKETS - 1]),
            (2, 1, 1, 1)
        );
        assert_eq!(seen.count(), 5);
    }
}

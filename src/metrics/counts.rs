//! The numbers themselves: cells that the workers write to and that are added up when they are read.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    labels::{Code, Method, Operation},
    place::{self, DISTRIBUTION, METHOD},
    values::{BOUNDS_NANOS, BUCKETS, Distribution},
};
use crate::worker::PerWorker;

/// What was counted and measured.
pub struct Counts {
    workers: PerWorker<Cells>,
    methods: Vec<Method>,
}

/// The cells of one worker: those of the events, of the store's operations, and of the methods, with one more for calls of
/// unknown methods.
///
/// Alone on its cache lines, because it is written to all the time.
#[repr(align(128))]
struct Cells(Box<[AtomicU64]>);

// === impl Counts ===

impl Counts {
    pub(super) fn new(threads: usize, methods: Vec<Method>) -> Self {
        let cells = place::METHODS + (methods.len() + 1) * METHOD;
        let workers = PerWorker::new(threads, |_| Cells((0..cells).map(|_| AtomicU64::new(0)).collect()));
        Self { workers, methods }
    }

    /// A call of a method began.
    pub(super) fn began(&self, method: Option<usize>) {
        self.add(self.method(method), 1);
    }

    /// A call ended.
    pub(super) fn ended(&self, method: Option<usize>, code: Code, took: Duration) {
        self.measure(self.method(method) + 1 + code.index() * DISTRIBUTION, took);
    }

    /// An operation of the store ended.
    pub(super) fn stored(&self, operation: Operation, took: Duration) {
        self.measure(place::STORE + operation.index() * DISTRIBUTION, took);
    }

    /// Relaxed: the cells guard nothing but themselves.
    pub(super) fn add(&self, cell: usize, by: u64) {
        if let Some(cell) = self.workers.mine().0.get(cell) {
            cell.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// The sum over all workers.
    pub(super) fn sum(&self, cell: usize) -> u64 {
        let of = |cells: &Cells| cells.0.get(cell).map_or(0, |cell| cell.load(Ordering::Relaxed));
        self.workers.iter().map(of).fold(0, u64::wrapping_add)
    }

    /// The methods of the contract.
    pub(super) fn known_methods(&self) -> &[Method] {
        &self.methods
    }

    /// All methods with their indexes, and the one that stands for all others.
    pub(super) fn methods(&self) -> impl Iterator<Item = (Option<usize>, Option<&Method>)> {
        let known = self.methods.iter().enumerate().map(|(index, method)| (Some(index), Some(method)));
        known.chain([(None, None)])
    }

    /// The index of a method; an unknown one comes last.
    pub(super) fn row(&self, method: Option<usize>) -> usize {
        let unknown = self.methods.len();
        method.unwrap_or(unknown).min(unknown)
    }

    /// How many calls of a method began.
    pub(super) fn started(&self, method: Option<usize>) -> u64 {
        self.sum(self.method(method))
    }

    /// How long the calls of a method took that ended with this code.
    pub(super) fn handled(&self, method: Option<usize>, code: Code) -> Distribution {
        self.distribution(self.method(method) + 1 + code.index() * DISTRIBUTION)
    }

    /// How long operations of the store took.
    pub(super) fn operation(&self, operation: Operation) -> Distribution {
        self.distribution(place::STORE + operation.index() * DISTRIBUTION)
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

    fn distribution(&self, first: usize) -> Distribution {
        let mut buckets = [0; BUCKETS];
        for (i, bucket) in buckets.iter_mut().enumerate() {
            *bucket = self.sum(first + i);
        }
        Distribution { buckets, sum_seconds: Duration::from_nanos(self.sum(first + BUCKETS)).as_secs_f64() }
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counts").finish_non_exhaustive()
    }
}

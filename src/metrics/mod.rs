//! What is counted and measured, for Prometheus and OTLP.
//!
//! Promises: recording costs a few nanoseconds and no lock, because every worker writes to cells of its own, which are
//! only added up when somebody reads; and nothing of a request can become a label, because labels are enums and the
//! contract's methods. Both ways out read the same cells: [`text`] for Prometheus, and OpenTelemetry's instruments
//! ([`Metrics::instrument`]). While there are such instruments, durations cost a lock and a look-up besides, because
//! they are told each one.
//!
//! Invariant: knows what is counted and nothing of how it comes about. Start reading at [`labels`] (what is told apart)
//! and [`Event`].

mod families;
mod instruments;
pub mod labels;
pub mod text;

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use self::{
    instruments::Durations,
    labels::{Activity, Cache, Code, Delivery, Grant, Lane, Operation, Revoked, Signal},
};
use crate::{token::Reason, worker::PerWorker};

/// All metrics of one process.
pub struct Metrics {
    workers: PerWorker<Cells>,
    methods: Vec<Method>,
    /// Counters and gauges: our own, and those of whoever asked.
    observed: Mutex<Vec<Arc<Observed>>>,
    /// Where durations go besides their cells.
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

/// Something that happened once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An access token was issued; not one that a repeated request was told again.
    Issued(Grant),
    /// A refresh token was exchanged.
    Renewed,
    /// A renewal was answered with the successor that the first one made.
    Replayed,
    /// A refresh token came back after its replay window: its family was revoked.
    ReuseDetected,
    /// An entry that revokes was appended to the log.
    Revoked(Revoked),
    /// A token was introspected.
    Introspected(Activity),
    /// A call was refused because its lane or its connection was full.
    Shed(Lane),
    /// A connection for gRPC was accepted …
    ConnectionOpened,
    /// … and has ended.
    ConnectionClosed,
    /// A call failed.
    Failed(Reason),
    CacheHit(Cache),
    CacheMissed(Cache),
    /// An operation of the store failed.
    StoreFailed(Operation),
    /// An attempt to deliver an event ended.
    Delivered(Delivery),
    /// A sampled span could not be kept for the receiver.
    SpanDropped,
    /// An export by OTLP failed.
    ExportFailed(Signal),
}

/// A counter or a gauge, which is read when metrics are read.
pub struct Observed {
    /// As OpenTelemetry writes it: `jeton.follower.lag`.
    pub name: &'static str,
    pub help: &'static str,
    pub unit: Unit,
    pub kind: Kind,
    pub read: Read,
}

/// Tells the values as they stand now; must neither wait nor fail.
pub type Read = Box<dyn Fn(&Metrics) -> Vec<Point<f64>> + Send + Sync>;

/// What a value may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    Gauge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    None,
    Seconds,
    Bytes,
}

/// One metric as it stands now.
#[derive(Debug)]
pub struct Family {
    /// As OpenTelemetry writes it; [`text::name`] is Prometheus's.
    pub name: &'static str,
    pub help: &'static str,
    pub unit: Unit,
    pub points: Points,
}

#[derive(Debug)]
pub enum Points {
    Counter(Vec<Point<f64>>),
    Gauge(Vec<Point<f64>>),
    Histogram(Vec<Point<Distribution>>),
}

/// A value with what tells it apart from its neighbours.
#[derive(Clone, Debug)]
pub struct Point<T> {
    pub labels: Labels,
    pub value: T,
}

/// Names and values, from closed sets only.
pub type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// How long things took.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// How many took at most the bound at the same place of [`BOUNDS_SECONDS`], and more than the one before; one more
    /// at the end for what took longer than all of them.
    pub buckets: [u64; BUCKETS],
    pub sum_seconds: f64,
}

/// Upper bounds of the buckets. From 5 ms on those that OpenTelemetry wants for calls; below, what most of ours take.
pub const BOUNDS_SECONDS: [f64; BUCKETS - 1] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0,
];
const BOUNDS_NANOS: [u64; BUCKETS - 1] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];
pub const BUCKETS: usize = 20;

/// The cells of one worker: those of the events, of the store's operations, and of the methods and of what is none.
///
/// Alone on its cache lines, because it is written to all the time.
#[repr(align(128))]
struct Cells(Box<[AtomicU64]>);

/// The cells of a distribution: its buckets, and the sum in nanoseconds.
const DISTRIBUTION: usize = BUCKETS + 1;
/// The cells of a method: how many calls began, and how long they took by code.
const METHOD: usize = 1 + Code::ALL.len() * DISTRIBUTION;

/// Where cells begin, each block behind the one before.
mod place {
    use super::*;

    pub(super) const ISSUED: usize = 0;
    pub(super) const RENEWED: usize = ISSUED + Grant::ALL.len();
    pub(super) const REPLAYED: usize = RENEWED + 1;
    pub(super) const REUSE_DETECTED: usize = REPLAYED + 1;
    pub(super) const REVOKED: usize = REUSE_DETECTED + 1;
    pub(super) const INTROSPECTED: usize = REVOKED + Revoked::ALL.len();
    pub(super) const SHED: usize = INTROSPECTED + Activity::ALL.len();
    pub(super) const FAILED: usize = SHED + Lane::ALL.len();
    pub(super) const CACHE_HIT: usize = FAILED + Reason::ALL.len();
    pub(super) const CACHE_MISSED: usize = CACHE_HIT + Cache::ALL.len();
    pub(super) const STORE_FAILED: usize = CACHE_MISSED + Cache::ALL.len();
    pub(super) const DELIVERED: usize = STORE_FAILED + Operation::ALL.len();
    pub(super) const SPAN_DROPPED: usize = DELIVERED + Delivery::ALL.len();
    pub(super) const EXPORT_FAILED: usize = SPAN_DROPPED + 1;
    pub(super) const CONNECTION_OPENED: usize = EXPORT_FAILED + Signal::ALL.len();
    pub(super) const CONNECTION_CLOSED: usize = CONNECTION_OPENED + 1;
    pub(super) const STORE: usize = CONNECTION_CLOSED + 1;
    pub(super) const METHODS: usize = STORE + Operation::ALL.len() * DISTRIBUTION;
}

// === impl Metrics ===

impl Metrics {
    /// Metrics that so many threads write to: the workers, and what runs beside them. `methods` are those of the
    /// contract; whatever else is called counts as one more.
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

    /// A call of a method began; `None`: of what is none.
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

    /// Where a method stands; what is none stands behind them all.
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

    /// What all workers have counted together.
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
    /// Metrics that nobody reads.
    fn default() -> Self {
        Self::new(1, Vec::new())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

// === impl Event ===

impl Event {
    fn cell(self) -> usize {
        match self {
            Self::Issued(grant) => place::ISSUED + grant.index(),
            Self::Renewed => place::RENEWED,
            Self::Replayed => place::REPLAYED,
            Self::ReuseDetected => place::REUSE_DETECTED,
            Self::Revoked(kind) => place::REVOKED + kind.index(),
            Self::Introspected(activity) => place::INTROSPECTED + activity.index(),
            Self::Shed(lane) => place::SHED + lane.index(),
            // The one that is searched for; a failure costs a reply with details anyway.
            Self::Failed(reason) => {
                place::FAILED + Reason::ALL.iter().position(|known| *known == reason).unwrap_or_default()
            }
            Self::CacheHit(cache) => place::CACHE_HIT + cache.index(),
            Self::CacheMissed(cache) => place::CACHE_MISSED + cache.index(),
            Self::StoreFailed(operation) => place::STORE_FAILED + operation.index(),
            Self::Delivered(delivery) => place::DELIVERED + delivery.index(),
            Self::SpanDropped => place::SPAN_DROPPED,
            Self::ConnectionOpened => place::CONNECTION_OPENED,
            Self::ConnectionClosed => place::CONNECTION_CLOSED,
            Self::ExportFailed(signal) => place::EXPORT_FAILED + signal.index(),
        }
    }
}

// === impl Observed ===

impl Observed {
    /// A value without labels.
    pub fn one(
        kind: Kind,
        name: &'static str,
        unit: Unit,
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        let read = Box::new(move |_: &Metrics| vec![Point { labels: Labels::new(), value: read() }]);
        Self { name, help, unit, kind, read }
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("name", &self.name).finish_non_exhaustive()
    }
}

// === impl Distribution ===

impl Distribution {
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum.wrapping_add(*bucket))
    }

    fn add(&mut self, other: &Self) {
        for (own, more) in self.buckets.iter_mut().zip(other.buckets) {
            *own = own.wrapping_add(more);
        }
        self.sum_seconds += other.sum_seconds;
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], sum_seconds: 0.0 }
    }
}

/// A count as metrics write it: exact up to 2^53.
pub fn number(count: u64) -> f64 {
    let half = |bits: u64| f64::from(u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX));
    half(count >> 32) * 4_294_967_296.0 + half(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_events_share_a_cell() {
        let mut cells = Vec::new();
        let mut add = |event: Event| cells.push(event.cell());
        Grant::ALL.iter().for_each(|label| add(Event::Issued(*label)));
        Revoked::ALL.iter().for_each(|label| add(Event::Revoked(*label)));
        Activity::ALL.iter().for_each(|label| add(Event::Introspected(*label)));
        Lane::ALL.iter().for_each(|label| add(Event::Shed(*label)));
        Reason::ALL.iter().for_each(|label| add(Event::Failed(*label)));
        Cache::ALL.iter().for_each(|label| add(Event::CacheHit(*label)));
        Cache::ALL.iter().for_each(|label| add(Event::CacheMissed(*label)));
        Operation::ALL.iter().for_each(|label| add(Event::StoreFailed(*label)));
        Delivery::ALL.iter().for_each(|label| add(Event::Delivered(*label)));
        Signal::ALL.iter().for_each(|label| add(Event::ExportFailed(*label)));
        [Event::Renewed, Event::Replayed, Event::ReuseDetected, Event::SpanDropped].into_iter().for_each(&mut add);
        [Event::ConnectionOpened, Event::ConnectionClosed].into_iter().for_each(&mut add);
        let count = cells.len();
        cells.sort_unstable();
        cells.dedup();
        assert_eq!((cells.len(), cells.last()), (count, Some(&(place::STORE - 1))));
    }

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

    #[test]
    fn counts_become_numbers_without_loss() {
        assert_eq!(number(0), 0.0);
        assert_eq!(number(4_294_967_296), 4_294_967_296.0);
        assert_eq!(number(9_007_199_254_740_991), 9_007_199_254_740_991.0);
    }
}

//! Counters, gauges and durations, for Prometheus and OTLP.
//!
//! Promises: recording costs a few nanoseconds and no lock, because every worker writes to cells of its own, which are
//! only added up when they are read; and nothing of a request can become a label, because labels are enums and the
//! contract's methods. Both exports read the same cells: [`text`] for Prometheus, and OpenTelemetry's instruments
//! ([`Metrics::instrument`]). While there are such instruments, each duration also costs a lock and a lookup, because
//! they record every one.
//!
//! Invariant: knows what is counted and nothing of how it comes about. Start reading at [`labels`] and [`Event`].

mod counts;
mod events;
mod families;
mod instruments;
pub mod labels;
mod place;
pub mod text;
mod values;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;

pub use self::{
    counts::Counts,
    events::Event,
    families::{Observed, Read},
    labels::Method,
    values::{BOUNDS_SECONDS, BUCKETS, Distribution, Family, Instrument, Labels, Point, Points, Unit, number},
};
use self::{
    instruments::{Durations, Meter},
    labels::{Code, Operation},
};

/// All metrics of one process.
pub struct Metrics {
    counts: Counts,
    /// Counters and gauges: our own, and those that were added by [`Metrics::observe`].
    observed: Mutex<Vec<Arc<Observed>>>,
    /// Instruments that record durations besides the cells.
    durations: OnceLock<Durations>,
}

// === impl Metrics ===

impl Metrics {
    /// Metrics that so many threads write to: the workers and the one beside them. `methods` are those of the contract;
    /// calls of unknown methods count as one more.
    pub fn new(threads: usize, methods: Vec<Method>) -> Self {
        let observed = families::own().into_iter().map(Arc::new).collect();
        Self { counts: Counts::new(threads, methods), observed: Mutex::new(observed), durations: OnceLock::new() }
    }

    /// Counts what happened.
    pub fn count(&self, event: Event) {
        self.counts.add(event.cell(), 1);
    }

    /// A call of a method began; `None`: of an unknown one.
    pub fn began(&self, method: Option<usize>) {
        self.counts.began(method);
    }

    /// A call ended.
    pub fn ended(&self, method: Option<usize>, code: Code, took: Duration) {
        self.counts.ended(method, code, took);
        if let Some(durations) = self.durations.get() {
            durations.call(self.counts.row(method), code, took);
        }
    }

    /// An operation of the store ended.
    pub fn stored(&self, operation: Operation, took: Duration) {
        self.counts.stored(operation, took);
        if let Some(durations) = self.durations.get() {
            durations.store(operation, took);
        }
    }

    /// Reads another value whenever metrics are read.
    pub fn observe(&self, observed: Observed) {
        self.observed.lock().push(Arc::new(observed));
    }

    /// All metrics as Prometheus reads them: ours, and what gRPC dashboards expect.
    pub fn for_prometheus(&self) -> Vec<Family> {
        families::for_prometheus(&self.counts, &self.observed.lock())
    }

    /// Gives `meter` an instrument for each counter and gauge there is by now, and from now on the durations. There is
    /// one such meter: another gets no durations.
    pub fn instrument(self: &Arc<Self>, meter: &Meter) {
        for observed in self.observed.lock().iter() {
            let (metrics, own) = (Arc::clone(self), Arc::clone(observed));
            instruments::register(meter, observed, move || (own.read)(&metrics.counts));
        }
        // Fails for the second meter.
        let _ = self.durations.set(Durations::new(meter, self.counts.known_methods()));
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
    use super::{values::BOUNDS_NANOS, *};

    #[test]
    fn bounds_are_the_same_in_both_units_and_belong_to_their_bucket() {
        for (seconds, nanos) in BOUNDS_SECONDS.into_iter().zip(BOUNDS_NANOS) {
            assert_eq!(Duration::from_secs_f64(seconds), Duration::from_nanos(nanos));
        }
        let metrics = Metrics::default();
        for took in [0, 100_000, 100_001, 10_000_000_000, 10_000_000_001] {
            metrics.stored(Operation::Mint, Duration::from_nanos(took));
        }
        let seen = metrics.counts.operation(Operation::Mint);
        assert_eq!(
            (seen.buckets[0], seen.buckets[1], seen.buckets[BUCKETS - 2], seen.buckets[BUCKETS - 1]),
            (2, 1, 1, 1)
        );
        assert_eq!(seen.count(), 5);
    }
}

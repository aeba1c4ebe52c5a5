//! The metrics as instruments of OpenTelemetry: counters and gauges are read from the cells when they are due. Durations
//! are recorded a second time, because its interface has no histogram that is only read.

use std::{fmt, time::Duration};

pub use opentelemetry::metrics::Meter;
use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Histogram},
};

use super::{
    families::{CALL_DURATION_HELP, Observed, STORE_DURATION},
    labels::{Code, Method, Operation},
    values::{BOUNDS_SECONDS, Instrument, Labels, Point, Unit},
};

/// The histograms, and the attributes of what they record.
pub(super) struct Durations {
    calls: Histogram<f64>,
    store: Histogram<f64>,
    /// Row by row, and in each by code.
    of_calls: Vec<Vec<KeyValue>>,
    of_operations: Vec<[KeyValue; 1]>,
}

/// What OpenTelemetry calls a method that the contract does not have.
const OTHER: &str = "_OTHER";
/// Calls by OpenTelemetry's semantic conventions for RPC.
const CALL_DURATION: &str = "rpc.server.call.duration";

/// Gives `meter` an instrument for a counter or a gauge, which is read whenever it is due.
pub(super) fn register(meter: &Meter, observed: &Observed, read: impl Fn() -> Vec<Point<f64>> + Send + Sync + 'static) {
    let read = move |instrument: &dyn AsyncInstrument<f64>| {
        for point in read() {
            instrument.observe(point.value, &attributes(&point.labels));
        }
    };
    let (name, help, unit) = (observed.name, observed.help, unit(observed.unit));
    match observed.instrument {
        Instrument::Counter => {
            let counter = meter.f64_observable_counter(name).with_description(help).with_unit(unit);
            counter.with_callback(read).build();
        }
        Instrument::Gauge => {
            let gauge = meter.f64_observable_gauge(name).with_description(help).with_unit(unit);
            gauge.with_callback(read).build();
        }
    }
}

// === impl Durations ===

impl Durations {
    pub(super) fn new(meter: &Meter, methods: &[Method]) -> Self {
        let histogram = |(name, help): (&'static str, &'static str)| {
            let histogram = meter.f64_histogram(name).with_description(help).with_unit(unit(Unit::Seconds));
            histogram.with_boundaries(BOUNDS_SECONDS.into()).build()
        };
        let rows = methods.iter().map(|method| format!("{}/{}", method.service, method.name)).chain([OTHER.to_owned()]);
        Self {
            calls: histogram((CALL_DURATION, CALL_DURATION_HELP)),
            store: histogram(STORE_DURATION),
            of_calls: rows.flat_map(|row| Code::ALL.iter().map(move |code| of_call(&row, *code))).collect(),
            of_operations: Operation::ALL.iter().map(|own| [KeyValue::new("operation", own.name())]).collect(),
        }
    }

    /// A call of the method in this row ended.
    pub(super) fn call(&self, row: usize, code: Code, took: Duration) {
        if let Some(attributes) = self.of_calls.get(row * Code::ALL.len() + code.index()) {
            self.calls.record(took.as_secs_f64(), attributes);
        }
    }

    /// An operation of the store ended.
    pub(super) fn store(&self, operation: Operation, took: Duration) {
        if let Some(attributes) = self.of_operations.get(operation.index()) {
            self.store.record(took.as_secs_f64(), attributes);
        }
    }
}

impl fmt::Debug for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durations").finish_non_exhaustive()
    }
}

fn of_call(method: &str, code: Code) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("rpc.system.name", "grpc"),
        KeyValue::new("rpc.method", method.to_owned()),
        KeyValue::new("rpc.response.status_code", code.name()),
    ];
    attributes.extend(code.is_fault().then(|| KeyValue::new("error.type", code.name())));
    attributes
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| KeyValue::new(*name, value.clone())).collect()
}

/// As OpenTelemetry writes it (UCUM).
const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::None => "1",
        Unit::Seconds => "s",
        Unit::Bytes => "By",
    }
}

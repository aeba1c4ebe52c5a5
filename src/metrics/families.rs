//! The metrics as they are read: the name of each, and the cells of its values.

use std::{fmt, sync::Arc};

use jeton_contract::reason::Reason;

use super::{
    counts::Counts,
    events::Event,
    labels::{Activity, Cache, Code, Delivery, Grant, Lane, Method, Operation, Revoked, Signal},
    values::{Distribution, Family, Instrument, Labels, Point, Points, Unit, number},
};

/// A counter or a gauge, which is read when metrics are read.
pub struct Observed {
    /// As OpenTelemetry writes it: `jeton.follower.lag`.
    pub name: &'static str,
    pub help: &'static str,
    pub unit: Unit,
    pub instrument: Instrument,
    pub read: Read,
}

/// Returns the current values; must neither wait nor fail.
pub type Read = Box<dyn Fn(&Counts) -> Vec<Point<f64>> + Send + Sync>;

/// The label of methods that the contract does not have. Callers choose paths, so paths are not labels.
const UNKNOWN: &str = "unknown";

/// The duration of operations of the store: its name and its help text.
pub(super) const STORE_DURATION: (&str, &str) =
    ("jeton.store.duration", "How long operations of the store took, whatever became of them.");
/// The help text of the duration of calls, which has different names for Prometheus and OTLP.
pub(super) const CALL_DURATION_HELP: &str = "How long calls took.";

// === impl Observed ===

impl Observed {
    /// A value without labels.
    pub fn one(
        instrument: Instrument,
        name: &'static str,
        unit: Unit,
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        let read = Box::new(move |_: &Counts| vec![Point { labels: Labels::new(), value: read() }]);
        Self { name, help, unit, instrument, read }
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Our counters and gauges.
pub(super) fn own() -> Vec<Observed> {
    let mut own = counters();
    own.extend([
        Observed {
            name: "jeton.calls.in_flight",
            help: "Calls that are not answered to their end yet, open streams included.",
            unit: Unit::None,
            instrument: Instrument::Gauge,
            read: Box::new(|counts| Lane::ALL.iter().map(|lane| in_flight(counts, *lane)).collect()),
        },
        Observed {
            name: "jeton.connections.open",
            help: "Connections for gRPC that are open.",
            unit: Unit::None,
            instrument: Instrument::Gauge,
            read: Box::new(|counts| vec![open_connections(counts)]),
        },
        Observed {
            name: "jeton.build.info",
            help: "The version that runs; the value is always 1.",
            unit: Unit::None,
            instrument: Instrument::Gauge,
            read: Box::new(|_| vec![Point { labels: label("version", env!("CARGO_PKG_VERSION")), value: 1.0 }]),
        },
    ]);
    own
}

#[rustfmt::skip]
fn counters() -> Vec<Observed> {
    vec![
        counter("jeton.tokens.issued", "Access tokens that were issued, by grant.",
            Grant::ALL.iter().map(|grant| (label("grant", grant.name()), Event::Issued(*grant)))),
        counter("jeton.tokens.renewed", "Refresh tokens that were exchanged for their successor.",
            one(Event::Renewed)),
        counter("jeton.renewals.replayed", "Renewals that were answered with the successor of an earlier one.",
            one(Event::Replayed)),
        counter("jeton.reuse.detected", "Refresh tokens that came back after their replay window; their families were revoked.",
            one(Event::ReuseDetected)),
        counter("jeton.revocations", "Entries of the log that revoke, by what they name, as this replica appended them.",
            Revoked::ALL.iter().map(|kind| (label("kind", kind.name()), Event::Revoked(*kind)))),
        counter("jeton.introspections", "Tokens that were introspected, by what was found.",
            Activity::ALL.iter().map(|found| (label("active", found.name()), Event::Introspected(*found)))),
        counter("jeton.calls.shed", "Calls that were refused because too many were in flight.",
            Lane::ALL.iter().map(|lane| (label("lane", lane.name()), Event::Shed(*lane)))),
        counter("jeton.connections.accepted", "Connections for gRPC that were accepted.",
            one(Event::ConnectionOpened)),
        counter("jeton.failures", "Calls that failed, by the reason in the reply.",
            Reason::ALL.iter().map(|reason| (label("reason", reason.name()), Event::Failed(*reason)))),
        counter("jeton.cache.hits", "Look-ups that were answered from memory.",
            Cache::ALL.iter().map(|cache| (label("cache", cache.name()), Event::CacheHit(*cache)))),
        counter("jeton.cache.misses", "Look-ups that memory could not answer.",
            Cache::ALL.iter().map(|cache| (label("cache", cache.name()), Event::CacheMissed(*cache)))),
        counter("jeton.store.errors", "Operations of the store that failed.",
            Operation::ALL.iter().map(|own| (label("operation", own.name()), Event::StoreFailed(*own)))),
        counter("jeton.outbox.deliveries", "Attempts to deliver an event, and events that expired undelivered.",
            Delivery::ALL.iter().map(|own| (label("outcome", own.name()), Event::Delivered(*own)))),
        counter("jeton.spans.dropped", "Sampled spans that were lost because the OTLP receiver did not take them in time.",
            one(Event::SpanDropped)),
        counter("jeton.export.failures", "Exports by OTLP that failed.",
            Signal::ALL.iter().map(|own| (label("signal", own.name()), Event::ExportFailed(*own)))),
    ]
}

fn counter(name: &'static str, help: &'static str, events: impl Iterator<Item = (Labels, Event)>) -> Observed {
    let events: Vec<(Labels, Event)> = events.collect();
    // All of them, zeros included: what appears only with its first event has no increase to alert on.
    let read = move |counts: &Counts| {
        let point = |(labels, event): &(Labels, Event)| Point {
            labels: labels.clone(),
            value: number(counts.sum(event.cell())),
        };
        events.iter().map(point).collect()
    };
    Observed { name, help, unit: Unit::None, instrument: Instrument::Counter, read: Box::new(read) }
}

// === families ===

/// Ours, and what gRPC dashboards expect.
pub(super) fn for_prometheus(counts: &Counts, observed: &[Arc<Observed>]) -> Vec<Family> {
    let mut families = calls_by_go_names(counts);
    families.push(operations(counts));
    families.extend(observed.iter().map(|observed| {
        let points = (observed.read)(counts);
        let points = match observed.instrument {
            Instrument::Counter => Points::Counter(points),
            Instrument::Gauge => Points::Gauge(points),
        };
        Family { name: observed.name, help: observed.help, unit: observed.unit, points }
    }));
    families
}

fn operations(counts: &Counts) -> Family {
    let point = |operation: &Operation| Point {
        labels: label("operation", operation.name()),
        value: counts.operation(*operation),
    };
    let points = Operation::ALL.iter().map(point).filter(|point| point.value.count() > 0).collect();
    let (name, help) = STORE_DURATION;
    Family { name, help, unit: Unit::Seconds, points: Points::Histogram(points) }
}

fn open_connections(counts: &Counts) -> Point<f64> {
    // What ended first, as below.
    let closed = counts.sum(Event::ConnectionClosed.cell());
    let open = counts.sum(Event::ConnectionOpened.cell()).saturating_sub(closed);
    Point { labels: Labels::new(), value: number(open) }
}

fn in_flight(counts: &Counts, lane: Lane) -> Point<f64> {
    let mut open = 0_u64;
    for (index, method) in counts.methods() {
        if method.map_or(Lane::Ordinary, |method| method.lane) == lane {
            // What ended first: a call that ends in between would make the number negative otherwise.
            let ended: u64 = Code::ALL.iter().map(|code| counts.handled(index, *code).count()).sum();
            open += counts.started(index).saturating_sub(ended);
        }
    }
    Point { labels: label("lane", lane.name()), value: number(open) }
}

fn calls_by_go_names(counts: &Counts) -> Vec<Family> {
    let (mut began, mut ended, mut took) = (Vec::new(), Vec::new(), Vec::new());
    for (index, method) in counts.methods() {
        let calls = counts.started(index);
        if calls == 0 {
            continue;
        }
        let labels = go_labels(method);
        let mut all = Distribution::default();
        for code in Code::ALL {
            let own = counts.handled(index, *code);
            if own.count() > 0 {
                let mut labels = labels.clone();
                labels.push(("grpc_code", code.go_name().into()));
                ended.push(Point { labels, value: number(own.count()) });
            }
            all.add(&own);
        }
        took.push(Point { labels: labels.clone(), value: all });
        began.push(Point { labels, value: number(calls) });
    }
    vec![
        Family {
            name: "grpc.server.started",
            help: "Calls that began.",
            unit: Unit::None,
            points: Points::Counter(began),
        },
        Family {
            name: "grpc.server.handled",
            help: "Calls that ended, whatever became of them.",
            unit: Unit::None,
            points: Points::Counter(ended),
        },
        Family {
            name: "grpc.server.handling",
            help: CALL_DURATION_HELP,
            unit: Unit::Seconds,
            points: Points::Histogram(took),
        },
    ]
}

fn label(name: &'static str, value: &'static str) -> Labels {
    vec![(name, value.into())]
}

fn one(event: Event) -> impl Iterator<Item = (Labels, Event)> {
    [(Labels::new(), event)].into_iter()
}

fn go_labels(method: Option<&Method>) -> Labels {
    let (kind, service, name) = match method {
        Some(method) => (method.kind, method.service.clone().into(), method.name.clone().into()),
        None => ("unary", UNKNOWN.into(), UNKNOWN.into()),
    };
    vec![("grpc_type", kind.into()), ("grpc_service", service), ("grpc_method", name)]
}

//! Traces: which calls are sampled, and the spans of those that are.
//!
//! Promises: a call that is not sampled costs one decision and nothing else; a span that nobody takes is dropped, and
//! nothing waits for it; and nothing of a request can get into a span, because all that it says are static texts and the
//! ids of the trace.
//!
//! Invariant: knows neither calls nor the store; where spans go is somebody else's. The call that a task works for is a
//! value of the task ([`within`]), so what happens on its behalf need not be told.

use std::{collections::VecDeque, fmt, future::Future, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    ambient::{self, Clock},
    metrics::{Event, Metrics},
};

/// Decides which calls are sampled, and takes their spans.
#[derive(Clone, Debug)]
pub struct Tracer(Arc<Shared>);

/// What a task works for, if that is sampled. Spans that are begun by it become its children.
#[derive(Clone, Debug)]
pub struct Current {
    tracer: Tracer,
    trace: [u8; 16],
    span: [u8; 8],
}

/// A span that has begun.
#[derive(Debug)]
pub struct Open {
    current: Current,
    parent: Option<Parent>,
    kind: Kind,
    name: &'static str,
    started_us: u64,
    started: Instant,
}

/// A span that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub trace: [u8; 16],
    pub id: [u8; 8],
    pub parent: Option<[u8; 8]>,
    /// The parent is a span of the caller.
    pub is_parent_remote: bool,
    pub kind: Kind,
    pub name: &'static str,
    /// Microseconds since the Unix epoch.
    pub started_us: u64,
    pub ended_us: u64,
    pub attributes: Vec<(&'static str, &'static str)>,
    /// Whether what it stands for failed by a fault on this side of the call.
    pub failed: bool,
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Server,
    Client,
}

/// How many spans wait for their receiver at most: half a minute of one percent of a busy service's calls, and some MiB.
pub const MAX_WAITING_SPANS: usize = 16_384;

struct Shared {
    /// Of 2^64 calls that come without a decision, how many are sampled; `None`: all.
    sampled: Option<u64>,
    clock: Clock,
    metrics: Arc<Metrics>,
    waiting: Mutex<VecDeque<Span>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parent {
    span: [u8; 8],
    is_remote: bool,
}

/// What a caller says of its trace (W3C Trace Context §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TraceParent {
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

tokio::task_local! {
    static CURRENT: Option<Current>;
}

/// `work`, on behalf of `current`.
pub fn within<F: Future>(current: Option<Current>, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(current, work)
}

/// What the calling task works for.
pub fn current() -> Option<Current> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}

// === impl Tracer ===

impl Tracer {
    /// Samples `ratio` (0 to 1) of the calls whose callers have not decided yet.
    pub fn new(ratio: f64, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let waiting = Mutex::default();
        Self(Arc::new(Shared { sampled: threshold(ratio), clock, metrics, waiting }))
    }

    /// Begins the span of a call, if the call is sampled. `traceparent` is what the caller sent, if it did so once; one
    /// that is malformed counts as none (W3C Trace Context §4.3). `tracestate` is not taken over: it is free text of the
    /// caller's, and nothing of ours hands it on.
    pub fn begin(&self, name: &'static str, traceparent: Option<&[u8]>) -> Option<Open> {
        let from = traceparent.and_then(TraceParent::parse);
        let is_sampled = match from {
            Some(from) => from.sampled,
            None => self.0.sampled.is_none_or(|sampled| ambient::chance() < sampled),
        };
        if !is_sampled {
            return None;
        }
        let trace = match from {
            Some(from) => from.trace,
            None => trace_id(),
        };
        let parent = from.map(|from| Parent { span: from.span, is_remote: true });
        Some(self.open(trace, parent, Kind::Server, name))
    }

    /// Takes up to `limit` spans that have ended, oldest first.
    pub fn take(&self, limit: usize) -> Vec<Span> {
        let mut waiting = self.0.waiting.lock();
        let count = waiting.len().min(limit);
        waiting.drain(..count).collect()
    }

    fn open(&self, trace: [u8; 16], parent: Option<Parent>, kind: Kind, name: &'static str) -> Open {
        let current = Current { tracer: self.clone(), trace, span: span_id() };
        let started_us = self.0.clock.now_micros();
        Open { current, parent, kind, name, started_us, started: Instant::now() }
    }

    fn keep(&self, span: Span) {
        let mut waiting = self.0.waiting.lock();
        if waiting.len() < MAX_WAITING_SPANS {
            waiting.push_back(span);
        } else {
            drop(waiting);
            self.0.metrics.count(Event::SpanDropped);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("sampled", &self.sampled).finish_non_exhaustive()
    }
}

// === impl Current ===

impl Current {
    /// Begins a span of a call to somebody else.
    pub fn call(&self, name: &'static str) -> Open {
        let parent = Parent { span: self.span, is_remote: false };
        self.tracer.open(self.trace, Some(parent), Kind::Client, name)
    }

    /// The trace's id in hexadecimal, for the log.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace))
    }
}

// === impl Open ===

impl Open {
    /// For what is done on its behalf.
    pub const fn current(&self) -> &Current {
        &self.current
    }

    /// Ends the span.
    pub fn end(self, attributes: Vec<(&'static str, &'static str)>, failed: bool) {
        let took = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let Current { tracer, trace, span } = self.current;
        tracer.keep(Span {
            trace,
            id: span,
            parent: self.parent.map(|parent| parent.span),
            is_parent_remote: self.parent.is_some_and(|parent| parent.is_remote),
            kind: self.kind,
            name: self.name,
            started_us: self.started_us,
            ended_us: self.started_us.saturating_add(took),
            attributes,
            failed,
        });
    }
}

// === impl TraceParent ===

impl TraceParent {
    /// `00-` trace id `-` parent id `-` flags, in lower case. A later version may have more behind that.
    fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(55)?;
        let fields: Vec<&[u8]> = known.split(|byte| *byte == b'-').collect();
        let [version, trace, span, flags] = fields.as_slice() else { return None };
        let [version] = hex(version)?;
        let [flags] = hex(flags)?;
        let is_whole = more.is_empty() || (version > 0 && more.first() == Some(&b'-'));
        if version == 0xff || !is_whole {
            return None;
        }
        let (trace, span) = (hex(trace)?, hex(span)?);
        // All zeros stand for no id at all.
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// Exactly `N` bytes in lower-case hexadecimal.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(*pair.first()?)? << 4 | digit(*pair.last()?)?;
    }
    Some(bytes)
}

/// Of 2^64 numbers, how many are `ratio` of them.
fn threshold(ratio: f64) -> Option<u64> {
    const PARTS: u32 = 1_000_000_000;
    let parts = (0..=30).rev().fold(0_u32, |parts, bit| {
        // The largest number of parts that is not above the ratio, bit by bit: the language has no safe cast for it.
        let more = parts | 1 << bit;
        if more <= PARTS && f64::from(more) <= ratio * f64::from(PARTS) { more } else { parts }
    });
    (parts < PARTS).then(|| u64::MAX / u64::from(PARTS) * u64::from(parts))
}

fn trace_id() -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&ambient::chance().to_be_bytes());
    id[8..].copy_from_slice(&span_id());
    id
}

/// Never all zeros, which is no id.
fn span_id() -> [u8; 8] {
    ambient::chance().max(1).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn tracer(ratio: f64) -> Tracer {
        Tracer::new(ratio, Clock::default(), Arc::default())
    }

    #[test]
    fn the_callers_trace_goes_on_where_it_is_well_formed() {
        let parsed = TraceParent::parse(GIVEN.as_bytes()).unwrap();
        assert_eq!(u128::from_be_bytes(parsed.trace), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(u64::from_be_bytes(parsed.span), 0x00f0_67aa_0ba9_02b7);
        assert!(parsed.sampled);
        let later = format!("cc{}-more", &GIVEN[2..]);
        assert_eq!(TraceParent::parse(later.as_bytes()), Some(parsed));
        for wrong in [
            "",
            "00",
            &GIVEN.to_uppercase(),
            &format!("{GIVEN}-more"),
            &format!("ff{}", &GIVEN[2..]),
            &GIVEN[..54],
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473600-f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            assert_eq!(TraceParent::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_caller_decides_and_the_ratio_where_none_does() {
        let unsampled = format!("{}0", &GIVEN[..54]);
        let (all, none) = (tracer(1.0), tracer(0.0));
        assert!(all.begin("call", None).is_some());
        assert!(all.begin("call", Some(unsampled.as_bytes())).is_none());
        assert!(none.begin("call", None).is_none());
        assert!(none.begin("call", Some(b"malformed")).is_none());
        let span = none.begin("call", Some(GIVEN.as_bytes())).unwrap();
        assert_eq!(span.current().trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn about_the_ratio_is_sampled() {
        let tracer = tracer(0.01);
        let sampled = (0..100_000).filter(|_| tracer.begin("call", None).is_some()).count();
        // Ten standard deviations.
        assert!((700..1300).contains(&sampled), "{sampled}");
        assert_eq!(threshold(0.0), Some(0));
        assert_eq!(threshold(1.0), None);
        let half = threshold(0.5).unwrap();
        assert!(half.abs_diff(u64::MAX / 2) < u64::MAX / 1_000_000_000);
    }

    #[test]
    fn children_belong_to_what_their_task_works_for() {
        let tracer = tracer(1.0);
        let call = tracer.begin("call", Some(GIVEN.as_bytes())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(within(Some(call.current().clone()), async {
            current().unwrap().call("read").end(vec![("db.system.name", "redis")], true);
        }));
        assert!(current().is_none());
        call.end(Vec::new(), false);
        let spans = tracer.take(10);
        let [child, parent] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!((child.parent, child.trace, child.is_parent_remote), (Some(parent.id), parent.trace, false));
        assert_eq!((child.kind, child.failed, parent.kind), (Kind::Client, true, Kind::Server));
        assert_eq!(parent.parent.map(u64::from_be_bytes), Some(0x00f0_67aa_0ba9_02b7));
        assert!(parent.is_parent_remote && child.started_us >= parent.started_us);
    }

    #[test]
    fn what_nobody_takes_is_dropped_and_counted() {
        let metrics = Arc::new(Metrics::default());
        let tracer = Tracer::new(1.0, Clock::default(), Arc::clone(&metrics));
        for _ in 0..MAX_WAITING_SPANS + 3 {
            tracer.begin("call", None).unwrap().end(Vec::new(), false);
        }
        assert_eq!(tracer.take(usize::MAX).len(), MAX_WAITING_SPANS);
        let page = crate::metrics::text::page(&metrics).unwrap();
        assert!(page.contains("\njeton_spans_dropped_total 3.0\n"), "{page}");
    }
}

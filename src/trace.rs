//! Traces: which calls are sampled, and the spans of those that are, which OpenTelemetry's SDK makes and keeps.
//!
//! Promises: a call that is not sampled costs one decision and nothing else; and nothing of a request can get into a
//! span, because all that it says are static texts and the ids of the trace.
//!
//! Invariant: knows neither calls nor the store; where spans go is somebody else's. The call that a task works for is a
//! value of the task ([`within`]), so what happens on its behalf need not be given it.

use std::{future::Future, sync::Arc};

use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{SdkTracer, Span},
};

use crate::ambient;

/// Decides which calls are sampled, and makes their spans.
#[derive(Clone, Debug)]
pub struct Tracer(Arc<Shared>);

/// What a task works for, if that is sampled. Spans that are begun by it become its children.
#[derive(Clone, Debug)]
pub struct Current {
    tracer: Tracer,
    span: SpanContext,
}

/// A span that has begun. Dropped, it ends as well.
#[derive(Debug)]
pub struct Open {
    tracer: Tracer,
    span: Span,
}

/// What a span says: a name, and a value that is no caller's.
pub type Attribute = (&'static str, &'static str);

#[derive(Debug)]
struct Shared {
    sdk: SdkTracer,
    /// Which part of the calls that come without a decision is sampled, 0 to 1.
    ratio: f64,
}

/// The metadata of a call as the propagator sees it.
struct Sent<'a>(&'a str);

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
    /// Samples `ratio` (0 to 1) of the calls whose callers have not decided yet. `sdk` must keep each span that it is
    /// asked for: it is asked for those of sampled calls only.
    pub fn new(sdk: SdkTracer, ratio: f64) -> Self {
        Self(Arc::new(Shared { sdk, ratio }))
    }

    /// Begins the span of a call, if the call is sampled. `traceparent` is what the caller sent, if it did so once; one
    /// that is malformed counts as none (W3C Trace Context §4.3).
    pub fn begin(&self, name: &'static str, traceparent: Option<&str>) -> Option<Open> {
        let sent =
            traceparent.map(|text| TraceContextPropagator::new().extract_with_context(&Context::new(), &Sent(text)));
        let parent = sent.filter(Context::has_active_span);
        let is_sampled = match &parent {
            Some(parent) => parent.span().span_context().is_sampled(),
            None => self.0.takes(ambient::chance()),
        };
        is_sampled
            .then(|| self.open(SpanBuilder::from_name(name).with_kind(SpanKind::Server), &parent.unwrap_or_default()))
    }

    fn open(&self, span: SpanBuilder, parent: &Context) -> Open {
        Open { tracer: self.clone(), span: self.0.sdk.build_with_context(span, parent) }
    }
}

// === impl Shared ===

impl Shared {
    /// Whether a call is sampled, by a number by chance.
    fn takes(&self, chance: u64) -> bool {
        // Its upper half: as much as a float takes without a loss.
        u32::try_from(chance >> 32).is_ok_and(|chance| f64::from(chance) < self.ratio * 4_294_967_296.0)
    }
}

// === impl Current ===

impl Current {
    /// Begins a span of a call to somebody else.
    pub fn call<const N: usize>(&self, name: &'static str, attributes: [Attribute; N]) -> Open {
        let parent = Context::new().with_remote_span_context(self.span.clone());
        let span = SpanBuilder::from_name(name).with_kind(SpanKind::Client);
        self.tracer.open(span.with_attributes(attributes.map(key_value)), &parent)
    }

    /// The trace's id in hexadecimal, for the log.
    pub fn trace_id(&self) -> String {
        self.span.trace_id().to_string()
    }
}

// === impl Open ===

impl Open {
    /// For what is done on its behalf.
    pub fn current(&self) -> Current {
        Current { tracer: self.tracer.clone(), span: self.span.span_context().clone() }
    }

    /// Ends the span. `failed` says whether what it stands for failed by a fault on this side of the call.
    pub fn end(mut self, attributes: impl IntoIterator<Item = Attribute>, failed: bool) {
        self.span.set_attributes(attributes.into_iter().map(key_value));
        if failed {
            self.span.set_status(Status::error(""));
        }
        self.span.end();
    }
}

// === impl Sent ===

impl Extractor for Sent<'_> {
    /// `tracestate` is not taken over: it is free text of the caller's, and nothing of ours hands it on.
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

fn key_value((name, value): Attribute) -> KeyValue {
    KeyValue::new(name, value)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, TracerProvider as _};
    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SdkTracerProvider, SpanData, SpanExporter},
    };
    use parking_lot::Mutex;

    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// Keeps what has ended.
    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().extend(spans);
            Ok(())
        }
    }

    fn tracer(ratio: f64, kept: &Kept) -> Tracer {
        let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
        Tracer::new(provider.tracer("jeton"), ratio)
    }

    #[test]
    fn a_caller_decides_and_the_ratio_where_none_does() {
        let unsampled = format!("{}0", &GIVEN[..54]);
        let (all, none) = (tracer(1.0, &Kept::default()), tracer(0.0, &Kept::default()));
        assert!(all.begin("call", None).is_some());
        assert!(all.begin("call", Some(&unsampled)).is_none());
        assert!(none.begin("call", None).is_none());
        for wrong in ["", "malformed", &GIVEN.to_uppercase(), &GIVEN.replace("00f067aa0ba902b7", "0000000000000000")] {
            assert!(none.begin("call", Some(wrong)).is_none(), "{wrong}");
        }
        let span = none.begin("call", Some(GIVEN)).unwrap();
        assert_eq!(span.current().trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn the_ratio_is_sampled() {
        let takes = |ratio: f64, chance: u64| tracer(ratio, &Kept::default()).0.takes(chance);
        assert!(takes(1.0, u64::MAX) && takes(0.5, u64::MAX >> 1) && takes(0.01, 0));
        assert!(!takes(0.0, 0) && !takes(0.5, (u64::MAX >> 1) + 1) && !takes(0.01, u64::MAX / 99));
    }

    #[test]
    fn children_belong_to_what_their_task_works_for() {
        let kept = Kept::default();
        let call = tracer(1.0, &kept).begin("call", Some(GIVEN)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(within(Some(call.current()), async {
            current().unwrap().call("read", [("db.system.name", "redis")]).end([("error.type", "corrupt")], true);
            drop(current().unwrap().call("write", []));
        }));
        assert!(current().is_none());
        call.end([], false);
        let spans = kept.0.lock();
        let [child, cut, parent] = spans.as_slice() else { panic!("{spans:?}") };
        let (trace, id) = (parent.span_context.trace_id(), parent.span_context.span_id());
        for own in [child, cut] {
            assert_eq!(
                (own.parent_span_id, own.span_context.trace_id(), &own.span_kind),
                (id, trace, &SpanKind::Client)
            );
            assert!(!own.parent_span_is_remote);
        }
        assert_eq!(child.attributes, [("db.system.name", "redis"), ("error.type", "corrupt")].map(key_value));
        assert_eq!((&child.status, &cut.status), (&Status::error(""), &Status::Unset));
        assert_eq!((&parent.span_kind, parent.parent_span_is_remote), (&SpanKind::Server, true));
        assert_eq!(parent.parent_span_id, SpanId::from(0x00f0_67aa_0ba9_02b7));
    }
}

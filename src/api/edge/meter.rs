//! What metrics and traces say of a call.

use std::sync::Arc;

use http::HeaderMap;
use jeton_contract::reason::Reason;
use tokio::time::Instant;
use tonic::Code;

use super::metadata::single;
use crate::{
    api::policy::Method,
    metrics::{Event, Metrics, labels},
    trace::{Current, Open, Tracer},
};

/// What calls are measured with.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    pub metrics: Arc<Metrics>,
    /// `None`: nothing is traced.
    pub tracer: Option<Tracer>,
}

/// One call from its begin to its end. Dropped before that, it was cancelled.
#[derive(Debug)]
pub(super) struct Meter {
    watch: Arc<Watch>,
    protocol: Protocol,
    method: Option<&'static Method>,
    started: Instant,
    span: Option<Box<Open>>,
    over: bool,
}

/// How a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    Http,
}

/// Stands for a method that the contract does not have: paths are the caller's text.
const OTHER: &str = "_OTHER";

// === impl Meter ===

impl Meter {
    /// A call has begun. The watch is the connection's own: workers that count references to the same one would wait for
    /// each other's caches.
    pub(super) fn begin(
        watch: &Arc<Watch>,
        protocol: Protocol,
        method: Option<&'static Method>,
        started: Instant,
        headers: &HeaderMap,
    ) -> Self {
        watch.metrics.began(method.map(|method| method.index));
        let span = watch.tracer.as_ref().and_then(|tracer| {
            let traceparent = single(headers, "traceparent").ok().flatten().and_then(|value| value.to_str().ok());
            tracer.begin(name(method), traceparent).map(Box::new)
        });
        Self { watch: Arc::clone(watch), protocol, method, started, span, over: false }
    }

    /// For what is done on the call's behalf.
    pub(super) fn current(&self) -> Option<Current> {
        self.span.as_ref().map(|span| span.current())
    }

    /// The id of the trace that the call is sampled for.
    pub(super) fn trace_id(&self) -> Option<String> {
        self.span.as_ref().map(|span| span.current().trace_id())
    }

    /// The call has ended. Only the first end counts.
    pub(super) fn end(&mut self, code: Code, reason: Option<Reason>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let code = labels::Code::from_number(code.into());
        let metrics = &self.watch.metrics;
        metrics.ended(self.method.map(|method| method.index), code, self.started.elapsed());
        if let Some(reason) = reason {
            metrics.count(Event::Failed(reason));
        }
        if let Some(span) = self.span.take() {
            let mut attributes = vec![
                match self.protocol {
                    Protocol::Grpc => ("rpc.system.name", "grpc"),
                    Protocol::Http => ("network.protocol.name", "http"),
                },
                ("rpc.method", name(self.method)),
                ("rpc.response.status_code", code.name()),
            ];
            attributes.extend(code.is_fault().then_some(("error.type", code.name())));
            attributes.extend(reason.map(|reason| ("jeton.error.reason", reason.name())));
            span.end(attributes, code.is_fault());
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.end(Code::Cancelled, None);
    }
}

fn name(method: Option<&'static Method>) -> &'static str {
    method.map_or(OTHER, Method::name)
}

//! What the log says of a call: at most one line, and the id by which it is found.

use std::cell::Cell;

use http::{HeaderMap, HeaderName, HeaderValue};
use jeton_contract::reason::{Class, Reason};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::meter::Meter;
use crate::{
    ambient,
    api::{policy::Method, status},
    error::chain,
    serve::Peer,
};

/// The name of a call in logs: the caller's `x-request-id`, or one that was made for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub(super) HeaderValue);

/// What the log says of a call.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) started: Instant,
    /// The method, or the path if there is no such method.
    pub(super) method: Result<&'static Method, String>,
    pub(super) request_id: RequestId,
    pub(super) peer: Peer,
    pub(super) meter: Meter,
}

pub(super) const TARGET: &str = "jeton::call";

/// The name of the entry that it stands in.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const MAX_REQUEST_ID_LEN: usize = 64;

thread_local! {
    /// What made request ids begin with on this thread, and how many there were. Unique is enough; they are no secret.
    static MADE: Cell<(u64, u64)> =
        Cell::new((u64::from_ne_bytes(ambient::random().unwrap_or_default()), 0));
}

// === impl Record ===

impl Record {
    /// Ends the call: gives the status in `headers` its details if it has none, and writes the line of the log.
    ///
    /// `status` is the status as it was before it was written into `headers`, if it is still there.
    pub(super) fn close(&mut self, headers: &mut HeaderMap, status: Option<Status>) {
        if headers.get(Status::GRPC_STATUS).is_none_or(|code| code == "0") {
            return self.succeeded();
        }
        let Some(mut status) = status.or_else(|| Status::from_header_map(headers)) else {
            return self.meter.end(Code::Unknown, None);
        };
        if status.details().is_empty() {
            let (method, path) = match &self.method {
                Ok(method) => (Some(*method), method.path.as_str()),
                Err(path) => (None, path.as_str()),
            };
            status = status::enrich(&status, method, path);
            headers.remove(Status::GRPC_MESSAGE);
            if status.add_header(headers).is_err() {
                tracing::error!(target: TARGET, request_id = self.request_id.as_str(), "a status cannot be written");
            }
        }
        self.failed(&status);
    }

    /// The same for a stream, whose end comes long after its headers: the trailers have the call's name once more.
    pub(super) fn close_stream(&mut self, trailers: &mut HeaderMap, status: Option<Status>) {
        self.close(trailers, status);
        trailers.insert(REQUEST_ID, self.request_id.0.clone());
    }

    // The macros look at the level before they evaluate a field: a line that is not wanted costs a comparison.

    pub(super) fn succeeded(&mut self) {
        let reads_only = self.method.as_ref().is_ok_and(|method| method.reads_only);
        if reads_only {
            tracing::debug!(
                target: TARGET,
                request_id = self.request_id.as_str(),
                rpc.method = self.name(),
                duration_us = self.duration_us(),
                peer = %self.peer,
                trace_id = self.meter.trace_id(),
                "{} succeeded",
                self.name()
            );
        } else {
            tracing::info!(
                target: TARGET,
                request_id = self.request_id.as_str(),
                rpc.method = self.name(),
                duration_us = self.duration_us(),
                peer = %self.peer,
                trace_id = self.meter.trace_id(),
                "{} succeeded",
                self.name()
            );
        }
        self.meter.end(Code::Ok, None);
    }

    pub(super) fn failed(&mut self, status: &Status) {
        // Tells only what the caller did wrong apart from what we did: the message may repeat the request, so it is
        // written only for failures of ours.
        macro_rules! line {
            ($level:ident $(, $cause:expr)?) => {
                tracing::$level!(
                    target: TARGET,
                    request_id = self.request_id.as_str(),
                    rpc.method = self.name(),
                    rpc.code = ?status.code(),
                    error.reason = &*status::reason(status),
                    $(error.cause = $cause,)?
                    duration_us = self.duration_us(),
                    peer = %self.peer,
                    trace_id = self.meter.trace_id(),
                    "{} failed: {}",
                    self.name(),
                    status::reason(status)
                )
            };
        }
        let cause = status::cause(status);
        match cause.map(|error| error.reason().class()) {
            // Someone must act.
            Some(Class::Internal) => line!(error, cause.map(|error| chain(error))),
            Some(Class::Unavailable) => line!(warn, cause.map(|error| chain(error))),
            Some(Class::PermissionDenied) => {
                line!(info);
                // Until there is an audit log to ask, its lines stand here.
                tracing::info!(
                    target: "audit",
                    event = "call.refused",
                    request_id = self.request_id.as_str(),
                    rpc.method = self.name(),
                    error.reason = &*status::reason(status),
                    peer = %self.peer,
                    "refused a call that its caller may not make"
                );
            }
            Some(_) | None => line!(info),
        }
        self.meter.end(status.code(), Reason::named(&status::reason(status)));
    }

    fn name(&self) -> &str {
        match &self.method {
            Ok(method) => method.name(),
            Err(path) => path,
        }
    }

    fn duration_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

// === impl RequestId ===

impl RequestId {
    /// The one that a request brings, or a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).filter(|id| {
            (1..=MAX_REQUEST_ID_LEN).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
        });
        given.map_or_else(Self::make, |id| Self(id.clone()))
    }

    fn make() -> Self {
        let (begin, count) = MADE.get();
        MADE.set((begin, count.wrapping_add(1)));
        let id = format!("{begin:016x}-{count:x}");
        Self(HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("-")))
    }

    /// As it stands in a reply.
    pub fn value(&self) -> HeaderValue {
        self.0.clone()
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

//! The path of a call: from the HTTP/2 request to the handler and back.
//!
//! [`Connection::call`] does in this order: finds the method in the contract, takes a place in the method's lane or
//! sheds the call, parses the deadline, authenticates the bearer, checks the declared access, runs the handler, and
//! sees to it that every failure has its details and every call at most one line in the log. Whatever it refuses
//! costs neither a decoded message nor a look at the store, except for the bearer's.
//!
//! It is one `async fn` and not a stack of layers, because each layer would box its future and its body again, and an
//! introspection is served in about ten microseconds.

mod admit;
mod body;
mod bounded;
pub mod direct;
mod limits;
mod metadata;
mod meter;
mod mutation;
mod record;

use std::{convert::Infallible, future::poll_fn, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, request::Parts};
use jeton_contract::reason::Reason;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, codegen::StdError, service::Routes};
use tower::Service;

pub use self::{
    admit::{Admitted, Authenticate, open},
    body::Reply,
    limits::Limits,
    meter::Watch,
    mutation::{mutations_ended, run_to_end},
    record::{REQUEST_ID, RequestId},
};
use self::{
    body::{Limited, Stream},
    bounded::{bounded, deadline_exceeded},
    limits::{Open, Places, Taken},
    metadata::{bearer, invalid_metadata, is_grpc, single, timeout},
    meter::{Meter, Protocol},
    record::Record,
};
use super::{
    policy::{Method, Policy, Rule},
    status,
};
use crate::{
    error::{Error, Result},
    metrics::Event,
    serve::Peer,
    trace,
    worker::PerWorker,
};

/// What all connections share.
#[derive(Debug)]
pub struct Edge<A> {
    policy: Policy,
    authenticate: A,
    limits: Limits,
    workers: PerWorker<Arc<Taken>>,
    watch: Watch,
}

/// One connection's way to the handlers.
#[derive(Debug)]
pub struct Connection<A> {
    edge: Arc<Edge<A>>,
    routes: Routes,
    peer: Peer,
    places: Arc<Places>,
    watch: Arc<Watch>,
    drain: CancellationToken,
}

/// How much of an unknown path goes into the log.
const MAX_PATH_CHARS: usize = 128;

// === impl Edge ===

impl<A: Authenticate> Edge<A> {
    /// `workers` is the number of worker threads that calls will run on.
    pub fn new(policy: Policy, authenticate: A, limits: Limits, workers: usize, watch: Watch) -> Self {
        Self {
            policy,
            authenticate,
            limits: limits.share(workers),
            workers: PerWorker::new(workers, |_| Arc::default()),
            watch,
        }
    }

    /// A connection from `peer`, served on the calling worker. Its streams end when `drain` is cancelled.
    pub fn connect(self: &Arc<Self>, peer: Peer, routes: Routes, drain: CancellationToken) -> Connection<A> {
        let places = Arc::new(Places::new(self.workers.mine(), self.limits));
        let watch = Arc::new(self.watch.clone());
        watch.metrics.count(Event::ConnectionOpened);
        Connection { edge: Arc::clone(self), routes, peer, places, watch, drain }
    }

    /// What the handler of a method of the contract gets to know.
    async fn admitted(
        &self,
        method: &'static Method,
        headers: &HeaderMap,
        deadline: Instant,
        record: &Record,
    ) -> Result<Option<Admitted<A::Caller>>> {
        let Some(rule) = method.rule() else { return Ok(None) };
        let caller = self.admit(rule, headers).await?;
        let (request_id, identities) = (record.request_id.clone(), record.peer.identities.clone());
        Ok(Some(Admitted { caller, method, deadline, request_id, identities }))
    }

    /// The caller, if there is a bearer. Refuses one that may not call before its message is read.
    async fn admit(&self, rule: &'static Rule, headers: &HeaderMap) -> Result<Option<A::Caller>> {
        let Some(bearer) = bearer(headers)? else {
            return if rule.takes_no_bearer() {
                Ok(None)
            } else {
                Err(Error::new(Reason::TokenMissing, "the call wants a bearer token in `authorization`"))
            };
        };
        let caller = self.authenticate.authenticate(bearer).await?;
        rule.right(|scope| A::has_scope(&caller, scope))?;
        Ok(Some(caller))
    }
}

// === impl Connection ===

impl<A: Authenticate> Connection<A> {
    /// Whether no call is open.
    pub fn is_idle(&self) -> bool {
        self.places.is_idle()
    }

    /// Answers one call.
    pub async fn call<B>(self: Arc<Self>, request: http::Request<B>) -> http::Response<Reply>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<StdError>,
    {
        let started = Instant::now();
        let open = Open::new(&self.places);
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let method = self.edge.policy.method(path).ok_or_else(|| path.chars().take(MAX_PATH_CHARS).collect());
        let meter = Meter::begin(&self.watch, Protocol::Grpc, method.as_ref().ok().copied(), started, &parts.headers);
        let request_id = RequestId::of(&parts.headers);
        let mut record = Record { started, method, request_id, peer: self.peer.clone(), meter };

        let mut response = match &record.method {
            _ if !is_grpc(&parts.headers) => not_grpc(),
            Ok(method) => match self.answer(method, parts, body, &record).await {
                Ok(response) => response,
                Err(error) => status::of(error).into_http(),
            },
            Err(_) => status::method_unknown(path).into_http(),
        };

        response.headers_mut().insert(REQUEST_ID, record.request_id.0.clone());
        // tonic leaves the status with its source here; in the headers there is only what may be sent.
        let status = response.extensions_mut().remove::<Status>();
        let is_stream = record.method.as_ref().is_ok_and(|method| method.flow.is_streaming())
            && !response.headers().contains_key(Status::GRPC_STATUS);
        let stream = if is_stream {
            Some(Box::new(Stream { record, drain: Box::pin(self.drain.clone().cancelled_owned()) }))
        } else {
            record.close(response.headers_mut(), status);
            None
        };
        response.map(|body| Reply { body, stream, _open: open })
    }

    async fn answer<B>(
        &self,
        method: &'static Method,
        mut parts: Parts,
        body: B,
        record: &Record,
    ) -> Result<http::Response<Body>>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<StdError>,
    {
        let shed = |_: &Error| self.watch.metrics.count(Event::Shed(method.lane.label()));
        let place = self.places.take(method.lane).inspect_err(shed)?;
        let deadline = self.deadline(&parts.headers, record.started)?;

        let work = async {
            let admitted = self.edge.admitted(method, &parts.headers, deadline, record);
            if let Some(admitted) = admitted.await? {
                parts.extensions.insert(admitted);
            }
            let body = Body::new(Limited::new(body, method));
            let mut routes = self.routes.clone();
            poll_fn(|cx| Service::<http::Request<Body>>::poll_ready(&mut routes, cx)).await.map_err(never)?;
            routes.call(http::Request::from_parts(parts, body)).await.map_err(never)
        };

        let work = trace::within(record.meter.current(), work);
        bounded(method, place, deadline, &record.request_id, work).await
    }

    /// When the caller stops to wait, or we do.
    fn deadline(&self, headers: &HeaderMap, started: Instant) -> Result<Instant> {
        let cap = self.edge.limits.call_timeout;
        let timeout = match single(headers, "grpc-timeout")? {
            None => cap,
            Some(text) => timeout(text)
                .ok_or_else(|| invalid_metadata("`grpc-timeout` must be 1 to 8 digits and one of H, M, S, m, u, n"))?
                .min(cap),
        };
        // A timer fires only for work that has to wait; work without any would run after its deadline.
        if timeout.is_zero() { Err(deadline_exceeded()) } else { Ok(started + timeout) }
    }
}

// === refusals ===

impl<A> Drop for Connection<A> {
    fn drop(&mut self) {
        self.watch.metrics.count(Event::ConnectionClosed);
    }
}

/// The protocol wants this code, so that other clients do not take the reply's 200 for a success.
fn not_grpc() -> http::Response<Body> {
    let error = invalid_metadata("`content-type` must be application/grpc");
    let mut response = status::of(error).into_http();
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

fn never(never: Infallible) -> Error {
    match never {}
}

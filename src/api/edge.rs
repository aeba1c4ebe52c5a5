//! The path of a call: from the HTTP/2 request to the handler and back.
//!
//! [`Connection::call`] does in this order: finds the method in the contract, takes a place in the method's lane or
//! sheds the call, parses the deadline, authenticates the bearer, checks the declared access, runs the handler, and
//! sees to it that every failure has its details and every call at most one line in the log. Whatever it refuses
//! costs neither a decoded message nor a look at the store, except for the bearer's.
//!
//! It is one `async fn` and not a stack of layers, because each layer would box its future and its body again, and an
//! introspection is served in about ten microseconds.

use std::{
    any::Any,
    cell::Cell,
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
    request::Parts,
};
use http_body::{Frame, SizeHint};
use tokio::{sync::oneshot, time::Instant};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::TaskTracker,
};
use tonic::{Status, body::Body, service::Routes};
use tower::Service as _;

use super::{
    policy::{Access, Kind, Lane, Method, Policy, Rule},
    status,
    validate::{self, Validate},
};
use crate::{
    ambient,
    token::error::{Class, Error, Reason, Result, chain},
    worker::PerWorker,
};

/// Tells who bears a token.
pub trait Authenticate: Send + Sync + 'static {
    /// What is known of the bearer of a token.
    type Caller: Clone + Send + Sync + 'static;

    /// The bearer of `bearer`, or TOKEN_INVALID.
    fn authenticate(&self, bearer: &str) -> impl Future<Output = Result<Self::Caller>> + Send;

    /// Whether the caller's scopes contain `scope`.
    fn has_scope(caller: &Self::Caller, scope: &str) -> bool;
}

/// What the edge found out about a call before its handler runs: an extension of the request, taken by [`open`].
#[derive(Clone, Debug)]
pub struct Admitted<C> {
    /// The bearer. `None`: there was no bearer token, and the method is public or takes client authentication.
    pub caller: Option<C>,
    /// What the method declares.
    pub rule: &'static Rule,
    /// Whether the bearer holds the scope that the method declares; true for a bearer if it declares none. If false,
    /// only what is the bearer's own may be touched (`rule.self_allowed`), or the message authenticates a client.
    pub holds_scope: bool,
    /// When the caller stops to wait. The edge answers for the handler then; this is for what must give up earlier.
    pub deadline: Instant,
    pub request_id: RequestId,
}

/// The name of a call in logs: the caller's `x-request-id`, or one that was made for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

/// How much is let in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls in flight, over all workers; each worker has an equal share.
    pub calls: usize,
    /// Revocations in flight, over all workers, besides `calls`.
    pub revocations: usize,
    /// Health and reflection calls in flight, over all workers, besides `calls`.
    pub probes: usize,
    /// Calls in flight on one connection, without revocations and probes.
    pub calls_per_connection: usize,
    /// The longest that a call may take, whatever its `grpc-timeout` says; at most an hour.
    pub call_timeout: Duration,
}

/// What all connections share.
#[derive(Debug)]
pub struct Edge<A> {
    policy: Policy,
    authenticate: A,
    limits: Limits,
    workers: PerWorker<Arc<Taken>>,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp(SocketAddr),
    Unix,
}

/// One connection's way to the handlers.
#[derive(Debug)]
pub struct Connection<A> {
    edge: Arc<Edge<A>>,
    routes: Routes,
    peer: Peer,
    places: Arc<Places>,
    drain: CancellationToken,
}

/// The body of a reply.
#[derive(Debug)]
pub struct Reply {
    body: Body,
    /// Set for a stream until its end was seen.
    stream: Option<Box<Stream>>,
    _open: Open,
}

/// A handler's first step: the caller, and the message, held against its declared rules.
///
/// # Errors
/// INVALID_FIELD, with all violations.
pub fn open<C: Send + Sync + 'static, T: Validate>(mut request: tonic::Request<T>) -> Result<(Admitted<C>, T)> {
    let admitted = request.extensions_mut().remove().ok_or_else(|| Error::internal("the call was not admitted"))?;
    let message = request.into_inner();
    validate::check(&message)?;
    Ok((admitted, message))
}

/// Runs a mutation to its end, even if the call is cancelled or its deadline passes meanwhile: half a mutation is worse
/// than one that nobody waits for. Until then it keeps the call's place in its lane, and the server waits for it
/// before it stops.
///
/// # Errors
/// Those of the mutation; INTERNAL if it panics.
pub async fn run_to_end<T, F>(mutation: F) -> Result<T>
where
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let call = CALL.try_with(Clone::clone).ok().flatten();
    let (reply, outcome) = oneshot::channel();
    let run = async move {
        // Nobody waits any more. A success is found by whoever repeats the call; a failure is told here or nowhere.
        if let Err(Err(error)) = reply.send(mutation.await)
            && matches!(error.reason().class(), Class::Internal | Class::Unavailable)
        {
            let method = call.as_ref().map_or("", |call| call.method.name());
            let request_id = call.as_ref().map_or("", |call| call.request_id.as_str());
            tracing::warn!(
                target: TARGET,
                request_id,
                rpc.method = method,
                error.reason = error.reason().name(),
                error.cause = chain(&error),
                "{method} failed after its caller had left"
            );
        }
        drop(call);
    };
    MUTATIONS.with(|mutations| mutations.spawn(run));
    outcome.await.unwrap_or_else(|_| Err(Error::internal("a mutation panicked")))
}

/// Ends when the mutations that were started on this thread have ended.
pub async fn mutations_ended() {
    let mutations = MUTATIONS.with(Clone::clone);
    mutations.close();
    mutations.wait().await;
}

const TARGET: &str = "jeton::call";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const MAX_REQUEST_ID_LEN: usize = 64;

const MAX_CALL_TIMEOUT: Duration = Duration::from_secs(3600);

/// The flag and the length before a message (gRPC over HTTP/2).
const PREFIX_LEN: usize = 5;

/// How much of an unknown path goes into the log.
const MAX_PATH_CHARS: usize = 128;

thread_local! {
    /// Per thread, because every server has its own worker threads and waits for its own mutations only.
    static MUTATIONS: TaskTracker = TaskTracker::new();

    /// What made request ids begin with on this thread, and how many there were. Unique is enough; they are no secret.
    static MADE: Cell<(u64, u64)> =
        Cell::new((u64::from_ne_bytes(ambient::random().unwrap_or_default()), 0));
}

tokio::task_local! {
    /// The call that runs in this task, if it may mutate.
    static CALL: Option<Arc<Mutating>>;
}

/// A call that may mutate, for as long as it or its mutation runs.
#[derive(Debug)]
struct Mutating {
    method: &'static Method,
    request_id: RequestId,
    _place: Place,
}

/// The places that are taken on one worker. Alone on its cache lines, because every call writes to it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Taken {
    ordinary: AtomicUsize,
    revocation: AtomicUsize,
    probe: AtomicUsize,
}

/// The places that a connection's calls can take.
#[derive(Debug)]
struct Places {
    worker: Arc<Taken>,
    connection: AtomicUsize,
    /// All calls of the connection that are open.
    open: AtomicUsize,
    /// Per worker, except for `calls_per_connection`.
    limits: Limits,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    lane: Lane,
}

/// A call that is not answered to its last byte yet, until it is dropped.
#[derive(Debug)]
struct Open(Arc<Places>);

/// A stream of replies.
#[derive(Debug)]
struct Stream {
    record: Record,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// What the log says of a call.
#[derive(Debug)]
struct Record {
    started: Instant,
    /// The method, or the path that is none.
    method: Result<&'static Method, String>,
    request_id: RequestId,
    peer: Peer,
}

/// A request's body that ends in a failure when it is longer than allowed. Counts bytes, because nobody has to
/// announce a length.
#[derive(Debug)]
struct Limited<B> {
    body: B,
    left: usize,
    max_message: usize,
}

// === impl Edge ===

impl<A: Authenticate> Edge<A> {
    /// `workers` is the number of worker threads that calls will run on.
    pub fn new(policy: Policy, authenticate: A, limits: Limits, workers: usize) -> Self {
        let share = |places: usize| places.div_ceil(workers.max(1));
        let limits = Limits {
            calls: share(limits.calls),
            revocations: share(limits.revocations),
            probes: share(limits.probes),
            call_timeout: limits.call_timeout.min(MAX_CALL_TIMEOUT),
            ..limits
        };
        Self { policy, authenticate, limits, workers: PerWorker::new(workers, |_| Arc::default()) }
    }

    /// A connection from `peer`, served on the calling worker. Its streams end when `drain` is cancelled.
    pub fn connect(self: &Arc<Self>, peer: Peer, routes: Routes, drain: CancellationToken) -> Connection<A> {
        let places = Places {
            worker: Arc::clone(self.workers.mine()),
            connection: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            limits: self.limits,
        };
        Connection { edge: Arc::clone(self), routes, peer, places: Arc::new(places), drain }
    }

    async fn admit(&self, rule: &'static Rule, headers: &HeaderMap) -> Result<(Option<A::Caller>, bool)> {
        let Some(bearer) = bearer(headers)? else {
            return if rule.access == Access::Public || rule.client_authentication {
                Ok((None, false))
            } else {
                Err(Error::new(Reason::TokenMissing, "the call wants a bearer token in `authorization`"))
            };
        };
        let caller = self.authenticate.authenticate(bearer).await?;
        let holds_scope = match &rule.access {
            Access::Public | Access::Authenticated => true,
            Access::Scope(scope) => A::has_scope(&caller, scope),
        };
        match &rule.access {
            Access::Scope(scope) if !holds_scope && !rule.self_allowed => {
                Err(Error::new(Reason::ScopeInsufficient, format!("the call wants the scope {scope}")))
            }
            Access::Scope(_) | Access::Public | Access::Authenticated => Ok((Some(caller), holds_scope)),
        }
    }
}

// === impl Connection ===

impl<A: Authenticate> Connection<A> {
    /// Whether no call is open.
    pub fn is_idle(&self) -> bool {
        self.places.open.load(Ordering::Relaxed) == 0
    }

    /// Answers one call.
    pub async fn call<B>(self: Arc<Self>, request: http::Request<B>) -> http::Response<Reply>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<tonic::codegen::StdError>,
    {
        let started = Instant::now();
        let open = Open::new(&self.places);
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let method = self.edge.policy.method(path).ok_or_else(|| path.chars().take(MAX_PATH_CHARS).collect());
        let record = Record { started, method, request_id: RequestId::of(&parts.headers), peer: self.peer };

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
        let is_stream = record.method.as_ref().is_ok_and(|method| method.streaming)
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
        B::Error: Into<tonic::codegen::StdError>,
    {
        let place = self.places.take(method.lane)?;
        let deadline = self.deadline(&parts.headers, record.started)?;

        let work = async {
            if let Kind::Ours(rule) = &method.kind {
                let (caller, holds_scope) = self.edge.admit(rule, &parts.headers).await?;
                let request_id = record.request_id.clone();
                parts.extensions.insert(Admitted { caller, rule, holds_scope, deadline, request_id });
            }
            let body = Body::new(Limited::new(body, method));
            let mut routes = self.routes.clone();
            poll_fn(|cx| tower::Service::<http::Request<Body>>::poll_ready(&mut routes, cx)).await.map_err(never)?;
            routes.call(http::Request::from_parts(parts, body)).await.map_err(never)
        };

        // The place is given back at the latest when the reply begins: what a stream costs is bounded by the streams
        // of its connection.
        let (_place, call) = if method.reads_only {
            (Some(place), None)
        } else {
            let request_id = record.request_id.clone();
            (None, Some(Arc::new(Mutating { method, request_id, _place: place })))
        };
        let work = CALL.scope(call, unwinding(work));
        match tokio::time::timeout_at(deadline, work).await {
            Ok(answer) => answer,
            Err(_) => Err(deadline_exceeded()),
        }
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

// === impl Places ===

impl Places {
    fn take(self: &Arc<Self>, lane: Lane) -> Result<Place> {
        let (taken, limit) = self.lane(lane);
        if !increase(taken, limit) {
            return Err(Error::new(Reason::Overloaded, "too many calls in flight"));
        }
        // From here on the place is given back by its drop.
        let place = Place { places: Arc::clone(self), lane };
        // Only the ordinary lane is counted by connection: the others are small enough to be shared.
        if lane == Lane::Ordinary && self.connection.fetch_add(1, Ordering::Relaxed) >= self.limits.calls_per_connection
        {
            return Err(Error::new(Reason::Overloaded, "too many calls in flight on this connection"));
        }
        Ok(place)
    }

    fn lane(&self, lane: Lane) -> (&AtomicUsize, usize) {
        match lane {
            Lane::Ordinary => (&self.worker.ordinary, self.limits.calls),
            Lane::Revocation => (&self.worker.revocation, self.limits.revocations),
            Lane::Probe => (&self.worker.probe, self.limits.probes),
        }
    }
}

/// Relaxed: the counters guard nothing but themselves.
fn increase(counter: &AtomicUsize, limit: usize) -> bool {
    let fits = counter.fetch_add(1, Ordering::Relaxed) < limit;
    if !fits {
        counter.fetch_sub(1, Ordering::Relaxed);
    }
    fits
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lane(self.lane).0.fetch_sub(1, Ordering::Relaxed);
        if self.lane == Lane::Ordinary {
            self.places.connection.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Open {
    fn new(places: &Arc<Places>) -> Self {
        places.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(places))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Record ===

impl Record {
    /// Ends the call: gives the status in `headers` its details if it has none, and writes the line of the log.
    ///
    /// `status` is the status as it was before it was written into `headers`, if it is still there.
    fn close(&self, headers: &mut HeaderMap, status: Option<Status>) {
        if headers.get(Status::GRPC_STATUS).is_none_or(|code| code == "0") {
            return self.succeeded();
        }
        let Some(mut status) = status.or_else(|| Status::from_header_map(headers)) else {
            return;
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

    // The macros look at the level before they evaluate a field: a line that is not wanted costs a comparison.

    fn succeeded(&self) {
        let reads_only = self.method.as_ref().is_ok_and(|method| method.reads_only);
        if reads_only {
            tracing::debug!(
                target: TARGET,
                request_id = self.request_id.as_str(),
                rpc.method = self.name(),
                duration_us = self.duration_us(),
                peer = %self.peer,
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
                "{} succeeded",
                self.name()
            );
        }
    }

    fn failed(&self, status: &Status) {
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
            Some(_) | None => line!(info),
        }
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
    fn of(headers: &HeaderMap) -> Self {
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

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

// === impl Reply ===

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Status>>> {
        // A drain ends streams; their callers go on elsewhere.
        if let Some(stream) = &mut self.stream
            && stream.drain.as_mut().poll(cx).is_ready()
        {
            let mut trailers = HeaderMap::new();
            let status = status::of(Error::new(Reason::NotServing, "the server is draining"));
            // Written to fresh headers, a status of ours cannot fail.
            let _ = status.add_header(&mut trailers);
            stream.record.close(&mut trailers, Some(status));
            self.stream = None;
            self.body = Body::empty();
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let mut frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
            && let Some(stream) = self.stream.take()
        {
            stream.record.close(trailers, None);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // Callers end most streams by going away.
        if let Some(stream) = self.stream.take() {
            stream.record.succeeded();
        }
    }
}

// === impl Limited ===

impl<B> Limited<B> {
    fn new(body: B, method: &Method) -> Self {
        let max_message = method.max_message;
        // A stream is bounded message by message, by its service.
        let left = if method.streaming { usize::MAX } else { max_message.saturating_add(PREFIX_LEN) };
        Self { body, left, max_message }
    }
}

impl<B> http_body::Body for Limited<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<tonic::codegen::StdError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Status>>> {
        let frame = match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(error.into())))),
            None => return Poll::Ready(None),
        };
        let len = frame.data_ref().map_or(0, Bytes::len);
        match self.left.checked_sub(len) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                let text = format!("the message is larger than {} bytes", self.max_message);
                Poll::Ready(Some(Err(status::of(Error::new(Reason::InvalidMessage, text)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Peer ===

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 8192,
            revocations: 1024,
            probes: 256,
            // Below the 128 streams of a connection, so that some are left for revocations and probes.
            calls_per_connection: 120,
            call_timeout: Duration::from_secs(10),
        }
    }
}

// === metadata ===

/// The entry `name`, if there is one.
fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a HeaderValue>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        None => Ok(first),
        // Two parties that each look at another one of them would be fooled (confused deputy).
        Some(_) => Err(invalid_metadata(format!("`{name}` is given twice"))),
    }
}

/// The token in `authorization: Bearer …` (RFC 6750 §2.1), if there is one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = single(headers, AUTHORIZATION.as_str())? else {
        return Ok(None);
    };
    let malformed = || invalid_metadata("`authorization` must be \"Bearer\" and a token");
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    let token = token.trim_start_matches(' ');
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    if scheme.eq_ignore_ascii_case("bearer") && is_token { Ok(Some(token)) } else { Err(malformed()) }
}

/// `grpc-timeout` as the protocol has it: at most 8 digits and a unit.
fn timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    // 8 digits of hours are far from overflowing.
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The protocol wants this code, so that other clients do not take the reply's 200 for a success.
fn not_grpc() -> http::Response<Body> {
    let error = invalid_metadata("`content-type` must be application/grpc");
    let mut response = status::of(error).into_http();
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

fn invalid_metadata(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Reason::InvalidMetadata, text)
}

fn deadline_exceeded() -> Error {
    Error::new(Reason::DeadlineExceeded, "the deadline passed")
}

// === panics ===

/// Runs `work`; a panic in it is a failure of this call only.
async fn unwinding<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        // Unwind safe: a call that panicked is not polled again, and shared state has no locks that poison.
        catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)))
            .unwrap_or_else(|panic| Poll::Ready(Err(Error::internal(format!("a handler panicked: {}", text(&*panic))))))
    })
    .await
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

fn never(never: Infallible) -> Error {
    match never {}
}

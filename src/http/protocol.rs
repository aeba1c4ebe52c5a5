//! HTTP on the connections of a listener: version 1.1 or 2, as the peer begins.

use std::{
    fmt,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tower::Service as _;

use crate::{
    api::{
        edge::mutations_ended,
        protocol::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_HEADER_LIST, STREAMS_PER_CONNECTION},
    },
    serve::{Calls, Connection, Io, Peer, Protocol, Serving},
};

/// HTTP on the connections of a listener. Requests carry what `connect` makes of their connection as an extension.
pub struct Http<C> {
    routes: Router,
    connect: Box<dyn Fn(Peer) -> C + Send + Sync>,
}

/// How long a peer may take for the head of a request. A connection that waits for its next request ends after it, too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The head of a request, in bytes, as HTTP/1.1 counts them.
const MAX_HEAD: usize = 16 * 1024;
/// The shortest line that a request can begin with: `GET / HTTP/1.0`.
const FIRST_LINE_LEN: usize = 16;

/// How many requests of a connection are open.
#[derive(Debug, Default)]
struct Requests(AtomicUsize);

/// A request that is not answered yet, until it is dropped.
struct Open(Arc<Requests>);

// === impl Http ===

impl<C> Http<C> {
    /// `connect` is called on the worker that serves the connection.
    pub fn new(routes: Router, connect: impl Fn(Peer) -> C + Send + Sync + 'static) -> Self {
        Self { routes, connect: Box::new(connect) }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_header_list_size(MAX_HEADER_LIST)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    builder
}

impl<C: Clone + Send + Sync + 'static> Protocol for Http<C> {
    fn first_bytes(&self) -> usize {
        FIRST_LINE_LEN
    }

    fn alpn(&self) -> &'static [&'static str] {
        &["h2", "http/1.1"]
    }

    fn serve(&self, io: Io, connection: Connection) -> Serving {
        let Connection { peer, finish, drain: _ } = connection;
        let requests = Arc::new(Requests::default());
        let calls = Arc::clone(&requests);
        let routes = self.routes.clone();
        let connection = (self.connect)(peer);
        let ended = async move {
            let service = service_fn(|mut request: http::Request<Incoming>| {
                request.extensions_mut().insert(connection.clone());
                let open = Open::new(&requests);
                let answer = routes.clone().call(request.map(Body::new));
                async move {
                    let response = answer.await;
                    drop(open);
                    response
                }
            });
            let builder = builder();
            let mut served = pin!(builder.serve_connection(TokioIo::new(io), service));
            tokio::select! {
                biased;
                ended = served.as_mut() => return ended,
                () = finish.cancelled() => {}
            }
            served.as_mut().graceful_shutdown();
            served.await
        };
        Serving { ended: Box::pin(ended), calls }
    }

    /// Mutations outlive their requests and connections.
    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(mutations_ended())
    }
}

impl<C> fmt::Debug for Http<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

// === impl Requests ===

impl Calls for Requests {
    fn is_idle(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl Open {
    fn new(requests: &Arc<Requests>) -> Self {
        requests.0.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(requests))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

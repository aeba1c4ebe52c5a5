//! gRPC on the connections of a listener: HTTP/2, served by hyper directly.
//!
//! tonic's own server would wrap every call in a `grpc-timeout` of its own, which nothing inside can take off and which
//! answers CANCELLED where DEADLINE_EXCEEDED is due; it does not tell connections apart when they age; and a silent peer
//! holds its shutdown.

use std::{
    convert::Infallible,
    fmt,
    pin::{Pin, pin},
    sync::{Arc, OnceLock},
    time::Duration,
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tonic::service::Routes;

use super::edge::{self, Authenticate, Edge};
use crate::{
    serve::{Calls, Connection, Io, Protocol, Serving},
    worker::PerWorker,
};

/// gRPC on the connections of a listener.
pub struct Grpc<A> {
    edge: Arc<Edge<A>>,
    make_routes: Box<dyn Fn() -> Routes + Send + Sync>,
    routes: PerWorker<OnceLock<Routes>>,
}

/// Header names and values of a request, in bytes.
pub const MAX_HEADER_LIST: u32 = 16 * 1024;
/// Calls at a time on one connection.
pub const STREAMS_PER_CONNECTION: u32 = 128;
/// After so long without a frame the peer is pinged …
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// … and has so long to answer.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The preface of a client and the head of the SETTINGS frame that must follow it (RFC 9113 §3.4).
const PREFACE_LEN: usize = 24 + 9;

// === impl Grpc ===

impl<A: Authenticate> Grpc<A> {
    /// `routes` is called once on each of `workers` worker threads, within its runtime: what it makes is used by that
    /// worker only. Begin with [`super::health::routes`].
    pub fn new(edge: Arc<Edge<A>>, routes: impl Fn() -> Routes + Send + Sync + 'static, workers: usize) -> Self {
        Self { edge, make_routes: Box::new(routes), routes: PerWorker::new(workers, |_| OnceLock::new()) }
    }
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_header_list_size(MAX_HEADER_LIST)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        // gRPC has no use for it, and it would cost 37 bytes in every reply.
        .auto_date_header(false);
    builder
}

impl<A: Authenticate> Protocol for Grpc<A> {
    fn first_bytes(&self) -> usize {
        PREFACE_LEN
    }

    fn alpn(&self) -> &'static [&'static str] {
        &["h2"]
    }

    fn serve(&self, io: Io, connection: Connection) -> Serving {
        let Connection { peer, finish, drain } = connection;
        let routes = self.routes.mine().get_or_init(|| (self.make_routes)().prepare()).clone();
        let connection = Arc::new(self.edge.connect(peer, routes, drain));
        let calls = Arc::clone(&connection);
        let ended = async move {
            let service = service_fn(|request| {
                let connection = Arc::clone(&connection);
                async move { Ok::<_, Infallible>(connection.call(request).await) }
            });
            let mut served = pin!(builder().serve_connection(TokioIo::new(io), service));
            tokio::select! {
                biased;
                ended = served.as_mut() => return Ok(ended?),
                () = finish.cancelled() => {}
            }
            served.as_mut().graceful_shutdown();
            Ok(served.await?)
        };
        Serving { ended: Box::pin(ended), calls }
    }

    /// Mutations outlive their calls and connections.
    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(edge::mutations_ended())
    }
}

impl<A: Authenticate> Calls for edge::Connection<A> {
    fn is_idle(&self) -> bool {
        Self::is_idle(self)
    }
}

impl<A> fmt::Debug for Grpc<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grpc").finish_non_exhaustive()
    }
}

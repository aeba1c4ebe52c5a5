//! The path of a call by another protocol than gRPC: the same limits, authentication and line in the log. The protocol's
//! handler has already made the message.

use std::sync::Arc;

use http::HeaderMap;
use jeton_contract::{reason::Reason, validate::Violation};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::{
    Authenticate, Edge, RequestId, Watch,
    bounded::{bounded, deadline_exceeded},
    limits::{Place, Places},
    meter::{Meter, Protocol},
    record::Record,
};
use crate::{
    api::{
        policy::{Lane, Method},
        status,
    },
    error::{Error, Result},
    serve::Peer,
    trace,
};

/// A connection of another protocol than gRPC.
#[derive(Debug)]
pub struct Direct<A> {
    edge: Arc<Edge<A>>,
    peer: Peer,
    places: Arc<Places>,
    watch: Arc<Watch>,
}

/// A call that has its place in a lane and a deadline.
#[derive(Debug)]
pub struct DirectCall<A> {
    edge: Arc<Edge<A>>,
    place: Place,
    deadline: Instant,
    begun: Begun,
}

/// A call whose method is not known yet.
#[derive(Debug)]
struct Begun {
    name: String,
    started: Instant,
    request_id: RequestId,
    peer: Peer,
    watch: Arc<Watch>,
}

/// Why a call was refused or failed. It is logged already, and its text is for the caller.
#[derive(Debug)]
pub struct Refusal(Status);

// === impl Direct ===

impl<A: Authenticate> Edge<A> {
    /// A connection from `peer` of another protocol than gRPC, served on the calling worker.
    pub fn direct(self: &Arc<Self>, peer: Peer) -> Direct<A> {
        let places = Arc::new(Places::new(self.workers.mine(), self.limits));
        let watch = Arc::new(self.watch.clone());
        Direct { edge: Arc::clone(self), peer, places, watch }
    }
}

impl<A: Authenticate> Direct<A> {
    /// Begins a call. `name` is its name in the log until its method is known.
    ///
    /// # Errors
    /// OVERLOADED.
    pub fn begin(&self, lane: Lane, name: &str, request_id: RequestId) -> Result<DirectCall<A>, Refusal> {
        let started = Instant::now();
        let (peer, watch) = (self.peer.clone(), Arc::clone(&self.watch));
        let begun = Begun { name: name.to_owned(), started, request_id, peer, watch };
        match self.places.take(lane) {
            Ok(place) => {
                let deadline = started + self.edge.limits.call_timeout;
                Ok(DirectCall { edge: Arc::clone(&self.edge), place, deadline, begun })
            }
            Err(error) => Err(begun.refuse(error)),
        }
    }
}

// === impl DirectCall ===

impl<A: Authenticate> DirectCall<A> {
    /// Reads the message of the call, until its deadline.
    ///
    /// # Errors
    /// Those of `reading`, and DEADLINE_EXCEEDED.
    pub async fn read<T>(self, reading: impl Future<Output = Result<T>>) -> Result<(Self, T), Refusal> {
        let read = timeout_at(self.deadline, reading).await.unwrap_or_else(|_| Err(deadline_exceeded()));
        match read {
            Ok(read) => Ok((self, read)),
            Err(error) => Err(self.begun.refuse(error)),
        }
    }

    /// Runs the handler of the method at `path`, if the bearer in `headers` may call it.
    ///
    /// # Errors
    /// As over gRPC.
    pub(in crate::api) async fn run<M, R, F>(
        self,
        path: &str,
        headers: &HeaderMap,
        message: M,
        handler: impl FnOnce(Request<M>) -> F,
    ) -> Result<R, Refusal>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let Self { edge, place, deadline, begun } = self;
        let Some(method) = edge.policy.method(path) else {
            return Err(begun.refuse(Error::internal(format!("find the method {path}"))));
        };
        let mut record = begun.record(Some(method), headers);
        let work = async {
            let mut request = Request::new(message);
            let admitted = edge.admitted(method, headers, deadline, &record);
            if let Some(admitted) = admitted.await? {
                request.extensions_mut().insert(admitted);
            }
            Ok(handler(request).await)
        };
        let work = trace::within(record.meter.current(), work);
        let answer = bounded(method, place, deadline, &record.request_id, work).await;
        match answer.unwrap_or_else(|error| Err(status::of(error))) {
            Ok(response) => {
                record.succeeded();
                Ok(response.into_inner())
            }
            Err(status) => {
                record.failed(&status);
                Err(Refusal(status))
            }
        }
    }
}

// === impl Begun ===

impl Begun {
    /// What is to be said of the call from now on.
    fn record(self, method: Option<&'static Method>, headers: &HeaderMap) -> Record {
        let Self { name, started, request_id, peer, watch } = self;
        let meter = Meter::begin(&watch, Protocol::Http, method, started, headers);
        Record { started, method: method.ok_or(name), request_id, peer, meter }
    }

    fn refuse(self, error: Error) -> Refusal {
        let status = status::of(error);
        self.record(None, &HeaderMap::new()).failed(&status);
        Refusal(status)
    }
}

// === impl Refusal ===

impl Refusal {
    pub fn reason(&self) -> Reason {
        // Handlers make no status without an error; a fault of ours is what is left.
        self.error().map_or(Reason::Internal, Error::reason)
    }

    /// The status as callers see it.
    pub fn message(&self) -> &str {
        self.0.message()
    }

    /// The fields that break their rules, by their paths in the message.
    pub fn violations(&self) -> &[Violation] {
        self.error().map_or(&[], Error::violations)
    }

    /// When to come back.
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        self.error().and_then(Error::retry_after)
    }

    fn error(&self) -> Option<&Error> {
        status::cause(&self.0)
    }
}

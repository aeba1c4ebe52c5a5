//! The path of a call that comes without gRPC: the same limits, proof and line in the log. The message is at hand, made by
//! whoever knows the other protocol.

use std::sync::Arc;

use http::HeaderMap;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::{
    Authenticate, Edge, RequestId, bounded, deadline_exceeded,
    limits::{Place, Places},
    record::Record,
};
use crate::{
    api::{
        policy::{Kind, Lane},
        status,
    },
    serve::Peer,
    token::error::{Error, Reason, Result, Violation},
};

/// One connection's way to the handlers, for what is not gRPC.
#[derive(Debug)]
pub struct Direct<A> {
    edge: Arc<Edge<A>>,
    peer: Peer,
    places: Arc<Places>,
}

/// A call that has its place and whose time runs.
#[derive(Debug)]
pub struct Call<A> {
    edge: Arc<Edge<A>>,
    place: Place,
    deadline: Instant,
    record: Record,
}

/// Why a call was refused or failed. It stands in the log already, and tells nothing that callers may not know.
#[derive(Debug)]
pub struct Refusal(Status);

// === impl Direct ===

impl<A: Authenticate> Edge<A> {
    /// A connection from `peer` that does not speak gRPC, served on the calling worker.
    pub fn direct(self: &Arc<Self>, peer: Peer) -> Direct<A> {
        let places = Arc::new(Places::new(self.workers.mine(), self.limits));
        Direct { edge: Arc::clone(self), peer, places }
    }
}

impl<A: Authenticate> Direct<A> {
    /// Begins a call. `name` is what the log calls it until its method is known.
    ///
    /// # Errors
    /// OVERLOADED.
    pub fn begin(&self, lane: Lane, name: &str, request_id: RequestId) -> Result<Call<A>, Refusal> {
        let started = Instant::now();
        let record = Record { started, method: Err(name.to_owned()), request_id, peer: self.peer };
        match self.places.take(lane) {
            Ok(place) => {
                let deadline = started + self.edge.limits.call_timeout;
                Ok(Call { edge: Arc::clone(&self.edge), place, deadline, record })
            }
            Err(error) => Err(refuse(&record, error)),
        }
    }
}

// === impl Call ===

impl<A: Authenticate> Call<A> {
    /// Reads what the call brings, as long as there is time.
    ///
    /// # Errors
    /// Those of `reading`, and DEADLINE_EXCEEDED.
    pub async fn read<T>(self, reading: impl Future<Output = Result<T>>) -> Result<(Self, T), Refusal> {
        let read = timeout_at(self.deadline, reading).await.unwrap_or_else(|_| Err(deadline_exceeded()));
        match read {
            Ok(read) => Ok((self, read)),
            Err(error) => Err(refuse(&self.record, error)),
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
        let Self { edge, place, deadline, mut record } = self;
        let Some(method) = edge.policy.method(path) else {
            return Err(refuse(&record, Error::internal(format!("find the method {path}"))));
        };
        record.method = Ok(method);
        let work = async {
            let mut request = Request::new(message);
            if let Kind::Ours(rule) = &method.kind {
                let admitted = edge.admitted(rule, headers, deadline, &record.request_id).await?;
                request.extensions_mut().insert(admitted);
            }
            Ok(handler(request).await)
        };
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

fn refuse(record: &Record, error: Error) -> Refusal {
    let status = status::of(error);
    record.failed(&status);
    Refusal(status)
}

// === impl Refusal ===

impl Refusal {
    pub fn reason(&self) -> Reason {
        // Handlers make no status without an error; a fault of ours is what is left.
        self.error().map_or(Reason::Internal, Error::reason)
    }

    /// What callers are told.
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

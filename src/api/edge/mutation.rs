//! Mutations that outlive their calls.

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::{
    limits::Place,
    record::{RequestId, TARGET},
};
use crate::{
    api::policy::Method,
    token::error::{Class, Error, Result, chain},
};

/// A call that may mutate, for as long as it or its mutation runs.
#[derive(Debug)]
pub(super) struct Mutating {
    pub(super) method: &'static Method,
    pub(super) request_id: RequestId,
    pub(super) _place: Place,
}

/// Runs a mutation to its end, even if the call is cancelled or its deadline passes meanwhile: half a mutation is worse
/// than one that nobody waits for. Until then it keeps the call's place in its lane, and the server waits for it
/// before it stops.
///
/// # Errors
/// Those of the mutation; INTERNAL if it panics.
pub fn run_to_end<T, F>(mutation: F) -> impl Future<Output = Result<T>> + Send
where
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    // Its state is some KiB, which every step on the way into a task would copy.
    run_boxed(Box::pin(mutation))
}

async fn run_boxed<T: Send + 'static>(mutation: Pin<Box<dyn Future<Output = Result<T>> + Send>>) -> Result<T> {
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

thread_local! {
    /// Per thread, because every server has its own worker threads and waits for its own mutations only.
    static MUTATIONS: TaskTracker = TaskTracker::new();
}

tokio::task_local! {
    /// The call that runs in this task, if it may mutate.
    pub(super) static CALL: Option<Arc<Mutating>>;
}

//! Mutations that outlive their calls.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use jeton_contract::reason::Class;
use tokio::runtime::Handle;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use super::{
    limits::Place,
    record::{RequestId, TARGET},
};
use crate::{
    api::policy::Method,
    error::{Error, Result, chain},
    trace,
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
/// It runs within the call, and in a task of its own only when the call goes away before its end: a task for every
/// mutation would be woken twice where one time is enough.
///
/// # Errors
/// Those of the mutation.
pub fn run_to_end<T, F>(mutation: F) -> impl Future<Output = Result<T>> + Send
where
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    // Boxed at once: its state is some KiB, which every step on the way would copy.
    ToEnd { mutation: Some(Box::pin(mutation)), running: None }
}

/// A mutation that goes on when it is dropped.
struct ToEnd<T: Send + 'static> {
    /// `None` while it is polled and after its end: one that panics must not go on.
    mutation: Option<Mutation<T>>,
    /// `None` until it was polled: what has not begun need not end.
    running: Option<Running>,
}

type Mutation<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// Holds what the mutation holds until its end.
struct Running {
    call: Option<Arc<Mutating>>,
    /// What it is done for, if that is sampled.
    current: Option<trace::Current>,
    _awaited: TaskTrackerToken,
}

// === impl ToEnd ===

impl<T: Send + 'static> Future for ToEnd<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let Some(mut mutation) = self.mutation.take() else {
            return Poll::Ready(Err(Error::internal("wait for a mutation that has ended")));
        };
        if self.running.is_none() {
            let call = CALL.try_with(Clone::clone).ok().flatten();
            let current = trace::current();
            self.running = Some(Running { call, current, _awaited: MUTATIONS.with(TaskTracker::token) });
        }
        let outcome = mutation.as_mut().poll(cx);
        if outcome.is_pending() {
            self.mutation = Some(mutation);
        }
        outcome
    }
}

impl<T: Send + 'static> Drop for ToEnd<T> {
    fn drop(&mut self) {
        let (Some(mutation), Some(running)) = (self.mutation.take(), self.running.take()) else { return };
        // Without a runtime the process ends under it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(trace::within(running.current.clone(), running.see_to(mutation)));
        }
    }
}

// === impl Running ===

impl Running {
    /// Nobody waits any more. A repeat of the call finds a success; a failure is logged here or nowhere.
    async fn see_to<T>(self, mutation: Mutation<T>) {
        let Err(error) = mutation.await else { return };
        if matches!(error.reason().class(), Class::Internal | Class::Unavailable) {
            let method = self.call.as_ref().map_or("", |call| call.method.name());
            let request_id = self.call.as_ref().map_or("", |call| call.request_id.as_str());
            tracing::warn!(
                target: TARGET,
                request_id,
                rpc.method = method,
                error.reason = error.reason().name(),
                error.cause = chain(&error),
                "{method} failed after its caller had left"
            );
        }
    }
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

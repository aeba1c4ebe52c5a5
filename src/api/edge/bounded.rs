//! The work of a call: it ends by its deadline, and a panic in it fails this call only.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use jeton_contract::reason::Reason;
use tokio::time::{Instant, timeout_at};

use super::{
    limits::Place,
    mutation::{CALL, Mutating},
    record::RequestId,
};
use crate::{
    api::policy::Method,
    error::{Error, Result},
};

/// Runs the work of a call until its deadline; a mutation that it began goes on behind it.
///
/// The place is given back at the latest when the reply begins: what a stream costs is bounded by the streams of its
/// connection.
pub(super) async fn bounded<T>(
    method: &'static Method,
    place: Place,
    deadline: Instant,
    request_id: &RequestId,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let (_place, call) = if method.reads_only {
        (Some(place), None)
    } else {
        (None, Some(Arc::new(Mutating { method, request_id: request_id.clone(), _place: place })))
    };
    match timeout_at(deadline, CALL.scope(call, unwinding(work))).await {
        Ok(answer) => answer,
        Err(_) => Err(deadline_exceeded()),
    }
}

pub(super) fn deadline_exceeded() -> Error {
    Error::new(Reason::DeadlineExceeded, "the deadline passed")
}

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

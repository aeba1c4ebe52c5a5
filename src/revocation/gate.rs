//! Where calls wait for a head: one read is in flight at a time, and those that came before it was sent share its answer.

use jeton_core::Position;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::trace;

/// Collects the calls that wait for a head while one read is in flight.
#[derive(Default)]
pub(super) struct Gate(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    in_flight: bool,
    calls: Vec<Waiter>,
}

/// The calls that share a read.
pub(super) struct Waiters(Vec<Waiter>);

/// A call that waits for a head.
struct Waiter {
    answer: oneshot::Sender<Option<Position>>,
    /// The call, if it is sampled.
    call: Option<trace::Current>,
}

/// Opens a gate again should the read behind it panic: the calls that wait get no answer, the next ones do.
pub(super) struct Reopen<'g>(pub(super) &'g Gate);

// === impl Gate ===

impl Gate {
    /// Lets a call wait; true if no read is in flight, so that this call must start one.
    pub(super) fn enter(&self) -> (bool, oneshot::Receiver<Option<Position>>) {
        let (answer, wait) = oneshot::channel();
        let mut waiting = self.0.lock();
        waiting.calls.push(Waiter { answer, call: trace::current() });
        (!std::mem::replace(&mut waiting.in_flight, true), wait)
    }

    /// The calls that wait, for the next read. `None`: there are none, and no read is in flight from now on.
    pub(super) fn take(&self) -> Option<Waiters> {
        let mut waiting = self.0.lock();
        if waiting.calls.is_empty() {
            waiting.in_flight = false;
            return None;
        }
        Some(Waiters(std::mem::take(&mut waiting.calls)))
    }

    /// Adds the calls that came meanwhile.
    pub(super) fn join(&self, waiters: &mut Waiters) {
        waiters.0.append(&mut self.0.lock().calls);
    }
}

// === impl Waiters ===

impl Waiters {
    /// One of the calls that are sampled.
    pub(super) fn sampled(&self) -> Option<trace::Current> {
        self.0.iter().find_map(|waiter| waiter.call.clone())
    }

    /// `None`: the head could not be read.
    pub(super) fn answer(self, head: Option<Position>) {
        for waiter in self.0 {
            // A caller that went away needs no answer.
            let _ = waiter.answer.send(head);
        }
    }
}

// === impl Reopen ===

impl Drop for Reopen<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.0.lock() = Waiting::default();
        }
    }
}

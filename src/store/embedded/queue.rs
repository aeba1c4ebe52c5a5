//! The queue between many callers and one thread that takes all that waits.

use std::{mem, time::Duration};

use parking_lot::{Condvar, Mutex};
use tokio::{sync::Semaphore, time::Instant};

/// Operations that wait for the thread.
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    /// As many wait as are wanted, or the queue is closed.
    wake: Condvar,
    /// Free places.
    places: Semaphore,
}

/// The queue is closed.
pub(super) struct Closed;

struct Waiting<T> {
    operations: Vec<T>,
    /// How many must wait before the thread is woken.
    wanted: usize,
    /// No further operation is taken; the thread ends when none is left.
    closed: bool,
}

/// How many operations wait for the thread at most; further callers wait to enter. A few batches: more would only wait
/// longer than callers do.
const QUEUE: usize = 4096;
// === impl Queue ===

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        let waiting = Waiting { operations: Vec::new(), wanted: 1, closed: false };
        Self { waiting: Mutex::new(waiting), wake: Condvar::new(), places: Semaphore::new(QUEUE) }
    }

    /// Adds an operation, after a wait for a place if the queue is full.
    pub(super) async fn put(&self, operation: T) -> Result<(), Closed> {
        // Given back by `take`.
        self.places.acquire().await.map_err(|_| Closed)?.forget();
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(Closed);
        }
        waiting.operations.push(operation);
        if waiting.operations.len() == waiting.wanted {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.lock().operations.len()
    }

    /// Moves up to `most` operations into `batch`: at once if `expected` are there, else after `patience` or when there
    /// is one. False if the queue is closed and empty.
    pub(super) fn take(&self, batch: &mut Vec<T>, most: usize, expected: usize, patience: Duration) -> bool {
        let mut waiting = self.waiting.lock();
        let until = Instant::now() + patience;
        waiting.wanted = expected.clamp(1, most);
        while waiting.operations.len() < waiting.wanted && !waiting.closed {
            if self.wake.wait_until(&mut waiting, until.into_std()).timed_out() {
                break;
            }
        }
        waiting.wanted = 1;
        while waiting.operations.is_empty() && !waiting.closed {
            self.wake.wait(&mut waiting);
        }
        if waiting.operations.len() <= most {
            mem::swap(&mut waiting.operations, batch);
        } else {
            batch.extend(waiting.operations.drain(..most));
        }
        // The thread is at work now: no operation needs to wake it until the next `take`.
        waiting.wanted = usize::MAX;
        drop(waiting);
        self.places.add_permits(batch.len());
        !batch.is_empty()
    }

    /// Drops what waits. Its callers get an error.
    pub(super) fn clear(&self) {
        self.waiting.lock().operations.clear();
    }

    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.wake.notify_one();
        self.places.close();
    }
}

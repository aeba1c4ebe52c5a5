//! The worker threads: one single-threaded runtime per core.
//!
//! Measured: a third less CPU per call than one multi-threaded runtime, because nothing wakes another thread. What is
//! shared on the way to the store (its connection, the gate of the head read) exists once per worker, found by the
//! thread's index.

use std::cell::Cell;

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// Marks the calling thread as worker `index`.
pub fn enter(index: usize) {
    INDEX.set(index);
}

/// The calling thread's index; 0 outside of workers.
pub fn index() -> usize {
    INDEX.get()
}

/// One value per worker.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[T]>);

impl<T> PerWorker<T> {
    /// `count` values, at least one.
    pub fn new(count: usize, make: impl FnMut(usize) -> T) -> Self {
        Self((0..count.max(1)).map(make).collect())
    }

    /// The calling worker's value.
    pub fn mine(&self) -> &T {
        &self.0[index() % self.0.len()]
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

//! Log lines on their way out: collected in memory and written by a thread of their own, a burst at a time.
//!
//! A channel would wake that thread for every line, which costs a busy service more than the line itself. Here it sleeps
//! a moment after the first line, and then writes all that came meanwhile.

use std::{
    fmt,
    io::{self, Write},
    mem,
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Takes lines; clones lead to the same thread.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

/// Writes the rest when it is dropped.
#[derive(Debug)]
pub(super) struct End(Lines);

struct Shared {
    waiting: Mutex<Waiting>,
    /// A line came, or the end.
    wake: Condvar,
    /// The thread has written everything.
    done: Condvar,
    /// Bytes that may wait.
    capacity: usize,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    dropped: usize,
    ending: bool,
    ended: bool,
}

/// How long lines are collected. Short for a person who reads along, long against the cost of a wake-up.
const COLLECT: Duration = Duration::from_millis(5);
/// How long the end waits for a writer that is stuck.
const END: Duration = Duration::from_secs(1);

// === impl Lines ===

impl Lines {
    /// Starts the thread. At most `capacity` bytes wait for it; what comes on top is dropped and counted.
    pub(super) fn start(capacity: usize, out: impl Write + Send + 'static) -> io::Result<(Self, End)> {
        let shared = Shared { waiting: Mutex::default(), wake: Condvar::new(), done: Condvar::new(), capacity };
        let lines = Self(Arc::new(shared));
        let thread = lines.clone();
        thread::Builder::new().name("log".into()).spawn(move || thread.run(out))?;
        Ok((lines.clone(), End(lines)))
    }

    /// Lines that were dropped.
    pub(super) fn dropped(&self) -> usize {
        self.0.waiting.lock().dropped
    }

    fn run(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        loop {
            let mut waiting = self.0.waiting.lock();
            while waiting.bytes.is_empty() && !waiting.ending {
                self.0.wake.wait(&mut waiting);
            }
            if !waiting.ending {
                // Nobody wakes it now but the end: there is something to write already.
                self.0.wake.wait_for(&mut waiting, COLLECT);
            }
            mem::swap(&mut waiting.bytes, &mut batch);
            let last = waiting.ending;
            drop(waiting);
            // A log that cannot be written is no reason to stop calls.
            let _ = out.write_all(&batch).and_then(|()| out.flush());
            batch.clear();
            if last {
                self.0.waiting.lock().ended = true;
                self.0.done.notify_all();
                return;
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Lines {
    /// Takes one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.waiting.lock();
        if waiting.bytes.len().saturating_add(line.len()) > self.0.capacity || waiting.ended {
            waiting.dropped += 1;
            return Ok(line.len());
        }
        let first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if first {
            self.0.wake.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let shared = &self.0.0;
        let mut waiting = shared.waiting.lock();
        waiting.ending = true;
        shared.wake.notify_all();
        if !waiting.ended {
            shared.done.wait_for(&mut waiting, END);
        }
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_is_written_in_order_before_the_end() {
        let out = Out::default();
        let (lines, end) = Lines::start(1 << 20, out.clone()).unwrap();
        let expected: String = (0..1000).map(|i| format!("line {i}\n")).collect();
        for line in expected.split_inclusive('\n') {
            (&lines).write_all(line.as_bytes()).unwrap();
        }
        drop(end);
        assert_eq!(*out.0.lock(), expected.as_bytes());
        assert_eq!(lines.dropped(), 0);
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let out = Out::default();
        let stuck = out.0.clone();
        let held = stuck.lock();
        let (lines, end) = Lines::start(8, out).unwrap();
        // The thread takes at most one burst before it is stuck.
        for _ in 0..4 {
            (&lines).write_all(b"12345\n").unwrap();
        }
        assert!(lines.dropped() >= 2);
        drop(held);
        drop(end);
        assert!(stuck.lock().len() <= 12);
    }
}

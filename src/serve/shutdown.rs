//! How a server is asked to stop, and in which order its parts do.

use std::{convert::Infallible, io};

use tokio_util::sync::CancellationToken;

/// Asks a server to stop. Clones ask the same one.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    pub(super) drain: CancellationToken,
    now: CancellationToken,
}

/// The signals that end a server's parts: accepting, then the connections, then the threads. `stop` cancels the others.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    pub(super) accept: CancellationToken,
    pub(super) drain: CancellationToken,
    pub(super) stop: CancellationToken,
}

// === impl Shutdown ===

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// The first request drains; the second one stops at once.
    pub fn request(&self) {
        if self.drain.is_cancelled() {
            self.now.cancel();
        }
        self.drain.cancel();
    }

    /// Ends when a drain was requested: other tasks that must stop can wait for it.
    pub async fn requested(&self) {
        self.drain.cancelled().await;
    }

    /// Turns each SIGTERM and SIGINT into a request. Never returns.
    ///
    /// # Errors
    /// If the signals cannot be received.
    pub async fn request_on_signals(&self) -> io::Result<Infallible> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            self.request();
        }
    }

    /// The output of `wait`, or `None` once an immediate stop was requested.
    pub async fn unless_now<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.now.cancelled() => None,
            done = wait => Some(done),
        }
    }
}

// === impl Ends ===

impl Ends {
    pub(super) fn new() -> Self {
        let stop = CancellationToken::new();
        Self { accept: stop.child_token(), drain: stop.child_token(), stop }
    }
}

//! Accepts connections and hands each to the worker with the fewest.

use std::{
    convert::Infallible,
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{listen::Acceptor, protocol::Protocol, stream::Accepted};

/// The workers' mailboxes. Not bounded, because the connections are.
#[derive(Debug, Default)]
pub(super) struct Mailboxes(Vec<(mpsc::UnboundedSender<Handed>, Arc<AtomicUsize>)>);

/// A connection on its way to its worker.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) accepted: Accepted,
    pub(super) protocol: Arc<dyn Protocol>,
    pub(super) place: Place,
}

/// A connection's share of the limits of its server and its worker, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of_worker: Arc<AtomicUsize>,
    _of_server: OwnedSemaphorePermit,
}

/// Pauses of the acceptor while it has no file descriptors: it must neither spin nor oversleep.
const MIN_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The usual soft limit, assumed if the system does not report one.
const USUAL_OPEN_FILES: usize = 1024;

/// Accepts on all listeners until `end`, at most `limit` connections at a time. The tracker is empty when the listeners
/// are closed.
pub(super) fn accept_all(
    acceptors: Vec<(Acceptor, Arc<dyn Protocol>)>,
    mailboxes: Mailboxes,
    limit: usize,
    end: &CancellationToken,
) -> TaskTracker {
    let tasks = TaskTracker::new();
    let mailboxes = Arc::new(mailboxes);
    // Half of the files stay for the store, logs and the sockets that are being closed.
    let connections = Arc::new(Semaphore::new(limit.min(open_files() / 2).min(Semaphore::MAX_PERMITS)));
    for (acceptor, protocol) in acceptors {
        let (mailboxes, connections, end) = (Arc::clone(&mailboxes), Arc::clone(&connections), end.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                never = accept(&acceptor, &protocol, &mailboxes, &connections) => match never {},
            }
        });
    }
    tasks.close();
    tasks
}

/// How many files this process may have open.
pub(super) fn open_files() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(USUAL_OPEN_FILES)
}

async fn accept(
    acceptor: &Acceptor,
    protocol: &Arc<dyn Protocol>,
    mailboxes: &Mailboxes,
    connections: &Arc<Semaphore>,
) -> Infallible {
    let mut pause = MIN_PAUSE;
    loop {
        match acceptor.accept().await {
            Ok(accepted) => {
                pause = MIN_PAUSE;
                if connections.available_permits() == 0 {
                    tracing::debug!(peer = %accepted.peer(), "the connection limit is reached: a connection waits");
                }
                // Until a connection ends; the semaphore is never closed. Meanwhile the system's queue fills up.
                if let Ok(permit) = Arc::clone(connections).acquire_owned().await {
                    mailboxes.hand(accepted, Arc::clone(protocol), permit);
                }
            }
            // The peer closed the connection before it was accepted. Accept the next one at once.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
            }
            // No file descriptors, as a rule. The connection stays queued, so trying again at once would spin.
            Err(error) => {
                if pause == MIN_PAUSE {
                    tracing::warn!(error = %error, "connections cannot be accepted");
                }
                sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
}

// === impl Mailboxes ===

impl Mailboxes {
    /// Adds the mailbox of a new worker.
    pub(super) fn add(&mut self, mailbox: mpsc::UnboundedSender<Handed>) {
        self.0.push((mailbox, Arc::new(AtomicUsize::new(0))));
    }

    /// Hands over to the worker with the fewest connections.
    fn hand(&self, accepted: Accepted, protocol: Arc<dyn Protocol>, permit: OwnedSemaphorePermit) {
        let Some((mailbox, connections)) = self.0.iter().min_by_key(|(_, count)| count.load(Ordering::Relaxed)) else {
            return;
        };
        connections.fetch_add(1, Ordering::Relaxed);
        let place = Place { of_worker: Arc::clone(connections), _of_server: permit };
        // Fails only if the worker is gone, which ends the server; the connection closes here then.
        let _ = mailbox.send(Handed { accepted, protocol, place });
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        self.of_worker.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_known() {
        assert!(open_files() >= 64);
    }
}

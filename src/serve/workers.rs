//! Serving: the worker threads, and the order in which they start and end.
//!
//! The acceptor runs on the caller's runtime and hands every connection to the worker thread that has the fewest. A
//! worker is one single-threaded runtime.
//!
//! Invariant: everything has an end. A connection that stays silent is closed after `handshake_timeout` or
//! `first_frame_timeout`, one whose peer is gone after the keepalive, every other one is asked to end at about
//! `connection_age`; and [`serve`] returns at the latest `drain_delay` + `drain_timeout` + 1 s after it was asked to.

use std::{io, sync::Arc, thread, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    accept::{Handed, Mailboxes, accept_all},
    connection,
    listen::{Acceptor, Listener},
    options::Options,
    protocol::Protocol,
    shutdown::{Ends, Shutdown},
};
use crate::worker;

/// One worker thread: what all of its connections share.
#[derive(Debug)]
struct Worker {
    protocols: Vec<Arc<dyn Protocol>>,
    options: Options,
    ends: Ends,
}

/// How long the threads have to end after the drain.
const THREADS_END: Duration = Duration::from_secs(1);

/// Serves until `shutdown` is requested and the drain is over. `draining` is awaited when it begins, before anything is
/// closed, so that load balancers learn of it first.
///
/// # Errors
/// If a thread or a listener cannot be started, or a worker ended before its time.
pub async fn serve(
    options: Options,
    listeners: Vec<(Listener, Arc<dyn Protocol>)>,
    shutdown: Shutdown,
    draining: impl Future<Output = ()>,
) -> io::Result<()> {
    let open = |(listener, protocol): (Listener, Arc<dyn Protocol>)| Ok((listener.open()?, protocol));
    let acceptors: Vec<(Acceptor, Arc<dyn Protocol>)> = listeners.into_iter().map(open).collect::<io::Result<_>>()?;
    let protocols: Vec<Arc<dyn Protocol>> = acceptors.iter().map(|(_, protocol)| Arc::clone(protocol)).collect();
    let ends = Ends::new();
    // All threads end when this future is dropped.
    let _stop = ends.stop.clone().drop_guard();
    let (mailboxes, mut running) = start_workers(&options, &protocols, &ends)?;
    let accepting = accept_all(acceptors, mailboxes, options.connections, &ends.accept);

    let early = tokio::select! {
        () = shutdown.drain.cancelled() => None,
        Some(_) = running.join_next() => Some(io::Error::other("a worker thread ended before its time")),
    };

    tracing::info!("draining: no new connections after {:?}", options.drain_delay);
    draining.await;
    let _ = shutdown.unless_now(sleep(options.drain_delay)).await;
    ends.accept.cancel();
    // The listeners are closed, and no worker gets another connection, when this returns.
    accepting.wait().await;
    ends.drain.cancel();
    let drained = shutdown.unless_now(timeout(options.drain_timeout, all(&mut running))).await;
    if !matches!(drained, Some(Ok(()))) {
        tracing::warn!("the drain was cut short: calls in flight are dropped");
    }
    ends.stop.cancel();
    // A thread that is stuck in a handler cannot be waited for: the process ends under it.
    if timeout(THREADS_END, all(&mut running)).await.is_err() {
        tracing::error!("a worker thread does not end");
    }
    early.map_or(Ok(()), Err)
}

/// Starts the threads. The set has one task for each, which ends with it.
fn start_workers(
    options: &Options,
    protocols: &[Arc<dyn Protocol>],
    ends: &Ends,
) -> io::Result<(Mailboxes, JoinSet<()>)> {
    let mut mailboxes = Mailboxes::default();
    let mut running = JoinSet::new();
    for index in 0..options.workers.max(1) {
        let (sender, mailbox) = mpsc::unbounded_channel();
        let (ended, end) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let worker = Worker { protocols: protocols.to_vec(), options: options.clone(), ends: ends.clone() };
        thread::Builder::new().name(format!("jeton-worker-{index}")).spawn(move || {
            worker::enter(index);
            runtime.block_on(worker.run(mailbox));
            // Does not wait for blocking tasks, and drops all others.
            runtime.shutdown_background();
            drop(ended);
        })?;
        mailboxes.add(sender);
        running.spawn(async move {
            // Also if the thread panics.
            let _ = end.await;
        });
    }
    Ok((mailboxes, running))
}

async fn all(running: &mut JoinSet<()>) {
    while running.join_next().await.is_some() {}
}

// === impl Worker ===

impl Worker {
    /// Serves connections until the mailbox is closed and all of them have ended, or until the stop.
    async fn run(self, mailbox: mpsc::UnboundedReceiver<Handed>) {
        let stop = self.ends.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = Arc::new(self).serve_all(mailbox) => {}
        }
    }

    async fn serve_all(self: Arc<Self>, mut mailbox: mpsc::UnboundedReceiver<Handed>) {
        let connections = TaskTracker::new();
        while let Some(Handed { accepted, protocol, place }) = mailbox.recv().await {
            let worker = Arc::clone(&self);
            // Polled with the connection, so it must not share a lock with those of other connections.
            let drain = self.ends.drain.child_token();
            connections.spawn(async move {
                if let Err(error) = connection::serve(accepted, &*protocol, &worker.options, drain).await {
                    tracing::debug!(error = %error, "a connection ended");
                }
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
        for protocol in &self.protocols {
            protocol.settled().await;
        }
    }
}

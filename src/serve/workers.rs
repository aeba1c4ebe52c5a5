//! Serving: worker threads, connections, and how they end.
//!
//! The acceptor runs on the caller's runtime and hands every connection to the worker thread that has the fewest. A
//! worker is one single-threaded runtime.
//!
//! Invariant: everything has an end. A connection that stays silent is closed after `handshake_timeout` or
//! `first_frame_timeout`, one whose peer is gone after the keepalive, every other one is asked to go at about
//! `connection_age`; and [`serve`] returns at the latest `drain_delay` + `drain_timeout` + 1 s after it was asked to.

use std::{
    convert::Infallible,
    fs, io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Connection, Error, Protocol, Serving,
    listen::{Accepted, Acceptor, Listener, Opened},
};
use crate::{ambient, worker};

/// How to serve. [`Options::default`] is what to ship.
#[derive(Clone, Debug)]
pub struct Options {
    /// Worker threads; one per core.
    pub workers: usize,
    /// Connections at a time. Beyond, new ones wait in the system's queue.
    pub connections: usize,
    /// How long a new connection may take to be secured, where it must be.
    pub handshake_timeout: Duration,
    /// How long a new connection may take until its peer sends the first frame.
    pub first_frame_timeout: Duration,
    /// After about so long (± 20 %) a connection is asked to go, so that load spreads over new replicas.
    pub connection_age: Duration,
    /// How long to go on accepting when asked to stop, so that balancers learn of it.
    pub drain_delay: Duration,
    /// How long calls in flight have to end then.
    pub drain_timeout: Duration,
}

/// Asks a server to stop. Clones ask the same one.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    now: CancellationToken,
}

/// A handshake takes two round trips, and the key operations of a busy machine.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Times further off are cut down to this: the sum with the present may overflow.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// How often a connection that was asked to go is looked at: a peer that does not react would hold it otherwise.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// How long the threads have to end once nothing is waited for any more.
const THREADS_END: Duration = Duration::from_secs(1);

/// Pauses of the acceptor while it has no file descriptors: it must neither spin nor oversleep.
const MIN_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// What is assumed if the system does not tell: the usual soft limit.
const USUAL_OPEN_FILES: usize = 1024;

// === serving ===

/// Serves until `shutdown` is requested and the drain is over. `draining` is awaited when it begins, before anything is
/// closed: whoever balances load should learn of it first.
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
    // Whatever happens to this future, nothing goes on behind it.
    let _stop = ends.stop.clone().drop_guard();
    let (workers, mut running) = start_workers(&options, &protocols, &ends)?;
    let accepting = accept_all(acceptors, workers, &options, &ends);

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

    /// Ends when a drain was requested: what else is to stop can wait for it.
    pub async fn requested(&self) {
        self.drain.cancelled().await;
    }

    /// Turns each SIGTERM and SIGINT into a request; ends never.
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

    /// What `wait` gives, or nothing once a stop at once was requested.
    pub async fn unless_now<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.now.cancelled() => None,
            done = wait => Some(done),
        }
    }
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: thread::available_parallelism().map_or(1, usize::from),
            connections: 4096.min(open_files() / 2),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            first_frame_timeout: Duration::from_secs(10),
            connection_age: Duration::from_secs(30 * 60),
            drain_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(15),
        }
    }
}

/// How many files this process may have open.
fn open_files() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(USUAL_OPEN_FILES)
}

// === accepting ===

/// When what ends. A stop ends the others, too.
#[derive(Clone, Debug)]
struct Ends {
    accept: CancellationToken,
    drain: CancellationToken,
    stop: CancellationToken,
}

/// The workers' mailboxes. Not bounded, because the connections are.
#[derive(Debug)]
struct Workers(Vec<(mpsc::UnboundedSender<Handed>, Arc<AtomicUsize>)>);

/// A connection on its way to its worker.
#[derive(Debug)]
struct Handed {
    accepted: Accepted,
    protocol: Arc<dyn Protocol>,
    place: Place,
}

/// A place among the connections of the server and of the worker.
#[derive(Debug)]
struct Place {
    of_worker: Arc<AtomicUsize>,
    _of_server: OwnedSemaphorePermit,
}

/// Accepts on all listeners. The tracker is empty when they are closed.
fn accept_all(
    acceptors: Vec<(Acceptor, Arc<dyn Protocol>)>,
    workers: Workers,
    options: &Options,
    ends: &Ends,
) -> TaskTracker {
    let tasks = TaskTracker::new();
    let workers = Arc::new(workers);
    // Half of the files stay for the store, logs and the sockets that are being closed.
    let connections = Arc::new(Semaphore::new(options.connections.min(open_files() / 2).min(Semaphore::MAX_PERMITS)));
    for (acceptor, protocol) in acceptors {
        let (workers, connections, end) = (Arc::clone(&workers), Arc::clone(&connections), ends.accept.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                never = accept(&acceptor, &protocol, &workers, &connections) => match never {},
            }
        });
    }
    tasks.close();
    tasks
}

async fn accept(
    acceptor: &Acceptor,
    protocol: &Arc<dyn Protocol>,
    workers: &Workers,
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
                    workers.hand(accepted, Arc::clone(protocol), permit);
                }
            }
            // The peer was gone before it was looked at; the next one is not to blame.
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

impl Ends {
    fn new() -> Self {
        let stop = CancellationToken::new();
        Self { accept: stop.child_token(), drain: stop.child_token(), stop }
    }
}

impl Workers {
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

impl Drop for Place {
    fn drop(&mut self) {
        self.of_worker.fetch_sub(1, Ordering::Relaxed);
    }
}

// === working ===

/// What the connections of one worker have in common.
#[derive(Debug)]
struct Worker {
    protocols: Vec<Arc<dyn Protocol>>,
    options: Options,
    ends: Ends,
}

/// Starts the threads. The set has one task for each, which ends with it.
fn start_workers(
    options: &Options,
    protocols: &[Arc<dyn Protocol>],
    ends: &Ends,
) -> io::Result<(Workers, JoinSet<()>)> {
    let mut workers = Vec::new();
    let mut running = JoinSet::new();
    for index in 0..options.workers.max(1) {
        let (sender, mailbox) = mpsc::unbounded_channel();
        let (ended, end) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let worker = Worker { protocols: protocols.to_vec(), options: options.clone(), ends: ends.clone() };
        thread::Builder::new().name(format!("jeton-worker-{index}")).spawn(move || {
            worker::enter(index);
            runtime.block_on(worker.run(mailbox));
            // Does not wait for blocking tasks. Whatever else still runs is dropped.
            runtime.shutdown_background();
            drop(ended);
        })?;
        workers.push((sender, Arc::new(AtomicUsize::new(0))));
        running.spawn(async move {
            // Also if the thread panics.
            let _ = end.await;
        });
    }
    Ok((Workers(workers), running))
}

async fn all(running: &mut JoinSet<()>) {
    while running.join_next().await.is_some() {}
}

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
            connections.spawn(async move {
                if let Err(error) = worker.serve(accepted, &*protocol).await {
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

    /// Serves one connection to its end.
    async fn serve(&self, accepted: Accepted, protocol: &dyn Protocol) -> Result<(), Error> {
        let options = &self.options;
        let mut age = pin!(sleep_until(Instant::now() + jittered(options.connection_age)));
        // Polled with the connection, so it must not share a lock with the other ones.
        let drain = self.ends.drain.child_token();
        let finish = CancellationToken::new();
        let opened = tokio::select! {
            biased;
            opened = accepted.open(protocol, options.handshake_timeout) => opened?,
            () = drain.cancelled() => return Ok(()),
        };
        let Some(Opened { io, peer, holds_for }) = opened else { return Ok(()) };
        // A certificate proves nothing any more when it has expired, so no new call is taken by it.
        if let Some(expiry) = holds_for.map(|left| Instant::now() + left.min(FAR)).filter(|at| *at < age.deadline()) {
            age.as_mut().reset(expiry);
        }
        let begun = io.begun();
        let connection = Connection { peer, finish: finish.clone(), drain: drain.clone() };
        let Serving { mut ended, calls } = protocol.serve(io, connection);

        // hyper's keepalive begins only after the first frame.
        tokio::select! {
            biased;
            outcome = &mut ended => return outcome,
            () = sleep(options.first_frame_timeout) => {}
            () = age.as_mut() => {}
            () = drain.cancelled() => {}
        }
        if !begun.yet() {
            return Ok(());
        }
        tokio::select! {
            biased;
            outcome = &mut ended => return outcome,
            () = age => {}
            () = drain.cancelled() => {}
        }
        finish.cancel();
        // A peer that does not answer would hold the connection until the keepalive finds it (hyper#4170). One that
        // is alive closes at once after its last call, so two looks apart without a call are enough.
        let mut was_idle = false;
        loop {
            tokio::select! {
                biased;
                outcome = &mut ended => return outcome,
                () = sleep(IDLE_CHECK) => {}
            }
            let is_idle = calls.is_idle();
            if is_idle && was_idle {
                return Ok(());
            }
            was_idle = is_idle;
        }
    }
}

/// `age` ± 20 %, so that connections that were opened together do not leave together.
fn jittered(age: Duration) -> Duration {
    let age = age.min(FAR);
    // Without randomness the jitter is missing, and nothing else.
    let random = u32::from(u16::from_be_bytes(ambient::random().unwrap_or([128, 0])));
    let fifth = age / 5;
    age - fifth + fifth * 2 / 65_536 * random
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_connections_varies_by_a_fifth() {
        let age = Duration::from_secs(1800);
        let ages: Vec<Duration> = (0..1000).map(|_| jittered(age)).collect();
        let (least, most) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
        assert!(*least >= Duration::from_secs(1440) && *most <= Duration::from_secs(2160));
        assert!(*most - *least > Duration::from_secs(500), "spread over {:?}", *most - *least);
    }

    #[test]
    fn the_limit_of_open_files_is_known() {
        assert!(open_files() >= 64);
    }
}

//! How to serve.

use std::{thread, time::Duration};

use super::accept::open_files;

/// How to serve. The service runs with [`Options::default`] unless its settings say otherwise.
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
    /// After about so long (± 20 %) a connection is asked to end, so that load spreads over new replicas.
    pub connection_age: Duration,
    /// How long to go on accepting when asked to stop, so that balancers learn of it.
    pub drain_delay: Duration,
    /// How long calls in flight have to end then.
    pub drain_timeout: Duration,
}

/// A handshake takes two round trips, and the key operations of a busy machine.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

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

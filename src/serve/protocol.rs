//! What a listener serves: the interface between connections and their protocol.

use std::{fmt, pin::Pin, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{error::Error, peer::Peer, stream::Io};

/// The protocol of a listener's connections. All workers share it.
pub trait Protocol: fmt::Debug + Send + Sync + 'static {
    /// How many bytes a peer sends at the least before it waits for an answer. One that has not sent them in time is
    /// closed.
    fn first_bytes(&self) -> usize;

    /// The names that ALPN negotiates (RFC 7301), the preferred one first.
    fn alpn(&self) -> &'static [&'static str];

    /// Begins to serve a connection. Called on its worker, within the worker's runtime.
    fn serve(&self, io: Io, connection: Connection) -> Serving;

    /// Ends when all tasks that the calling worker's connections left behind have ended.
    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The peer of a connection, and the signals that end it.
#[derive(Debug)]
pub struct Connection {
    pub peer: Peer,
    /// Cancelled when the connection shall take no new calls and end after those that are open.
    pub finish: CancellationToken,
    /// Cancelled when the server drains: streams end, too.
    pub drain: CancellationToken,
}

/// A connection that is being served.
pub struct Serving {
    /// Completes when the connection ends.
    pub ended: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
    pub calls: Arc<dyn Calls>,
}

/// The calls of a connection.
pub trait Calls: Send + Sync {
    /// Whether no call is open.
    fn is_idle(&self) -> bool;
}

// === impl Serving ===

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

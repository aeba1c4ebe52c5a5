//! Serves connections: listeners, worker threads, and how connections end.
//!
//! Promises: every connection ends, and so does the drain; see [`serve`]. Invariant: knows neither HTTP nor the domain. A
//! listener serves its [`Protocol`]. Start reading at [`serve`].

mod accept;
mod address;
mod certificates;
mod connection;
pub mod listen;
mod peer_certificate;
mod shutdown;
mod stream;
pub mod tls;
mod workers;

use std::{fmt, net::SocketAddr, pin::Pin, sync::Arc};

use tokio_util::sync::CancellationToken;

use self::tls::Identities;
pub use self::{
    shutdown::Shutdown,
    stream::Io,
    workers::{Options, serve},
};

/// Why a connection ended before its time.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

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

/// Who is at the other end of a connection. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: PeerAddress,
    /// The names of the client certificate that it has proved to hold.
    pub identities: Option<Identities>,
}

/// The address that a connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    Tcp(SocketAddr),
    Unix,
}

// === impl Serving ===

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

// === impl Peer ===

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

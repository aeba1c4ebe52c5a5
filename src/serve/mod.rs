//! Serving connections, whatever is spoken on them: listeners, worker threads, and how connections end.
//!
//! Promises: every connection has an end, and so has the drain; see [`serve`]. Invariant: knows neither HTTP nor the
//! domain. What is spoken on a listener is its [`Face`].

mod certificates;
pub mod listen;
pub mod tls;
mod workers;

use std::{fmt, net::SocketAddr, pin::Pin, sync::Arc};

use tokio_util::sync::CancellationToken;

pub use self::workers::{Options, Shutdown, serve};
use self::{listen::Io, tls::Identities};

/// Why a connection ended before its time.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What is spoken on the connections of a listener. All workers share it.
pub trait Face: fmt::Debug + Send + Sync + 'static {
    /// How many bytes a peer sends at the least before it waits for an answer. One that has not sent them in time is
    /// closed.
    fn first_bytes(&self) -> usize;

    /// What is spoken, as ALPN calls it (RFC 7301), the best first.
    fn protocols(&self) -> &'static [&'static str];

    /// Begins to speak with a peer. Called on its worker, within the worker's runtime.
    fn converse(&self, io: Io, partner: Partner) -> Conversation;

    /// Ends when nothing of the calling worker's connections goes on behind them.
    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Who is spoken with, and until when.
#[derive(Debug)]
pub struct Partner {
    pub peer: Peer,
    /// Cancelled when the connection shall take no new calls and end after those that are open.
    pub finish: CancellationToken,
    /// Cancelled when the server drains: streams end, too.
    pub drain: CancellationToken,
}

/// A connection that is being served.
pub struct Conversation {
    /// Ends with the connection.
    pub speaking: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
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

/// From where it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    Tcp(SocketAddr),
    Unix,
}

// === impl Conversation ===

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").finish_non_exhaustive()
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

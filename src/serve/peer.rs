//! The other end of a connection.

use std::{fmt, net::SocketAddr, sync::Arc};

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

/// The names of a verified client certificate as clients register them: `spiffe://…` and `dns:…`. Never empty.
pub type Identities = Arc<[String]>;

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

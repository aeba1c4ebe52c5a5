//! Serves connections: listeners, worker threads, and how connections end.
//!
//! Promises: every connection ends, and so does the drain; see [`serve`]. Invariant: knows neither HTTP nor the domain. A
//! listener serves its [`Protocol`]. Start reading at [`serve`].

mod accept;
mod address;
mod certificates;
mod connection;
mod error;
pub mod listen;
mod options;
mod peer;
mod peer_certificate;
mod protocol;
mod shutdown;
mod stream;
pub mod tls;
mod workers;

pub use self::{
    error::Error,
    options::Options,
    peer::{Peer, PeerAddress},
    protocol::{Calls, Connection, Protocol, Serving},
    shutdown::Shutdown,
    stream::Io,
    workers::serve,
};

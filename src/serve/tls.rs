//! TLS on listeners. Certificates are replaced while the server runs.
//!
//! Promises: a handshake sees files that were read together; files that changed are used within [`INTERVAL`], and no
//! connection ends because of it; files that cannot be used change nothing and are logged. Start reading at [`Tls`].

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use jeton_core::Time;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::{
    io::BufReader,
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

pub use super::{
    certificates::{CertificateError, ClientAuth, Files},
    peer::Identities,
};
use super::{
    certificates::{Digest, Loaded},
    peer_certificate::PeerCertificate,
};
use crate::ambient::Clock;

/// The certificates of a server. [`Tls::watch`] keeps them up to date while it runs.
pub struct Tls {
    files: Files,
    clock: Clock,
    loaded: ArcSwap<Loaded>,
    seen: Mutex<Seen>,
    generation: AtomicU64,
    failures: AtomicU64,
    handshake_failures: AtomicU64,
}

/// How a listener's connections are secured.
#[derive(Clone, Debug)]
pub struct Security {
    tls: Arc<Tls>,
    peers: Peers,
}

/// A secured connection. It is read in larger pieces than the library's of 4 KiB.
pub(super) type Secured = TlsStream<BufReader<TcpStream>>;

/// How often the files are read. Kubernetes replaces them by swapping a link two directories up, which only polling finds
/// reliably.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// How much is read at a time from a secured connection, in bytes.
const READ_BUFFER: usize = 8 * 1024;

/// Who connects to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peers {
    Callers,
    Operators,
}

/// The states of the files that were seen last.
#[derive(Debug)]
struct Seen {
    used: Digest,
    /// The newer state that could not be used, if there is one.
    refused: Option<Digest>,
}

// === impl Tls ===

impl Tls {
    /// Loads the files, whose certificates must hold by `clock`.
    ///
    /// # Errors
    /// The first file that cannot be read or used.
    pub fn load(files: Files, clock: Clock) -> Result<Arc<Self>, CertificateError> {
        let contents = files.read()?;
        let loaded = files.load(&contents, clock.now())?;
        Ok(Arc::new(Self {
            files,
            clock,
            loaded: ArcSwap::from_pointee(loaded),
            seen: Mutex::new(Seen { used: contents.digest(), refused: None }),
            generation: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            handshake_failures: AtomicU64::new(0),
        }))
    }

    /// For a listener of the service's callers, who present certificates if the configuration says so.
    pub fn for_callers(self: &Arc<Self>) -> Security {
        Security { tls: Arc::clone(self), peers: Peers::Callers }
    }

    /// For a listener of the operators, who present no certificates.
    pub fn for_operators(self: &Arc<Self>) -> Security {
        Security { tls: Arc::clone(self), peers: Peers::Operators }
    }

    /// Reads the files `every` so often, until `stop`. The service uses [`INTERVAL`].
    pub async fn watch(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(every) => {}
            }
            let tls = Arc::clone(&self);
            // Their file system may be slow.
            let _ = tokio::task::spawn_blocking(move || tls.look()).await;
        }
    }

    /// How often the files were replaced by others that are in use.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// How often the files were replaced by others that could not be used.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// How many connections ended before they were secured.
    pub fn handshake_failures(&self) -> u64 {
        self.handshake_failures.load(Ordering::Relaxed)
    }

    /// When the certificate in use, or one between it and its authority, expires.
    pub fn not_after(&self) -> Time {
        self.loaded.load().not_after
    }

    fn look(&self) {
        let read = || match self.files.read() {
            Ok(contents) => (contents.digest(), Ok(contents)),
            Err(error) => (error.digest(), Err(error)),
        };
        let (digest, contents) = read();
        let mut seen = self.seen.lock();
        if digest == seen.used {
            seen.refused = None;
            return;
        }
        // Files that were replaced between one read and the next do not belong together.
        if read().0 != digest {
            return;
        }
        // Also if they were refused before: a certificate may have become valid meanwhile.
        let loaded = contents.and_then(|contents| self.files.load(&contents, self.clock.now()));
        match loaded {
            Ok(loaded) => {
                tracing::info!(not_after_s = loaded.not_after.as_secs(), "the certificates were replaced");
                self.loaded.store(Arc::new(loaded));
                *seen = Seen { used: digest, refused: None };
                self.generation.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) if seen.refused == Some(digest) => {}
            Err(error) => {
                let cause = std::error::Error::source(&error).map(tracing::field::display);
                tracing::warn!(error = %error, cause, "new certificates cannot be used, the old ones stay");
                seen.refused = Some(digest);
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

// === impl Security ===

impl Security {
    /// Secures a connection for one of `protocols` (ALPN, RFC 7301). Returns it with its client
    /// certificate, if there is one; `None`: the handshake failed or took too long, and that was logged.
    pub(super) async fn secure(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        protocols: &[&str],
        within: Duration,
    ) -> Option<(Secured, Option<PeerCertificate>)> {
        let stream = BufReader::with_capacity(READ_BUFFER, stream);
        let handshake = TlsAcceptor::from(self.config(protocols)).accept(stream);
        let reason = match timeout(within, handshake).await {
            Ok(Ok(stream)) => {
                let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let certificate = certificate.and_then(PeerCertificate::read);
                return Some((stream, certificate));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no handshake within {within:?}"),
        };
        self.tls.handshake_failures.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(peer = %peer, reason, "a TLS handshake failed");
        None
    }

    /// For how long a certificate is still valid.
    pub(super) fn left(&self, certificate: &PeerCertificate) -> Duration {
        certificate.not_after.since(self.tls.clock.now())
    }

    fn config(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        let loaded = self.tls.loaded.load();
        let mut config = match self.peers {
            Peers::Callers => loaded.callers.clone(),
            Peers::Operators => loaded.operators.clone(),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

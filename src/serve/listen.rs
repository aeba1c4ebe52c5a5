//! Listeners: TCP and Unix sockets, bound before anything else is started, so that a taken port fails the start.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    pin::Pin,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::{
    Peer, PeerAddress, Protocol,
    tls::{Secured, Security},
};

/// Where to listen: `host:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Host and port; port 0 lets the system choose.
    Tcp(String),
    /// The socket's file.
    Unix(PathBuf),
}

/// A socket that connections can be made to, but that does not accept them yet.
#[derive(Debug)]
pub struct Listener(Socket);

/// An accepted connection that belongs to no runtime yet.
#[derive(Debug)]
pub struct Accepted(Raw);

/// A connection on the runtime of its worker.
#[derive(Debug)]
pub struct Io {
    stream: Stream,
    /// How many of the protocol's first bytes the peer has not sent yet.
    missing: usize,
    begun: Begun,
}

/// A connection that is ready to be served.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) io: Io,
    pub(super) peer: Peer,
    /// How long the certificate holds that the peer has shown.
    pub(super) holds_for: Option<Duration>,
}

/// Whether the peer has sent the protocol's first bytes.
#[derive(Clone, Debug, Default)]
pub struct Begun(Arc<AtomicBool>);

/// Text that is no address.
#[derive(Debug, PartialEq, Eq)]
pub struct AddressError(String);

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    address: Address,
    source: io::Error,
}

/// Listens on all of `addresses`.
///
/// # Errors
/// The first address that fails, and why. The others are let go.
pub fn bind(addresses: &[Address]) -> Result<Vec<Listener>, BindError> {
    let listen = |address: &Address| {
        let socket = match address {
            Address::Tcp(address) => bind_tcp(address),
            Address::Unix(path) => bind_unix(path),
        };
        socket.map(Listener).map_err(|source| BindError { address: address.clone(), source })
    };
    addresses.iter().map(listen).collect()
}

/// The owner and its group may connect: a sidecar shares the group, not the user.
const SOCKET_MODE: u32 = 0o660;

#[derive(Debug)]
enum Socket {
    Tcp(std::net::TcpListener, Option<Security>),
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

#[derive(Debug)]
enum Raw {
    Tcp(std::net::TcpStream, SocketAddr, Option<Security>),
    Unix(StdUnixStream),
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    // Boxed: the state of a secured connection is large.
    Tls(Box<Secured>),
    Unix(UnixStream),
}

/// The file of a Unix socket, removed when it is dropped, unless another server has put its own in the place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

fn bind_tcp(address: &str) -> io::Result<Socket> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(Socket::Tcp(listener, None))
}

fn bind_unix(path: &Path) -> io::Result<Socket> {
    remove_stale(path)?;
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    // Until here the file has the process's default mode, which lets nobody else write, hence nobody else connect.
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    Ok(Socket::Unix(listener, file))
}

/// Removes the socket that a killed server left behind, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists and is no socket"));
        }
        Ok(_) => {}
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens on it")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

// === impl Address ===

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///path` is the same as `unix:/path`.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(malformed()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let is_bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        if host.is_empty() || is_bare_ipv6 || port.parse::<u16>().is_err() {
            return Err(malformed());
        }
        Ok(Self::Tcp(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

// === impl Listener ===

impl Listener {
    /// Where it really listens: the port is known even if the system chose it.
    pub fn address(&self) -> Address {
        match &self.0 {
            Socket::Tcp(..) => Address::Tcp(self.local_addr().map_or_else(String::new, |address| address.to_string())),
            Socket::Unix(_, file) => Address::Unix(file.path.clone()),
        }
    }

    /// Address and port, if it is a TCP socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Socket::Tcp(listener, _) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// The same with its connections secured. A Unix socket stays as it is: what goes over it never leaves the machine.
    #[must_use]
    pub fn secured(self, by: &Security) -> Self {
        Self(match self.0 {
            Socket::Tcp(listener, _) => Socket::Tcp(listener, Some(by.clone())),
            unix @ Socket::Unix(..) => unix,
        })
    }

    /// Whether its connections are secured.
    pub const fn is_secured(&self) -> bool {
        matches!(self.0, Socket::Tcp(_, Some(_)))
    }

    /// Starts to accept, on the calling runtime.
    pub(super) fn open(self) -> io::Result<Acceptor> {
        Ok(match self.0 {
            Socket::Tcp(listener, security) => Acceptor::Tcp(tokio::net::TcpListener::from_std(listener)?, security),
            Socket::Unix(listener, file) => Acceptor::Unix(tokio::net::UnixListener::from_std(listener)?, file),
        })
    }
}

/// An open listener.
#[derive(Debug)]
pub(super) enum Acceptor {
    Tcp(tokio::net::TcpListener, Option<Security>),
    Unix(tokio::net::UnixListener, #[expect(dead_code, reason = "removes the file on drop")] SocketFile),
}

impl Acceptor {
    /// The next connection. Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        // Handing over needs the plain socket: the worker registers it with its own runtime.
        Ok(Accepted(match self {
            Self::Tcp(listener, security) => {
                let (stream, peer) = listener.accept().await?;
                Raw::Tcp(stream.into_std()?, peer, security.clone())
            }
            Self::Unix(listener, _) => Raw::Unix(listener.accept().await?.0.into_std()?),
        }))
    }
}

// === impl Accepted ===

impl Accepted {
    pub(super) const fn peer(&self) -> PeerAddress {
        match &self.0 {
            Raw::Tcp(_, peer, _) => PeerAddress::Tcp(*peer),
            Raw::Unix(_) => PeerAddress::Unix,
        }
    }

    /// Moves the connection onto the calling runtime and secures it, if its listener is to be, for `protocol`;
    /// `None`: the handshake took longer than `within`.
    pub(super) async fn open(self, protocol: &dyn Protocol, within: Duration) -> io::Result<Option<Opened>> {
        let address = self.peer();
        let (stream, identities, holds_for) = match self.0 {
            Raw::Tcp(stream, peer, security) => {
                // Replies are small and must not wait for the acknowledgement of the one before.
                stream.set_nodelay(true)?;
                let stream = TcpStream::from_std(stream)?;
                match security {
                    None => (Stream::Tcp(stream), None, None),
                    Some(security) => {
                        let secured = security.secure(stream, peer, protocol.alpn(), within).await;
                        let Some((stream, shown)) = secured else { return Ok(None) };
                        let holds_for = shown.as_ref().map(|shown| security.left(shown));
                        (Stream::Tls(Box::new(stream)), shown.and_then(|shown| shown.identities), holds_for)
                    }
                }
            }
            Raw::Unix(stream) => (Stream::Unix(UnixStream::from_std(stream)?), None, None),
        };
        let io = Io { stream, missing: protocol.first_bytes(), begun: Begun::default() };
        Ok(Some(Opened { io, peer: Peer { address, identities }, holds_for }))
    }
}

// === impl Io ===

impl Io {
    /// A handle that tells whether the peer has sent the protocol's first bytes.
    pub(super) fn begun(&self) -> Begun {
        self.begun.clone()
    }
}

impl Begun {
    pub(super) fn yet(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        })?;
        if self.missing > 0 {
            self.missing = self.missing.saturating_sub(buf.filled().len() - before);
            if self.missing == 0 {
                self.begun.0.store(true, Ordering::Relaxed);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    // No vectored writes: with them, h2 would end a write at every message from 256 bytes on, in place of 1024, and a busy
    // connection's replies go out together only as long as it does not. Measured: a fifth of what an issued JWT costs.

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

// === impl SocketFile ===

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

// === errors ===

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no address: write HOST:PORT, such as 0.0.0.0:50051, or unix:/PATH", self.0)
    }
}

impl std::error::Error for AddressError {}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listen on {}", self.address)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port_or_an_absolute_path() {
        for text in ["127.0.0.1:0", "[::]:50051", "localhost:65535"] {
            assert_eq!(text.parse(), Ok(Address::Tcp(text.to_owned())));
        }
        for text in ["unix:/run/jeton.sock", "unix:///run/jeton.sock"] {
            assert_eq!(text.parse(), Ok(Address::Unix("/run/jeton.sock".into())));
        }
        for text in ["", "localhost", ":50051", "::1:50051", "localhost:65536", "unix:relative", "unix:"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        // A std listener leaves its file behind, as a killed server does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let address = [Address::Unix(path.clone())];
        let live = bind(&address).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        let error = bind(&address).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        drop(live);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "precious").unwrap();
        assert!(bind(&[Address::Unix(path.clone())]).is_err());
        assert_eq!(fs::read_to_string(path).unwrap(), "precious");
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = taken[0].address();
        let error = bind(std::slice::from_ref(&address)).unwrap_err();
        assert_eq!(error.to_string(), format!("listen on {address}"));
    }
}

//! Listeners: TCP and Unix sockets, bound before anything else is started, so that a taken port fails the start.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

pub use super::address::{Address, AddressError};
use super::{stream::Accepted, tls::Security};

/// A socket that connections can be made to, but that does not accept them yet.
#[derive(Debug)]
pub struct Listener(Socket);

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
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens on it")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
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
        Ok(match self {
            Self::Tcp(listener, security) => {
                let (stream, peer) = listener.accept().await?;
                Accepted::Tcp(stream.into_std()?, peer, security.clone())
            }
            Self::Unix(listener, _) => Accepted::Unix(listener.accept().await?.0.into_std()?),
        })
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

// === impl BindError ===

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

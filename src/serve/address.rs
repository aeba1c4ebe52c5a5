//! Addresses to listen on, as settings write them.

use std::{fmt, path::PathBuf, str::FromStr};

/// Where to listen: `host:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Host and port; port 0 lets the system choose.
    Tcp(String),
    /// The socket's file.
    Unix(PathBuf),
}

/// Text that is no address.
#[derive(Debug, PartialEq, Eq)]
pub struct AddressError(String);

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

// === impl AddressError ===

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no address: write HOST:PORT, such as 0.0.0.0:50051, or unix:/PATH", self.0)
    }
}

impl std::error::Error for AddressError {}

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
}

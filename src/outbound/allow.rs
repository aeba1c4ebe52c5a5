//! What may be called although it is not public.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::address;

/// One exception that the operator made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Addresses.
    Range(IpNet),
    /// A host by its name, in lower case; whatever it resolves to is allowed.
    Host(String),
}

/// Neither a range of addresses nor a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAllowable;

/// The longest name of DNS (RFC 1035 §2.3.4).
const MAX_NAME_LEN: usize = 253;

// === impl Allow ===

impl Allow {
    /// Whether it is this host, as a URL writes it.
    pub(super) fn names(&self, host: &str) -> bool {
        match self {
            Self::Host(name) => name == host,
            Self::Range(_) => false,
        }
    }

    /// Whether the address lies in this range.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Range(range) => address::contains(range, address),
            Self::Host(_) => false,
        }
    }
}

impl FromStr for Allow {
    type Err = NotAllowable;

    /// Reads `10.0.0.0/8`, `10.1.2.3` or `keycloak.auth.svc`.
    fn from_str(text: &str) -> Result<Self, NotAllowable> {
        if let Ok(range) = text.parse::<IpNet>() {
            return Ok(Self::Range(range.trunc()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Range(address.into()));
        }
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        // A name that ends in a number is an address to a URL (WHATWG, "ends in a number"), however badly written.
        let ends_in_number = text.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
        if text.len() <= MAX_NAME_LEN && text.split('.').all(is_label) && !ends_in_number {
            Ok(Self::Host(text.to_ascii_lowercase()))
        } else {
            Err(NotAllowable)
        }
    }
}

impl fmt::Display for NotAllowable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither a range such as 10.0.0.0/8, nor an address, nor the name of a host")
    }
}

impl std::error::Error for NotAllowable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_addresses_and_names_are_read() {
        let allow = |text: &str| text.parse::<Allow>();
        assert_eq!(allow("10.1.2.3/8"), allow("10.0.0.0/8"));
        assert!(matches!(allow("127.0.0.1"), Ok(Allow::Range(range)) if range.prefix_len() == 32));
        assert!(matches!(allow("::1"), Ok(Allow::Range(range)) if range.prefix_len() == 128));
        assert_eq!(allow("KeyCloak.auth.svc"), Ok(Allow::Host("keycloak.auth.svc".to_owned())));
        for wrong in ["", ".", "a..b", "a/b", "10.0.0.0/33", "1.2.3", "*.svc", "http://a", "a:80", "[::1]", "a b"] {
            assert_eq!(allow(wrong), Err(NotAllowable), "{wrong}");
        }
    }
}

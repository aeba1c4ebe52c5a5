//! Parses values, one function for each form.

use std::{
    fmt,
    net::Ipv6Addr,
    path::{Path, PathBuf},
};

use jeton_core::secret::SecretText;

use crate::{
    keys::master::MasterKey,
    outbound::{Url, allow::Allow, published::Location},
    outbox::webhook::SigningSecret,
};

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A host name or an address without brackets, and a port; port 0 takes a free one.
    Tcp { host: String, port: u16 },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// The longest path of a Unix socket (`sun_path` less its end).
const MAX_SOCKET_PATH: usize = 107;

pub(super) fn workload_issuer(text: &str) -> Result<(String, Location), String> {
    let (issuer, location) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not ISSUER=LOCATION, such as https://issuer.example=file:/keys.json"))?;
    // What the contract accepts as the issuer of a workload identity.
    if !(1..=256).contains(&issuer.len()) || !issuer.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("`{text}`: an issuer is 1 to 256 visible ASCII characters"));
    }
    let location = location.parse().map_err(|error| format!("`{text}`: `{location}` is {error}"))?;
    Ok((issuer.to_owned(), location))
}

pub(super) fn listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        // gRPC's own notation has two slashes before the path.
        let path = path.strip_prefix("//").unwrap_or(path);
        return match path.len() {
            0 => Err(format!("`{text}` names no path")),
            1..=MAX_SOCKET_PATH => Ok(Listen::Unix(PathBuf::from(path))),
            _ => Err(format!("`{text}` is longer than the {MAX_SOCKET_PATH} bytes that a socket's path may have")),
        };
    }
    let wrong = || format!("`{text}` is neither host:port nor unix:/path");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let host = match host.strip_prefix('[') {
        Some(inside) => {
            let address: Ipv6Addr =
                inside.strip_suffix(']').and_then(|address| address.parse().ok()).ok_or_else(wrong)?;
            address.to_string()
        }
        None if host.is_empty() => return Err(format!("`{text}` names no host; write 0.0.0.0 or [::] for all")),
        None if host.contains([':', '/', ' ']) => return Err(wrong()),
        None => host.to_owned(),
    };
    Ok(Listen::Tcp { host, port })
}

pub(super) fn public_url(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("`{text}` {why}"));
    let Ok(url) = text.parse::<http::Uri>() else { return wrong("is no URL") };
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return wrong("must begin with http:// or https://");
    }
    if url.authority().is_none_or(|authority| authority.as_str().contains('@') || authority.host().is_empty()) {
        return wrong("must name a host, and must have no user or password");
    }
    // An issuer is compared byte by byte (RFC 8414 §3.3), so nothing is normalized here.
    if url.query().is_some() || text.contains('#') || text.ends_with('/') {
        return wrong("must not have a query, a fragment or a slash at its end");
    }
    Ok(text.to_owned())
}

pub(super) fn redis_url(text: &str) -> Result<SecretText, String> {
    let schemes = ["redis://", "rediss://", "redis+unix://", "unix://"];
    if schemes.iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme)) {
        Ok(SecretText::new(text.to_owned()))
    } else {
        Err("must begin with redis://, rediss://, redis+unix:// or unix://".to_owned())
    }
}

pub(super) fn bootstrap_secret(text: &str) -> Result<SecretText, String> {
    // What the contract accepts as `client_secret`.
    if text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(SecretText::new(text.to_owned()))
    } else {
        Err("must be at most 256 visible ASCII characters".to_owned())
    }
}

/// A mistake names a key by its number, never by its text.
pub(super) fn master_keys(text: &str) -> Result<Vec<MasterKey>, String> {
    MasterKey::parse_all(text).map_err(|error| error.to_string())
}

/// `None`: the log.
pub(super) fn webhook_url(text: &str) -> Result<Option<Url>, String> {
    if text == "log:" {
        return Ok(None);
    }
    match text.parse::<Url>() {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Some(url)),
        _ => Err("must be an https:// URL, or log:".to_owned()),
    }
}

/// A mistake names a secret by its number, never by its text.
pub(super) fn webhook_secrets(text: &str) -> Result<Vec<SigningSecret>, String> {
    let parts = text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty());
    let parse = |(part, number): (&str, usize)| {
        SigningSecret::parse(part).map_err(|_| format!("secret {number} is not `whsec_` and 24 to 64 bytes in base64"))
    };
    let secrets = parts.zip(1..).map(parse).collect::<Result<Vec<_>, _>>()?;
    if secrets.is_empty() { Err("holds no secret".to_owned()) } else { Ok(secrets) }
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if text.contains('\0') { Err("is no path".to_owned()) } else { Ok(path.to_owned()) }
}

pub(super) fn allow(text: &str) -> Result<Allow, String> {
    text.parse().map_err(|error| format!("`{text}` is {error}"))
}

/// Directives of the log, if they parse.
///
/// # Errors
/// What is wrong with them.
pub fn directives(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("`{text}` is no log filter: {error}")),
    }
}

// === impl Listen ===

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

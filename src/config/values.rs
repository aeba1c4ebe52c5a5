//! Turns texts into what they mean, one rule per kind of value.

use std::{
    net::Ipv6Addr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Listen, duration,
    mistake::Mistake,
    registry::{Key, Kind},
    sources::{Found, Values},
};
use crate::{
    keys::master::MasterKey,
    outbound::{Url, allow::Allow, published::Location},
    outbox::webhook::SigningSecret,
    token::secret::SecretText,
};

/// Reads values by the path of their key and collects what is wrong with them.
///
/// After a mistake the reader goes on with a stand-in, so that all mistakes are found; the stand-in is never seen.
pub(super) struct Reader<'a> {
    pub(super) values: &'a Values,
    pub(super) mistakes: &'a mut Vec<Mistake>,
}

/// The longest path of a Unix socket (`sun_path` less its end).
const MAX_SOCKET_PATH: usize = 107;

// === impl Reader ===

impl Reader<'_> {
    /// Whether a value is there, be it the default.
    pub(super) fn has(&self, path: &str) -> bool {
        self.values.contains_key(path)
    }

    /// The mistake of not giving `path` although `who` wants it.
    pub(super) fn want(&mut self, path: &str, who: &str) {
        let Some(key) = Key::find(path).filter(|_| !self.has(path)) else { return };
        let variables = match key.file_variable() {
            Some(file) => format!("{} or {file}", key.variable()),
            None => key.variable(),
        };
        self.mistakes.push(Mistake::missing(format!("{who} `{path}`; set {variables}")));
    }

    /// The mistake of giving `path`.
    pub(super) fn refuse_given(&mut self, path: &str, why: &str) {
        if let Some(found) = self.values.get(path) {
            self.mistakes.push(Mistake::new(&found.origin, format!("`{path}` {why}")));
        }
    }

    /// The value after `parse`, or nothing if there is none or it is wrong.
    pub(super) fn parse<T>(&mut self, path: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let found = self.values.get(path)?;
        match parse(found.values.first()?) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.mistakes.push(Mistake::new(&found.origin, wrong));
                None
            }
        }
    }

    pub(super) fn bool(&mut self, path: &str) -> bool {
        let parse = |text: &str| text.parse().map_err(|_| format!("`{text}` is neither true nor false"));
        self.parse(path, parse).unwrap_or_default()
    }

    pub(super) fn duration(&mut self, path: &str) -> Duration {
        let kind = Key::find(path).map(|key| key.kind);
        self.parse(path, |text| {
            let value = duration::parse(text).ok_or_else(|| {
                format!("`{text}` is no duration; write a number with a unit, such as 200ms, 10s or 15m")
            })?;
            match kind {
                Some(Kind::Duration { min, max }) if !(min..=max).contains(&value) => Err(format!(
                    "{text} is out of range; it must be {} to {}",
                    duration::format(min),
                    duration::format(max)
                )),
                _ => Ok(value),
            }
        })
        .unwrap_or_default()
    }

    pub(super) fn integer(&mut self, path: &str) -> usize {
        let kind = Key::find(path).map(|key| key.kind);
        self.parse(path, |text| {
            let value: i128 = text.parse().map_err(|_| format!("`{text}` is no whole number"))?;
            match kind {
                Some(Kind::Integer { min, max }) if value < i128::from(min) || value > i128::from(max) => {
                    Err(format!("{text} is out of range; it must be {min} to {max}"))
                }
                _ => usize::try_from(value).map_err(|_| format!("{text} is out of range")),
            }
        })
        .unwrap_or_default()
    }

    pub(super) fn number(&mut self, path: &str) -> f64 {
        let kind = Key::find(path).map(|key| key.kind);
        self.parse(path, |text| {
            let value: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
            match kind {
                // What is not a number lies within no range.
                Some(Kind::Number { min, max }) if !(min..=max).contains(&value) => {
                    Err(format!("{text} is out of range; it must be {min} to {max}"))
                }
                _ => Ok(value),
            }
        })
        .unwrap_or_default()
    }

    /// An integer of which zero means: let the service choose.
    pub(super) fn integer_or_auto(&mut self, path: &str) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.integer(path))
    }

    /// The word after `choose`, which knows those that the registry names.
    pub(super) fn choice<T>(&mut self, path: &str, choose: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let kind = Key::find(path).map(|key| key.kind);
        self.parse(path, |text| {
            choose(text).ok_or_else(|| match kind {
                Some(Kind::Choice(words)) => format!("`{text}` is none of {}", words.join(", ")),
                _ => format!("`{text}` is unknown"),
            })
        })
    }

    /// Each issuer once.
    pub(super) fn workload_issuers(&mut self) -> Vec<(String, Location)> {
        const PATH: &str = "workload.issuers";
        let all = self.list(PATH, workload_issuer);
        let twice =
            |(i, (issuer, _)): &(usize, &(String, Location))| all.iter().take(*i).any(|(other, _)| other == issuer);
        if let Some((_, (issuer, _))) = all.iter().enumerate().find(twice) {
            self.refuse_given(PATH, &format!("names {issuer} twice"));
        }
        all
    }

    /// The values after `parse`, none of them twice.
    pub(super) fn list<T: PartialEq>(&mut self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some(Found { values, origin }) = self.values.get(path) else { return Vec::new() };
        let mut all = Vec::new();
        for text in values {
            match parse(text) {
                Ok(one) if all.contains(&one) => {
                    self.mistakes.push(Mistake::new(origin, format!("`{}` stands there twice", text.as_str())));
                }
                Ok(one) => all.push(one),
                Err(wrong) => self.mistakes.push(Mistake::new(origin, wrong)),
            }
        }
        all
    }
}

// === rules ===

fn workload_issuer(text: &str) -> Result<(String, Location), String> {
    let (issuer, location) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not ISSUER=LOCATION, such as https://issuer.example=file:/keys.json"))?;
    // What the contract takes as the issuer of a workload identity.
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
        return wrong("must name a host, and nobody's password");
    }
    // An issuer is compared byte by byte (RFC 8414 §3.3), so nothing is normalized here.
    if url.query().is_some() || text.contains('#') || text.ends_with('/') {
        return wrong("must have neither query nor fragment nor a slash at its end");
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
    // What the contract takes as `client_secret`.
    if text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(SecretText::new(text.to_owned()))
    } else {
        Err("must be at most 256 visible ASCII characters".to_owned())
    }
}

/// Which of `keys` is wrong is told by its number, never by its text.
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

/// Which of the secrets is wrong is told by its number, never by its text.
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

//! Where others publish their keys: at a URL, or in a file, such as the one of a cluster in a mounted ConfigMap.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use jeton_core::Time;
use parking_lot::Mutex;

use super::{MAX_BODY_BYTES, Url, key_set::KeySet};
use crate::error::chain;

/// The place of a key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    Url(Url),
    /// An absolute path.
    File(PathBuf),
}

/// Neither a URL nor an absolute path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLocation;

/// A key set in a file, which may change at any time.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    seen: Mutex<Seen>,
}

/// What was read last.
#[derive(Debug, Default)]
struct Seen {
    /// When somebody set out to read it. `None`: never.
    at: Option<Time>,
    text: Vec<u8>,
    keys: Option<Arc<KeySet>>,
}

/// How often a file is looked at while it is needed. A key that was taken out of it is believed for so long.
pub const RECHECK: Duration = Duration::from_secs(5);

// === impl Location ===

impl FromStr for Location {
    type Err = NoLocation;

    /// Reads `file:/path`, `file:///path` or a URL. Whether the URL may be called is judged when it is.
    fn from_str(text: &str) -> Result<Self, NoLocation> {
        if let Some(path) = text.strip_prefix("file:") {
            let path = Path::new(path.strip_prefix("//").unwrap_or(path));
            return if path.is_absolute() { Ok(Self::File(path.to_owned())) } else { Err(NoLocation) };
        }
        let url: Url = text.parse().map_err(|_| NoLocation)?;
        if matches!(url.scheme(), "https" | "http") { Ok(Self::Url(url)) } else { Err(NoLocation) }
    }
}

impl fmt::Display for NoLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither file:/path nor an https URL")
    }
}

// === impl KeyFile ===

impl KeyFile {
    /// The set in the file at `path`, which is not looked at yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, seen: Mutex::default() }
    }

    /// The keys, no older than [`RECHECK`]. While the file cannot be used, those that were read last; `None`: none were.
    pub async fn keys(self: &Arc<Self>, now: Time) -> Option<Arc<KeySet>> {
        if self.claim(now) {
            let file = Arc::clone(self);
            // A volume may lie behind a network.
            let read = tokio::task::spawn_blocking(move || file.read()).await.unwrap_or_else(|error| Err(error.into()));
            if let Err(error) = read {
                tracing::warn!(error = chain(&error), "a key set cannot be read; what was read before still counts");
            }
        }
        self.seen.lock().keys.clone()
    }

    /// Reads the file now.
    ///
    /// # Errors
    /// If it cannot be read, or has no set with a key that verifies signatures. Names the file.
    pub fn read(&self) -> io::Result<()> {
        let about = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display()));
        let invalid = |why| about(io::Error::new(io::ErrorKind::InvalidData, why));
        let mut text = Vec::new();
        let limit = u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX);
        File::open(&self.path).and_then(|file| file.take(limit + 1).read_to_end(&mut text)).map_err(about)?;
        if self.seen.lock().text == text {
            return Ok(());
        }
        if text.len() > MAX_BODY_BYTES {
            return Err(invalid("it is larger than 64 KiB"));
        }
        let document = serde_json::from_slice(&text).map_err(|_| invalid("it is no JSON"))?;
        let keys = KeySet::parse(document).map_err(|fault| invalid(fault.text()))?;
        if keys.iter().next().is_none() {
            return Err(invalid("it has no key that verifies signatures"));
        }
        let mut seen = self.seen.lock();
        seen.text = text;
        seen.keys = Some(Arc::new(keys));
        Ok(())
    }

    /// Whether the caller is to read the file. Claimed before it is read: a burst of calls reads it once.
    fn claim(&self, now: Time) -> bool {
        let mut seen = self.seen.lock();
        // A clock that was put back must not keep the file unread.
        let fresh = seen.at.is_some_and(|at| at <= now && now.since(at) < RECHECK);
        if !fresh {
            seen.at = Some(now);
        }
        !fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_an_absolute_path_or_a_url() {
        let path = Location::File("/etc/keys.json".into());
        for text in ["file:/etc/keys.json", "file:///etc/keys.json"] {
            assert_eq!(text.parse(), Ok(path.clone()));
        }
        let url = "https://issuer.example/keys";
        assert_eq!(url.parse(), Ok(Location::Url(url.parse().unwrap())));
        for wrong in ["", "/etc/keys.json", "file:keys.json", "file://host/keys.json/..", "ftp://a/b", "https://"] {
            let wrong: Result<Location, _> = wrong.parse();
            assert!(matches!(wrong, Err(NoLocation)), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_broken_leaves_what_was_read_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let file = Arc::new(KeyFile::new(path.clone()));
        let at = Time::from_secs;
        assert!(file.keys(at(100)).await.is_none() && file.read().unwrap_err().to_string().contains("keys.json"));
        let key = r#"{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "1"}"#;
        std::fs::write(&path, format!(r#"{{"keys": [{key}]}}"#)).unwrap();
        assert!(file.keys(at(104)).await.is_none(), "not looked at again so soon");
        assert!(file.keys(at(105)).await.unwrap().knows("1"));
        for broken in ["", "{", r#"{"keys": []}"#, &" ".repeat(MAX_BODY_BYTES + 1)] {
            std::fs::write(&path, broken).unwrap();
            assert!(file.read().is_err());
            assert!(file.keys(at(200)).await.unwrap().knows("1"));
        }
        std::fs::write(&path, format!(r#"{{"keys": [{}]}}"#, key.replace("\"1\"", "\"2\""))).unwrap();
        assert!(file.keys(at(199)).await.unwrap().knows("2"), "a clock that was put back");
    }
}

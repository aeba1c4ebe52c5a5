//! Key sets that others publish in files, such as the one of a cluster in a mounted ConfigMap.

use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use super::foreign::{self, PublicKey};
use crate::{ambient::Time, token::error::chain};

/// A set in a file (RFC 7517 §5), which may change at any time.
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
    keys: Arc<[PublicKey]>,
}

/// The largest set, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// How often the file is looked at while it is needed. A key that was taken out of it is believed for so long.
const RECHECK: Duration = Duration::from_secs(5);

// === impl KeyFile ===

impl KeyFile {
    /// The set in the file at `path`, which is not looked at yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, seen: Mutex::default() }
    }

    /// The keys, no older than 5 s. While the file cannot be read, those that were read last.
    pub async fn keys(self: &Arc<Self>, now: Time) -> Arc<[PublicKey]> {
        if self.claim(now) {
            let file = Arc::clone(self);
            // A volume may lie behind a network.
            let read = tokio::task::spawn_blocking(move || file.read()).await.unwrap_or_else(|error| Err(error.into()));
            if let Err(error) = read {
                let (path, error) = (self.path.display(), chain(&error));
                tracing::warn!(%path, error, "a key set cannot be read; the keys that were read before still count");
            }
        }
        Arc::clone(&self.seen.lock().keys)
    }

    /// Reads the file now.
    ///
    /// # Errors
    /// If it cannot be read, or has no set with a usable key in it.
    pub fn read(&self) -> io::Result<()> {
        let mut text = Vec::new();
        File::open(&self.path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
        if self.seen.lock().text == text {
            return Ok(());
        }
        let too_large = u64::try_from(text.len()).is_ok_and(|length| length > MAX_FILE_BYTES);
        let invalid = |refusal: foreign::Refusal| io::Error::new(io::ErrorKind::InvalidData, refusal);
        if too_large {
            return Err(invalid(foreign::Refusal("is larger than 64 KiB")));
        }
        let keys = foreign::read_set(&text).map_err(invalid)?.into();
        let mut seen = self.seen.lock();
        seen.text = text;
        seen.keys = keys;
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

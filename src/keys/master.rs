//! The master key: 32 random bytes from which everything else is derived or under which it is sealed.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::{Zeroize as _, Zeroizing};

use crate::ambient;

/// One master key. Wiped on drop; never shown.
#[derive(Clone, zeroize::ZeroizeOnDrop)]
pub struct MasterKey([u8; Self::BYTES]);

/// Why there is no master key.
#[derive(Debug)]
pub enum Error {
    /// No line of the text is 32 bytes in hex or base64. The number is the line's, from 1.
    Malformed(usize),
    Empty,
    /// More lines than keys that can overlap.
    TooMany,
    Io(PathBuf, io::Error),
    Entropy(ambient::NoEntropy),
}

/// How many old keys may stand behind the current one.
const MAX_KEYS: usize = 8;

// === impl MasterKey ===

impl MasterKey {
    const BYTES: usize = 32;

    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The key's bytes, for deriving.
    pub(super) const fn expose(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Reads keys, newest first: one a line or separated by commas, each 64 hex digits or base64 of 32 bytes. Lines that
    /// begin with "#" are comments.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Error> {
        let mut keys = Vec::new();
        for (number, line) in text.split(['\n', ',']).enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            keys.push(Self::parse(line).ok_or(Error::Malformed(number + 1))?);
        }
        match keys.len() {
            0 => Err(Error::Empty),
            count if count > MAX_KEYS => Err(Error::TooMany),
            _ => Ok(keys),
        }
    }

    /// Reads the key file, or makes it (mode 0600) if there is none.
    pub fn load_or_create(path: &Path) -> Result<Vec<Self>, Error> {
        let io = |error| Error::Io(path.to_owned(), error);
        match fs::read_to_string(path) {
            Ok(text) => return Self::parse_all(&Zeroizing::new(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(error)),
        }
        let key = Self(ambient::random().map_err(Error::Entropy)?);
        let text = Zeroizing::new(format!("{}\n", STANDARD.encode(key.0)));
        // Written aside and renamed: a crash half way must not leave a key file that is too short.
        let aside = path.with_extension("tmp");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside).map_err(io)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
        fs::rename(&aside, path).map_err(io)?;
        Ok(vec![key])
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(Self::BYTES));
        if text.len() == 2 * Self::BYTES && text.is_ascii() {
            for at in (0..text.len()).step_by(2) {
                bytes.push(u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?);
            }
        } else {
            *bytes = STANDARD.decode(text).ok()?;
        }
        let mut key: [u8; Self::BYTES] = bytes.as_slice().try_into().ok()?;
        let parsed = Self(key);
        key.zeroize();
        Some(parsed)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[master key]")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(number) => write!(f, "master key {number} is not 32 bytes in hex or base64"),
            Self::Empty => f.write_str("there is no master key in the given text"),
            Self::TooMany => write!(f, "more than {MAX_KEYS} master keys"),
            Self::Io(path, _) => write!(f, "read or make the master key file {}", path.display()),
            Self::Entropy(_) => f.write_str("make a master key"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, source) => Some(source),
            Self::Entropy(source) => Some(source),
            Self::Malformed(_) | Self::Empty | Self::TooMany => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_both_notations_and_made_once() {
        let hex = "ab".repeat(32);
        let base64 = STANDARD.encode([0xab; 32]);
        let keys = MasterKey::parse_all(&format!("# newest first\n{hex}\n{base64}")).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0].0, keys[1].0);
        for bad in ["", "#", "abcd", &"zz".repeat(32), &"é".repeat(32)] {
            assert!(MasterKey::parse_all(bad).is_err(), "{bad}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let made = MasterKey::load_or_create(&path).unwrap();
        assert_eq!(MasterKey::load_or_create(&path).unwrap()[0].0, made[0].0);
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap()) & 0o777, 0o600);
    }
}

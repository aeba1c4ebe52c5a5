//! The master key: 32 random bytes from which everything else is derived or under which it is sealed.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::ambient;

/// One master key. Wiped on drop; never shown.
#[derive(Clone, zeroize::ZeroizeOnDrop)]
pub struct MasterKey([u8; Self::BYTES]);

/// Why there is no master key.
#[derive(Debug)]
pub enum Error {
    /// The key with this number, from 1, is not 32 bytes in hex or base64.
    Malformed(usize),
    /// The key with this number is one byte over and over: nobody's random key, but what a placeholder looks like.
    Weak(usize),
    /// The key with this number stands before.
    Twice(usize),
    Empty,
    /// More lines than keys that can overlap.
    TooMany,
    Io(PathBuf, io::Error),
    Entropy(ambient::NoEntropy),
}

/// Old keys are kept until nothing uses them; more than this is a file of something else.
const MAX_KEYS: usize = 16;

// === impl MasterKey ===

impl MasterKey {
    const BYTES: usize = 32;

    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The key's bytes, for deriving.
    pub(crate) const fn expose(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Reads keys, newest first: one a line or separated by commas, each 32 bytes in hex or base64.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Error> {
        let mut keys: Vec<Self> = Vec::new();
        let parts = text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty());
        for (part, number) in parts.zip(1..) {
            let key = Self::parse(part).ok_or(Error::Malformed(number))?;
            if key.0.iter().all(|byte| *byte == key.0[0]) {
                return Err(Error::Weak(number));
            }
            if keys.iter().any(|other| other.0 == key.0) {
                return Err(Error::Twice(number));
            }
            if keys.len() == MAX_KEYS {
                return Err(Error::TooMany);
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(Error::Empty) } else { Ok(keys) }
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
        let bytes = Zeroizing::new(if text.len() == 2 * Self::BYTES { hex(text)? } else { base64(text)? });
        Some(Self(bytes.as_slice().try_into().ok()?))
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

/// Standard or URL-safe, padded or not: what `openssl rand -base64 32` and Kubernetes write.
fn base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let mut standard = text.replace('-', "+").replace('_', "/");
    let bytes = GeneralPurpose::new(&alphabet::STANDARD, LENIENT).decode(&standard).ok();
    standard.zeroize();
    bytes
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[master key]")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(number) => write!(f, "key {number} is not 32 bytes as hex or base64"),
            Self::Weak(number) => {
                write!(f, "key {number} is one byte over and over; make one with `openssl rand -hex 32`")
            }
            Self::Twice(number) => write!(f, "key {number} stands there twice"),
            Self::Empty => f.write_str("holds no key"),
            Self::TooMany => write!(f, "more than {MAX_KEYS} keys"),
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
            Self::Malformed(_) | Self::Weak(_) | Self::Twice(_) | Self::Empty | Self::TooMany => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_only_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let made = MasterKey::load_or_create(&path).unwrap();
        assert_eq!(MasterKey::load_or_create(&path).unwrap()[0].0, made[0].0);
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap()) & 0o777, 0o600);
    }
}

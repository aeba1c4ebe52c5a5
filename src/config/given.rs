//! What a source gives: texts by the path of their key, each with its origin.

use std::{collections::BTreeMap, ffi::OsString, fmt, io, path::Path};

use zeroize::Zeroizing;

use super::mistake::Origin;

/// The variables of a process.
pub type Environment = BTreeMap<OsString, OsString>;

/// Reads a file; a parameter so that tests need none.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// The values that were found for one key.
pub struct Found {
    /// One text, several of a list. Wiped on drop, because any may be a secret.
    pub(super) values: Vec<Zeroizing<String>>,
    pub origin: Origin,
}

/// Found values by the path of their key.
pub type Values = BTreeMap<&'static str, Found>;

/// A value as one source gives it.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) found: Found,
    pub(super) form: Form,
}

/// Whether a text is the value, or the path of a file with the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Value,
    File,
}

/// All values of one source.
pub(super) type Layer = BTreeMap<&'static str, Given>;

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `Zeroizing` shows its content.
        write!(f, "[from {}]", self.origin)
    }
}

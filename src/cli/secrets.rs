//! Secrets come from files and standard input, never from arguments.

use std::{cell::Cell, io, path::Path};

use zeroize::Zeroizing;

/// Where secrets are read from; a parameter so that tests need no files.
pub(super) struct Secrets<'a> {
    /// Reads a file, or standard input if there is no path.
    read: &'a dyn Fn(Option<&Path>) -> io::Result<Vec<u8>>,
    stdin_is_read: Cell<bool>,
}

// === impl Secrets ===

impl<'a> Secrets<'a> {
    pub(super) fn new(read: &'a dyn Fn(Option<&Path>) -> io::Result<Vec<u8>>) -> Self {
        Self { read, stdin_is_read: Cell::new(false) }
    }

    /// The content of the file at `path`, or of standard input if it is `-`, without white space around it.
    pub(super) fn read(&self, path: &str) -> Result<Zeroizing<String>, String> {
        let file = (path != "-").then(|| Path::new(path));
        if file.is_none() && self.stdin_is_read.replace(true) {
            return Err("standard input can be read only once".to_owned());
        }
        let name = if file.is_some() { path } else { "standard input" };
        let bytes = (self.read)(file).map_err(|error| format!("cannot read {name}: {error}"))?;
        let text = String::from_utf8(bytes).map(Zeroizing::new).map_err(|_| format!("{name} is not UTF-8"))?;
        match text.trim() {
            "" => Err(format!("{name} is empty")),
            trimmed => Ok(Zeroizing::new(trimmed.to_owned())),
        }
    }
}

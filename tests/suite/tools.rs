//! The programs of others that `tests/run` installs.

use std::{env, path::PathBuf};

/// Where it installs them.
pub fn directory() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap()).join(".cache"));
    cache.join("jeton-test-tools")
}

/// The Python that has their libraries.
pub fn python() -> PathBuf {
    env::var_os("JETON_TEST_PYTHON").map_or_else(|| directory().join("venv/bin/python"), PathBuf::from)
}

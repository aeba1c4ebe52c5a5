//! The programs of others that `tests/run` installs.

use std::{env, path::PathBuf};

/// Where a variable says that it is, or else `name` below the directory of `tests/run`.
pub fn installed(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = env::var_os(variable) {
        return path.into();
    }
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap()).join(".cache"));
    cache.join("jeton-test-tools").join(name)
}

/// A program, by its name.
pub fn program(name: &str) -> PathBuf {
    installed(&format!("JETON_TEST_{}", name.to_uppercase()), &format!("bin/{name}"))
}

/// The Python that has the libraries.
pub fn python() -> PathBuf {
    installed("JETON_TEST_PYTHON", "venv/bin/python")
}

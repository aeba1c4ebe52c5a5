//! Standard output and standard error.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::failure::Failure;

/// Writes a message to standard error.
pub(super) fn complain(message: &str) {
    // There is no other place for messages if standard error is closed.
    let _ = writeln!(io::stderr(), "{message}");
}

/// Reports a failure and returns its exit code.
pub(super) fn fail(failure: &Failure) -> ExitCode {
    complain(&failure.to_string());
    failure.exit_code()
}

/// Writes to standard output.
pub(super) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

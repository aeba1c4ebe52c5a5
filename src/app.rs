//! The composition root: makes everything, starts it, stops it.

use std::fmt;

use crate::config::Config;

/// The service could not start.
#[derive(Debug)]
pub struct NotWired;

/// Runs the service until it is told to stop.
pub fn serve(_config: &Config) -> Result<(), NotWired> {
    Err(NotWired)
}

impl fmt::Display for NotWired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("start the service: it is not built in yet")
    }
}

impl std::error::Error for NotWired {}

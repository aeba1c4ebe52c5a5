//! Why the service could not start, or ended: what was attempted, and what came in its way.

use std::fmt;

/// Something that was attempted and failed. Its text is the attempt, its source the reason.
#[derive(Debug)]
pub struct Failure {
    attempted: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Makes a [`Failure`] of whatever came in the way of what was `attempted`: `bind(…).map_err(failed("bind the listeners"))`.
pub fn failed<E>(attempted: &str) -> impl FnOnce(E) -> Failure + use<E>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let attempted = attempted.to_owned();
    move |source| Failure { attempted, source: source.into() }
}

// === impl Failure ===

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attempted)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

//! The log, on standard error.

use std::{fmt, io, sync::Arc};

use parking_lot::Mutex;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::LevelFilter, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use super::lines::{End, Lines};
use crate::config;

/// Keeps the log going. Dropping it writes what is still in the buffer, so it goes last.
#[derive(Debug)]
#[must_use = "the log ends when this is dropped"]
pub struct Guard {
    lines: Lines,
    levels: Levels,
    _end: End,
}

/// What is logged. It can be changed while the process runs; clones change the same.
#[derive(Clone, Debug)]
pub struct Levels {
    handle: reload::Handle<EnvFilter, Registry>,
    /// The directives in effect, as they were given.
    directives: Arc<Mutex<String>>,
}

/// Counts the lines that were dropped because the buffer was full.
#[derive(Clone, Debug)]
pub struct Dropped(Lines);

/// The process logs already, or the log's thread cannot be started.
#[derive(Debug)]
pub struct AlreadyLogging;

/// Bytes of lines that wait to be written. A slow terminal or a stuck log collector must not stop calls, so what comes on
/// top is dropped and counted. Some seconds of a busy service.
const BUFFERED_BYTES: usize = 4 << 20;

/// At `info` these would log every connection and at `debug` every frame; to get that, name them.
const NOISY: [&str; 8] = ["h2", "hyper", "hyper_util", "redis", "rustls", "tokio_util", "tonic", "tower"];

/// Starts logging for the whole process.
pub fn init(log: &config::Log) -> Result<Guard, AlreadyLogging> {
    let (lines, end) = Lines::start(BUFFERED_BYTES, io::stderr()).map_err(|_| AlreadyLogging)?;
    let (filter, handle) = reload::Layer::new(filter(&log.level));
    let levels = Levels { handle, directives: Arc::new(Mutex::new(log.level.clone())) };
    let guard = Guard { lines: lines.clone(), levels, _end: end };
    let lines = tracing_subscriber::fmt::layer().with_writer(lines);
    let lines = match log.format {
        config::LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).boxed(),
        config::LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .map(|()| guard)
        .map_err(|_| AlreadyLogging)
}

/// The directives, with libraries at `warn` unless they are named. Later directives replace earlier ones for the same
/// target.
fn filter(directives: &str) -> EnvFilter {
    let overall =
        directives.split(',').filter_map(|directive| directive.trim().parse::<LevelFilter>().ok()).next_back();
    // Quieter than everything else, never louder.
    let cap = overall.map_or(LevelFilter::WARN, |level| level.min(LevelFilter::WARN));
    let quiet: Vec<String> = NOISY.iter().map(|library| format!("{library}={cap}")).collect();
    // The configuration refuses directives that do not parse; `parse_lossy` would leave them out with a notice.
    EnvFilter::builder().parse_lossy(format!("{},{directives}", quiet.join(",")))
}

// === impl Guard ===

impl Guard {
    /// Changes what is logged.
    pub fn levels(&self) -> Levels {
        self.levels.clone()
    }

    /// Tells how many lines were dropped.
    pub fn dropped(&self) -> Dropped {
        Dropped(self.lines.clone())
    }
}

// === impl Dropped ===

impl Dropped {
    pub fn lines(&self) -> usize {
        self.0.dropped()
    }
}

// === impl Levels ===

impl Levels {
    /// The directives in effect.
    pub fn current(&self) -> String {
        self.directives.lock().clone()
    }

    /// Puts other directives into effect, until the process ends.
    ///
    /// # Errors
    /// What is wrong with them: whatever `log.level` would be refused for. The ones in effect stay.
    pub fn set(&self, directives: &str) -> Result<(), String> {
        let directives = directives.trim();
        // An empty one parses, and would log nothing; the configuration takes no empty values either.
        if directives.is_empty() {
            return Err("is empty".to_owned());
        }
        let directives = config::directives(directives)?;
        // Under the lock, so that the answer is what was put into effect last.
        let mut current = self.directives.lock();
        self.handle.reload(filter(&directives)).map_err(|error| format!("the log has ended: {error}"))?;
        tracing::info!(target: "audit", event = "log.level", from = *current, to = directives, "the log's level was changed");
        *current = directives;
        Ok(())
    }
}

impl fmt::Display for AlreadyLogging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("start the log")
    }
}

impl std::error::Error for AlreadyLogging {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet_unless_they_are_named() {
        let directives = |text: &str| filter(text).to_string();
        let info = directives("info");
        assert!(info.split(',').any(|directive| directive == "info"), "{info}");
        assert!(info.split(',').any(|directive| directive == "h2=warn"), "{info}");
        let named = directives("info,h2=debug");
        assert!(named.contains("h2=debug") && !named.contains("h2=warn"), "{named}");
        assert!(named.contains("tonic=warn"), "{named}");
    }

    #[test]
    fn quiet_libraries_do_not_silence_a_stricter_level() {
        for (directives, wanted) in [("error", "h2=error"), ("off", "h2=off"), ("debug,jeton=error", "h2=warn")] {
            let filter = filter(directives).to_string();
            assert!(filter.contains(wanted), "{filter}");
        }
    }
}

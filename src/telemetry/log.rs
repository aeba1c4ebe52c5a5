//! The log, on standard error.

use std::{
    fmt,
    io::{self, BufWriter},
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, Layer, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config;

/// Keeps the log going. Dropping it writes what is still in the buffer, so it goes last.
#[derive(Debug)]
#[must_use = "the log ends when this is dropped"]
pub struct Guard {
    dropped: ErrorCounter,
    _worker: WorkerGuard,
}

/// The process logs already.
#[derive(Debug)]
pub struct AlreadyLogging;

/// Lines that wait to be written. A slow terminal or a stuck log collector must not stop calls, so what comes on top is
/// dropped and counted. 8,192 lines are a few MiB and some seconds of a busy service.
const BUFFERED_LINES: usize = 8192;
/// The most bytes of lines that one write takes.
const WRITTEN_AT_ONCE: usize = 64 << 10;

/// At `info` these would log every connection and at `debug` every frame; whoever wants that names them.
const NOISY: [&str; 8] = ["h2", "hyper", "hyper_util", "redis", "rustls", "tokio_util", "tonic", "tower"];

/// Starts logging for the whole process.
pub fn init(log: &config::Log) -> Result<Guard, AlreadyLogging> {
    let builder = NonBlockingBuilder::default().buffered_lines_limit(BUFFERED_LINES).lossy(true).thread_name("log");
    // Standard error writes at once; the worker flushes whenever nothing waits, so a burst of lines is one write.
    let (writer, worker) = builder.finish(BufWriter::with_capacity(WRITTEN_AT_ONCE, io::stderr()));
    let guard = Guard { dropped: writer.error_counter(), _worker: worker };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match log.format {
        config::LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).boxed(),
        config::LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter(&log.level)))
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
    /// Lines that were dropped because the buffer was full.
    pub fn dropped_lines(&self) -> usize {
        self.dropped.dropped_lines()
    }
}

impl fmt::Display for AlreadyLogging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("start the log a second time")
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

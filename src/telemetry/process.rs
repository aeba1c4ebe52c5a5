//! What the kernel says of this process, under the names that Prometheus's own clients use.

use std::{fs, sync::Arc};

use crate::metrics::{Instrument, Metrics, Observed, Unit, number};

/// Ticks of `/proc/self/stat` in a second: fixed for programs on Linux, whatever the kernel counts by itself.
const TICKS_PER_SECOND: f64 = 100.0;

/// Has the process's CPU time, memory and files read with `metrics`.
pub fn observe(metrics: &Arc<Metrics>) {
    metrics.observe(Observed::one(
        Instrument::Counter,
        "process.cpu",
        Unit::Seconds,
        "CPU time of this process, user and system.",
        cpu_seconds,
    ));
    metrics.observe(Observed::one(
        Instrument::Gauge,
        "process.resident_memory",
        Unit::Bytes,
        "Memory of this process that is resident.",
        || status("VmRSS:") * 1024.0,
    ));
    metrics.observe(Observed::one(
        Instrument::Gauge,
        "process.open_fds",
        Unit::None,
        "Files and sockets that this process has open.",
        || fs::read_dir("/proc/self/fd").map_or(0.0, |files| number(u64::try_from(files.count()).unwrap_or_default())),
    ));
    metrics.observe(Observed::one(
        Instrument::Gauge,
        "process.threads",
        Unit::None,
        "Threads of this process.",
        || status("Threads:"),
    ));
}

/// User and system time: the 14th and 15th field, of which the second one may hold spaces and is in brackets.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    ticks.map(number).sum::<f64>() / TICKS_PER_SECOND
}

/// The number on a line of `/proc/self/status`; 0 if the system has none.
fn status(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_plausible_things() {
        let metrics = Arc::new(Metrics::default());
        observe(&metrics);
        let page = crate::metrics::text::page(&metrics).unwrap();
        let value = |name: &str| -> f64 {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in:\n{page}")).parse().unwrap()
        };
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_threads") >= 1.0);
    }
}

//! What a run prints: tables, or JSON.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// What was measured on one store.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) store: String,
    calls: Vec<Calls>,
    flat: Vec<Flat>,
    facts: Vec<Fact>,
}

/// An RPC against the echo. CPU is that of the serving process, user and system.
#[derive(Debug, Serialize)]
pub(super) struct Calls {
    pub(super) name: &'static str,
    pub(super) shape: String,
    pub(super) calls_per_s: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) cpu_us: f64,
    pub(super) echo_us: f64,
    /// Echoes per call, or per token of a batch.
    pub(super) ratio: f64,
    /// The same for each round, sorted.
    pub(super) ratios: Vec<f64>,
    pub(super) redis_us: Option<f64>,
    pub(super) wanted: Option<f64>,
}

/// CPU per call with few and with many of what it could depend on.
#[derive(Debug, Serialize)]
pub(super) struct Flat {
    pub(super) name: &'static str,
    pub(super) few: usize,
    pub(super) many: usize,
    pub(super) cpu_us: [f64; 2],
    pub(super) redis_us: Option<[f64; 2]>,
    /// The most that many may cost, as a multiple of few.
    pub(super) wanted: f64,
}

/// One figure.
#[derive(Debug, Serialize)]
pub(super) struct Fact {
    name: &'static str,
    value: f64,
    unit: &'static str,
    wanted: Option<Wanted>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

// === impl Report ===

impl Report {
    pub(super) fn new(store: &str) -> Self {
        Self { store: store.to_owned(), calls: Vec::new(), flat: Vec::new(), facts: Vec::new() }
    }

    pub(super) fn add(&mut self, calls: Calls) {
        self.calls.push(calls);
    }

    pub(super) fn add_flat(&mut self, flat: Flat) {
        self.flat.push(flat);
    }

    pub(super) fn add_fact(&mut self, fact: Fact) {
        self.facts.push(fact);
    }

    /// As tables for people.
    pub(super) fn tables(&self) -> String {
        let mut text = format!("\n{}\n", self.store);
        if !self.calls.is_empty() {
            let head = [
                "call",
                "conns×calls",
                "calls/s",
                "p50 µs",
                "p99 µs",
                "CPU µs",
                "echo µs",
                "echoes",
                "spread",
                "wanted",
                "Redis µs",
            ];
            let rows = self.calls.iter().map(Calls::row);
            text += &table(&head, rows);
        }
        if !self.flat.is_empty() {
            let head = ["call", "few → many", "CPU µs", "ratio", "Redis µs", "ratio", "wanted"];
            text += &table(&head, self.flat.iter().map(Flat::row));
        }
        if !self.facts.is_empty() {
            text += &table(&["what", "value", "unit", "wanted"], self.facts.iter().map(Fact::row));
        }
        text
    }
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n\n")
}

/// `≤ limit`, and whether it holds.
fn at_most(limit: Option<f64>, value: f64) -> String {
    limit.map_or(String::new(), |limit| format!("≤ {limit} {}", if value <= limit { "ok" } else { "MISSED" }))
}

// === impl rows ===

impl Calls {
    fn row(&self) -> Vec<String> {
        let spread = match (self.ratios.first(), self.ratios.last()) {
            (Some(least), Some(most)) => format!("{least:.3}–{most:.3}"),
            _ => String::new(),
        };
        vec![
            self.name.to_owned(),
            self.shape.clone(),
            format!("{:.0}", self.calls_per_s),
            format!("{:.0}", self.p50_us),
            format!("{:.0}", self.p99_us),
            format!("{:.1}", self.cpu_us),
            format!("{:.1}", self.echo_us),
            format!("{:.3}", self.ratio),
            spread,
            at_most(self.wanted, self.ratio),
            self.redis_us.map_or(String::new(), |micros| format!("{micros:.1}")),
        ]
    }
}

impl Flat {
    fn row(&self) -> Vec<String> {
        let both = |[few, many]: [f64; 2]| format!("{few:.1} → {many:.1}");
        let ratio = |[few, many]: [f64; 2]| many / few;
        let worst = self.redis_us.map_or(0.0, ratio).max(ratio(self.cpu_us));
        vec![
            self.name.to_owned(),
            format!("{} → {}", self.few, self.many),
            both(self.cpu_us),
            format!("{:.2}", ratio(self.cpu_us)),
            self.redis_us.map_or(String::new(), both),
            self.redis_us.map_or(String::new(), |micros| format!("{:.2}", ratio(micros))),
            at_most(Some(self.wanted), worst),
        ]
    }
}

impl Fact {
    pub(super) const fn new(name: &'static str, value: f64, unit: &'static str, wanted: Option<Wanted>) -> Self {
        Self { name, value, unit, wanted }
    }

    fn row(&self) -> Vec<String> {
        let wanted = match self.wanted {
            Some(Wanted::AtMost(limit)) => at_most(Some(limit), self.value),
            Some(Wanted::AtLeast(limit)) => {
                format!("≥ {limit} {}", if self.value >= limit { "ok" } else { "MISSED" })
            }
            None => String::new(),
        };
        vec![self.name.to_owned(), format!("{:.2}", self.value), self.unit.to_owned(), wanted]
    }
}

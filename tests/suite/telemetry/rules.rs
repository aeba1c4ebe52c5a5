//! The alerts and the dashboard that are shipped: every alert says what to do, and nothing names a metric that is not there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::page::{metrics, setup};
use crate::tools;

/// One alert, as far as it is looked at.
#[derive(Debug, Default)]
struct Alert {
    name: String,
    expr: String,
    runbook: String,
    severity: String,
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The alerts of the file, which is written one key to a line.
fn alerts() -> Vec<Alert> {
    let mut alerts: Vec<Alert> = Vec::new();
    let text = read("helm/files/prometheus/alerts.yaml");
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("- alert: ") {
            alerts.push(Alert { name: name.to_owned(), ..Alert::default() });
        }
        let Some(alert) = alerts.last_mut() else { continue };
        if line == "expr: >-" {
            alert.expr = lines.next().unwrap().to_owned();
        } else if let Some(link) = line.strip_prefix("runbook_url: ") {
            alert.runbook = link.to_owned();
        } else if let Some(severity) = line.strip_prefix("severity: ") {
            alert.severity = severity.to_owned();
        }
    }
    assert!(alerts.len() > 10, "only {} alerts were read", alerts.len());
    alerts
}

/// The expressions of the dashboard.
fn panels() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("helm/files/grafana/jeton.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let found: Vec<String> = targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    assert!(found.len() > 20, "only {} expressions were read", found.len());
    found
}

/// The names of all series that a page can have, by what it says of their kinds.
fn series(page: &str) -> BTreeSet<String> {
    let kinds: BTreeMap<&str, &str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let names = kinds.into_iter().flat_map(|(name, kind)| {
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        suffixes.iter().map(move |suffix| format!("{name}{suffix}"))
    });
    names.collect()
}

/// The metrics that an expression names: words of ours that are no labels.
fn named(expr: &str) -> BTreeSet<String> {
    const LABELS: [&str; 4] = ["grpc_type", "grpc_service", "grpc_method", "grpc_code"];
    // What stands in quotes is a value.
    let bare: String = expr.split('"').step_by(2).collect();
    let words = bare.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = |word: &&str| ["grpc_", "jeton_", "process_"].iter().any(|begin| word.starts_with(begin));
    words.filter(ours).filter(|word| !LABELS.contains(word)).map(str::to_owned).collect()
}

#[test]
fn every_metric_of_the_alerts_and_of_the_dashboard_is_on_the_page() {
    let jeton = setup().start();
    let series = series(&metrics(&jeton));
    let expressions = alerts().into_iter().map(|alert| alert.expr).chain(panels());
    let mut seen = BTreeSet::new();
    for expression in expressions {
        for name in named(&expression) {
            assert!(series.contains(&name), "{name}: {expression}");
            seen.insert(name);
        }
    }
    assert!(seen.len() > 20, "only {} metrics were read: {seen:?}", seen.len());
}

/// By a parser that is not ours.
#[test]
fn every_expression_is_promql() {
    const PARSE: &str = "import json, promql_parser, sys\n\
        for text in json.load(sys.stdin): promql_parser.parse(text)\n\
        print('parsed')";
    // What Grafana puts in.
    let bare = |text: &str| text.replace("$__rate_interval", "5m").replace("$__range", "1h");
    let expressions: Vec<String> =
        alerts().into_iter().map(|alert| alert.expr).chain(panels()).map(|text| bare(&text)).collect();
    let mut python = Command::new(tools::python());
    let mut python =
        python.args(["-c", PARSE]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = python.stdin.take().unwrap();
    input.write_all(serde_json::to_string(&expressions).unwrap().as_bytes()).unwrap();
    drop(input);
    let output = python.wait_with_output().unwrap();
    assert!(output.stdout.starts_with(b"parsed"), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_alert_says_what_to_do() {
    let page = read("docs/OPERATIONS.md");
    let entries: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let alerts = alerts();
    for alert in &alerts {
        assert!(entries.contains(alert.name.as_str()), "{} has no entry", alert.name);
        assert_eq!(alert.runbook, format!("docs/OPERATIONS.md#{}", alert.name.to_ascii_lowercase()));
        assert!(["critical", "warning", "info"].contains(&alert.severity.as_str()), "{alert:?}");
    }
    let known: BTreeSet<&str> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    let stale: Vec<_> = entries.iter().filter(|entry| entry.starts_with("Jeton") && !known.contains(*entry)).collect();
    assert!(stale.is_empty(), "no alert: {stale:?}");
}

#[test]
fn every_metric_stands_on_the_operators_page() {
    let jeton = setup().env("JETON_OTLP_ENDPOINT", "http://127.0.0.1:1").start();
    let page = metrics(&jeton);
    let operations = read("docs/OPERATIONS.md");
    let answer: BTreeSet<&str> = operations.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let shown = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        assert!(answer.contains(shown.as_str()), "{shown} is not in docs/OPERATIONS.md");
    }
}

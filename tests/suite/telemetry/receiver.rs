//! A real OTLP receiver in a process of its own.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::{faults::process::Lines, tools};

/// A running receiver. It ends when its standard input does.
pub struct Receiver {
    process: Child,
    out: Lines,
    /// `http://host:port`.
    pub endpoint: String,
}

/// A span as it arrived.
#[derive(Clone, Debug)]
pub struct Span(pub Value);

// === impl Receiver ===

impl Receiver {
    /// One that takes what comes.
    pub fn start() -> Self {
        Self::run("take", false)
    }

    /// One that takes requests and never answers.
    pub fn that_hangs() -> Self {
        Self::run("hang", false)
    }

    /// One with TLS, with the certificate of the tests' authority.
    pub fn with_tls() -> Self {
        Self::run("take", true)
    }

    fn run(mode: &str, tls: bool) -> Self {
        let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
        let mut command = Command::new(tools::python());
        command.arg(format!("{tests}/otlp-receiver/receiver.py")).arg(mode);
        if tls {
            command.args(["key", "pem"].map(|kind| format!("{tests}/suite/outbound/server.{kind}")));
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("python runs: tests/run installs it");
        let out = Lines::follow(process.stdout.take().unwrap());
        let port = out.find(|text| text.split_once('\n').map(|(port, _)| port.to_owned()));
        let port = port.expect("the receiver starts: tests/run installs what it needs");
        let endpoint = if tls { format!("https://localhost:{port}") } else { format!("http://127.0.0.1:{port}") };
        Self { process, out, endpoint }
    }

    /// Everything that arrived so far, as text.
    pub fn text(&self) -> String {
        self.out.text()
    }

    /// The requests of a signal, once `wanted` finds what it looks for in one of them.
    pub fn wait<T>(&self, signal: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
        let found = self.out.find(|text| requests(text, signal).iter().find_map(&wanted));
        found.unwrap_or_else(|| panic!("the receiver ended: {}", self.text()))
    }

    /// The metadata of the first request of a signal.
    pub fn metadata(&self, signal: &str) -> Value {
        self.wait_for_any(signal)["metadata"].clone()
    }

    pub fn wait_for_any(&self, signal: &str) -> Value {
        self.out.find(|text| requests_whole(text, signal).into_iter().next()).unwrap()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        requests(&self.text(), "traces").iter().flat_map(spans_of).collect()
    }

    /// The spans of a trace, once there are `count` of them.
    pub fn spans_of(&self, trace: &str, count: usize) -> Vec<Span> {
        let found = self.out.find(|text| {
            let spans: Vec<Span> = requests(text, "traces").iter().flat_map(spans_of).collect();
            let own: Vec<Span> = spans.into_iter().filter(|span| span.text("trace_id") == trace).collect();
            (own.len() >= count).then_some(own)
        });
        found.unwrap_or_else(|| panic!("the receiver ended: {}", self.text()))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// === impl Span ===

impl Span {
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        attribute(&self.0["attributes"], name)
    }
}

/// The value of an attribute in a list of them.
pub fn attribute<'a>(attributes: &'a Value, name: &str) -> Option<&'a str> {
    let found = attributes.as_array()?.iter().find(|attribute| attribute["key"] == name)?;
    found["value"]["string_value"].as_str()
}

fn requests_whole(text: &str, signal: &str) -> Vec<Value> {
    let lines = text.split_inclusive('\n').skip(1).filter(|line| line.ends_with('\n'));
    let requests = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    requests.filter(|request| request["signal"] == signal).collect()
}

fn requests(text: &str, signal: &str) -> Vec<Value> {
    requests_whole(text, signal).into_iter().map(|mut request| request["message"].take()).collect()
}

fn spans_of(request: &Value) -> Vec<Span> {
    let resources = request["resource_spans"].as_array().into_iter().flatten();
    let scopes = resources.flat_map(|resource| resource["scope_spans"].as_array().into_iter().flatten());
    scopes.flat_map(|scope| scope["spans"].as_array().into_iter().flatten()).cloned().map(Span).collect()
}

//! Runs helm over the cases of `values/`, once for all tests, and hands out what came of it.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
    thread,
};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::servers::installed;

/// The namespace of every case.
pub const NAMESPACE: &str = "auth";
/// Kinds that make pods, and where the pod stands in them.
const WORKLOADS: [(&str, &str); 3] = [("Deployment", "/spec/template"), ("StatefulSet", "/spec/template"), ("Pod", "")];

static RENDERED: LazyLock<Rendered> = LazyLock::new(Rendered::make);

/// What became of all cases.
#[derive(Deserialize)]
pub struct Rendered {
    documents: BTreeMap<String, Vec<Value>>,
    /// What a cluster would refuse, of any version.
    pub wrong: Vec<String>,
    /// How often a document was held to a version of Kubernetes.
    pub checked: usize,
    /// What checkov says.
    #[serde(skip)]
    pub checkov: Checkov,
}

#[derive(Default, Deserialize)]
pub struct Checkov {
    pub passed: usize,
    pub failed: Vec<Finding>,
}

/// A rule that a document does not keep.
#[derive(Deserialize)]
pub struct Finding {
    pub check_id: String,
    /// `Pod.auth.jeton-test`.
    pub resource: String,
    /// `/redis.yaml`.
    pub file_path: String,
    pub check_name: String,
}

pub fn rendered() -> &'static Rendered {
    &RENDERED
}

/// The chart.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("helm")
}

/// The files of `values/`, by name.
pub fn cases() -> BTreeMap<String, PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/chart/values");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path)).collect()
}

/// Runs helm on the chart.
pub fn helm(verb: &[&str], more: &[&str]) -> Output {
    // Its own settings and plugins are nobody's business here.
    let home = tempfile::tempdir().unwrap();
    Command::new(installed("JETON_TEST_HELM", "bin/helm"))
        .args(verb)
        .arg(chart())
        .args(["--namespace", NAMESPACE])
        .args(more)
        .env_clear()
        .env("HOME", home.path())
        .output()
        .expect("helm runs: tests/run installs it")
}

/// What `helm template` prints, or what it says against these values.
pub fn template(more: &[&str]) -> Result<String, String> {
    let output = helm(&["template", "jeton"], more);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// The pods that the documents make, each with the name of the document.
pub fn pods(documents: &[Value]) -> impl Iterator<Item = (&str, &Value)> {
    documents.iter().filter_map(|document| {
        let (_, place) = WORKLOADS.into_iter().find(|(kind, _)| document["kind"] == *kind)?;
        Some((document["metadata"]["name"].as_str()?, document.pointer(place)?))
    })
}

// === impl Rendered ===

impl Rendered {
    fn make() -> Self {
        // checkov passes over directories whose names begin with a dot.
        let dir = tempfile::Builder::new().prefix("chart-").tempdir().unwrap();
        for (case, values) in cases() {
            let text =
                template(&["--values", values.to_str().unwrap()]).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
            fs::write(dir.path().join(format!("{case}.yaml")), text).unwrap();
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/chart/documents.py");
        thread::scope(|scope| {
            let checkov = scope.spawn(|| Checkov::run(&dir));
            let output = python(&[script, dir.path().to_str().unwrap()], &dir);
            let mut rendered: Self = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
            rendered.checkov = checkov.join().unwrap();
            rendered
        })
    }

    pub fn cases(&self) -> impl Iterator<Item = (&str, &[Value])> {
        self.documents.iter().map(|(case, documents)| (case.as_str(), documents.as_slice()))
    }

    /// The documents of a kind.
    pub fn all<'a>(&'a self, case: &str, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.documents[case].iter().filter(move |document| document["kind"] == kind)
    }

    /// The first document of a kind.
    pub fn one<'a>(&'a self, case: &str, kind: &'a str) -> &'a Value {
        self.all(case, kind).next().unwrap_or_else(|| panic!("{case} has no {kind}"))
    }

    /// The pod of the service.
    pub fn pod(&self, case: &str) -> &Value {
        let server = |pod: &&Value| pod["metadata"]["labels"]["app.kubernetes.io/component"] == "server";
        pods(&self.documents[case]).map(|(_, pod)| pod).find(server).unwrap()
    }

    /// The configuration that it reads.
    pub fn toml(&self, case: &str) -> &str {
        self.one(case, "ConfigMap")["data"]["jeton.toml"].as_str().unwrap()
    }
}

// === impl Finding ===

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}: {}", self.file_path, self.resource, self.check_id, self.check_name)
    }
}

// === impl Checkov ===

impl Checkov {
    fn run(dir: &TempDir) -> Self {
        #[derive(Deserialize)]
        struct Report {
            results: Results,
            summary: Summary,
        }
        #[derive(Deserialize)]
        struct Results {
            failed_checks: Vec<Finding>,
        }
        #[derive(Deserialize)]
        struct Summary {
            passed: usize,
        }
        let path = dir.path().to_str().unwrap();
        let options = ["--framework", "kubernetes", "--output", "json", "--compact", "--quiet", "--skip-download"];
        let output = python(&[&["-m", "checkov.main", "--directory", path], options.as_slice()].concat(), dir);
        let report: Report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        Self { passed: report.summary.passed, failed: report.results.failed_checks }
    }
}

/// Isolated: what lies in the working directory is no module.
fn python(args: &[&str], home: &TempDir) -> Output {
    Command::new(installed("JETON_TEST_PYTHON", "venv/bin/python"))
        .arg("-I")
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .output()
        .expect("Python runs: tests/run installs it")
}

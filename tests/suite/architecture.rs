//! Holds the code to the table of docs/ARCHITECTURE.md, and the pages to the code.
//!
//! Reads the sources as text: paths of `use` and of expressions, without comments, strings and tests. That is less than
//! a compiler knows and enough for a direction.

mod circles;
mod walls;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use prost_reflect::DescriptorPool;

/// Which rooms each room may know. `app` and the thin files around it may know all.
const ROOMS: [(&str, &[&str]); 23] = [
    ("ambient", &[]),
    ("worker", &[]),
    ("failure", &[]),
    ("error", &["ambient"]),
    ("notation", &["error"]),
    ("metrics", &["worker"]),
    ("trace", &["ambient"]),
    ("outbound", &["ambient", "error"]),
    ("federation", &["ambient", "error", "outbound"]),
    ("keys", &["ambient", "error"]),
    ("storage", &["error"]),
    ("revocation", &["ambient", "error", "metrics", "storage", "trace", "worker"]),
    ("store", &["ambient", "error", "metrics", "revocation", "storage", "trace", "worker"]),
    ("outbox", &["ambient", "error", "keys", "metrics", "notation", "outbound", "storage", "store"]),
    ("core", &["ambient", "keys", "revocation", "store"]),
    ("directory", &["ambient", "core", "error", "keys", "metrics", "notation", "revocation", "store"]),
    (
        "issuer",
        &[
            "ambient",
            "core",
            "directory",
            "error",
            "federation",
            "keys",
            "metrics",
            "notation",
            "outbound",
            "outbox",
            "revocation",
            "store",
        ],
    ),
    ("serve", &["ambient", "worker"]),
    ("api", &["ambient", "directory", "error", "issuer", "keys", "metrics", "notation", "serve", "trace", "worker"]),
    // It uses messages and errors of the contract, both by their names.
    ("http", &["api", "error", "metrics", "serve", "telemetry"]),
    ("config", &["keys", "outbound", "outbox", "serve"]),
    ("telemetry", &["ambient", "config", "failure", "metrics", "trace"]),
    // The contract's descriptors are the only thing of the edge that commands need.
    ("cli", &["api", "config", "error"]),
];
/// They put the rooms together.
const ROOTS: [&str; 3] = ["app", "lib", "main"];

/// Which crates stay where. A place is the beginning of a path below `src/`.
const CRATES: [(&str, &[&str]); 19] = [
    ("tonic", &["api/", "cli/", "telemetry/otlp.rs", "app/parts.rs"]),
    ("opentelemetry", &["metrics/instruments.rs", "telemetry/otlp.rs", "trace.rs"]),
    ("opentelemetry_sdk", &["telemetry/otlp.rs", "trace.rs"]),
    ("opentelemetry_otlp", &["telemetry/otlp.rs"]),
    ("prometheus_client", &["metrics/text.rs"]),
    ("tonic_health", &["api/"]),
    ("tonic_reflection", &["api/"]),
    ("tonic_types", &["api/", "cli/"]),
    ("hyper", &["api/", "http/"]),
    ("axum", &["http/"]),
    ("rustls", &["serve/"]),
    ("tokio_rustls", &["serve/"]),
    ("x509_parser", &["serve/"]),
    // A client of its own would call private addresses.
    ("reqwest", &["outbound/"]),
    ("openidconnect", &["federation/"]),
    ("redis", &["store/redis/"]),
    ("redb", &["store/embedded/"]),
    ("clap", &["cli/", "config/"]),
    ("argon2", &["issuer/passwords.rs"]),
];

/// Sources of time and chance, and where they may be touched. A monotonic `tokio::time::Instant` is free: it measures
/// waits, it does not say when.
const AMBIENT: [(&str, &[&str]); 4] = [
    ("std::time::SystemTime", &["ambient.rs"]),
    ("std::time::Instant", &[]),
    ("std::time::UNIX_EPOCH", &["ambient.rs"]),
    // Making and using a signing key takes the library's own source; it cannot be passed in.
    ("aws_lc_rs::rand", &["ambient.rs", "keys/private.rs"]),
];

/// Files that make a `Status` besides `api/status.rs`, and why.
const STATUS: [(&str, &str); 2] = [
    ("api/edge/body.rs", "from_error: what the transport says about a broken request body"),
    ("cli/connection.rs", "internal: a codec on the client's side, which never leaves the process"),
];

/// Lines of a file without its tests. Beyond, it is hard to hold in the head.
const MAX_LINES: usize = 500;
/// Files that are longer, and why.
const LONG: [(&str, &str); 0] = [];

#[test]
fn rooms_know_only_what_lies_below_them() {
    let rooms: BTreeMap<_, _> = ROOMS.into_iter().collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let own = source.module[0].as_str();
        if ROOTS.contains(&own) {
            continue;
        }
        let Some(allowed) = rooms.get(own) else { panic!("{own} is no room of the table") };
        for path in source.paths() {
            let Some(room) = path.strip_prefix("crate::").map(first) else { continue };
            let is_room = rooms.contains_key(room) || ROOTS.contains(&room);
            if is_room && room != own && !allowed.contains(&room) {
                wrong.push(format!("{}: {path}", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "not in the table of rooms:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_composition_root_names_a_kind_of_store() {
    for source in sources() {
        let mut paths = source.paths().into_iter();
        let adapter = paths.find(|path| {
            ["redis", "embedded"].iter().any(|adapter| {
                path.starts_with(&format!("crate::store::{adapter}"))
                    && !source.name.starts_with(&format!("store/{adapter}/"))
            })
        });
        assert!(
            adapter.is_none() || source.name == "app.rs" || source.name.starts_with("app/"),
            "{}: {adapter:?}",
            source.name
        );
    }
}

#[test]
fn crates_stay_where_they_belong() {
    stay(&CRATES.map(|(name, places)| (name.to_owned(), places)));
}

#[test]
fn only_one_file_reads_the_clock_and_randomness() {
    stay(&AMBIENT.map(|(name, places)| (name.to_owned(), places)));
}

#[test]
fn only_one_file_makes_a_status() {
    const MAKERS: [&str; 21] = [
        "new",
        "with_details",
        "with_metadata",
        "with_details_and_metadata",
        "with_error_details",
        "from_error",
        "ok",
        "cancelled",
        "unknown",
        "invalid_argument",
        "deadline_exceeded",
        "not_found",
        "already_exists",
        "permission_denied",
        "resource_exhausted",
        "failed_precondition",
        "aborted",
        "out_of_range",
        "internal",
        "unavailable",
        "unauthenticated",
    ];
    for source in sources().into_iter().filter(|source| source.name != "api/status.rs") {
        let makes = source.paths().into_iter().find(|path| {
            let mut parts = path.rsplit("::");
            let (maker, of) = (parts.next().unwrap_or_default(), parts.next());
            of == Some("Status") && MAKERS.contains(&maker)
        });
        let excused = STATUS.iter().any(|(name, _)| *name == source.name);
        assert_eq!(makes.is_some(), excused, "{}: {makes:?}", source.name);
    }
}

#[test]
fn files_are_short_or_say_why_not() {
    for source in sources() {
        let excused = LONG.iter().any(|(name, _)| *name == source.name);
        assert_eq!(source.lines > MAX_LINES, excused, "{} has {} lines", source.name, source.lines);
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut links = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() {
                let target = fs::read_to_string(&target).unwrap();
                assert!(anchors(&target).contains(anchor), "{}: {link}", page.display());
            }
        }
    }
    assert!(links > 10, "only {links} links were read");
}

#[test]
fn every_method_of_the_contract_stands_on_the_first_page() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let pool = DescriptorPool::decode(jeton::api::DESCRIPTORS).unwrap();
    let ours = pool.services().filter(|service| service.package_name() == "jeton.v1");
    let missing: Vec<_> = ours
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| method.name().to_owned())
        .filter(|name| !words(&readme).contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in README.md: {missing:?}");
}

#[test]
fn the_page_for_who_moves_here_names_what_is_in_the_contract() {
    let page = fs::read_to_string(root().join("docs/migrating.md")).unwrap();
    let pool = DescriptorPool::decode(jeton::api::DESCRIPTORS).unwrap();
    let methods = pool.services().flat_map(|own| own.methods().collect::<Vec<_>>());
    let mut known: BTreeSet<String> = methods.map(|method| method.name().to_owned()).collect();
    let fields = pool.all_messages().flat_map(|own| own.fields().collect::<Vec<_>>());
    known.extend(fields.map(|field| field.name().to_owned()));
    // Names of enums without their prefixes.
    for value in pool.all_enums().flat_map(|own| own.values().collect::<Vec<_>>()) {
        known.extend(value.name().match_indices('_').map(|(at, _)| value.name()[at + 1..].to_owned()));
    }
    let mut seen = 0;
    for row in page.lines().filter(|row| row.starts_with('|')) {
        let right = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        // Calls with their fields, and the reasons of the last table.
        let calls = right.split('`').skip(1).step_by(2).filter(|code| code.contains(" {") || is_method(code));
        let reasons = right.split_once(": ").map_or("", |(_, reasons)| reasons);
        let reasons = words(reasons).into_iter().filter(|word| word.len() > 4 && word.contains('_') && is_upper(word));
        for word in calls.flat_map(words).chain(reasons).filter(|word| !word.is_empty()) {
            seen += 1;
            assert!(known.contains(word), "{word}: {row}");
        }
    }
    assert!(seen > 200, "only {seen} names were read");
}

/// Whether a text is one word with a capital inside: `RevokeToken`.
fn is_method(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(char::is_alphanumeric)
        && text.contains(|c: char| c.is_ascii_lowercase())
}

fn is_upper(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

#[test]
fn every_limit_of_the_operators_page_is_a_constant() {
    let page = fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    let mut rows = 0;
    for row in page.lines().filter(|row| row.starts_with('|')) {
        for place in row.split('`').filter(|code| code.contains(".rs ")) {
            rows += 1;
            let (file, name) = place.split_once(' ').unwrap();
            let folder = root().join(if file.starts_with("crates/") { "" } else { "src" });
            let source = fs::read_to_string(folder.join(file)).unwrap_or_default();
            assert!(words(&source).contains(name), "{place}");
        }
    }
    assert!(rows > 20, "only {rows} limits were read");
}

/// Fails where a path begins with one of `names` outside of its places.
fn stay(names: &[(String, &[&str])]) {
    let mut wrong = Vec::new();
    for source in sources() {
        for path in source.paths() {
            for (name, places) in names {
                let is_it = path == *name || path.starts_with(&format!("{name}::"));
                if is_it && !places.iter().any(|place| source.name.starts_with(place)) {
                    wrong.push(format!("{}: {path}", source.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "out of place:\n{}", wrong.join("\n"));
}

// === sources ===

/// One source file.
struct Source {
    /// `store/redis/log.rs`.
    name: String,
    /// `["store", "redis", "log"]`.
    module: Vec<String>,
    lines: usize,
    /// Without comments, strings and tests.
    code: String,
}

impl Source {
    /// Reads a file below `folder`.
    fn read(folder: &Path, path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        Self { module: Self::module(&name), name, lines: own.lines().count(), code: bare(own) }
    }

    /// The module that a file of this name is.
    fn module(name: &str) -> Vec<String> {
        let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if module.len() > 1 && module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        module
    }

    /// All paths that the file names, from `crate` or from a crate on, each once.
    fn paths(&self) -> BTreeSet<String> {
        let mut named = BTreeMap::new();
        let mut paths = BTreeSet::new();
        let mut rest = String::new();
        for (i, statement) in self.code.split_inclusive(';').enumerate() {
            let at = find_use(statement);
            rest += &statement[..at.unwrap_or(statement.len())];
            if let Some(at) = at {
                let mut flat = Vec::new();
                flatten("", statement[at + 4..].trim_end_matches(';'), &mut flat);
                for (path, name) in flat {
                    let path = self.absolute(&path);
                    paths.insert(path.clone());
                    named.insert(name, path);
                }
            }
            assert!(i < 100_000, "a file of this length is no source");
        }
        for path in rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
            let Some((head, tail)) = path.trim_start_matches("::").trim_end_matches(':').split_once("::") else {
                continue;
            };
            paths.insert(match named.get(head) {
                Some(full) => format!("{full}::{tail}"),
                None => self.absolute(&format!("{head}::{tail}")),
            });
        }
        paths
    }

    /// The path with `self` and `super` followed.
    fn absolute(&self, path: &str) -> String {
        let mut place = self.module.clone();
        let mut parts = path.split("::").peekable();
        if !matches!(parts.peek(), Some(&("self" | "super"))) {
            return path.to_owned();
        }
        while let Some(part) = parts.next_if(|part| matches!(*part, "self" | "super")) {
            if part == "super" {
                place.pop();
            }
        }
        let rest: Vec<String> = parts.map(str::to_owned).collect();
        [vec!["crate".to_owned()], place, rest].concat().join("::")
    }
}

/// Where a `use` begins that is a word of its own.
fn find_use(statement: &str) -> Option<usize> {
    let at = statement.find("use ")?;
    let before = statement[..at].chars().next_back();
    let is_word = before.is_none_or(|c| c.is_whitespace() || c == '{');
    is_word.then_some(at)
}

/// The paths of a `use` tree, each with the name that it is known by.
fn flatten(prefix: &str, tree: &str, out: &mut Vec<(String, String)>) {
    let tree = tree.trim();
    if let Some((head, inner)) = tree.split_once('{') {
        let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
        for branch in branches(inner) {
            flatten(&format!("{prefix}{}", head.trim()), branch, out);
        }
        return;
    }
    let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
    let full = format!("{prefix}{path}");
    let full = full.strip_suffix("::self").unwrap_or(&full).to_owned();
    let name = if name.is_empty() { full.rsplit("::").next().unwrap_or_default() } else { name };
    if !path.is_empty() {
        out.push((full.clone(), name.trim().to_owned()));
    }
}

/// Splits at the commas that stand in no inner braces.
fn branches(tree: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0_usize, 0, Vec::new());
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                found.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&tree[start..]);
    found
}

/// The code without what comments and strings say.
fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("'\"'") {
            3
        } else if c == '"' {
            quoted(rest)
        } else {
            bare.push(c);
            c.len_utf8()
        };
        rest = &rest[skip..];
    }
    bare
}

/// The length of the string that `text` begins with.
fn quoted(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Every file of the service, without those that are tests as a whole.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    below(&root().join("src"), "rs", &mut files);
    assert!(files.len() > 50, "only {} files were found", files.len());
    files.retain(|path| !path.ends_with("tests.rs"));
    files.iter().map(|path| Source::read(&root().join("src"), path)).collect()
}

/// Every page that people read.
fn pages() -> Vec<PathBuf> {
    let mut files = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    below(&root().join("docs"), "md", &mut files);
    files
}

fn below(dir: &Path, extension: &str, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            below(&path, extension, files);
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn first(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect()
}

/// What the headings of a page are linked by.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slug = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    headings.map(|heading| heading.chars().filter_map(slug).collect()).collect()
}

#[test]
fn the_reader_of_sources_sees_what_a_compiler_would() {
    let source = Source {
        name: "api/edge/mod.rs".to_owned(),
        module: vec!["api".to_owned(), "edge".to_owned()],
        lines: 1,
        code: bare(
            "use crate::{error::Error as Wrong, store::{self, redis::Redis}};\nuse super::status; // tonic::Status\n\
             fn f() -> &str { store::embedded::open(); status::of(); Wrong::new(); \"redb::x\" }\nuse tonic::Status;",
        ),
    };
    let paths = source.paths();
    for path in [
        "crate::store",
        "crate::store::redis::Redis",
        "crate::store::embedded::open",
        "crate::api::status::of",
        "crate::error::Error::new",
        "tonic::Status",
    ] {
        assert!(paths.contains(path), "{path}: {paths:?}");
    }
    assert!(!paths.iter().any(|path| path.starts_with("redb")), "{paths:?}");
}

//! Imports that go in a circle: files that can only be read together.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, sources};

/// The most files of one folder that may import each other in a circle.
const MAX_FILES: usize = 3;

#[test]
fn imports_go_in_no_circle() {
    let large = circles(&sources()).into_iter().filter(|circle| is_large(circle));
    let wrong: Vec<_> = large.map(|circle| format!("{} files: {}", circle.len(), circle.join(", "))).collect();
    assert!(wrong.is_empty(), "these import each other in a circle:\n{}", wrong.join("\n"));
}

/// Whether a circle has too many files, or spans folders.
fn is_large(circle: &[String]) -> bool {
    circle.len() > MAX_FILES || circle.iter().any(|name| folder(name) != folder(&circle[0]))
}

#[test]
fn a_circle_is_seen() {
    let source = |name: &str, code: &str| Source {
        name: name.to_owned(),
        module: Source::module(name),
        lines: 1,
        code: code.to_owned(),
    };
    let files = [
        source("a/mod.rs", "use self::one::One;"),
        source("a/one.rs", "use super::two::Two;"),
        source("a/two.rs", "use crate::b::B;"),
        source("b.rs", "use crate::a::one;"),
        source("c.rs", "use crate::{a, b};"),
    ];
    assert_eq!(circles(&files), [["a/one.rs", "a/two.rs", "b.rs"]]);
}

/// All sets of more than one file that import each other, directly or not.
fn circles(sources: &[Source]) -> Vec<Vec<String>> {
    let modules: BTreeMap<&[String], &str> =
        sources.iter().map(|source| (source.module.as_slice(), source.name.as_str())).collect();
    let imports: BTreeMap<&str, BTreeSet<&str>> =
        sources.iter().map(|source| (source.name.as_str(), imports(source, &modules))).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> = imports.keys().map(|name| (*name, reached(name, &imports))).collect();
    let mut found = BTreeSet::new();
    for (name, own) in &reached {
        let mut circle: Vec<_> = own.iter().filter(|other| reached[*other].contains(name)).collect();
        circle.sort();
        if circle.len() > 1 {
            found.insert(circle.into_iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        }
    }
    found.into_iter().collect()
}

/// The files that a file names something of.
fn imports<'s>(source: &Source, modules: &BTreeMap<&[String], &'s str>) -> BTreeSet<&'s str> {
    let mut found = BTreeSet::new();
    for path in source.paths() {
        let parts: Vec<String> = path.split("::").map(str::to_owned).collect();
        // From the root, or from the file's own module.
        let full = match parts.as_slice() {
            [root, rest @ ..] if root == "crate" => rest.to_vec(),
            own => [source.module.as_slice(), own].concat(),
        };
        let least = if parts[0] == "crate" { 1 } else { source.module.len() + 1 };
        let file = (least..=full.len()).rev().find_map(|length| modules.get(&full[..length]));
        found.extend(file.copied().filter(|name| *name != source.name));
    }
    found
}

fn reached<'s>(from: &str, imports: &BTreeMap<&'s str, BTreeSet<&'s str>>) -> BTreeSet<&'s str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = imports[from].iter().copied().collect();
    while let Some(name) = open.pop() {
        if reached.insert(name) {
            open.extend(imports[name].iter().copied());
        }
    }
    reached
}

fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

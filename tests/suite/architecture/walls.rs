//! The crates that verifiers use: what may be in their trees, and what their code may touch.

use std::process::Command;

use super::{Source, below, root};

/// The crates that others use.
const SHARED: [&str; 2] = ["contract", "core"];

/// What a program would get that only wants to verify tokens.
const HEAVY: [&str; 10] =
    ["axum", "hyper", "hyper-util", "jeton", "opentelemetry", "redb", "redis", "reqwest", "tokio", "tonic"];

/// What makes code impure. `std::time::SystemTime` is a type that core converts to and cannot read: `clippy.toml`.
const IMPURE: [&str; 8] = [
    "aws_lc_rs::rand",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
];

#[test]
fn who_verifies_tokens_builds_no_runtime_store_or_server() {
    for name in SHARED {
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
            .args(["--package", &format!("jeton-{name}")])
            .current_dir(root())
            .output()
            .unwrap();
        let text = String::from_utf8(tree.stdout).unwrap();
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let packages: Vec<_> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(packages.len() > 5, "only {packages:?} were read");
        let heavy: Vec<_> = packages.iter().filter(|package| HEAVY.contains(package)).collect();
        assert!(heavy.is_empty(), "jeton-{name} brings {heavy:?}");
    }
}

#[test]
fn what_verifiers_share_is_pure() {
    for name in SHARED {
        let folder = root().join("crates").join(name).join("src");
        let mut files = Vec::new();
        below(&folder, "rs", &mut files);
        assert!(files.len() > 3, "only {} files of {name} were found", files.len());
        for source in files.iter().map(|path| Source::read(&folder, path)) {
            let impure = source
                .paths()
                .into_iter()
                .find(|path| IMPURE.iter().any(|name| path == name || path.starts_with(&format!("{name}::"))));
            assert!(impure.is_none(), "{name}: {}: {impure:?}", source.name);
        }
    }
}

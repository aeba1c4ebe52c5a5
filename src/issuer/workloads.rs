//! The issuers of other platforms, as Kubernetes or SPIRE, whose workloads may call.

use std::{collections::BTreeMap, sync::Arc};

use crate::outbound::{
    Url,
    published::{KeyFile, Location},
};

/// The issuers whose workloads may call, each with its keys.
#[derive(Debug, Default)]
pub struct Workloads(BTreeMap<String, KeySource>);

/// Where the keys of an issuer come from.
#[derive(Debug)]
pub(super) enum KeySource {
    Url(Url),
    File(Arc<KeyFile>),
}

// === impl Workloads ===

impl Workloads {
    /// Trusts issuers (`iss`, exactly) by the key sets that they publish.
    pub fn new(issuers: impl IntoIterator<Item = (String, Location)>) -> Self {
        let source = |location| match location {
            Location::Url(url) => KeySource::Url(url),
            Location::File(path) => KeySource::File(Arc::new(KeyFile::new(path))),
        };
        Self(issuers.into_iter().map(|(issuer, location)| (issuer, source(location))).collect())
    }

    /// Reads all key sets in files. An issuer that publishes its keys at a URL may be down without holding up a start.
    ///
    /// # Errors
    /// All of those that cannot be used.
    pub fn check(&self) -> Result<(), String> {
        let read = |(issuer, source): (&String, &KeySource)| match source {
            KeySource::Url(_) => None,
            KeySource::File(file) => file.read().err().map(|error| format!("the keys of {issuer}: {error}")),
        };
        let wrong: Vec<String> = self.0.iter().filter_map(read).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// The keys of an issuer; `None`: its workloads may not call.
    pub(super) fn get(&self, issuer: &str) -> Option<&KeySource> {
        self.0.get(issuer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_key_sets_that_cannot_be_read_are_reported_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let (missing, broken) = (dir.path().join("missing"), dir.path().join("broken"));
        std::fs::write(&broken, "{}").unwrap();
        let issuers = [
            ("a".to_owned(), Location::File(missing)),
            ("b".to_owned(), Location::File(broken)),
            ("c".to_owned(), "https://down.example/keys".parse().unwrap()),
        ];
        let error = Workloads::new(issuers).check().unwrap_err();
        let all: Vec<_> = error.split("; ").collect();
        assert_eq!(all.len(), 2, "{error}");
        assert!(all[0].starts_with("the keys of a: ") && all[0].contains("missing"), "{error}");
        assert!(all[1].starts_with("the keys of b: ") && all[1].ends_with("it is no JWK Set"), "{error}");
        assert!(Workloads::default().check().is_ok());
    }
}

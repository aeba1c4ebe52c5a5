//! Update masks (AIP-134).

use jeton_contract::reason::Reason;

use crate::error::{Error, Result};

/// Which fields an update changes (AIP-134).
#[derive(Debug)]
pub struct Mask<'a>(Option<Vec<&'a str>>);

// === impl Mask ===

impl Mask<'static> {
    /// That of a message which creates something: what is set counts.
    pub const CREATION: Self = Self(None);
}

impl<'a> Mask<'a> {
    /// Reads a mask that may name `changeable` fields; one that ends with "." takes a key behind it.
    pub fn new(mask: Option<&'a prost_types::FieldMask>, resource: &str, changeable: &[&str]) -> Result<Self> {
        let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else {
            return Ok(Self(None));
        };
        let known = |path: &str| {
            changeable.iter().any(|field| match field.strip_suffix('.') {
                Some(map) => path.strip_prefix(map).is_some_and(|key| key.len() > 1 && key.starts_with('.')),
                None => *field == path,
            })
        };
        let mut error: Option<Error> = None;
        for (i, path) in mask.paths.iter().enumerate().filter(|(_, path)| *path != "*" && !known(path)) {
            let field = format!("update_mask.paths[{i}]");
            let description = format!("{path} is no field of {resource} that can be changed");
            let first = || Error::new(Reason::FieldImmutable, format!("update_mask: {description}"));
            error = Some(error.take().unwrap_or_else(first).with_violation(field, description));
        }
        match error {
            Some(error) => Err(error),
            None => Ok(Self(Some(mask.paths.iter().map(String::as_str).collect()))),
        }
    }

    /// Whether `field` is changed; without a mask those that are set.
    pub fn changes(&self, field: &str, is_set: bool) -> bool {
        let Some(paths) = &self.0 else { return is_set };
        let parent = field.split_once('.').map(|(parent, _)| parent);
        paths.iter().any(|path| *path == "*" || *path == field || Some(*path) == parent)
    }

    /// Whether it names the field itself.
    pub fn names(&self, field: &str) -> bool {
        self.0.as_ref().is_some_and(|paths| paths.contains(&field))
    }

    /// The keys of `map` that are named one by one.
    pub fn keys(&self, map: &str) -> impl Iterator<Item = &'a str> {
        let paths = self.0.clone().unwrap_or_default();
        let prefix = format!("{map}.");
        paths.into_iter().filter_map(move |path| path.strip_prefix(&prefix))
    }
}

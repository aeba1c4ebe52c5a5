//! What only one record may have, and the refusal of a change that breaks it.

use jeton_contract::reason::Reason;

use super::Kind;
use crate::error::Error;

/// A sort of unique names. Declared once, beside the record that has such names, with what it means that one is taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Name {
    pub kind: Kind,
    /// Which names of that kind: "foreign_id", "registration_id".
    pub field: &'static str,
    pub taken: Refusal,
}

/// A unique name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    pub name: &'static Name,
    pub value: String,
}

/// The refusal of a change that breaks a rule which only the store can judge. It stands with the rule: with the names
/// that are unique, or with the index that must be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub message: &'static str,
    /// What has the name already, as its message in the contract; `None`: the refusal does not repeat the name.
    pub resource: Option<&'static str>,
}

// === impl Unique ===

impl Unique {
    /// What it means that another id holds the name.
    pub fn taken(self) -> Error {
        let error = self.name.taken.error();
        match self.name.taken.resource {
            Some(resource) => error.with_resource(resource, self.value),
            None => error,
        }
    }
}

// === impl Refusal ===

impl Refusal {
    pub const fn new(reason: Reason, message: &'static str) -> Self {
        Self { reason, message, resource: None }
    }

    pub fn error(self) -> Error {
        Error::new(self.reason, self.message)
    }
}

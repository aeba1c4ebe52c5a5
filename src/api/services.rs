//! The handlers' object.

use std::sync::Arc;

use jeton_core::Time;

use crate::{directory::Directory, issuer::Issuer};

/// The services of the contract. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Services {
    pub(super) directory: Arc<Directory>,
    pub(super) issuer: Arc<Issuer>,
}

// === impl Services ===

impl Services {
    pub const fn new(directory: Arc<Directory>, issuer: Arc<Issuer>) -> Self {
        Self { directory, issuer }
    }

    pub(super) fn now(&self) -> Time {
        self.issuer.now()
    }
}

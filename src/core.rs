//! What the directory and the issuer both work with, made once for a replica.

use std::{fmt, sync::Arc};

use jeton_core::Time;
use tokio_util::task::TaskTracker;

use crate::{ambient::Clock, keys::ring::Keyring, revocation::follower::Follower, store::Store};

/// The store, the revocation log, the master keys, the clock, and the work that goes on after replies.
pub struct Core {
    pub store: Arc<dyn Store>,
    /// The revocation log, followed into memory.
    pub log: Arc<Follower>,
    pub ring: Arc<Keyring>,
    pub clock: Clock,
    /// Work that goes on after a reply.
    pub tasks: TaskTracker,
}

// === impl Core ===

impl Core {
    pub fn now(&self) -> Time {
        self.clock.now()
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("store", &self.store).finish_non_exhaustive()
    }
}

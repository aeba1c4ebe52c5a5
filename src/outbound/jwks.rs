//! Key sets of others, by URL, kept for a while.
//!
//! Promises what [`Documents`] does: a stranger's tokens with made-up key ids cause next to no fetches, and who has a
//! known key is not kept waiting by them.

use std::{sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

use super::{
    Outbound, Url,
    documents::{Documents, Kind, Outcome},
    key_set::{Fault, KeySet},
};
use crate::ambient::Clock;

/// Remembers key sets.
#[derive(Debug)]
pub struct JwksCache(Documents<KeySet>);

/// How long a set is fresh if its source does not say.
pub const FRESH: Duration = Duration::from_secs(600);

// === impl JwksCache ===

impl JwksCache {
    pub fn new(outbound: Arc<Outbound>, clock: Clock, tasks: TaskTracker) -> Self {
        let kind =
            Kind { name: "a key set", fresh: FRESH, parse: |document| KeySet::parse(document).map_err(Fault::text) };
        Self(Documents::new(kind, outbound, clock, tasks))
    }

    /// The keys at `url`: fresh ones, and fetched anew if they have none called `kid`. It may still be missing.
    ///
    /// Waits for a fetch at most as long as one call may take; may be dropped at any time.
    ///
    /// # Errors
    /// Of the last fetch, if there are no keys of the last [`MAX_STALE`](super::documents::MAX_STALE).
    pub async fn keys(&self, url: &Url, kid: Option<&str>) -> Outcome<KeySet> {
        self.0.get(url, |keys| kid.is_none_or(|kid| keys.knows(kid))).await
    }
}

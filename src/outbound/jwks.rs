//! Key sets of other services, cached by URL.
//!
//! Promises what [`Documents`] does: tokens with made-up key ids cause few fetches, and callers with known keys do not wait
//! for them.

use std::{sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

use super::{
    Outbound, Url,
    documents::{DocumentType, Documents, Outcome},
    key_set::{Fault, KeySet},
};
use crate::ambient::Clock;

/// A cache of key sets.
#[derive(Debug)]
pub struct JwksCache(Documents<KeySet>);

/// How long a set is fresh if its source does not say.
pub const FRESH: Duration = Duration::from_secs(600);

// === impl JwksCache ===

impl JwksCache {
    pub fn new(outbound: Arc<Outbound>, clock: Clock, tasks: TaskTracker) -> Self {
        let document_type = DocumentType {
            name: "a key set",
            fresh: FRESH,
            parse: |document| KeySet::parse(document).map_err(Fault::text),
        };
        Self(Documents::new(document_type, outbound, clock, tasks))
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

//! Caches of records, kept true by the log.
//!
//! A loaded record is cached only if no entry that names it was applied, and no state map loaded, since its load began:
//! a slow load must not put "enabled" back over "disabled". Each entry drops the copies that it names; a line change
//! drops all; and no copy lives longer than [`MAX_AGE`], lest one that a failover lost stays for ever.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use jeton_core::{
    Ident,
    state::{State, Ticket},
};
use tokio::time::Instant;

use crate::metrics::{Event, Metrics, labels};

/// The longest that a copy is believed.
pub const MAX_AGE: Duration = Duration::from_secs(60);

/// A bounded cache of one kind of record, absence included.
pub struct Cache<K, V> {
    /// Which copy an entry about an identifier outdates.
    named: fn(&Ident) -> Option<K>,
    copies: quick_cache::sync::Cache<K, Copy<V>>,
    seen: Seen,
}

/// Where look-ups are counted, and as those of which cache.
#[derive(Clone, Debug)]
pub struct Seen(pub Arc<Metrics>, pub labels::Cache);

#[derive(Clone)]
struct Copy<V> {
    value: V,
    loaded: Instant,
}

/// What the follower asks of every cache.
pub trait Invalidate: Send + Sync {
    /// Drops the copy that an entry about `ident` outdates.
    fn outdate(&self, ident: &Ident);
    /// Drops all copies.
    fn clear(&self);
}

// === impl Cache ===

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    /// A cache of up to `capacity` copies; `named` tells which copy an entry about an identifier outdates.
    pub fn new(capacity: usize, seen: Seen, named: fn(&Ident) -> Option<K>) -> Self {
        Self { named, copies: quick_cache::sync::Cache::new(capacity), seen }
    }

    /// The copy, unless it is too old.
    pub fn get(&self, key: &K) -> Option<V> {
        let found = self.find(key);
        let Seen(metrics, cache) = &self.seen;
        metrics.count(if found.is_some() { Event::CacheHit(*cache) } else { Event::CacheMissed(*cache) });
        found
    }

    fn find(&self, key: &K) -> Option<V> {
        let copy = self.copies.get(key)?;
        if copy.loaded.elapsed() >= MAX_AGE {
            self.copies.remove(key);
            return None;
        }
        Some(copy.value)
    }

    /// Caches what a load that began at `ticket` returned, if it is still true. `state` stays locked meanwhile, so no
    /// entry can come between the judgement and the insertion.
    pub fn fill(&self, state: &State, ticket: Ticket, began: Instant, key: K, value: V) {
        if state.unchanged_since(ticket, |ident| (self.named)(ident).as_ref() == Some(&key)) {
            self.copies.insert(key, Copy { value, loaded: began });
        }
    }
}

impl<K: Eq + Hash + Clone + Send + Sync, V: Clone + Send + Sync> Invalidate for Cache<K, V> {
    fn outdate(&self, ident: &Ident) {
        if let Some(key) = (self.named)(ident) {
            self.copies.remove(&key);
        }
    }

    fn clear(&self) {
        self.copies.clear();
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

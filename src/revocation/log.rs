//! The log as it is kept: the port that a store of it implements.
//!
//! It promises: an append that returned `Ok` is durable; one that returned an error has an unknown outcome that converges
//! when it is repeated.

use std::time::Duration;

use async_trait::async_trait;
use jeton_core::{
    Ident, Position,
    entry::{Entry, LogEntry, Slot},
};

use crate::storage::Result;

/// The port.
#[async_trait]
pub trait Log: Send + Sync {
    /// The log's confirmed head, and the entries after `after`, oldest first.
    ///
    /// Confirmed: an acknowledged append is never above a head that is returned later, whatever fails over meanwhile.
    /// This call also raises the line if the store's history may have forked since the last one.
    async fn tail(&self, after: Position) -> Result<Tail>;

    /// Appends entries, in this order, and merges them into the state map. Returns the position of the last one.
    async fn append(&self, entries: &[Entry]) -> Result<Position>;

    /// One page of the state map, as `cursor` of the page before says. Entries that are appended meanwhile may be missing:
    /// follow from a head that was read before the first page. Confirmed, as the head is: a page may come over another
    /// connection than the head did, from a primary that was replaced.
    async fn state_page(&self, cursor: Option<String>) -> Result<StatePage>;
}

/// The end of the log.
#[derive(Debug, Clone)]
pub struct Tail {
    /// The confirmed head.
    pub head: Position,
    /// Entries after the position asked for, oldest first, at most [`TAIL_LIMIT`]; the last one stands at `head` unless
    /// there are more than that, or `head` was only raised.
    pub entries: Vec<LogEntry>,
    /// There are more entries up to `head`: ask again from the last one.
    pub more: bool,
    /// Entries after the position asked for were trimmed, or it stands above the head: load the state map instead.
    pub gap: bool,
}

/// One page of the state map.
#[derive(Debug)]
pub struct StatePage {
    pub slots: Vec<(Ident, Slot)>,
    /// Opens the next page; `None`: this was the last one.
    pub next: Option<String>,
}

/// How long the log's entries are kept for followers; who was away longer loads the state map.
pub const LOG_RETENTION: Duration = Duration::from_secs(3600);
/// The most entries that one [`Log::tail`] returns.
pub const TAIL_LIMIT: usize = 1000;

//! How fresh the log's head has to be that a call is judged by.

use jeton_contract::reason::Reason;
use jeton_core::Position;

use super::Issuer;
use crate::error::{Error, Result};

/// How fresh a judgement must be.
#[derive(Clone, Copy, Debug)]
pub enum Freshness {
    /// As of a head that is confirmed after the call began.
    Full { min: Option<Position> },
    /// As of a confirmed head that was asked for under a second ago; no store call.
    Bounded { min: Option<Position> },
}

/// The default of every call.
pub const FULL: Freshness = Freshness::Full { min: None };

// === impl Freshness ===

impl Freshness {
    /// Whether a token that was issued at `rev` belongs to the history that ends at `head`. Above a head that was read
    /// after the token was issued stands only what a restored store has lost, and revocations would not reach it.
    pub(super) fn has_seen(self, rev: Position, head: Position) -> bool {
        match self {
            Self::Full { .. } => rev <= head,
            // Memory may be a moment behind the replica that issued it.
            Self::Bounded { .. } => true,
        }
    }
}

// === impl Issuer ===

impl Issuer {
    /// The log's head, with every entry up to it applied.
    pub async fn reach(&self, freshness: Freshness) -> Result<Position> {
        let follower = &self.core.log;
        let (head, min) = match freshness {
            Freshness::Full { min } => (follower.head().await?, min),
            Freshness::Bounded { min } => (follower.bounded()?, min),
        };
        if min.is_some_and(|min| head < min) {
            return Err(Error::new(Reason::Stale, "the position that was asked for is not reached"));
        }
        Ok(head)
    }
}

//! The store: what must survive, and how to reach it.
//!
//! [`Store`] is the sum of small ports, written for what the domain needs: the revocation log ([`Log`]), tenants'
//! directories ([`Records`]), what is issued ([`Tokens`]), and how the store itself is ([`Health`]). [`embedded`] and
//! [`redis`] implement them and are held to one conformance suite (`tests/suite/store.rs`). They promise: a mutation that
//! returned `Ok` is durable; one that returned an error has an unknown outcome that converges when it is repeated; nothing
//! is half done.
//!
//! Invariant: the store knows records as bytes with a version and an expiry, and decides nothing about tokens. Expiry is
//! decided by the `now` that is passed in; what a store removes by itself is garbage collection only.
//!
//! Start reading at [`Records`] and [`Tokens`].

use std::fmt;

use async_trait::async_trait;

use crate::{revocation::log::Log, storage::Result};

pub mod embedded;
mod kind;
pub mod observed;
mod records;
pub mod redis;
mod session;
mod tokens;
mod unique;

pub use kind::Kind;
pub use records::{Change, Index, Put, Record, RecordKey, Records, Request, Row, Written};
pub use session::{Ended, SESSION_MARGIN, Session, SessionConflict, SessionKey, SessionMint};
pub use tokens::{
    Existing, FamilyConflict, FamilyMint, FamilyRecord, IndexEntry, Mint, Minted, PRUNE_MARGIN, SubjectKey, TokenMint,
    Tokens,
};
pub use unique::{Name, Refusal, Unique};

/// All that the service keeps, in one place.
pub trait Store: Log + Records + Tokens + Health + fmt::Debug {}

impl<S: Log + Records + Tokens + Health + fmt::Debug> Store for S {}

/// How the store itself is.
#[async_trait]
pub trait Health: Send + Sync {
    /// Whether the store can be reached and written; for readiness.
    async fn ping(&self) -> Result<()>;

    /// What the operator should know about how the store is set up, found at start.
    fn warnings(&self) -> Vec<String>;
}

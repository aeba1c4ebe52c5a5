//! The revocation log: the ordered list of everything that was invalidated.
//!
//! Every invalidation is one small entry at a [`Position`](jeton_core::Position). A token carries `rev`, the log's
//! confirmed head when it was issued; it is revoked exactly when the log holds a revoke entry above its `rev` that names
//! one of its identifiers. So revoke-everything costs one entry, what was issued before is dead, and what is issued after
//! is alive, without comparing clocks.
//!
//! Promises: [`follower::Follower`] never answers from a copy that is older than the head it asked for; [`cache::Cache`]
//! never holds a record that an entry applied since the load began has outdated.
//!
//! Start reading at [`jeton_core::entry`] (what is in the log), then [`jeton_core::state`] (what it means), then [`log`] (how
//! it is kept) and [`follower`]; [`jeton_core::retention`] says for how long anything is remembered.

pub mod cache;
pub mod follower;
mod gate;
pub mod log;

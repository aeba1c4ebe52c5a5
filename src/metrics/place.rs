//! Where a worker's cells begin, each block behind the one before.

use jeton_contract::reason::Reason;

use super::{
    labels::{Activity, Cache, Code, Delivery, Grant, Lane, Operation, Revoked, Signal},
    values::BUCKETS,
};

/// The cells of a distribution: its buckets, and the sum in nanoseconds.
pub const DISTRIBUTION: usize = BUCKETS + 1;
/// The cells of a method: how many calls began, and how long they took by code.
pub const METHOD: usize = 1 + Code::ALL.len() * DISTRIBUTION;

pub const ISSUED: usize = 0;
pub const RENEWED: usize = ISSUED + Grant::ALL.len();
pub const REPLAYED: usize = RENEWED + 1;
pub const REUSE_DETECTED: usize = REPLAYED + 1;
pub const REVOKED: usize = REUSE_DETECTED + 1;
pub const INTROSPECTED: usize = REVOKED + Revoked::ALL.len();
pub const SHED: usize = INTROSPECTED + Activity::ALL.len();
pub const FAILED: usize = SHED + Lane::ALL.len();
pub const CACHE_HIT: usize = FAILED + Reason::ALL.len();
pub const CACHE_MISSED: usize = CACHE_HIT + Cache::ALL.len();
pub const STORE_FAILED: usize = CACHE_MISSED + Cache::ALL.len();
pub const DELIVERED: usize = STORE_FAILED + Operation::ALL.len();
pub const SPAN_DROPPED: usize = DELIVERED + Delivery::ALL.len();
pub const EXPORT_FAILED: usize = SPAN_DROPPED + 1;
pub const CONNECTION_OPENED: usize = EXPORT_FAILED + Signal::ALL.len();
pub const CONNECTION_CLOSED: usize = CONNECTION_OPENED + 1;
pub const STORE: usize = CONNECTION_CLOSED + 1;
pub const METHODS: usize = STORE + Operation::ALL.len() * DISTRIBUTION;

//! How callers write what has no type in protobuf: filters of lists, lifetimes, moments, permissions.
//!
//! Invariant: no I/O, no clock, nothing asynchronous; everything here can be tested by calling it.

pub mod filter;
pub mod lifetime;
pub mod moment;
pub mod permission;

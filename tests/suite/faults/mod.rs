//! The real binary under faults: processes that are killed, frozen and drained while they are called, and servers of
//! the store that are, too.
//!
//! What the service promises is looked at from outside only: by its contract, its exit code and what it writes.
//! [`process`] starts the binary, [`calls`] calls it, [`history`] makes load and remembers what was acknowledged.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

pub mod calls;
mod canary;
mod cancel;
mod crash;
mod drain;
mod freeze;
mod history;
mod operator;
pub mod process;
mod races;
mod start;

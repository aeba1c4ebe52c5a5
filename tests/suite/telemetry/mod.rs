//! What the service says about itself, as receivers get it: the real binary and a real OTLP receiver.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod export;
pub mod page;
pub mod receiver;
mod rules;

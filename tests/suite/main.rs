//! All tests that need a running part of the service, in one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

mod edge;

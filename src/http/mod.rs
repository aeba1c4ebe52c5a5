//! Plain HTTP: OAuth 2, and the admin listener.
//!
//! Invariant: adds no rule of its own to what the verbs do.

pub mod admin;
pub mod oauth;
mod protocol;

pub use protocol::Http;

//! What is spoken in plain HTTP: OAuth 2, and the admin listener.
//!
//! Invariant: adds no rule of its own to what the verbs do.

pub mod admin;
mod face;
pub mod oauth;

pub use face::Http;

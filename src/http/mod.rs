//! What is spoken in plain HTTP: the admin listener.
//!
//! Invariant: adds no rule of its own to what the verbs do.

pub mod admin;
mod face;

pub use face::Http;

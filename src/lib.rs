//! jeton: a gRPC service that issues, renews, lists, introspects and revokes access tokens.
//!
//! Dependencies point one way: `app` → `api`, `cli` → `issuer`, `directory` → `revocation`, `keys`, `store` → `error`.
//! The nouns are [`jeton_core`]'s.
//! Start reading at [`app`], or, for what the service is about, at [`jeton_core`] and [`issuer`].

pub mod ambient;
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod core;
pub mod directory;
pub mod error;
pub mod failure;
pub mod federation;
pub mod http;
pub mod issuer;
pub mod keys;
pub mod metrics;
pub mod notation;
pub mod outbound;
pub mod outbox;
pub mod revocation;
pub mod serve;
pub mod storage;
pub mod store;
pub mod telemetry;
pub mod trace;
pub mod worker;

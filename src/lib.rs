//! jeton: a gRPC service that issues, renews, lists, introspects and revokes access tokens.
pub mod ambient;
pub mod app;
pub mod cli;
pub mod config;
pub mod revocation;
pub mod store;
pub mod telemetry;
pub mod token;
pub mod worker;

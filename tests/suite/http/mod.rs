//! The protocols over plain HTTP.

pub mod admin;
mod client;
mod clients;
mod documents;
mod envoy;
mod grants;
mod introspection;
mod limits;
mod refusals;
mod revocation;

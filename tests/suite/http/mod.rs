//! What is spoken in plain HTTP.

mod admin;
mod client;
mod documents;
mod grants;
mod introspection;
mod limits;
mod refusals;
mod revocation;

//! What is spoken in plain HTTP.

pub mod admin;

//! What is spoken in plain HTTP.

mod admin;

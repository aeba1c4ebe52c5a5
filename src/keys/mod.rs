//! Keys: the master key and what is derived from it, and the tenants' signing keys.
//!
//! Promises: no key leaves this folder in clear, is logged, or is stored unsealed; keys are wiped when dropped. Signing
//! keys are announced before they sign and verify until the last token that they signed has expired.
//!
//! Start reading at [`ring::Keyring`] (derived secrets, sealing) [`stored`] (the life of a signing key) and [`signing`] (JWTs).

pub mod code;
pub mod foreign;
pub mod jwk;
pub mod jwt;
pub mod master;
mod private;
pub mod ring;
pub mod signing;
pub mod stored;

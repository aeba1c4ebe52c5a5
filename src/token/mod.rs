//! The nouns: ids, positions, scopes, secrets, tokens, families, and the rules that are pure functions of them.
//!
//! Promises: whatever exists as one of these types is well formed. Invariant: no I/O, no clock, no randomness of its own,
//! nothing asynchronous; everything here can be tested by calling it.
//!
//! Start reading at [`access::AccessToken`] and [`family::Family`].

pub mod access;
pub mod authentication;
pub mod base62;
pub mod claims;
pub mod code;
pub mod email;
pub mod error;
pub mod family;
pub mod filter;
pub mod id;
pub mod ident;
pub mod lifetime;
pub mod moment;
pub mod permission;
pub mod position;
pub mod scope;
pub mod secret;

pub use access::{AccessToken, Actor, Format, Subject};
pub use authentication::Authentication;
pub use error::{Error, Reason, Result};
pub use family::Family;
pub use id::{AccountId, ClientId, FamilyId, GroupId, IdentityProfileId, MemberId, RoleId, TenantId, TokenId};
pub use ident::Ident;
pub use position::Position;
pub use scope::Scopes;

/// Encodes what the store keeps.
fn to_record(value: &impl minicbor::Encode<()>) -> Vec<u8> {
    let mut record = Vec::with_capacity(256);
    // Writing to memory cannot fail.
    let written = minicbor::encode(value, &mut record);
    debug_assert!(written.is_ok());
    record
}

//! The nouns: those of [`jeton_core`], and what only the service needs.
//!
//! Promises: whatever exists as one of these types is well formed. Invariant: no I/O, no clock, no randomness of its own,
//! nothing asynchronous; everything here can be tested by calling it.

pub mod code;
pub mod error;
pub mod filter;
pub mod lifetime;
pub mod moment;
pub mod permission;

pub use error::{Error, Reason, Result};
pub use jeton_contract::email;
pub use jeton_core::{
    AccessToken, AccountId, Actor, Authentication, ClientId, Family, FamilyId, Format, GrantType, GroupId, Ident,
    IdentityProfileId, MemberId, Position, RoleId, Scopes, Subject, TenantId, TokenId, access, authentication, base62,
    claims, family, id, ident, position, scope, secret,
};

//! What jeton and everyone who verifies its tokens share: ids, scopes, tokens, families, the entries of the revocation log
//! and what they mean, public keys and the verification of JWTs.
//!
//! Promises: whatever exists as one of these types is well formed. Invariant: no I/O, no clock, no randomness, nothing
//! asynchronous; what a rule needs to know of the time or of chance is passed in. Everything here can be tested by calling
//! it.
//!
//! Start reading at [`access::AccessToken`] and [`family::Family`], then [`entry`] (what is in the log) and [`state`] (what
//! it means).

pub mod access;
pub mod actor;
pub mod audience;
pub mod authentication;
pub mod base62;
pub mod claims;
pub mod entry;
pub mod family;
pub mod grant;
pub mod id;
pub mod ident;
pub mod jwt;
pub mod position;
pub mod public_key;
pub mod retention;
pub mod scope;
pub mod secret;
pub mod source;
pub mod state;
pub mod subject;
pub mod text;
pub mod time;

pub use access::{AccessToken, Format};
pub use actor::Actor;
pub use audience::Audience;
pub use authentication::Authentication;
pub use family::Family;
pub use grant::GrantType;
pub use id::{AccountId, ClientId, FamilyId, GroupId, IdentityProfileId, MemberId, RoleId, TenantId, TokenId};
pub use ident::Ident;
pub use position::Position;
pub use scope::Scopes;
pub use source::Source;
pub use subject::{Lineage, Subject};
pub use text::{Json, KeyId, SessionId};
pub use time::Time;

/// Encodes what the store keeps.
fn to_record(value: &impl minicbor::Encode<()>) -> Vec<u8> {
    let mut record = Vec::with_capacity(256);
    // Writing to memory cannot fail.
    let written = minicbor::encode(value, &mut record);
    debug_assert!(written.is_ok());
    record
}

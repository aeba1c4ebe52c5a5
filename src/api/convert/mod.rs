//! Between wire and domain. A file of this folder has the conversions of one kind of record or request: what a message
//! wants of the domain (`create`, `update`, `query`), and how a record looks on the wire (`to_wire`).
//!
//! Invariant: nothing here calls the domain; a conversion fails only because of what the message says.

pub(super) mod access_token;
pub(super) mod account;
pub(super) mod client;
pub(super) mod group;
pub(super) mod group_member;
pub(super) mod issue;
mod json;
mod mask;
pub(super) mod member;
pub(super) mod membership;
pub(super) mod profile;
pub(super) mod revoke;
pub(super) mod role;
pub(super) mod secret;
pub(super) mod settings;
pub(super) mod signin;
pub(super) mod tenant;

use std::time::Duration;

use jeton_core::{Position, SessionId, Time};
use prost::Message;

pub use self::json::{CLAIMS, OPTIONS, from_json, to_json};
use self::mask::Mask;
use super::wire;
use crate::{
    directory::commit::Repeat,
    error::{Error, Result},
    keys::{ring::digest128, stored::StoredKey},
};

/// What makes a call repeatable, if it has a request id. `body` is the request without its id and credentials.
pub fn repeat(request_id: &str, method: &'static str, body: &impl Message) -> Result<Option<Repeat>> {
    if request_id.is_empty() {
        return Ok(None);
    }
    let request_id = request_id.parse().map_err(|_| Error::field("request_id", "must be a UUID"))?;
    Ok(Some(Repeat { request_id, method, body: digest128(&[&body.encode_to_vec()]) }))
}

// === texts and numbers ===

/// `None` for an empty string: in proto3, unset and empty are the same.
pub fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// The same of a string that is taken out of its message.
pub fn set(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A session's id, as `field` of a message has it.
pub fn session_id(field: &str, text: &str) -> Result<SessionId> {
    text.parse().map_err(|_| Error::field(field, "must be up to 128 visible characters of ASCII"))
}

/// A text that the field of this name must have.
pub fn required(field: &str, text: String) -> Result<String> {
    set(text).ok_or_else(|| Error::field(field, "must be set"))
}

pub fn size(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A call names at most 1,000 accounts, and an account has at most 1,000 members.
pub fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

// === time ===

pub fn timestamp(time: Time) -> prost_types::Timestamp {
    let millis = time.as_millis();
    prost_types::Timestamp {
        seconds: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(millis % 1000).unwrap_or(0) * 1_000_000,
    }
}

/// A moment; `None`: never.
pub fn moment(time: Time) -> Option<prost_types::Timestamp> {
    (!time.is_never()).then(|| timestamp(time))
}

pub fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// A duration that is not negative.
pub fn positive(field: &str, duration: prost_types::Duration) -> Result<Duration> {
    duration.try_into().map_err(|_| Error::field(field, "must be a duration that is not negative"))
}

pub fn position(position: Position) -> String {
    position.to_string()
}

// === keys ===

pub fn jwk(key: &StoredKey) -> Result<wire::JsonWebKey> {
    let value =
        serde_json::to_value(key.jwk()?).map_err(|source| Error::internal("write a public key").with_source(source))?;
    let text = |name: &str| value.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    Ok(wire::JsonWebKey {
        kty: text("kty"),
        r#use: text("use"),
        alg: text("alg"),
        kid: text("kid"),
        crv: text("crv"),
        x: text("x"),
        y: text("y"),
        n: text("n"),
        e: text("e"),
    })
}

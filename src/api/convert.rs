//! Between wire and domain: the conversions that several services share.

use std::{sync::LazyLock, time::Duration};

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use tonic::{Response, Status};

use super::{DESCRIPTORS, status, wire};
use crate::{
    ambient::Time,
    directory::commit::Repeat,
    keys::{ring::digest128, signing::StoredKey},
    token::{Error, Position, Reason, Result, access::Json},
};

static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).ok());

/// The reply of a handler.
pub async fn answer<T>(work: impl Future<Output = Result<T>>) -> Result<Response<T>, Status> {
    work.await.map(Response::new).map_err(status::of)
}

/// What makes a call repeatable, if it has a request id. `body` is the request without its id and credentials.
pub fn repeat(request_id: &str, method: &'static str, body: &impl Message) -> Result<Option<Repeat>> {
    if request_id.is_empty() {
        return Ok(None);
    }
    let request_id = request_id.parse().map_err(|_| Error::field("request_id", "must be a UUID"))?;
    Ok(Some(Repeat { request_id, method, body: digest128(&[&body.encode_to_vec()]) }))
}

/// `None` for an empty string: proto3 does not tell unset from empty.
pub fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
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

// === JSON ===

/// A message as proto JSON, unset fields absent.
pub fn to_json(name: &str, message: &impl Message) -> Result<Json> {
    let failed = |what: &'static str| Error::internal(what);
    let pool = POOL.as_ref().ok_or_else(|| failed("read the descriptors"))?;
    let descriptor = pool.get_message_by_name(name).ok_or_else(|| failed("find a message's descriptor"))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|source| failed("read a message by its descriptor").with_source(source))?;
    let mut text = serde_json::Serializer::new(Vec::new());
    dynamic
        .serialize_with_options(&mut text, &SerializeOptions::new())
        .map_err(|_| Error::field("claims", "must be representable as JSON: numbers must be finite"))?;
    let text = String::from_utf8(text.into_inner()).map_err(|source| failed("write JSON").with_source(source))?;
    Ok(Json::new(text))
}

/// The message of a proto JSON text that [`to_json`] wrote.
pub fn from_json<M: Message + Default>(name: &str, json: &Json) -> Result<M> {
    let failed = |what: &'static str| Error::internal(what);
    let pool = POOL.as_ref().ok_or_else(|| failed("read the descriptors"))?;
    let descriptor = pool.get_message_by_name(name).ok_or_else(|| failed("find a message's descriptor"))?;
    let mut text = serde_json::Deserializer::from_str(json.as_str());
    let dynamic = DynamicMessage::deserialize(descriptor, &mut text)
        .map_err(|source| failed("read frozen JSON").with_source(source))?;
    M::decode(dynamic.encode_to_vec().as_slice()).map_err(|source| failed("read a message").with_source(source))
}

pub const OPTIONS: &str = "jeton.v1.TokenOptions";
pub const CLAIMS: &str = "google.protobuf.Struct";

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

// === update masks ===

/// Which fields an update changes (AIP-134).
#[derive(Debug)]
pub struct Mask<'a>(Option<Vec<&'a str>>);

impl<'a> Mask<'a> {
    /// Reads a mask that may name `changeable` fields; one that ends with "." takes a key behind it.
    pub fn new(mask: Option<&'a prost_types::FieldMask>, resource: &str, changeable: &[&str]) -> Result<Self> {
        let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else {
            return Ok(Self(None));
        };
        let known = |path: &str| {
            changeable.iter().any(|field| match field.strip_suffix('.') {
                Some(map) => path.strip_prefix(map).is_some_and(|key| key.len() > 1 && key.starts_with('.')),
                None => *field == path,
            })
        };
        let mut error: Option<Error> = None;
        for (i, path) in mask.paths.iter().enumerate().filter(|(_, path)| *path != "*" && !known(path)) {
            let field = format!("update_mask.paths[{i}]");
            let description = format!("{path} is no field of {resource} that can be changed");
            let first = || Error::new(Reason::FieldImmutable, format!("update_mask: {description}"));
            error = Some(error.take().unwrap_or_else(first).with_violation(field, description));
        }
        match error {
            Some(error) => Err(error),
            None => Ok(Self(Some(mask.paths.iter().map(String::as_str).collect()))),
        }
    }

    /// Whether `field` is changed; without a mask those that are set.
    pub fn changes(&self, field: &str, is_set: bool) -> bool {
        let Some(paths) = &self.0 else { return is_set };
        let parent = field.split_once('.').map(|(parent, _)| parent);
        paths.iter().any(|path| *path == "*" || *path == field || Some(*path) == parent)
    }

    /// Whether it names the field itself.
    pub fn names(&self, field: &str) -> bool {
        self.0.as_ref().is_some_and(|paths| paths.contains(&field))
    }

    /// The keys of `map` that are named one by one.
    pub fn keys(&self, map: &str) -> impl Iterator<Item = &'a str> {
        let paths = self.0.clone().unwrap_or_default();
        let prefix = format!("{map}.");
        paths.into_iter().filter_map(move |path| path.strip_prefix(&prefix))
    }
}

//! Messages as proto JSON: the options and claims that a token carries.

use std::sync::LazyLock;

use jeton_core::Json;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

use crate::{
    api::DESCRIPTORS,
    error::{Error, Result},
};

static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).ok());

pub const OPTIONS: &str = "jeton.v1.TokenOptions";
pub const CLAIMS: &str = "google.protobuf.Struct";

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

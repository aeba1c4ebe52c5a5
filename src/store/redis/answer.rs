//! Reading what the server answered. A shape that was not asked for is an unreadable record, and is never shown.

use bytes::Bytes;
use redis::Value;

use crate::storage::{Error, Result};

/// The answers of one pipeline, taken in the order of its commands.
#[derive(Debug)]
pub struct Answers(std::vec::IntoIter<Value>);

impl Answers {
    pub fn new(answers: Vec<Value>) -> Self {
        Self(answers.into_iter())
    }

    /// The next command's answer.
    pub fn take(&mut self) -> Result<Value> {
        self.0.next().ok_or_else(unreadable)
    }
}

/// A whole number.
pub fn int(answer: &Value) -> Result<i64> {
    if let Value::Int(number) = answer { Ok(*number) } else { Err(unreadable()) }
}

/// Bytes, or nothing.
pub fn bytes(answer: Value) -> Result<Option<Bytes>> {
    if answer == Value::Nil {
        return Ok(None);
    }
    if let Value::BulkString(bytes) = answer { Ok(Some(bytes.into())) } else { Err(unreadable()) }
}

/// Text.
pub fn text(answer: Value) -> Result<String> {
    if let Value::VerbatimString { text, .. } = answer {
        return Ok(text);
    }
    let bytes = bytes(answer)?.ok_or_else(unreadable)?;
    String::from_utf8(bytes.into()).map_err(|_| unreadable())
}

/// A list of `N` parts.
pub fn parts<const N: usize>(answer: Value) -> Result<[Value; N]> {
    list(answer)?.try_into().map_err(|_| unreadable())
}

pub fn list(answer: Value) -> Result<Vec<Value>> {
    if let Value::Array(list) = answer { Ok(list) } else { Err(unreadable()) }
}

/// The value in a map of one key.
pub fn only_value(answer: Value) -> Result<String> {
    let Value::Map(pairs) = answer else { return Err(unreadable()) };
    text(pairs.into_iter().next().ok_or_else(unreadable)?.1)
}

pub fn unreadable() -> Error {
    Error::corrupt("an answer of the Redis server")
}

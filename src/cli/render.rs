//! Writes replies for humans and for programs.

use std::{fmt::Write, time::Duration};

use comfy_table::{Table, presets};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, SerializeOptions, Value};

use super::{
    contract::{PACKAGE, short_names},
    failure::Failure,
    printable::printable,
};
use crate::config::duration;

/// A reply as JSON, as protobuf defines it.
pub(super) fn json(reply: &DynamicMessage) -> Result<String, Failure> {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::pretty(&mut text);
    reply
        .serialize_with_options(&mut serializer, &SerializeOptions::new())
        .map_err(|error| Failure::call(format!("cannot write the reply as JSON: {error}")))?;
    text.push(b'\n');
    String::from_utf8(text).map_err(|_| Failure::call("cannot write the reply as JSON: it is not UTF-8"))
}

/// A reply for humans: a table of `rows` if it has any, then its other fields, a line each.
pub(super) fn text(reply: &DynamicMessage, rows: Option<&FieldDescriptor>, columns: &[&str]) -> String {
    let mut text = rows.map_or_else(String::new, |rows| table(reply, rows, columns));
    let mut lines = Vec::new();
    for field in reply.descriptor().fields().filter(|field| Some(field) != rows && field.name() != "next_page_token") {
        if !reply.has_field(&field) {
            continue;
        }
        let value = reply.get_field(&field);
        match value.as_message() {
            // The resource of the reply: its fields need no prefix.
            Some(message) if is_ours(message) => flatten("", message, &mut lines),
            _ => flatten_field("", &field, &value, &mut lines),
        }
    }
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:width$}  {value}");
    }
    text
}

fn table(reply: &DynamicMessage, rows: &FieldDescriptor, columns: &[&str]) -> String {
    let value = reply.get_field(rows);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|column| column.to_ascii_uppercase()));
    for row in value.as_list().unwrap_or_default().iter().filter_map(Value::as_message) {
        table.add_row(columns.iter().map(|column| {
            let field = row.descriptor().get_field_by_name(column);
            field
                .filter(|field| row.has_field(field))
                .map(|field| cell(&field, &row.get_field(&field)))
                .unwrap_or_default()
        }));
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

fn is_ours(message: &DynamicMessage) -> bool {
    message.descriptor().package_name() == PACKAGE
}

/// The lines of a message. Fields of inner messages have dotted names.
fn flatten(prefix: &str, message: &DynamicMessage, lines: &mut Vec<(String, String)>) {
    for field in message.descriptor().fields().filter(|field| message.has_field(field)) {
        flatten_field(prefix, &field, &message.get_field(&field), lines);
    }
}

fn flatten_field(prefix: &str, field: &FieldDescriptor, value: &Value, lines: &mut Vec<(String, String)>) {
    let name = format!("{prefix}{}", field.name());
    match value.as_message() {
        Some(message) if is_ours(message) => flatten(&format!("{name}."), message, lines),
        _ => lines.push((name, cell(field, value))),
    }
}

/// A value in one line.
fn cell(field: &FieldDescriptor, value: &Value) -> String {
    let kind = field.kind();
    if let Some(items) = value.as_list() {
        return joined(items.iter().map(|item| scalar(&kind, item)));
    }
    let Some(pairs) = value.as_map() else { return scalar(&kind, value) };
    let kind = kind.as_message().map_or(kind.clone(), |entry| entry.map_entry_value_field().kind());
    let pair = |(key, value)| format!("{}={}", printable(&map_key(key)), scalar(&kind, value));
    let mut pairs: Vec<String> = pairs.iter().map(pair).collect();
    pairs.sort();
    joined(pairs.into_iter())
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::String(text) => text.clone(),
        MapKey::Bool(value) => value.to_string(),
        MapKey::I32(value) => value.to_string(),
        MapKey::I64(value) => value.to_string(),
        MapKey::U32(value) => value.to_string(),
        MapKey::U64(value) => value.to_string(),
    }
}

fn scalar(kind: &Kind, value: &Value) -> String {
    match (value, kind) {
        (Value::String(text), _) => printable(text),
        (Value::Bool(value), _) => value.to_string(),
        (Value::I32(value), _) => value.to_string(),
        (Value::I64(value), _) => value.to_string(),
        (Value::U32(value), _) => value.to_string(),
        (Value::U64(value), _) => value.to_string(),
        (Value::F32(value), _) => value.to_string(),
        (Value::F64(value), _) => value.to_string(),
        (Value::EnumNumber(number), Kind::Enum(values)) => {
            let found = short_names(values).into_iter().find(|(_, value)| value == number);
            found.map_or_else(|| number.to_string(), |(name, _)| name)
        }
        (Value::EnumNumber(number), _) => number.to_string(),
        (Value::Message(message), _) => of_message(message),
        // Nothing in the contract is bytes, a list in a list or a map in a list.
        (Value::Bytes(_) | Value::List(_) | Value::Map(_), _) => String::new(),
    }
}

fn of_message(message: &DynamicMessage) -> String {
    let json = serde_json::to_value(message).unwrap_or_default();
    let text = json.as_str().unwrap_or_default();
    match message.descriptor().full_name() {
        // RFC 3339 in JSON, too.
        "google.protobuf.Timestamp" => text.to_owned(),
        "google.protobuf.Duration" => lasting(message).map_or_else(|| text.to_owned(), duration::format),
        _ => printable(&json.to_string()),
    }
}

/// A duration to the millisecond; none if it is negative.
fn lasting(message: &DynamicMessage) -> Option<Duration> {
    let seconds = message.get_field_by_name("seconds")?.as_i64()?;
    let nanos = message.get_field_by_name("nanos")?.as_i32()?;
    Some(Duration::new(seconds.try_into().ok()?, nanos.try_into().ok()?))
}

//! Parses arguments into values of the contract.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::contract::short_names;
use crate::config::duration;

/// One value of a field, or one item of its list. The error says what is wrong with the text.
pub(super) fn single(field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    of_kind(&field.kind(), text)
}

/// The items of a list. Those that are written as JSON have commas of their own, so each stands alone.
pub(super) fn list<'a>(field: &FieldDescriptor, texts: impl Iterator<Item = &'a str>) -> Result<Value, String> {
    let is_message = field.kind().as_message().is_some();
    let items = texts.flat_map(|text| if is_message { vec![text.to_owned()] } else { split(text) });
    items.map(|item| single(field, &item)).collect::<Result<_, _>>().map(Value::List)
}

/// The pairs of a map with text keys.
pub(super) fn map<'a>(field: &FieldDescriptor, texts: impl Iterator<Item = &'a str>) -> Result<Value, String> {
    let Kind::Message(entry) = field.kind() else { return Err("is not a map".to_owned()) };
    let kind = entry.map_entry_value_field().kind();
    let mut pairs = HashMap::new();
    for pair in texts.flat_map(split) {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not KEY=VALUE"))?;
        if pairs.insert(MapKey::String(key.to_owned()), of_kind(&kind, value)?).is_some() {
            return Err(format!("`{key}` is given twice"));
        }
    }
    Ok(Value::Map(pairs))
}

fn of_kind(kind: &Kind, text: &str) -> Result<Value, String> {
    let number = || format!("`{text}` is not a number in range");
    match kind {
        Kind::String => Ok(Value::String(text.to_owned())),
        Kind::Bool => text.parse().map(Value::Bool).map_err(|_| format!("`{text}` is neither true nor false")),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => text.parse().map(Value::I32).map_err(|_| number()),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => text.parse().map(Value::I64).map_err(|_| number()),
        Kind::Uint32 | Kind::Fixed32 => text.parse().map(Value::U32).map_err(|_| number()),
        Kind::Uint64 | Kind::Fixed64 => text.parse().map(Value::U64).map_err(|_| number()),
        Kind::Float => text.parse().map(Value::F32).map_err(|_| number()),
        Kind::Double => text.parse().map(Value::F64).map_err(|_| number()),
        Kind::Bytes => Err("cannot be given on the command line".to_owned()),
        Kind::Enum(values) => {
            let names = short_names(values);
            let wanted = text.to_ascii_lowercase().replace('_', "-");
            let known = || names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            let found = names.iter().find(|(name, _)| *name == wanted).map(|(_, number)| Value::EnumNumber(*number));
            found.ok_or_else(|| format!("`{text}` is not one of {}", known()))
        }
        Kind::Message(message) => of_message(message, text),
    }
}

fn of_message(message: &MessageDescriptor, text: &str) -> Result<Value, String> {
    // The JSON of protobuf, in which times are RFC 3339 and durations are seconds.
    let (json, what) = match message.full_name() {
        "google.protobuf.Duration" => {
            let duration = duration::parse(text).ok_or_else(|| {
                format!("`{text}` is not a duration; write a number with a unit, such as 90s, 15m or 14d")
            })?;
            (quoted(&format!("{}.{:03}s", duration.as_secs(), duration.subsec_millis())), "a duration in range")
        }
        "google.protobuf.Timestamp" => (quoted(text), "a time such as 2027-01-01T00:00:00Z"),
        _ => (text.to_owned(), "JSON of its message"),
    };
    let mut json = serde_json::Deserializer::from_str(&json);
    let value = DynamicMessage::deserialize(message.clone(), &mut json)
        .and_then(|value| json.end().map(|()| value))
        .map_err(|error| format!("is not {what}: {error}"))?;
    Ok(Value::Message(value))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Splits at commas; `\,` is a comma that belongs to an item. An empty text has no items.
fn split(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut item = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' if chars.next_if_eq(&',').is_some() => item.push(','),
            ',' => items.push(std::mem::take(&mut item)),
            char => item.push(char),
        }
    }
    if !text.is_empty() {
        items.push(item);
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::contract::Contract;

    fn parse(method: &str, field: &str, text: &str) -> Result<Value, String> {
        let contract = Contract::load().unwrap();
        let field = contract.method(method).unwrap().input().get_field_by_name(field).unwrap();
        single(&field, text)
    }

    #[test]
    fn lists_are_split_at_commas_that_are_not_escaped() {
        assert_eq!(split("a,b"), ["a", "b"]);
        assert_eq!(split(r"a\,b,c\d"), ["a,b", r"c\d"]);
        assert_eq!(split("a,"), ["a", ""]);
        assert!(split("").is_empty());
    }

    #[test]
    fn messages_in_a_list_are_json_and_are_not_split() {
        let contract = Contract::load().unwrap();
        let upsert = contract.method("EntityGroupService/UpsertGroupMember").unwrap().input();
        let place = upsert.get_field_by_name("group_member").unwrap().kind().as_message().cloned().unwrap();
        let field = place.get_field_by_name("entity_roles").unwrap();
        let roles = r#"{"account_id": "a", "role_ids": ["b", "c"]}"#;
        let Ok(Value::List(items)) = list(&field, [roles, roles].into_iter()) else { panic!() };
        let role_ids = items[1].as_message().unwrap().get_field_by_name("role_ids").unwrap().into_owned();
        assert_eq!((items.len(), role_ids.as_list().unwrap().len()), (2, 2));
        assert!(list(&field, ["a,b"].into_iter()).is_err());
    }

    #[test]
    fn durations_have_units() {
        let seconds = |text: &str| {
            let value = parse("TokenService/IssueToken", "ttl", text).unwrap();
            value.as_message().unwrap().get_field_by_name("seconds").unwrap().as_i64()
        };
        assert_eq!(seconds("15m"), Some(900));
        assert_eq!(seconds("900s"), Some(900));
        assert_eq!(seconds("0s"), Some(0));
        assert!(parse("TokenService/IssueToken", "ttl", "900").is_err());
    }

    #[test]
    fn enums_are_short_words() {
        let format = |text: &str| parse("TokenService/IssueToken", "format", text);
        assert_eq!(format("opaque"), Ok(Value::EnumNumber(2)));
        assert_eq!(format("JWT"), Ok(Value::EnumNumber(1)));
        assert_eq!(format("xml"), Err("`xml` is not one of jwt, opaque".to_owned()));
        assert!(format("unspecified").is_err());
    }

    #[test]
    fn structs_and_options_are_json() {
        let options = |text: &str| parse("TokenService/IssueToken", "options", text);
        assert!(options(r#"{"style": {"primaryColor": "red"}, "invoice": {"status": ["STATUS_PAID"]}}"#).is_ok());
        assert!(options(r#"{"colour": 1}"#).is_err());
        assert!(parse("TokenService/IssueToken", "claims", r#"{"a": [1, null]}"#).is_ok());
        assert!(parse("TokenService/IssueToken", "claims", r#"{"a": 1} {"#).is_err());
    }
}

//! The part of `values.schema.json` that says what the configuration takes: made from the registry of settings, so that
//! a value is called like its key and takes what its key takes.

use std::{collections::BTreeMap, fs};

use jeton::config::registry::{KEYS, Key, SettingType, find};
use serde_json::{Value, json};

use super::helm;

/// Keys that are no values, and why.
pub const FIXED: [(&str, &str); 1] =
    [("data_dir", "the volume is mounted where the chart says, and nothing else of a pod can be written to")];
/// Keys without which there is no pod to reach, and no kind of it.
const REQUIRED: [&str; 2] = ["listen", "store"];

/// Keys that are values of the tree `config`.
pub fn plain() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| !key.is_secret() && FIXED.iter().all(|(fixed, _)| *fixed != key.path))
}

/// Keys that are values of the tree `secrets`.
pub fn secret() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| key.is_secret())
}

#[test]
fn values_are_called_like_the_keys_of_the_configuration_and_take_the_same() {
    let path = helm::chart().join("values.schema.json");
    let mut schema: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let mut config = tree(plain());
    config["required"] = json!(REQUIRED);
    let trees = BTreeMap::from([("config", config), ("secrets", tree(secret()))]);
    if std::env::var_os("UPDATE").is_some() {
        for (name, tree) in &trees {
            schema["properties"][name] = tree.clone();
        }
        fs::write(&path, format!("{schema:#}\n")).unwrap();
    }
    for (name, tree) in trees {
        assert_eq!(schema["properties"][name], tree, "run `UPDATE=1 cargo test --test suite chart::schema`");
    }
}

#[test]
fn exceptions_are_keys() {
    assert!(FIXED.iter().all(|(fixed, _)| find(fixed).is_some()));
}

/// Tables of keys, which take nothing else.
fn tree(keys: impl Iterator<Item = &'static Key>) -> Value {
    let table = || json!({"type": "object", "additionalProperties": false, "properties": {}});
    let mut root = table();
    for key in keys {
        let mut parts: Vec<_> = key.path.split('.').collect();
        let name = parts.pop().unwrap();
        let mut at = &mut root["properties"];
        for part in parts {
            if at[part].is_null() {
                at[part] = table();
            }
            at = &mut at[part]["properties"];
        }
        at[name] = leaf(key);
    }
    root
}

fn leaf(key: &Key) -> Value {
    let mut leaf = match key.setting_type {
        SettingType::Text(_) => json!({"type": "string", "minLength": 1}),
        SettingType::List(of) => {
            let pattern = if of == "ADDRESS" { "^(unix:.+|.+:[0-9]+)$" } else { "." };
            let item = json!({"type": "string", "pattern": pattern});
            json!({"type": "array", "minItems": 1, "uniqueItems": true, "items": item})
        }
        SettingType::Duration { .. } => json!({"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"}),
        SettingType::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        SettingType::Number { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
        SettingType::Bool => json!({"type": "boolean"}),
        SettingType::Choice(words) => json!({"enum": words}),
        SettingType::Secret => json!({"$ref": "#/$defs/secret"}),
    };
    leaf["description"] = json!(key.help);
    leaf
}

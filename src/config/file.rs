//! Reads the TOML file. Every value keeps its line; unknown keys are mistakes.

use std::path::Path;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use zeroize::Zeroizing;

use super::{
    given::{Form, Found, Given, Layer},
    mistake::{Mistake, Origin},
    nearest::{nearest, unknown},
    registry::{KEYS, Key, SettingType},
};

/// The values of the file.
pub(super) fn layer(path: &Path, text: &str, mistakes: &mut Vec<Mistake>) -> Layer {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = FileReader { path, text, layer: Layer::new(), mistakes };
    for error in &errors {
        // The error's own `Display` quotes the line, and a secret may stand in it.
        let start = error.span().map_or(0, |span| span.start);
        let message = format!("is not TOML: {}", error.message());
        reader.refuse(start, message);
    }
    // The readable part of a broken file is not checked.
    if errors.is_empty() {
        reader.table("", table.get_ref());
    }
    reader.layer
}

struct FileReader<'a> {
    path: &'a Path,
    text: &'a str,
    layer: Layer,
    mistakes: &'a mut Vec<Mistake>,
}

impl FileReader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = format!("{prefix}{}", name.get_ref());
            let inside = format!("{path}.");
            let start = name.span().start;
            if let DeValue::Table(table) = value.get_ref()
                && KEYS.iter().any(|key| key.path.starts_with(&inside))
            {
                self.table(&inside, table);
            } else if let Some((key, form)) = KEYS.iter().find_map(|key| form_of(key, &path)) {
                self.value(key, form, start, value);
            } else {
                self.refuse(start, format!("`{path}` {}", unknown_key(&path)));
            }
        }
    }

    fn value(&mut self, key: &'static Key, form: Form, start: usize, value: &Spanned<DeValue<'_>>) {
        let values = match texts(key.setting_type, value.get_ref()) {
            Ok(values) => values,
            Err(wanted) => return self.refuse(start, format!("`{}` must be {wanted}", key.path)),
        };
        let found = Found { values, origin: self.origin(start) };
        if self.layer.insert(key.path, Given { found, form }).is_some() {
            self.refuse(start, format!("`{0}` is set besides `{0}_file`; set one of the two", key.path));
        }
    }

    fn refuse(&mut self, start: usize, message: String) {
        let origin = self.origin(start);
        self.mistakes.push(Mistake { origin: Some(origin), message });
    }

    fn origin(&self, start: usize) -> Origin {
        let line = 1 + self.text.bytes().take(start).filter(|byte| *byte == b'\n').count();
        Origin::File { path: self.path.to_owned(), line }
    }
}

fn form_of(key: &'static Key, path: &str) -> Option<(&'static Key, Form)> {
    if key.path == path {
        Some((key, Form::Value))
    } else if key.file_path().as_deref() == Some(path) {
        Some((key, Form::File))
    } else {
        None
    }
}

/// The value as texts, or what it should have been.
fn texts(setting_type: SettingType, value: &DeValue<'_>) -> Result<Vec<Zeroizing<String>>, &'static str> {
    let one = |text: &str| vec![Zeroizing::new(text.to_owned())];
    match (setting_type, value) {
        (SettingType::Text(_) | SettingType::Choice(_) | SettingType::Secret, DeValue::String(text)) => Ok(one(text)),
        (SettingType::Text(_) | SettingType::Choice(_) | SettingType::Secret, _) => Err("a text in quotes"),
        (SettingType::Duration { .. }, DeValue::String(text)) => Ok(one(text)),
        (SettingType::Duration { .. }, _) => Err("a text with a unit, such as \"10s\""),
        (SettingType::Integer { .. }, DeValue::Integer(number)) => {
            i128::from_str_radix(number.as_str(), number.radix())
                .map(|number| one(&number.to_string()))
                .map_err(|_| "a whole number")
        }
        (SettingType::Integer { .. }, _) => Err("a whole number without quotes"),
        (SettingType::Number { .. }, DeValue::Integer(number)) => Ok(one(number.as_str())),
        (SettingType::Number { .. }, DeValue::Float(number)) => Ok(one(number.as_str())),
        (SettingType::Number { .. }, _) => Err("a number without quotes"),
        (SettingType::Bool, DeValue::Boolean(value)) => Ok(one(&value.to_string())),
        (SettingType::Bool, _) => Err("true or false, without quotes"),
        (SettingType::List(_), DeValue::String(text)) => Ok(one(text)),
        (SettingType::List(_), DeValue::Array(items)) if !items.is_empty() => items
            .iter()
            .map(|item| item.get_ref().as_str().map(|text| Zeroizing::new(text.to_owned())))
            .collect::<Option<_>>()
            .ok_or("a list of texts"),
        (SettingType::List(_), _) => Err("a list of texts that is not empty"),
    }
}

fn unknown_key(path: &str) -> String {
    let files: Vec<String> = KEYS.iter().filter_map(Key::file_path).collect();
    let known = KEYS.iter().map(|key| key.path).chain(files.iter().map(String::as_str));
    unknown("key", nearest(path, known))
}

//! Writes the configuration for users: what is in effect, and what can be set.

use super::{
    duration,
    given::{Found, Values},
    mistake::Origin,
    registry::{CONFIG_FLAG, CONFIG_VARIABLE, KEYS, Key, SettingType},
};

/// Replaces a secret.
const REDACTED: &str = "[redacted]";

const INTRODUCTION: &str = "\
# Configuration

<!-- Generated from src/config/registry.rs: `UPDATE=1 cargo test --lib config::` writes it. -->

`jeton serve` takes each setting from the first of these that gives it: a flag, a `JETON_` variable, the TOML file that \
`--config` or `JETON_CONFIG` names, its default. All mistakes are reported at once, each with its origin, and the service \
does not start; keys and `JETON_` variables that do not exist are mistakes, and so are empty values. (Those that \
Kubernetes makes for Services, such as `JETON_SERVICE_HOST`, are left alone.)

`jeton serve --check-config` reports by its exit code whether the configuration is valid: 0 or 2. \
`jeton serve --print-config` prints what is in effect, where each value came from, and no secrets.

A **secret** is given as a variable, as a key in the file, or best in a file of its own: the variable with `_FILE` at its \
end, the key with `_file`, or the flag name that file. The path is relative to the working directory, and white space \
around the secret is cut off. No flag takes the secret itself, because every user of a machine can read the command lines \
of its processes.

A **duration** is a number with a unit, `ms`, `s`, `m`, `h` or `d`, or several: `200ms`, `10s`, `1h30m`.
A **list** is separated by commas in variables; its flag may be repeated; in the file it is an array.
";

/// The effective configuration as TOML, each value with its origin, without secrets.
pub fn to_toml(values: &Values) -> String {
    file(|key, name| match values.get(key.path) {
        Some(found) => format!("{name} = {} # {}\n", value(key, found), origin(&found.origin)),
        None => format!("# {name} is not set\n"),
    })
}

/// The reference page, in Markdown.
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    for key in KEYS {
        text += &format!("\n## `{}`\n\n{}\n\n", key.path, key.help);
        text += "| | |\n| --- | --- |\n";
        if let Some((file_path, file_variable)) = key.file_path().zip(key.file_variable()) {
            text += &row("key in the file", &format!("`{}` or `{file_path}`", key.path));
            text += &row("variable", &format!("`{}` or `{file_variable}`", key.variable()));
        } else {
            text += &row("variable", &format!("`{}`", key.variable()));
        }
        text += &row("flag", &format!("`--{} {}`", key.flag(), key.placeholder()));
        text += &row("type", &type_name(key.setting_type));
        text += &row("default", &key.default.map_or("unset".to_owned(), |default| format!("`{default}`")));
    }
    text + &format!("\n## The file\n\n`--{CONFIG_FLAG} PATH` or `{CONFIG_VARIABLE}`. With every default:\n\n```toml\n")
        + &example()
        + "```\n"
}

fn row(name: &str, content: &str) -> String {
    format!("| {name} | {content} |\n")
}

fn type_name(setting_type: SettingType) -> String {
    match setting_type {
        SettingType::Text(_) => "text".to_owned(),
        SettingType::List(_) => "list".to_owned(),
        SettingType::Duration { min, max } => {
            format!("duration, {} to {}", duration::format(min), duration::format(max))
        }
        SettingType::Integer { min, max } => format!("whole number, {min} to {max}"),
        SettingType::Number { min, max } => format!("number, {min} to {max}"),
        SettingType::Bool => "`true` or `false`".to_owned(),
        SettingType::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or "),
        SettingType::Secret => "secret".to_owned(),
    }
}

/// A file with all defaults.
fn example() -> String {
    file(|key, name| match key.default {
        Some(default) => format!("{name} = {}\n", literal(key.setting_type, &[default])),
        None if key.is_secret() => format!("# {name}_file = \"/run/secrets/…\"\n"),
        None => format!("# {name} = \"…\"\n"),
    })
}

/// A TOML file with a line for each key.
fn file(line: impl Fn(&Key, &str) -> String) -> String {
    let mut text = String::new();
    let mut table = "";
    for key in KEYS {
        let (inside, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if inside != table {
            table = inside;
            text += &format!("\n[{table}]\n");
        }
        text += &line(key, name);
    }
    text
}

fn value(key: &Key, found: &Found) -> String {
    if key.is_secret() {
        return toml::Value::from(REDACTED).to_string();
    }
    let values: Vec<&str> = found.values.iter().map(|value| value.as_str()).collect();
    literal(key.setting_type, &values)
}

/// Values as TOML writes them.
fn literal(setting_type: SettingType, values: &[&str]) -> String {
    let first = values.first().copied().unwrap_or_default();
    match setting_type {
        SettingType::List(_) => toml::Value::from(values.to_vec()).to_string(),
        SettingType::Bool | SettingType::Integer { .. } | SettingType::Number { .. } => first.to_owned(),
        SettingType::Text(_) | SettingType::Duration { .. } | SettingType::Choice(_) | SettingType::Secret => {
            toml::Value::from(first).to_string()
        }
    }
}

fn origin(origin: &Origin) -> String {
    // A line break would end the comment and could smuggle a line into the output.
    origin.to_string().replace(char::is_control, " ")
}

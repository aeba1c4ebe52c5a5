//! Merges the sources of settings: flags, then variables, then the file, then defaults. The first that names a key wins.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches};
use zeroize::Zeroizing;

use super::{
    file,
    given::{Environment, Form, Found, Given, Layer, ReadFile, Values},
    key::PREFIX,
    mistake::{Mistake, Origin},
    nearest::{nearest, unknown},
    registry::{CONFIG_FLAG, CONFIG_VARIABLE, KEYS, Key, OPERATOR_VARIABLES, SettingType},
};

/// The flags of `serve` that are settings.
pub fn flags() -> Vec<Arg> {
    let config = Arg::new(CONFIG_FLAG)
        .long(CONFIG_FLAG)
        .value_name("PATH")
        .help(format!("A TOML file with settings [env: {CONFIG_VARIABLE}]"));
    let settings = KEYS.iter().map(|key| {
        let (help, variable) = match key.file_variable() {
            Some(variable) => (format!("Path of a file with this secret. {}", key.help), variable),
            None => (key.help.to_owned(), key.variable()),
        };
        let default = key.default.map_or(String::new(), |default| format!(" [default: {default}]"));
        let action = if matches!(key.setting_type, SettingType::List(_)) { ArgAction::Append } else { ArgAction::Set };
        Arg::new(key.path)
            .long(key.flag())
            .value_name(key.placeholder())
            .action(action)
            .help(format!("{help} [env: {variable}]{default}"))
    });
    std::iter::once(config).chain(settings).collect()
}

/// Merges the sources. Mistakes are added to `mistakes`, and their values are left out.
pub(super) fn gather(
    matches: &ArgMatches,
    environment: &Environment,
    read: ReadFile<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Values {
    let layers = [
        from_flags(matches),
        from_environment(environment, mistakes),
        from_file(matches, environment, read, mistakes),
        defaults(),
    ];
    let mut values = Values::new();
    for layer in layers {
        for (path, given) in layer {
            if given.found.values.iter().any(|value| value.trim().is_empty()) {
                mistakes.push(Mistake::new(&given.found.origin, "is empty; leave it out instead"));
            } else if !values.contains_key(path) {
                let found = match given.form {
                    Form::Value => Some(given.found),
                    Form::File => secret_file(&given.found, read, mistakes),
                };
                // A secret that could not be read stays, empty: it must neither fall through to an older one in a weaker
                // source nor be reported as missing.
                let unread = Found { values: Vec::new(), origin: Origin::Default };
                values.insert(path, found.unwrap_or(unread));
            }
        }
    }
    values
}

fn from_flags(matches: &ArgMatches) -> Layer {
    let mut layer = Layer::new();
    for key in KEYS {
        let Ok(Some(values)) = matches.try_get_many::<String>(key.path) else { continue };
        let values = values.flat_map(|value| split(key, value)).collect();
        let form = if key.is_secret() { Form::File } else { Form::Value };
        let found = Found { values, origin: Origin::Flag(format!("--{}", key.flag())) };
        layer.insert(key.path, Given { found, form });
    }
    layer
}

fn from_environment(environment: &Environment, mistakes: &mut Vec<Mistake>) -> Layer {
    let mut layer = Layer::new();
    for (name, value) in environment {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX)
            || name == CONFIG_VARIABLE
            || OPERATOR_VARIABLES.contains(&name.as_ref())
            || is_service_link(&name, value)
        {
            continue;
        }
        let origin = Origin::Variable(name.clone().into_owned());
        let Some((key, form)) = KEYS.iter().find_map(|key| form_of(key, &name)) else {
            mistakes.push(Mistake::new(&origin, unknown_variable(&name)));
            continue;
        };
        let Some(value) = value.to_str() else {
            mistakes.push(Mistake::new(&origin, "is not UTF-8"));
            continue;
        };
        let given = Given { found: Found { values: split(key, value), origin: origin.clone() }, form };
        if layer.insert(key.path, given).is_some() {
            let message = format!("is set besides {}; set one of the two", key.variable());
            mistakes.push(Mistake::new(&origin, message));
        }
    }
    layer
}

fn form_of(key: &'static Key, variable: &str) -> Option<(&'static Key, Form)> {
    if key.variable() == variable {
        Some((key, Form::Value))
    } else if key.file_variable().as_deref() == Some(variable) {
        Some((key, Form::File))
    } else {
        None
    }
}

/// Whether Kubernetes made the variable: it gives every pod the addresses of the Services around it, so a Service named `jeton` or
/// `jeton-redis` gives `JETON_PORT`, `JETON_SERVICE_HOST`, `JETON_REDIS_PORT_6379_TCP_ADDR` and the like.
fn is_service_link(variable: &str, value: &OsStr) -> bool {
    let is_url = value.to_string_lossy().contains("://");
    let names_protocol = ["_TCP", "_UDP", "_SCTP"].into_iter().any(|protocol| variable.contains(protocol));
    variable.ends_with("_SERVICE_HOST")
        || variable.ends_with("_SERVICE_PORT")
        || variable.contains("_SERVICE_PORT_")
        || (variable.ends_with("_PORT") && is_url)
        || (variable.contains("_PORT_") && names_protocol)
}

fn unknown_variable(name: &str) -> String {
    let known: Vec<String> = KEYS
        .iter()
        .flat_map(|key| [Some(key.variable()), key.file_variable()])
        .flatten()
        .chain([CONFIG_VARIABLE.to_owned()])
        .collect();
    unknown("variable", nearest(name, known.iter().map(String::as_str)))
}

fn from_file(
    matches: &ArgMatches,
    environment: &Environment,
    read: ReadFile<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Layer {
    let flag = matches.try_get_one::<String>(CONFIG_FLAG).ok().flatten().map(PathBuf::from);
    let variable = || environment.get(&OsString::from(CONFIG_VARIABLE)).map(PathBuf::from);
    let (path, origin) = match (flag, variable()) {
        (Some(path), _) => (path, Origin::Flag(format!("--{CONFIG_FLAG}"))),
        (None, Some(path)) => (path, Origin::Variable(CONFIG_VARIABLE.to_owned())),
        (None, None) => return Layer::new(),
    };
    if path.as_os_str().is_empty() {
        mistakes.push(Mistake::new(&origin, "is empty; leave it out instead"));
        return Layer::new();
    }
    match read_text(&path, read) {
        Ok(text) => file::layer(&path, &text, mistakes),
        Err(problem) => {
            mistakes.push(Mistake::new(&origin, problem));
            Layer::new()
        }
    }
}

fn defaults() -> Layer {
    let given = |key: &'static Key| {
        let values = split(key, key.default?);
        Some((key.path, Given { found: Found { values, origin: Origin::Default }, form: Form::Value }))
    };
    KEYS.iter().filter_map(given).collect()
}

/// The content of the file that a secret names.
fn secret_file(named: &Found, read: ReadFile<'_>, mistakes: &mut Vec<Mistake>) -> Option<Found> {
    let path = named.values.first()?;
    let mut refuse = |problem: String| {
        mistakes.push(Mistake::new(&named.origin, problem));
        None
    };
    match read_text(Path::new(path.as_str()), read) {
        // Editors and `echo` end a file with a line break that is not part of the secret.
        Ok(text) if text.trim().is_empty() => refuse(format!("`{}` is empty", path.as_str())),
        Ok(text) => Some(Found { values: vec![Zeroizing::new(text.trim().to_owned())], origin: named.origin.clone() }),
        Err(problem) => refuse(problem),
    }
}

fn read_text(path: &Path, read: ReadFile<'_>) -> Result<Zeroizing<String>, String> {
    let bytes = read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(format!("`{}` is not UTF-8", path.display()))
        }
    }
}

/// The items of a list; anything else is one text.
fn split(key: &Key, text: &str) -> Vec<Zeroizing<String>> {
    let item = |item: &str| Zeroizing::new(item.trim().to_owned());
    match key.setting_type {
        SettingType::List(_) => text.split(',').map(item).collect(),
        SettingType::Text(_)
        | SettingType::Duration { .. }
        | SettingType::Integer { .. }
        | SettingType::Number { .. }
        | SettingType::Bool
        | SettingType::Choice(_)
        | SettingType::Secret => vec![item(text)],
    }
}

//! Fills the request of a command from its arguments.

use std::collections::BTreeMap;

use clap::ArgMatches;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage, Value};

use super::{
    contract::{Contract, real_oneof},
    failure::Failure,
    flags::{Flag, Shape, is_update},
    secrets::Secrets,
    values,
};

/// Makes the request, or reports what is wrong with the arguments.
pub(super) fn request(
    contract: &Contract,
    message: &MessageDescriptor,
    flags: &[Flag],
    matches: &ArgMatches,
    secrets: &Secrets<'_>,
) -> Result<DynamicMessage, Failure> {
    refuse_secrets(flags, matches)?;
    let given: Vec<&Flag> = flags.iter().filter(|flag| is_given(flag, matches)).collect();
    check_choices(contract, message, flags, &given)?;
    let mut request = DynamicMessage::new(message.clone());
    let mut mask = Vec::new();
    for flag in given {
        // An empty text in an update clears the field: its name is in the mask, and nothing in the message.
        let clears = is_update(message) && texts(flag, matches).eq([""]);
        if !clears {
            let value = value(flag, matches, secrets)?;
            set(&mut request, &flag.path, value)?;
        } else if flag.name.is_empty() {
            return Err(Failure::usage(format!("{} is empty", flag.shown())));
        }
        if let [_, inside @ ..] = flag.path.as_slice()
            && !flag.name.is_empty()
            && flag.name != "etag"
        {
            mask.push(inside.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join("."));
        }
    }
    if is_update(message) {
        if mask.is_empty() {
            return Err(Failure::usage("nothing to change; give at least one flag"));
        }
        set_mask(&mut request, mask)?;
    }
    Ok(request)
}

fn is_given(flag: &Flag, matches: &ArgMatches) -> bool {
    matches.value_source(&flag.id) == Some(clap::parser::ValueSource::CommandLine)
}

fn texts<'a>(flag: &Flag, matches: &'a ArgMatches) -> impl Iterator<Item = &'a str> {
    let values = matches.try_get_many::<String>(&flag.id).ok().flatten();
    values.into_iter().flatten().map(String::as_str)
}

fn refuse_secrets(flags: &[Flag], matches: &ArgMatches) -> Result<(), Failure> {
    let is_secret = |flag: &&Flag| matches!(flag.shape, Shape::SecretFile | Shape::SecretLines);
    match flags.iter().filter(is_secret).find(|flag| matches.value_source(&flag.refusal()).is_some()) {
        Some(flag) => Err(Failure::usage(format!(
            "--{} would show the secret to every user of this machine; use {} PATH, where - is standard input",
            flag.name,
            flag.shown()
        ))),
        None => Ok(()),
    }
}

/// Of the members of a oneof at most one may be given, and of some exactly one.
fn check_choices(
    contract: &Contract,
    message: &MessageDescriptor,
    flags: &[Flag],
    given: &[&Flag],
) -> Result<(), Failure> {
    let mut chosen: BTreeMap<String, (&FieldDescriptor, &Flag)> = BTreeMap::new();
    for flag in given {
        for field in &flag.path {
            let Some(oneof) = real_oneof(field) else { continue };
            let (member, first) = *chosen.entry(oneof.full_name().to_owned()).or_insert((field, flag));
            if member != field {
                return Err(Failure::usage(format!("{} and {} exclude each other", first.shown(), flag.shown())));
            }
        }
    }
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        if contract.oneof_comment(&oneof).starts_with("Required.") && !chosen.contains_key(oneof.full_name()) {
            let belongs = |flag: &&Flag| flag.path.first().and_then(real_oneof).is_some_and(|other| other == oneof);
            let names: Vec<String> = flags.iter().filter(belongs).map(Flag::shown).collect();
            return Err(Failure::usage(format!("one of these is required: {}", names.join(", "))));
        }
    }
    Ok(())
}

fn value(flag: &Flag, matches: &ArgMatches, secrets: &Secrets<'_>) -> Result<Value, Failure> {
    let Some(field) = flag.path.last() else { return Err(Failure::usage("no such field")) };
    let first = texts(flag, matches).next().unwrap_or_default();
    let value = match flag.shape {
        Shape::Presence => Ok(Value::default_value_for_field(field)),
        Shape::Single | Shape::Switch => values::single(field, first),
        Shape::List => values::list(field, texts(flag, matches)),
        Shape::Map => values::map(field, texts(flag, matches)),
        Shape::SecretFile => secrets.read(first).map(|secret| Value::String(secret.to_string())),
        Shape::SecretLines => secrets.read(first).map(|text| {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            Value::List(lines.map(|line| Value::String(line.to_owned())).collect())
        }),
    };
    value.map_err(|wrong| Failure::usage(format!("{}: {wrong}", flag.shown())))
}

/// Sets a field inside of messages, which are created as needed.
fn set(message: &mut DynamicMessage, path: &[FieldDescriptor], value: Value) -> Result<(), Failure> {
    match path {
        [] => Ok(()),
        [field] => message.try_set_field(field, value).map_err(|error| Failure::usage(error.to_string())),
        [field, inside @ ..] => match message.get_field_mut(field).as_message_mut() {
            Some(inner) => set(inner, inside, value),
            None => Err(Failure::usage(format!("`{}` is not a message", field.name()))),
        },
    }
}

fn set_mask(request: &mut DynamicMessage, paths: Vec<String>) -> Result<(), Failure> {
    let path = ["update_mask", "paths"];
    let mut fields = Vec::new();
    let mut message = Some(request.descriptor());
    for name in path {
        let Some(field) = message.and_then(|message| message.get_field_by_name(name)) else { return Ok(()) };
        message = field.kind().as_message().cloned();
        fields.push(field);
    }
    set(request, &fields, Value::List(paths.into_iter().map(Value::String).collect()))
}

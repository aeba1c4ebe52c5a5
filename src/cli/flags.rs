//! Derives the flags of a command from the request message of its method.

use clap::{Arg, ArgAction};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

use super::{
    contract::{Contract, our_message, real_oneof, short_names},
    verbs::Verb,
};

/// A field of the request that a flag or a positional argument fills.
#[derive(Debug)]
pub(super) struct Flag {
    /// The path of the field, dotted; also clap's name for the argument.
    pub(super) id: String,
    /// Without dashes; empty for a positional argument.
    pub(super) name: String,
    /// The field, after those that contain it.
    pub(super) path: Vec<FieldDescriptor>,
    pub(super) shape: Shape,
    pub(super) required: bool,
    help: String,
}

/// How a flag is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value.
    Single,
    /// `--flag` or `--flag=false`.
    Switch,
    /// `--flag`: a message without fields, whose presence says everything.
    Presence,
    /// Values, repeated or separated by commas.
    List,
    /// `key=value`, likewise.
    Map,
    /// The path of a file with one secret in it.
    SecretFile,
    /// The path of a file with a secret on each line.
    SecretLines,
}

/// Fields that hold secrets. Every user of a machine can read the command lines of its processes.
const SECRETS: [&str; 12] = [
    "access_token",
    "actor_token",
    "client_assertion",
    "client_secret",
    // A process that also sees the code could redeem it first.
    "code_verifier",
    "current_password",
    "jwt",
    "password",
    "refresh_token",
    "subject_token",
    "token",
    "tokens",
];

/// Messages that are given as JSON, because their fields' names are unclear, or mean something else, outside of them.
const JSON: [&str; 2] = ["jeton.v1.Grantable", "jeton.v1.TokenOptions"];

/// The flags of a command, in the order of the request's fields.
pub(super) fn of(contract: &Contract, verb: &Verb, method: &MethodDescriptor) -> Vec<Flag> {
    let request = method.input();
    let mut deriving = Deriving { contract, verb, is_update: is_update(&request), flags: Vec::new() };
    deriving.message(&request, &[]);
    deriving.flags
}

/// Whether the request changes only the fields that its mask names.
pub(super) fn is_update(request: &MessageDescriptor) -> bool {
    request.get_field_by_name("update_mask").is_some()
}

/// Whether the request names a tenant beside what it is about, so that `--tenant` makes sense.
pub(super) fn takes_tenant(verb: &Verb, request: &MessageDescriptor) -> bool {
    request.get_field_by_name("tenant_id").is_some() && !verb.positional.contains(&"tenant_id")
}

struct Deriving<'a> {
    contract: &'a Contract,
    verb: &'a Verb,
    is_update: bool,
    flags: Vec<Flag>,
}

impl Deriving<'_> {
    fn message(&mut self, message: &MessageDescriptor, prefix: &[FieldDescriptor]) {
        for field in message.fields() {
            let path = [prefix, &[field]].concat();
            self.field(path);
        }
    }

    fn field(&mut self, path: Vec<FieldDescriptor>) {
        let Some(field) = path.last() else { return };
        let id = id(&path);
        let comment = self.contract.field_comment(field);
        let is_positional = self.verb.positional.contains(&id.as_str());
        let is_ours_to_fill = match id.as_str() {
            // They come from the flags that are given, and from `--tenant`.
            "update_mask" | "tenant_id" => false,
            id => !self.verb.without.contains(&id) && !comment.starts_with("Output only."),
        };
        if !is_positional && !is_ours_to_fill {
            return;
        }
        if let Some(inner) = our_message(field)
            && !field.is_list()
            && !field.is_map()
            && !JSON.contains(&inner.full_name())
            && inner.fields().len() > 0
        {
            return self.message(&inner, &path);
        }
        let renamed = self.verb.renamed.iter().find(|(renamed, _)| *renamed == id);
        let name = renamed.map_or_else(|| field.name().replace('_', "-"), |(_, name)| (*name).to_owned());
        let in_oneof = path.iter().any(|field| real_oneof(field).is_some());
        // An update requires only the resource that it is about.
        let is_required = |field: &FieldDescriptor| self.contract.field_comment(field).starts_with("Required.");
        // A required field of an optional message is not required of the command.
        let required = if self.is_update { is_positional } else { path.iter().all(is_required) && !in_oneof };
        self.flags.push(Flag {
            shape: shape(field),
            required,
            help: help(self.contract, &path),
            name: if is_positional { String::new() } else { name },
            id,
            path,
        });
    }
}

fn id(path: &[FieldDescriptor]) -> String {
    path.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".")
}

fn shape(field: &FieldDescriptor) -> Shape {
    if SECRETS.contains(&field.name()) {
        return if field.is_list() { Shape::SecretLines } else { Shape::SecretFile };
    }
    let is_empty_message = field.kind().as_message().is_some_and(|message| message.fields().len() == 0);
    if field.is_map() {
        Shape::Map
    } else if field.is_list() {
        Shape::List
    } else if field.kind() == Kind::Bool {
        Shape::Switch
    } else if is_empty_message {
        Shape::Presence
    } else {
        Shape::Single
    }
}

/// The field's comment, after that of the oneof member that it belongs to, and without remarks about protobuf.
fn help(contract: &Contract, path: &[FieldDescriptor]) -> String {
    let [outer @ .., field] = path else { return String::new() };
    let choice =
        outer.iter().find(|field| real_oneof(field).is_some()).map(|field| sentence(contract.field_comment(field)));
    let own = unmarked(contract.field_comment(field));
    let mut help = match choice {
        Some(choice) => format!("{choice}. {own}"),
        None => own,
    };
    if let Kind::Enum(values) = field.kind() {
        let names: Vec<String> = short_names(&values).into_iter().map(|(name, _)| name).collect();
        help += &format!(" [one of: {}]", names.join(", "));
    }
    help += match shape(field) {
        Shape::List if our_message(field).is_some() => " [JSON; repeat it]",
        Shape::List | Shape::Map => " [repeat it or separate by commas]",
        Shape::SecretFile => " [a file; - is standard input]",
        Shape::SecretLines => " [a file with one on each line; - is standard input]",
        Shape::Single | Shape::Switch | Shape::Presence => "",
    };
    help
}

/// A comment in one line, without the marker in front and the full stop at the end.
fn unmarked(comment: &str) -> String {
    const MARKERS: [&str; 5] =
        ["Required. ", "Optional. ", "Output only. ", "Output only after create. ", "Output only on reads; "];
    let comment = comment.replace('\n', " ");
    let said = MARKERS.into_iter().find_map(|marker| comment.strip_prefix(marker)).unwrap_or(&comment);
    capitalized(said.trim_end_matches('.'))
}

/// The first sentence of a comment.
fn sentence(comment: &str) -> String {
    let text = unmarked(comment);
    text.split(". ").next().unwrap_or_default().to_owned()
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

// === impl Flag ===

impl Flag {
    /// Its name in messages.
    pub(super) fn shown(&self) -> String {
        match (self.name.as_str(), self.shape) {
            ("", _) => format!("<{}>", self.placeholder()),
            (name, Shape::SecretFile | Shape::SecretLines) => format!("--{name}-file"),
            (name, _) => format!("--{name}"),
        }
    }

    /// The arguments for clap: one, and for a secret another that refuses it.
    pub(super) fn args(&self, index: usize) -> Vec<Arg> {
        let arg = Arg::new(self.id.clone()).help(self.help.clone()).required(self.required);
        if self.name.is_empty() {
            return vec![arg.value_name(self.placeholder()).index(index)];
        }
        let arg = arg.long(self.name.clone()).value_name(self.placeholder());
        match self.shape {
            Shape::Single => vec![arg],
            Shape::Presence => vec![arg.action(ArgAction::SetTrue)],
            Shape::List | Shape::Map => vec![arg.action(ArgAction::Append)],
            Shape::Switch => vec![
                arg.num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .value_parser(["true", "false"])
                    .hide_possible_values(true),
            ],
            Shape::SecretFile | Shape::SecretLines => {
                let refusal = Arg::new(self.refusal()).long(self.name.clone()).hide(true).num_args(0..=1);
                vec![arg.long(format!("{}-file", self.name)), refusal]
            }
        }
    }

    /// clap's name for the flag that would take a secret itself.
    pub(super) fn refusal(&self) -> String {
        format!("{}!", self.id)
    }

    fn placeholder(&self) -> String {
        let Some(field) = self.path.last() else { return String::new() };
        match (self.shape, field.kind()) {
            (Shape::SecretFile | Shape::SecretLines, _) => "PATH".to_owned(),
            (Shape::Map, _) => "KEY=VALUE".to_owned(),
            (Shape::Switch, _) => "BOOL".to_owned(),
            (_, Kind::Message(message)) => match message.full_name() {
                "google.protobuf.Duration" => "DURATION".to_owned(),
                "google.protobuf.Timestamp" => "TIME".to_owned(),
                _ => "JSON".to_owned(),
            },
            _ => field.name().to_ascii_uppercase(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::verbs::NOUNS;

    fn flags_of(method: &str) -> Vec<Flag> {
        let contract = Contract::load().unwrap();
        let verb = NOUNS.iter().flat_map(|noun| noun.verbs).find(|verb| verb.method == method).unwrap();
        of(&contract, verb, &contract.method(method).unwrap())
    }

    fn shown(method: &str) -> Vec<String> {
        flags_of(method).iter().map(Flag::shown).collect()
    }

    #[test]
    fn no_command_has_two_flags_of_one_name_or_misses_a_positional() {
        for verb in NOUNS.iter().flat_map(|noun| noun.verbs) {
            let flags = flags_of(verb.method);
            let mut names = BTreeSet::new();
            for flag in &flags {
                assert!(names.insert(flag.shown()), "{}: {}", verb.method, flag.shown());
            }
            for positional in verb.positional {
                assert!(flags.iter().any(|flag| flag.id == *positional), "{}: {positional}", verb.method);
            }
        }
    }

    #[test]
    fn resources_are_flattened_and_output_is_left_out() {
        let create = shown("AccountService/CreateAccount");
        for name in ["--display-name", "--parent-id", "--labels", "--request-id"] {
            assert!(create.contains(&name.to_owned()), "{create:?}");
        }
        for name in ["--state", "--create-time", "--ancestor-ids", "--account-id", "--tenant-id", "--etag", "--account"]
        {
            assert!(!create.contains(&name.to_owned()), "{create:?}");
        }
        assert!(shown("TenantService/UpdateTenant").contains(&"--client-token-ttl".to_owned()));
    }

    #[test]
    fn secrets_are_files_options_are_json_and_empty_messages_switches() {
        let issue = flags_of("TokenService/IssueToken");
        let shape = |name: &str| issue.iter().find(|flag| flag.name == name).unwrap().shape;
        assert_eq!(shape("client-secret"), Shape::SecretFile);
        assert_eq!(shape("client-credentials"), Shape::Presence);
        assert_eq!(shape("options"), Shape::Single);
        assert_eq!(shape("never"), Shape::Switch);
        assert_eq!(shape("scopes"), Shape::List);
        assert!(shown("TokenService/BatchIntrospectTokens").contains(&"--tokens-file".to_owned()));
    }

    #[test]
    fn what_is_required_to_create_is_not_required_to_update() {
        let required = |method: &str| -> Vec<String> {
            flags_of(method).iter().filter(|flag| flag.required).map(Flag::shown).collect()
        };
        assert_eq!(required("AccountService/CreateAccount"), ["--display-name"]);
        assert_eq!(required("AccountService/UpdateAccount"), ["<ACCOUNT_ID>"]);
        assert_eq!(required("TokenService/IntrospectToken"), ["--token-file"]);
        // The member is described only if it is to be created.
        assert_eq!(required("EntityGroupService/UpsertGroupMember"), ["<ENTITY_GROUP_ID>", "<MEMBER_ID>"]);
        assert_eq!(required("ClientService/RevokeClientSecret"), ["<CLIENT_ID>", "<SECRET_ID>"]);
    }
}

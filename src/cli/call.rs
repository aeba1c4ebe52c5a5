//! A command that calls the service: its arguments, the call, and the printed reply.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    process::ExitCode,
};

use clap::{Arg, ArgMatches, Command, value_parser};
use prost_reflect::{Cardinality, DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, ReflectMessage, Value};

use super::{
    connection::{self, Connection},
    contract::{Contract, OwnProof, real_oneof},
    failure::Failure,
    fill,
    flags::{self, takes_tenant},
    output::{complain, fail, say},
    render,
    secrets::Secrets,
    serve::read_bounded,
    target::{self, Proof, Target},
    verbs::{NOUNS, Verb},
};
use crate::config::Environment;

/// A command that calls the service, with its arguments.
#[derive(Debug)]
pub struct OperatorCommand {
    contract: Contract,
    verb: &'static Verb,
    method: MethodDescriptor,
    matches: ArgMatches,
}

/// A batch of 1,000 tokens fits.
const MAX_SECRET_BYTES: u64 = 8 * 1024 * 1024;
/// How many rows a list shows by default.
const DEFAULT_LIMIT: &str = "1000";
/// The largest page of the service.
const MAX_PAGE: u32 = 1000;
/// A page may be empty and still have a next one; a list ends after this many, and says that there is more.
const MAX_PAGES: usize = 1000;

/// The command of a verb, as its method's comment describes it.
pub(super) fn command(contract: &Contract, verb: &'static Verb) -> Option<Command> {
    let method = contract.method(verb.method)?;
    // Here the mask is made from the flags.
    let comment = contract.method_comment(&method).replace("that `update_mask` names", "whose flags are given");
    let summary = comment.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let mut command = Command::new(verb.name).about(summary.trim_end_matches('.').to_owned()).long_about(comment);
    let mut places = 0;
    for flag in flags::of(contract, verb, &method) {
        places += usize::from(flag.name.is_empty());
        command = command.args(flag.args(places));
    }
    if takes_tenant(verb, &method.input()) {
        let tenant = Arg::new("tenant_id").long("tenant").value_name("TENANT");
        command = command
            .arg(tenant.help("The tenant; defaults to the caller's. An administrator of all tenants has to name it"));
    }
    if is_paged(&method) {
        let limit = Arg::new("limit").long("limit").value_name("NUMBER").default_value(DEFAULT_LIMIT);
        command = command.arg(
            limit
                .value_parser(value_parser!(u32).range(1..))
                .help("How many rows to show at most, from as many pages as needed"),
        );
    }
    Some(command.args(target::args()))
}

/// Finds the verb of `noun` that the arguments name.
pub(super) fn prepare(contract: Contract, noun: &str, matches: &ArgMatches) -> Result<OperatorCommand, Failure> {
    let unknown = || Failure::usage("no such command");
    let noun = NOUNS.iter().find(|candidate| candidate.name == noun).ok_or_else(unknown)?;
    let (name, matches) = matches.subcommand().ok_or_else(unknown)?;
    let verb = noun.verbs.iter().find(|verb| verb.name == name).ok_or_else(unknown)?;
    let method = contract.method(verb.method).ok_or_else(unknown)?;
    Ok(OperatorCommand { contract, verb, method, matches: matches.clone() })
}

// === impl OperatorCommand ===

impl OperatorCommand {
    /// Makes the call and prints the reply.
    pub async fn run(self, environment: &Environment) -> ExitCode {
        let reply = self.reply(environment, &Secrets::new(&read_secret)).await;
        match reply.and_then(|reply| self.print(&reply)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => fail(&failure),
        }
    }

    /// Makes the call.
    pub(super) async fn reply(
        &self,
        environment: &Environment,
        secrets: &Secrets<'_>,
    ) -> Result<DynamicMessage, Failure> {
        let (request, target) = self.request(environment, secrets)?;
        let mut connection = connection::connect(target, &self.contract).await?;
        match self.rows().filter(|_| is_paged(&self.method)) {
            Some(rows) => self.pages(&mut connection, request, &rows).await,
            None => connection.call(&self.method, request).await,
        }
    }

    /// The message to send, and its target. All mistakes in the arguments are found here.
    pub(super) fn request(
        &self,
        environment: &Environment,
        secrets: &Secrets<'_>,
    ) -> Result<(DynamicMessage, Target), Failure> {
        let flags = flags::of(&self.contract, self.verb, &self.method);
        let mut request = fill::request(&self.contract, &self.method.input(), &flags, &self.matches, secrets)?;
        if let Ok(Some(tenant)) = self.matches.try_get_one::<String>("tenant_id")
            && takes_tenant(self.verb, &self.method.input())
        {
            set(&mut request, "tenant_id", Value::String(tenant.clone()))?;
        }
        let own_proof = self.own_proof(&request);
        let authenticates = request.descriptor().get_field_by_name("client_secret").is_some();
        let credentials = ["client_id", "client_assertion"].iter().any(|name| request.has_field_by_name(name));
        let carries_proof = authenticates && credentials || own_proof == Some(OwnProof::Grant);
        let mut target = Target::new(&self.matches, environment, secrets, carries_proof)?;
        if let Proof::Credentials { credentials, .. } = &target.proof
            && own_proof == Some(OwnProof::Client)
        {
            set(&mut request, "client_id", Value::String(credentials.client_id.clone()))?;
            set(&mut request, "client_secret", Value::String(credentials.client_secret.clone()))?;
            target.proof = Proof::None;
        }
        Ok((request, target))
    }

    fn own_proof(&self, request: &DynamicMessage) -> Option<OwnProof> {
        let chosen = |field: &FieldDescriptor| real_oneof(field).is_some() && request.has_field(field);
        request.descriptor().fields().filter(chosen).find_map(|field| self.contract.own_proof(&field))
    }

    /// The field of the reply that a table shows.
    fn rows(&self) -> Option<FieldDescriptor> {
        let is_rows = |field: &FieldDescriptor| {
            field.cardinality() == Cardinality::Repeated && matches!(field.kind(), Kind::Message(_)) && !field.is_map()
        };
        self.method.output().fields().find(is_rows).filter(|_| !self.verb.columns.is_empty())
    }

    /// All rows up to the limit, in one reply, which also has the token of the page after them.
    async fn pages(
        &self,
        connection: &mut Connection,
        mut request: DynamicMessage,
        rows: &FieldDescriptor,
    ) -> Result<DynamicMessage, Failure> {
        let limit = self.matches.get_one::<u32>("limit").copied().unwrap_or(MAX_PAGE);
        let page_size = request.get_field_by_name("page_size").and_then(|size| size.as_i32()).unwrap_or_default();
        let mut reply = DynamicMessage::new(self.method.output());
        let mut all: Vec<Value> = Vec::new();
        for _ in 0..MAX_PAGES {
            let missing = limit.saturating_sub(u32::try_from(all.len()).unwrap_or(u32::MAX));
            let wanted = i32::try_from(missing.min(MAX_PAGE)).unwrap_or(i32::MAX);
            // Never more than are missing: a page cannot be cut, because its token opens what comes after all of it.
            let size = if page_size > 0 { page_size.min(wanted) } else { wanted };
            set(&mut request, "page_size", Value::I32(size))?;
            reply = connection.call(&self.method, request.clone()).await?;
            if let Some(Value::List(page)) = reply.take_field(rows) {
                all.extend(page);
            }
            let next = text_of(&reply, "next_page_token");
            if next.is_empty() || all.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
                break;
            }
            set(&mut request, "page_token", Value::String(next))?;
        }
        set(&mut reply, rows.name(), Value::List(all))?;
        Ok(reply)
    }

    /// The reply as it is printed.
    pub(super) fn rendered(&self, reply: &DynamicMessage) -> Result<String, Failure> {
        if self.matches.get_flag("json") {
            render::json(reply)
        } else {
            Ok(render::text(reply, self.rows().as_ref(), self.verb.columns))
        }
    }

    fn print(&self, reply: &DynamicMessage) -> Result<(), Failure> {
        say(&self.rendered(reply)?).map_err(|error| Failure::call(format!("cannot write the reply: {error}")))?;
        let next = text_of(reply, "next_page_token");
        if !next.is_empty() {
            complain(&format!("there are more: --page-token {next}"));
        }
        Ok(())
    }
}

fn is_paged(method: &MethodDescriptor) -> bool {
    method.input().get_field_by_name("page_token").is_some()
}

fn set(message: &mut DynamicMessage, field: &str, value: Value) -> Result<(), Failure> {
    let set = message.try_set_field_by_name(field, value);
    set.map_err(|error| Failure::usage(format!("cannot set `{field}`: {error}")))
}

fn text_of(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.as_deref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn read_secret(path: Option<&Path>) -> io::Result<Vec<u8>> {
    let source: Box<dyn Read> = match path {
        Some(path) => Box::new(File::open(path)?),
        None => Box::new(io::stdin().lock()),
    };
    read_bounded(source, MAX_SECRET_BYTES)
}

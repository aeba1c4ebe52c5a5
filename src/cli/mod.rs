//! The command line: `jeton serve`, and the operator commands, which call the service by its gRPC contract.
//!
//! Promises: commands, their flags and their help come from the contract's descriptors; secrets come from files,
//! standard input or variables, never from arguments; exit code 0: done, 1: the call failed, 2: it was not made. Invariant:
//! knows nothing of the domain, and is the only place that writes to standard output.
//!
//! Start reading at [`verbs::NOUNS`], the table of commands.

mod call;
mod connection;
mod contract;
mod failure;
mod fill;
mod flags;
mod output;
mod printable;
mod render;
mod secrets;
mod serve;
mod target;
#[cfg(test)]
mod tests;
mod values;
mod verbs;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::Command;

pub use self::call::OperatorCommand;
use self::{
    contract::Contract,
    output::{complain, fail},
};
use crate::config::{Config, Environment};

/// The command that was given.
#[derive(Debug)]
pub enum Invocation {
    /// Run the service.
    Serve(Box<Config>),
    /// Call a service that runs.
    Call(Box<OperatorCommand>),
}

/// Reads the command line. The error is the exit code when there is nothing left to do: help was printed, the configuration
/// was only checked, or a mistake was reported.
pub fn parse(args: impl IntoIterator<Item = OsString>, environment: &Environment) -> Result<Invocation, ExitCode> {
    let contract = Contract::load().map_err(|error| {
        complain(&format!("error: cannot read the contract that was built in: {error}"));
        ExitCode::FAILURE
    })?;
    let matches = command(&contract).try_get_matches_from(args).map_err(|error| {
        // Help goes to standard output and mistakes to standard error. Nothing can be done if it is closed.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })?;
    match matches.subcommand() {
        Some(("serve", matches)) => {
            serve::configuration(matches, environment).map(|config| Invocation::Serve(Box::new(config)))
        }
        Some((CONTRACT, _)) => Err(print_contract()),
        Some((noun, matches)) => call::prepare(contract, noun, matches)
            .map(|call| Invocation::Call(Box::new(call)))
            .map_err(|failure| fail(&failure)),
        None => Err(ExitCode::from(2)),
    }
}

/// The command that prints the contract.
const CONTRACT: &str = "contract";

/// Prints the contract, for programs.
fn print_contract() -> ExitCode {
    let printed = contract::descriptor_set().and_then(|set| {
        let mut out = io::stdout().lock();
        out.write_all(&set)?;
        out.flush()
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: cannot print the contract: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Makes the call and prints the reply.
pub fn run(call: OperatorCommand, environment: &Environment) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(call.run(environment)),
        Err(error) => {
            complain(&format!("error: cannot start: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// All commands.
fn command(contract: &Contract) -> Command {
    let nouns = verbs::NOUNS.iter().map(|noun| {
        Command::new(noun.name)
            .about(noun.about)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .disable_help_subcommand(true)
            .subcommands(noun.verbs.iter().filter_map(|verb| call::command(contract, verb)))
    });
    Command::new("jeton")
        .about("A gRPC service that issues, renews, lists, introspects and revokes access tokens")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve::command())
        .subcommand(
            Command::new(CONTRACT)
                .about("Prints the contract as an encoded FileDescriptorSet, for transcoders and proxies")
                .long_about(
                    "Prints the contract as an encoded FileDescriptorSet, with everything that it imports and the types of \
                     error details: `jeton contract > jeton.binpb`. With its `google.api.http` annotations, proxies such \
                     as Envoy offer it as JSON over HTTP.",
                ),
        )
        .subcommands(nouns)
}

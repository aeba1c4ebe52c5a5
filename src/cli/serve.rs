//! `jeton serve`: its flags, and the checks that it can do instead of serving.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::output::{complain, say};
use crate::config::{self, Config, Environment};

/// No configuration and no secret is longer; a device file would never end.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

pub(super) fn command() -> Command {
    let switch =
        |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help_heading("Instead of serving");
    Command::new("serve")
        .about("Run the service")
        .after_help("Every flag can also be set in the environment and in a TOML file: docs/CONFIGURATION.md.")
        .args(config::flags())
        .arg(switch("check-config").help("Check the configuration and exit with 0 if it is valid, else with 2"))
        .arg(switch("print-config").help("Print the configuration in effect and where each value came from"))
}

/// The configuration to serve with, or the exit code if there is nothing to serve.
pub(super) fn configuration(matches: &ArgMatches, environment: &Environment) -> Result<Config, ExitCode> {
    let (config, values) = config::load(matches, environment, &read_file).map_err(|mistakes| {
        complain(&format!("error: the configuration is not valid\n{mistakes}"));
        ExitCode::from(2)
    })?;
    let instead = if matches.get_flag("print-config") {
        say(&config::to_toml(&values))
    } else if matches.get_flag("check-config") {
        say("the configuration is valid\n")
    } else {
        return Ok(config);
    };
    Err(if instead.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads a file of modest size.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    read_bounded(File::open(path)?, MAX_FILE_BYTES)
}

pub(super) fn read_bounded(source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = source.take(limit + 1).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read <= limit) {
        Ok(bytes)
    } else {
        Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {limit} bytes")))
    }
}

//! Counts what each call costs the service: instructions of its process and allocations, under valgrind's callgrind. Holds
//! the counts against `counts.tsv`, which says what each call may cost.
//!
//! Promises: counts only, no times, so a busy machine counts what an idle one does. A count that is more than its
//! tolerance above the file's fails.
//!
//! Invariant: what is counted is the program `jeton` that lies beside this one, called over its contract. Nothing in it
//! knows that it is being counted.
//!
//! Start reading at [`cases`].

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it counts")]

mod calls;
mod cases;
mod counts;
mod echo;
mod profile;
mod servers;
mod world;

use std::{env, path::PathBuf, process::ExitCode};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Failure> = std::result::Result<T, E>;

const USAGE: &str = "\
usage: jeton-budget [--redis-server PATH] [--only NAME] [--profiles DIRECTORY] [--write REASON]
  --redis-server PATH  the program of the Redis or Valkey server that the second store runs on
  --only NAME          count only the calls whose name contains NAME
  --profiles DIRECTORY keep the profiles there, for callgrind_annotate
  --write REASON       put what was counted into the file, with the reason, instead of comparing with it";

/// What the command line asks for.
#[derive(Debug, Default)]
struct Options {
    /// Put what was counted into the file, with this reason, instead of comparing with it.
    write: Option<String>,
    /// The program of the server that the second store runs on.
    redis_server: Option<PathBuf>,
    /// Where to keep the profiles.
    profiles: Option<PathBuf>,
    /// Count only the calls whose name contains this.
    only: String,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let mut arguments = env::args().skip(1);
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Started by the run itself.
            "echo" => return echo::serve(&arguments.next().ok_or(USAGE)?).map(|()| ExitCode::SUCCESS),
            "--write" => options.write = Some(arguments.next().filter(|reason| !reason.is_empty()).ok_or(USAGE)?),
            "--redis-server" => options.redis_server = Some(arguments.next().ok_or(USAGE)?.into()),
            "--profiles" => options.profiles = Some(arguments.next().ok_or(USAGE)?.into()),
            "--only" => options.only = arguments.next().ok_or(USAGE)?,
            _ => return Err(USAGE.into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let counted = runtime.block_on(cases::count_all(&options))?;
    counts::judge(&options, &counted)
}

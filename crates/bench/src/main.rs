//! `jeton-bench`: what calls cost, on this machine, with the `jeton` beside it.
//!
//! Promises: every figure that is claimed anywhere comes from here. The service, the echo that it is held against and
//! Redis are processes of their own, so that their CPU time is distinguished from the load client's, which is this one;
//! both sides see the same messages in blocks that take turns. Linux only: CPU time is read from `/proc`.
//!
//! Invariant: measures through the contract, as a caller does; only filling a store with many tokens and the group commit
//! go through the store port of the library.
//!
//! Start reading at [`calls`].

mod calls;
mod echo;
mod facts;
mod flat;
mod http;
mod load;
mod message;
mod pages;
mod process;
mod report;
mod rotation;
mod secured;
mod supply;
mod telemetry;
mod world;

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use jeton::error::chain;

use self::{
    process::{Redis, RedisAddress, Store},
    report::Report,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Failure> = std::result::Result<T, E>;

fn main() -> ExitCode {
    match prepare(&command().get_matches()) {
        Ok(plan) => run(&plan),
        Err(exit_code) => exit_code,
    }
}

/// What to measure, and how long.
#[derive(Debug)]
struct Plan {
    role: Role,
    /// The service that is measured.
    service: PathBuf,
    only: Vec<String>,
    redis_url: Option<String>,
    redis_server: Option<PathBuf>,
    dir: Option<PathBuf>,
    /// Tokens of the account with many; 0: not measured.
    flat: usize,
    /// Tokens whose memory is measured.
    memory: usize,
    rounds: usize,
    block: Duration,
    embedded: bool,
    quick: bool,
    json: bool,
}

/// Which process of the run this is.
#[derive(Debug)]
enum Role {
    Load,
    Echo { replies: PathBuf },
}

/// What `--only` takes.
const NAMES: [&str; 19] = [
    "introspect-jwt",
    "introspect-opaque",
    "introspect-bounded",
    "introspect-member",
    "introspect-group",
    "issue-jwt",
    "issue-opaque",
    "renew",
    "revoke",
    "batch",
    "http",
    "flat",
    "pages",
    "telemetry",
    "tls",
    "group-commit",
    "memory",
    "start",
    "rotation",
];

fn command() -> Command {
    let option = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    // Started by the run itself.
    let replies = option("replies", "DIRECTORY").required(true).value_parser(value_parser!(PathBuf));
    let echo = Command::new("echo").hide(true).arg(replies);
    Command::new("jeton-bench")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Measure what calls cost, against a bare gRPC echo on this machine")
        .after_help(
            "Starts services on stores of its own, in temporary directories. Without --redis or --redis-server only the \
             embedded store is measured. Everything that is measured is removed afterwards, except from --redis.",
        )
        .subcommand(echo)
        .arg(
            option("service", "PATH")
                .value_parser(value_parser!(PathBuf))
                .help("The program to measure, if not the jeton in the same directory as this one"),
        )
        .arg(switch("quick").help("A short run: noisier, and with 100,000 instead of 1,000,000 tokens"))
        .arg(
            option("only", "NAMES")
                .value_delimiter(',')
                .action(ArgAction::Append)
                .value_parser(PossibleValuesParser::new(NAMES))
                .help("Measure these only"),
        )
        .arg(option("redis", "URL").help("Also measure calls on this server, which must be empty: redis://host:port"))
        .arg(
            option("redis-server", "PATH")
                .value_parser(value_parser!(PathBuf))
                .help("Also measure on Redis or Valkey servers that are started from this program"),
        )
        .arg(switch("no-embedded").help("Leave the embedded store out"))
        .arg(option("flat", "TOKENS").value_parser(value_parser!(usize)).help("How many tokens are many; 0: leave it out"))
        .arg(option("rounds", "NUMBER").value_parser(value_parser!(u16)).help("Pairs of blocks for each figure"))
        .arg(option("seconds", "NUMBER").value_parser(value_parser!(f64)).help("Length of a block"))
        .arg(
            option("dir", "DIRECTORY")
                .value_parser(value_parser!(PathBuf))
                .help("Where stores are made, if not where the system keeps temporary files"),
        )
        .arg(switch("json").help("Print JSON instead of tables"))
}

/// What the command line asks for.
fn prepare(matches: &ArgMatches) -> Result<Plan, ExitCode> {
    let role = match matches.subcommand() {
        Some((_, matches)) => {
            Role::Echo { replies: matches.get_one::<PathBuf>("replies").cloned().unwrap_or_default() }
        }
        None => Role::Load,
    };
    let quick = matches.get_flag("quick");
    let seconds = matches.get_one("seconds").copied().unwrap_or(if quick { 0.5 } else { 2.0 });
    let block = Duration::try_from_secs_f64(seconds).ok().filter(|block| !block.is_zero()).ok_or_else(|| {
        complain("error: --seconds must be more than zero");
        ExitCode::from(2)
    })?;
    Ok(Plan {
        role,
        service: matches.get_one("service").cloned().unwrap_or_else(neighbour),
        only: matches.get_many::<String>("only").into_iter().flatten().cloned().collect(),
        redis_url: matches.get_one("redis").cloned(),
        redis_server: matches.get_one("redis-server").cloned(),
        dir: matches.get_one("dir").cloned(),
        flat: matches.get_one("flat").copied().unwrap_or(if quick { 100_000 } else { 1_000_000 }),
        memory: if quick { 10_000 } else { 100_000 },
        rounds: matches
            .get_one::<u16>("rounds")
            .map_or(if quick { 2 } else { 5 }, |rounds| usize::from(*rounds).max(1)),
        block,
        embedded: !matches.get_flag("no-embedded"),
        quick,
        json: matches.get_flag("json"),
    })
}

/// The service that was built together with this program.
fn neighbour() -> PathBuf {
    env::current_exe().unwrap_or_default().with_file_name("jeton")
}

/// Measures and prints.
fn run(plan: &Plan) -> ExitCode {
    let outcome = match &plan.role {
        Role::Echo { replies } => echo::serve(replies),
        Role::Load => plan.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {}", chain(&*error)));
            ExitCode::FAILURE
        }
    }
}

// === impl Plan ===

impl Plan {
    fn run(&self) -> Result<()> {
        jeton::app::install_crypto();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let reports = runtime.block_on(self.measure())?;
        let text = if self.json {
            format!("{}\n", serde_json::to_string_pretty(&reports)?)
        } else {
            reports.iter().map(Report::tables).collect()
        };
        Ok(say(&text)?)
    }

    async fn measure(&self) -> Result<Vec<Report>> {
        let mut reports = Vec::new();
        if self.embedded {
            let mut report = Report::new("embedded");
            facts::start(self, &mut report).await?;
            facts::group_commit(self, &mut report).await?;
            calls::run(self, &Store::Embedded, &mut report).await?;
            http::run(self, None, &mut report).await?;
            flat::run(self, None, &mut report).await?;
            pages::run(self, None, &mut report).await?;
            telemetry::run(self, None, &mut report).await?;
            rotation::run(self, None, &mut report).await?;
            secured::run(self, None, &mut report).await?;
            reports.push(report);
        }
        if let Some(program) = &self.redis_server {
            let redis = Redis::start(program, self.dir.as_deref())?;
            let mut report = Report::new(&redis.address.product()?);
            calls::run(self, &Store::Redis(redis.address.clone()), &mut report).await?;
            drop(redis);
            http::run(self, Some(program), &mut report).await?;
            facts::memory(self, program, &mut report).await?;
            flat::run(self, Some(program), &mut report).await?;
            pages::run(self, Some(program), &mut report).await?;
            telemetry::run(self, Some(program), &mut report).await?;
            rotation::run(self, Some(program), &mut report).await?;
            secured::run(self, Some(program), &mut report).await?;
            reports.push(report);
        }
        if let Some(url) = &self.redis_url {
            let address = RedisAddress::new(url)?;
            let mut report = Report::new(&address.product()?);
            calls::run(self, &Store::Redis(address), &mut report).await?;
            reports.push(report);
        }
        Ok(reports)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// As many as that in a run of full length.
    const fn tokens(&self, count: usize) -> usize {
        if self.quick { count / 4 } else { count }
    }

    /// Tells how far the run is.
    fn say(&self, what: &str) {
        if !self.json {
            complain(what);
        }
    }
}

/// A count as a number to reckon with.
fn number(count: u64) -> f64 {
    // Exact far beyond every count here: nanoseconds of a duration are whole numbers.
    Duration::from_nanos(count).as_secs_f64() * 1e9
}

/// Says on standard error.
fn complain(message: &str) {
    // Nobody reads a standard error that is closed.
    let _ = writeln!(io::stderr(), "{message}");
}

/// Writes to standard output.
fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

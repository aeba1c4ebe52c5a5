//! The configuration of `jeton serve`: flags over `JETON_*` variables over a TOML file over defaults.
//!
//! Promises: a [`Config`] is valid as a whole; all mistakes are reported at once, each with its origin; no secret is ever
//! shown. Invariant: a pure function of its arguments: the process environment, the file system and the command line are
//! passed in, and nothing is opened, bound or made.
//!
//! Start reading at [`registry::KEYS`], from which flags, variables and the reference page derive.

mod assemble;
pub mod duration;
mod file;
mod given;
mod key;
mod mistake;
mod nearest;
mod otlp;
mod print;
mod reader;
pub mod registry;
mod sources;
#[cfg(test)]
mod tests;
mod values;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::ArgMatches;
use jeton_core::{ClientId, secret::SecretText};

use self::reader::Reader;
pub use self::{
    given::{Environment, Found, ReadFile, Values},
    mistake::{Mistake, Mistakes, Origin},
    otlp::Otlp,
    print::{reference, to_toml},
    sources::flags,
    values::{Listen, directives},
};
use crate::{
    keys::master::MasterKey,
    outbound::{Url, allow::Allow, published::Location},
    outbox::webhook::SigningSecret,
    serve::tls::Files,
};

/// The configuration of `jeton serve`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; at least one.
    pub listen: Vec<Listen>,
    /// Where to listen for OAuth 2 over HTTP; may be empty.
    pub http_listen: Vec<Listen>,
    /// Where to listen for operators; may be empty.
    pub admin_listen: Vec<Listen>,
    /// Whether the operators' listeners use TLS; only with `tls`.
    pub admin_tls: bool,
    /// How listeners are secured; `None`: they are not.
    pub tls: Option<Files>,
    /// The directory of the embedded store.
    pub data_dir: PathBuf,
    /// The `{base}` of issuers, without a slash at its end.
    pub public_url: String,
    /// Threads that serve calls; `None`: one per core.
    pub workers: Option<NonZeroUsize>,
    pub store: Store,
    /// Newest first. Empty only with the embedded store, which then makes one.
    pub master_keys: Vec<MasterKey>,
    /// The first admin client's credentials, if they are set.
    pub bootstrap: Option<Bootstrap>,
    /// Issuers whose workloads may call, each with the place of its key set.
    pub workload_issuers: Vec<(String, Location)>,
    /// Where events go; `None`: nowhere.
    pub webhook: Option<Webhook>,
    pub limits: Limits,
    pub drain: Drain,
    /// How long a connection lives, before jitter.
    pub connection_age: Duration,
    /// Whether server reflection is offered.
    pub reflection: bool,
    pub outbound: Outbound,
    /// Where traces and metrics go; `None`: nowhere.
    pub otlp: Option<Otlp>,
    pub log: Log,
}

/// Where tokens are kept.
#[derive(Clone, Debug)]
pub enum Store {
    /// One file in `data_dir`.
    Embedded,
    Redis(Redis),
}

/// How to reach Redis or Valkey.
#[derive(Clone, Debug)]
pub struct Redis {
    /// May hold a password.
    pub url: SecretText,
    /// How many replicas must hold a write before it is acknowledged.
    pub wait_replicas: usize,
    /// How long to wait for them.
    pub wait_timeout: Duration,
    /// PEM files for `rediss://`.
    pub tls: RedisTls,
}

/// The files of TLS to Redis.
#[derive(Clone, Debug)]
pub struct RedisTls {
    /// The authorities that are trusted in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The client certificate with its chain, and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The first admin client's credentials.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    pub client_id: ClientId,
    pub client_secret: SecretText,
}

/// Where events go.
#[derive(Clone, Debug)]
pub enum Webhook {
    /// Into the log.
    Log,
    /// To this URL, signed by each of these.
    Post { url: Url, secrets: Vec<SigningSecret> },
}

/// How much work is accepted.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `None`: half of the limit of open files, at most 4096.
    pub max_connections: Option<NonZeroUsize>,
    /// Calls at a time.
    pub max_in_flight: usize,
    /// Calls at a time on one connection.
    pub max_in_flight_per_connection: usize,
    /// Revocations at a time, in a lane of their own.
    pub max_in_flight_revocations: usize,
    /// The longest that a call may take.
    pub request_deadline: Duration,
}

/// How to stop.
#[derive(Clone, Debug)]
pub struct Drain {
    /// How long calls may go on.
    pub timeout: Duration,
    /// How long to wait between NOT_SERVING and closing the listeners.
    pub delay: Duration,
}

/// How to call other services.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Destinations that may be called although they are not public.
    pub allow: Vec<Allow>,
    /// PEM certificates of authorities besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The longest that a call may take.
    pub timeout: Duration,
}

/// What to log and how.
#[derive(Clone, Debug)]
pub struct Log {
    /// Directives of `tracing_subscriber::EnvFilter`, known to parse.
    pub level: String,
    pub format: LogFormat,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For humans.
    Text,
    /// One JSON object per line.
    Json,
}

/// Reads the configuration.
///
/// `flags` are the matches of a command that has [`flags()`]. Returns the configuration and, for `--print-config`, the
/// values with their origins; or all mistakes.
pub fn load(flags: &ArgMatches, environment: &Environment, read: ReadFile<'_>) -> Result<(Config, Values), Mistakes> {
    let mut mistakes = Vec::new();
    let values = sources::gather(flags, environment, read, &mut mistakes);
    let config = assemble::assemble(&mut Reader { values: &values, mistakes: &mut mistakes }, environment);
    if mistakes.is_empty() { Ok((config, values)) } else { Err(Mistakes(mistakes)) }
}

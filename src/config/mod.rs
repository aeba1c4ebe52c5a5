//! The configuration of `jeton serve`: flags over `JETON_*` variables over a TOML file over defaults.
//!
//! Promises: a [`Config`] is valid as a whole; whatever is wrong is reported at once, each mistake with the place it came
//! from; no secret is ever shown. Invariant: a pure function of its arguments: the process environment, the file system
//! and the command line are handed in, and nothing is opened, bound or made.
//!
//! Start reading at [`registry::KEYS`], from which everything else derives.

pub mod duration;
mod file;
mod mistake;
mod otlp;
mod print;
pub mod registry;
mod sources;
#[cfg(test)]
mod tests;
mod values;

use std::{fmt, num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::ArgMatches;

pub use self::{
    mistake::{Mistake, Mistakes, Origin},
    otlp::Otlp,
    print::{reference, to_toml},
    sources::{Environment, Found, ReadFile, Values, flags},
    values::directives,
};
use crate::{
    keys::master::MasterKey,
    outbound::{Url, allow::Allow, published::Location},
    outbox::webhook::SigningSecret,
    serve::tls::{ClientAuth, Files},
    token::{ClientId, secret::SecretText},
};

/// Everything that `jeton serve` was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; at least one.
    pub listen: Vec<Listen>,
    /// Where to listen for OAuth 2 over HTTP; may be empty.
    pub http_listen: Vec<Listen>,
    /// Where to listen for those who run the service; may be empty.
    pub admin_listen: Vec<Listen>,
    /// Whether those who run the service are served under TLS; only with `tls`.
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
    /// The first admin client's credentials, if they were given.
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

/// An address to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A host name or an address without brackets, and a port; port 0 takes a free one.
    Tcp { host: String, port: u16 },
    /// The path of a Unix socket.
    Unix(PathBuf),
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

/// What `rediss://` is checked and answered with.
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

/// How much work is taken on.
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
    /// What may be called although it is not public.
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
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Reads the configuration.
///
/// `flags` are the matches of a command that has [`flags()`]. Returns the configuration and, for `--print-config`, what
/// was found where; or all mistakes.
pub fn load(flags: &ArgMatches, environment: &Environment, read: ReadFile<'_>) -> Result<(Config, Values), Mistakes> {
    let mut mistakes = Vec::new();
    let values = sources::gather(flags, environment, read, &mut mistakes);
    let config = typed(&mut values::Reader { values: &values, mistakes: &mut mistakes }, environment);
    if mistakes.is_empty() { Ok((config, values)) } else { Err(Mistakes(mistakes)) }
}

/// Means nothing if there are mistakes.
fn typed(reader: &mut values::Reader<'_>, environment: &Environment) -> Config {
    Config {
        listen: reader.list("listen", values::listen),
        http_listen: reader.list("http.listen", values::listen),
        admin_listen: reader.list("admin.listen", values::listen),
        admin_tls: admin_tls(reader),
        tls: tls(reader),
        data_dir: reader.parse("data_dir", values::path).unwrap_or_default(),
        public_url: reader.parse("public_url", values::public_url).unwrap_or_default(),
        workers: reader.integer_or_auto("workers"),
        store: store(reader),
        master_keys: reader.parse("master_key", values::master_keys).unwrap_or_default(),
        bootstrap: bootstrap(reader),
        workload_issuers: reader.workload_issuers(),
        webhook: webhook(reader),
        limits: Limits {
            max_connections: reader.integer_or_auto("limits.max_connections"),
            max_in_flight: reader.integer("limits.max_in_flight"),
            max_in_flight_per_connection: reader.integer("limits.max_in_flight_per_connection"),
            max_in_flight_revocations: reader.integer("limits.max_in_flight_revocations"),
            request_deadline: reader.duration("limits.request_deadline"),
        },
        drain: Drain { timeout: reader.duration("drain.timeout"), delay: reader.duration("drain.delay") },
        connection_age: reader.duration("connection_age"),
        reflection: reader.bool("reflection"),
        outbound: Outbound {
            allow: reader.list("outbound.allow", values::allow),
            ca_file: reader.parse("outbound.ca_file", values::path),
            timeout: reader.duration("outbound.timeout"),
        },
        otlp: otlp::read(reader, environment),
        log: Log { level: reader.parse("log.level", directives).unwrap_or_default(), format: format(reader) },
    }
}

fn store(reader: &mut values::Reader<'_>) -> Store {
    let url = reader.parse("redis.url", values::redis_url);
    let wait_replicas = reader.integer("redis.wait_replicas");
    let wait_timeout = reader.duration("redis.wait_timeout");
    let tls = RedisTls {
        ca_file: reader.parse("redis.ca_file", values::path),
        identity: pair(reader, "redis.cert_file", "redis.key_file"),
    };
    redis_tls_wants_its_scheme(reader, url.as_ref());
    let is_redis = reader.choice("store", |word| match word {
        "embedded" => Some(false),
        "redis" => Some(true),
        _ => None,
    });
    match is_redis {
        Some(true) => {
            reader.want("redis.url", "the store `redis` wants");
            reader.want("master_key", "the store `redis` wants");
            url.map_or(Store::Embedded, |url| Store::Redis(Redis { url, wait_replicas, wait_timeout, tls }))
        }
        Some(false) => {
            // Whoever gives an address believes that the tokens are kept there.
            reader.refuse_given("redis.url", "means nothing to the store `embedded`; set store to `redis`, too");
            Store::Embedded
        }
        None => Store::Embedded,
    }
}

/// Files of TLS under a scheme without it would be a server that nobody checks.
fn redis_tls_wants_its_scheme(reader: &mut values::Reader<'_>, url: Option<&SecretText>) {
    if url.is_none_or(|url| url.expose().starts_with("rediss://")) {
        return;
    }
    for path in ["redis.ca_file", "redis.cert_file", "redis.key_file"] {
        reader.refuse_given(path, "wants a `redis.url` that begins with rediss://");
    }
}

/// A certificate and its private key: both or none.
fn pair(reader: &mut values::Reader<'_>, cert: &str, key: &str) -> Option<(PathBuf, PathBuf)> {
    match (reader.has(cert), reader.has(key)) {
        (true, false) => reader.want(key, &format!("`{cert}` wants")),
        (false, true) => reader.want(cert, &format!("`{key}` wants")),
        (true, true) | (false, false) => {}
    }
    let cert = reader.parse(cert, values::path);
    let key = reader.parse(key, values::path);
    cert.zip(key)
}

fn tls(reader: &mut values::Reader<'_>) -> Option<Files> {
    let given = pair(reader, "tls.cert_file", "tls.key_file");
    let client_ca = reader.parse("tls.client_ca_file", values::path);
    let client_auth = reader.choice("tls.client_auth", |word| match word {
        "off" => Some(ClientAuth::Off),
        "optional" => Some(ClientAuth::Optional),
        "required" => Some(ClientAuth::Required),
        _ => None,
    });
    let client_auth = client_auth.unwrap_or(ClientAuth::Off);
    match client_auth {
        // Whoever names authorities believes that certificates are asked for.
        ClientAuth::Off => {
            reader.refuse_given("tls.client_ca_file", "means nothing while `tls.client_auth` is off");
        }
        ClientAuth::Optional | ClientAuth::Required => {
            reader.want("tls.client_ca_file", "`tls.client_auth` wants");
            reader.want("tls.cert_file", "`tls.client_auth` wants");
        }
    }
    given.map(|(cert, key)| Files { cert, key, client_ca, client_auth })
}

fn admin_tls(reader: &mut values::Reader<'_>) -> bool {
    let admin_tls = reader.bool("admin.tls");
    if admin_tls {
        reader.want("tls.cert_file", "`admin.tls` wants");
        reader.want("admin.listen", "`admin.tls` wants");
    }
    admin_tls
}

fn bootstrap(reader: &mut values::Reader<'_>) -> Option<Bootstrap> {
    let client_id = reader.parse("bootstrap.client_id", |text| {
        text.parse().map_err(|_| format!("`{text}` is no client id: up to 64 letters, digits, `-`, `_` and `.`"))
    });
    let client_secret = reader.parse("bootstrap.client_secret", values::bootstrap_secret);
    match (reader.has("bootstrap.client_id"), reader.has("bootstrap.client_secret")) {
        (true, false) => reader.want("bootstrap.client_secret", "the bootstrap client wants"),
        (false, true) => reader.want("bootstrap.client_id", "the bootstrap client wants"),
        (true, true) | (false, false) => {}
    }
    Some(Bootstrap { client_id: client_id?, client_secret: client_secret? })
}

fn webhook(reader: &mut values::Reader<'_>) -> Option<Webhook> {
    let url = reader.parse("webhook.url", values::webhook_url);
    let secrets = reader.parse("webhook.secret", values::webhook_secrets);
    match url? {
        None => {
            reader.refuse_given("webhook.secret", "means nothing to `log:`");
            Some(Webhook::Log)
        }
        Some(url) => {
            reader.want("webhook.secret", "an URL in `webhook.url` wants");
            Some(Webhook::Post { url, secrets: secrets? })
        }
    }
}

fn format(reader: &mut values::Reader<'_>) -> LogFormat {
    let format = reader.choice("log.format", |word| match word {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    format.unwrap_or(LogFormat::Text)
}

// === impl Listen ===

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

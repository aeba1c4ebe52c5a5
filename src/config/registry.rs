//! The table of settings. Flags, variables, the file, the printed configuration and the reference page all come from it.

use std::time::Duration;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its place in the TOML file, for example `drain.timeout`. Flag and variable derive from it.
    pub path: &'static str,
    pub kind: Kind,
    /// As it would stand in a variable. `None`: unset.
    pub default: Option<&'static str>,
    /// Whole sentences, for people.
    pub help: &'static str,
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One text; the value's name in help texts.
    Text(&'static str),
    /// Texts, separated by commas outside of the file.
    List(&'static str),
    /// A number with a unit, for example `15m`.
    Duration {
        min: Duration,
        max: Duration,
    },
    Integer {
        min: u64,
        max: u64,
    },
    /// A number that need not be whole.
    Number {
        min: f64,
        max: f64,
    },
    Bool,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A text that nobody may see. It may stand in a file of its own, and never on a command line, which every process of
    /// the machine can read.
    Secret,
}

const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);

/// All settings, in the order of the reference page. Those without a dot come first, as TOML wants it.
pub const KEYS: &[Key] = &[
    Key {
        path: "listen",
        kind: Kind::List("ADDRESS"),
        default: Some("127.0.0.1:7443"),
        help: "Where to listen: `host:port` or `unix:/path`. Port 0 takes a free port.",
    },
    Key {
        path: "data_dir",
        kind: Kind::Text("DIRECTORY"),
        default: Some("./jeton-data"),
        help: "Where the embedded store lives. It is made if it does not exist.",
    },
    Key {
        path: "public_url",
        kind: Kind::Text("URL"),
        default: Some("http://localhost:7443"),
        help: "The URL under which the world reaches this service. A tenant's issuer (`iss`) is `{public_url}/t/{tenant_id}`, so a change makes all JWTs foreign.",
    },
    Key {
        path: "workers",
        kind: Kind::Integer { min: 0, max: 1024 },
        default: Some("0"),
        help: "Threads that serve calls. 0: one per core.",
    },
    Key {
        path: "store",
        kind: Kind::Choice(&["embedded", "redis"]),
        default: Some("embedded"),
        help: "Where tokens are kept: `embedded`, one file in `data_dir` for a single process, or `redis`, shared by any number of replicas.",
    },
    Key {
        path: "master_key",
        kind: Kind::Secret,
        default: None,
        help: "The key under which everything else is derived and sealed: 32 bytes as hex or base64. Several, newest first, on lines of their own or separated by commas: the first one makes new secrets, the others still open old ones. Required for `redis`; the embedded store makes one in `data_dir` if none is given.",
    },
    Key {
        path: "connection_age",
        kind: Kind::Duration { min: SECOND, max: DAY },
        default: Some("30m"),
        help: "How long a connection lives before its client is asked to open another, give or take a fifth, so that load spreads over new replicas.",
    },
    Key {
        path: "reflection",
        kind: Kind::Bool,
        default: Some("true"),
        help: "Whether `grpcurl` and similar tools may ask for the contract.",
    },
    Key {
        path: "http.listen",
        kind: Kind::List("ADDRESS"),
        default: None,
        help: "Where to listen for OAuth 2 over HTTP: token, introspection and revocation endpoints, key sets and metadata of all tenants (see docs/http.md). `public_url` must then lead there. Left out, there is none.",
    },
    Key {
        path: "admin.listen",
        kind: Kind::List("ADDRESS"),
        default: None,
        help: "Where to listen, in plain HTTP, for those who run the service: `/livez`, `/readyz`, `/metrics` and `/log`. Nobody proves who they are there, so keep it away from callers. Left out, there is none.",
    },
    Key {
        path: "admin.tls",
        kind: Kind::Bool,
        default: Some("false"),
        help: "Whether that is under TLS, with the certificate of `tls`. Probes and scrapers have no certificates of their own, so `tls.client_auth` does not count there.",
    },
    Key {
        path: "tls.cert_file",
        kind: Kind::Text("PATH"),
        default: None,
        help: "The certificate of the listeners in PEM, with those that lead to its authority behind it. The files of `tls` are looked at every 2 s and may be replaced at any time; those that cannot be used leave the ones before in place. Unix sockets stay as they are. Left out, there is no TLS.",
    },
    Key {
        path: "tls.key_file",
        kind: Kind::Text("PATH"),
        default: None,
        help: "Its private key in PEM. Required with `tls.cert_file`.",
    },
    Key {
        path: "tls.client_ca_file",
        kind: Kind::Text("PATH"),
        default: None,
        help: "PEM certificates of the authorities of client certificates. Whatever names they certify, they vouch for: name those that certify workloads and nobody else.",
    },
    Key {
        path: "tls.client_auth",
        kind: Kind::Choice(&["off", "optional", "required"]),
        default: Some("off"),
        help: "Whether callers show certificates: they are not asked to, they may, or nobody connects without. One that is shown must hold. A client with its name among `certificate_identities` has proved itself by it.",
    },
    Key {
        path: "redis.url",
        kind: Kind::Secret,
        default: None,
        help: "The address of Redis or Valkey, for example `redis://host:6379`, or `rediss://user:password@host:6379` for TLS and a user of its ACL. A secret because it may hold a password. Required for `redis`.",
    },
    Key {
        path: "redis.ca_file",
        kind: Kind::Text("PATH"),
        default: None,
        help: "PEM certificates of the authorities that the certificate of a `rediss://` server must come from, in place of the system's. Read at the start.",
    },
    Key {
        path: "redis.cert_file",
        kind: Kind::Text("PATH"),
        default: None,
        help: "The client certificate that a `rediss://` server is shown, in PEM, with those that lead to its authority behind it. Read at the start.",
    },
    Key {
        path: "redis.key_file",
        kind: Kind::Text("PATH"),
        default: None,
        help: "Its private key in PEM. Required with `redis.cert_file`.",
    },
    Key {
        path: "redis.wait_replicas",
        kind: Kind::Integer { min: 0, max: 16 },
        default: Some("0"),
        help: "How many replicas of Redis must hold a write before it is acknowledged. With failover: all that may be promoted.",
    },
    Key {
        path: "redis.wait_timeout",
        kind: Kind::Duration { min: Duration::from_millis(1), max: Duration::from_millis(600) },
        default: Some("200ms"),
        help: "How long to wait for them before the call is answered UNAVAILABLE. Every call is answered within a second, so no longer than this is possible.",
    },
    Key {
        path: "bootstrap.client_id",
        kind: Kind::Text("ID"),
        default: None,
        help: "The id of the first admin client. Left out, the embedded store makes the client up and writes `bootstrap.json` into `data_dir`; an empty Redis wants it.",
    },
    Key {
        path: "bootstrap.client_secret",
        kind: Kind::Secret,
        default: None,
        help: "The secret of the first admin client. It is compared in memory and never stored.",
    },
    Key {
        path: "workload.issuers",
        kind: Kind::List("ISSUER=LOCATION"),
        default: None,
        help: "Whose workloads may obtain tokens by their own: the exact `iss` of their tokens, and the key set that signs them, for example `https://kubernetes.default.svc=file:/etc/jeton/jwks.json` or an https URL. A file must be there at the start and is looked at again every 5 s while it is needed.",
    },
    Key {
        path: "webhook.url",
        kind: Kind::Text("URL"),
        default: None,
        help: "Where events are posted, such as one-time passwords for your service to send on: an `https://` URL, or `log:` to write them, passwords and all, into the log while you develop. Left out, nothing that needs an event can be done.",
    },
    Key {
        path: "webhook.secret",
        kind: Kind::Secret,
        default: None,
        help: "What signs the events (Standard Webhooks): `whsec_` and 24 to 64 bytes in base64. Several, on lines of their own or separated by commas, while one replaces another: every event is signed by all of them. Required for an URL.",
    },
    Key {
        path: "limits.max_connections",
        kind: Kind::Integer { min: 0, max: 1_000_000 },
        default: Some("0"),
        help: "Connections at a time. 0: half of the limit of open files, at most 4096.",
    },
    Key {
        path: "limits.max_in_flight",
        kind: Kind::Integer { min: 1, max: 1_000_000 },
        default: Some("1024"),
        help: "Calls at a time. Whatever comes on top is answered RESOURCE_EXHAUSTED at once.",
    },
    Key {
        path: "limits.max_in_flight_per_connection",
        kind: Kind::Integer { min: 1, max: 1_000_000 },
        default: Some("128"),
        help: "Calls at a time on one connection.",
    },
    Key {
        path: "limits.max_in_flight_revocations",
        kind: Kind::Integer { min: 1, max: 1_000_000 },
        default: Some("256"),
        help: "Revocations at a time. They have a lane of their own: load never keeps one out.",
    },
    Key {
        path: "limits.request_deadline",
        kind: Kind::Duration { min: Duration::from_millis(10), max: Duration::from_secs(300) },
        default: Some("10s"),
        help: "The longest that a call may take, whatever deadline its caller set.",
    },
    Key {
        path: "drain.timeout",
        kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(3600) },
        default: Some("25s"),
        help: "How long calls may go on after the signal to stop. Keep it below Kubernetes' `terminationGracePeriodSeconds`.",
    },
    Key {
        path: "drain.delay",
        kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(300) },
        default: Some("0s"),
        help: "How long to go on taking connections after health says NOT_SERVING, so that load balancers notice first.",
    },
    Key {
        path: "outbound.allow",
        kind: Kind::List("RANGE"),
        default: None,
        help: "What this service may call although it is not on the public internet: ranges of addresses (`10.1.0.0/16`), addresses, or names of hosts (`keycloak.auth.svc`), of identity providers, key sets and webhooks within your network. Everything private is refused otherwise, whoever asks for it. `http://` is taken only for addresses and names that stand here.",
    },
    Key {
        path: "outbound.ca_file",
        kind: Kind::Text("PATH"),
        default: None,
        help: "PEM certificates of authorities that are trusted for these calls besides the system's.",
    },
    Key {
        path: "outbound.timeout",
        kind: Kind::Duration { min: Duration::from_millis(100), max: Duration::from_secs(30) },
        default: Some("3s"),
        help: "The longest that one of these calls may take. A caller's deadline counts, too.",
    },
    Key {
        path: "otlp.endpoint",
        kind: Kind::Text("URL"),
        default: None,
        help: "Where traces and metrics go by OTLP over gRPC: `https://collector:4317`, or `http://` within a network that is trusted. Left out, nothing is exported. What describes this process is taken from `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, as every OpenTelemetry SDK does.",
    },
    Key {
        path: "otlp.headers",
        kind: Kind::Secret,
        default: None,
        help: "What to send along as metadata, for example an API key: `name=value`, several of them separated by commas. A percent sign and two hexadecimal digits stand for a byte of a value, as in `OTEL_EXPORTER_OTLP_HEADERS`, whose headers are sent as well.",
    },
    Key {
        path: "otlp.ca_file",
        kind: Kind::Text("PATH"),
        default: None,
        help: "PEM certificates of authorities that are trusted for the receiver's certificate besides the system's.",
    },
    Key {
        path: "otlp.sample_ratio",
        kind: Kind::Number { min: 0.0, max: 1.0 },
        default: Some("0.01"),
        help: "Which part of the calls is traced, from 0 to 1. A caller that sends `traceparent` has decided already: its flag counts.",
    },
    Key {
        path: "otlp.interval",
        kind: Kind::Duration { min: SECOND, max: Duration::from_secs(3600) },
        default: Some("30s"),
        help: "How often metrics are exported. Spans go every second.",
    },
    Key {
        path: "otlp.timeout",
        kind: Kind::Duration { min: Duration::from_millis(100), max: Duration::from_secs(60) },
        default: Some("5s"),
        help: "How long the receiver may take to answer. No call ever waits for it.",
    },
    Key {
        path: "log.level",
        kind: Kind::Text("DIRECTIVES"),
        default: Some("info"),
        help: "What to log: `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,jeton::store=debug,h2=info`. Libraries stay at `warn` unless they are named.",
    },
    Key {
        path: "log.format",
        kind: Kind::Choice(&["text", "json"]),
        default: Some("text"),
        help: "How to write the log on standard error.",
    },
];

/// What every variable of ours begins with.
pub const PREFIX: &str = "JETON_";

/// Names the TOML file. Not a setting, because a file cannot name itself.
pub const CONFIG_FLAG: &str = "config";
pub const CONFIG_VARIABLE: &str = "JETON_CONFIG";

/// Variables of the operator commands, which mean nothing to `serve` and are no mistake there.
pub const OPERATOR_VARIABLES: [&str; 6] =
    ["JETON_SERVER", "JETON_TOKEN", "JETON_CREDENTIALS", "JETON_CA_FILE", "JETON_CERT_FILE", "JETON_KEY_FILE"];

// === impl Key ===

impl Key {
    /// The key with this path.
    pub fn find(path: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.path == path)
    }

    pub const fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret)
    }

    /// The flag without its dashes. A secret's flag names a file.
    pub fn flag(&self) -> String {
        let flag = self.path.replace(['.', '_'], "-");
        if self.is_secret() { flag + "-file" } else { flag }
    }

    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.path.replace('.', "_").to_ascii_uppercase())
    }

    /// The variable that names a file, of a secret.
    pub fn file_variable(&self) -> Option<String> {
        self.is_secret().then(|| self.variable() + "_FILE")
    }

    /// The path that names a file, of a secret.
    pub fn file_path(&self) -> Option<String> {
        self.is_secret().then(|| format!("{}_file", self.path))
    }

    /// What the flag's value is called in help texts.
    pub const fn placeholder(&self) -> &'static str {
        match self.kind {
            Kind::Text(name) | Kind::List(name) => name,
            Kind::Duration { .. } => "DURATION",
            Kind::Integer { .. } | Kind::Number { .. } => "NUMBER",
            Kind::Bool => "BOOL",
            Kind::Choice(_) => "WORD",
            Kind::Secret => "PATH",
        }
    }
}

/// The known name that `name` was probably meant to be.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .min()
        // Further off than half of its letters, a name was meant to be something else.
        .filter(|(distance, candidate)| *distance <= candidate.len() / 2)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be changed, added or taken away (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let changed = diagonal + usize::from(from != to);
            diagonal = *cell;
            left = changed.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_keys_share_a_flag_or_a_variable() {
        let mut names = BTreeSet::from([CONFIG_VARIABLE.to_owned()]);
        names.extend(OPERATOR_VARIABLES.map(str::to_owned));
        for key in KEYS {
            for name in [Some(key.variable()), key.file_variable(), Some(key.flag())].into_iter().flatten() {
                assert!(names.insert(name.clone()), "{name}");
            }
        }
    }

    #[test]
    fn keys_of_the_top_level_come_first() {
        let first_table = KEYS.iter().position(|key| key.path.contains('.')).unwrap();
        assert!(KEYS[first_table..].iter().all(|key| key.path.contains('.')));
    }

    #[test]
    fn the_nearest_name_is_found_or_none() {
        let known = ["listen", "data_dir", "drain.timeout"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("drain.timout", known), Some("drain.timeout"));
        assert_eq!(nearest("zzzzzzzz", known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}

//! The table of settings. Flags, variables, the file, the printed configuration and the reference page all come from it.

use std::time::Duration;

pub use super::key::{Key, SettingType};

const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);

/// All settings, in the order of the reference page. Those without a dot come first, because TOML requires it.
pub const KEYS: &[Key] = &[
    Key {
        path: "listen",
        setting_type: SettingType::List("ADDRESS"),
        default: Some("127.0.0.1:7443"),
        help: "Where to listen: `host:port` or `unix:/path`. Port 0 takes a free port.",
    },
    Key {
        path: "data_dir",
        setting_type: SettingType::Text("DIRECTORY"),
        default: Some("./jeton-data"),
        help: "The directory of the embedded store. It is created if it does not exist.",
    },
    Key {
        path: "public_url",
        setting_type: SettingType::Text("URL"),
        default: Some("http://localhost:7443"),
        help: "The URL at which callers reach this service. A tenant's issuer (`iss`) is `{public_url}/t/{tenant_id}`, so a change invalidates all JWTs.",
    },
    Key {
        path: "workers",
        setting_type: SettingType::Integer { min: 0, max: 1024 },
        default: Some("0"),
        help: "Threads that serve calls. 0: one per core.",
    },
    Key {
        path: "store",
        setting_type: SettingType::Choice(&["embedded", "redis"]),
        default: Some("embedded"),
        help: "Where tokens are kept: `embedded`, one file in `data_dir` for a single process, or `redis`, shared by any number of replicas.",
    },
    Key {
        path: "master_key",
        setting_type: SettingType::Secret,
        default: None,
        help: "The key from which all others are derived, and which seals what is stored: 32 bytes as hex or base64. For rotation set several, newest first, on lines of their own or separated by commas: the first one makes new secrets, the others still open old ones. Required for `redis`; the embedded store makes one in `data_dir` if none is set.",
    },
    Key {
        path: "connection_age",
        setting_type: SettingType::Duration { min: SECOND, max: DAY },
        default: Some("30m"),
        help: "How long a connection lives (± 20 %) before its client is asked to open another, so that load spreads over new replicas.",
    },
    Key {
        path: "reflection",
        setting_type: SettingType::Bool,
        default: Some("true"),
        help: "Whether server reflection is offered to `grpcurl` and similar tools.",
    },
    Key {
        path: "http.listen",
        setting_type: SettingType::List("ADDRESS"),
        default: None,
        help: "Where to listen for OAuth 2 over HTTP: token, introspection and revocation endpoints, key sets and metadata of all tenants (see docs/http.md). `public_url` must lead to it. Unset: OAuth 2 over HTTP is off.",
    },
    Key {
        path: "admin.listen",
        setting_type: SettingType::List("ADDRESS"),
        default: None,
        help: "Where to listen, in plain HTTP, for operators: `/livez`, `/readyz`, `/metrics` and `/log`. It has no authentication, so keep callers away from it. Unset: it is off.",
    },
    Key {
        path: "admin.tls",
        setting_type: SettingType::Bool,
        default: Some("false"),
        help: "Whether the admin listener uses TLS, with the certificate of `tls`. Probes and scrapers have no certificates, so `tls.client_auth` does not apply to it.",
    },
    Key {
        path: "tls.cert_file",
        setting_type: SettingType::Text("PATH"),
        default: None,
        help: "The certificate of the listeners in PEM, followed by its intermediate certificates. The files of `tls` are read every 2 s and may be replaced at any time; if the new ones cannot be used, the earlier ones stay in use. Unix sockets do not use TLS. Unset: TLS is off.",
    },
    Key {
        path: "tls.key_file",
        setting_type: SettingType::Text("PATH"),
        default: None,
        help: "Its private key in PEM. Required with `tls.cert_file`.",
    },
    Key {
        path: "tls.client_ca_file",
        setting_type: SettingType::Text("PATH"),
        default: None,
        help: "PEM certificates of the authorities of client certificates. Every name that they certify is trusted, so list authorities that certify workloads and nothing else.",
    },
    Key {
        path: "tls.client_auth",
        setting_type: SettingType::Choice(&["off", "optional", "required"]),
        default: Some("off"),
        help: "Whether callers present certificates. `off`: they are not asked for one; `optional`: they may present one; `required`: they cannot connect without one. A certificate that is presented must verify, and authenticates the client that lists its name in `certificate_identities`.",
    },
    Key {
        path: "redis.url",
        setting_type: SettingType::Secret,
        default: None,
        help: "The address of Redis or Valkey, for example `redis://host:6379`, or `rediss://user:password@host:6379` for TLS and a user of its ACL. A secret because it may hold a password. Required for `redis`.",
    },
    Key {
        path: "redis.ca_file",
        setting_type: SettingType::Text("PATH"),
        default: None,
        help: "PEM certificates of the authorities that are trusted for a `rediss://` server, instead of the system's. Read at start.",
    },
    Key {
        path: "redis.cert_file",
        setting_type: SettingType::Text("PATH"),
        default: None,
        help: "The client certificate for a `rediss://` server in PEM, followed by its intermediate certificates. Read at start.",
    },
    Key {
        path: "redis.key_file",
        setting_type: SettingType::Text("PATH"),
        default: None,
        help: "Its private key in PEM. Required with `redis.cert_file`.",
    },
    Key {
        path: "redis.wait_replicas",
        setting_type: SettingType::Integer { min: 0, max: 16 },
        default: Some("0"),
        help: "How many replicas of Redis must hold a write before it is acknowledged. With failover, set it to the number of replicas that may be promoted.",
    },
    Key {
        path: "redis.wait_timeout",
        setting_type: SettingType::Duration { min: Duration::from_millis(1), max: Duration::from_millis(600) },
        default: Some("200ms"),
        help: "How long to wait for the replicas before the call fails with UNAVAILABLE. At most 600 ms, because every call is answered within a second.",
    },
    Key {
        path: "bootstrap.client_id",
        setting_type: SettingType::Text("ID"),
        default: None,
        help: "The id of the first admin client. Unset: the embedded store chooses one and writes the credentials to `bootstrap.json` in `data_dir`; an empty Redis requires it.",
    },
    Key {
        path: "bootstrap.client_secret",
        setting_type: SettingType::Secret,
        default: None,
        help: "The secret of the first admin client. It is compared in memory and never stored.",
    },
    Key {
        path: "workload.issuers",
        setting_type: SettingType::List("ISSUER=LOCATION"),
        default: None,
        help: "Issuers whose workloads may obtain tokens with their own tokens: the exact `iss` of those tokens, and the key set that signs them, for example `https://kubernetes.default.svc=file:/etc/jeton/jwks.json` or an https URL. A file must exist at start and is read again every 5 s while it is needed.",
    },
    Key {
        path: "webhook.url",
        setting_type: SettingType::Text("URL"),
        default: None,
        help: "Where events are posted, such as one-time passwords for your service to send: an `https://` URL, or `log:` to write them, including passwords, to the log during development. Unset: calls that need an event are refused.",
    },
    Key {
        path: "webhook.secret",
        setting_type: SettingType::Secret,
        default: None,
        help: "The secret that signs events (Standard Webhooks): `whsec_` and 24 to 64 bytes in base64. For rotation set several, on lines of their own or separated by commas: every event is signed with each of them. Required with a URL.",
    },
    Key {
        path: "limits.max_connections",
        setting_type: SettingType::Integer { min: 0, max: 1_000_000 },
        default: Some("0"),
        help: "Connections at a time. 0: half of the limit of open files, at most 4096.",
    },
    Key {
        path: "limits.max_in_flight",
        setting_type: SettingType::Integer { min: 1, max: 1_000_000 },
        default: Some("1024"),
        help: "Calls at a time. Further calls are refused with RESOURCE_EXHAUSTED at once.",
    },
    Key {
        path: "limits.max_in_flight_per_connection",
        setting_type: SettingType::Integer { min: 1, max: 1_000_000 },
        default: Some("128"),
        help: "Calls at a time on one connection.",
    },
    Key {
        path: "limits.max_in_flight_revocations",
        setting_type: SettingType::Integer { min: 1, max: 1_000_000 },
        default: Some("256"),
        help: "Revocations at a time. They have a limit of their own, so that other load never blocks them.",
    },
    Key {
        path: "limits.request_deadline",
        setting_type: SettingType::Duration { min: Duration::from_millis(10), max: Duration::from_secs(300) },
        default: Some("10s"),
        help: "The longest that a call may take, even if its caller allows more.",
    },
    Key {
        path: "drain.timeout",
        setting_type: SettingType::Duration { min: Duration::ZERO, max: Duration::from_secs(3600) },
        default: Some("25s"),
        help: "How long calls may go on after the signal to stop. Keep it below Kubernetes' `terminationGracePeriodSeconds`.",
    },
    Key {
        path: "drain.delay",
        setting_type: SettingType::Duration { min: Duration::ZERO, max: Duration::from_secs(300) },
        default: Some("0s"),
        help: "How long to accept connections after health reports NOT_SERVING, so that load balancers notice first.",
    },
    Key {
        path: "outbound.allow",
        setting_type: SettingType::List("RANGE"),
        default: None,
        help: "Destinations that this service may call although they are not on the public internet: ranges of addresses (`10.1.0.0/16`), addresses, or host names (`keycloak.auth.svc`), of identity providers, key sets and webhooks in your network. All other private destinations are refused. `http://` is accepted only for destinations in this list.",
    },
    Key {
        path: "outbound.ca_file",
        setting_type: SettingType::Text("PATH"),
        default: None,
        help: "PEM certificates of authorities that are trusted for these calls in addition to the system's.",
    },
    Key {
        path: "outbound.timeout",
        setting_type: SettingType::Duration { min: Duration::from_millis(100), max: Duration::from_secs(30) },
        default: Some("3s"),
        help: "The longest that one of these calls may take. It may be less because of its caller's deadline.",
    },
    Key {
        path: "otlp.endpoint",
        setting_type: SettingType::Text("URL"),
        default: None,
        help: "Where traces and metrics go by OTLP over gRPC: `https://collector:4317`, or `http://` within a trusted network. Unset: nothing is exported. The attributes of this process are taken from `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, as by every OpenTelemetry SDK.",
    },
    Key {
        path: "otlp.headers",
        setting_type: SettingType::Secret,
        default: None,
        help: "Metadata to send, for example an API key: `name=value`, several of them separated by commas. Write special characters of a value as a percent sign and two hexadecimal digits, as in `OTEL_EXPORTER_OTLP_HEADERS`, whose headers are sent as well.",
    },
    Key {
        path: "otlp.ca_file",
        setting_type: SettingType::Text("PATH"),
        default: None,
        help: "PEM certificates of authorities that are trusted for the receiver's certificate in addition to the system's.",
    },
    Key {
        path: "otlp.sample_ratio",
        setting_type: SettingType::Number { min: 0.0, max: 1.0 },
        default: Some("0.01"),
        help: "The fraction of calls that is traced, from 0 to 1. For a caller that sends `traceparent`, its sampled flag decides instead.",
    },
    Key {
        path: "otlp.interval",
        setting_type: SettingType::Duration { min: SECOND, max: Duration::from_secs(3600) },
        default: Some("30s"),
        help: "How often metrics are exported. Spans go every second.",
    },
    Key {
        path: "otlp.timeout",
        setting_type: SettingType::Duration { min: Duration::from_millis(100), max: Duration::from_secs(60) },
        default: Some("5s"),
        help: "How long the receiver may take to answer. Calls do not wait for it.",
    },
    Key {
        path: "log.level",
        setting_type: SettingType::Text("DIRECTIVES"),
        default: Some("info"),
        help: "What to log: `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,jeton::store=debug,h2=info`. Libraries stay at `warn` unless they are named.",
    },
    Key {
        path: "log.format",
        setting_type: SettingType::Choice(&["text", "json"]),
        default: Some("text"),
        help: "How to write the log on standard error.",
    },
];

/// Names the TOML file. Not a setting, because a file cannot name itself.
pub const CONFIG_FLAG: &str = "config";
pub const CONFIG_VARIABLE: &str = "JETON_CONFIG";

/// Variables of the operator commands. `serve` ignores them.
pub const OPERATOR_VARIABLES: [&str; 6] =
    ["JETON_SERVER", "JETON_TOKEN", "JETON_CREDENTIALS", "JETON_CA_FILE", "JETON_CERT_FILE", "JETON_KEY_FILE"];

/// The setting with this path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
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
}

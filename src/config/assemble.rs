//! Makes the configuration of the values, and checks that settings fit together.

use std::path::PathBuf;

use jeton_core::secret::SecretText;

use super::{
    Bootstrap, Config, Drain, Limits, Log, LogFormat, Outbound, Redis, RedisTls, Store, Webhook, given::Environment,
    otlp, reader::Reader, values,
};
use crate::{
    outbound::published::Location,
    serve::tls::{ClientAuth, Files},
};

/// The configuration of the reader's values. Not valid if the reader has found mistakes.
pub(super) fn assemble(reader: &mut Reader<'_>, environment: &Environment) -> Config {
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
        workload_issuers: workload_issuers(reader),
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
        log: Log { level: reader.parse("log.level", values::directives).unwrap_or_default(), format: format(reader) },
    }
}

fn store(reader: &mut Reader<'_>) -> Store {
    let url = reader.parse("redis.url", values::redis_url);
    let wait_replicas = reader.integer("redis.wait_replicas");
    let wait_timeout = reader.duration("redis.wait_timeout");
    let tls = RedisTls {
        ca_file: reader.parse("redis.ca_file", values::path),
        identity: pair(reader, "redis.cert_file", "redis.key_file"),
    };
    check_redis_scheme(reader, url.as_ref());
    let is_redis = reader.choice("store", |word| match word {
        "embedded" => Some(false),
        "redis" => Some(true),
        _ => None,
    });
    match is_redis {
        Some(true) => {
            reader.require("redis.url", "the store `redis`");
            reader.require("master_key", "the store `redis`");
            url.map_or(Store::Embedded, |url| Store::Redis(Redis { url, wait_replicas, wait_timeout, tls }))
        }
        Some(false) => {
            // The operator would believe that the tokens are kept there.
            reader.refuse_given("redis.url", "has no effect with the store `embedded`; set store to `redis`, too");
            Store::Embedded
        }
        None => Store::Embedded,
    }
}

/// Refuses files of TLS with a URL without TLS: the operator would believe that the server is checked.
fn check_redis_scheme(reader: &mut Reader<'_>, url: Option<&SecretText>) {
    if url.is_none_or(|url| url.expose().starts_with("rediss://")) {
        return;
    }
    for path in ["redis.ca_file", "redis.cert_file", "redis.key_file"] {
        reader.refuse_given(path, "requires a `redis.url` that begins with rediss://");
    }
}

/// A certificate and its private key: both or none.
fn pair(reader: &mut Reader<'_>, cert: &str, key: &str) -> Option<(PathBuf, PathBuf)> {
    match (reader.has(cert), reader.has(key)) {
        (true, false) => reader.require(key, &format!("`{cert}`")),
        (false, true) => reader.require(cert, &format!("`{key}`")),
        (true, true) | (false, false) => {}
    }
    let cert = reader.parse(cert, values::path);
    let key = reader.parse(key, values::path);
    cert.zip(key)
}

fn tls(reader: &mut Reader<'_>) -> Option<Files> {
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
        // The operator would believe that certificates are asked for.
        ClientAuth::Off => {
            reader.refuse_given("tls.client_ca_file", "has no effect while `tls.client_auth` is off");
        }
        ClientAuth::Optional | ClientAuth::Required => {
            reader.require("tls.client_ca_file", "`tls.client_auth`");
            reader.require("tls.cert_file", "`tls.client_auth`");
        }
    }
    given.map(|(cert, key)| Files { cert, key, client_ca, client_auth })
}

fn admin_tls(reader: &mut Reader<'_>) -> bool {
    let admin_tls = reader.bool("admin.tls");
    if admin_tls {
        reader.require("tls.cert_file", "`admin.tls`");
        reader.require("admin.listen", "`admin.tls`");
    }
    admin_tls
}

fn bootstrap(reader: &mut Reader<'_>) -> Option<Bootstrap> {
    let client_id = reader.parse("bootstrap.client_id", |text| {
        text.parse().map_err(|_| format!("`{text}` is no client id: up to 64 letters, digits, `-`, `_` and `.`"))
    });
    let client_secret = reader.parse("bootstrap.client_secret", values::bootstrap_secret);
    match (reader.has("bootstrap.client_id"), reader.has("bootstrap.client_secret")) {
        (true, false) => reader.require("bootstrap.client_secret", "the bootstrap client"),
        (false, true) => reader.require("bootstrap.client_id", "the bootstrap client"),
        (true, true) | (false, false) => {}
    }
    Some(Bootstrap { client_id: client_id?, client_secret: client_secret? })
}

fn webhook(reader: &mut Reader<'_>) -> Option<Webhook> {
    let url = reader.parse("webhook.url", values::webhook_url);
    let secrets = reader.parse("webhook.secret", values::webhook_secrets);
    match url? {
        None => {
            reader.refuse_given("webhook.secret", "has no effect with `log:`");
            Some(Webhook::Log)
        }
        Some(url) => {
            reader.require("webhook.secret", "an URL in `webhook.url`");
            Some(Webhook::Post { url, secrets: secrets? })
        }
    }
}

fn format(reader: &mut Reader<'_>) -> LogFormat {
    let format = reader.choice("log.format", |word| match word {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    format.unwrap_or(LogFormat::Text)
}

/// Issuers of workloads, none of them twice.
fn workload_issuers(reader: &mut Reader<'_>) -> Vec<(String, Location)> {
    const PATH: &str = "workload.issuers";
    let all = reader.list(PATH, values::workload_issuer);
    let twice = |(i, (issuer, _)): &(usize, &(String, Location))| all.iter().take(*i).any(|(other, _)| other == issuer);
    if let Some((_, (issuer, _))) = all.iter().enumerate().find(twice) {
        reader.refuse_given(PATH, &format!("names {issuer} twice"));
    }
    all
}

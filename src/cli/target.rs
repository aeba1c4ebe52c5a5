//! Where a command calls, and how it authenticates: what flags and variables say.

use std::{path::Path, time::Duration};

use clap::{Arg, ArgAction, ArgMatches};
use serde::Deserialize;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{failure::Failure, secrets::Secrets};
use crate::config::{Environment, duration};

/// Where to call, and as whom.
pub(super) struct Target {
    pub(super) server: String,
    pub(super) timeout: Duration,
    /// How both sides authenticate; `None`: no TLS.
    pub(super) tls: Option<ClientTlsConfig>,
    pub(super) proof: Proof,
}

/// How the caller authenticates.
pub(super) enum Proof {
    /// Not at all, or by fields of the request.
    None,
    /// With a bearer token.
    Bearer(Zeroizing<String>),
    /// With a client's credentials, which get a bearer token in a tenant.
    Credentials { credentials: Credentials, tenant: String },
}

/// A client's id and secret, as in `bootstrap.json`.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct Credentials {
    pub(super) client_id: String,
    pub(super) client_secret: String,
}

const DEFAULT_SERVER: &str = "http://127.0.0.1:7443";
const DEFAULT_TIMEOUT: &str = "10s";
/// The tenant of the bootstrap client.
const DEFAULT_CREDENTIALS_TENANT: &str = "system";
/// The flags that every call has.
pub(super) fn args() -> Vec<Arg> {
    let arg = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let args = [
        arg("server", "URL").help(format!(
            "Where the service listens: an http or https URL, or unix:/path [env: JETON_SERVER] [default: {DEFAULT_SERVER}]"
        )),
        arg("ca-file", "PATH").help(
            "PEM certificates of the authorities that an https server's certificate must come from, in place of the \
             system's [env: JETON_CA_FILE]",
        ),
        arg("cert-file", "PATH")
            .requires("key-file")
            .help("A client certificate in PEM for an https server [env: JETON_CERT_FILE]"),
        arg("key-file", "PATH").requires("cert-file").help("Its private key in PEM [env: JETON_KEY_FILE]"),
        arg("bearer-file", "PATH")
            .help("A file with a bearer token; - is standard input [env: JETON_TOKEN holds the token itself]"),
        arg("credentials", "PATH")
            .conflicts_with("bearer-file")
            .help("A JSON file with client_id and client_secret, such as bootstrap.json [env: JETON_CREDENTIALS]"),
        arg("credentials-tenant", "TENANT").help(format!(
            "The tenant in which these credentials get their token [default: {DEFAULT_CREDENTIALS_TENANT}]"
        )),
        arg("timeout", "DURATION").help(format!("How long each call may take [default: {DEFAULT_TIMEOUT}]")),
        Arg::new("json")
            .long("json")
            .action(ArgAction::SetTrue)
            .help("Print the reply as JSON, as protobuf defines it"),
    ];
    // In this order, after the flags of the call itself.
    args.into_iter().zip(1000..).map(|(arg, order)| arg.help_heading("Connection").display_order(order)).collect()
}

// === impl Target ===

impl Target {
    /// Reads flags and variables. `carries_proof`: the request itself authenticates the caller, so variables are ignored and
    /// flags contradict it.
    pub(super) fn new(
        matches: &ArgMatches,
        environment: &Environment,
        secrets: &Secrets<'_>,
        carries_proof: bool,
    ) -> Result<Self, Failure> {
        let given = |name: &str| matches.get_one::<String>(name).map(String::as_str);
        let server = given("server").or_else(|| variable(environment, "JETON_SERVER")).unwrap_or(DEFAULT_SERVER);
        let timeout = given("timeout").unwrap_or(DEFAULT_TIMEOUT);
        let timeout = duration::parse(timeout)
            .filter(|timeout| !timeout.is_zero())
            .ok_or_else(|| Failure::usage(format!("--timeout: `{timeout}` is not a duration such as 10s")))?;
        let tenant = given("credentials-tenant").unwrap_or(DEFAULT_CREDENTIALS_TENANT);
        let flags = (given("bearer-file"), given("credentials"));
        let proof = if carries_proof {
            if flags != (None, None) {
                return Err(Failure::usage(
                    "the request authenticates the caller already; leave out --bearer-file and --credentials",
                ));
            }
            Proof::None
        } else {
            let variables = (variable(environment, "JETON_TOKEN"), variable(environment, "JETON_CREDENTIALS"));
            proof(flags, variables, tenant, secrets)?
        };
        let tls = tls(&given, environment, server, secrets)?;
        Ok(Self { server: address(server)?, timeout, tls, proof })
    }
}

/// A flag takes precedence over a variable; two variables contradict each other.
fn proof(
    flags: (Option<&str>, Option<&str>),
    variables: (Option<&str>, Option<&str>),
    tenant: &str,
    secrets: &Secrets<'_>,
) -> Result<Proof, Failure> {
    match (flags, variables) {
        ((Some(path), _), _) => {
            let bearer = secrets.read(path).map_err(|wrong| Failure::usage(format!("--bearer-file: {wrong}")))?;
            Ok(Proof::Bearer(bearer))
        }
        ((None, Some(path)), _) => credentials("--credentials", path, tenant, secrets),
        (_, (Some(_), Some(_))) => {
            Err(Failure::usage("JETON_TOKEN and JETON_CREDENTIALS are both set; unset one of them"))
        }
        (_, (Some(token), None)) => Ok(Proof::Bearer(Zeroizing::new(token.trim().to_owned()))),
        (_, (None, Some(path))) => credentials("JETON_CREDENTIALS", path, tenant, secrets),
        (_, (None, None)) => Ok(Proof::None),
    }
}

fn credentials(origin: &str, path: &str, tenant: &str, secrets: &Secrets<'_>) -> Result<Proof, Failure> {
    let text = secrets.read(path).map_err(|wrong| Failure::usage(format!("{origin}: {wrong}")))?;
    // The parser's own message could quote the secret.
    let credentials = serde_json::from_str(&text).map_err(|_| {
        Failure::usage(format!(
            "{origin}: {path} is not JSON such as {{\"client_id\": \"…\", \"client_secret\": \"…\"}}"
        ))
    })?;
    Ok(Proof::Credentials { credentials, tenant: tenant.to_owned() })
}

/// The configuration of TLS for an https server.
fn tls<'a>(
    given: &impl Fn(&str) -> Option<&'a str>,
    environment: &'a Environment,
    server: &str,
    secrets: &Secrets<'_>,
) -> Result<Option<ClientTlsConfig>, Failure> {
    let flags = ["ca-file", "cert-file", "key-file"];
    if !server.starts_with("https://") {
        // The user would believe that the server is checked.
        return match flags.iter().find(|flag| given(flag).is_some()) {
            Some(flag) => Err(Failure::usage(format!("--{flag} requires a --server that begins with https://"))),
            None => Ok(None),
        };
    }
    let read = |(flag, name): (&str, &str)| {
        let (origin, path) = match (given(flag), variable(environment, name)) {
            (Some(path), _) => (format!("--{flag}"), path),
            (None, Some(path)) => (name.to_owned(), path),
            (None, None) => return Ok(None),
        };
        secrets.read(path).map(Some).map_err(|wrong| Failure::usage(format!("{origin}: {wrong}")))
    };
    let config = match read(("ca-file", "JETON_CA_FILE"))? {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem.as_bytes())),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    match (read(("cert-file", "JETON_CERT_FILE"))?, read(("key-file", "JETON_KEY_FILE"))?) {
        (Some(cert), Some(key)) => Ok(Some(config.identity(Identity::from_pem(cert.as_bytes(), key.as_bytes())))),
        (None, None) => Ok(Some(config)),
        (Some(_), None) | (None, Some(_)) => {
            Err(Failure::usage("a client certificate needs its private key; set both --cert-file and --key-file"))
        }
    }
}

/// A variable that is set and not empty.
fn variable<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment.get(Path::new(name).as_os_str())?.to_str().filter(|value| !value.trim().is_empty())
}

/// The address in the form that tonic accepts.
fn address(server: &str) -> Result<String, Failure> {
    match server.split_once("://") {
        _ if server.starts_with("unix:") => Ok(server.to_owned()),
        Some(("http" | "https", _)) => Ok(server.to_owned()),
        Some(_) => Err(Failure::usage(format!(
            "--server: `{server}` is neither http://host:port nor https://host:port nor unix:/path"
        ))),
        None => Ok(format!("http://{server}")),
    }
}

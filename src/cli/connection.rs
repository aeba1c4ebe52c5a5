//! Reaches the service, and proves who asks.

use std::{path::Path, time::Duration};

use clap::{Arg, ArgAction, ArgMatches};
use prost_reflect::{DynamicMessage, MethodDescriptor, Value, prost::Message};
use serde::Deserialize;
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{contract::Contract, failure::Failure, fill::Secrets};
use crate::{
    config::{Environment, duration},
    token::error::chain,
};

/// Where to call, and as whom.
pub(super) struct Target {
    server: String,
    timeout: Duration,
    /// How the server proves itself, and this side to it; `None`: not under TLS.
    tls: Option<ClientTlsConfig>,
    pub(super) proof: Proof,
}

/// What proves who asks.
pub(super) enum Proof {
    /// Nothing, or what stands in the request.
    None,
    /// A bearer token.
    Bearer(Zeroizing<String>),
    /// A client's credentials, good for a bearer token in a tenant.
    Credentials { credentials: Credentials, tenant: String },
}

/// A client's id and secret, as in `bootstrap.json`.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct Credentials {
    pub(super) client_id: String,
    pub(super) client_secret: String,
}

/// An open connection.
pub(super) struct Connection {
    grpc: tonic::client::Grpc<Channel>,
    timeout: Duration,
    bearer: Option<MetadataValue<Ascii>>,
}

const DEFAULT_SERVER: &str = "http://127.0.0.1:7443";
const DEFAULT_TIMEOUT: &str = "10s";
/// The tenant of the bootstrap client.
const DEFAULT_CREDENTIALS_TENANT: &str = "system";
/// Long enough for a list of many pages, and short, because nobody revokes it.
const BEARER_TTL: Duration = Duration::from_secs(300);
/// A batch of 1,000 introspections fits.
const MAX_REPLY_BYTES: usize = 16 * 1024 * 1024;

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
    /// What flags and variables say. `carries_proof`: the request itself says who asks, so that what variables say does not
    /// count and what flags say contradicts it.
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
            .ok_or_else(|| Failure::usage(format!("--timeout: `{timeout}` is no duration such as 10s")))?;
        let tenant = given("credentials-tenant").unwrap_or(DEFAULT_CREDENTIALS_TENANT);
        let flags = (given("bearer-file"), given("credentials"));
        let proof = if carries_proof {
            if flags != (None, None) {
                return Err(Failure::usage(
                    "the request says who asks already: leave --bearer-file and --credentials out",
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

    /// Connects, and turns credentials into a bearer token.
    pub(super) async fn connect(self, contract: &Contract) -> Result<Connection, Failure> {
        let endpoint = Endpoint::from_shared(self.server.clone())
            .and_then(|endpoint| endpoint.user_agent(concat!("jeton/", env!("CARGO_PKG_VERSION"))))
            .map_err(|error| Failure::usage(format!("--server: `{}`: {}", self.server, chain(&error))))?
            .connect_timeout(self.timeout);
        let endpoint = match self.tls {
            Some(tls) => endpoint.tls_config(tls).map_err(|error| {
                Failure::usage(format!("the files for {} cannot be used: {}", self.server, root_cause(&error)))
            })?,
            None => endpoint,
        };
        let channel = endpoint.connect().await.map_err(|error| {
            Failure::call(format!("cannot reach {}: {} (UNAVAILABLE)", self.server, root_cause(&error)))
        })?;
        let grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_REPLY_BYTES);
        let mut connection = Connection { grpc, timeout: self.timeout, bearer: None };
        let bearer = match self.proof {
            Proof::None => return Ok(connection),
            Proof::Bearer(bearer) => bearer,
            Proof::Credentials { credentials, tenant } => {
                connection.issue_bearer(contract, &credentials, &tenant).await?
            }
        };
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", bearer.as_str())
            .parse()
            .map_err(|_| Failure::usage("the bearer token has characters that no token has"))?;
        bearer.set_sensitive(true);
        connection.bearer = Some(bearer);
        Ok(connection)
    }
}

/// A flag beats a variable; two of equal rank contradict each other.
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
            "{origin}: {path} is no JSON such as {{\"client_id\": \"…\", \"client_secret\": \"…\"}}"
        ))
    })?;
    Ok(Proof::Credentials { credentials, tenant: tenant.to_owned() })
}

/// What is needed for an https server.
fn tls<'a>(
    given: &impl Fn(&str) -> Option<&'a str>,
    environment: &'a Environment,
    server: &str,
    secrets: &Secrets<'_>,
) -> Result<Option<ClientTlsConfig>, Failure> {
    let flags = ["ca-file", "cert-file", "key-file"];
    if !server.starts_with("https://") {
        // Somebody who names an authority believes that the server is checked.
        return match flags.iter().find(|flag| given(flag).is_some()) {
            Some(flag) => Err(Failure::usage(format!("--{flag} wants a --server that begins with https://"))),
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
            Err(Failure::usage("a client certificate and its private key: --cert-file and --key-file are set together"))
        }
    }
}

/// What the system said; the layers above it only repeat that they failed.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A variable that is set and not empty.
fn variable<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment.get(Path::new(name).as_os_str())?.to_str().filter(|value| !value.trim().is_empty())
}

/// What tonic takes as an address.
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

// === impl Connection ===

impl Connection {
    /// Calls a method.
    pub(super) async fn call(
        &mut self,
        method: &MethodDescriptor,
        message: DynamicMessage,
    ) -> Result<DynamicMessage, Failure> {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let path = path.parse().map_err(|_| Failure::call(format!("`{path}` is no path of a method")))?;
        let mut request = Request::new(message);
        // Sent as `grpc-timeout`, and kept on this side, too.
        request.set_timeout(self.timeout);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        self.grpc.ready().await.map_err(|error| Failure::call(format!("{} (UNAVAILABLE)", chain(&error))))?;
        let reply = self.grpc.unary(request, path, Dynamic(method.clone())).await?;
        Ok(reply.into_inner())
    }

    /// A short-lived token with all of the client's default scopes.
    async fn issue_bearer(
        &mut self,
        contract: &Contract,
        credentials: &Credentials,
        tenant: &str,
    ) -> Result<Zeroizing<String>, Failure> {
        let malformed = || Failure::call("cannot turn the credentials into a token: the contract has changed");
        let method = contract.method("TokenService/IssueToken").ok_or_else(malformed)?;
        let body = serde_json::json!({
            "tenantId": tenant,
            "clientId": credentials.client_id,
            "clientSecret": credentials.client_secret,
            "clientCredentials": {},
            "ttl": format!("{}s", BEARER_TTL.as_secs()),
        });
        let request = DynamicMessage::deserialize(method.input(), body).map_err(|_| malformed())?;
        let reply = self.call(&method, request).await.map_err(|failure| match failure {
            Failure::Call(why) => Failure::Call(format!("cannot turn the credentials into a token: {why}")),
            Failure::Usage(why) => Failure::Usage(why),
        })?;
        let token = reply.get_field_by_name("token");
        let token =
            token.as_deref().and_then(Value::as_message).and_then(|token| token.get_field_by_name("access_token"));
        let text = token.as_deref().and_then(Value::as_str).filter(|token| !token.is_empty());
        text.map(|text| Zeroizing::new(text.to_owned())).ok_or_else(malformed)
    }
}

/// Writes and reads the messages of a method.
struct Dynamic(MethodDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(self.0.clone())
    }

    fn decoder(&mut self) -> Self {
        Self(self.0.clone())
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(format!("write the request: {error}")))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.output(), buffer)
            .map(Some)
            .map_err(|error| Status::internal(format!("read the reply: {error}")))
    }
}

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    io,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use prost_reflect::{DynamicMessage, MethodDescriptor, prost::Message};
use serde_json::{Value, json};
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::{failure::Failure, secrets::Secrets, target::Proof, *};

// === arguments to message ===

fn prepared(args: &[&str]) -> Result<OperatorCommand, String> {
    let contract = Contract::load().unwrap();
    let all = [&["jeton"], args].concat();
    let matches = command(&contract).try_get_matches_from(all).map_err(|error| error.to_string())?;
    let (noun, matches) = matches.subcommand().unwrap();
    call::prepare(contract, noun, matches).map_err(|failure| failure.to_string())
}

fn files(path: Option<&Path>) -> io::Result<Vec<u8>> {
    match path.and_then(Path::to_str) {
        None => Ok(b" from stdin\n".to_vec()),
        Some("/token") => Ok(b"jta_x\n".to_vec()),
        Some("/tokens") => Ok(b"jta_1\n\njta_2\n".to_vec()),
        Some("/empty") => Ok(b"\n".to_vec()),
        Some("/bootstrap.json") => Ok(br#"{"client_id": "root", "client_secret": "s3cret"}"#.to_vec()),
        Some(_) => Err(io::ErrorKind::NotFound.into()),
    }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// The request of a command, as JSON.
fn request(args: &[&str], variables: &[(&str, &str)]) -> Result<Value, String> {
    let call = prepared(args)?;
    let (request, _) =
        call.request(&environment(variables), &Secrets::new(&files)).map_err(|failure| failure.to_string())?;
    Ok(serde_json::to_value(request).unwrap())
}

fn refused(args: &[&str]) -> String {
    request(args, &[]).unwrap_err()
}

#[test]
fn the_command_line_is_consistent() {
    command(&Contract::load().unwrap()).debug_assert();
}

#[test]
fn flags_fill_the_resource_inside_of_the_request() {
    let args = [
        "client",
        "create",
        "--tenant",
        "acme",
        "--display-name",
        "billing",
        "--allowed-scopes",
        "a,b",
        "--allowed-scopes",
        "c",
        "--allowed-grants",
        "account,client-credentials",
        "--labels",
        "k=v,x=y=z",
        "--token-ttl",
        "15m",
        "--renewal-policy",
        "never",
    ];
    let wanted = json!({
        "tenantId": "acme",
        "client": {
            "displayName": "billing",
            "allowedScopes": ["a", "b", "c"],
            "allowedGrants": ["GRANT_TYPE_ACCOUNT", "GRANT_TYPE_CLIENT_CREDENTIALS"],
            "labels": {"k": "v", "x": "y=z"},
            "tokenTtl": "900s",
            "renewalPolicy": "RENEWAL_POLICY_NEVER",
        },
    });
    assert_eq!(request(&args, &[]), Ok(wanted));
}

#[test]
fn places_fill_what_the_command_is_about() {
    assert_eq!(request(&["client", "get", "cli_1"], &[]), Ok(json!({"clientId": "cli_1"})));
    let revoke = ["client", "revoke-secret", "cli_1", "sec_1", "--delay", "1h"];
    assert_eq!(request(&revoke, &[]), Ok(json!({"clientId": "cli_1", "secretId": "sec_1", "delay": "3600s"})));
    assert_eq!(request(&["tenant", "create", "acme"], &[]), Ok(json!({"tenant": {"tenantId": "acme"}})));
    assert_eq!(request(&["tenant", "get"], &[]), Ok(json!({})));
    assert!(refused(&["client", "get"]).contains("<CLIENT_ID>"));
}

#[test]
fn an_update_names_exactly_the_fields_that_were_given() {
    let args = ["tenant", "update", "acme", "--client-token-ttl", "30m", "--display-name", "Acme", "--etag", "7"];
    let wanted = json!({
        "tenant": {"tenantId": "acme", "displayName": "Acme", "settings": {"clientTokenTtl": "1800s"}, "etag": "7"},
        "updateMask": "displayName,settings.clientTokenTtl",
    });
    assert_eq!(request(&args, &[]), Ok(wanted));
    assert!(refused(&["tenant", "update", "acme", "--etag", "7"]).contains("nothing to change"));
}

#[test]
fn an_empty_text_in_an_update_clears_the_field() {
    let args =
        ["account", "update", "acc_1", "--foreign-id=", "--labels=", "--children-disabled=false", "--legal-name", "A"];
    let wanted = json!({
        "account": {"accountId": "acc_1", "legalName": "A"},
        "updateMask": "legalName,foreignId,childrenDisabled,labels",
    });
    assert_eq!(request(&args, &[]), Ok(wanted));
    let client = request(&["client", "update", "cli_1", "--token-ttl=", "--default-scopes="], &[]).unwrap();
    assert_eq!(client, json!({"client": {"clientId": "cli_1"}, "updateMask": "defaultScopes,tokenTtl"}));
}

#[test]
fn members_of_a_choice_exclude_each_other_and_some_choices_must_be_made() {
    let issue = request(&["token", "issue", "--account-id", "acc_1", "--ttl", "1h", "--format", "opaque"], &[]);
    assert_eq!(issue, Ok(json!({"account": {"accountId": "acc_1"}, "ttl": "3600s", "format": "TOKEN_FORMAT_OPAQUE"})));
    let both = refused(&["token", "issue", "--client-credentials", "--account-id", "acc_1"]);
    assert!(both.contains("--client-credentials and --account-id exclude each other"), "{both}");
    let lifetimes = refused(&["token", "issue", "--client-credentials", "--ttl", "1h", "--never"]);
    assert!(lifetimes.contains("--ttl and --never exclude each other"), "{lifetimes}");
    let none = refused(&["token", "revoke-all", "--keep-current"]);
    assert!(none.contains("one of these is required: --account-id"), "{none}");

    let subtree = ["token", "revoke-all", "--account-id", "acc_1", "--include-descendants"];
    let wanted = json!({"account": {"accountId": "acc_1", "includeDescendants": true}});
    assert_eq!(request(&subtree, &[]), Ok(wanted));
    let tenant = ["token", "revoke-all", "--tenant", "acme", "--whole-tenant"];
    assert_eq!(request(&tenant, &[]), Ok(json!({"tenantId": "acme", "tenant": {}})));
}

#[test]
fn secrets_come_from_files_and_never_from_arguments() {
    let introspect = ["token", "introspect", "--token-file", "/token", "--consistency", "bounded"];
    let wanted = json!({"token": "jta_x", "consistency": "CONSISTENCY_LEVEL_BOUNDED"});
    assert_eq!(request(&introspect, &[]), Ok(wanted));
    let batch = ["token", "batch-introspect", "--tokens-file", "/tokens"];
    assert_eq!(request(&batch, &[]), Ok(json!({"tokens": ["jta_1", "jta_2"]})));
    let stdin = ["token", "renew", "--refresh-token-file", "-", "--client-id", "c", "--client-secret-file", "/token"];
    let wanted = json!({"refreshToken": "from stdin", "clientId": "c", "clientSecret": "jta_x"});
    assert_eq!(request(&stdin, &[]), Ok(wanted));

    for (args, wanted) in [
        (
            vec!["token", "renew", "--refresh-token-file", "/token", "--client-secret", "s3cret"],
            "use --client-secret-file PATH",
        ),
        (vec!["token", "revoke", "--token=jta_x"], "use --token-file PATH"),
        (vec!["token", "introspect", "--token-file", "/none"], "--token-file: cannot read /none"),
        (vec!["token", "introspect", "--token-file", "/empty"], "--token-file: /empty is empty"),
        (
            vec!["token", "introspect", "--token-file", "-", "--bearer-file", "-"],
            "standard input can be read only once",
        ),
    ] {
        let refusal = refused(&args);
        assert!(refusal.contains(wanted) && !refusal.contains("s3cret"), "{refusal}");
    }
}

#[test]
fn wrong_values_are_reported_with_their_flag() {
    for (args, wanted) in [
        (vec!["token", "issue", "--client-credentials", "--ttl", "1"], "--ttl: `1` is not a duration"),
        (
            vec!["token", "issue", "--client-credentials", "--format", "xml"],
            "--format: `xml` is not one of jwt, opaque",
        ),
        (vec!["token", "issue", "--client-credentials", "--claims", "{"], "--claims: is not JSON"),
        (vec!["account", "create", "--display-name", "A", "--labels", "k"], "--labels: `k` is not KEY=VALUE"),
        (vec!["client", "list", "--page-size", "x"], "--page-size: `x` is not a number in range"),
        (vec!["client", "list", "--timeout", "0s"], "--timeout: `0s` is not a duration"),
        (vec!["client", "list", "--server", "ftp://a"], "neither http://host:port nor https://host:port"),
        (vec!["client", "list", "--ca-file", "/token"], "--ca-file requires a --server that begins with https://"),
        (vec!["client", "list", "--server", "https://a", "--ca-file", "/none"], "--ca-file: cannot read /none"),
        (vec!["client", "list", "--server", "https://a", "--cert-file", "/token"], "--key-file <PATH>"),
    ] {
        let refusal = refused(&args);
        assert!(refusal.contains(wanted), "{refusal}");
    }
}

#[test]
fn the_request_or_one_credential_says_who_asks() {
    let proof = |args: &[&str], variables: &[(&str, &str)]| {
        let call = prepared(args).unwrap();
        let (_, target) = call.request(&environment(variables), &Secrets::new(&files))?;
        Ok::<_, Failure>(match target.proof {
            Proof::None => "none".to_owned(),
            Proof::Bearer(token) => format!("bearer {}", token.as_str()),
            Proof::Credentials { credentials, tenant } => format!("{} in {tenant}", credentials.client_id),
        })
    };
    let both = [("JETON_TOKEN", "jta_env"), ("JETON_CREDENTIALS", "/bootstrap.json")];
    let whoami = ["token", "whoami"];
    assert_eq!(proof(&whoami, &[]).unwrap(), "none");
    assert_eq!(proof(&whoami, &both[..1]).unwrap(), "bearer jta_env");
    assert_eq!(proof(&whoami, &both[1..]).unwrap(), "root in system");
    assert!(proof(&whoami, &both).is_err());
    assert_eq!(proof(&["token", "whoami", "--bearer-file", "/token"], &both).unwrap(), "bearer jta_x");
    let credentials = ["token", "whoami", "--credentials", "/bootstrap.json", "--credentials-tenant", "acme"];
    assert_eq!(proof(&credentials, &both).unwrap(), "root in acme");

    let authenticated = ["token", "renew", "--refresh-token-file", "/token", "--client-id", "c"];
    assert_eq!(proof(&authenticated, &both).unwrap(), "none");
    assert!(proof(&[&authenticated[..], &["--bearer-file", "/token"]].concat(), &[]).is_err());
    // Here `client_id` says whose tokens are meant, not who asks.
    assert_eq!(proof(&["token", "list", "--client-id", "c"], &both[..1]).unwrap(), "bearer jta_env");
}

#[test]
fn a_grant_that_is_its_own_proof_gets_the_credentials_themselves() {
    let args = ["token", "issue", "--client-credentials", "--credentials", "/bootstrap.json", "--tenant", "acme"];
    let wanted = json!({"tenantId": "acme", "clientId": "root", "clientSecret": "s3cret", "clientCredentials": {}});
    assert_eq!(request(&args, &[]), Ok(wanted));
    // A workload's own token is the proof: what variables say of somebody else does not count.
    let args = ["token", "issue", "--tenant", "acme", "--jwt-file", "/token"];
    let wanted = json!({"tenantId": "acme", "workload": {"jwt": "jta_x"}});
    assert_eq!(request(&args, &[("JETON_CREDENTIALS", "/bootstrap.json")]), Ok(wanted));
    assert!(refused(&[&args[..], &["--bearer-file", "/token"]].concat()).contains("authenticates the caller already"));
    let args = ["token", "issue", "--client-credentials", "--client-assertion-file", "/token"];
    let wanted = json!({"clientAssertion": "jta_x", "clientCredentials": {}});
    assert_eq!(request(&args, &[("JETON_CREDENTIALS", "/bootstrap.json")]), Ok(wanted));
}

#[test]
fn messages_in_lists_are_json_one_by_one() {
    let identity = r#"{"issuer": "https://i", "subject": "system:serviceaccount:a:b"}"#;
    let args =
        ["client", "update", "cli_1", "--workload-identities", identity, "--jwks", r#"{"kty": "OKP", "x": "AA"}"#];
    let wanted = json!({
        "client": {
            "clientId": "cli_1",
            "jwks": [{"kty": "OKP", "x": "AA"}],
            "workloadIdentities": [{"issuer": "https://i", "subject": "system:serviceaccount:a:b"}],
        },
        "updateMask": "jwks,workloadIdentities",
    });
    assert_eq!(request(&args, &[]), Ok(wanted));
    let private = refused(&["client", "update", "cli_1", "--jwks", r#"{"kty": "OKP", "x": "AA", "d": "AA"}"#]);
    assert!(private.contains("--jwks: is not JSON of its message"), "{private}");
}

// === message to service ===

/// A service that answers with what a function makes of method, bearer and request.
#[derive(Clone)]
struct Fake {
    contract: Arc<Contract>,
    answer: Arc<Answer>,
}

type Answer = dyn Fn(&str, &str, Value) -> Result<Value, Status> + Send + Sync;

/// Writes replies and reads requests: the other side of a call.
struct Reversed(MethodDescriptor);

impl Codec for Reversed {
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

impl Encoder for Reversed {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Reversed {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.input(), buffer).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

impl tower::Service<http::Request<Body>> for Fake {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let fake = self.clone();
        Box::pin(async move {
            let path = request.uri().path().trim_start_matches("/jeton.v1.").to_owned();
            let method = fake.contract.method(&path).unwrap();
            let output = method.output();
            let handler = Handler { fake, path, output };
            Ok(tonic::server::Grpc::new(Reversed(method)).unary(handler, request).await)
        })
    }
}

struct Handler {
    fake: Fake,
    path: String,
    output: prost_reflect::MessageDescriptor,
}

impl tonic::server::UnaryService<DynamicMessage> for Handler {
    type Response = DynamicMessage;
    type Future = std::future::Ready<Result<Response<DynamicMessage>, Status>>;

    fn call(&mut self, request: Request<DynamicMessage>) -> Self::Future {
        assert!(request.metadata().contains_key("grpc-timeout"));
        let bearer = request.metadata().get("authorization").map_or("", |value| value.to_str().unwrap());
        let answer = (self.fake.answer)(&self.path, bearer, serde_json::to_value(request.get_ref()).unwrap());
        let reply = answer.map(|json| Response::new(DynamicMessage::deserialize(self.output.clone(), json).unwrap()));
        std::future::ready(reply)
    }
}

/// Runs a command against a service that answers with `answer`; gives what is printed.
async fn printed(
    args: &[&str],
    answer: impl Fn(&str, &str, Value) -> Result<Value, Status> + Send + Sync + 'static,
) -> Result<String, Failure> {
    let fake = Fake { contract: Arc::new(Contract::load().unwrap()), answer: Arc::new(answer) };
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
    let server = tokio::spawn(tonic::transport::Server::builder().serve_with_incoming(fake, incoming));
    let address = format!("unix:{}", socket.display());
    let call = prepared(&[args, &["--server", &address]].concat()).unwrap();
    let reply = call.reply(&environment(&[]), &Secrets::new(&files)).await;
    server.abort();
    call.rendered(&reply?)
}

#[tokio::test]
async fn credentials_are_exchanged_for_a_bearer_token() {
    let text = printed(&["client", "get", "cli_1", "--credentials", "/bootstrap.json"], |method, bearer, request| {
        if method == "TokenService/IssueToken" {
            assert_eq!(request["clientSecret"], "s3cret");
            assert_eq!(request["tenantId"], "system");
            return Ok(json!({"token": {"accessToken": "jta_fresh"}}));
        }
        assert_eq!((method, bearer), ("ClientService/GetClient", "Bearer jta_fresh"));
        Ok(json!({"client": {
            "clientId": request["clientId"],
            "displayName": "evil\u{1b}[2J",
            "state": "CLIENT_STATE_ENABLED",
            "allowedScopes": ["a", "b"],
            "labels": {"z": "1", "a": "2"},
            "tokenTtl": "5400s",
            "createTime": "2026-01-02T03:04:05Z",
        }}))
    });
    let wanted = "\
client_id       cli_1
display_name    evil\\u{1b}[2J
state           enabled
allowed_scopes  a, b
token_ttl       1h30m
labels          a=2, z=1
create_time     2026-01-02T03:04:05Z
";
    assert_eq!(text.await.unwrap(), wanted);
}

#[tokio::test]
async fn a_list_is_a_table_over_as_many_pages_as_it_takes() {
    let pages: Arc<Mutex<Vec<Value>>> = Arc::default();
    let asked = Arc::clone(&pages);
    let text = printed(&["key", "list"], |_, _, _| {
        Ok(json!({"keys": [{"kid": "k1", "alg": "EdDSA", "kty": "OKP"}], "maxAge": "600s"}))
    });
    assert_eq!(text.await.unwrap(), "KID  ALG    KTY  CRV  USE\nk1   EdDSA  OKP\nmax_age  10m\n");

    let text = printed(&["tenant", "list", "--limit", "3"], move |_, _, request| {
        asked.lock().unwrap().push(request.clone());
        Ok(match request["pageToken"].as_str() {
            None => json!({"tenants": [{"tenantId": "a"}], "nextPageToken": "2"}),
            Some("2") => json!({"nextPageToken": "3"}),
            _ => json!({"tenants": [{"tenantId": "b", "displayName": "B"}, {"tenantId": "c"}], "nextPageToken": "4"}),
        })
    });
    let wanted = "\
TENANT_ID  DISPLAY_NAME  STATE  ISSUER  CREATE_TIME
a
b          B
c
";
    assert_eq!(text.await.unwrap(), wanted);
    let sizes: Vec<i64> = pages.lock().unwrap().iter().map(|page| page["pageSize"].as_i64().unwrap()).collect();
    assert_eq!(sizes, [3, 2, 2]);
}

#[tokio::test]
async fn json_is_that_of_protobuf() {
    let text = printed(&["token", "introspect", "--token-file", "/token", "--json"], |_, _, _| {
        Ok(json!({"introspection": {"active": false}}))
    });
    let json: Value = serde_json::from_str(&text.await.unwrap()).unwrap();
    assert_eq!(json, json!({"introspection": {"active": false}}));
}

#[tokio::test]
async fn an_inactive_token_is_reported() {
    let text = printed(&["token", "introspect", "--token-file", "/token"], |_, _, _| {
        Ok(json!({"introspection": {"active": false}}))
    });
    assert_eq!(text.await.unwrap(), "active  false\n");
}

#[tokio::test]
async fn a_refused_call_fails_with_its_reason() {
    let text = printed(&["token", "whoami"], |_, _, _| Err(Status::unauthenticated("no bearer token")));
    assert_eq!(text.await, Err(Failure::call("no bearer token (UNAUTHENTICATED)")));
}

#[tokio::test]
async fn a_service_that_is_not_there_is_reported_with_its_address() {
    let call = prepared(&["token", "whoami", "--server", "unix:/nonexistent/s"]).unwrap();
    let failure = call.reply(&BTreeMap::new(), &Secrets::new(&files)).await.unwrap_err();
    let answer = failure.to_string();
    assert!(answer.starts_with("error: cannot reach unix:/nonexistent/s: No such file"), "{answer}");
}

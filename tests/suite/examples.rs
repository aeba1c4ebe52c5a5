//! The examples, as a reader who copies from them runs them: each a process of its own, against the real binary.

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use jeton::api::wire::{self, client_service_client::ClientServiceClient};
use tempfile::TempDir;
use tonic::{Code, Request, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    faults::{
        calls::{Client, Wanted, bearing, issue_request},
        process::{Jeton, Setup},
    },
    servers::until,
    tools,
};

/// jeton, a server that takes its tokens, and a client that may have some.
struct World {
    jeton: Jeton,
    service: String,
    client: Client,
    server: Child,
}

impl World {
    async fn start() -> Self {
        let [http, service] = [0, 1].map(|_| free_address());
        let url = format!("http://{http}");
        let setup = Setup::embedded().env("JETON_HTTP_LISTEN", &http).env("JETON_PUBLIC_URL", &url);
        let jeton = setup.start();
        let client = make_client(&jeton).await;
        // Cargo builds examples beside the tests that belong to them.
        let deps = env::current_exe().unwrap();
        let server = Command::new(deps.parent().unwrap().with_file_name("examples").join("resource-server"))
            .env_clear()
            .envs([("ISSUER", format!("{url}/t/default")), ("SERVICE", service.clone())])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let world = Self { jeton, service, client, server };
        until("the server takes connections", || TcpStream::connect(&world.service).is_ok());
        world
    }

    /// Runs an example to its end.
    fn run(&self, command: &mut Command) -> Output {
        let (jeton, service) = (self.jeton.address(), self.service.as_str());
        command
            .envs([("JETON", jeton), ("SERVICE", service)])
            .envs([("CLIENT_ID", &self.client.id), ("CLIENT_SECRET", &self.client.secret)])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// An address to listen at that must be known before: an issuer is its URL. No connection of another test comes from
/// there, so nobody takes the port meanwhile.
fn free_address() -> String {
    TcpListener::bind("127.88.0.1:0").unwrap().local_addr().unwrap().to_string()
}

async fn make_client(jeton: &Jeton) -> Client {
    let link = jeton.link();
    let client = wire::Client {
        display_name: "example".into(),
        allowed_grants: vec![wire::GrantType::ClientCredentials.into()],
        allowed_scopes: vec!["greet".into(), "other".into()],
        default_scopes: vec!["greet".into()],
        renewal_policy: wire::RenewalPolicy::Always.into(),
        ..wire::Client::default()
    };
    let request = wire::CreateClientRequest { tenant_id: "default".into(), client: Some(client), ..Default::default() };
    let request = bearing(&link.admin().await, request);
    let made = ClientServiceClient::new(link.0).create_client(request).await.unwrap().into_inner();
    Client { id: made.client.unwrap().client_id, secret: made.client_secret }
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn assert_flow(output: &Output) {
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{out}{}", String::from_utf8_lossy(&output.stderr));
    let said: Vec<&str> = out.lines().map(|line| line.split(" tok_").next().unwrap()).collect();
    let wanted =
        ["issued", "called: SERVING", "renewed", "called: SERVING", "revoked", "renewal refused: UNAUTHENTICATED"];
    assert_eq!(said, wanted);
}

/// The code that the example's first lines tell to generate.
fn generated() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = example("python-client/client.py");
    let text = fs::read_to_string(script).unwrap();
    let begin = text.find("python -m grpc_tools.protoc").unwrap();
    let answer = text[begin..].split("\n    PYTHONPATH").next().unwrap();
    let answer = answer.replacen("python", &tools::python().display().to_string(), 1).replace("generated", "$OUT");
    let mut shell = Command::new("sh");
    let own = root.join("examples/python-client");
    let run =
        shell.args(["-c", &answer]).env("OUT", dir.path()).current_dir(own).stdin(Stdio::null()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    dir
}

#[tokio::test]
async fn the_example_in_python_issues_calls_renews_and_revokes() {
    let (world, generated) = (World::start().await, generated());
    let mut client = Command::new(tools::python());
    assert_flow(&world.run(client.arg(example("python-client/client.py")).env("PYTHONPATH", generated.path())));
}

#[tokio::test]
async fn the_example_for_node_issues_calls_renews_and_revokes() {
    let world = World::start().await;
    // Beside its packages, as it lies in a directory where `npm ci` was run.
    let dir = tempfile::tempdir().unwrap();
    fs::copy(example("node-client/client.js"), dir.path().join("client.js")).unwrap();
    let packages = tools::installed("JETON_TEST_NODE_CLIENT", "node-client").join("node_modules");
    std::os::unix::fs::symlink(packages, dir.path().join("node_modules")).unwrap();
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut client = Command::new("node");
    assert_flow(&world.run(client.arg(dir.path().join("client.js")).env("PROTO", proto)));
}

#[tokio::test]
async fn the_server_of_the_examples_takes_nothing_but_the_tokens_that_it_is_for() {
    let world = World::start().await;
    let issue = async |scope: &str| {
        let request = issue_request(&world.client, &Wanted::default());
        let request = wire::IssueTokenRequest { scopes: vec![scope.to_owned()], ..request };
        world.jeton.link().tokens().issue_token(request).await.unwrap().into_inner().token.unwrap().access_token
    };
    let call = async |token: &str| {
        let channel = Endpoint::try_from(format!("http://{}", world.service)).unwrap().connect().await.unwrap();
        let request = match token {
            "" => Request::new(HealthCheckRequest::default()),
            token => bearing(token, HealthCheckRequest::default()),
        };
        let called = HealthClient::new(channel).check(request).await;
        called.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    let good = issue("greet").await;
    assert_eq!(call(&good).await, Code::Ok);
    assert_eq!(call("").await, Code::Unauthenticated);
    assert_eq!(call(&issue("other").await).await, Code::PermissionDenied);
    // Another signature, and a token that is for jeton itself.
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let forged: String = signature.chars().rev().collect();
    assert_eq!(call(&format!("{rest}.{forged}")).await, Code::Unauthenticated);
    assert_eq!(call(&world.jeton.link().admin().await).await, Code::Unauthenticated);
}

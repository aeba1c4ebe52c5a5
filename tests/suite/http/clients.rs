//! Clients that nobody here wrote: Authlib and PyJWT in Python, openid-client and jose on Node.

use std::{path::Path, process::Stdio, sync::LazyLock};

use jeton::api::wire::{self, GrantType};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    servers::installed,
    service::{
        calls::IssueExt as _,
        harness::{Service, plain},
        on_both_stores,
        signers::Signer,
    },
};

on_both_stores! {
    authlib_and_pyjwt_understand_it
    openid_client_and_jose_understand_it
}

static KEY: LazyLock<Signer> = LazyLock::new(|| Signer::new("own", Algorithm::ES256));

async fn authlib_and_pyjwt_understand_it(service: Service) {
    let program = installed("JETON_TEST_PYTHON", "venv/bin/python");
    run(service, &program, "client.py", None).await;
}

async fn openid_client_and_jose_understand_it(service: Service) {
    let library = installed("JETON_TEST_OAUTH_CLIENTS", "oauth-clients");
    run(service, Path::new("node"), "client.mjs", Some(&library)).await;
}

/// Lets a program of `tests/oauth-clients` do what it does; it must be content.
async fn run(service: Service, program: &Path, script: &str, argument: Option<&Path>) {
    let service = service.reachable().await;
    let world = world(&service).await;
    let mut running = Command::new(program)
        .arg(format!("{}/tests/oauth-clients/{script}", env!("CARGO_MANIFEST_DIR")))
        .args(argument)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}: tests/run installs it", program.display()));
    running.stdin.take().unwrap().write_all(world.to_string().as_bytes()).await.unwrap();
    let ended = running.wait_with_output().await.unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    assert!(ended.status.success(), "{script}: {}", String::from_utf8_lossy(&said));
}

/// What the programs find.
async fn world(service: &Service) -> Value {
    let grants = [GrantType::ClientCredentials, GrantType::Account, GrantType::TokenExchange];
    let client = wire::Client { allowed_grants: grants.map(Into::into).into(), ..plain() };
    let keyed = service.client_in("default", wire::Client { jwks: vec![KEY.jwk()], ..plain() }).await;
    let client = service.client_in("default", client).await;
    let account = service.account("").await;
    let token = service.anonymous().issue(client.account(&account).scopes(&["pay", "invoices.read"]).refresh()).await;
    json!({
        "issuer": format!("http://{}/t/default", service.http),
        "client_id": client.client_id,
        "client_secret": client.client_secret,
        "keyed_client_id": keyed.client_id,
        "key": KEY.pem,
        "refresh_token": token.refresh_token,
        "subject_token": token.access_token,
    })
}

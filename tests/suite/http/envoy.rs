//! Envoy as it is shipped: it verifies our tokens by our keys, and serves JSON to our callers.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use jeton::api::wire;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::client::{Answer, ask_at};
use crate::{
    service::{
        calls::IssueExt as _,
        harness::{Backend, PUBLIC_URL, Service, manager},
    },
    tools,
};

/// A running proxy.
struct Envoy {
    address: SocketAddr,
    _process: Child,
    _dir: TempDir,
}

/// Longer than anything here takes, unless it hangs.
const SOON: Duration = Duration::from_secs(30);

// === impl Envoy ===

impl Envoy {
    /// With a filter before `route`, and the service as cluster `jeton`, called by the protocol of `protocol`.
    async fn start(filter: Value, route: Value, jeton: SocketAddr, protocol: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |address: SocketAddr| json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
        let any = at("127.0.0.1:0".parse().unwrap());
        let typed = |name: &str, kind: &str, config: Value| {
            let mut config = config;
            config["@type"] = format!("type.googleapis.com/{kind}").into();
            json!({"name": name, "typed_config": config})
        };
        let router = typed("router", "envoy.extensions.filters.http.router.v3.Router", json!({}));
        let manager = json!({
            "stat_prefix": "test",
            "http_filters": [filter, router],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        });
        let manager =
            typed("http", "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", manager);
        let endpoint = json!({"endpoint": {"address": at(jeton)}});
        let cluster = json!({
            "name": "jeton",
            "type": "STATIC",
            "load_assignment": {"cluster_name": "jeton", "endpoints": [{"lb_endpoints": [endpoint]}]},
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": protocol,
                },
            },
        });
        let listener = json!({"name": "test", "address": any, "filter_chains": [{"filters": [manager]}]});
        let config = json!({
            "admin": {"address": any},
            "static_resources": {"listeners": [listener], "clusters": [cluster]},
        });
        let (written, admin) = (dir.path().join("envoy.json"), dir.path().join("admin"));
        std::fs::write(&written, config.to_string()).unwrap();
        let process = Command::new(tools::program("envoy"))
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "error", "--config-path"])
            .arg(&written)
            .arg("--admin-address-path")
            .arg(&admin)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("envoy runs: tests/run installs it");
        let address = until("envoy listens", async || listens(&admin).await).await;
        Self { address, _process: process, _dir: dir }
    }

    async fn ask(&self, method: &str, path: &str, bearer: &str, body: &Value) -> Answer {
        let authorization = format!("Bearer {bearer}");
        let mut headers = vec![("content-type", "application/json")];
        if !bearer.is_empty() {
            headers.push(("authorization", &authorization));
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        ask_at(self.address, method, path, &headers, &body).await
    }
}

/// Where a proxy listens, as it tells at the address in this file.
async fn listens(admin: &Path) -> Option<SocketAddr> {
    let admin = std::fs::read_to_string(admin).ok()?.trim().parse().ok()?;
    let answer: Value =
        serde_json::from_str(&ask_at(admin, "GET", "/listeners?format=json", &[], "").await.body).ok()?;
    let socket = &answer["listener_statuses"][0]["local_address"]["socket_address"];
    format!("{}:{}", socket["address"].as_str()?, socket["port_value"]).parse().ok()
}

async fn until<T>(what: &str, wanted: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = wanted().await {
            return found;
        }
        assert!(Instant::now() < deadline, "still not: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn it_verifies_tokens_by_the_key_set_before_and_after_a_rotation() {
    let service = Service::start(Backend::Embedded).await;
    service.tenant("acme", wire::TenantSettings::default()).await;
    let issuer = format!("{PUBLIC_URL}/t/default");
    let filter = json!({
        "name": "jwt",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"jeton": {
                "issuer": issuer,
                "audiences": [format!("{issuer}/api")],
                "remote_jwks": {
                    "http_uri": {"uri": "http://jeton/t/default/oauth2/jwks", "cluster": "jeton", "timeout": "5s"},
                    // In its own time. The clock of the service is set forward for much longer.
                    "cache_duration": "0.2s",
                },
            }},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "jeton"}}],
        },
    });
    let route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "in"}}});
    let envoy = Envoy::start(filter, route, service.http, json!({"http_protocol_options": {}})).await;
    let (client, theirs) = (service.client().await, service.client_in("acme", manager()).await);
    let issue = async || service.anonymous().issue(client.client_credentials()).await.access_token;
    let status = async |token: &str| envoy.ask("GET", "/anything", token, &Value::Null).await.status;

    let first = issue().await;
    assert_eq!(status(&first).await, 200);
    let foreign = service.anonymous().issue(theirs.client_credentials().scopes(&["pay"])).await.access_token;
    let for_jeton = service.anonymous().issue(client.client_credentials().scopes(&["jeton.tokens.issue"])).await;
    let (head, signature) = first.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    for (name, token, expected) in [
        ("none", "", 401),
        ("another tenant's", &foreign, 401),
        ("forged", &forged, 401),
        ("of another audience", &for_jeton.access_token, 403),
    ] {
        assert_eq!(status(token).await, expected, "{name}");
    }

    let request = wire::RotateSigningKeyRequest { tenant_id: "default".into() };
    let announced = service.admin().await.rotate_signing_key(request).await.unwrap();
    let listed = wire::ListSigningKeysRequest { tenant_id: "default".into() };
    let listed = service.anonymous().list_signing_keys(listed).await.unwrap();
    assert_eq!(listed.keys.len(), 2, "{announced:?}");
    service.advance(Duration::from_secs(u64::try_from(listed.max_age.unwrap().seconds).unwrap()));
    let second = issue().await;
    let kid = |token: &str| token.split('.').next().unwrap().to_owned();
    assert_ne!(kid(&first), kid(&second), "the new key signs");
    until("envoy has read the keys again", async || (status(&second).await == 200).then_some(())).await;
    assert_eq!(status(&first).await, 200);
}

#[tokio::test]
async fn it_transcodes_json_by_the_descriptors_that_are_shipped() {
    let service = Service::start(Backend::Embedded).await;
    let dir = tempfile::tempdir().unwrap();
    let descriptors = dir.path().join("jeton.binpb");
    let printed = Command::new(env!("CARGO_BIN_EXE_jeton")).arg("contract").output().await.unwrap();
    assert!(printed.status.success());
    std::fs::write(&descriptors, printed.stdout).unwrap();
    let services = ["Token", "Client", "Account", "Member", "EntityGroup", "Tenant"];
    let filter = json!({
        "name": "json",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
            "proto_descriptor": descriptors,
            "services": services.map(|name| format!("jeton.v1.{name}Service")),
            "convert_grpc_status": true,
        },
    });
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "jeton", "timeout": "10s"}});
    let envoy = Envoy::start(filter, route, service.grpc, json!({"http2_protocol_options": {}})).await;
    let client = service.client_in("default", manager()).await;
    let own = json!({
        "client_id": client.client_id, "client_secret": client.client_secret, "client_credentials": {},
    });
    let ok = |answer: Answer| {
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };

    let issued = ok(envoy.ask("POST", "/v1/tokens:issue", "", &own).await);
    let token = issued["token"]["accessToken"].as_str().unwrap();
    assert_eq!(ok(envoy.ask("GET", "/v1/caller", token, &Value::Null).await)["caller"]["subject"], client.client_id);
    let made = envoy.ask("POST", "/v1/accounts", token, &json!({"displayName": "Acme", "foreignId": "acme"})).await;
    let id = ok(made)["account"]["accountId"].as_str().unwrap().to_owned();
    let changed = json!({"displayName": "Acme Corp"});
    let path = format!("/v1/accounts/{id}");
    ok(envoy.ask("PATCH", &format!("{path}?update_mask=displayName"), token, &changed).await);
    let read = ok(envoy.ask("GET", &path, token, &Value::Null).await);
    assert_eq!((&read["account"]["displayName"], &read["account"]["foreignId"]), (&json!("Acme Corp"), &json!("acme")));
    ok(envoy.ask("POST", &format!("{path}:disable"), token, &json!({})).await);
    let listed = ok(envoy.ask("GET", "/v1/accounts?page_size=10", token, &Value::Null).await);
    assert_eq!(listed["accounts"].as_array().unwrap().len(), 1);
    let tokens = format!("/v1/tokens?client_id={}", client.client_id);
    assert_eq!(ok(envoy.ask("GET", &tokens, token, &Value::Null).await)["tokens"].as_array().unwrap().len(), 1);
    ok(envoy.ask("DELETE", &path, token, &Value::Null).await);

    // Errors have bodies with all their details.
    let answer = envoy.ask("GET", "/v1/accounts/nobody", token, &Value::Null).await;
    let shown: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
    assert_eq!((answer.status, &shown["code"]), (404, &json!(5)));
    let reasons: Vec<_> =
        shown["details"].as_array().unwrap().iter().filter_map(|own| own["reason"].as_str()).collect();
    assert_eq!(reasons, ["NOT_FOUND"], "{shown}");
    let answer = envoy.ask("POST", "/v1/tokens:revoke", "", &json!({})).await;
    assert!(answer.body.contains("fieldViolations"), "{answer:?}");
}

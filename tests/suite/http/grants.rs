//! The token endpoint: each grant as its RFC has it, and as the verb answers.

use std::{fs, sync::LazyLock};

use jeton::{
    api::wire::{self, GrantType},
    outbound::published::Location,
};
use jsonwebtoken::Algorithm;
use serde_json::json;

use super::client::{basic, post, post_in};
use crate::service::{
    calls::{Credentials, IssueExt as _, owned},
    harness::{PUBLIC_URL, Service, plain},
    on_both_stores,
    signers::{Signer, key_set},
};

on_both_stores! {
    a_client_proves_itself_in_the_header_or_in_the_body
    an_assertion_proves_its_client_once
    scope_and_audience_are_as_requested
    a_client_token_tells_where_to_use_it
    a_client_that_was_admitted_gets_tokens_of_that_tenant
    a_refresh_token_is_renewed_and_a_lost_reply_answered_again
    a_refresh_token_is_renewed_at_its_own_tenant_only
    a_token_is_exchanged_for_a_narrower_one
    a_bearer_exchanges_too
    a_workload_presents_its_own_token
    a_request_keeps_its_id
}

const EXCHANGE: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
const WORKLOAD: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const OWN: (&str, &str) = ("grant_type", "client_credentials");
const RENEW: (&str, &str) = ("grant_type", "refresh_token");
const ASSERTION_TYPE: (&str, &str) =
    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");

static KEY: LazyLock<Signer> = LazyLock::new(|| Signer::new("ed", Algorithm::EdDSA));

fn issuer(tenant: &str) -> String {
    format!("{PUBLIC_URL}/t/{tenant}")
}

/// The names of a reply's members.
fn members(reply: &serde_json::Value) -> Vec<&str> {
    reply.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn a_client_proves_itself_in_the_header_or_in_the_body(service: Service) {
    let client = service.client().await;
    let (id, secret) = (client.client_id.as_str(), client.client_secret.as_str());
    let in_body = [OWN, ("client_id", id), ("client_secret", secret)];
    let header = basic(&client);
    for answer in [
        post(&service, "token", &[("authorization", &header)], &[OWN]).await,
        // Many clients say who they are once more.
        post(&service, "token", &[("authorization", &header)], &[OWN, ("client_id", id)]).await,
        post(&service, "token", &[], &in_body).await,
        // What nobody knows is ignored, and what is empty was left out.
        post(&service, "token", &[], &[&in_body[..], &[("scope", ""), ("foo", "bar")]].concat()).await,
    ] {
        let reply = answer.ok();
        assert_eq!(members(&reply), ["access_token", "expires_in", "scope", "token_type"]);
        assert_eq!((&reply["token_type"], &reply["expires_in"]), (&json!("Bearer"), &json!(900)));
        assert_eq!(reply["scope"], "invoices.read");
        let introspection = service.introspect(reply["access_token"].as_str().unwrap()).await;
        assert_eq!((introspection.active, introspection.subject.as_str()), (Some(true), id));
    }
}

async fn an_assertion_proves_its_client_once(service: Service) {
    let client = service.client_in("default", wire::Client { jwks: vec![KEY.jwk()], ..plain() }).await;
    let now = service.clock.now().as_secs();
    let claims = json!({
        "iss": client.client_id, "sub": client.client_id, "aud": issuer("default"), "iat": now, "exp": now + 60,
        "jti": "one",
    });
    let assertion = KEY.sign(&claims);
    let form = [OWN, ASSERTION_TYPE, ("client_assertion", assertion.as_str())];
    assert_eq!(post(&service, "token", &[], &form).await.ok()["token_type"], "Bearer");
    post(&service, "token", &[], &form).await.refused(401, "invalid_client", &[]);
    let other = [OWN, ("client_assertion_type", "x"), ("client_assertion", assertion.as_str())];
    post(&service, "token", &[], &other).await.refused(400, "invalid_request", &["client_assertion_type"]);
    let without = [OWN, ASSERTION_TYPE];
    post(&service, "token", &[], &without).await.refused(400, "invalid_request", &["client_assertion"]);
}

async fn scope_and_audience_are_as_requested(service: Service) {
    let audiences = owned(&["https://pay", "urn:ledger", "https://a"]);
    let client = service.client_in("default", wire::Client { audiences, ..plain() }).await;
    let header = basic(&client);
    let form = [
        OWN,
        ("scope", "pay  invoices.read"),
        ("resource", "https://pay"),
        ("resource", "urn:ledger"),
        ("audience", "https://a"),
        ("audience", "https://pay"),
    ];
    let reply = post(&service, "token", &[("authorization", &header)], &form).await.ok();
    assert_eq!(reply["scope"], "pay invoices.read");
    let introspection = service.introspect(reply["access_token"].as_str().unwrap()).await;
    assert_eq!(introspection.audience, ["https://a", "https://pay", "urn:ledger"]);
}

async fn a_client_token_tells_where_to_use_it(service: Service) {
    let service_urls = [("api".to_owned(), "https://api.example.com".to_owned())].into();
    let tenant = wire::Tenant { tenant_id: "default".into(), service_urls, ..Default::default() };
    let request = wire::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() };
    service.admin().await.update_tenant(request).await.unwrap();
    let client = service.client().await;
    let reply = post(&service, "token", &[("authorization", &basic(&client))], &[OWN]).await.ok();
    assert_eq!(reply["service_urls"], json!({"api": "https://api.example.com"}));
}

async fn a_client_that_was_admitted_gets_tokens_of_that_tenant(service: Service) {
    service.tenant("acme", wire::TenantSettings::default()).await;
    let client = service.client().await;
    let header = basic(&client);
    let ask = async || post_in(&service, "acme", "token", &[("authorization", &header)], &[OWN]).await;
    ask().await.refused(400, "unauthorized_client", &["admitted"]);
    let request = wire::AdmitClientRequest {
        tenant_id: "acme".into(),
        admission: Some(wire::Admission {
            client_id: client.client_id.clone(),
            scopes: owned(&["invoices.read"]),
            ..Default::default()
        }),
    };
    service.admin().await.admit_client(request).await.unwrap();
    let introspection = service.introspect(ask().await.ok()["access_token"].as_str().unwrap()).await;
    assert_eq!((introspection.tenant_id.as_str(), introspection.issuer), ("acme", issuer("acme")));
}

/// A refresh token of a client.
async fn refresh_token(service: &Service, client: &Credentials) -> String {
    let account = service.account("").await;
    service.anonymous().issue(client.account(&account).scopes(&["pay", "invoices.read"]).refresh()).await.refresh_token
}

async fn a_refresh_token_is_renewed_and_a_lost_reply_answered_again(service: Service) {
    let client = service.client().await;
    let header = basic(&client);
    let first = refresh_token(&service, &client).await;
    let renew = async |token: &str, more: &[(&str, &str)]| {
        let form = [&[RENEW, ("refresh_token", token)], more].concat();
        post(&service, "token", &[("authorization", &header)], &form).await
    };
    let reply = renew(&first, &[]).await.ok();
    assert_eq!(members(&reply), ["access_token", "expires_in", "refresh_token", "scope", "token_type"]);
    assert_eq!(renew(&first, &[]).await.ok()["refresh_token"], reply["refresh_token"]);
    let second = reply["refresh_token"].as_str().unwrap();
    let narrower = renew(second, &[("scope", "pay")]).await.ok();
    assert_eq!(narrower["scope"], "pay");
    renew("jtr_nonsense", &[]).await.refused(400, "invalid_grant", &[]);
    renew("", &[]).await.refused(400, "invalid_request", &["refresh_token"]);
    let resource = renew(second, &[("resource", "https://pay")]).await;
    resource.refused(400, "invalid_target", &["resource", "keeps its audience"]);
    let other = service.client().await;
    let form = [RENEW, ("refresh_token", second)];
    post(&service, "token", &[("authorization", &basic(&other))], &form).await.refused(400, "invalid_grant", &[]);
}

async fn a_refresh_token_is_renewed_at_its_own_tenant_only(service: Service) {
    service.tenant("acme", wire::TenantSettings::default()).await;
    let client = service.client().await;
    let token = refresh_token(&service, &client).await;
    let header = basic(&client);
    let form = [RENEW, ("refresh_token", token.as_str())];
    let mut seen = Vec::new();
    for tenant in ["acme", "nowhere"] {
        let answer = post_in(&service, tenant, "token", &[("authorization", &header)], &form).await;
        answer.refused(400, "invalid_grant", &[]);
        seen.push(answer.seen());
    }
    assert_eq!(seen[0], seen[1]);
    post(&service, "token", &[("authorization", &header)], &form).await.ok();
}

/// A client that may exchange.
async fn broker(service: &Service) -> Credentials {
    let grants = [GrantType::ClientCredentials, GrantType::Account, GrantType::TokenExchange];
    let allowed_grants = grants.map(Into::into).into();
    service.client_in("default", wire::Client { allowed_grants, ..plain() }).await
}

async fn a_token_is_exchanged_for_a_narrower_one(service: Service) {
    let broker = broker(&service).await;
    let account = service.account("").await;
    let ask = broker.account(&account).scopes(&["pay", "invoices.read"]);
    let subject = service.anonymous().issue(ask).await.access_token;
    let actor = service.anonymous().issue(broker.client_credentials()).await.access_token;
    let header = basic(&broker);
    let exchange = async |more: &[(&str, &str)]| {
        let form = [&[EXCHANGE, ("subject_token", subject.as_str()), ("scope", "pay")], more].concat();
        post(&service, "token", &[("authorization", &header)], &form).await
    };
    let typed = ("subject_token_type", ACCESS_TOKEN);
    let reply = exchange(&[typed]).await.ok();
    assert_eq!((&reply["issued_token_type"], &reply["scope"]), (&json!(ACCESS_TOKEN), &json!("pay")));
    let introspection = service.introspect(reply["access_token"].as_str().unwrap()).await;
    assert_eq!(introspection.subject, account);
    let reply = exchange(&[typed, ("requested_token_type", JWT), ("actor_token", &actor), ("actor_token_type", JWT)])
        .await
        .ok();
    assert_eq!(reply["issued_token_type"], JWT);
    let introspection = service.introspect(reply["access_token"].as_str().unwrap()).await;
    assert_eq!(introspection.actor.unwrap().subject, broker.client_id);

    // RFC 8693 §2.2.2: everything is an invalid request, and all of it is named.
    exchange(&[]).await.refused(400, "invalid_request", &["subject_token_type"]);
    let wrong = [("actor_token", "x"), ("requested_token_type", "urn:ietf:params:oauth:token-type:saml2")];
    let names = ["subject_token_type", "actor_token_type", "requested_token_type"];
    exchange(&wrong).await.refused(400, "invalid_request", &names);
    exchange(&[typed, ("actor_token_type", JWT)]).await.refused(400, "invalid_request", &["actor_token_type"]);
    let form = [EXCHANGE, typed];
    let answer = post(&service, "token", &[("authorization", &header)], &form).await;
    answer.refused(400, "invalid_request", &["subject_token: must"]);
    let form = [EXCHANGE, typed, ("subject_token", "garbage")];
    let answer = post(&service, "token", &[("authorization", &header)], &form).await;
    answer.refused(400, "invalid_request", &["subject_token: must be an active access token"]);
}

async fn a_bearer_exchanges_too(service: Service) {
    let broker = broker(&service).await;
    let ask = broker.client_credentials().scopes(&["jeton.tokens.issue"]);
    let bearer = format!("Bearer {}", service.anonymous().issue(ask).await.access_token);
    let account = service.account("").await;
    let subject = service.anonymous().issue(broker.account(&account)).await.access_token;
    let form = [EXCHANGE, ("subject_token", subject.as_str()), ("subject_token_type", ACCESS_TOKEN)];
    post(&service, "token", &[("authorization", &bearer)], &form).await.ok();
    // The same, without the scope, and with both at once.
    let plain = service.anonymous().issue(broker.client_credentials().audience(&[&issuer("default")])).await;
    let weak = format!("Bearer {}", plain.access_token);
    let answer = post(&service, "token", &[("authorization", &weak)], &form).await;
    answer.refused(403, "insufficient_scope", &["jeton.tokens.issue"]);
    assert!(answer.header("www-authenticate").starts_with("Bearer "), "{answer:?}");
    let both =
        [&form[..], &[("client_id", broker.client_id.as_str()), ("client_secret", &broker.client_secret)]].concat();
    post(&service, "token", &[("authorization", &bearer)], &both).await.refused(400, "invalid_request", &[]);
    let answer = post(&service, "token", &[("authorization", "Bearer nonsense")], &form).await;
    answer.refused(401, "invalid_token", &[]);
    assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""), "{answer:?}");
}

async fn a_workload_presents_its_own_token(service: Service) {
    const CLUSTER: &str = "https://cluster.example";
    let published = tempfile::tempdir().unwrap();
    let file = published.path().join("jwks.json");
    fs::write(&file, key_set(&[&KEY])).unwrap();
    let service = service.trusting(vec![(CLUSTER.to_owned(), Location::File(file))]).await;
    let identity = wire::WorkloadIdentity { issuer: CLUSTER.to_owned(), subject: "billing".to_owned() };
    let client = wire::Client {
        allowed_grants: vec![GrantType::Workload.into()],
        workload_identities: vec![identity],
        ..plain()
    };
    let client = service.client_in("default", client).await;
    let now = service.clock.now().as_secs();
    let claims = json!({
        "iss": CLUSTER, "sub": "billing", "aud": issuer("default"), "iat": now, "exp": now + 600,
    });
    let (genuine, strange) = (KEY.sign(&claims), Signer::new("ed", Algorithm::EdDSA).sign(&claims));
    let reply = post(&service, "token", &[], &[WORKLOAD, ("assertion", &genuine)]).await.ok();
    let introspection = service.introspect(reply["access_token"].as_str().unwrap()).await;
    assert_eq!(introspection.client_id, client.client_id);
    // RFC 7521 §4.1: of the grant, not of the client.
    post(&service, "token", &[], &[WORKLOAD, ("assertion", &strange)]).await.refused(400, "invalid_grant", &[]);
    post(&service, "token", &[], &[WORKLOAD]).await.refused(400, "invalid_request", &["assertion"]);
    let answer =
        post(&service, "token", &[("authorization", &basic(&client))], &[WORKLOAD, ("assertion", &genuine)]).await;
    answer.refused(400, "invalid_request", &["assertion"]);
}

async fn a_request_keeps_its_id(service: Service) {
    let client = service.client().await;
    let header = basic(&client);
    let named = [("authorization", header.as_str()), ("x-request-id", "my-own-id")];
    assert_eq!(post(&service, "token", &named, &[OWN]).await.header("x-request-id"), "my-own-id");
    assert_eq!(post(&service, "token", &named[1..], &[OWN]).await.header("x-request-id"), "my-own-id");
}

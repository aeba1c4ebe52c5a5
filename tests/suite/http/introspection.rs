//! Introspection (RFC 7662): what a resource server learns, and what it does not.

use jeton::api::wire;
use serde_json::json;

use super::client::{basic, post, post_in};
use crate::service::{
    calls::{IssueExt as _, client_credentials, owned},
    harness::{PUBLIC_URL, Service, plain},
    on_both_stores,
};

on_both_stores! {
    an_active_token_is_described_by_its_claims
    an_inactive_token_is_not_described
    an_endpoint_knows_the_tokens_of_its_tenant_only
    a_bearer_asks_if_it_may
}

async fn an_active_token_is_described_by_its_claims(service: Service) {
    let client = service.client().await;
    let account = service.account("").await;
    let asker = service.client().await;
    let mut request = client.account(&account).scopes(&["pay", "invoices.read"]).session("s1").refresh();
    request.claims = Some(prost_types::Struct {
        fields: [("a".to_owned(), prost_types::Value { kind: Some(prost_types::value::Kind::BoolValue(true)) })].into(),
    });
    let token = service.anonymous().issue(request).await;
    let ask = async |token: &str| {
        post(&service, "introspect", &[("authorization", &basic(&asker))], &[("token", token)]).await.ok()
    };
    let answer = ask(&token.access_token).await;
    let same = service.introspect(&token.access_token).await;
    let issuer = format!("{PUBLIC_URL}/t/default");
    let expected = json!({
        "active": true, "token_use": "access", "token_type": "Bearer", "scope": "pay invoices.read",
        "client_id": client.client_id, "sub": account, "aud": [format!("{issuer}/api")], "iss": issuer,
        "jti": token.token_id, "iat": same.issue_time.unwrap().seconds, "exp": same.expire_time.unwrap().seconds,
        "ten": "default", "acc": account, "fam": same.family_id, "sid": "s1",
        "act": {"sub": client.client_id, "client_id": client.client_id}, "ext": {"a": true},
    });
    assert_eq!(answer, expected);
    // A refresh token is its own client's business.
    assert_eq!(ask(&token.refresh_token).await, json!({"active": false}));
    let form = [("token", token.refresh_token.as_str()), ("token_type_hint", "refresh_token")];
    let answer = post(&service, "introspect", &[("authorization", &basic(&client))], &form).await.ok();
    assert_eq!(
        (&answer["active"], &answer["token_use"], answer.get("token_type")),
        (&json!(true), &json!("refresh"), None)
    );
}

async fn an_inactive_token_is_not_described(service: Service) {
    let client = service.client().await;
    let blind = service.client_in("default", wire::Client { introspects: Vec::new(), ..plain() }).await;
    let token = service.anonymous().issue(client.client_credentials()).await.access_token;
    let ask = async |token: &str| {
        post(&service, "introspect", &[("authorization", &basic(&client))], &[("token", token)]).await
    };
    assert_eq!(ask(&token).await.ok()["active"], true);
    let form = [("token", token.as_str())];
    let answer = post(&service, "introspect", &[("authorization", &basic(&blind))], &form).await;
    assert_eq!(answer.ok(), json!({"active": false}));
    service.anonymous().revoke(&token).await;
    for dead in [token.as_str(), "nonsense", &"x".repeat(9000)] {
        assert_eq!(ask(dead).await.ok(), json!({"active": false}));
    }
    ask("").await.refused(400, "invalid_request", &["token: is required"]);
    let hint = "x".repeat(65);
    let answer =
        post(&service, "introspect", &[("authorization", &basic(&client))], &[("token_type_hint", &hint)]).await;
    answer.refused(400, "invalid_request", &["token: is required", "token_type_hint"]);
}

async fn an_endpoint_knows_the_tokens_of_its_tenant_only(service: Service) {
    service.tenant("acme", wire::TenantSettings::default()).await;
    let (ours, theirs) = (service.client().await, service.client_in("acme", plain()).await);
    let token = service.anonymous().issue(ours.client_credentials()).await.access_token;
    let form = [("token", token.as_str())];
    for (tenant, client, active) in
        [("default", &ours, true), ("acme", &ours, false), ("nowhere", &ours, false), ("default", &theirs, false)]
    {
        let answer = post_in(&service, tenant, "introspect", &[("authorization", &basic(client))], &form).await.ok();
        assert_eq!(answer["active"], active, "{tenant}");
        assert!(active || answer == json!({"active": false}), "{answer}");
    }
}

async fn a_bearer_asks_if_it_may(service: Service) {
    let client = service.client().await;
    let may = service.anonymous().issue(client.with(client_credentials()).scopes(&["jeton.tokens.introspect"])).await;
    let may_not = service.anonymous().issue(client.with(client_credentials()).scopes(&["jeton.tokens.issue"])).await;
    let form = [("token", may.access_token.as_str())];
    let bearer = |token: &wire::IssuedToken| format!("Bearer {}", token.access_token);
    let answer = post(&service, "introspect", &[("authorization", &bearer(&may))], &form).await.ok();
    assert_eq!(answer["scope"], "jeton.tokens.introspect");
    let answer = post(&service, "introspect", &[("authorization", &bearer(&may_not))], &form).await;
    answer.refused(403, "insufficient_scope", &["jeton.tokens.introspect"]);
    let scopes = owned(&["invoices.read"]);
    let weak = wire::Client { allowed_scopes: scopes, ..plain() };
    let weak = service.client_in("default", weak).await;
    let answer = post(&service, "introspect", &[("authorization", &basic(&weak))], &form).await;
    answer.refused(400, "unauthorized_client", &["jeton.tokens.introspect"]);
}

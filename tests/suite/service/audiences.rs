//! For whom tokens are.

use jeton::api::wire;
use jeton_contract::reason::Reason;

use super::{
    calls::{IssueExt as _, refused},
    harness::{PUBLIC_URL, Service, manager, plain},
};

on_both_stores! {
    the_audience_left_out_is_the_tenants_default_or_the_issuer_for_management
    a_token_for_jeton_has_no_other_audience
    an_audience_must_be_allowed
    a_token_for_an_api_cannot_call_jeton
}

async fn the_audience_left_out_is_the_tenants_default_or_the_issuer_for_management(service: Service) {
    let client = service.client().await;
    let issuer = format!("{PUBLIC_URL}/t/default");
    let api = service.anonymous().issue(client.client_credentials()).await;
    assert_eq!(api.audience, [format!("{issuer}/api")]);
    let management = client.client_credentials().scopes(&["pay", "jeton.tokens.issue"]);
    assert_eq!(service.anonymous().issue(management).await.audience, [issuer]);

    service.set(wire::TenantSettings { default_audience: "https://api".into(), ..Default::default() }).await;
    assert_eq!(service.anonymous().issue(client.client_credentials()).await.audience, ["https://api"]);
    let introspection = service.introspect(&api.access_token).await;
    assert_eq!(introspection.audience, api.audience, "what is out keeps its audience");
}

async fn a_token_for_jeton_has_no_other_audience(service: Service) {
    let client = service.client_in("default", wire::Client { audiences: vec!["*".into()], ..plain() }).await;
    let issuer = format!("{PUBLIC_URL}/t/default");
    let management = || client.client_credentials().scopes(&["jeton.tokens.issue"]);
    service.anonymous().issue(management().audience(&[&issuer])).await;
    for audience in [vec!["https://a"], vec![&*issuer, "https://a"]] {
        refused(service.anonymous().issue_token(management().audience(&audience)).await, Reason::AudienceNotAllowed);
    }
    let ordinary = client.client_credentials().audience(&[&issuer, "https://a"]);
    refused(service.anonymous().issue_token(ordinary).await, Reason::AudienceNotAllowed);
}

async fn an_audience_must_be_allowed(service: Service) {
    let client = service.client_in("default", wire::Client { audiences: vec!["https://a".into()], ..plain() }).await;
    let default = format!("{PUBLIC_URL}/t/default/api");
    let ask = |audience: &[&str]| client.client_credentials().audience(audience);
    service.anonymous().issue(ask(&["https://a", &default])).await;
    for beyond in
        [vec!["https://b"], vec!["https://a", "https://b"], vec!["*"], vec!["https://auth.example.com/t/system"]]
    {
        refused(service.anonymous().issue_token(ask(&beyond)).await, Reason::AudienceNotAllowed);
    }
    let any = service.client_in("default", wire::Client { audiences: vec!["*".into()], ..plain() }).await;
    service.anonymous().issue(any.client_credentials().audience(&["https://b", "https://c"])).await;
}

async fn a_token_for_an_api_cannot_call_jeton(service: Service) {
    let client = service.client_in("default", wire::Client { audiences: vec!["*".into()], ..manager() }).await;
    let account = service.account("").await;
    for request in [
        client.client_credentials().scopes(&["pay"]),
        client.client_credentials().scopes(&["pay"]).audience(&["https://a"]),
        client.client_credentials().scopes(&["pay"]).audience(&["https://auth.example.com/t/system"]),
        client.account(&account).scopes(&["pay"]),
    ] {
        let token = service.anonymous().issue(request).await;
        let result = service.bearer(&token.access_token).get_caller(wire::GetCallerRequest {}).await;
        refused(result, Reason::TokenInvalid);
    }
}

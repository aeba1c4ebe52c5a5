//! One answer to what lives and what may be had: at introspection, at renewal, and for a repeated request.

use std::time::Duration;

use jeton::api::{wire, wire::TokenFormat};
use jeton_contract::reason::Reason;

use super::{
    calls::{Credentials, IssueExt as _, for_account, owned, refused, seconds, uuid},
    harness::{Service, manager, plain},
};

on_both_stores! {
    renewal_asks_again_for_what_was_granted_once
    a_refused_renewal_changes_nothing
    renewal_keeps_to_the_maxima_of_today
    introspection_and_renewal_agree_on_a_client_that_is_confined_meanwhile
    a_repeat_gives_no_more_than_its_caller_may_have
    a_repeat_of_what_settings_forbid_by_now_is_refused
    a_repeat_does_not_bring_back_a_refresh_token_that_is_over
}

const PAYMENTS: &str = "https://payments.example";
const DAY: u64 = 86_400;

async fn update(service: &Service, client: &Credentials, change: wire::Client) {
    let change = wire::Client { client_id: client.client_id.clone(), ..change };
    let request = wire::UpdateClientRequest { tenant_id: "default".into(), client: Some(change), ..Default::default() };
    service.admin().await.update_client(request).await.unwrap();
}

fn grants(grants: &[wire::GrantType]) -> Vec<i32> {
    grants.iter().map(|grant| (*grant).into()).collect()
}

async fn payer(service: &Service) -> Credentials {
    service.client_in("default", wire::Client { audiences: owned(&[PAYMENTS]), ..plain() }).await
}

async fn renewal_asks_again_for_what_was_granted_once(service: Service) {
    let client = payer(&service).await;
    let request = client.client_credentials().audience(&[PAYMENTS]).expires_in("20d").refresh();
    let token = service.anonymous().issue(request).await;
    let renew = async || service.anonymous().renew_token(client.renew(&token.refresh_token)).await;

    update(&service, &client, wire::Client { audiences: owned(&["https://other.example"]), ..Default::default() })
        .await;
    refused(renew().await, Reason::AudienceNotAllowed);
    update(&service, &client, wire::Client { audiences: owned(&[PAYMENTS]), ..Default::default() }).await;

    let other = grants(&[wire::GrantType::Account, wire::GrantType::Workload]);
    update(&service, &client, wire::Client { allowed_grants: other, ..Default::default() }).await;
    refused(renew().await, Reason::GrantNotAllowed);
    let back = grants(&[wire::GrantType::ClientCredentials]);
    update(&service, &client, wire::Client { allowed_grants: back, ..Default::default() }).await;
    let renewed = renew().await.unwrap().token.unwrap();
    assert!(service.is_active(&renewed.access_token).await);
}

async fn a_refused_renewal_changes_nothing(service: Service) {
    let client = payer(&service).await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let request = client.client_credentials().audience(&[PAYMENTS]).format(format).session("s").refresh();
        let token = service.anonymous().issue(request).await;
        let before = service.anonymous().introspect(client.introspect(&token.refresh_token)).await;
        let none = wire::Client { audiences: owned(&["https://other.example"]), ..Default::default() };
        update(&service, &client, none).await;
        for _ in 0..3 {
            service.advance(Duration::from_secs(20));
            let refusal = service.anonymous().renew_token(client.renew(&token.refresh_token)).await;
            refused(refusal, Reason::AudienceNotAllowed);
        }
        update(&service, &client, wire::Client { audiences: owned(&[PAYMENTS]), ..Default::default() }).await;
        let after = service.anonymous().introspect(client.introspect(&token.refresh_token)).await;
        assert_eq!(before, after);
        // A rotation before would make this one a replay, or a theft.
        let next = service.anonymous().renew(client.renew(&token.refresh_token)).await;
        service.anonymous().renew(client.renew(&next.refresh_token)).await;
    }
}

async fn renewal_keeps_to_the_maxima_of_today(service: Service) {
    let client = service.client().await;
    let token = service.anonymous().issue(client.client_credentials().expires_in("20d").refresh()).await;
    service.set(wire::TenantSettings { max_token_ttl: Some(seconds(3600)), ..Default::default() }).await;
    let token = service.anonymous().renew(client.renew(&token.refresh_token)).await;
    assert_eq!(token.expires_in, Some(3600));

    let idle = wire::TenantSettings { refresh_idle_ttl: Some(seconds(20 * DAY)), ..Default::default() };
    service.set(idle).await;
    let token = service.anonymous().renew(client.renew(&token.refresh_token)).await;
    service.advance(Duration::from_secs(2 * DAY));
    let lower = wire::TenantSettings {
        refresh_absolute_ttl: Some(seconds(DAY)),
        refresh_idle_ttl: Some(seconds(DAY)),
        ..Default::default()
    };
    service.set(lower).await;
    refused(service.anonymous().renew_token(client.renew(&token.refresh_token)).await, Reason::RefreshExpired);
    let introspection = service.anonymous().introspect(client.introspect(&token.refresh_token)).await;
    assert_eq!(introspection.active, Some(false));
    // Nothing grows that was issued under it.
    let token = service.anonymous().issue(client.client_credentials().refresh()).await;
    service.advance(Duration::from_secs(DAY - 600));
    let token = service.anonymous().renew(client.renew(&token.refresh_token)).await;
    assert_eq!(token.expires_in, Some(600));
}

async fn admit(service: &Service, client: &Credentials, account: &str) {
    let admission =
        wire::Admission { client_id: client.client_id.clone(), account_id: account.to_owned(), ..Default::default() };
    let request = wire::AdmitClientRequest { tenant_id: "other".into(), admission: Some(admission) };
    service.admin().await.admit_client(request).await.unwrap();
}

async fn introspection_and_renewal_agree_on_a_client_that_is_confined_meanwhile(service: Service) {
    service.tenant("other", Default::default()).await;
    let client = service.client().await;
    admit(&service, &client, "").await;
    let [mine, theirs] = [service.account_in("other", "").await, service.account_in("other", "").await];
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        admit(&service, &client, "").await;
        let request = client.client_credentials().format(format).tenant("other").refresh();
        let tokens = [service.anonymous().issue(request.clone()).await, service.anonymous().issue(request).await];
        let active = async |text: &str| service.anonymous().introspect(client.introspect(text)).await.active.unwrap();
        assert!(active(&tokens[0].refresh_token).await);
        assert!(service.is_active(&tokens[0].access_token).await);
        for (token, account) in tokens.iter().zip([&mine, &theirs]) {
            admit(&service, &client, account).await;
            assert!(!active(&token.refresh_token).await);
            assert!(!service.is_active(&token.access_token).await, "it acts on the whole tenant");
            let refusal = service.anonymous().renew_token(client.renew(&token.refresh_token)).await;
            refused(refusal, Reason::RefreshInvalid);
        }
        let request = client.client_credentials().format(format).tenant("other").refresh();
        let within = service.anonymous().issue(request).await;
        assert!(active(&within.refresh_token).await && service.is_active(&within.access_token).await);
        service.anonymous().renew(client.renew(&within.refresh_token)).await;
    }
}

async fn a_repeat_gives_no_more_than_its_caller_may_have(service: Service) {
    let client = service.client_in("default", manager()).await;
    let account = service.account("").await;
    for (number, format) in [(1, TokenFormat::Jwt), (2, TokenFormat::Opaque)] {
        let bearer = async |scopes: &[&str]| {
            let request = client.account(&account).format(TokenFormat::Opaque).scopes(scopes);
            let issuer = format!("{}/t/default", super::harness::PUBLIC_URL);
            let token = service.anonymous().issue(request.audience(&[&issuer])).await;
            service.bearer(&token.access_token)
        };
        let (wide, narrow) =
            (bearer(&["jeton.accounts.read", "jeton.tokens.read"]).await, bearer(&["jeton.tokens.read"]).await);
        let request = for_account(&account).format(format).request_id(&uuid(number)).scopes(&["jeton.tokens.read"]);
        let first = wide.issue(request.clone()).await;
        // The same scopes, but the token of another bearer, with which it does not die.
        refused(narrow.issue_token(request.clone()).await, Reason::GrantNotAllowed);
        assert_eq!(wide.issue(request).await.token_id, first.token_id);
    }
}

async fn a_repeat_of_what_settings_forbid_by_now_is_refused(service: Service) {
    let client = payer(&service).await;
    for (number, format) in [(1, TokenFormat::Jwt), (2, TokenFormat::Opaque)] {
        let request = client.account(&service.account("").await).format(format).refresh().request_id(&uuid(number));
        let first = service.anonymous().issue(request.clone()).await;
        let lower = wire::TenantSettings { account_token_ttl: Some(seconds(3600)), ..Default::default() };
        service.set(lower).await;
        refused(service.anonymous().issue_token(request.clone()).await, Reason::TtlOutOfRange);
        let back = wire::TenantSettings { account_token_ttl: Some(seconds(14 * DAY)), ..Default::default() };
        service.set(back).await;
        let scopes = |scopes: &[&str]| wire::Client { default_scopes: owned(scopes), ..Default::default() };
        update(&service, &client, scopes(&["pay"])).await;
        refused(service.anonymous().issue_token(request.clone()).await, Reason::ScopeNotAllowed);
        update(&service, &client, scopes(&["invoices.read", "pay"])).await;
        let again = service.anonymous().issue(request).await;
        assert_eq!((&again.token_id, &again.refresh_token), (&first.token_id, &first.refresh_token));
        assert_eq!(again.scopes, ["invoices.read"]);
        update(&service, &client, scopes(&["invoices.read"])).await;
    }
}

async fn a_repeat_does_not_bring_back_a_refresh_token_that_is_over(service: Service) {
    let client = service.client().await;
    for (number, format) in [(1, TokenFormat::Jwt), (2, TokenFormat::Opaque)] {
        let request = client.client_credentials().expires_in("30d").format(format).refresh();
        let request = request.request_id(&uuid(number));
        let first = service.anonymous().issue(request.clone()).await;
        service.advance(Duration::from_secs(3 * 3600));
        // Whatever the store removes by itself is removed now.
        for _ in 0..8 {
            service.anonymous().issue(client.client_credentials()).await;
        }
        let repeat = service.anonymous().issue_token(request).await;
        if service.backend() == super::harness::Backend::Embedded {
            refused(repeat, Reason::TokenDied);
        }
        let introspection = service.anonymous().introspect(client.introspect(&first.refresh_token)).await;
        assert_eq!(introspection.active, Some(false));
        assert!(service.anonymous().renew_token(client.renew(&first.refresh_token)).await.is_err());
        assert!(service.is_active(&first.access_token).await);
    }
}

//! Sessions die of not being minted for.

use std::time::Duration;

use jeton::{
    api::wire::{self, TokenFormat},
    token::error::Reason,
};

use super::{
    calls::{IssueExt as _, refused, seconds},
    harness::{Service, plain},
};

on_both_stores! {
    a_session_without_a_mint_dies_although_its_tokens_have_not_expired
    a_mint_in_time_keeps_the_session
    a_renewal_counts_as_a_mint
    a_refresh_token_of_a_lapsed_session_is_refused
    minting_into_a_lapsed_session_leaves_its_old_tokens_dead
    the_idle_time_is_a_setting_of_the_tenant
    sessions_of_two_tenants_with_one_name_are_two
}

const HOUR: u64 = 3600;
const ALMOST: Duration = Duration::from_secs(24 * HOUR - 60);
const DAY: Duration = Duration::from_secs(24 * HOUR);
const MINUTE: Duration = Duration::from_secs(60);

async fn a_session_without_a_mint_dies_although_its_tokens_have_not_expired(service: Service) {
    let client = service.client().await;
    for (format, session) in [(TokenFormat::Jwt, "jwt"), (TokenFormat::Opaque, "opaque")] {
        let request = client.client_credentials().expires_in("7d").format(format);
        let token = service.anonymous().issue(request.clone().session(session)).await.access_token;
        let free = service.anonymous().issue(request).await.access_token;
        service.advance(ALMOST);
        assert_eq!(service.active(&[&token, &free]).await, [true, true], "{format:?}");
        service.advance(MINUTE);
        assert_eq!(service.active(&[&token, &free]).await, [false, true], "{format:?}");
    }
}

async fn a_mint_in_time_keeps_the_session(service: Service) {
    let client = service.client().await;
    let request = client.client_credentials().expires_in("30d").session("s");
    let first = service.anonymous().issue(request.clone()).await.access_token;
    for _ in 0..3 {
        service.advance(ALMOST);
        service.anonymous().issue(request.clone()).await;
        assert!(service.is_active(&first).await);
    }
    service.advance(DAY);
    assert!(!service.is_active(&first).await);
}

async fn a_renewal_counts_as_a_mint(service: Service) {
    let client = wire::Client { refresh_idle_ttl: Some(seconds(48 * HOUR)), ..plain() };
    let client = service.client_in("default", client).await;
    let first = service.anonymous().issue(client.client_credentials().expires_in("30d").session("s").refresh()).await;
    service.advance(ALMOST);
    service.anonymous().renew(client.renew(&first.refresh_token)).await;
    service.advance(ALMOST);
    assert!(service.is_active(&first.access_token).await);
}

async fn a_refresh_token_of_a_lapsed_session_is_refused(service: Service) {
    let client = wire::Client { refresh_idle_ttl: Some(seconds(48 * HOUR)), ..plain() };
    let client = service.client_in("default", client).await;
    let first = service.anonymous().issue(client.client_credentials().session("s").refresh()).await;
    service.advance(DAY);
    for _ in 0..2 {
        let result = service.anonymous().renew_token(client.renew(&first.refresh_token)).await;
        refused(result, Reason::SessionExpired);
    }
    let told = service.anonymous().introspect(client.introspect(&first.refresh_token)).await;
    assert_eq!(told.active, Some(false));
}

async fn minting_into_a_lapsed_session_leaves_its_old_tokens_dead(service: Service) {
    let client = wire::Client { refresh_idle_ttl: Some(seconds(48 * HOUR)), ..plain() };
    let client = service.client_in("default", client).await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let request = client.client_credentials().expires_in("30d").session("s").refresh().format(format);
        let old = service.anonymous().issue(request.clone()).await;
        service.advance(DAY);
        let new = service.anonymous().issue(request).await;
        assert_eq!(service.active(&[&old.access_token, &new.access_token]).await, [false, true], "{format:?}");
        refused(service.anonymous().renew_token(client.renew(&old.refresh_token)).await, Reason::RefreshInvalid);
        let renewed = service.anonymous().renew(client.renew(&new.refresh_token)).await;
        assert!(service.is_active(&renewed.access_token).await);
        service.advance(DAY);
    }
}

async fn the_idle_time_is_a_setting_of_the_tenant(service: Service) {
    service.set(wire::TenantSettings { session_idle_ttl: Some(seconds(120)), ..Default::default() }).await;
    let client = service.client().await;
    let token = service.anonymous().issue(client.client_credentials().session("s")).await.access_token;
    service.advance(Duration::from_secs(119));
    assert!(service.is_active(&token).await);
    service.advance(Duration::from_secs(1));
    assert!(!service.is_active(&token).await);
}

async fn sessions_of_two_tenants_with_one_name_are_two(service: Service) {
    service.tenant("other", Default::default()).await;
    let (client, foreign) = (service.client().await, service.client_in("other", plain()).await);
    let issue = async |request: wire::IssueTokenRequest| {
        service.anonymous().issue(request.expires_in("7d").session("s")).await.access_token
    };
    let (own, theirs) = (issue(client.client_credentials()).await, issue(foreign.client_credentials()).await);
    service.advance(ALMOST);
    issue(client.client_credentials()).await;
    service.advance(MINUTE);
    assert_eq!(service.active(&[&own, &theirs]).await, [true, false]);
}

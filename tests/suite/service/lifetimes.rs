//! How long tokens live.

use std::time::Duration;

use jeton::api::wire;
use jeton_contract::reason::Reason;

use super::{
    calls::{IssueExt as _, client_credentials, owned, refused, refused_fields, seconds},
    harness::{Service, plain},
};

on_both_stores! {
    without_a_lifetime_a_token_gets_the_default_of_its_grant
    a_client_has_a_default_lifetime_of_its_own
    every_notation_of_a_lifetime_is_read
    a_malformed_or_excessive_lifetime_is_out_of_range
    a_duration_that_is_no_lifetime_is_out_of_range
    a_token_is_active_until_its_expiry_and_not_at_it
    an_eternal_token_wants_scope_setting_and_opaque_format
}

const HOUR: i64 = 3600;

async fn without_a_lifetime_a_token_gets_the_default_of_its_grant(service: Service) {
    let client = service.client().await;
    let account = service.account("").await;
    let now = i64::try_from(service.clock.now().as_secs()).unwrap();
    for (request, ttl) in [(client.client_credentials(), HOUR / 4), (client.account(&account), 14 * 24 * HOUR)] {
        let token = service.anonymous().issue(request).await;
        assert_eq!(token.expires_in, Some(ttl));
        assert_eq!(token.expire_time.unwrap().seconds, now + ttl);
        assert_eq!(service.introspect(&token.access_token).await.expire_time, token.expire_time);
    }
}

async fn a_client_has_a_default_lifetime_of_its_own(service: Service) {
    let client = service.client_in("default", wire::Client { token_ttl: Some(seconds(77)), ..plain() }).await;
    assert_eq!(service.anonymous().issue(client.client_credentials()).await.expires_in, Some(77));
}

async fn every_notation_of_a_lifetime_is_read(service: Service) {
    let client = service.client().await;
    for (text, ttl) in [
        ("3600", HOUR),
        ("1h", HOUR),
        ("60m", HOUR),
        ("12hr", 12 * HOUR),
        ("30d", 30 * 24 * HOUR),
        ("7 days", 7 * 24 * HOUR),
        ("2000ms", 2),
    ] {
        let token = service.anonymous().issue(client.client_credentials().expires_in(text)).await;
        assert_eq!(token.expires_in, Some(ttl), "{text}");
        let now = i64::try_from(service.clock.now().as_secs()).unwrap();
        assert_eq!(token.expire_time.unwrap().seconds, now + ttl, "{text}");
    }
}

async fn a_malformed_or_excessive_lifetime_is_out_of_range(service: Service) {
    let client = service.client().await;
    for text in ["", "0", "-1h", "1fortnight", "1e9", "999ms", "18446744073709551615y", "101y", "91d", "7776001"] {
        let result = service.anonymous().issue_token(client.client_credentials().expires_in(text)).await;
        let field = if matches!(text, "91d" | "7776001" | "999ms") { "lifetime" } else { "expires_in" };
        refused_fields(result, Reason::TtlOutOfRange, &[field]);
    }
    // Longer than the contract allows any such text to be.
    let digits = client.client_credentials().expires_in(&"9".repeat(300));
    refused_fields(service.anonymous().issue_token(digits).await, Reason::InvalidField, &["expires_in"]);
    service.anonymous().issue(client.client_credentials().expires_in("90d")).await;
}

async fn a_duration_that_is_no_lifetime_is_out_of_range(service: Service) {
    let client = service.client().await;
    for (seconds, nanos) in
        [(-1, 0), (0, 0), (0, 1), (0, -1), (1, -1), (1, 1_000_000_000), (i64::MAX, 0), (i64::MIN, 0)]
    {
        let ttl = wire::issue_token_request::Lifetime::Ttl(prost_types::Duration { seconds, nanos });
        let request = wire::IssueTokenRequest { lifetime: Some(ttl), ..client.client_credentials() };
        refused(service.anonymous().issue_token(request).await, Reason::TtlOutOfRange);
    }
}

async fn a_token_is_active_until_its_expiry_and_not_at_it(service: Service) {
    let client = service.client().await;
    // The clock starts within a second; tokens count in whole ones.
    let fraction = service.clock.now().as_millis() % 1000;
    service.advance(Duration::from_millis(1000 - fraction));
    for format in [wire::TokenFormat::Jwt, wire::TokenFormat::Opaque] {
        let token = service.anonymous().issue(client.client_credentials().format(format).expires_in("10")).await;
        service.advance(Duration::from_millis(9_999));
        assert!(service.is_active(&token.access_token).await, "{format:?}");
        service.advance(Duration::from_millis(1));
        assert!(!service.is_active(&token.access_token).await, "{format:?}");
    }
}

async fn an_eternal_token_wants_scope_setting_and_opaque_format(service: Service) {
    let eternal = plain().allowed_scopes.into_iter().chain(owned(&["jeton.tokens.eternal"])).collect();
    let client = service.client_in("default", wire::Client { allowed_scopes: eternal, ..plain() }).await;
    let other = service.client().await;
    let opaque = client_credentials().never().format(wire::TokenFormat::Opaque);

    refused(service.anonymous().issue_token(client.with(opaque.clone())).await, Reason::EternalNotAllowed);
    service.set(wire::TenantSettings { eternal_tokens: Some(true), ..Default::default() }).await;
    refused(service.anonymous().issue_token(other.with(opaque.clone())).await, Reason::EternalNotAllowed);
    let jwt = client.client_credentials().never();
    refused_fields(service.anonymous().issue_token(jwt).await, Reason::InvalidField, &["format"]);
    let renewable = client.with(opaque.clone()).refresh();
    refused_fields(service.anonymous().issue_token(renewable).await, Reason::InvalidField, &["include_refresh_token"]);
    let not_never = wire::issue_token_request::Lifetime::Never(false);
    let not_never = wire::IssueTokenRequest { lifetime: Some(not_never), ..client.client_credentials() };
    refused_fields(service.anonymous().issue_token(not_never).await, Reason::InvalidField, &["never"]);

    let token = service.anonymous().issue(client.with(opaque)).await;
    assert_eq!((token.expire_time, token.expires_in), (None, None));
    service.advance(Duration::from_secs(100 * 365 * 86_400));
    let answer = service.introspect(&token.access_token).await;
    assert_eq!((answer.active, answer.expire_time), (Some(true), None));
    service.anonymous().revoke(&token.access_token).await;
    assert!(!service.is_active(&token.access_token).await);
}

//! Revoking one token, and invalidating exactly what is given.

use jeton::api::{
    wire,
    wire::{TokenFormat, invalidate_tokens_response::Outcome},
};
use jeton_contract::reason::Reason;

use super::{
    calls::{Credentials, IssueExt as _, refused, refused_fields, revoke_id},
    harness::{PUBLIC_URL, Service, manager},
};

on_both_stores! {
    the_holder_of_a_token_may_revoke_it
    a_refresh_token_takes_its_family_along_and_an_access_token_only_itself
    what_is_unknown_expired_or_dead_already_is_revoked_without_complaint
    by_id_a_token_is_revoked_by_its_holder_or_by_scope_within_reach
    each_revocation_stands_at_a_later_position
    invalidating_takes_exactly_what_is_given
    what_is_no_token_of_that_use_is_unrecognized
}

async fn the_holder_of_a_token_may_revoke_it(service: Service) {
    let client = service.client().await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let token = service.anonymous().issue(client.client_credentials().format(format)).await.access_token;
        let other = service.anonymous().issue(client.client_credentials().format(format)).await.access_token;
        service.anonymous().revoke(&token).await;
        assert_eq!(service.active(&[&token, &other]).await, [false, true], "{format:?}");
    }
}

async fn a_refresh_token_takes_its_family_along_and_an_access_token_only_itself(service: Service) {
    let client = service.client().await;
    let zero = service.anonymous().issue(client.client_credentials().refresh()).await;
    let one = service.anonymous().renew(client.renew(&zero.refresh_token)).await;
    service.anonymous().revoke(&one.access_token).await;
    assert_eq!(service.active(&[&zero.access_token, &one.access_token]).await, [true, false]);
    let two = service.anonymous().renew(client.renew(&one.refresh_token)).await;
    // Any genuine one of the family will do.
    service.anonymous().revoke(&zero.refresh_token).await;
    let all = [&*zero.access_token, &one.access_token, &two.access_token];
    assert_eq!(service.active(&all).await, [false; 3]);
    refused(service.anonymous().renew_token(client.renew(&two.refresh_token)).await, Reason::RefreshInvalid);
}

async fn what_is_unknown_expired_or_dead_already_is_revoked_without_complaint(service: Service) {
    let client = service.client().await;
    let expired = service.anonymous().issue(client.client_credentials().expires_in("1")).await.access_token;
    let twice = service.anonymous().issue(client.client_credentials().refresh()).await;
    service.advance(std::time::Duration::from_secs(2));
    for token in [
        "x",
        "jta_",
        "jtr_nonsense",
        "a.b.c",
        &expired,
        &twice.access_token,
        &twice.access_token,
        &twice.refresh_token,
        &twice.refresh_token,
    ] {
        let reply = service.anonymous().revoke_token(super::calls::revoke(token)).await.unwrap();
        assert_eq!(reply.position.len(), 20, "{token}");
    }
    let admin = service.admin().await;
    for id in ["tok_0000000000000000000000", "nonsense", &twice.token_id, &twice.token_id] {
        let request = wire::RevokeTokenRequest { tenant_id: "default".into(), ..revoke_id(id) };
        admin.revoke_token(request).await.unwrap();
    }
    refused_fields(service.anonymous().revoke_token(Default::default()).await, Reason::InvalidField, &["target"]);
}

async fn by_id_a_token_is_revoked_by_its_holder_or_by_scope_within_reach(service: Service) {
    let client = service.client_in("default", manager()).await;
    let (account, sibling) = (service.account("").await, service.account("").await);
    let issuer = format!("{PUBLIC_URL}/t/default");
    let confined = wire::Client { account_id: account.clone(), ..manager() };
    let confined = service.client_in("default", confined).await;
    let issue = async |request: wire::IssueTokenRequest| service.anonymous().issue(request).await;
    let ordinary = async |account: &str| issue(client.account(account).scopes(&["pay"]).audience(&[&issuer])).await;
    let alive = async |token: &wire::IssuedToken| service.is_active(&token.access_token).await;

    // One's own, and that of one's own account.
    let (own, same) = (ordinary(&account).await, ordinary(&account).await);
    let theirs = ordinary(&sibling).await;
    service.bearer(&own.access_token).revoke_token(revoke_id(&same.token_id)).await.unwrap();
    assert!(!alive(&same).await);
    let refusal = service.bearer(&own.access_token).revoke_token(revoke_id(&theirs.token_id)).await;
    let known = refused(refusal, Reason::ScopeInsufficient);
    let never = service.bearer(&own.access_token).revoke_token(revoke_id("tok_0000000000000000000000")).await;
    let never = refused(never, Reason::ScopeInsufficient);
    assert_eq!(known.details(), never.details());
    assert!(alive(&theirs).await);
    service.bearer(&own.access_token).revoke_token(revoke_id(&own.token_id)).await.unwrap();
    assert!(!alive(&own).await);

    // By scope, within reach only.
    let within = ordinary(&account).await;
    let bearer = service.caller(&confined).await;
    bearer.revoke_token(revoke_id(&theirs.token_id)).await.unwrap();
    assert!(alive(&theirs).await, "out of reach is as unknown");
    bearer.revoke_token(revoke_id(&within.token_id)).await.unwrap();
    assert!(!alive(&within).await);
    service.caller(&client).await.revoke_token(revoke_id(&theirs.token_id)).await.unwrap();
    assert!(!alive(&theirs).await);
    // By client authentication.
    let again = ordinary(&sibling).await;
    let request = wire::RevokeTokenRequest {
        client_id: client.client_id.clone(),
        client_secret: client.client_secret.clone(),
        ..revoke_id(&again.token_id)
    };
    service.anonymous().revoke_token(request).await.unwrap();
    assert!(!alive(&again).await);
}

async fn each_revocation_stands_at_a_later_position(service: Service) {
    let client = service.client().await;
    let mut last = String::new();
    for _ in 0..3 {
        let issued = service.anonymous().issue_token(client.client_credentials()).await.unwrap();
        assert!(issued.position >= last);
        let token = issued.token.unwrap().access_token;
        let revoked = service.anonymous().revoke_token(super::calls::revoke(&token)).await.unwrap().position;
        assert!(revoked > issued.position, "{revoked} {}", issued.position);
        last = revoked;
    }
}

async fn invalidating_takes_exactly_what_is_given(service: Service) {
    let client = service.client().await;
    let renewable =
        async |token: &wire::IssuedToken| service.anonymous().renew_token(client.renew(&token.refresh_token)).await;
    for (access, refresh) in [(true, false), (false, true), (true, true)] {
        for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
            let token = service.anonymous().issue(client.client_credentials().format(format).refresh()).await;
            let given = |given: bool, token: &str| if given { token.to_owned() } else { String::new() };
            let request = wire::InvalidateTokensRequest {
                access_token: given(access, &token.access_token),
                refresh_token: given(refresh, &token.refresh_token),
                ..Default::default()
            };
            // Twice is as once.
            for _ in 0..2 {
                let reply = service.anonymous().invalidate_tokens(request.clone()).await.unwrap();
                let outcome = |given| if given { Outcome::Invalidated } else { Outcome::Unspecified };
                assert_eq!((reply.access_token(), reply.refresh_token()), (outcome(access), outcome(refresh)));
            }
            assert_eq!(service.is_active(&token.access_token).await, !access);
            let introspection = service.anonymous().introspect(client.introspect(&token.refresh_token)).await;
            assert_eq!(introspection.active, Some(!refresh));
            if refresh {
                refused(renewable(&token).await, Reason::RefreshInvalid);
            } else {
                let next = renewable(&token).await.unwrap().token.unwrap();
                assert!(service.is_active(&next.access_token).await);
            }
        }
    }
    let nothing = service.anonymous().invalidate_tokens(Default::default()).await;
    refused_fields(nothing, Reason::TokenRequired, &["access_token"]);
}

async fn what_is_no_token_of_that_use_is_unrecognized(service: Service) {
    let client = service.client().await;
    let token = service.anonymous().issue(client.client_credentials().refresh()).await;
    let swapped = wire::InvalidateTokensRequest {
        access_token: token.refresh_token.clone(),
        refresh_token: token.access_token.clone(),
        ..Default::default()
    };
    let garbage =
        wire::InvalidateTokensRequest { access_token: "x".into(), refresh_token: "jtr_x".into(), ..Default::default() };
    for request in [swapped, garbage] {
        let reply = service.anonymous().invalidate_tokens(request).await.unwrap();
        assert_eq!((reply.access_token(), reply.refresh_token()), (Outcome::Unrecognized, Outcome::Unrecognized));
    }
    assert!(service.is_active(&token.access_token).await);
    let _: &Credentials = &client;
    service.anonymous().renew(client.renew(&token.refresh_token)).await;
}

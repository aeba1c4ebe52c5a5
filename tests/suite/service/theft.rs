//! Which refresh token was presented, by whom, and when: replay, reuse, theft.

use std::time::Duration;

use jeton::api::{wire, wire::TokenFormat};
use jeton_contract::reason::Reason;

use super::{
    calls::{Credentials, IssueExt as _, owned, refused, seconds, seen},
    harness::{Service, plain},
};

on_both_stores! {
    the_direct_predecessor_gets_the_same_successor_again_within_the_window
    a_replay_with_other_scopes_is_refused_and_changes_nothing
    an_older_one_within_the_window_is_refused_and_the_family_lives
    an_earlier_one_after_the_window_kills_the_family
    at_window_zero_the_second_presentation_kills_the_family
    of_concurrent_renewals_all_get_the_same_successor
    of_concurrent_renewals_near_the_end_all_get_the_same_refresh_token
    at_window_zero_one_of_concurrent_renewals_wins
    another_client_tenant_or_a_forgery_is_refused_alike_and_changes_nothing
    a_replay_passes_the_same_checks_as_a_first_renewal
}

async fn first(service: &Service, client: &Credentials, format: TokenFormat) -> wire::IssuedToken {
    service
        .anonymous()
        .issue(client.client_credentials().format(format).scopes(&["pay", "invoices.read"]).refresh())
        .await
}

async fn renew(service: &Service, client: &Credentials, refresh: &str) -> Result<wire::IssuedToken, tonic::Status> {
    service.anonymous().renew_token(client.renew(refresh)).await.map(|reply| reply.token.unwrap())
}

async fn the_direct_predecessor_gets_the_same_successor_again_within_the_window(service: Service) {
    let client = service.client().await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let zero = first(&service, &client, format).await;
        let one = renew(&service, &client, &zero.refresh_token).await.unwrap();
        service.advance(Duration::from_millis(9_999));
        let again = renew(&service, &client, &zero.refresh_token).await.unwrap();
        assert_eq!((&again.refresh_token, &again.token_id), (&one.refresh_token, &one.token_id));
        assert_eq!((again.expire_time, again.refresh_expire_time), (one.expire_time, one.refresh_expire_time));
        assert_eq!(again.access_token, one.access_token, "{format:?}");
        let two = renew(&service, &client, &one.refresh_token).await.unwrap();
        assert!(service.is_active(&two.access_token).await);
    }
}

async fn a_replay_with_other_scopes_is_refused_and_changes_nothing(service: Service) {
    let client = service.client().await;
    let zero = first(&service, &client, TokenFormat::Jwt).await;
    let ask = |scopes: &[&str]| wire::RenewTokenRequest { scopes: owned(scopes), ..client.renew(&zero.refresh_token) };
    let one = service.anonymous().renew(ask(&["pay", "invoices.read"])).await;
    for other in [vec![], vec!["pay"], vec!["invoices.read"]] {
        refused(service.anonymous().renew_token(ask(&other)).await, Reason::ReplayMismatch);
    }
    // The order of scopes is no other question.
    let again = service.anonymous().renew(ask(&["invoices.read", "pay"])).await;
    assert_eq!((again.refresh_token, again.access_token), (one.refresh_token.clone(), one.access_token));
    renew(&service, &client, &one.refresh_token).await.unwrap();
}

async fn an_older_one_within_the_window_is_refused_and_the_family_lives(service: Service) {
    let client = service.client().await;
    let zero = first(&service, &client, TokenFormat::Jwt).await;
    let one = renew(&service, &client, &zero.refresh_token).await.unwrap();
    let two = renew(&service, &client, &one.refresh_token).await.unwrap();
    refused(renew(&service, &client, &zero.refresh_token).await, Reason::RefreshReused);
    let all = [&*zero.access_token, &one.access_token, &two.access_token];
    assert_eq!(service.active(&all).await, [true; 3]);
    assert_eq!(renew(&service, &client, &one.refresh_token).await.unwrap().refresh_token, two.refresh_token);
    renew(&service, &client, &two.refresh_token).await.unwrap();
}

async fn an_earlier_one_after_the_window_kills_the_family(service: Service) {
    let client = service.client().await;
    for steps in [1, 2] {
        for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
            let zero = first(&service, &client, format).await;
            let mut newest = zero.clone();
            for _ in 0..steps {
                newest = renew(&service, &client, &newest.refresh_token).await.unwrap();
            }
            service.advance(Duration::from_secs(10));
            refused(renew(&service, &client, &zero.refresh_token).await, Reason::RefreshReused);
            assert_eq!(service.active(&[&zero.access_token, &newest.access_token]).await, [false, false]);
            refused(renew(&service, &client, &newest.refresh_token).await, Reason::RefreshInvalid);
            refused(renew(&service, &client, &zero.refresh_token).await, Reason::RefreshInvalid);
            let introspection = service.anonymous().introspect(client.introspect(&newest.refresh_token)).await;
            assert_eq!(introspection.active, Some(false));
        }
    }
    let alive = first(&service, &client, TokenFormat::Jwt).await;
    assert!(service.is_active(&alive.access_token).await, "another family is none of it");
}

async fn at_window_zero_the_second_presentation_kills_the_family(service: Service) {
    let client = service.client_in("default", wire::Client { replay_window: Some(seconds(0)), ..plain() }).await;
    let zero = first(&service, &client, TokenFormat::Jwt).await;
    let one = renew(&service, &client, &zero.refresh_token).await.unwrap();
    refused(renew(&service, &client, &zero.refresh_token).await, Reason::RefreshReused);
    refused(renew(&service, &client, &one.refresh_token).await, Reason::RefreshInvalid);
    assert_eq!(service.active(&[&zero.access_token, &one.access_token]).await, [false, false]);
}

async fn of_concurrent_renewals_all_get_the_same_successor(service: Service) {
    let client = service.client().await;
    let zero = first(&service, &client, TokenFormat::Opaque).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (caller, request) = (service.anonymous(), client.renew(&zero.refresh_token));
        calls.spawn(async move { caller.renew(request).await });
    }
    let mut replies: Vec<_> =
        calls.join_all().await.into_iter().map(|one| (one.refresh_token, one.access_token)).collect();
    replies.dedup();
    assert_eq!(replies.len(), 1);
    renew(&service, &client, &replies[0].0).await.unwrap();
}

async fn of_concurrent_renewals_near_the_end_all_get_the_same_refresh_token(service: Service) {
    for window in [0, 10] {
        let near = wire::Client {
            renewal_policy: wire::RenewalPolicy::NearExpiry.into(),
            replay_window: Some(seconds(window)),
            ..plain()
        };
        let client = service.client_in("default", near).await;
        let zero = first(&service, &client, TokenFormat::Opaque).await;
        // Two thirds of an hour pass while they are under way.
        service.advance(Duration::from_secs(2400) - Duration::from_millis(5));
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (caller, request, clock) =
                (service.anonymous(), client.renew(&zero.refresh_token), service.clock.clone());
            calls.spawn(async move {
                let mut replies = Vec::new();
                for _ in 0..4 {
                    replies.push(caller.renew(request.clone()).await.refresh_token);
                    clock.advance(Duration::from_millis(1));
                }
                replies
            });
        }
        let mut replies = calls.join_all().await.concat();
        replies.dedup();
        assert_eq!(replies.len(), 1, "at window {window}");
        renew(&service, &client, &replies[0]).await.unwrap();
    }
}

async fn at_window_zero_one_of_concurrent_renewals_wins(service: Service) {
    let client = service.client_in("default", wire::Client { replay_window: Some(seconds(0)), ..plain() }).await;
    let zero = first(&service, &client, TokenFormat::Jwt).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (caller, request) = (service.anonymous(), client.renew(&zero.refresh_token));
        calls.spawn(async move { caller.renew_token(request).await });
    }
    let replies = calls.join_all().await;
    assert_eq!(replies.iter().filter(|reply| reply.is_ok()).count(), 1, "{replies:?}");
}

async fn another_client_tenant_or_a_forgery_is_refused_alike_and_changes_nothing(service: Service) {
    service.tenant("other", Default::default()).await;
    let (client, other) = (service.client().await, service.client().await);
    let foreign = service.client_in("other", plain()).await;
    let zero = first(&service, &client, TokenFormat::Jwt).await;
    let one = renew(&service, &client, &zero.refresh_token).await.unwrap();
    // After the window, when a genuine predecessor of the right client would kill the family.
    service.advance(Duration::from_secs(60));

    let mut statuses = Vec::new();
    for who in [&other, &foreign] {
        for refresh in [&zero.refresh_token, &one.refresh_token] {
            statuses.push(refused(renew(&service, who, refresh).await, Reason::RefreshInvalid));
        }
    }
    let middle = one.refresh_token.len() / 2;
    let swap = |at: usize| {
        let mut bytes = one.refresh_token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    for forged in [
        "x".to_owned(),
        "jtr_".to_owned(),
        swap(middle),
        swap(middle - 10),
        swap(one.refresh_token.len() - 8),
        one.refresh_token[..one.refresh_token.len() - 1].to_owned(),
        format!("{}0", one.refresh_token),
        one.access_token.clone(),
        client.client_secret.clone(),
    ] {
        statuses.push(refused(renew(&service, &client, &forged).await, Reason::RefreshInvalid));
    }
    let mut statuses: Vec<_> = statuses.iter().map(|status| seen(status, "no id is in it")).collect();
    statuses.dedup();
    assert_eq!(statuses.len(), 1, "{statuses:?}");
    assert_eq!(service.active(&[&zero.access_token, &one.access_token]).await, [true, true]);
    renew(&service, &client, &one.refresh_token).await.unwrap();
}

async fn a_replay_passes_the_same_checks_as_a_first_renewal(service: Service) {
    let client = service.client().await;
    let zero = first(&service, &client, TokenFormat::Jwt).await;
    let one = renew(&service, &client, &zero.refresh_token).await.unwrap();
    service.anonymous().revoke(&one.refresh_token).await;
    refused(renew(&service, &client, &zero.refresh_token).await, Reason::RefreshInvalid);
    assert_eq!(service.active(&[&zero.access_token, &one.access_token]).await, [false, false]);
}

//! Revocation (RFC 7009).

use super::client::{Answer, basic, post, post_in};
use crate::service::{
    calls::{Credentials, IssueExt as _},
    harness::Service,
    on_both_stores,
};

on_both_stores! {
    the_holder_of_a_token_revokes_it
    credentials_that_are_shown_must_be_right
    what_is_unknown_is_revoked_already
}

#[track_caller]
fn assert_done(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.body.as_str(), answer.header("cache-control")),
        (200, "", "no-store"),
        "{answer:?}"
    );
    assert!(!answer.header("x-request-id").is_empty(), "{answer:?}");
}

async fn the_holder_of_a_token_revokes_it(service: Service) {
    let client = service.client().await;
    let account = service.account("").await;
    let issue = async || service.anonymous().issue(client.account(&account).refresh()).await;
    let token = issue().await;
    assert_done(&post(&service, "revoke", &[], &[("token", &token.access_token)]).await);
    assert!(!service.is_active(&token.access_token).await);
    // A refresh token takes its family along; that the hint is wrong changes nothing.
    let token = issue().await;
    let form = [("token", token.refresh_token.as_str()), ("token_type_hint", "access_token")];
    assert_done(&post(&service, "revoke", &[("authorization", &basic(&client))], &form).await);
    assert!(!service.is_active(&token.access_token).await);
}

async fn credentials_that_are_shown_must_be_right(service: Service) {
    let client = service.client().await;
    let token = service.anonymous().issue(client.client_credentials()).await.access_token;
    let wrong = Credentials::new(&client.client_id, "nonsense");
    let form = [("token", token.as_str())];
    post(&service, "revoke", &[("authorization", &basic(&wrong))], &form).await.refused(401, "invalid_client", &[]);
    assert!(service.is_active(&token).await);
}

async fn what_is_unknown_is_revoked_already(service: Service) {
    for form in [vec![("token", "nonsense")], vec![("token", "x"), ("token_type_hint", "unheard_of")]] {
        assert_done(&post(&service, "revoke", &[], &form).await);
        assert_done(&post_in(&service, "nowhere", "revoke", &[], &form).await);
    }
    post(&service, "revoke", &[], &[]).await.refused(400, "invalid_request", &["token: must"]);
    let answer = post(&service, "revoke", &[], &[("token", "x"), ("token_type_hint", "a b")]).await;
    answer.refused(400, "invalid_request", &["token_type_hint"]);
}

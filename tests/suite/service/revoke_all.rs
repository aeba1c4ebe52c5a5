//! Revoking everything of one target.

use jeton::api::{
    wire,
    wire::revoke_all_tokens_request::{AccountTarget, SessionsTarget, Target, TenantTarget},
};
use jeton_contract::reason::Reason;

use super::{
    calls::{Caller, Credentials, IssueExt as _, client_credentials, for_account, refused, refused_fields},
    harness::{PUBLIC_URL, Service, manager},
};

on_both_stores! {
    an_account_with_or_without_its_descendants
    a_client_with_all_that_it_obtained
    exactly_the_named_sessions
    a_whole_tenant_and_no_other
    keep_current_spares_exactly_the_callers_own_family
    keep_current_wants_a_bearer_and_a_target_is_required
    what_is_ones_own_needs_no_scope
}

fn all(target: Target) -> wire::RevokeAllTokensRequest {
    wire::RevokeAllTokensRequest { tenant_id: "default".into(), target: Some(target), ..Default::default() }
}

fn account(id: &str, include_descendants: bool) -> Target {
    Target::Account(AccountTarget { account_id: id.to_owned(), include_descendants })
}

async fn issue(service: &Service, request: wire::IssueTokenRequest) -> wire::IssuedToken {
    service.anonymous().issue(request.refresh()).await
}

/// Which of the tokens are active, and that their refresh tokens are alive in step.
async fn alive(service: &Service, client: &Credentials, tokens: &[&wire::IssuedToken]) -> Vec<bool> {
    let texts: Vec<&str> = tokens.iter().map(|token| token.access_token.as_str()).collect();
    let active = service.active(&texts).await;
    for (token, active) in tokens.iter().zip(&active) {
        let introspection = service.anonymous().introspect(client.introspect(&token.refresh_token)).await;
        assert_eq!(introspection.active, Some(*active), "{token:?}");
        let renewed = service.anonymous().renew_token(client.renew(&token.refresh_token)).await;
        assert_eq!(renewed.is_ok(), *active, "{renewed:?}");
    }
    active
}

async fn an_account_with_or_without_its_descendants(service: Service) {
    let client = service.client().await;
    let root = service.account("").await;
    let (middle, other) = (service.account(&root).await, service.account("").await);
    let leaf = service.account(&middle).await;
    for (descendants, survivors) in [(false, [true, false, true, true, true]), (true, [true, false, false, true, true])]
    {
        let tokens = [
            &issue(&service, client.account(&root)).await,
            &issue(&service, client.account(&middle)).await,
            &issue(&service, client.account(&leaf)).await,
            &issue(&service, client.account(&other)).await,
            &issue(&service, client.client_credentials()).await,
        ];
        let position =
            service.admin().await.revoke_all_tokens(all(account(&middle, descendants))).await.unwrap().position;
        let after = issue(&service, client.account(&middle)).await;
        assert!(service.is_active(&after.access_token).await, "issued afterwards");
        assert_eq!(position.len(), 20);
        assert_eq!(alive(&service, &client, &tokens).await, survivors, "{descendants}");
    }
}

async fn a_client_with_all_that_it_obtained(service: Service) {
    let (client, other) = (service.client().await, service.client().await);
    let company = service.account("").await;
    let tokens =
        [&issue(&service, client.client_credentials()).await, &issue(&service, client.account(&company)).await];
    let theirs = issue(&service, other.account(&company)).await;
    service.admin().await.revoke_all_tokens(all(Target::ClientId(client.client_id.clone()))).await.unwrap();
    assert_eq!(alive(&service, &client, &tokens).await, [false, false]);
    assert_eq!(alive(&service, &other, &[&theirs]).await, [true]);
    // Its secret survives, and what it gets now is alive.
    let after = issue(&service, client.client_credentials()).await;
    assert_eq!(alive(&service, &client, &[&after]).await, [true]);
}

async fn exactly_the_named_sessions(service: Service) {
    let client = service.client().await;
    let company = service.account("").await;
    let tokens = [
        &issue(&service, client.client_credentials().session("a")).await,
        &issue(&service, client.account(&company).session("company")).await,
        &issue(&service, client.client_credentials().session("b")).await,
        &issue(&service, client.client_credentials().session("A")).await,
        &issue(&service, client.client_credentials().session("aa")).await,
        &issue(&service, client.client_credentials()).await,
    ];
    let sessions = SessionsTarget { session_ids: vec!["a".into(), "company".into(), "b".into(), "never".into()] };
    service.admin().await.revoke_all_tokens(all(Target::Sessions(sessions))).await.unwrap();
    assert_eq!(alive(&service, &client, &tokens).await, [false, false, false, true, true, true]);
    let after = issue(&service, client.client_credentials().session("a")).await;
    assert_eq!(alive(&service, &client, &[&after]).await, [true], "minted into the session afterwards");
    let admin = service.admin().await;
    let empty = all(Target::Sessions(SessionsTarget { session_ids: vec![] }));
    refused_fields(admin.revoke_all_tokens(empty).await, Reason::InvalidField, &["sessions.session_ids"]);
}

async fn a_whole_tenant_and_no_other(service: Service) {
    service.tenant("other", Default::default()).await;
    let client = service.client().await;
    let foreign = service.client_in("other", super::harness::plain()).await;
    let company = service.account("").await;
    let tokens =
        [&issue(&service, client.client_credentials()).await, &issue(&service, client.account(&company)).await];
    let theirs = issue(&service, foreign.client_credentials()).await;
    service.admin().await.revoke_all_tokens(all(Target::Tenant(TenantTarget {}))).await.unwrap();
    assert_eq!(alive(&service, &client, &tokens).await, [false, false]);
    assert_eq!(alive(&service, &foreign, &[&theirs]).await, [true]);
    let after = issue(&service, client.client_credentials()).await;
    assert_eq!(alive(&service, &client, &[&after]).await, [true]);
}

async fn keep_current_spares_exactly_the_callers_own_family(service: Service) {
    let client = service.client_in("default", manager()).await;
    let before = issue(&service, client.client_credentials()).await;
    let own = issue(&service, client.client_credentials()).await;
    let renewed = service.anonymous().renew(client.renew(&own.refresh_token)).await;
    let lonely = service.anonymous().issue(client.client_credentials()).await;
    let bearer = service.bearer(&renewed.access_token);
    for target in [Target::ClientId(client.client_id.clone()), Target::Tenant(TenantTarget {})] {
        let request = wire::RevokeAllTokensRequest { keep_current: true, ..all(target) };
        bearer.revoke_all_tokens(request).await.unwrap();
        let all = [&before, &own, &renewed, &lonely].map(|token| token.access_token.as_str());
        assert_eq!(service.active(&all).await, [false, true, true, false]);
    }
    assert!(
        service.is_active(&service.anonymous().renew(client.renew(&renewed.refresh_token)).await.access_token).await
    );
    // Without a family it spares the one token.
    let lonely = service.anonymous().issue(client.client_credentials()).await;
    let request = wire::RevokeAllTokensRequest { keep_current: true, ..all(Target::Tenant(TenantTarget {})) };
    service.bearer(&lonely.access_token).revoke_all_tokens(request).await.unwrap();
    assert_eq!(service.active(&[&lonely.access_token, &renewed.access_token]).await, [true, false]);
}

async fn keep_current_wants_a_bearer_and_a_target_is_required(service: Service) {
    let admin = service.admin().await;
    let nothing = wire::RevokeAllTokensRequest { target: None, ..all(Target::Tenant(TenantTarget {})) };
    refused_fields(admin.revoke_all_tokens(nothing).await, Reason::InvalidField, &["target"]);
    let request = wire::RevokeAllTokensRequest { keep_current: true, ..all(Target::Tenant(TenantTarget {})) };
    refused(service.anonymous().revoke_all_tokens(request).await, Reason::TokenMissing);
    for missing in [account("acc_0000000000000000000000", true), Target::ClientId("cli_0000000000000000000000".into())]
    {
        refused(admin.revoke_all_tokens(all(missing)).await, Reason::NotFound);
    }
}

async fn what_is_ones_own_needs_no_scope(service: Service) {
    let client = service.client().await;
    let issuer = format!("{PUBLIC_URL}/t/default");
    let root = service.account("").await;
    let (child, other) = (service.account(&root).await, service.account("").await);
    let bearer = async |request: wire::IssueTokenRequest| -> Caller {
        service.bearer(
            &service.anonymous().issue(client.with(request).scopes(&["pay"]).audience(&[&issuer])).await.access_token,
        )
    };
    let own = bearer(for_account(&root)).await;
    let target = issue(&service, client.account(&child)).await;
    let theirs = issue(&service, client.account(&other)).await;
    refused(own.revoke_all_tokens(all(account(&other, false))).await, Reason::NotFound);
    refused(own.revoke_all_tokens(all(Target::Tenant(TenantTarget {}))).await, Reason::ScopeInsufficient);
    refused(own.revoke_all_tokens(all(Target::ClientId(client.client_id.clone()))).await, Reason::ScopeInsufficient);
    let sessions = Target::Sessions(SessionsTarget { session_ids: vec!["a".into()] });
    refused(own.revoke_all_tokens(all(sessions)).await, Reason::ScopeInsufficient);
    own.revoke_all_tokens(all(account(&root, true))).await.unwrap();
    assert_eq!(alive(&service, &client, &[&target, &theirs]).await, [false, true]);

    let itself = bearer(client_credentials()).await;
    refused(itself.revoke_all_tokens(all(account(&other, false))).await, Reason::ScopeInsufficient);
    itself.revoke_all_tokens(all(Target::ClientId(client.client_id.clone()))).await.unwrap();
    assert_eq!(alive(&service, &client, &[&theirs]).await, [false]);
}

//! Who may call at all.

use std::time::Duration;

use jeton::api::wire;
use jeton_contract::reason::Reason;

use super::{
    calls::{
        Caller, Credentials, IssueExt as _, client_credentials, list_client, refused, refused_fields, revoke_id, seen,
    },
    harness::{PUBLIC_URL, Service, manager},
};

on_both_stores! {
    a_wrong_secret_an_unknown_client_and_a_disabled_client_look_the_same
    a_secret_works_only_for_its_own_client
    bearer_and_client_authentication_in_one_call_are_ambiguous
    without_credentials_the_token_is_missing
    authorization_must_be_one_bearer
    a_bearer_that_is_not_active_for_jeton_is_invalid_and_all_look_the_same
    revoking_with_wrong_credentials_changes_nothing
    a_caller_without_the_declared_scope_is_refused
    the_caller_learns_who_it_is
}

async fn a_wrong_secret_an_unknown_client_and_a_disabled_client_look_the_same(service: Service) {
    let (client, disabled, deleted) = (service.client().await, service.client().await, service.client().await);
    let refresh = service.anonymous().issue(client.client_credentials().refresh()).await.refresh_token;
    let admin = service.admin().await;
    let disable = wire::DisableClientRequest { tenant_id: "default".into(), client_id: disabled.client_id.clone() };
    admin.disable_client(disable).await.unwrap();
    let delete = wire::DeleteClientRequest {
        tenant_id: "default".into(),
        client_id: deleted.client_id.clone(),
        ..Default::default()
    };
    admin.delete_client(delete).await.unwrap();

    let mut statuses = Vec::new();
    for wrong in [
        Credentials::new(&client.client_id, &disabled.client_secret),
        Credentials::new(&client.client_id, "jcs_nonsense"),
        Credentials::new(&client.client_id, "x"),
        Credentials::new("cli_0000000000000000000000", &client.client_secret),
        Credentials::new("nobody at all", &client.client_secret),
        disabled,
        deleted,
    ] {
        let anonymous = service.anonymous();
        let issue = refused(anonymous.issue_token(wrong.client_credentials()).await, Reason::InvalidClient);
        let renew = refused(anonymous.renew_token(wrong.renew(&refresh)).await, Reason::InvalidClient);
        let introspect = refused(anonymous.introspect_token(wrong.introspect("x")).await, Reason::InvalidClient);
        statuses.extend([issue, renew, introspect].map(|status| seen(&status, "no id is in it")));
    }
    statuses.dedup();
    assert_eq!(statuses.len(), 1, "{statuses:?}");
}

async fn a_secret_works_only_for_its_own_client(service: Service) {
    let (one, other) = (service.client().await, service.client().await);
    let mixed = Credentials::new(&one.client_id, &other.client_secret);
    refused(service.anonymous().issue_token(mixed.client_credentials()).await, Reason::InvalidClient);
    let lonely = wire::IssueTokenRequest { client_secret: one.client_secret.clone(), ..client_credentials() };
    refused_fields(service.anonymous().issue_token(lonely).await, Reason::InvalidField, &["client_id"]);
    let no_secret = wire::IssueTokenRequest { client_id: one.client_id, ..client_credentials() };
    refused(service.anonymous().issue_token(no_secret).await, Reason::InvalidClient);
}

async fn bearer_and_client_authentication_in_one_call_are_ambiguous(service: Service) {
    let admin = service.admin().await;
    let both = &service.admin;
    let refresh = both.renew("jtr_x");
    let invalidate = wire::InvalidateTokensRequest {
        client_id: both.client_id.clone(),
        client_secret: both.client_secret.clone(),
        access_token: "x".into(),
        ..Default::default()
    };
    let batch = wire::BatchIntrospectTokensRequest {
        client_id: both.client_id.clone(),
        client_secret: both.client_secret.clone(),
        tokens: vec!["x".into()],
        ..Default::default()
    };
    let revoke = wire::RevokeTokenRequest {
        client_id: both.client_id.clone(),
        client_secret: both.client_secret.clone(),
        ..super::calls::revoke("x")
    };
    let reason = Reason::AmbiguousCredentials;
    refused(admin.issue_token(both.client_credentials()).await, reason);
    refused(admin.renew_token(refresh).await, reason);
    refused(admin.introspect_token(both.introspect("x")).await, reason);
    refused(admin.invalidate_tokens(invalidate).await, reason);
    refused(admin.batch_introspect_tokens(batch).await, reason);
    refused(admin.revoke_token(revoke).await, reason);
}

async fn without_credentials_the_token_is_missing(service: Service) {
    let nobody = service.anonymous();
    let reason = Reason::TokenMissing;
    refused(nobody.issue_token(client_credentials()).await, reason);
    refused(nobody.issue_token(super::calls::for_account("x")).await, reason);
    let renew = wire::RenewTokenRequest { refresh_token: "jtr_x".into(), ..Default::default() };
    refused(nobody.renew_token(renew).await, reason);
    refused(nobody.revoke_token(revoke_id("tok_0000000000000000000000")).await, reason);
    refused(nobody.introspect_token(wire::IntrospectTokenRequest::default()).await, reason);
    refused(nobody.get_caller(wire::GetCallerRequest {}).await, reason);
    refused(nobody.list_tokens(list_client("x")).await, reason);
    refused(nobody.list_tenants(wire::ListTenantsRequest::default()).await, reason);
    refused(nobody.list_clients(wire::ListClientsRequest::default()).await, reason);
    refused(nobody.list_accounts(wire::ListAccountsRequest::default()).await, reason);
}

async fn authorization_must_be_one_bearer(service: Service) {
    let admin = service.admin().await;
    let bearer = admin.authorization[0].clone();
    for authorization in [
        vec![bearer.clone(), bearer.clone()],
        vec![bearer.clone(), "Basic eDp5".into()],
        vec!["Basic eDp5".into()],
        vec!["Bearer".into()],
    ] {
        let caller = Caller { authorization, ..admin.clone() };
        refused(caller.get_caller(wire::GetCallerRequest {}).await, Reason::InvalidMetadata);
        // Not even where nobody need say who calls.
        let keys = wire::ListSigningKeysRequest::default();
        refused(caller.list_signing_keys(keys).await, Reason::InvalidMetadata);
    }
    let lower = Caller { authorization: vec![bearer.replace("Bearer", "bearer")], ..admin };
    lower.get_caller(wire::GetCallerRequest {}).await.unwrap();
}

async fn a_bearer_that_is_not_active_for_jeton_is_invalid_and_all_look_the_same(service: Service) {
    let client = service.client_in("default", manager()).await;
    let anonymous = service.anonymous();
    let issuer = format!("{PUBLIC_URL}/t/default");
    let short = anonymous.issue(client.client_credentials().expires_in("1")).await.access_token;
    let api = anonymous.issue(client.client_credentials().scopes(&["pay"])).await;
    let revoked = anonymous.issue(client.client_credentials().refresh()).await;
    anonymous.revoke(&revoked.access_token).await;
    let good = anonymous.issue(client.client_credentials().scopes(&["pay"]).audience(&[&issuer])).await;
    service.bearer(&good.access_token).get_caller(wire::GetCallerRequest {}).await.unwrap();
    service.advance(Duration::from_secs(2));

    let mut statuses = Vec::new();
    for bearer in ["x", &short, &api.access_token, &revoked.access_token, &revoked.refresh_token, &client.client_secret]
    {
        let bearer = service.bearer(bearer);
        let caller = bearer.get_caller(wire::GetCallerRequest {}).await;
        let keys = bearer.list_signing_keys(wire::ListSigningKeysRequest::default()).await;
        statuses.push(seen(&refused(caller, Reason::TokenInvalid), "no id is in it"));
        statuses.push(seen(&refused(keys, Reason::TokenInvalid), "no id is in it"));
    }
    statuses.dedup();
    assert_eq!(statuses.len(), 1, "{statuses:?}");
}

async fn revoking_with_wrong_credentials_changes_nothing(service: Service) {
    let client = service.client().await;
    let token = service.anonymous().issue(client.client_credentials()).await.access_token;
    let wrong = wire::RevokeTokenRequest {
        client_id: client.client_id,
        client_secret: "jcs_wrong".into(),
        ..super::calls::revoke(&token)
    };
    refused(service.anonymous().revoke_token(wrong).await, Reason::InvalidClient);
    assert!(service.is_active(&token).await);
}

async fn a_caller_without_the_declared_scope_is_refused(service: Service) {
    let client = service.client().await;
    let caller = service.bearer(
        &service.anonymous().issue(client.client_credentials().scopes(&["jeton.tokens.issue"])).await.access_token,
    );
    let reason = Reason::ScopeInsufficient;
    refused(
        caller
            .create_tenant(wire::CreateTenantRequest { tenant: Some(Default::default()), ..Default::default() })
            .await,
        reason,
    );
    refused(caller.list_tenants(Default::default()).await, reason);
    refused(caller.list_clients(Default::default()).await, reason);
    refused(
        caller
            .create_client(wire::CreateClientRequest { client: Some(Default::default()), ..Default::default() })
            .await,
        reason,
    );
    refused(
        caller
            .create_account(wire::CreateAccountRequest { account: Some(Default::default()), ..Default::default() })
            .await,
        reason,
    );
    refused(caller.rotate_signing_key(Default::default()).await, reason);
    refused(caller.list_admitted_clients(Default::default()).await, reason);
    let introspect = wire::IntrospectTokenRequest { token: "x".into(), ..Default::default() };
    refused(caller.introspect_token(introspect).await, reason);
    let other = service.client().await;
    refused(caller.list_tokens(list_client(&other.client_id)).await, reason);
    // Client authentication counts as all that the client may ask for, and no more.
    let powerless = service
        .client_in(
            "default",
            wire::Client {
                allowed_scopes: vec!["pay".into()],
                default_scopes: vec!["pay".into()],
                ..super::harness::plain()
            },
        )
        .await;
    refused(service.anonymous().introspect_token(powerless.introspect("x")).await, reason);
    refused(service.anonymous().issue_token(powerless.account("acc_0000000000000000000000")).await, reason);
}

async fn the_caller_learns_who_it_is(service: Service) {
    let client = service.client_in("default", manager()).await;
    let caller = service.caller(&client).await.get_caller(wire::GetCallerRequest {}).await.unwrap().caller.unwrap();
    assert_eq!(caller.active, Some(true));
    assert_eq!(
        (caller.subject.as_str(), caller.client_id.as_str()),
        (client.client_id.as_str(), client.client_id.as_str())
    );
    assert_eq!((caller.tenant_id.as_str(), caller.subject_kind()), ("default", wire::SubjectKind::Client));
    assert_eq!(caller.scopes, manager().default_scopes);
    assert_eq!(caller.audience, [format!("{PUBLIC_URL}/t/default")]);
}

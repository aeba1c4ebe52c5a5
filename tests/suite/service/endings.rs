//! Disabling, deleting and expelling: dead at once, everywhere, for good.

use jeton::api::{wire, wire::TokenFormat};
use jeton_contract::reason::Reason;

use super::{
    calls::{Caller, Credentials, IssueExt as _, owned, refused},
    harness::{Backend, Service, plain},
};

on_both_stores! {
    a_disabled_client_is_dead_at_once_and_enabling_does_not_revive
    a_deleted_client_is_dead_at_once
    a_disabled_account_takes_its_descendants_along
    a_deleted_account_is_dead_at_once_and_undeleting_does_not_revive
    a_disabled_tenant_is_dead_at_once_and_enabling_does_not_revive
    an_expelled_client_is_dead_in_that_tenant_only
    a_revoked_token_is_dead_on_every_replica
}

/// The service and, on Redis, two replicas that have answered about the tokens before.
async fn everywhere(service: &Service, tokens: &[&str]) -> Vec<Service> {
    let mut replicas = Vec::new();
    if service.backend() == Backend::Redis {
        replicas.extend([service.replica().await, service.replica().await]);
    }
    assert_active(service, &replicas, tokens, true).await;
    replicas
}

async fn assert_active(service: &Service, replicas: &[Service], tokens: &[&str], expected: bool) {
    for one in std::iter::once(service).chain(replicas) {
        assert_eq!(one.active(tokens).await, vec![expected; tokens.len()]);
    }
}

async fn both(service: &Service, request: wire::IssueTokenRequest) -> [String; 2] {
    let issue = async |format| service.anonymous().issue(request.clone().format(format)).await.access_token;
    [issue(TokenFormat::Jwt).await, issue(TokenFormat::Opaque).await]
}

fn strs(tokens: &[String]) -> Vec<&str> {
    tokens.iter().map(String::as_str).collect()
}

async fn disable_client(admin: &Caller, client: &Credentials) {
    let request = wire::DisableClientRequest { tenant_id: "default".into(), client_id: client.client_id.clone() };
    let state = admin.disable_client(request).await.unwrap().client.unwrap().state();
    assert_eq!(state, wire::ClientState::Disabled);
}

async fn a_disabled_client_is_dead_at_once_and_enabling_does_not_revive(service: Service) {
    let (client, company) = (service.client().await, service.account("").await);
    let tokens =
        [both(&service, client.client_credentials()).await, both(&service, client.account(&company)).await].concat();
    let replicas = everywhere(&service, &strs(&tokens)).await;
    let admin = service.admin().await;
    disable_client(&admin, &client).await;
    assert_active(&service, &replicas, &strs(&tokens), false).await;
    for one in std::iter::once(&service).chain(&replicas) {
        refused(one.anonymous().issue_token(client.client_credentials()).await, Reason::InvalidClient);
    }
    disable_client(&admin, &client).await;
    let enable = wire::EnableClientRequest { tenant_id: "default".into(), client_id: client.client_id.clone() };
    admin.enable_client(enable).await.unwrap();
    assert_active(&service, &replicas, &strs(&tokens), false).await;
    for one in std::iter::once(&service).chain(&replicas) {
        let new = both(one, client.client_credentials()).await;
        assert_active(&service, &replicas, &strs(&new), true).await;
    }
}

async fn a_deleted_client_is_dead_at_once(service: Service) {
    let client = service.client().await;
    let tokens = both(&service, client.client_credentials()).await;
    let replicas = everywhere(&service, &strs(&tokens)).await;
    let admin = service.admin().await;
    let delete = || wire::DeleteClientRequest {
        tenant_id: "default".into(),
        client_id: client.client_id.clone(),
        ..Default::default()
    };
    admin.delete_client(delete()).await.unwrap();
    assert_active(&service, &replicas, &strs(&tokens), false).await;
    for one in std::iter::once(&service).chain(&replicas) {
        refused(one.anonymous().issue_token(client.client_credentials()).await, Reason::InvalidClient);
        let admin = one.admin().await;
        let get = wire::GetClientRequest { tenant_id: "default".into(), client_id: client.client_id.clone() };
        refused(admin.get_client(get).await, Reason::NotFound);
    }
    refused(admin.delete_client(delete()).await, Reason::NotFound);
}

async fn a_disabled_account_takes_its_descendants_along(service: Service) {
    let client = service.client().await;
    let root = service.account("").await;
    let (child, other) = (service.account(&root).await, service.account("").await);
    let dead = [both(&service, client.account(&root)).await, both(&service, client.account(&child)).await].concat();
    let alive = both(&service, client.account(&other)).await;
    let replicas = everywhere(&service, &strs(&dead)).await;
    let admin = service.admin().await;
    let disable = wire::DisableAccountRequest { tenant_id: "default".into(), account_id: root.clone() };
    admin.disable_account(disable).await.unwrap();
    assert_active(&service, &replicas, &strs(&dead), false).await;
    assert_active(&service, &replicas, &strs(&alive), true).await;
    for one in std::iter::once(&service).chain(&replicas) {
        for id in [&root, &child] {
            refused(one.anonymous().issue_token(client.account(id)).await, Reason::Disabled);
        }
    }
    let enable = wire::EnableAccountRequest { tenant_id: "default".into(), account_id: root };
    admin.enable_account(enable).await.unwrap();
    assert_active(&service, &replicas, &strs(&dead), false).await;
    let new = both(&service, client.account(&child)).await;
    assert_active(&service, &replicas, &strs(&new), true).await;
}

async fn a_deleted_account_is_dead_at_once_and_undeleting_does_not_revive(service: Service) {
    let (client, account) = (service.client().await, service.account("").await);
    let tokens = both(&service, client.account(&account)).await;
    let replicas = everywhere(&service, &strs(&tokens)).await;
    let admin = service.admin().await;
    let delete = || wire::DeleteAccountRequest {
        tenant_id: "default".into(),
        account_id: account.clone(),
        ..Default::default()
    };
    let deleted = admin.delete_account(delete()).await.unwrap().account.unwrap();
    assert_eq!(deleted.state(), wire::AccountState::Deleted);
    assert_active(&service, &replicas, &strs(&tokens), false).await;
    admin.delete_account(delete()).await.unwrap();
    let undelete = wire::UndeleteAccountRequest { tenant_id: "default".into(), account_id: account.clone() };
    admin.undelete_account(undelete).await.unwrap();
    assert_active(&service, &replicas, &strs(&tokens), false).await;
    let new = both(&service, client.account(&account)).await;
    assert_active(&service, &replicas, &strs(&new), true).await;
}

async fn a_disabled_tenant_is_dead_at_once_and_enabling_does_not_revive(service: Service) {
    service.tenant("shop", Default::default()).await;
    let client = service.client_in("shop", plain()).await;
    let company = service.account_in("shop", "").await;
    let tokens =
        [both(&service, client.client_credentials()).await, both(&service, client.account(&company)).await].concat();
    let replicas = everywhere(&service, &strs(&tokens)).await;
    let admin = service.admin().await;
    admin.disable_tenant(wire::DisableTenantRequest { tenant_id: "shop".into() }).await.unwrap();
    assert_active(&service, &replicas, &strs(&tokens), false).await;
    for one in std::iter::once(&service).chain(&replicas) {
        refused(one.anonymous().issue_token(client.client_credentials()).await, Reason::InvalidClient);
    }
    admin.enable_tenant(wire::EnableTenantRequest { tenant_id: "shop".into() }).await.unwrap();
    assert_active(&service, &replicas, &strs(&tokens), false).await;
    let new = both(&service, client.client_credentials()).await;
    assert_active(&service, &replicas, &strs(&new), true).await;
    let delete = wire::DeleteTenantRequest { tenant_id: "shop".into(), ..Default::default() };
    admin.delete_tenant(delete.clone()).await.unwrap();
    assert_active(&service, &replicas, &strs(&new), false).await;
    refused(admin.delete_tenant(delete).await, Reason::NotFound);
    let again = wire::Tenant { tenant_id: "shop".into(), ..Default::default() };
    let again = wire::CreateTenantRequest { tenant: Some(again), ..Default::default() };
    refused(admin.create_tenant(again).await, Reason::TenantIdTaken);
}

async fn an_expelled_client_is_dead_in_that_tenant_only(service: Service) {
    service.tenant("host", Default::default()).await;
    let client = service.client().await;
    let admin = service.admin().await;
    let admission = wire::Admission {
        client_id: client.client_id.clone(),
        scopes: owned(&["invoices.read"]),
        ..Default::default()
    };
    let admit = wire::AdmitClientRequest { tenant_id: "host".into(), admission: Some(admission) };
    admin.admit_client(admit.clone()).await.unwrap();
    let at_home = both(&service, client.client_credentials()).await;
    let abroad = both(&service, client.client_credentials().tenant("host")).await;
    let refresh = service.anonymous().issue(client.client_credentials().tenant("host").refresh()).await.refresh_token;
    let replicas = everywhere(&service, &strs(&[at_home.clone(), abroad.clone()].concat())).await;
    let expel = wire::ExpelClientRequest { tenant_id: "host".into(), client_id: client.client_id.clone() };
    admin.expel_client(expel.clone()).await.unwrap();
    assert_active(&service, &replicas, &strs(&abroad), false).await;
    assert_active(&service, &replicas, &strs(&at_home), true).await;
    for one in std::iter::once(&service).chain(&replicas) {
        let result = one.anonymous().issue_token(client.client_credentials().tenant("host")).await;
        refused(result, Reason::TenantNotGranted);
        refused(one.anonymous().renew_token(client.renew(&refresh)).await, Reason::RefreshInvalid);
    }
    admin.expel_client(expel).await.unwrap();
    admin.admit_client(admit).await.unwrap();
    assert_active(&service, &replicas, &strs(&abroad), false).await;
    refused(service.anonymous().renew_token(client.renew(&refresh)).await, Reason::RefreshInvalid);
    let again = both(&service, client.client_credentials().tenant("host")).await;
    assert_active(&service, &replicas, &strs(&again), true).await;
    // Disabled at home is disabled abroad.
    disable_client(&admin, &client).await;
    assert_active(&service, &replicas, &strs(&again), false).await;
}

async fn a_revoked_token_is_dead_on_every_replica(service: Service) {
    let client = service.client().await;
    for _ in 0..5 {
        let tokens = both(&service, client.client_credentials()).await;
        let replicas = everywhere(&service, &strs(&tokens)).await;
        let revoker = replicas.first().unwrap_or(&service);
        for token in &tokens {
            revoker.anonymous().revoke(token).await;
        }
        assert_active(&service, &replicas, &strs(&tokens), false).await;
    }
}

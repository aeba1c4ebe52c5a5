//! Calls with a request id.

use jeton::api::{wire, wire::TokenFormat};
use jeton_contract::reason::Reason;

use super::{
    calls::{IssueExt as _, list_client, refused, refused_fields, uuid},
    harness::{Service, manager, plain},
};

on_both_stores! {
    a_repeated_issue_gives_the_same_token_and_one_row
    another_body_under_the_same_id_is_refused
    request_ids_of_two_callers_or_methods_do_not_meet
    a_repeat_after_the_token_died_fails
    a_repeated_create_client_gives_the_same_client_and_secret
    a_repeated_create_account_or_tenant_gives_the_same_one
    the_repeat_of_the_secret_that_reached_the_limit_is_that_secret
    a_request_id_is_a_uuid4
}

async fn a_repeated_issue_gives_the_same_token_and_one_row(service: Service) {
    let client = service.client_in("default", manager()).await;
    for (n, format) in [TokenFormat::Jwt, TokenFormat::Opaque].into_iter().enumerate() {
        let request = client.client_credentials().format(format).refresh().session("s").scopes(&["pay"]);
        let request = request.request_id(&uuid(u32::try_from(n).unwrap()));
        let first = service.anonymous().issue_token(request.clone()).await.unwrap();
        service.advance(std::time::Duration::from_secs(300));
        let again = service.anonymous().issue_token(request.clone()).await.unwrap();
        let (one, two) = (first.token.unwrap(), again.token.unwrap());
        assert_eq!((&one.access_token, &one.refresh_token), (&two.access_token, &two.refresh_token));
        assert_eq!((one.expire_time, one.token_id.clone()), (two.expire_time, two.token_id));
        assert_eq!((one.expires_in, two.expires_in), (Some(900), Some(600)));
        assert_eq!(first.position, again.position);
        service.anonymous().renew(client.renew(&one.refresh_token)).await;
        let filter = "session_id = \"s\" AND scope:\"pay\"".to_owned();
        let list = wire::ListTokensRequest { filter, ..list_client(&client.client_id) };
        let listed = service.caller(&client).await.list_tokens(list).await.unwrap().tokens;
        assert_eq!(listed.iter().filter(|token| token.token_id == one.token_id).count(), 1);
        assert_eq!(listed.len(), 2 * (n + 1), "it and its renewal");
    }
}

async fn another_body_under_the_same_id_is_refused(service: Service) {
    let client = service.client().await;
    let request = client.client_credentials().request_id(&uuid(1));
    let first = service.anonymous().issue(request.clone()).await;
    for other in [
        request.clone().scopes(&["pay"]),
        request.clone().expires_in("901"),
        request.clone().session("s"),
        request.clone().refresh(),
        request.clone().format(TokenFormat::Opaque),
    ] {
        refused(service.anonymous().issue_token(other).await, Reason::RequestIdReused);
    }
    assert_eq!(service.anonymous().issue(request).await.access_token, first.access_token);
    assert!(service.is_active(&first.access_token).await);
}

async fn request_ids_of_two_callers_or_methods_do_not_meet(service: Service) {
    let (one, two) = (service.client_in("default", manager()).await, service.client().await);
    let first = service.anonymous().issue(one.client_credentials().request_id(&uuid(1))).await;
    let other = service.anonymous().issue(two.client_credentials().request_id(&uuid(1))).await;
    assert_ne!(first.token_id, other.token_id);
    let account = wire::Account { display_name: "n".into(), ..Default::default() };
    let create = wire::CreateAccountRequest { account: Some(account), request_id: uuid(1), ..Default::default() };
    service.caller(&one).await.create_account(create).await.unwrap();
}

async fn a_repeat_after_the_token_died_fails(service: Service) {
    let client = service.client().await;
    for (n, format) in [TokenFormat::Jwt, TokenFormat::Opaque].into_iter().enumerate() {
        let number = u32::try_from(n).unwrap();
        let request = client.client_credentials().format(format).request_id(&uuid(number));
        let token = service.anonymous().issue(request.clone()).await;
        service.anonymous().revoke(&token.access_token).await;
        refused(service.anonymous().issue_token(request).await, Reason::TokenDied);
        assert!(!service.is_active(&token.access_token).await);
        let short = client.client_credentials().format(format).expires_in("5").request_id(&uuid(100 + number));
        service.anonymous().issue(short.clone()).await;
        service.advance(std::time::Duration::from_secs(6));
        refused(service.anonymous().issue_token(short).await, Reason::TokenDied);
    }
}

async fn a_repeated_create_client_gives_the_same_client_and_secret(service: Service) {
    let admin = service.admin().await;
    let tenant_id = || "system".to_owned();
    let request = wire::CreateClientRequest { tenant_id: tenant_id(), client: Some(plain()), request_id: uuid(7) };
    let first = admin.create_client(request.clone()).await.unwrap();
    let again = service.admin().await.create_client(request.clone()).await.unwrap();
    assert_eq!(
        (&again.client, &again.client_secret, &again.secret_id),
        (&first.client, &first.client_secret, &first.secret_id)
    );
    let credentials = super::calls::Credentials::new(&first.client.as_ref().unwrap().client_id, &again.client_secret);
    service.anonymous().issue(credentials.client_credentials()).await;
    let other = wire::Client { display_name: "other".into(), ..plain() };
    let other = wire::CreateClientRequest { client: Some(other), ..request };
    refused(admin.create_client(other).await, Reason::RequestIdReused);
    let list = wire::ListClientsRequest { tenant_id: tenant_id(), ..Default::default() };
    let listed = admin.list_clients(list).await.unwrap().clients;
    assert_eq!(listed.len(), 2, "the administrator and the one made once");
}

async fn a_repeated_create_account_or_tenant_gives_the_same_one(service: Service) {
    let admin = service.admin().await;
    let account = wire::Account { display_name: "n".into(), foreign_id: "f".into(), ..Default::default() };
    let tenant_id = "default".to_owned();
    let request = wire::CreateAccountRequest { tenant_id, account: Some(account.clone()), request_id: uuid(1) };
    let first = admin.create_account(request.clone()).await.unwrap().account.unwrap();
    assert_eq!(admin.create_account(request.clone()).await.unwrap().account.unwrap(), first);
    let other = wire::Account { display_name: "m".into(), ..account };
    let other = wire::CreateAccountRequest { account: Some(other), ..request };
    refused(admin.create_account(other).await, Reason::RequestIdReused);

    for tenant_id in ["named", ""] {
        let request_id = uuid(u32::try_from(tenant_id.len()).unwrap());
        let tenant = wire::Tenant { tenant_id: tenant_id.into(), ..Default::default() };
        let request = wire::CreateTenantRequest { tenant: Some(tenant.clone()), request_id };
        let first = admin.create_tenant(request.clone()).await.unwrap().tenant.unwrap();
        assert_eq!(admin.create_tenant(request.clone()).await.unwrap().tenant.unwrap(), first);
        let other = wire::Tenant { display_name: "m".into(), ..tenant };
        let other = wire::CreateTenantRequest { tenant: Some(other), ..request };
        refused(admin.create_tenant(other).await, Reason::RequestIdReused);
    }
    assert_eq!(admin.list_tenants(Default::default()).await.unwrap().tenants.len(), 4);
}

async fn the_repeat_of_the_secret_that_reached_the_limit_is_that_secret(service: Service) {
    let client = service.client().await;
    let admin = service.admin().await;
    let request = |n| wire::CreateClientSecretRequest {
        tenant_id: "default".into(),
        client_id: client.client_id.clone(),
        request_id: uuid(n),
    };
    for n in 1..4 {
        admin.create_client_secret(request(n)).await.unwrap();
    }
    let fifth = admin.create_client_secret(request(4)).await.unwrap();
    refused(admin.create_client_secret(request(5)).await, Reason::SecretLimit);
    let again = admin.create_client_secret(request(4)).await.unwrap();
    assert_eq!((&again.client_secret, &again.secret), (&fifth.client_secret, &fifth.secret));
    let credentials = super::calls::Credentials::new(&client.client_id, &again.client_secret);
    service.anonymous().issue(credentials.client_credentials()).await;
}

async fn a_request_id_is_a_uuid4(service: Service) {
    let client = service.client().await;
    for id in ["x", "00000000-0000-4000-8000-00000000000", "00000000000040008000000000000000x", &"0".repeat(200)] {
        let result = service.anonymous().issue_token(client.client_credentials().request_id(id)).await;
        refused_fields(result, Reason::InvalidField, &["request_id"]);
    }
}

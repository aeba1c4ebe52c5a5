//! Clients and their secrets.

use std::time::Duration;

use jeton::api::wire;
use jeton_contract::reason::Reason;

use super::{
    calls::{Credentials, owned, refused, refused_fields, seconds},
    harness::{Service, manager, plain},
};

on_both_stores! {
    a_client_reads_back_as_it_was_created_and_changes_by_mask
    a_stale_etag_is_a_concurrent_update
    a_mask_names_known_fields_only
    the_bootstrap_client_and_oneself_cannot_be_removed
    a_client_has_five_live_secrets_at_most
    a_scheduled_secret_works_until_its_time_and_not_after
    secrets_are_listed_masked_with_their_last_use
    what_a_confined_client_makes_stays_within_its_confinement
    a_confined_client_cannot_change_an_admission_beyond_its_confinement
}

fn get(client: &str) -> wire::GetClientRequest {
    wire::GetClientRequest { client_id: client.to_owned(), ..Default::default() }
}

fn update(client: wire::Client, paths: &[&str]) -> wire::UpdateClientRequest {
    let update_mask = (!paths.is_empty()).then(|| prost_types::FieldMask { paths: owned(paths) });
    wire::UpdateClientRequest { client: Some(client), update_mask, ..Default::default() }
}

async fn a_client_reads_back_as_it_was_created_and_changes_by_mask(service: Service) {
    let admin = service.caller(&service.client_in("default", manager()).await).await;
    let sent = wire::Client {
        display_name: "räksmörgås".into(),
        allowed_scopes: owned(&["pay", "invoices.read"]),
        default_scopes: owned(&["pay"]),
        audiences: owned(&["https://a"]),
        introspects: owned(&["https://a"]),
        token_ttl: Some(seconds(60)),
        refresh_idle_ttl: Some(seconds(61)),
        refresh_absolute_ttl: Some(seconds(62)),
        replay_window: Some(seconds(0)),
        renewal_policy: wire::RenewalPolicy::Never.into(),
        labels: [("team".to_owned(), "x".to_owned())].into(),
        ..Default::default()
    };
    let create = wire::CreateClientRequest { client: Some(sent.clone()), ..Default::default() };
    let made = admin.create_client(create).await.unwrap();
    let client = made.client.unwrap();
    let expected = wire::Client {
        client_id: client.client_id.clone(),
        tenant_id: "default".into(),
        state: wire::ClientState::Enabled.into(),
        allowed_grants: vec![wire::GrantType::ClientCredentials.into()],
        create_time: client.create_time,
        update_time: client.update_time,
        etag: client.etag.clone(),
        ..sent
    };
    assert_eq!(client, expected);
    assert!(made.client_secret.starts_with("jcs_") && client.client_id.starts_with("cli_"));
    let read = async || admin.get_client(get(&client.client_id)).await.unwrap().client.unwrap();
    assert_eq!(read().await, client);

    let id = || wire::Client { client_id: client.client_id.clone(), ..Default::default() };
    // Without a mask what is set changes, with one what is named.
    let renamed = wire::Client { display_name: "b".into(), ..id() };
    admin.update_client(update(renamed, &[])).await.unwrap();
    admin.update_client(update(id(), &["token_ttl", "labels"])).await.unwrap();
    let now = read().await;
    assert_eq!((now.display_name.as_str(), now.token_ttl, now.labels.len()), ("b", None, 0));
    assert_eq!((now.refresh_idle_ttl, &now.allowed_scopes), (expected.refresh_idle_ttl, &expected.allowed_scopes));
    assert_ne!(now.etag, client.etag);
    admin.update_client(update(id(), &["*"])).await.unwrap();
    let now = read().await;
    assert_eq!(
        (now.display_name.as_str(), now.allowed_scopes.len(), now.renewal_policy()),
        ("", 0, wire::RenewalPolicy::Always)
    );
}

async fn a_stale_etag_is_a_concurrent_update(service: Service) {
    let admin = service.caller(&service.client_in("default", manager()).await).await;
    let create = wire::CreateClientRequest { client: Some(plain()), ..Default::default() };
    let old = admin.create_client(create).await.unwrap().client.unwrap();
    let rename = |name: &str, etag: &str| {
        let client = wire::Client {
            client_id: old.client_id.clone(),
            display_name: name.into(),
            etag: etag.into(),
            ..Default::default()
        };
        update(client, &[])
    };
    let new = admin.update_client(rename("1", &old.etag)).await.unwrap().client.unwrap();
    for stale in [old.etag.as_str(), "nonsense"] {
        refused(admin.update_client(rename("2", stale)).await, Reason::ConcurrentUpdate);
        let delete = wire::DeleteClientRequest {
            client_id: old.client_id.clone(),
            etag: stale.to_owned(),
            ..Default::default()
        };
        refused(admin.delete_client(delete).await, Reason::ConcurrentUpdate);
    }
    assert_eq!(admin.get_client(get(&old.client_id)).await.unwrap().client.unwrap().display_name, "1");
    let delete = wire::DeleteClientRequest { client_id: old.client_id, etag: new.etag, ..Default::default() };
    admin.delete_client(delete).await.unwrap();
}

async fn a_mask_names_known_fields_only(service: Service) {
    let admin = service.admin().await;
    let client = service.client().await;
    let id = wire::Client { client_id: client.client_id, ..Default::default() };
    for path in [
        "client_id",
        "tenant_id",
        "state",
        "account_id",
        "create_time",
        "etag",
        "nonsense",
        "",
        "labels.x",
        "client.display_name",
    ] {
        let request =
            wire::UpdateClientRequest { tenant_id: "default".into(), ..update(id.clone(), &["display_name", path]) };
        refused_fields(admin.update_client(request).await, Reason::FieldImmutable, &["update_mask.paths[1]"]);
    }
}

async fn the_bootstrap_client_and_oneself_cannot_be_removed(service: Service) {
    let admin = service.admin().await;
    let id = || service.admin.client_id.clone();
    let tenant_id = || "system".to_owned();
    let delete = wire::DeleteClientRequest { tenant_id: tenant_id(), client_id: id(), ..Default::default() };
    refused(admin.delete_client(delete).await, Reason::BuiltIn);
    refused(
        admin.disable_client(wire::DisableClientRequest { tenant_id: tenant_id(), client_id: id() }).await,
        Reason::BuiltIn,
    );
    let tenant = |id: &str| wire::DeleteTenantRequest { tenant_id: id.into(), ..Default::default() };
    refused(admin.delete_tenant(tenant("system")).await, Reason::BuiltIn);
    refused(admin.delete_tenant(tenant("default")).await, Reason::BuiltIn);
    refused(admin.disable_tenant(wire::DisableTenantRequest { tenant_id: "system".into() }).await, Reason::BuiltIn);
    service.admin().await;
}

fn new_secret(client: &Credentials) -> wire::CreateClientSecretRequest {
    wire::CreateClientSecretRequest {
        tenant_id: "default".into(),
        client_id: client.client_id.clone(),
        ..Default::default()
    }
}

fn revoke_secret(client: &Credentials, secret: &str, delay: Option<u64>) -> wire::RevokeClientSecretRequest {
    wire::RevokeClientSecretRequest {
        tenant_id: "default".into(),
        client_id: client.client_id.clone(),
        secret_id: secret.to_owned(),
        delay: delay.map(seconds),
    }
}

async fn secrets(service: &Service, client: &Credentials) -> Vec<wire::ClientSecret> {
    let request = wire::ListClientSecretsRequest { tenant_id: "default".into(), client_id: client.client_id.clone() };
    service.admin().await.list_client_secrets(request).await.unwrap().secrets
}

async fn a_client_has_five_live_secrets_at_most(service: Service) {
    let client = service.client().await;
    let admin = service.admin().await;
    let mut all = vec![client.clone()];
    for _ in 0..4 {
        let made = admin.create_client_secret(new_secret(&client)).await.unwrap();
        all.push(Credentials::new(&client.client_id, &made.client_secret));
    }
    refused(admin.create_client_secret(new_secret(&client)).await, Reason::SecretLimit);
    for one in &all {
        service.anonymous().issue(one.client_credentials()).await;
    }
    let first = secrets(&service, &client).await[0].secret_id.clone();
    let token = service.anonymous().issue(all[0].client_credentials()).await;
    admin.revoke_client_secret(revoke_secret(&client, &first, None)).await.unwrap();
    refused(service.anonymous().issue_token(all[0].client_credentials()).await, Reason::InvalidClient);
    assert!(service.is_active(&token.access_token).await, "what it obtained lives on");
    admin.create_client_secret(new_secret(&client)).await.unwrap();
    refused(admin.create_client_secret(new_secret(&client)).await, Reason::SecretLimit);
    refused(admin.revoke_client_secret(revoke_secret(&client, "nonsense", None)).await, Reason::NotFound);
}

async fn a_scheduled_secret_works_until_its_time_and_not_after(service: Service) {
    let client = service.client().await;
    let admin = service.admin().await;
    let new = admin.create_client_secret(new_secret(&client)).await.unwrap();
    let new = Credentials::new(&client.client_id, &new.client_secret);
    let old = secrets(&service, &client).await[0].secret_id.clone();
    let until = service.clock.now().plus(Duration::from_secs(600)).as_secs();
    let revoked = admin.revoke_client_secret(revoke_secret(&client, &old, Some(600))).await.unwrap().secret.unwrap();
    assert_eq!(revoked.state(), wire::client_secret::State::ScheduledToRevoke);
    assert_eq!(u64::try_from(revoked.revoke_time.unwrap().seconds).unwrap(), until);
    // A later time does not win.
    admin.revoke_client_secret(revoke_secret(&client, &old, Some(6000))).await.unwrap();
    service.advance(Duration::from_secs(599));
    service.anonymous().issue(client.client_credentials()).await;
    service.anonymous().issue(new.client_credentials()).await;
    service.advance(Duration::from_secs(1));
    refused(service.anonymous().issue_token(client.client_credentials()).await, Reason::InvalidClient);
    service.anonymous().issue(new.client_credentials()).await;
    assert_eq!(secrets(&service, &client).await[0].state(), wire::client_secret::State::Revoked);
}

async fn secrets_are_listed_masked_with_their_last_use(service: Service) {
    let client = service.client().await;
    let before = secrets(&service, &client).await;
    assert_eq!((before.len(), before[0].last_used_time), (1, None));
    assert!(!format!("{before:?}").contains(&client.client_secret[4..]), "masked");
    assert!(before[0].mask.starts_with("jcs_") && before[0].mask.len() < 20);
    service.advance(Duration::from_secs(90));
    let now = service.clock.now().as_secs();
    service.anonymous().issue(client.client_credentials()).await;
    service.settle().await;
    let used = secrets(&service, &client).await[0].last_used_time.unwrap();
    assert_eq!(u64::try_from(used.seconds).unwrap(), now);
}

async fn what_a_confined_client_makes_stays_within_its_confinement(service: Service) {
    let (home, beside) = (service.account("").await, service.account("").await);
    let below = service.account(&home).await;
    let confined = service.client_in("default", wire::Client { account_id: home.clone(), ..manager() }).await;
    let bearer = service.caller(&confined).await;
    let create = |account: &str| wire::CreateClientRequest {
        client: Some(wire::Client { account_id: account.to_owned(), ..plain() }),
        ..Default::default()
    };
    refused(bearer.create_client(create(&beside)).await, Reason::NotFound);
    let made = bearer.create_client(create("")).await.unwrap().client.unwrap();
    assert_eq!(made.account_id, home, "confined without being asked");
    let made = bearer.create_client(create(&below)).await.unwrap().client.unwrap();
    assert_eq!(made.account_id, below);
    let account = wire::Account { display_name: "n".into(), ..Default::default() };
    let account = wire::CreateAccountRequest { account: Some(account), ..Default::default() };
    let account = bearer.create_account(account).await.unwrap().account.unwrap();
    assert_eq!(account.parent_id, home);
    // What is beside it is not seen, and the tenant is not its own.
    let free = service.client().await;
    refused(bearer.get_client(get(&free.client_id)).await, Reason::NotFound);
    let seen = bearer.list_clients(Default::default()).await.unwrap().clients;
    assert!(seen.iter().all(|client| client.account_id == home || client.account_id == below), "{seen:?}");
    let seen = bearer.list_accounts(Default::default()).await.unwrap().accounts;
    assert!(seen.iter().all(|account| account.account_id != beside));
    refused(
        bearer.get_account(wire::GetAccountRequest { account_id: beside, ..Default::default() }).await,
        Reason::NotFound,
    );
    let tenant = wire::Tenant { display_name: "mine".into(), ..Default::default() };
    let tenant = wire::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() };
    refused(bearer.update_tenant(tenant).await, Reason::ScopeInsufficient);
    refused(bearer.rotate_signing_key(Default::default()).await, Reason::ScopeInsufficient);
    let target = wire::revoke_all_tokens_request::Target::Tenant(Default::default());
    let all = wire::RevokeAllTokensRequest { target: Some(target), ..Default::default() };
    refused(bearer.revoke_all_tokens(all).await, Reason::ScopeInsufficient);
}

async fn a_confined_client_cannot_change_an_admission_beyond_its_confinement(service: Service) {
    let (home, beside) = (service.account("").await, service.account("").await);
    let confined = service.client_in("default", wire::Client { account_id: home.clone(), ..manager() }).await;
    let (bearer, admin) = (service.caller(&confined).await, service.admin().await);
    let admit = |client: &str, account: &str| {
        let admission =
            wire::Admission { client_id: client.to_owned(), account_id: account.to_owned(), ..Default::default() };
        wire::AdmitClientRequest { tenant_id: "default".into(), admission: Some(admission) }
    };
    let ids = ["cli_0000000000000000000001", "cli_0000000000000000000002", "cli_0000000000000000000003"];
    for (id, account) in [(ids[0], ""), (ids[1], beside.as_str())] {
        admin.admit_client(admit(id, account)).await.unwrap();
        refused(bearer.admit_client(admit(id, "")).await, Reason::ScopeInsufficient);
        refused(bearer.admit_client(admit(id, &home)).await, Reason::ScopeInsufficient);
    }
    for _ in 0..2 {
        let own = bearer.admit_client(admit(ids[2], "")).await.unwrap().admission.unwrap();
        assert_eq!(own.account_id, home);
    }
    let list = wire::ListAdmittedClientsRequest { tenant_id: "default".into(), ..Default::default() };
    let listed = admin.list_admitted_clients(list).await.unwrap().admissions;
    let accounts: Vec<_> = listed.iter().map(|admission| admission.account_id.as_str()).collect();
    assert_eq!(accounts, ["", beside.as_str(), home.as_str()]);
}

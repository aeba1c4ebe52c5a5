//! Tenants and the clients that they admit.

use jeton::api::wire;
use jeton_contract::reason::Reason;

use super::{
    calls::{IssueExt as _, owned, refused, refused_fields, seconds, seen},
    harness::{PUBLIC_URL, Service, manager, plain},
};

on_both_stores! {
    a_tenant_reads_back_with_every_setting_and_changes_by_mask
    settings_must_fit_together
    an_admission_is_a_ceiling
    an_admission_that_was_confined_since_ends_wider_families
    unknown_and_not_admitting_tenants_look_the_same
    any_well_formed_client_can_be_admitted
    an_administrator_of_system_acts_in_every_tenant_and_nobody_else_does
    eternal_tokens_are_allowed_only_by_who_could_issue_them
}

async fn a_tenant_reads_back_with_every_setting_and_changes_by_mask(service: Service) {
    let admin = service.admin().await;
    let made = service
        .tenant("shop", wire::TenantSettings { client_token_ttl: Some(seconds(60)), ..Default::default() })
        .await;
    assert_eq!(made.issuer, format!("{PUBLIC_URL}/t/shop"));
    let settings = made.settings.clone().unwrap();
    assert_eq!(
        (settings.client_token_ttl, settings.account_token_ttl),
        (Some(seconds(60)), Some(seconds(14 * 86_400)))
    );
    assert_eq!((settings.session_idle_ttl, settings.replay_window), (Some(seconds(86_400)), Some(seconds(10))));
    assert_eq!(
        (settings.eternal_tokens, settings.default_audience.as_str()),
        (Some(false), "https://auth.example.com/t/shop/api")
    );
    let get = wire::GetTenantRequest { tenant_id: "shop".into() };
    assert_eq!(admin.get_tenant(get.clone()).await.unwrap().tenant.unwrap(), made);

    let update = |tenant: wire::Tenant, paths: &[&str]| wire::UpdateTenantRequest {
        tenant: Some(wire::Tenant { tenant_id: "shop".into(), ..tenant }),
        update_mask: Some(prost_types::FieldMask { paths: owned(paths) }),
    };
    let changed =
        admin.update_tenant(update(Default::default(), &["settings.client_token_ttl"])).await.unwrap().tenant.unwrap();
    assert_eq!(changed.settings.unwrap().client_token_ttl, Some(seconds(900)), "back to the default");
    let stale = wire::Tenant { etag: made.etag, display_name: "x".into(), ..Default::default() };
    refused(admin.update_tenant(update(stale, &["display_name"])).await, Reason::ConcurrentUpdate);
    for path in ["tenant_id", "state", "issuer", "nonsense", "settings.nonsense"] {
        let result = admin.update_tenant(update(Default::default(), &[path])).await;
        refused_fields(result, Reason::FieldImmutable, &["update_mask.paths[0]"]);
    }
    let taken = wire::Tenant { tenant_id: "shop".into(), ..Default::default() };
    let taken = wire::CreateTenantRequest { tenant: Some(taken), ..Default::default() };
    refused(admin.create_tenant(taken).await, Reason::TenantIdTaken);
    for malformed in ["a b", "ü", &"x".repeat(33)] {
        let tenant = wire::Tenant { tenant_id: malformed.to_owned(), ..Default::default() };
        let request = wire::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
        refused_fields(admin.create_tenant(request).await, Reason::InvalidField, &["tenant.tenant_id"]);
    }
    let generated = wire::CreateTenantRequest { tenant: Some(Default::default()), ..Default::default() };
    assert!(admin.create_tenant(generated).await.unwrap().tenant.unwrap().tenant_id.starts_with("ten_"));
}

async fn settings_must_fit_together(service: Service) {
    let admin = service.admin().await;
    let settings = wire::TenantSettings {
        client_token_ttl: Some(seconds(3601)),
        account_token_ttl: Some(seconds(3602)),
        max_token_ttl: Some(seconds(3600)),
        refresh_idle_ttl: Some(seconds(11)),
        refresh_absolute_ttl: Some(seconds(10)),
        ..Default::default()
    };
    let tenant = wire::Tenant { settings: Some(settings), ..Default::default() };
    let request = wire::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
    let fields =
        ["client_token_ttl", "account_token_ttl", "refresh_idle_ttl"].map(|name| format!("tenant.settings.{name}"));
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    refused_fields(admin.create_tenant(request).await, Reason::InvalidField, &fields);
}

fn admit(tenant: &str, admission: wire::Admission) -> wire::AdmitClientRequest {
    wire::AdmitClientRequest { tenant_id: tenant.to_owned(), admission: Some(admission) }
}

async fn an_admission_is_a_ceiling(service: Service) {
    service.tenant("host", Default::default()).await;
    let client = wire::Client {
        default_scopes: owned(&["pay", "invoices.read"]),
        audiences: owned(&["https://a", "https://b"]),
        ..plain()
    };
    let client = service.client_in("default", client).await;
    let admin = service.admin().await;
    let admission = |scopes: &[&str]| wire::Admission {
        client_id: client.client_id.clone(),
        scopes: owned(scopes),
        audiences: owned(&["https://b", "https://c"]),
        ..Default::default()
    };
    admin.admit_client(admit("host", admission(&["pay", "invoices.write", "unknown"]))).await.unwrap();
    let ask = || client.client_credentials().tenant("host");
    let token = service.anonymous().issue(ask()).await;
    assert_eq!((token.scopes, token.tenant_id.as_str()), (owned(&["pay"]), "host"));
    let introspection = service.introspect(&token.access_token).await;
    assert_eq!((introspection.tenant_id.as_str(), introspection.issuer), ("host", format!("{PUBLIC_URL}/t/host")));
    service.anonymous().issue(ask().scopes(&["invoices.write"]).audience(&["https://b"])).await;
    for beyond in ["invoices.read", "unknown", "jeton.tokens.issue"] {
        refused(service.anonymous().issue_token(ask().scopes(&[beyond])).await, Reason::ScopeNotAllowed);
    }
    for beyond in ["https://a", "https://c"] {
        refused(service.anonymous().issue_token(ask().audience(&[beyond])).await, Reason::AudienceNotAllowed);
    }
    // A management scope that is named works; renewed with less it is gone.
    let renewable = service.anonymous().issue(ask().scopes(&["pay", "invoices.write"]).refresh()).await;
    admin.admit_client(admit("host", admission(&["pay", "jeton.tokens.introspect"]))).await.unwrap();
    let management = service.anonymous().issue(ask().scopes(&["jeton.tokens.introspect"])).await;
    service.bearer(&management.access_token).get_caller(Default::default()).await.unwrap();
    let renewed = service.anonymous().renew(client.renew(&renewable.refresh_token)).await;
    assert_eq!((renewed.scopes, renewed.tenant_id.as_str()), (owned(&["pay"]), "host"));
    let listed = admin
        .list_admitted_clients(wire::ListAdmittedClientsRequest { tenant_id: "host".into(), ..Default::default() });
    let listed = listed.await.unwrap().admissions;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].scopes, ["pay", "jeton.tokens.introspect"]);
}

async fn unknown_and_not_admitting_tenants_look_the_same(service: Service) {
    service.tenant("aaaa", Default::default()).await;
    service.tenant("bbbb", Default::default()).await;
    let admin = service.admin().await;
    admin.disable_tenant(wire::DisableTenantRequest { tenant_id: "bbbb".into() }).await.unwrap();
    let client = service.client().await;
    let mut statuses = Vec::new();
    for tenant in ["aaaa", "bbbb", "cccc", "a b!"] {
        let result = service.anonymous().issue_token(client.client_credentials().tenant(tenant)).await;
        statuses.push(seen(&refused(result, Reason::TenantNotGranted), tenant));
    }
    statuses.dedup();
    assert_eq!(statuses.len(), 1);
}

async fn any_well_formed_client_can_be_admitted(service: Service) {
    let admin = service.admin().await;
    let known = service.client().await;
    service.tenant("host", Default::default()).await;
    let mut replies = Vec::new();
    for id in [known.client_id.as_str(), "cli_0000000000000000000000"] {
        let admission = wire::Admission { client_id: id.to_owned(), ..Default::default() };
        let answer = admin.admit_client(admit("host", admission)).await.unwrap().admission.unwrap();
        replies.push(wire::Admission { client_id: String::new(), ..answer });
    }
    assert_eq!(replies[0], replies[1]);
    let malformed = wire::Admission { client_id: "no id".into(), ..Default::default() };
    refused_fields(admin.admit_client(admit("host", malformed)).await, Reason::InvalidField, &["admission.client_id"]);
}

async fn an_administrator_of_system_acts_in_every_tenant_and_nobody_else_does(service: Service) {
    service.tenant("host", Default::default()).await;
    let account = service.account_in("host", "").await;
    let admin = service.admin().await;
    let token = admin.issue(super::calls::for_account(&account).tenant("host")).await;
    let introspection = service.introspect(&token.access_token).await;
    assert_eq!(
        (introspection.active, introspection.tenant_id.as_str(), introspection.subject),
        (Some(true), "host", account.clone())
    );

    let caller = service.caller(&service.client_in("default", manager()).await).await;
    refused(caller.get_tenant(wire::GetTenantRequest { tenant_id: "host".into() }).await, Reason::NotFound);
    let get = wire::GetAccountRequest { tenant_id: "host".into(), account_id: account };
    refused(caller.get_account(get).await, Reason::NotFound);
    // `jeton.admin` counts in tenant `system` only, and cannot be had elsewhere but from who has it.
    let scopes = owned(&["jeton.admin", "jeton.tenants.read"]);
    let elsewhere = wire::Client { allowed_scopes: scopes.clone(), default_scopes: scopes, ..plain() };
    let elsewhere = service.caller(&service.client_in("default", elsewhere).await).await;
    refused(elsewhere.get_tenant(wire::GetTenantRequest { tenant_id: "host".into() }).await, Reason::NotFound);
    assert_eq!(elsewhere.list_tenants(Default::default()).await.unwrap().tenants.len(), 1);
    let create = wire::CreateTenantRequest { tenant: Some(Default::default()), ..Default::default() };
    assert!(elsewhere.create_tenant(create).await.is_err(), "an administrator of another tenant creates no tenants");
    let disable = wire::DisableTenantRequest { tenant_id: "host".into() };
    assert!(elsewhere.disable_tenant(disable).await.is_err(), "nor disables them");
    let delete = wire::DeleteTenantRequest { tenant_id: "host".into(), ..Default::default() };
    assert!(elsewhere.delete_tenant(delete).await.is_err(), "nor deletes them");
    assert!(service.is_active(&token.access_token).await);
}

async fn eternal_tokens_are_allowed_only_by_who_could_issue_them(service: Service) {
    let scopes = owned(&["jeton.tenants.write", "jeton.tenants.read"]);
    let client = wire::Client { allowed_scopes: scopes.clone(), default_scopes: scopes, ..plain() };
    let caller = service.caller(&service.client_in("default", client).await).await;
    let settings = wire::TenantSettings { eternal_tokens: Some(true), ..Default::default() };
    let tenant = wire::Tenant { settings: Some(settings), ..Default::default() };
    let result = caller.update_tenant(wire::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() }).await;
    refused(result, Reason::ScopeInsufficient);
}

async fn an_admission_that_was_confined_since_ends_wider_families(service: Service) {
    service.tenant("host", Default::default()).await;
    let (home, beside) = (service.account_in("host", "").await, service.account_in("host", "").await);
    let client = service.client().await;
    let admin = service.admin().await;
    let confined_to = |account: &str| {
        let admission = wire::Admission {
            client_id: client.client_id.clone(),
            scopes: owned(&["pay"]),
            account_id: account.to_owned(),
            ..Default::default()
        };
        admit("host", admission)
    };
    let issue = async || {
        let request = client.client_credentials().tenant("host").scopes(&["pay"]).refresh();
        service.anonymous().issue(request).await
    };
    let renew =
        async |token: &wire::IssuedToken| service.anonymous().renew_token(client.renew(&token.refresh_token)).await;

    admin.admit_client(confined_to("")).await.unwrap();
    let wide = issue().await;
    admin.admit_client(confined_to(&home)).await.unwrap();
    refused(renew(&wide).await, Reason::RefreshInvalid);
    let narrow = issue().await;
    assert_eq!(service.introspect(&narrow.access_token).await.account_id, home);
    admin.admit_client(confined_to(&beside)).await.unwrap();
    refused(renew(&narrow).await, Reason::RefreshInvalid);
    // Nothing was consumed: what is within reach again is renewed, and stays as narrow as it was granted.
    admin.admit_client(confined_to("")).await.unwrap();
    let renewed = renew(&narrow).await.unwrap().token.unwrap();
    assert_eq!(service.introspect(&renewed.access_token).await.account_id, home);
    renew(&wide).await.unwrap();
}

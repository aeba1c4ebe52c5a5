//! Authority never grows: what a bearer may do now, and what it hands on.

use std::time::Duration;

use jeton::api::{wire, wire::TokenFormat};
use jeton_contract::reason::Reason;

use super::{
    calls::{
        Credentials, IssueExt as _, client_credentials, exchange, for_account, for_group, for_member, owned, refused,
        refused_fields, seconds,
    },
    harness::{PUBLIC_URL, Service, manager, plain},
    memberships,
    people::{PASSWORD, People},
};

on_both_stores! {
    a_confined_client_introspects_its_own_subtree_only
    a_demotion_counts_at_once_and_is_not_undone_by_the_demoted
    a_demoted_guest_has_what_its_admission_leaves
    tokens_that_manage_jeton_live_an_hour_at_most
    the_longest_life_of_a_management_token_is_a_setting
    a_renewed_management_token_is_as_short_as_today_allows
    what_a_derived_bearer_mints_is_within_it_and_dies_with_it
    a_family_of_a_derived_bearer_ends_with_it
    an_impersonation_is_a_parent_too
    a_derived_bearer_does_not_renew_for_its_client
    a_member_signed_in_by_a_derived_bearer_is_signed_out_with_it
    a_clients_own_token_issues_what_outlives_it
}

fn issuer() -> String {
    format!("{PUBLIC_URL}/t/default")
}

async fn a_confined_client_introspects_its_own_subtree_only(service: Service) {
    let (home, beside) = (service.account("").await, service.account("").await);
    let below = service.account(&home).await;
    let confined = service.client_in("default", wire::Client { account_id: home.clone(), ..plain() }).await;
    let free = service.client().await;
    let bearer = service.anonymous().issue(confined.client_credentials().scopes(&["jeton.tokens.introspect"])).await;
    let bearer = service.bearer(&bearer.access_token);
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        for (account, seen) in [(&home, true), (&below, true), (&beside, false)] {
            let token = service.anonymous().issue(free.account(account).format(format)).await.access_token;
            let introspection = service.anonymous().introspect(confined.introspect(&token)).await;
            assert_eq!(introspection.active, Some(seen), "{format:?}");
            let ask = wire::IntrospectTokenRequest { token: token.clone(), ..Default::default() };
            assert_eq!(bearer.introspect(ask).await.active, Some(seen), "{format:?}");
            let batch = wire::BatchIntrospectTokensRequest { tokens: vec![token.clone()], ..Default::default() };
            let introspection = bearer.batch_introspect_tokens(batch).await.unwrap().introspections;
            assert_eq!(introspection[0].active, Some(seen));
            assert!(service.is_active(&token).await);
        }
        // What is not confined at all is no part of the subtree either.
        let token = service.anonymous().issue(free.client_credentials().format(format)).await.access_token;
        assert_eq!(service.anonymous().introspect(confined.introspect(&token)).await.active, Some(false));
    }
}

/// Sets what a client of tenant `default` may ask for.
async fn allow(service: &Service, client: &Credentials, scopes: &[&str]) {
    let client =
        wire::Client { allowed_scopes: owned(scopes), client_id: client.client_id.clone(), ..Default::default() };
    let mask = prost_types::FieldMask { paths: owned(&["allowed_scopes", "default_scopes"]) };
    let request =
        wire::UpdateClientRequest { tenant_id: "default".into(), client: Some(client), update_mask: Some(mask) };
    service.admin().await.update_client(request).await.unwrap();
}

async fn a_demotion_counts_at_once_and_is_not_undone_by_the_demoted(service: Service) {
    let client = service.client_in("default", manager()).await;
    let account = service.account("").await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        allow(&service, &client, &manager().allowed_scopes.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let ask =
            client.client_credentials().format(format).scopes(&["jeton.clients.write", "jeton.clients.read", "pay"]);
        let bearer = service.bearer(&service.anonymous().issue(ask).await.access_token);
        bearer.list_clients(Default::default()).await.unwrap();
        allow(&service, &client, &[]).await;
        refused(bearer.list_clients(Default::default()).await, Reason::ScopeInsufficient);
        let back = wire::Client {
            client_id: client.client_id.clone(),
            allowed_scopes: manager().allowed_scopes,
            ..Default::default()
        };
        let back = wire::UpdateClientRequest { client: Some(back), ..Default::default() };
        refused(bearer.update_client(back).await, Reason::ScopeInsufficient);
        refused(bearer.issue_token(for_account(&account)).await, Reason::ScopeInsufficient);
        // Who it is it may still ask.
        bearer.get_caller(Default::default()).await.unwrap();
        // What comes back is what the token had, no more.
        allow(&service, &client, &["jeton.clients.read", "jeton.accounts.read"]).await;
        bearer.get_caller(Default::default()).await.unwrap();
        bearer.list_clients(Default::default()).await.unwrap();
        refused(bearer.list_accounts(Default::default()).await, Reason::ScopeInsufficient);
    }
}

async fn a_demoted_guest_has_what_its_admission_leaves(service: Service) {
    service.tenant("other", Default::default()).await;
    let guest = service.client_in("other", manager()).await;
    let admit = async |scopes: &[&str]| {
        let admission =
            wire::Admission { client_id: guest.client_id.clone(), scopes: owned(scopes), ..Default::default() };
        let request = wire::AdmitClientRequest { tenant_id: "default".into(), admission: Some(admission) };
        service.admin().await.admit_client(request).await.unwrap();
    };
    admit(&["jeton.clients.read"]).await;
    let ask = guest.client_credentials().tenant("default").scopes(&["jeton.clients.read"]);
    let token = service.anonymous().issue(ask).await;
    let bearer = service.bearer(&token.access_token);
    bearer.list_clients(Default::default()).await.unwrap();
    admit(&["jeton.accounts.read"]).await;
    refused(bearer.list_clients(Default::default()).await, Reason::ScopeInsufficient);
    refused(bearer.list_accounts(Default::default()).await, Reason::ScopeInsufficient);
}

async fn tokens_that_manage_jeton_live_an_hour_at_most(service: Service) {
    service.set(wire::TenantSettings { eternal_tokens: Some(true), ..Default::default() }).await;
    let client = service.client_in("default", manager()).await;
    let account = service.account("").await;
    let nobody = service.anonymous();
    for ask in [client.client_credentials(), client.account(&account)] {
        let ask = ask.scopes(&["jeton.accounts.read"]).format(TokenFormat::Opaque);
        refused_fields(nobody.issue_token(ask.clone().expires_in("3601")).await, Reason::TtlOutOfRange, &["lifetime"]);
        refused(nobody.issue_token(ask.clone().never()).await, Reason::EternalNotAllowed);
        assert_eq!(nobody.issue(ask.clone().expires_in("3600")).await.expires_in, Some(3600));
        assert!(nobody.issue(ask.clone()).await.expires_in <= Some(3600), "the default is capped");
        // Others are as they were.
        nobody.issue(ask.clone().scopes(&["pay"]).expires_in("90d")).await;
        nobody.issue(ask.scopes(&["pay"]).never()).await;
    }
}

async fn the_longest_life_of_a_management_token_is_a_setting(service: Service) {
    let longest = async || {
        let get = wire::GetTenantRequest { tenant_id: "default".into() };
        let tenant = service.admin().await.get_tenant(get).await.unwrap().tenant.unwrap();
        tenant.settings.unwrap().max_management_token_ttl
    };
    assert_eq!(longest().await, Some(seconds(3600)));
    let client = service.client_in("default", manager()).await;
    let ask = |text: &str| client.client_credentials().scopes(&["jeton.accounts.read"]).expires_in(text);
    service.set(wire::TenantSettings { max_management_token_ttl: Some(seconds(7200)), ..Default::default() }).await;
    service.anonymous().issue(ask("2h")).await;
    refused(service.anonymous().issue_token(ask("7201")).await, Reason::TtlOutOfRange);
    service.set(wire::TenantSettings { max_management_token_ttl: Some(seconds(60)), ..Default::default() }).await;
    assert_eq!(service.anonymous().issue(client.client_credentials()).await.expires_in, Some(60));
    let beyond = wire::TenantSettings { max_management_token_ttl: Some(seconds(91 * 86_400)), ..Default::default() };
    let tenant = wire::Tenant { tenant_id: "default".into(), settings: Some(beyond), ..Default::default() };
    let request = wire::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() };
    let field = "tenant.settings.max_management_token_ttl";
    refused_fields(service.admin().await.update_tenant(request).await, Reason::InvalidField, &[field]);
    // Never longer than any token.
    let short = wire::TenantSettings {
        max_token_ttl: Some(seconds(30)),
        client_token_ttl: Some(seconds(30)),
        max_management_token_ttl: Some(seconds(30)),
        ..Default::default()
    };
    service.set(short).await;
    assert_eq!(longest().await, Some(seconds(30)));
}

async fn a_renewed_management_token_is_as_short_as_today_allows(service: Service) {
    let client = service.client_in("default", manager()).await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let ask =
            client.client_credentials().scopes(&["jeton.accounts.read"]).format(format).expires_in("1h").refresh();
        let first = service.anonymous().issue(ask).await;
        service.set(wire::TenantSettings { max_management_token_ttl: Some(seconds(60)), ..Default::default() }).await;
        let renewed = service.anonymous().renew(client.renew(&first.refresh_token)).await;
        assert_eq!(renewed.expires_in, Some(60));
        service.set(wire::TenantSettings { max_management_token_ttl: Some(seconds(3600)), ..Default::default() }).await;
    }
}

/// A client that may use every grant.
fn broker() -> wire::Client {
    let mut client = manager();
    client.allowed_grants.push(wire::GrantType::TokenExchange.into());
    client.allowed_scopes = client.allowed_scopes.into_iter().chain(owned(&["invoices.write"])).collect();
    client
}

/// A bearer that `broker` obtained in exchange for a token of `client`, with the subject token.
async fn exchanged(service: &Service, client: &Credentials, broker: &Credentials, format: TokenFormat) -> [String; 2] {
    let scopes = ["jeton.tokens.issue", "pay"];
    let subject = service.anonymous().issue(client.client_credentials().scopes(&scopes).expires_in("30m")).await;
    let ask = broker.with(exchange(&subject.access_token, "")).scopes(&["jeton.tokens.issue"]).format(format);
    let bearer = service.anonymous().issue(ask.expires_in("20m")).await;
    [subject.access_token, bearer.access_token]
}

async fn what_a_derived_bearer_mints_is_within_it_and_dies_with_it(service: Service) {
    let broker = service.client_in("default", broker()).await;
    let client = service.client().await;
    let manager = memberships::caller(&service).await;
    let account = service.account("").await;
    let member = memberships::member(&manager, "").await;
    memberships::join(&manager, memberships::place(&account, &member, &[])).await.unwrap();
    let group = wire::EntityGroup { display_name: "g".into(), ..Default::default() };
    let group = wire::CreateEntityGroupRequest { entity_group: Some(group), ..Default::default() };
    let group = manager.create_entity_group(group).await.unwrap().entity_group.unwrap().entity_group_id;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let other = service.anonymous().issue(client.account(&account)).await.access_token;
        for ask in [for_account(&account), for_member(&member, &account), for_group(&group, ""), exchange(&other, "")] {
            let [subject, bearer] = exchanged(&service, &client, &broker, format).await;
            let bearer = service.bearer(&bearer);
            refused(bearer.issue_token(ask.clone().scopes(&["invoices.read"])).await, Reason::ScopeNotAllowed);
            refused(bearer.issue_token(ask.clone().expires_in("21m")).await, Reason::TtlOutOfRange);
            let token = bearer.issue(ask.clone().format(format)).await;
            assert!(token.expires_in <= Some(20 * 60), "the default is capped");
            assert!(service.is_active(&token.access_token).await);
            service.anonymous().revoke(&subject).await;
            assert!(!service.is_active(&token.access_token).await, "{ask:?}");
        }
    }
}

async fn a_family_of_a_derived_bearer_ends_with_it(service: Service) {
    let broker = service.client_in("default", broker()).await;
    let (client, account) = (service.client().await, service.account("").await);
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let [subject, bearer] = exchanged(&service, &client, &broker, format).await;
        let token = service.bearer(&bearer).issue(for_account(&account).format(format).refresh()).await;
        let end = service.clock.now().plus(Duration::from_secs(20 * 60)).as_secs();
        assert!(u64::try_from(token.refresh_expire_time.unwrap().seconds).unwrap() <= end);
        let renewed = service.anonymous().renew(broker.renew(&token.refresh_token)).await;
        assert!(u64::try_from(renewed.expire_time.unwrap().seconds).unwrap() <= end);
        service.anonymous().revoke(&subject).await;
        assert_eq!(service.active(&[&token.access_token, &renewed.access_token]).await, [false, false]);
        let again = service.anonymous().renew_token(broker.renew(&renewed.refresh_token)).await;
        refused(again, Reason::RefreshInvalid);
    }
}

async fn an_impersonation_is_a_parent_too(service: Service) {
    let client = service.client_in("default", broker()).await;
    let account = service.account("").await;
    let below = service.account(&account).await;
    let ask = client.account(&account).scopes(&["jeton.tokens.issue"]).audience(&[&issuer()]).expires_in("10m");
    let bearer = service.anonymous().issue(ask).await;
    let acting = service.bearer(&bearer.access_token);
    refused(acting.issue_token(for_account(&below).scopes(&["pay"])).await, Reason::ScopeNotAllowed);
    refused(acting.issue_token(for_account(&below).expires_in("11m")).await, Reason::TtlOutOfRange);
    let token = acting.issue(for_account(&below)).await;
    service.anonymous().revoke(&bearer.access_token).await;
    assert!(!service.is_active(&token.access_token).await);
}

async fn a_derived_bearer_does_not_renew_for_its_client(service: Service) {
    let client = service.client_in("default", broker()).await;
    let own = service.anonymous().issue(client.client_credentials().scopes(&["jeton.tokens.issue"])).await;
    let ask = client.with(exchange(&own.access_token, "")).scopes(&["jeton.tokens.issue"]);
    let derived = service.anonymous().issue(ask).await;
    let family =
        service.anonymous().issue(client.client_credentials().scopes(&["pay"]).expires_in("1d").refresh()).await;
    let renew = wire::RenewTokenRequest { refresh_token: family.refresh_token, ..Default::default() };
    let refusal = service.bearer(&derived.access_token).renew_token(renew.clone()).await;
    refused(refusal, Reason::RefreshInvalid);
    service.bearer(&own.access_token).renew(renew).await;
}

async fn a_member_signed_in_by_a_derived_bearer_is_signed_out_with_it(service: Service) {
    let people = People::new(&service).await;
    let account = service.account("").await;
    people.person("ada", std::slice::from_ref(&account)).await;
    let broker = service.client_in("default", broker()).await;
    let [subject, bearer] = exchanged(&service, &people.desk, &broker, TokenFormat::Jwt).await;
    let request = wire::AuthenticateMemberRequest {
        client_id: String::new(),
        client_secret: String::new(),
        ..people.by_password("ada", PASSWORD)
    };
    let page = service.bearer(&bearer).authenticate_member(request).await.unwrap();
    let token = page.tokens[0].token.clone().unwrap();
    assert!(token.expires_in <= Some(20 * 60) && service.is_active(&token.access_token).await);
    service.anonymous().revoke(&subject).await;
    assert!(!service.is_active(&token.access_token).await);
}

async fn a_clients_own_token_issues_what_outlives_it(service: Service) {
    let (client, account) = (service.client().await, service.account("").await);
    let bearer = service.anonymous().issue(client.client_credentials().scopes(&["jeton.tokens.issue"])).await;
    let own = service.bearer(&bearer.access_token);
    let token = own.issue(for_account(&account).scopes(&["pay"]).expires_in("90d")).await;
    refused(own.issue_token(client_credentials()).await, Reason::InvalidClient);
    service.anonymous().revoke(&bearer.access_token).await;
    assert!(service.is_active(&token.access_token).await);
}

//! Tokens for members: who they are frozen for, and what they may do now.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton::api::{
    wire,
    wire::{TokenFormat, revoke_all_tokens_request::Target},
};
use jeton_contract::reason::Reason;

use super::{
    calls::{
        Caller, Credentials, IssueExt as _, assert_inactive, exchange, for_member, owned, refused, refused_fields,
    },
    harness::{PUBLIC_URL, Service, manager, plain},
    memberships::{accept, caller, disable, enable, invite, join, leave, member, place, role},
};

on_both_stores! {
    a_member_acts_in_one_account
    what_a_member_may_do_is_looked_up_at_each_introspection
    a_token_ends_with_all_that_it_depends_on
    the_account_may_be_left_out_if_there_is_one_only
    one_that_may_not_act_gets_no_token
    a_renewed_token_is_the_same_members_and_ends_with_the_membership
    a_member_has_no_rights_at_jeton_itself
    tokens_of_a_member_are_listed_and_revoked_together
    an_exchanged_token_is_still_the_members
}

/// A member with a place in an account, and the client that its tokens come through.
struct Scene {
    manager: Caller,
    client: Credentials,
    account: String,
    member: String,
}

impl Scene {
    async fn of(service: &Service) -> Self {
        let manager = caller(service).await;
        let (account, member) = (service.account("").await, member(&manager, "ada").await);
        join(&manager, place(&account, &member, &[])).await.unwrap();
        Self { client: service.client().await, manager, account, member }
    }

    fn token(&self) -> wire::IssueTokenRequest {
        self.client.with(for_member(&self.member, &self.account))
    }

    async fn set_roles(&self, roles: &[&str]) {
        let membership = Some(place(&self.account, &self.member, roles));
        let request = wire::UpdateMembershipRequest { membership, ..Default::default() };
        self.manager.update_membership(request).await.unwrap();
    }
}

async fn a_member_acts_in_one_account(service: Service) {
    let scene = Scene::of(&service).await;
    role(&scene.manager, "clerk", "").await;
    scene.set_roles(&["clerk"]).await;
    for format in [TokenFormat::Unspecified, TokenFormat::Opaque] {
        let issued = service.anonymous().issue(scene.token().format(format)).await;
        assert_eq!((issued.expires_in, issued.scopes.as_slice()), (Some(3600), owned(&["invoices.read"]).as_slice()));
        let introspection = service.introspect(&issued.access_token).await;
        assert_eq!((introspection.active, introspection.subject_kind()), (Some(true), wire::SubjectKind::Member));
        assert_eq!((&introspection.subject, &introspection.member_id), (&scene.member, &scene.member));
        assert_eq!((&introspection.account_id, &introspection.client_id), (&scene.account, &scene.client.client_id));
        assert_eq!((introspection.roles, introspection.actor), (owned(&["clerk"]), None));
        if format == TokenFormat::Unspecified {
            let claims = issued.access_token.split('.').nth(1).unwrap();
            let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
            assert_eq!((&claims["sub"], &claims["mem"]), (&scene.member.clone().into(), &scene.member.clone().into()));
            assert_eq!(claims["acc"], scene.account);
            assert!(!claims.to_string().contains("clerk"), "roles are not frozen: {claims}");
        }
    }
    // By foreign ids, and for as long as the tenant says.
    let hour = wire::TenantSettings { member_token_ttl: Some(super::calls::seconds(60)), ..Default::default() };
    let tenant = wire::Tenant { tenant_id: "default".into(), settings: Some(hour), ..Default::default() };
    let request = wire::UpdateTenantRequest { tenant: Some(tenant), update_mask: None };
    service.admin().await.update_tenant(request).await.unwrap();
    let issued = service.anonymous().issue(scene.client.with(for_member("ada", &scene.account))).await;
    assert_eq!(issued.expires_in, Some(60));
}

async fn what_a_member_may_do_is_looked_up_at_each_introspection(service: Service) {
    let scene = Scene::of(&service).await;
    let clerk = role(&scene.manager, "clerk", "").await;
    role(&scene.manager, "boss", &scene.account).await;
    let token = service.anonymous().issue(scene.token()).await.access_token;
    let introspection = async || {
        let one = service.introspect(&token).await;
        let batch = wire::BatchIntrospectTokensRequest {
            client_id: service.admin.client_id.clone(),
            client_secret: service.admin.client_secret.clone(),
            tokens: vec![token.clone(), token.clone()],
            ..Default::default()
        };
        let batch = service.anonymous().batch_introspect_tokens(batch).await.unwrap().introspections;
        for answer in &batch {
            assert_eq!((&answer.roles, &answer.permissions), (&one.roles, &one.permissions));
        }
        (one.roles, one.permissions)
    };
    let set = async |name: &str, permissions: &[&str]| {
        let role = wire::Role {
            role_id: clerk.clone(),
            name: name.into(),
            permissions: owned(permissions),
            ..Default::default()
        };
        let request = wire::UpdateRoleRequest { role: Some(role), ..Default::default() };
        scene.manager.update_role(request).await.unwrap();
    };
    assert_eq!(introspection().await, (Vec::new(), Vec::new()));
    set("clerk", &["invoice.read", "invoice.approve:own"]).await;
    assert_eq!(introspection().await, (Vec::new(), Vec::new()));
    scene.set_roles(&["clerk", "boss"]).await;
    assert_eq!(introspection().await, (owned(&["clerk", "boss"]), owned(&["invoice.read", "invoice.approve:own"])));
    set("chief", &["invoice.*"]).await;
    assert_eq!(introspection().await, (owned(&["chief", "boss"]), owned(&["invoice.*"])));
    scene.set_roles(&[]).await;
    assert_eq!(introspection().await, (Vec::new(), Vec::new()));
}

async fn a_token_ends_with_all_that_it_depends_on(service: Service) {
    let scene = Scene::of(&service).await;
    let Scene { manager, account, member, .. } = &scene;
    let issue = async || service.anonymous().issue(scene.token()).await.access_token;
    let before = issue().await;
    disable(manager, account, member).await.unwrap();
    assert!(!service.is_active(&before).await);
    refused(service.anonymous().issue_token(scene.token()).await, Reason::Disabled);
    enable(manager, account, member).await.unwrap();
    assert!(!service.is_active(&before).await, "what was dead stays dead");
    let before = issue().await;
    assert!(service.is_active(&before).await);
    let by_id = || (member.clone(), "default".to_owned());
    let (member_id, tenant_id) = by_id();
    manager.disable_member(wire::DisableMemberRequest { member_id, tenant_id }).await.unwrap();
    assert!(!service.is_active(&before).await);
    refused(service.anonymous().issue_token(scene.token()).await, Reason::Disabled);
    let (member_id, tenant_id) = by_id();
    manager.enable_member(wire::EnableMemberRequest { member_id, tenant_id }).await.unwrap();
    assert!(!service.is_active(&before).await);
    let before = issue().await;
    let disable = wire::DisableAccountRequest { account_id: account.clone(), ..Default::default() };
    manager.disable_account(disable).await.unwrap();
    assert!(!service.is_active(&before).await);
    let enable = wire::EnableAccountRequest { account_id: account.clone(), ..Default::default() };
    manager.enable_account(enable).await.unwrap();
    let before = issue().await;
    leave(manager, account, member).await.unwrap();
    assert_inactive(&service.introspect(&before).await);
    refused(service.anonymous().issue_token(scene.token()).await, Reason::NotFound);
    join(manager, place(account, member, &[])).await.unwrap();
    assert!(!service.is_active(&before).await);
    let before = issue().await;
    let (member_id, tenant_id) = by_id();
    manager.delete_member(wire::DeleteMemberRequest { member_id, tenant_id, etag: String::new() }).await.unwrap();
    assert!(!service.is_active(&before).await);
    refused(service.anonymous().issue_token(scene.token()).await, Reason::NotFound);
}

async fn the_account_may_be_left_out_if_there_is_one_only(service: Service) {
    let scene = Scene::of(&service).await;
    let request = || scene.client.with(for_member("ada", ""));
    let token = service.anonymous().issue(request()).await;
    assert_eq!(service.introspect(&token.access_token).await.account_id, scene.account);
    let other = service.account("").await;
    join(&scene.manager, place(&other, "ada", &[])).await.unwrap();
    refused_fields(service.anonymous().issue_token(request()).await, Reason::InvalidField, &["member.account_id"]);
    leave(&scene.manager, &scene.account, "ada").await.unwrap();
    let token = service.anonymous().issue(request()).await;
    assert_eq!(service.introspect(&token.access_token).await.account_id, other);
    leave(&scene.manager, &other, "ada").await.unwrap();
    refused(service.anonymous().issue_token(request()).await, Reason::NotFound);
    // A confined client's own account is the one.
    join(&scene.manager, place(&other, "ada", &[])).await.unwrap();
    join(&scene.manager, place(&scene.account, "ada", &[])).await.unwrap();
    let confined = service.client_in("default", wire::Client { account_id: other.clone(), ..plain() }).await;
    let token = service.anonymous().issue(confined.with(for_member("ada", ""))).await;
    assert_eq!(service.introspect(&token.access_token).await.account_id, other);
    let beyond = confined.with(for_member("ada", &scene.account));
    refused(service.anonymous().issue_token(beyond).await, Reason::NotFound);
}

async fn one_that_may_not_act_gets_no_token(service: Service) {
    let scene = Scene::of(&service).await;
    let issue = async |request: wire::IssueTokenRequest| service.anonymous().issue_token(request).await;
    let client = &scene.client;
    refused_fields(issue(client.with(for_member("", ""))).await, Reason::InvalidField, &["member.member_id"]);
    let other = service.account("").await;
    for (who, account) in [
        ("nobody", scene.account.as_str()),
        ("mem_1111111111111111111111", &scene.account),
        ("ada", &other),
        ("ada", "acc_1111111111111111111111"),
    ] {
        refused(issue(client.with(for_member(who, account))).await, Reason::NotFound);
    }
    member(&scene.manager, "guest").await;
    invite(&scene.manager, place(&scene.account, "guest", &[])).await.unwrap();
    let guest = || client.with(for_member("guest", &scene.account));
    refused(issue(guest()).await, Reason::Disabled);
    accept(&scene.manager, &scene.account, "guest").await.unwrap();
    issue(guest()).await.unwrap();
    refused(issue(scene.token().scopes(&["jeton.tokens.issue"])).await, Reason::ScopeNotAllowed);
    refused(issue(scene.token().scopes(&["nonsense"])).await, Reason::ScopeNotAllowed);
    let grants = vec![wire::GrantType::ClientCredentials.into()];
    let without = service.client_in("default", wire::Client { allowed_grants: grants, ..plain() }).await;
    refused(issue(without.with(for_member("ada", &scene.account))).await, Reason::GrantNotAllowed);
    let issuer = format!("{PUBLIC_URL}/t/default");
    let bearer = client.client_credentials().scopes(&["pay"]).audience(&[&issuer]);
    let bearer = service.anonymous().issue(bearer).await;
    let bearer = service.bearer(&bearer.access_token);
    refused(bearer.issue_token(for_member("ada", &scene.account)).await, Reason::ScopeInsufficient);
}

async fn a_renewed_token_is_the_same_members_and_ends_with_the_membership(service: Service) {
    let scene = Scene::of(&service).await;
    let zero = service.anonymous().issue(scene.token().refresh()).await;
    service.advance(Duration::from_secs(60));
    let one = service.anonymous().renew(scene.client.renew(&zero.refresh_token)).await;
    let introspection = service.introspect(&one.access_token).await;
    assert_eq!((&introspection.member_id, &introspection.account_id), (&scene.member, &scene.account));
    assert_eq!(service.introspect(&one.access_token).await.expire_time, one.expire_time);
    disable(&scene.manager, &scene.account, &scene.member).await.unwrap();
    let renewal = async || service.anonymous().renew_token(scene.client.renew(&one.refresh_token)).await;
    refused(renewal().await, Reason::RefreshInvalid);
    enable(&scene.manager, &scene.account, &scene.member).await.unwrap();
    refused(renewal().await, Reason::RefreshInvalid);
}

async fn a_member_has_no_rights_at_jeton_itself(service: Service) {
    let scene = Scene::of(&service).await;
    let issuer = format!("{PUBLIC_URL}/t/default");
    let token = service.anonymous().issue(scene.token().audience(&[&issuer])).await;
    let bearer = service.bearer(&token.access_token);
    let me = bearer.get_caller(wire::GetCallerRequest {}).await.unwrap().caller.unwrap();
    assert_eq!((me.member_id, me.subject), (scene.member.clone(), scene.member.clone()));
    let insufficient = Reason::ScopeInsufficient;
    refused(bearer.issue_token(super::calls::for_account(&scene.account)).await, insufficient);
    refused(bearer.issue_token(for_member(&scene.member, "")).await, insufficient);
    let get = wire::GetAccountRequest { account_id: scene.account.clone(), ..Default::default() };
    refused(bearer.get_account(get).await, insufficient);
    refused(bearer.list_tokens(super::calls::list_account(&scene.account)).await, insufficient);
    let target = wire::revoke_all_tokens_request::AccountTarget {
        account_id: scene.account.clone(),
        include_descendants: false,
    };
    let all = wire::RevokeAllTokensRequest { target: Some(Target::Account(target)), ..Default::default() };
    refused(bearer.revoke_all_tokens(all).await, insufficient);
    bearer.revoke(&token.access_token).await;
    assert!(!service.is_active(&token.access_token).await);
}

async fn tokens_of_a_member_are_listed_and_revoked_together(service: Service) {
    let scene = Scene::of(&service).await;
    let other = service.account("").await;
    join(&scene.manager, place(&other, "ada", &[])).await.unwrap();
    let here = service.anonymous().issue(scene.token()).await;
    let there = service.anonymous().issue(scene.client.with(for_member("ada", &other))).await;
    let accounts = service.anonymous().issue(scene.client.account(&scene.account)).await;
    let subject = wire::list_tokens_request::Subject::MemberId("ada".into());
    let list = wire::ListTokensRequest { subject: Some(subject), ..Default::default() };
    let mut listed: Vec<_> = scene.manager.list_tokens(list.clone()).await.unwrap().tokens;
    assert!(listed.iter().all(|token| token.member_id == scene.member));
    listed.sort_by(|a, b| a.token_id.cmp(&b.token_id));
    let mut expected = [here.token_id.clone(), there.token_id.clone()];
    expected.sort_unstable();
    assert_eq!(listed.iter().map(|token| token.token_id.clone()).collect::<Vec<_>>(), expected);
    let target =
        |id: &str| wire::RevokeAllTokensRequest { target: Some(Target::MemberId(id.to_owned())), ..Default::default() };
    refused(scene.manager.revoke_all_tokens(target("nobody")).await, Reason::NotFound);
    scene.manager.revoke_all_tokens(target("ada")).await.unwrap();
    let texts = [&*here.access_token, &*there.access_token, &*accounts.access_token];
    assert_eq!(service.active(&texts).await, [false, false, true]);
    assert!(service.is_active(&service.anonymous().issue(scene.token()).await.access_token).await);
    // A caller that cannot see members cannot end their tokens either.
    let confined = wire::Client { account_id: scene.account.clone(), ..manager() };
    let confined = service.caller(&service.client_in("default", confined).await).await;
    refused(confined.revoke_all_tokens(target("ada")).await, Reason::NotFound);
    refused(confined.list_tokens(list).await, Reason::NotFound);
}

async fn an_exchanged_token_is_still_the_members(service: Service) {
    let scene = Scene::of(&service).await;
    let grants = vec![wire::GrantType::TokenExchange.into()];
    let broker = service.client_in("default", wire::Client { allowed_grants: grants, ..plain() }).await;
    let subject = service.anonymous().issue(scene.token()).await.access_token;
    let narrow = service.anonymous().issue(broker.with(exchange(&subject, ""))).await.access_token;
    let introspection = service.introspect(&narrow).await;
    assert_eq!((introspection.subject_kind(), &introspection.member_id), (wire::SubjectKind::Member, &scene.member));
    assert_eq!((&introspection.account_id, &introspection.client_id), (&scene.account, &broker.client_id));
    disable(&scene.manager, &scene.account, &scene.member).await.unwrap();
    assert_eq!(service.active(&[&subject, &narrow]).await, [false, false]);
}

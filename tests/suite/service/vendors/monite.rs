//! Monite: tokens of the partner and of entity users, roles that count at once, secrets that overlap.

use std::time::Duration;

use jeton::api::{
    wire,
    wire::{client_secret::State, list_memberships_request::Of},
};
use jeton_contract::reason::Reason;

use super::{account, at_jeton};
use crate::service::{
    calls::{
        Caller, Credentials, IssueExt as _, assert_inactive, for_group, for_member, owned, refused, refused_fields,
        revoke, seconds,
    },
    harness::{Service, manager, plain},
    memberships::{join, list, member, place, role},
};

on_both_stores! {
    the_partner_and_an_entity_user_get_tokens
    a_change_of_the_role_counts_for_the_tokens_that_are_out
    a_token_is_revoked_at_once_with_the_clients_credentials
    a_secret_is_replaced_without_a_gap
    entity_users_and_roles_are_kept_and_found
    every_documented_error_has_its_reason
}

const DAY: i64 = 86_400;

/// The partner, with the entity `acme` in which `ada` has the role `approver`. Tokens live for a day.
struct Partner {
    manager: Caller,
    client: Credentials,
    acme: String,
    ada: String,
    approver: String,
}

impl Partner {
    async fn of(service: &Service) -> Self {
        let day = || Some(seconds(86_400));
        let settings = wire::TenantSettings { client_token_ttl: day(), member_token_ttl: day(), ..Default::default() };
        service.set(settings).await;
        let manager = service.caller(&service.client_in("default", manager()).await).await;
        let (acme, ada) = (account(service, "acme", "").await, member(&manager, "ada").await);
        let approver = role(&manager, "approver", "acme").await;
        set_permissions(&manager, &approver, &["payable.read", "payable.approve", "receivable.read:own"]).await;
        join(&manager, place("acme", "ada", &["approver"])).await.unwrap();
        Self { manager, client: service.client().await, acme, ada, approver }
    }

    fn token(&self) -> wire::IssueTokenRequest {
        self.client.with(for_member(&self.ada, ""))
    }
}

async fn set_permissions(manager: &Caller, role: &str, permissions: &[&str]) {
    let role = wire::Role { role_id: role.to_owned(), permissions: owned(permissions), ..Default::default() };
    manager.update_role(wire::UpdateRoleRequest { role: Some(role), ..Default::default() }).await.unwrap();
}

async fn the_partner_and_an_entity_user_get_tokens(service: Service) {
    let partner = Partner::of(&service).await;
    let issued = service.anonymous().issue(partner.client.client_credentials()).await;
    assert_eq!((issued.expires_in, issued.token_type.as_str()), (Some(DAY), "Bearer"));
    assert_eq!(service.introspect(&issued.access_token).await.subject, partner.client.client_id);

    // One call with the credentials in its body. The user's entity need not be named.
    let issued = service.anonymous().issue(partner.token()).await;
    assert_eq!((issued.expires_in, issued.token_type.as_str()), (Some(DAY), "Bearer"));
    // `my_entity` and `my_role` go to the one that was shown the token.
    let introspection = service.introspect(&issued.access_token).await;
    assert_eq!((&introspection.member_id, &introspection.account_id), (&partner.ada, &partner.acme));
    assert_eq!(introspection.roles, ["approver"]);
    assert_eq!(introspection.permissions, ["payable.read", "payable.approve", "receivable.read:own"]);
    // `me`, by the user itself.
    let itself = service.bearer(&service.anonymous().issue(at_jeton(partner.token())).await.access_token);
    let caller = itself.get_caller(Default::default()).await.unwrap().caller.unwrap();
    assert_eq!((caller.member_id, caller.roles), (partner.ada.clone(), owned(&["approver"])));
}

async fn a_change_of_the_role_counts_for_the_tokens_that_are_out(service: Service) {
    let partner = Partner::of(&service).await;
    let token = service.anonymous().issue(partner.token()).await.access_token;
    set_permissions(&partner.manager, &partner.approver, &["payable.read"]).await;
    let introspection = service.introspect(&token).await;
    assert_eq!((introspection.active, introspection.permissions), (Some(true), owned(&["payable.read"])));
    role(&partner.manager, "viewer", "").await;
    let membership = Some(place("acme", "ada", &["viewer"]));
    partner
        .manager
        .update_membership(wire::UpdateMembershipRequest { membership, ..Default::default() })
        .await
        .unwrap();
    let introspection = service.introspect(&token).await;
    assert_eq!(
        (introspection.active, introspection.roles, introspection.permissions),
        (Some(true), owned(&["viewer"]), vec![])
    );
    // The user's own token reads itself at jeton only if it is meant for jeton.
    refused(service.bearer(&token).get_caller(Default::default()).await, Reason::TokenInvalid);
    let disable = wire::DisableAccountRequest { account_id: "acme".into(), ..Default::default() };
    partner.manager.disable_account(disable).await.unwrap();
    assert_inactive(&service.introspect(&token).await);
    refused(service.anonymous().issue_token(partner.token()).await, Reason::Disabled);
    let enable = wire::EnableAccountRequest { account_id: "acme".into(), ..Default::default() };
    partner.manager.enable_account(enable).await.unwrap();
    service.anonymous().issue(partner.token()).await;
}

async fn a_token_is_revoked_at_once_with_the_clients_credentials(service: Service) {
    let partner = Partner::of(&service).await;
    let nobody = service.anonymous();
    let (one, two) = (nobody.issue(partner.token()).await, nobody.issue(partner.token()).await);
    let with = |client: &Credentials, token: &str| wire::RevokeTokenRequest {
        client_id: client.client_id.clone(),
        client_secret: client.client_secret.clone(),
        ..revoke(token)
    };
    let wrong = Credentials::new(&partner.client.client_id, "jcs_wrong");
    refused(nobody.revoke_token(with(&wrong, &one.access_token)).await, Reason::InvalidClient);
    assert!(service.is_active(&one.access_token).await);
    // Again, and of a token that is none, is no error (RFC 7009).
    for token in [&*one.access_token, &one.access_token, "garbage"] {
        nobody.revoke_token(with(&partner.client, token)).await.unwrap();
    }
    assert_inactive(&service.introspect(&one.access_token).await);
    assert!(service.is_active(&two.access_token).await, "and no other one");
}

async fn a_secret_is_replaced_without_a_gap(service: Service) {
    let partner = Partner::of(&service).await;
    let client_id = || partner.client.client_id.clone();
    let create = wire::CreateClientSecretRequest { client_id: client_id(), ..Default::default() };
    let second = partner.manager.create_client_secret(create).await.unwrap();
    let second = Credentials::new(&client_id(), &second.client_secret);
    let works = async |client: &Credentials| {
        let works = service.anonymous().issue_token(client.client_credentials()).await.is_ok();
        // The use is noted behind the reply; of two at once one may be lost.
        service.settle().await;
        works
    };
    assert!(works(&partner.client).await && works(&second).await);
    let list = async || {
        let list = wire::ListClientSecretsRequest { client_id: client_id(), ..Default::default() };
        partner.manager.list_client_secrets(list).await.unwrap().secrets
    };
    let listed = list().await;
    assert_eq!(listed.len(), 2);
    for (secret, text) in listed.iter().zip([&partner.client.client_secret, &second.client_secret]) {
        assert!(secret.last_used_time.is_some() && secret.state() == State::Active);
        assert!(!secret.mask.contains(&text[8..text.len() - 8]), "{}", secret.mask);
    }
    let revoke = wire::RevokeClientSecretRequest {
        client_id: client_id(),
        secret_id: listed[0].secret_id.clone(),
        delay: Some(seconds(60)),
        ..Default::default()
    };
    let revoked = partner.manager.revoke_client_secret(revoke).await.unwrap().secret.unwrap();
    assert_eq!((revoked.state(), revoked.revoke_time.is_some()), (State::ScheduledToRevoke, true));
    service.advance(Duration::from_secs(59));
    assert!(works(&partner.client).await && works(&second).await);
    service.advance(Duration::from_secs(1));
    assert!(!works(&partner.client).await && works(&second).await);
    assert_eq!(list().await[0].state(), State::Revoked);
}

async fn entity_users_and_roles_are_kept_and_found(service: Service) {
    let partner = Partner::of(&service).await;
    let manager = &partner.manager;
    let person = wire::Member {
        foreign_id: "grace".into(),
        display_name: "Grace Hopper".into(),
        first_name: "Grace".into(),
        last_name: "Hopper".into(),
        email: "grace@example.com".into(),
        phone: "+1 555".into(),
        title: "Rear admiral".into(),
        ..Default::default()
    };
    let create = wire::CreateMemberRequest { member: Some(person.clone()), ..Default::default() };
    let made = manager.create_member(create.clone()).await.unwrap().member.unwrap();
    assert_eq!((made.first_name, made.title), (person.first_name, person.title));
    let found = async |filter: &str| {
        let list = wire::ListMembersRequest { filter: filter.into(), ..Default::default() };
        let found = manager.list_members(list).await.unwrap().members;
        let mut found: Vec<_> = found.into_iter().map(|member| member.foreign_id).collect();
        found.sort_unstable();
        found
    };
    let either = format!("member_id = {} OR member_id = {}", made.member_id, partner.ada);
    assert_eq!(found(&either).await, ["ada", "grace"]);
    assert_eq!(found("first_name = \"Gra*\"").await, ["grace"]);
    assert_eq!(found("last_name:HOP AND state = ENABLED").await, ["grace"]);
    let now = jeton::notation::moment::format(service.clock.now());
    assert_eq!(found(&format!("create_time <= \"{now}\"")).await, ["ada", "grace"]);
    assert!(found(&format!("create_time > \"{now}\"")).await.is_empty());
    join(manager, place("acme", "grace", &[])).await.unwrap();
    let with_role = list(manager, Of::AccountId("acme".into()), &format!("role_id:{}", partner.approver)).await;
    assert_eq!(with_role, [(partner.acme.clone(), partner.ada.clone())]);
    // A page token belongs to its query.
    let first = wire::ListMembersRequest { page_size: 1, ..Default::default() };
    let page_token = manager.list_members(first.clone()).await.unwrap().next_page_token;
    let next = wire::ListMembersRequest { page_token, ..first };
    assert_eq!(manager.list_members(next.clone()).await.unwrap().members.len(), 1);
    let other = wire::ListMembersRequest { filter: "first_name = x".into(), ..next };
    refused(manager.list_members(other).await, Reason::PageTokenInvalid);
    refused(manager.create_member(create).await, Reason::ForeignIdTaken);
}

async fn every_documented_error_has_its_reason(service: Service) {
    let partner = Partner::of(&service).await;
    let (nobody, client) = (service.anonymous(), &partner.client);
    // POST /auth/token: 400 and 422.
    let wrong = Credentials::new(&client.client_id, "jcs_wrong");
    refused(nobody.issue_token(wrong.client_credentials()).await, Reason::InvalidClient);
    let none = wire::IssueTokenRequest { grant: None, ..client.client_credentials() };
    refused_fields(nobody.issue_token(none).await, Reason::InvalidField, &["grant"]);
    let nameless = client.with(for_member("", ""));
    refused_fields(nobody.issue_token(nameless).await, Reason::InvalidField, &["member.member_id"]);
    let several =
        wire::IssueTokenRequest { session_id: "a b".into(), request_id: "x".into(), ..client.with(for_member("", "")) };
    let fields = ["member.member_id", "session_id", "request_id"];
    refused_fields(nobody.issue_token(several).await, Reason::InvalidField, &fields);
    let only = wire::Client { allowed_grants: vec![wire::GrantType::ClientCredentials.into()], ..plain() };
    let only = service.client_in("default", only).await;
    refused(nobody.issue_token(only.with(for_member("ada", ""))).await, Reason::GrantNotAllowed);
    // A user of another entity, or of none, is as one that is not.
    account(&service, "other", "").await;
    member(&partner.manager, "elsewhere").await;
    join(&partner.manager, place("other", "elsewhere", &[])).await.unwrap();
    let ask = async |who: &str| {
        let status = refused(nobody.issue_token(client.with(for_member(who, "acme"))).await, Reason::NotFound);
        status.message().replace(who, "X")
    };
    assert_eq!(ask("elsewhere").await, ask("nobody").await);
    // Elsewhere: 401, 403, 404, 405, 409, 422.
    refused(nobody.list_members(Default::default()).await, Reason::TokenMissing);
    let narrow =
        service.bearer(&nobody.issue(client.client_credentials().scopes(&["jeton.tokens.issue"])).await.access_token);
    refused(narrow.list_members(Default::default()).await, Reason::ScopeInsufficient);
    let get = wire::GetMemberRequest { member_id: "nobody".into(), ..Default::default() };
    refused(partner.manager.get_member(get).await, Reason::NotFound);
    refused(nobody.issue_token(client.with(for_group("nowhere", ""))).await, Reason::NotFound);
    let delete = wire::DeleteRoleRequest { role_id: partner.approver.clone(), ..Default::default() };
    refused(partner.manager.delete_role(delete).await, Reason::RoleInUse);
    let create = async |name: &str, permissions: &[&str]| {
        let role = wire::Role {
            name: name.into(),
            account_id: "acme".into(),
            permissions: owned(permissions),
            ..Default::default()
        };
        partner.manager.create_role(wire::CreateRoleRequest { role: Some(role), ..Default::default() }).await
    };
    refused(create("approver", &[]).await, Reason::RoleNameTaken);
    create("Approver", &[]).await.unwrap();
    refused_fields(create("n", &["payable"]).await, Reason::InvalidField, &["role.permissions[0]"]);
    refused_fields(create("näme", &[]).await, Reason::InvalidField, &["role.name"]);
}

//! Nothing of one tenant is visible to another: to B, an id of A is as an id that never existed.

use std::fmt::Debug;

use jeton::api::wire::{self, list_memberships_request::Of, revoke_all_tokens_request::Target};
use tonic::{Code, Status};

use super::{
    calls::{Caller, IssueExt as _, for_account, for_group, for_member, list_account, list_client, revoke_id, seen},
    groups,
    harness::{Service, manager},
    memberships,
    people::brought,
};

on_both_stores! {
    an_id_of_another_tenant_is_as_one_that_never_existed
    naming_another_tenant_is_as_naming_one_that_never_existed
}

/// The ids of one tenant's things.
struct Ids {
    client: String,
    account: String,
    member: String,
    role: String,
    profile: String,
    group: String,
    token: String,
    key: String,
    secret: String,
}

/// The caller's client, and a group and a member of its own tenant.
struct Own {
    client: String,
    group: String,
    member: String,
}

/// A method, and what a caller can tell of its reply.
type Told = (&'static str, (Code, String, Vec<u8>));

/// What a caller can tell of a reply: the status with the id blotted out, or that it was OK.
fn told<T: Debug>(result: Result<T, Status>, ids: &[&str]) -> (Code, String, Vec<u8>) {
    match result {
        Ok(_) => (Code::Ok, String::new(), Vec::new()),
        Err(status) => {
            let id = ids.iter().find(|id| status.details().windows(id.len()).any(|part| part == id.as_bytes()));
            seen(&status, id.unwrap_or(&"no id is in it"))
        }
    }
}

/// Every call that takes an id, made with the ids of `ids` in `tenant` (empty: the caller's own).
async fn every_call(b: &Caller, own: &Own, ids: &Ids, tenant: &str) -> Vec<Told> {
    let Own { client: own, group: own_group, member: own_member } = own;
    let Ids { client, account, member, role, profile, group, token, key, secret } = ids;
    let blot = [tenant, client, account, member, role, profile, group, token, key, secret]
        .into_iter()
        .filter(|id| !id.is_empty())
        .collect::<Vec<_>>();
    let blot = blot.as_slice();
    let (tenant_id, client_id, account_id) = (|| tenant.to_owned(), || client.clone(), || account.clone());
    let named = || wire::Account { display_name: "x".into(), ..Default::default() };
    let mut all = Vec::new();
    macro_rules! call {
        ($method:ident $($message:tt)*) => {
            all.push((stringify!($method), told(b.$method($($message)*).await, blot)))
        };
    }
    // TokenService. What is listed and revoked by id, and what is issued for accounts.
    call!(issue_token wire::IssueTokenRequest { tenant_id: tenant_id(), ..for_account(account) });
    call!(issue_token wire::IssueTokenRequest { tenant_id: tenant_id(), ..for_member(member, account) });
    call!(issue_token wire::IssueTokenRequest { tenant_id: tenant_id(), ..for_member(member, "") });
    let password =
        wire::PasswordMechanism { identity_profile_id: profile.clone(), username: "u".into(), password: "p".into() };
    call!(authenticate_member wire::AuthenticateMemberRequest {
        tenant_id: tenant_id(),
        mechanism: Some(wire::authenticate_member_request::Mechanism::Password(password)),
        ..Default::default()
    });
    call!(authenticate_member wire::AuthenticateMemberRequest {
        tenant_id: tenant_id(),
        mechanism: Some(wire::authenticate_member_request::Mechanism::Oidc(brought(profile, "code"))),
        ..Default::default()
    });
    let of_member = wire::list_tokens_request::Subject::MemberId(member.clone());
    call!(list_tokens wire::ListTokensRequest {
        tenant_id: tenant_id(), subject: Some(of_member), ..Default::default()
    });
    call!(revoke_all_tokens wire::RevokeAllTokensRequest {
        tenant_id: tenant_id(), target: Some(Target::MemberId(member.clone())), ..Default::default()
    });
    call!(get_token wire::GetTokenRequest { tenant_id: tenant_id(), token_id: token.clone() });
    call!(revoke_token wire::RevokeTokenRequest { tenant_id: tenant_id(), ..revoke_id(token) });
    call!(list_tokens wire::ListTokensRequest { tenant_id: tenant_id(), ..list_account(account) });
    call!(list_tokens wire::ListTokensRequest { tenant_id: tenant_id(), ..list_client(client) });
    let target = wire::revoke_all_tokens_request::AccountTarget { account_id: account_id(), include_descendants: true };
    call!(revoke_all_tokens wire::RevokeAllTokensRequest {
        tenant_id: tenant_id(), target: Some(Target::Account(target)), ..Default::default()
    });
    call!(revoke_all_tokens wire::RevokeAllTokensRequest {
        tenant_id: tenant_id(), target: Some(Target::ClientId(client_id())), ..Default::default()
    });
    // ClientService.
    let confined = wire::Client { account_id: account_id(), ..Default::default() };
    call!(create_client wire::CreateClientRequest { tenant_id: tenant_id(), client: Some(confined), ..Default::default() });
    call!(get_client wire::GetClientRequest { tenant_id: tenant_id(), client_id: client_id() });
    let renamed = wire::Client { client_id: client_id(), display_name: "x".into(), ..Default::default() };
    call!(update_client wire::UpdateClientRequest { tenant_id: tenant_id(), client: Some(renamed), ..Default::default() });
    call!(enable_client wire::EnableClientRequest { tenant_id: tenant_id(), client_id: client_id() });
    call!(disable_client wire::DisableClientRequest { tenant_id: tenant_id(), client_id: client_id() });
    call!(create_client_secret wire::CreateClientSecretRequest {
        tenant_id: tenant_id(), client_id: client_id(), ..Default::default()
    });
    call!(list_client_secrets wire::ListClientSecretsRequest { tenant_id: tenant_id(), client_id: client_id() });
    call!(revoke_client_secret wire::RevokeClientSecretRequest {
        tenant_id: tenant_id(), client_id: client_id(), secret_id: secret.clone(), ..Default::default()
    });
    call!(revoke_client_secret wire::RevokeClientSecretRequest {
        tenant_id: tenant_id(), client_id: own.to_owned(), secret_id: secret.clone(), ..Default::default()
    });
    call!(delete_client wire::DeleteClientRequest { tenant_id: tenant_id(), client_id: client_id(), ..Default::default() });
    // AccountService.
    call!(create_account wire::CreateAccountRequest {
        tenant_id: tenant_id(), account: Some(wire::Account { parent_id: account_id(), ..named() }), ..Default::default()
    });
    call!(get_account wire::GetAccountRequest { tenant_id: tenant_id(), account_id: account_id() });
    call!(update_account wire::UpdateAccountRequest {
        tenant_id: tenant_id(), account: Some(wire::Account { account_id: account_id(), ..named() }), ..Default::default()
    });
    call!(list_accounts wire::ListAccountsRequest { tenant_id: tenant_id(), parent_id: account_id(), ..Default::default() });
    call!(enable_account wire::EnableAccountRequest { tenant_id: tenant_id(), account_id: account_id() });
    call!(disable_account wire::DisableAccountRequest { tenant_id: tenant_id(), account_id: account_id() });
    call!(undelete_account wire::UndeleteAccountRequest { tenant_id: tenant_id(), account_id: account_id() });
    call!(delete_account wire::DeleteAccountRequest { tenant_id: tenant_id(), account_id: account_id(), ..Default::default() });
    // MemberService.
    let person = || wire::Member { member_id: member.clone(), display_name: "x".into(), ..Default::default() };
    let member_id = || member.clone();
    call!(get_member wire::GetMemberRequest { tenant_id: tenant_id(), member_id: member_id() });
    call!(update_member wire::UpdateMemberRequest {
        tenant_id: tenant_id(), member: Some(person()), ..Default::default()
    });
    call!(enable_member wire::EnableMemberRequest { tenant_id: tenant_id(), member_id: member_id() });
    call!(disable_member wire::DisableMemberRequest { tenant_id: tenant_id(), member_id: member_id() });
    call!(delete_member wire::DeleteMemberRequest {
        tenant_id: tenant_id(), member_id: member_id(), ..Default::default()
    });
    call!(set_password wire::SetPasswordRequest {
        tenant_id: tenant_id(), member_id: member_id(), identity_profile_id: profile.clone(), username: "u".into(),
        password: "long enough".into(), ..Default::default()
    });
    let identity = wire::link_identity_request::Identity::Username("u".into());
    call!(link_identity wire::LinkIdentityRequest {
        tenant_id: tenant_id(), member_id: member_id(), identity_profile_id: profile.clone(), identity: Some(identity)
    });
    call!(unlink_identity wire::UnlinkIdentityRequest {
        tenant_id: tenant_id(), member_id: member_id(), identity_profile_id: profile.clone()
    });
    let place = |roles: &[&str]| wire::Membership {
        account_id: account_id(),
        member_id: member_id(),
        role_ids: super::calls::owned(roles),
        ..Default::default()
    };
    call!(create_membership wire::CreateMembershipRequest {
        tenant_id: tenant_id(), membership: Some(place(&[])), ..Default::default()
    });
    call!(update_membership wire::UpdateMembershipRequest { tenant_id: tenant_id(), membership: Some(place(&[role])) });
    macro_rules! of_membership {
        ($($method:ident $request:ident)*) => {
            $(call!($method wire::$request {
                tenant_id: tenant_id(), account_id: account_id(), member_id: member_id()
            });)*
        };
    }
    of_membership! {
        get_membership GetMembershipRequest
        accept_membership AcceptMembershipRequest
        reject_membership RejectMembershipRequest
        enable_membership EnableMembershipRequest
        disable_membership DisableMembershipRequest
    }
    call!(delete_membership wire::DeleteMembershipRequest {
        tenant_id: tenant_id(), account_id: account_id(), member_id: member_id(), ..Default::default()
    });
    for of in [Of::AccountId(account_id()), Of::MemberId(member_id())] {
        call!(list_memberships wire::ListMembershipsRequest {
            tenant_id: tenant_id(), of: Some(of), ..Default::default()
        });
    }
    // EntityGroupService.
    let named = || wire::EntityGroup { display_name: "x".into(), ..Default::default() };
    let (group_id, entity_ids) = (|| group.clone(), || vec![account.clone()]);
    call!(create_entity_group wire::CreateEntityGroupRequest {
        tenant_id: tenant_id(), entity_group: Some(named()), entity_ids: entity_ids(), ..Default::default()
    });
    call!(get_entity_group wire::GetEntityGroupRequest { tenant_id: tenant_id(), entity_group_id: group_id() });
    let renamed = wire::EntityGroup { entity_group_id: group_id(), ..named() };
    call!(update_entity_group wire::UpdateEntityGroupRequest {
        tenant_id: tenant_id(), entity_group: Some(renamed), ..Default::default()
    });
    call!(add_entities wire::AddEntitiesRequest {
        tenant_id: tenant_id(), entity_group_id: group_id(), entity_ids: entity_ids(), ..Default::default()
    });
    call!(remove_entities wire::RemoveEntitiesRequest {
        tenant_id: tenant_id(), entity_group_id: group_id(), entity_ids: entity_ids()
    });
    call!(list_group_entities wire::ListGroupEntitiesRequest {
        tenant_id: tenant_id(), entity_group_id: group_id(), ..Default::default()
    });
    let place = |group: String, member: String, account: Option<String>| wire::GroupMember {
        entity_group_id: group,
        member_id: member,
        role_ids: vec![role.clone()],
        entity_roles: account
            .into_iter()
            .map(|account_id| wire::EntityRoles { account_id, ..Default::default() })
            .collect(),
        ..Default::default()
    };
    for (group, member, account) in [
        (group_id(), member_id(), None),
        (own_group.clone(), member_id(), None),
        (own_group.clone(), own_member.clone(), None),
        (own_group.clone(), own_member.clone(), Some(account_id())),
    ] {
        let named = Some(place(group, member, account));
        call!(upsert_group_member wire::UpsertGroupMemberRequest {
            tenant_id: tenant_id(), group_member: named, ..Default::default()
        });
    }
    for (entity_group_id, member_id) in [(group_id(), member_id()), (own_group.clone(), member_id())] {
        let (group, member) = (entity_group_id.clone(), member_id.clone());
        call!(get_group_member wire::GetGroupMemberRequest {
            tenant_id: tenant_id(), entity_group_id: group.clone(), member_id: member.clone()
        });
        call!(delete_group_member wire::DeleteGroupMemberRequest {
            tenant_id: tenant_id(), entity_group_id: group, member_id: member, ..Default::default()
        });
        call!(issue_token wire::IssueTokenRequest { tenant_id: tenant_id(), ..for_group(&entity_group_id, &member_id) });
    }
    call!(issue_token wire::IssueTokenRequest { tenant_id: tenant_id(), ..for_group(group, "") });
    call!(list_group_members wire::ListGroupMembersRequest {
        tenant_id: tenant_id(), entity_group_id: group_id(), ..Default::default()
    });
    for entity_group_id in [group_id(), own_group.clone()] {
        let from = wire::sync_group_members_request::CopyMembers::FromEntity(account_id());
        call!(sync_group_members wire::SyncGroupMembersRequest {
            tenant_id: tenant_id(), entity_group_id, copy_members: Some(from), ..Default::default()
        });
    }
    let of_group = wire::list_tokens_request::Subject::EntityGroupId(group_id());
    call!(list_tokens wire::ListTokensRequest {
        tenant_id: tenant_id(), subject: Some(of_group), ..Default::default()
    });
    call!(revoke_all_tokens wire::RevokeAllTokensRequest {
        tenant_id: tenant_id(), target: Some(Target::EntityGroupId(group_id())), ..Default::default()
    });
    call!(delete_entity_group wire::DeleteEntityGroupRequest {
        tenant_id: tenant_id(), entity_group_id: group_id(), ..Default::default()
    });
    // TenantService.
    let named = || wire::Role { role_id: role.clone(), name: "r".into(), ..Default::default() };
    call!(create_role wire::CreateRoleRequest {
        tenant_id: tenant_id(), role: Some(wire::Role { account_id: account_id(), ..named() }), ..Default::default()
    });
    call!(get_role wire::GetRoleRequest { tenant_id: tenant_id(), role_id: role.clone() });
    call!(update_role wire::UpdateRoleRequest { tenant_id: tenant_id(), role: Some(named()), ..Default::default() });
    call!(delete_role wire::DeleteRoleRequest { tenant_id: tenant_id(), role_id: role.clone(), ..Default::default() });
    call!(list_roles wire::ListRolesRequest { tenant_id: tenant_id(), account_id: account_id(), ..Default::default() });
    let named =
        || wire::IdentityProfile { identity_profile_id: profile.clone(), ..super::identity_profiles::password("p") };
    let identity_profile_id = || profile.clone();
    call!(get_identity_profile wire::GetIdentityProfileRequest {
        tenant_id: tenant_id(), identity_profile_id: identity_profile_id()
    });
    call!(update_identity_profile wire::UpdateIdentityProfileRequest {
        tenant_id: tenant_id(), identity_profile: Some(named()), ..Default::default()
    });
    call!(delete_identity_profile wire::DeleteIdentityProfileRequest {
        tenant_id: tenant_id(), identity_profile_id: identity_profile_id(), ..Default::default()
    });
    let admission = wire::Admission { client_id: own.to_owned(), account_id: account_id(), ..Default::default() };
    call!(admit_client wire::AdmitClientRequest { tenant_id: tenant_id(), admission: Some(admission) });
    let admission = wire::Admission { client_id: client_id(), ..Default::default() };
    call!(admit_client wire::AdmitClientRequest { tenant_id: tenant_id(), admission: Some(admission) });
    call!(expel_client wire::ExpelClientRequest { tenant_id: tenant_id(), client_id: client_id() });
    call!(list_admitted_clients wire::ListAdmittedClientsRequest { tenant_id: tenant_id(), ..Default::default() });
    call!(revoke_signing_key wire::RevokeSigningKeyRequest { tenant_id: tenant_id(), key_id: key.clone() });
    if !tenant.is_empty() {
        call!(rotate_signing_key wire::RotateSigningKeyRequest { tenant_id: tenant_id() });
        call!(get_tenant wire::GetTenantRequest { tenant_id: tenant_id() });
        let renamed = wire::Tenant { tenant_id: tenant_id(), display_name: "x".into(), ..Default::default() };
        call!(update_tenant wire::UpdateTenantRequest { tenant: Some(renamed), update_mask: None });
        call!(create_member wire::CreateMemberRequest {
            tenant_id: tenant_id(), member: Some(person()), ..Default::default()
        });
        call!(list_members wire::ListMembersRequest { tenant_id: tenant_id(), ..Default::default() });
        call!(create_identity_profile wire::CreateIdentityProfileRequest {
            tenant_id: tenant_id(), identity_profile: Some(named()), ..Default::default()
        });
        call!(list_identity_profiles wire::ListIdentityProfilesRequest {
            tenant_id: tenant_id(), ..Default::default()
        });
        call!(list_entity_groups wire::ListEntityGroupsRequest { tenant_id: tenant_id(), ..Default::default() });
        call!(list_clients wire::ListClientsRequest { tenant_id: tenant_id(), ..Default::default() });
        call!(revoke_all_tokens wire::RevokeAllTokensRequest {
            tenant_id: tenant_id(), target: Some(Target::Tenant(Default::default())), ..Default::default()
        });
    }
    all
}

fn assert_same(theirs: &[Told], nobodys: &[Told]) {
    assert_eq!(theirs.len(), nobodys.len());
    for ((method, theirs), (_, nobodys)) in theirs.iter().zip(nobodys) {
        let shown = |(code, text, details): &(Code, String, Vec<u8>)| {
            format!("{code:?} {text} {:?}", String::from_utf8_lossy(details))
        };
        assert_eq!(shown(theirs), shown(nobodys), "{method}");
        assert_eq!(theirs, nobodys, "{method}");
    }
}

/// A tenant full of things, and the same ids as they never existed.
async fn a(service: &Service) -> (Ids, Ids, String) {
    service.tenant("aaaa", Default::default()).await;
    let client = service.client_in("aaaa", manager()).await;
    let account = service.account_in("aaaa", "").await;
    let person = wire::Member { display_name: "a person".into(), ..Default::default() };
    let person = wire::CreateMemberRequest { tenant_id: "aaaa".into(), member: Some(person), ..Default::default() };
    let member = service.admin().await.create_member(person).await.unwrap().member.unwrap().member_id;
    let role = wire::Role { name: "a role".into(), ..Default::default() };
    let role = wire::CreateRoleRequest { tenant_id: "aaaa".into(), role: Some(role), ..Default::default() };
    let role = service.admin().await.create_role(role).await.unwrap().role.unwrap().role_id;
    let profile = wire::CreateIdentityProfileRequest {
        tenant_id: "aaaa".into(),
        identity_profile: Some(super::identity_profiles::password("a profile")),
        ..Default::default()
    };
    let profile = service.admin().await.create_identity_profile(profile).await.unwrap().identity_profile.unwrap();
    let profile = profile.identity_profile_id;
    let group = wire::EntityGroup { display_name: "a group".into(), ..Default::default() };
    let group = wire::CreateEntityGroupRequest {
        entity_group: Some(group),
        entity_ids: vec![account.clone()],
        ..Default::default()
    };
    let group = service.caller(&client).await.create_entity_group(group).await.unwrap().entity_group.unwrap();
    let token = service.anonymous().issue(client.account(&account).scopes(&["pay"])).await;
    let keys = wire::ListSigningKeysRequest { tenant_id: "aaaa".into() };
    let key = service.anonymous().list_signing_keys(keys).await.unwrap().keys[0].kid.clone();
    let secrets = wire::ListClientSecretsRequest { tenant_id: "aaaa".into(), client_id: client.client_id.clone() };
    let secret = service.admin().await.list_client_secrets(secrets).await.unwrap().secrets[0].secret_id.clone();
    let never = Ids {
        client: "cli_1111111111111111111111".into(),
        account: "acc_1111111111111111111111".into(),
        member: "mem_1111111111111111111111".into(),
        role: "rol_1111111111111111111111".into(),
        profile: "idp_1111111111111111111111".into(),
        group: "grp_1111111111111111111111".into(),
        token: "tok_1111111111111111111111".into(),
        key: "1".repeat(key.len()),
        secret: "2".repeat(secret.len()),
    };
    let group = group.entity_group_id;
    let ids =
        Ids { client: client.client_id, account, member, role, profile, group, token: token.token_id, key, secret };
    (ids, never, token.access_token)
}

/// Who asks, and what is its own.
async fn b(service: &Service) -> (Caller, Own) {
    let client = service.client_in("bbbb", manager()).await;
    let caller = service.caller(&client).await;
    let group = groups::create(&caller, groups::named(""), &[]).await.unwrap().entity_group_id;
    let member = memberships::member(&caller, "").await;
    (caller, Own { client: client.client_id, group, member })
}

async fn an_id_of_another_tenant_is_as_one_that_never_existed(service: Service) {
    let (ids, never, token) = a(&service).await;
    service.tenant("bbbb", Default::default()).await;
    let (caller, b) = b(&service).await;
    let theirs = every_call(&caller, &b, &ids, "").await;
    let nobodys = every_call(&caller, &b, &never, "").await;
    assert_same(&theirs, &nobodys);
    assert!(theirs.iter().filter(|(_, (code, ..))| *code == Code::NotFound).count() > 20, "{theirs:?}");
    assert!(service.is_active(&token).await, "and nothing of it was touched");
    let get = wire::GetClientRequest { tenant_id: "aaaa".into(), client_id: ids.client };
    assert_eq!(service.admin().await.get_client(get).await.unwrap().client.unwrap().display_name, "a client");
}

async fn naming_another_tenant_is_as_naming_one_that_never_existed(service: Service) {
    let (ids, _, token) = a(&service).await;
    service.tenant("bbbb", Default::default()).await;
    let (caller, b) = b(&service).await;
    let theirs = every_call(&caller, &b, &ids, "aaaa").await;
    let nobodys = every_call(&caller, &b, &ids, "zzzz").await;
    assert_same(&theirs, &nobodys);
    assert!(theirs.iter().all(|(_, (code, ..))| *code == Code::NotFound), "{theirs:?}");
    assert!(service.is_active(&token).await);
}

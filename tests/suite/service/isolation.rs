//! Nothing of one tenant is visible to another: to B, an id of A is as an id that never existed.

use std::{collections::BTreeSet, fmt::Debug};

use jeton::api::{
    policy::Policy,
    wire::{
        self, authenticate_member_request::Mechanism, list_memberships_request::Of, revoke_all_tokens_request::Target,
    },
};
use tonic::{Code, Status};

use super::{
    calls::{
        Caller, IssueExt as _, exchange, for_account, for_group, for_member, list_account, list_client, revoke_id, seen,
    },
    groups,
    harness::{Backend, Service, manager},
    identity_profiles,
    memberships::{self, join},
    people::{brought, texts},
};

on_both_stores! {
    an_id_of_another_tenant_is_as_one_that_never_existed
    a_foreign_id_of_another_tenant_is_as_one_that_never_existed
    naming_another_tenant_is_as_naming_one_that_never_existed
    lists_show_nothing_of_another_tenant
}

/// Methods without a row, and why.
const WITHOUT: [(&str, &str); 2] = [
    ("invalidate_tokens", "takes tokens only: the holder of one may end it, whatever the tenant"),
    ("list_signing_keys", "public: anybody may verify the tokens of any tenant"),
];

#[tokio::test]
async fn every_method_of_the_contract_has_a_row() {
    let service = Service::start(Backend::Embedded).await;
    service.tenant("bbbb", Default::default()).await;
    let (caller, b) = b(&service).await;
    let never = Ids::never();
    let mut rows = every_call(&caller, &b, &never, "").await;
    rows.extend(every_call(&caller, &b, &never, "zzzz").await);
    rows.extend(every_list(&caller, &b).await);
    let rows: BTreeSet<_> = rows.into_iter().map(|(method, _)| method).chain(WITHOUT.map(|(name, _)| name)).collect();
    let policy = Policy::load().unwrap();
    let ours = policy.methods().filter_map(|method| method.path.strip_prefix("/jeton.v1."));
    let missing: Vec<_> = ours.filter(|path| !rows.contains(snake(path).as_str())).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

/// `Service/GetCaller` as `get_caller`.
fn snake(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap();
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// The ids of one tenant's things. Accounts, members, groups and roles may be called by their names.
#[derive(Clone, Debug)]
pub struct Ids {
    tenant: String,
    client: String,
    account: String,
    member: String,
    role: String,
    profile: String,
    group: String,
    token: String,
    key: String,
    secret: String,
    session: String,
    /// Of a workload of the client.
    workload: String,
    /// Not ids but secrets of the tenant: an access token of a client, one of a member that signed in, a refresh token.
    access: String,
    signed_in: String,
    refresh: String,
}

impl Ids {
    /// What never existed.
    pub fn never() -> Self {
        Self {
            tenant: "zzzz".into(),
            client: "cli_1111111111111111111111".into(),
            account: "acc_1111111111111111111111".into(),
            member: "mem_1111111111111111111111".into(),
            role: "rol_1111111111111111111111".into(),
            profile: "idp_1111111111111111111111".into(),
            group: "grp_1111111111111111111111".into(),
            token: "tok_1111111111111111111111".into(),
            key: "11111111".into(),
            secret: "22222222".into(),
            session: "session-of-z".into(),
            workload: "workload-of-z".into(),
            access: "no token".into(),
            signed_in: "no token".into(),
            refresh: "no token".into(),
        }
    }

    /// The same things by their names.
    fn named(self, of: &str) -> Self {
        Self {
            account: format!("account-{of}"),
            member: format!("member-{of}"),
            group: format!("group-{of}"),
            role: format!("role-{of}"),
            ..self
        }
    }

    /// What would tell of the tenant.
    fn all(&self) -> [&str; 12] {
        let Self { client, account, member, role, profile, group, token, key, secret, .. } = self;
        [&self.tenant, client, account, member, role, profile, group, token, key, secret, &self.session, &self.workload]
            .map(String::as_str)
    }
}

/// The caller's client, another one of its tenant, and things of its own tenant: the member is in the account.
pub struct Own {
    pub client: String,
    pub other: String,
    pub account: String,
    pub group: String,
    pub member: String,
}

/// A method, and what a caller can tell of its reply.
pub type Seen = (&'static str, (Code, String, Vec<u8>));

/// What a caller can tell of a reply: the status with the id blotted out, or what an OK one holds, with the ids blotted
/// out.
fn outcome<T: Debug>(result: Result<T, Status>, ids: &[&str]) -> (Code, String, Vec<u8>) {
    match result {
        Ok(reply) => {
            let text = ids.iter().fold(format!("{reply:?}"), |text, id| text.replace(id, "ID"));
            (Code::Ok, without_versions(&text), Vec::new())
        }
        Err(status) => {
            let id = ids.iter().find(|id| status.details().windows(id.len()).any(|part| part == id.as_bytes()));
            seen(&status, id.unwrap_or(&"no id is in it"))
        }
    }
}

/// A text without its positions and etags, which say nothing of a tenant and differ from call to call.
fn without_versions(text: &str) -> String {
    let is_position = |part: &str| part.len() == 20 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_etag = |part: &str| part.strip_prefix('v').is_some_and(|number| number.parse::<u64>().is_ok());
    let parts = text.split('"').map(|part| if is_position(part) || is_etag(part) { "VERSION" } else { part });
    parts.collect::<Vec<_>>().join("\"")
}

/// Every list and look at oneself, of the caller's own tenant.
pub async fn every_list(b: &Caller, own: &Own) -> Vec<Seen> {
    let mut all = Vec::new();
    macro_rules! call {
        ($method:ident $($message:tt)*) => {
            all.push((stringify!($method), outcome(b.$method($($message)*).await, &[])))
        };
    }
    call!(get_caller wire::GetCallerRequest::default());
    call!(get_tenant wire::GetTenantRequest::default());
    call!(list_tenants wire::ListTenantsRequest::default());
    call!(list_clients wire::ListClientsRequest::default());
    call!(list_accounts wire::ListAccountsRequest { show_deleted: true, ..Default::default() });
    call!(list_members wire::ListMembersRequest { show_deleted: true, ..Default::default() });
    call!(list_entity_groups wire::ListEntityGroupsRequest::default());
    call!(list_roles wire::ListRolesRequest::default());
    call!(list_identity_profiles wire::ListIdentityProfilesRequest::default());
    call!(list_admitted_clients wire::ListAdmittedClientsRequest::default());
    call!(list_tokens list_client(&own.client));
    all
}

/// Every call that takes an id, made with the ids of `ids` in `tenant` (empty: the caller's own).
pub async fn every_call(b: &Caller, own: &Own, ids: &Ids, tenant: &str) -> Vec<Seen> {
    let Own { client: own, other: own_other, account: own_account, group: own_group, member: own_member } = own;
    let Ids { client, account, member, role, profile, group, token, key, secret, .. } = ids;
    let blot = [[tenant].as_slice(), &ids.all()].concat();
    let blot: Vec<_> = blot.into_iter().filter(|id| !id.is_empty()).collect();
    let blot = blot.as_slice();
    let (tenant_id, client_id, account_id) = (|| tenant.to_owned(), || client.clone(), || account.clone());
    let named = || wire::Account { display_name: "x".into(), ..Default::default() };
    let mut all = Vec::new();
    macro_rules! call {
        ($method:ident $($message:tt)*) => {
            all.push((stringify!($method), outcome(b.$method($($message)*).await, blot)))
        };
    }
    // TokenService. What is listed and revoked by id, and what is issued for accounts.
    call!(issue_token wire::IssueTokenRequest { tenant_id: tenant_id(), ..for_account(account) });
    call!(issue_token wire::IssueTokenRequest { tenant_id: tenant_id(), ..for_member(member, account) });
    call!(issue_token wire::IssueTokenRequest { tenant_id: tenant_id(), ..for_member(member, "") });
    let (identity_profile_id, username) = (|| profile.clone(), || "u".to_owned());
    for mechanism in [
        Mechanism::Password(wire::PasswordMechanism {
            identity_profile_id: identity_profile_id(),
            username: username(),
            password: "p".into(),
        }),
        Mechanism::OneTimePassword(wire::OneTimePasswordMechanism {
            identity_profile_id: identity_profile_id(),
            username: username(),
            code: "12345678".into(),
        }),
        Mechanism::SelfSignup(wire::SelfSignupMechanism {
            identity_profile_id: identity_profile_id(),
            username: username(),
            password: "long enough".into(),
            display_name: "n".into(),
            ..Default::default()
        }),
    ] {
        call!(authenticate_member wire::AuthenticateMemberRequest {
            tenant_id: tenant_id(), mechanism: Some(mechanism), ..Default::default()
        });
    }
    call!(request_one_time_password wire::RequestOneTimePasswordRequest {
        tenant_id: tenant_id(), identity_profile_id: identity_profile_id(), username: username(), ..Default::default()
    });
    call!(authenticate_member wire::AuthenticateMemberRequest {
        tenant_id: tenant_id(),
        mechanism: Some(Mechanism::Oidc(brought(profile, "code"))),
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
    if tenant.is_empty() {
        let session_ids = vec![ids.session.clone()];
        call!(revoke_all_tokens wire::RevokeAllTokensRequest {
            target: Some(Target::Sessions(wire::revoke_all_tokens_request::SessionsTarget { session_ids })),
            ..Default::default()
        });
        // Tokens of others, which tell nothing.
        let both = || vec![ids.access.clone(), ids.refresh.clone()];
        for token in both() {
            call!(introspect_token wire::IntrospectTokenRequest { token, ..Default::default() });
        }
        call!(batch_introspect_tokens wire::BatchIntrospectTokensRequest { tokens: both(), ..Default::default() });
        call!(introspect_token wire::IntrospectTokenRequest {
            token: ids.access.clone(), account_id: account_id(), ..Default::default()
        });
        call!(renew_token wire::RenewTokenRequest {
            client_id: own.clone(), refresh_token: ids.refresh.clone(), ..Default::default()
        });
        call!(renew_token wire::RenewTokenRequest { refresh_token: ids.refresh.clone(), ..Default::default() });
        call!(issue_token exchange(&ids.access, ""));
        let switch = Mechanism::Switch(wire::SwitchMechanism { access_token: ids.signed_in.clone() });
        call!(authenticate_member wire::AuthenticateMemberRequest { mechanism: Some(switch), ..Default::default() });
        // The tenant itself.
        let tenant_id = || ids.tenant.clone();
        let tenant = Some(wire::Tenant { tenant_id: tenant_id(), ..Default::default() });
        call!(create_tenant wire::CreateTenantRequest { tenant, ..Default::default() });
        call!(enable_tenant wire::EnableTenantRequest { tenant_id: tenant_id() });
        call!(disable_tenant wire::DisableTenantRequest { tenant_id: tenant_id() });
        call!(delete_tenant wire::DeleteTenantRequest { tenant_id: tenant_id(), ..Default::default() });
        // What must be unique is so in each tenant by itself.
        let identity = wire::WorkloadIdentity { issuer: "https://issuer".into(), subject: ids.workload.clone() };
        let stands_for =
            wire::Client { client_id: own_other.clone(), workload_identities: vec![identity], ..Default::default() };
        call!(update_client wire::UpdateClientRequest { client: Some(stands_for), ..Default::default() });
        // Things of both tenants together.
        for (account_id, member_id, roles) in [
            (account_id(), own_member.clone(), vec![]),
            (own_account.clone(), member.clone(), vec![]),
            (own_account.clone(), own_member.clone(), vec![role.clone()]),
        ] {
            let membership = wire::Membership { account_id, member_id, role_ids: roles, ..Default::default() };
            let (account_id, member_id) = (membership.account_id.clone(), membership.member_id.clone());
            call!(create_membership wire::CreateMembershipRequest {
                membership: Some(membership.clone()), ..Default::default()
            });
            call!(update_membership wire::UpdateMembershipRequest {
                membership: Some(membership), ..Default::default()
            });
            if member_id == *own_member && account_id == *own_account {
                continue;
            }
            call!(get_membership wire::GetMembershipRequest {
                account_id: account_id.clone(), member_id: member_id.clone(), ..Default::default()
            });
            call!(issue_token for_member(&member_id, &account_id));
        }
        for entity_ids in [vec![account_id()], vec![own_account.clone(), account_id()]] {
            call!(add_entities wire::AddEntitiesRequest {
                entity_group_id: own_group.clone(), entity_ids: entity_ids.clone(), ..Default::default()
            });
            call!(create_entity_group wire::CreateEntityGroupRequest {
                entity_group: Some(groups::named("")), entity_ids, ..Default::default()
            });
        }
        for filter_role_ids in [vec![], vec![role.clone()]] {
            let from = wire::add_entities_request::CopyMembers::FromEntity(account_id());
            call!(add_entities wire::AddEntitiesRequest {
                entity_group_id: own_group.clone(),
                entity_ids: vec![own_account.clone()],
                copy_members: Some(from),
                filter_role_ids,
                ..Default::default()
            });
        }
        let own_role = |account_id: String, role_ids| wire::EntityRoles { account_id, role_ids };
        for entity_roles in [own_role(own_account.clone(), vec![role.clone()]), own_role(account_id(), vec![])] {
            let group_member = wire::GroupMember {
                entity_group_id: own_group.clone(),
                member_id: own_member.clone(),
                entity_roles: vec![entity_roles],
                ..Default::default()
            };
            call!(upsert_group_member wire::UpsertGroupMemberRequest {
                group_member: Some(group_member), ..Default::default()
            });
        }
        call!(set_password wire::SetPasswordRequest {
            member_id: own_member.clone(), identity_profile_id: identity_profile_id(), username: username(),
            password: "long enough".into(), ..Default::default()
        });
        let identity = wire::link_identity_request::Identity::Username(username());
        call!(link_identity wire::LinkIdentityRequest {
            member_id: own_member.clone(), identity_profile_id: identity_profile_id(), identity: Some(identity),
            ..Default::default()
        });
        call!(unlink_identity wire::UnlinkIdentityRequest {
            member_id: own_member.clone(), identity_profile_id: identity_profile_id(), ..Default::default()
        });
    }
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
    let named = || wire::IdentityProfile { identity_profile_id: profile.clone(), ..identity_profiles::password("p") };
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

fn assert_same(theirs: &[Seen], nobodys: &[Seen]) {
    assert_eq!(theirs.len(), nobodys.len());
    for ((method, theirs), (_, nobodys)) in theirs.iter().zip(nobodys) {
        let shown = |(code, text, details): &(Code, String, Vec<u8>)| {
            format!("{code:?} {text} {:?}", String::from_utf8_lossy(details))
        };
        assert_eq!(shown(theirs), shown(nobodys), "{method}");
        assert_eq!(theirs, nobodys, "{method}");
    }
}

/// A tenant full of things.
async fn a(service: &Service) -> Ids {
    service.tenant("aaaa", Default::default()).await;
    let workload = wire::WorkloadIdentity { issuer: "https://issuer".into(), subject: "workload-of-a".into() };
    let client = wire::Client { workload_identities: vec![workload.clone()], ..manager() };
    let client = service.client_in("aaaa", client).await;
    let caller = service.caller(&client).await;
    let account = wire::Account { display_name: "n".into(), foreign_id: "account-a".into(), ..Default::default() };
    let account = wire::CreateAccountRequest { account: Some(account), ..Default::default() };
    let account = caller.create_account(account).await.unwrap().account.unwrap().account_id;
    let member = memberships::member(&caller, "member-a").await;
    let role = memberships::role(&caller, "role-a", "").await;
    join(&caller, memberships::place(&account, &member, &[&role])).await.unwrap();
    let profile = identity_profiles::create(&caller, identity_profiles::password("p")).await.unwrap();
    let profile = profile.identity_profile_id;
    let password = wire::SetPasswordRequest {
        member_id: member.clone(),
        identity_profile_id: profile.clone(),
        username: "u".into(),
        password: "long enough".into(),
        ..Default::default()
    };
    caller.set_password(password).await.unwrap();
    let group = groups::create(&caller, groups::named("group-a"), &[&account]).await.unwrap().entity_group_id;
    let nobody = service.anonymous();
    let token = nobody.issue(client.account(&account).scopes(&["pay"]).session("session-of-a").refresh()).await;
    let password = Mechanism::Password(wire::PasswordMechanism {
        identity_profile_id: profile.clone(),
        username: "u".into(),
        password: "long enough".into(),
    });
    let sign_in =
        wire::AuthenticateMemberRequest { scopes: vec!["pay".into()], mechanism: Some(password), ..Default::default() };
    let signed_in = texts(&caller.authenticate_member(sign_in).await.unwrap()).remove(0);
    let keys = wire::ListSigningKeysRequest { tenant_id: "aaaa".into() };
    let key = nobody.list_signing_keys(keys).await.unwrap().keys[0].kid.clone();
    let secrets = wire::ListClientSecretsRequest { client_id: client.client_id.clone(), ..Default::default() };
    let secret = caller.list_client_secrets(secrets).await.unwrap().secrets[0].secret_id.clone();
    Ids {
        tenant: "aaaa".into(),
        client: client.client_id,
        account,
        member,
        role,
        profile,
        group,
        token: token.token_id,
        key,
        secret,
        session: "session-of-a".into(),
        workload: workload.subject,
        access: token.access_token,
        signed_in,
        refresh: token.refresh_token,
    }
}

/// The ids of things that never existed, as long as those of `ids`.
fn never(ids: &Ids) -> Ids {
    Ids { key: "1".repeat(ids.key.len()), secret: "2".repeat(ids.secret.len()), ..Ids::never() }
}

/// Who asks, and what is its own.
async fn b(service: &Service) -> (Caller, Own) {
    let mut client = manager();
    client.allowed_grants.push(wire::GrantType::TokenExchange.into());
    let client = service.client_in("bbbb", client).await;
    let other = service.client_in("bbbb", manager()).await.client_id;
    let caller = service.caller(&client).await;
    let group = groups::create(&caller, groups::named(""), &[]).await.unwrap().entity_group_id;
    let (account, member) = (service.account_in("bbbb", "").await, memberships::member(&caller, "").await);
    join(&caller, memberships::place(&account, &member, &[])).await.unwrap();
    (caller, Own { client: client.client_id, other, account, group, member })
}

async fn an_id_of_another_tenant_is_as_one_that_never_existed(service: Service) {
    let ids = a(&service).await;
    service.tenant("bbbb", Default::default()).await;
    let (caller, b) = b(&service).await;
    let theirs = every_call(&caller, &b, &ids, "").await;
    let nobodys = every_call(&caller, &b, &never(&ids), "").await;
    assert_same(&theirs, &nobodys);
    assert!(theirs.iter().filter(|(_, (code, ..))| *code == Code::NotFound).count() > 80, "{theirs:?}");
    assert_untouched(&service, &ids).await;
}

async fn a_foreign_id_of_another_tenant_is_as_one_that_never_existed(service: Service) {
    let ids = a(&service).await;
    service.tenant("bbbb", Default::default()).await;
    let (caller, b) = b(&service).await;
    let theirs = every_call(&caller, &b, &ids.clone().named("a"), "").await;
    let nobodys = every_call(&caller, &b, &never(&ids).named("z"), "").await;
    assert_same(&theirs, &nobodys);
    // Nor are their names taken.
    let account = wire::Account { display_name: "n".into(), foreign_id: "account-a".into(), ..Default::default() };
    let account = wire::CreateAccountRequest { account: Some(account), ..Default::default() };
    caller.create_account(account).await.unwrap();
    memberships::member(&caller, "member-a").await;
    memberships::role(&caller, "role-a", "").await;
    groups::create(&caller, groups::named("group-a"), &[]).await.unwrap();
    assert_untouched(&service, &ids).await;
}

async fn naming_another_tenant_is_as_naming_one_that_never_existed(service: Service) {
    let ids = a(&service).await;
    service.tenant("bbbb", Default::default()).await;
    let (caller, b) = b(&service).await;
    let theirs = every_call(&caller, &b, &ids, "aaaa").await;
    let nobodys = every_call(&caller, &b, &ids, "zzzz").await;
    assert_same(&theirs, &nobodys);
    assert!(theirs.iter().all(|(_, (code, ..))| *code == Code::NotFound), "{theirs:?}");
    assert_untouched(&service, &ids).await;
}

async fn lists_show_nothing_of_another_tenant(service: Service) {
    let ids = a(&service).await;
    service.tenant("bbbb", Default::default()).await;
    let (caller, b) = b(&service).await;
    for (method, (code, text, _)) in every_list(&caller, &b).await {
        assert_eq!(code, Code::Ok, "{method}: {text}");
        assert!(ids.all().iter().all(|id| !text.contains(id)), "{method}: {text}");
    }
}

/// Nothing of the tenant was changed.
async fn assert_untouched(service: &Service, ids: &Ids) {
    assert_eq!(service.active(&[&ids.access, &ids.signed_in]).await, [true, true]);
    let admin = service.admin().await;
    let get = wire::GetClientRequest { tenant_id: "aaaa".into(), client_id: ids.client.clone() };
    assert_eq!(admin.get_client(get).await.unwrap().client.unwrap().display_name, "a client");
    let get = wire::GetAccountRequest { tenant_id: "aaaa".into(), account_id: ids.account.clone() };
    assert_eq!(admin.get_account(get).await.unwrap().account.unwrap().display_name, "n");
    let get = wire::GetEntityGroupRequest { tenant_id: "aaaa".into(), entity_group_id: ids.group.clone() };
    let group = admin.get_entity_group(get).await.unwrap().entity_group.unwrap();
    assert_eq!((group.display_name.as_str(), group.entity_count, group.member_count), ("n", 1, 0));
    let get = wire::GetMemberRequest { tenant_id: "aaaa".into(), member_id: ids.member.clone() };
    let member = admin.get_member(get).await.unwrap().member.unwrap();
    assert_eq!((member.display_name.as_str(), member.identities.len()), ("n", 1));
}

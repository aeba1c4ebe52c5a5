//! Memberships: who belongs to which account, as what.

use jeton::api::{
    wire,
    wire::{MembershipState as State, list_memberships_request::Of},
};
use jeton_contract::reason::Reason;

use super::{
    calls::{Caller, owned, refused, refused_fields},
    harness::{Service, manager},
};

on_both_stores! {
    a_membership_is_an_invitation_until_it_is_accepted
    states_allow_what_they_should_and_enabling_does_not_confirm
    a_member_has_one_place_in_an_account
    roles_are_named_by_id_or_by_the_nearest_name
    a_role_in_use_cannot_be_deleted
    memberships_are_listed_by_account_and_by_member
    deleting_a_member_ends_its_memberships
    a_deleted_account_or_member_gets_no_members
    an_account_has_at_most_1000_members_however_many_join_at_once
    a_tenant_may_set_lower_limits_and_what_is_there_stays
    a_confined_caller_manages_the_memberships_of_its_own_accounts
    a_repeated_create_makes_one_membership
}

pub async fn caller(service: &Service) -> Caller {
    service.caller(&service.client_in("default", manager()).await).await
}

pub async fn member(caller: &Caller, foreign: &str) -> String {
    let member = wire::Member { display_name: "n".into(), foreign_id: foreign.into(), ..Default::default() };
    let request = wire::CreateMemberRequest { member: Some(member), ..Default::default() };
    caller.create_member(request).await.unwrap().member.unwrap().member_id
}

pub async fn role(caller: &Caller, name: &str, account: &str) -> String {
    let role = wire::Role { name: name.into(), account_id: account.into(), ..Default::default() };
    let request = wire::CreateRoleRequest { role: Some(role), ..Default::default() };
    caller.create_role(request).await.unwrap().role.unwrap().role_id
}

pub fn place(account: &str, member: &str, roles: &[&str]) -> wire::Membership {
    wire::Membership {
        account_id: account.to_owned(),
        member_id: member.to_owned(),
        role_ids: owned(roles),
        ..Default::default()
    }
}

pub async fn invite(caller: &Caller, membership: wire::Membership) -> Result<wire::Membership, tonic::Status> {
    let request = wire::CreateMembershipRequest { membership: Some(membership), ..Default::default() };
    caller.create_membership(request).await.map(|reply| reply.membership.unwrap())
}

/// A membership that needs no confirmation.
pub async fn join(caller: &Caller, membership: wire::Membership) -> Result<wire::Membership, tonic::Status> {
    let request = wire::CreateMembershipRequest {
        membership: Some(membership),
        require_confirmation: Some(false),
        ..Default::default()
    };
    caller.create_membership(request).await.map(|reply| reply.membership.unwrap())
}

macro_rules! moves {
    ($($name:ident $method:ident $request:ident)*) => {$(
        pub async fn $name(caller: &Caller, account: &str, member: &str) -> Result<State, tonic::Status> {
            let request = wire::$request {
                account_id: account.to_owned(), member_id: member.to_owned(), ..Default::default()
            };
            let reply = caller.$method(request).await?;
            assert_eq!(reply.position.len(), 20);
            Ok(reply.membership.unwrap().state())
        }
    )*};
}

moves! {
    accept accept_membership AcceptMembershipRequest
    reject reject_membership RejectMembershipRequest
    enable enable_membership EnableMembershipRequest
    disable disable_membership DisableMembershipRequest
}

async fn get(caller: &Caller, account: &str, member: &str) -> Result<wire::Membership, tonic::Status> {
    let request = wire::GetMembershipRequest {
        account_id: account.to_owned(),
        member_id: member.to_owned(),
        ..Default::default()
    };
    caller.get_membership(request).await.map(|reply| reply.membership.unwrap())
}

pub async fn leave(caller: &Caller, account: &str, member: &str) -> Result<String, tonic::Status> {
    let request = wire::DeleteMembershipRequest {
        account_id: account.to_owned(),
        member_id: member.to_owned(),
        ..Default::default()
    };
    caller.delete_membership(request).await.map(|reply| reply.position)
}

pub async fn list(caller: &Caller, of: Of, filter: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = wire::ListMembershipsRequest {
            of: Some(of.clone()),
            filter: filter.into(),
            page_size: 2,
            page_token,
            ..Default::default()
        };
        let page = caller.list_memberships(request).await.unwrap();
        assert!(page.memberships.len() <= 2);
        all.extend(page.memberships.into_iter().map(|one| (one.account_id, one.member_id)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

async fn a_membership_is_an_invitation_until_it_is_accepted(service: Service) {
    let caller = caller(&service).await;
    let (account, person) = (service.account("").await, member(&caller, "ada").await);
    let made = invite(&caller, place(&account, "ada", &[])).await.unwrap();
    assert_eq!((&made.account_id, &made.member_id, made.state()), (&account, &person, State::Invited));
    assert_eq!(get(&caller, &account, &person).await.unwrap(), made);
    assert_eq!(get(&caller, &account, "ada").await.unwrap(), made);
    for _ in 0..2 {
        assert_eq!(accept(&caller, &account, "ada").await.unwrap(), State::Active);
    }
    assert_eq!(get(&caller, &account, "ada").await.unwrap().state(), State::Active);
}

async fn states_allow_what_they_should_and_enabling_does_not_confirm(service: Service) {
    let caller = caller(&service).await;
    let (account, a) = (service.account("").await, &caller);
    for person in ["invited", "active", "disabled", "rejected"] {
        member(a, person).await;
        invite(a, place(&account, person, &[])).await.unwrap();
    }
    accept(a, &account, "active").await.unwrap();
    accept(a, &account, "disabled").await.unwrap();
    disable(a, &account, "disabled").await.unwrap();
    reject(a, &account, "rejected").await.unwrap();
    let no = Reason::MembershipState;
    refused(enable(a, &account, "invited").await, no);
    refused(disable(a, &account, "invited").await, no);
    refused(reject(a, &account, "active").await, no);
    refused(accept(a, &account, "disabled").await, no);
    refused(reject(a, &account, "disabled").await, no);
    refused(accept(a, &account, "rejected").await, no);
    refused(enable(a, &account, "rejected").await, no);
    refused(disable(a, &account, "rejected").await, no);
    assert_eq!(enable(a, &account, "active").await.unwrap(), State::Active);
    assert_eq!(disable(a, &account, "disabled").await.unwrap(), State::Disabled);
    assert_eq!(reject(a, &account, "rejected").await.unwrap(), State::Rejected);
    assert_eq!(enable(a, &account, "disabled").await.unwrap(), State::Active);
}

async fn a_member_has_one_place_in_an_account(service: Service) {
    let caller = caller(&service).await;
    let (account, person) = (service.account("").await, member(&caller, "ada").await);
    invite(&caller, place(&account, &person, &[])).await.unwrap();
    refused(join(&caller, place(&account, "ada", &[])).await, Reason::MembershipExists);
    reject(&caller, &account, "ada").await.unwrap();
    // Who has refused is not invited again by mistake.
    refused(invite(&caller, place(&account, &person, &[])).await, Reason::MembershipExists);
    leave(&caller, &account, "ada").await.unwrap();
    leave(&caller, &account, "ada").await.unwrap();
    refused(get(&caller, &account, "ada").await, Reason::NotFound);
    refused(accept(&caller, &account, "ada").await, Reason::NotFound);
    assert_eq!(join(&caller, place(&account, "ada", &[])).await.unwrap().state(), State::Active);
    for (account, person) in [("acc_1111111111111111111111", person.as_str()), (account.as_str(), "nobody")] {
        refused(join(&caller, place(account, person, &[])).await, Reason::NotFound);
        refused(get(&caller, account, person).await, Reason::NotFound);
        refused(leave(&caller, account, person).await, Reason::NotFound);
    }
    // An e-mail address might stand in the member's place, so that it is missing shows when the rest is right.
    refused_fields(invite(&caller, place("", "", &[])).await, Reason::InvalidField, &["membership.account_id"]);
    let nobody = place(&account, "", &[]);
    refused_fields(invite(&caller, nobody.clone()).await, Reason::InvalidField, &["membership.member_id"]);
    let update = wire::UpdateMembershipRequest { membership: Some(nobody), ..Default::default() };
    refused_fields(caller.update_membership(update).await, Reason::InvalidField, &["membership.member_id"]);
}

async fn roles_are_named_by_id_or_by_the_nearest_name(service: Service) {
    let caller = caller(&service).await;
    let (account, other) = (service.account("").await, service.account("").await);
    let person = member(&caller, "ada").await;
    let (tenants, own) = (role(&caller, "admin", "").await, role(&caller, "admin", &account).await);
    let (reader, others) = (role(&caller, "reader", "").await, role(&caller, "clerk", &other).await);
    let made = join(&caller, place(&account, &person, &["admin", "reader", &own])).await.unwrap();
    assert_eq!(made.role_ids, [own.as_str(), &reader]);
    assert_eq!(join(&caller, place(&other, &person, &["admin"])).await.unwrap().role_ids, [tenants.as_str()]);
    for reference in [others.as_str(), "clerk", "Admin", "nonsense", "rol_1111111111111111111111"] {
        let request = wire::UpdateMembershipRequest {
            membership: Some(place(&account, &person, &[reference])),
            ..Default::default()
        };
        refused(caller.update_membership(request).await, Reason::NotFound);
    }
    let set = async |roles: &[&str], etag: &str| {
        let membership = wire::Membership { etag: etag.into(), ..place(&account, &person, roles) };
        let request = wire::UpdateMembershipRequest { membership: Some(membership), ..Default::default() };
        caller.update_membership(request).await.map(|reply| reply.membership.unwrap())
    };
    let now = set(&["reader", &tenants], &made.etag).await.unwrap();
    assert_eq!((&now.role_ids, now.state()), (&vec![reader, tenants], State::Active));
    refused(set(&[], &made.etag).await, Reason::ConcurrentUpdate);
    assert!(set(&[], "").await.unwrap().role_ids.is_empty());
    let many: Vec<String> = (0..65).map(|i| i.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    refused_fields(set(&many, "").await, Reason::InvalidField, &["membership.role_ids"]);
}

async fn a_role_in_use_cannot_be_deleted(service: Service) {
    let caller = caller(&service).await;
    let (account, person) = (service.account("").await, member(&caller, "").await);
    let id = role(&caller, "admin", "").await;
    let delete = async || {
        let request = wire::DeleteRoleRequest { role_id: id.clone(), ..Default::default() };
        caller.delete_role(request).await
    };
    let set = async |roles: &[&str]| {
        let membership = Some(place(&account, &person, roles));
        let request = wire::UpdateMembershipRequest { membership, ..Default::default() };
        caller.update_membership(request).await.unwrap();
    };
    join(&caller, place(&account, &person, &["admin"])).await.unwrap();
    refused(delete().await, Reason::RoleInUse);
    set(&[]).await;
    set(&["admin"]).await;
    refused(delete().await, Reason::RoleInUse);
    leave(&caller, &account, &person).await.unwrap();
    delete().await.unwrap();
    refused(join(&caller, place(&account, &person, &[&id])).await, Reason::NotFound);
}

async fn memberships_are_listed_by_account_and_by_member(service: Service) {
    let caller = caller(&service).await;
    let mut accounts = Vec::new();
    for _ in 0..3 {
        accounts.push(service.account("").await);
    }
    let clerk = role(&caller, "clerk", "").await;
    let mut people = Vec::new();
    for i in 0..3 {
        people.push(member(&caller, &format!("p{i}")).await);
    }
    for account in &accounts {
        for (i, person) in people.iter().enumerate() {
            let roles: &[&str] = if i == 0 { &["clerk"] } else { &[] };
            let membership = place(account, person, roles);
            if i == 2 {
                invite(&caller, membership).await.unwrap()
            } else {
                join(&caller, membership).await.unwrap()
            };
        }
    }
    leave(&caller, &accounts[0], &people[1]).await.unwrap();
    accounts.sort_unstable();
    let of_account = |account: &str| Of::AccountId(account.to_owned());
    let of_member = |member: &str| Of::MemberId(member.to_owned());
    let all = list(&caller, of_member(&people[0]), "").await;
    let expected: Vec<_> = accounts.iter().map(|account| (account.clone(), people[0].clone())).collect();
    assert_eq!(all, expected);
    assert_eq!(list(&caller, of_member("p1"), "").await.len(), 2);
    let mut sizes = Vec::new();
    for account in &accounts {
        sizes.push(list(&caller, of_account(account), "").await.len());
        assert_eq!(list(&caller, of_account(account), "state = INVITED").await, [(account.clone(), people[2].clone())]);
        let clerks = list(&caller, of_account(account), &format!("role_id:{clerk}")).await;
        assert_eq!(clerks, [(account.clone(), people[0].clone())]);
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 3, 3]);
    let bad = wire::ListMembershipsRequest {
        of: Some(of_member("p1")),
        filter: "state = DELETED".into(),
        ..Default::default()
    };
    refused(caller.list_memberships(bad).await, Reason::FilterInvalid);
    let neither = wire::ListMembershipsRequest::default();
    refused_fields(caller.list_memberships(neither).await, Reason::InvalidField, &["of"]);
    refused(
        caller
            .list_memberships(wire::ListMembershipsRequest { of: Some(of_member("nobody")), ..Default::default() })
            .await,
        Reason::NotFound,
    );
}

async fn deleting_a_member_ends_its_memberships(service: Service) {
    let caller = caller(&service).await;
    let (account, person) = (service.account("").await, member(&caller, "ada").await);
    let id = role(&caller, "clerk", "").await;
    join(&caller, place(&account, &person, &["clerk"])).await.unwrap();
    let delete = wire::DeleteMemberRequest { member_id: person.clone(), ..Default::default() };
    caller.delete_member(delete).await.unwrap();
    refused(get(&caller, &account, &person).await, Reason::NotFound);
    assert!(list(&caller, Of::AccountId(account), "").await.is_empty());
    caller.delete_role(wire::DeleteRoleRequest { role_id: id, ..Default::default() }).await.unwrap();
}

async fn a_deleted_account_or_member_gets_no_members(service: Service) {
    let caller = caller(&service).await;
    let (account, person) = (service.account("").await, member(&caller, "").await);
    let (gone_account, gone_person) = (service.account("").await, member(&caller, "").await);
    let delete = wire::DeleteMemberRequest { member_id: gone_person.clone(), ..Default::default() };
    caller.delete_member(delete).await.unwrap();
    let delete = wire::DeleteAccountRequest { account_id: gone_account.clone(), ..Default::default() };
    caller.delete_account(delete).await.unwrap();
    refused(join(&caller, place(&account, &gone_person, &[])).await, Reason::NotFound);
    refused(join(&caller, place(&gone_account, &person, &[])).await, Reason::NotFound);
}

async fn an_account_has_at_most_1000_members_however_many_join_at_once(service: Service) {
    let caller = caller(&service).await;
    let account = service.account("").await;
    let mut joined = 0;
    for _ in 0..125 {
        // Eight at a time race for the tallies.
        let calls = (0..8).map(|_| {
            let (caller, account) = (caller.clone(), account.clone());
            tokio::spawn(async move {
                let person = member(&caller, "").await;
                join(&caller, place(&account, &person, &[])).await.is_ok()
            })
        });
        for call in calls.collect::<Vec<_>>() {
            joined += usize::from(call.await.unwrap());
        }
    }
    // Lost races are reported as such, and not counted.
    while joined < 1000 {
        let person = member(&caller, "").await;
        joined += usize::from(join(&caller, place(&account, &person, &[])).await.is_ok());
    }
    let one_more = member(&caller, "").await;
    refused(join(&caller, place(&account, &one_more, &[])).await, Reason::MemberLimit);
    let request = wire::ListMembershipsRequest {
        of: Some(Of::AccountId(account.clone())),
        page_size: 1000,
        ..Default::default()
    };
    let all = caller.list_memberships(request).await.unwrap().memberships;
    assert_eq!(all.len(), 1000);
    leave(&caller, &account, &all[500].member_id).await.unwrap();
    join(&caller, place(&account, &one_more, &[])).await.unwrap();
}

async fn a_confined_caller_manages_the_memberships_of_its_own_accounts(service: Service) {
    let free = caller(&service).await;
    let (own, other) = (service.account("").await, service.account("").await);
    let confined = wire::Client { account_id: own.clone(), ..manager() };
    let confined = service.caller(&service.client_in("default", confined).await).await;
    let person = member(&free, "ada").await;
    refused(join(&confined, place(&own, &person, &[])).await, Reason::ScopeInsufficient);
    join(&free, place(&own, &person, &[])).await.unwrap();
    join(&free, place(&other, &person, &[])).await.unwrap();
    assert_eq!(list(&confined, Of::AccountId(own.clone()), "").await, [(own.clone(), person.clone())]);
    assert_eq!(disable(&confined, &own, &person).await.unwrap(), State::Disabled);
    refused(disable(&confined, &other, &person).await, Reason::NotFound);
    refused(leave(&confined, &other, &person).await, Reason::NotFound);
    let of_member = wire::ListMembershipsRequest { of: Some(Of::MemberId(person.clone())), ..Default::default() };
    refused(confined.list_memberships(of_member).await, Reason::NotFound);
    leave(&confined, &own, &person).await.unwrap();
}

async fn a_repeated_create_makes_one_membership(service: Service) {
    let caller = caller(&service).await;
    let (account, person) = (service.account("").await, member(&caller, "").await);
    let request = |roles: &[&str]| wire::CreateMembershipRequest {
        membership: Some(place(&account, &person, roles)),
        request_id: "6ba7b810-9dad-41d1-80b4-00c04fd430c8".into(),
        ..Default::default()
    };
    role(&caller, "clerk", "").await;
    let once = caller.create_membership(request(&["clerk"])).await.unwrap().membership;
    assert_eq!(once, caller.create_membership(request(&["clerk"])).await.unwrap().membership);
    refused(caller.create_membership(request(&[])).await, Reason::RequestIdReused);
    leave(&caller, &account, &person).await.unwrap();
    refused(caller.create_membership(request(&["clerk"])).await, Reason::NotFound);
}

async fn a_tenant_may_set_lower_limits_and_what_is_there_stays(service: Service) {
    let caller = caller(&service).await;
    let (account, other) = (service.account("").await, service.account("").await);
    for person in ["a", "b", "c"] {
        member(&caller, person).await;
    }
    let set = async |members: i32, accounts: i32| {
        let settings =
            wire::TenantSettings { account_member_limit: members, membership_limit: accounts, ..Default::default() };
        let tenant = wire::Tenant { tenant_id: "default".into(), settings: Some(settings), ..Default::default() };
        let request = wire::UpdateTenantRequest { tenant: Some(tenant), update_mask: None };
        service.admin().await.update_tenant(request).await.map(|reply| reply.tenant.unwrap().settings.unwrap())
    };
    join(&caller, place(&account, "a", &[])).await.unwrap();
    join(&caller, place(&account, "b", &[])).await.unwrap();
    let now = set(1, 1).await.unwrap();
    assert_eq!((now.account_member_limit, now.membership_limit), (1, 1));
    assert_eq!(list(&caller, Of::AccountId(account.clone()), "").await.len(), 2);
    refused(join(&caller, place(&account, "c", &[])).await, Reason::MemberLimit);
    refused(join(&caller, place(&other, "a", &[])).await, Reason::MembershipLimit);
    join(&caller, place(&other, "c", &[])).await.unwrap();
    let fields = ["tenant.settings.account_member_limit", "tenant.settings.membership_limit"];
    refused_fields(set(1001, 10_001).await, Reason::InvalidField, &fields);
}

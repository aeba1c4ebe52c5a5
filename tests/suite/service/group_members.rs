//! Members of entity groups: their places, their roles there, and copying them from an account.

use jeton::api::{
    wire,
    wire::{add_entities_request::CopyMembers as AddFrom, sync_group_members_request::CopyMembers as SyncFrom},
};
use jeton_contract::reason::Reason;
use tonic::Status;

use super::{
    calls::{Caller, owned, refused, refused_fields},
    groups::{add, caller, create, delete, get as get_group, named, remove},
    harness::{Service, manager},
    memberships::{disable, invite, join, member, place, role},
};

on_both_stores! {
    a_member_upserted_twice_is_one_member_with_one_place
    a_member_is_created_only_if_asked_to
    roles_are_the_tenants_in_the_group_and_the_accounts_own_in_one_account
    a_stale_etag_is_a_concurrent_update
    a_member_taken_out_loses_its_place_and_nothing_else
    a_role_of_a_group_member_cannot_be_deleted
    deleting_a_member_or_its_group_ends_its_places
    concurrent_upserts_make_one_place_each_and_count_exactly
    members_are_filtered_counted_and_paged
    adding_entities_copies_nobody_one_accounts_members_or_the_fullest_ones
    what_is_copied_can_do_in_the_account_what_it_could_before
    a_sync_only_adds_unless_it_is_asked_to_remove
    a_sync_of_many_members_takes_several_writes
    confined_callers_and_those_without_the_scope_reach_no_member
    malformed_requests_are_refused
}

pub fn in_group(group: &str, member: &str, roles: &[&str]) -> wire::GroupMember {
    wire::GroupMember {
        entity_group_id: group.to_owned(),
        member_id: member.to_owned(),
        role_ids: owned(roles),
        ..Default::default()
    }
}

pub fn in_account(account: &str, roles: &[&str]) -> wire::EntityRoles {
    wire::EntityRoles { account_id: account.to_owned(), role_ids: owned(roles) }
}

pub async fn upsert(caller: &Caller, group_member: wire::GroupMember) -> Result<wire::GroupMember, Status> {
    upsert_new(caller, group_member, None).await
}

pub async fn upsert_new(
    caller: &Caller,
    group_member: wire::GroupMember,
    member: Option<wire::Member>,
) -> Result<wire::GroupMember, Status> {
    let request = wire::UpsertGroupMemberRequest { group_member: Some(group_member), member, ..Default::default() };
    let reply = caller.upsert_group_member(request).await?;
    assert_eq!(reply.position.len(), 20);
    Ok(reply.group_member.unwrap())
}

async fn get(caller: &Caller, group: &str, member: &str) -> Result<wire::GroupMember, Status> {
    let request = wire::GetGroupMemberRequest {
        entity_group_id: group.to_owned(),
        member_id: member.to_owned(),
        ..Default::default()
    };
    caller.get_group_member(request).await.map(|reply| reply.group_member.unwrap())
}

pub async fn leave(caller: &Caller, group: &str, member: &str, etag: &str) -> Result<String, Status> {
    let request = wire::DeleteGroupMemberRequest {
        entity_group_id: group.to_owned(),
        member_id: member.to_owned(),
        etag: etag.to_owned(),
        ..Default::default()
    };
    caller.delete_group_member(request).await.map(|reply| reply.position)
}

/// The foreign ids of a group's members, sorted; read in pages.
pub async fn list(caller: &Caller, group: &str, filter: &str, roles: &[&str], page_size: i32) -> Vec<String> {
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = wire::ListGroupMembersRequest {
            entity_group_id: group.to_owned(),
            filter: filter.to_owned(),
            role_ids: owned(roles),
            page_size,
            page_token,
            ..Default::default()
        };
        let page = caller.list_group_members(request).await.unwrap();
        let count = get_group(caller, group).await.unwrap().member_count;
        assert_eq!(page.total_size, count, "all of them, whatever was asked for");
        seen.extend(page.group_members.into_iter().map(|member| member.foreign_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            seen.sort_unstable();
            return seen;
        }
    }
}

pub async fn members(caller: &Caller, group: &str) -> Vec<String> {
    list(caller, group, "", &[], 0).await
}

pub fn person(name: &str, email: &str) -> wire::Member {
    wire::Member { display_name: name.to_owned(), email: email.to_owned(), ..Default::default() }
}

pub async fn delete_role(caller: &Caller, id: &str) -> Result<wire::DeleteRoleResponse, Status> {
    caller.delete_role(wire::DeleteRoleRequest { role_id: id.to_owned(), ..Default::default() }).await
}

async fn a_member_upserted_twice_is_one_member_with_one_place(service: Service) {
    let caller = caller(&service).await;
    let group = create(&caller, named("g"), &[]).await.unwrap();
    let (clerk, boss) = (role(&caller, "clerk", "").await, role(&caller, "boss", "").await);
    let who = person("Ada Lovelace", "ada@example.com");
    let made = upsert_new(&caller, in_group("g", "ada", &["clerk"]), Some(who)).await.unwrap();
    assert_eq!((&made.entity_group_id, &made.tenant_id), (&group.entity_group_id, &"default".to_owned()));
    assert_eq!((made.foreign_id.as_str(), made.display_name.as_str()), ("ada", "Ada Lovelace"));
    assert_eq!((made.email.as_str(), made.role_ids.as_slice()), ("ada@example.com", [clerk].as_slice()));
    service.advance(std::time::Duration::from_secs(60));
    let again = upsert_new(&caller, in_group("g", "ada", &["boss"]), Some(person("x", "x@y"))).await.unwrap();
    assert_eq!((&again.member_id, &again.role_ids), (&made.member_id, &vec![boss]));
    assert_eq!((&again.create_time, &again.display_name), (&made.create_time, &made.display_name));
    assert_ne!((&again.update_time, &again.etag), (&made.update_time, &made.etag));
    for reference in ["ada", &made.member_id] {
        for group in ["g", &group.entity_group_id] {
            assert_eq!(get(&caller, group, reference).await.unwrap(), again);
        }
    }
    assert_eq!(members(&caller, "g").await, ["ada"]);
    assert_eq!(get_group(&caller, "g").await.unwrap().member_count, 1);
    let all = caller.list_members(Default::default()).await.unwrap().members;
    assert_eq!(all.iter().map(|member| &member.member_id).collect::<Vec<_>>(), [&made.member_id]);
    // A foreign id is free once its member is deleted; the next one is another person.
    let delete = wire::DeleteMemberRequest { member_id: "ada".into(), ..Default::default() };
    caller.delete_member(delete).await.unwrap();
    let next = upsert_new(&caller, in_group("g", "ada", &[]), Some(person("n", ""))).await.unwrap();
    assert_ne!(next.member_id, made.member_id);
    assert_eq!(get_group(&caller, "g").await.unwrap().member_count, 1);
}

async fn a_member_is_created_only_if_asked_to(service: Service) {
    let caller = caller(&service).await;
    create(&caller, named("g"), &[]).await.unwrap();
    refused(upsert(&caller, in_group("g", "ada", &[])).await, Reason::NotFound);
    let never = "mem_1111111111111111111111";
    refused(upsert_new(&caller, in_group("g", never, &[]), Some(person("n", ""))).await, Reason::NotFound);
    let nameless = upsert_new(&caller, in_group("g", "ada", &[]), Some(wire::Member::default())).await;
    refused_fields(nameless, Reason::InvalidField, &["member.display_name"]);
    let other = wire::Member { foreign_id: "eve".into(), ..person("n", "") };
    let other = upsert_new(&caller, in_group("g", "ada", &[]), Some(other)).await;
    refused_fields(other, Reason::InvalidField, &["member.foreign_id"]);
    let reserved = upsert_new(&caller, in_group("g", "acc_x", &[]), Some(person("n", ""))).await;
    refused_fields(reserved, Reason::InvalidField, &["member.foreign_id"]);
    // A role that is not there stops the member as well.
    refused(upsert_new(&caller, in_group("g", "ada", &["none"]), Some(person("n", ""))).await, Reason::NotFound);
    assert!(caller.list_members(Default::default()).await.unwrap().members.is_empty());
    assert_eq!(get_group(&caller, "g").await.unwrap().member_count, 0);
    let id = member(&caller, "ada").await;
    assert_eq!(upsert(&caller, in_group("g", "ada", &[])).await.unwrap().member_id, id);
}

async fn roles_are_the_tenants_in_the_group_and_the_accounts_own_in_one_account(service: Service) {
    let caller = caller(&service).await;
    let (one, two) = (service.account("").await, service.account("").await);
    create(&caller, named("g"), &[&one]).await.unwrap();
    let tenants = role(&caller, "clerk", "").await;
    let own = role(&caller, "clerk", &one).await;
    let others = role(&caller, "boss", &two).await;
    member(&caller, "ada").await;
    let with = |roles: &[&str], entity_roles: Vec<wire::EntityRoles>| wire::GroupMember {
        entity_roles,
        ..in_group("g", "ada", roles)
    };
    let made = upsert(&caller, with(&["clerk"], vec![in_account(&one, &["clerk", &tenants])])).await.unwrap();
    assert_eq!(made.role_ids, [tenants.as_str()]);
    assert_eq!(made.entity_roles, [in_account(&one, &[&own, &tenants])], "the nearest role of the name");
    let not_found = Reason::NotFound;
    refused(upsert(&caller, with(&[&own], vec![])).await, not_found);
    refused(upsert(&caller, with(&["boss"], vec![])).await, not_found);
    refused(upsert(&caller, with(&[], vec![in_account(&one, &[&others])])).await, not_found);
    // An account outside of the group has no say in it.
    refused(upsert(&caller, with(&[], vec![in_account(&two, &["boss"])])).await, not_found);
    refused(upsert(&caller, with(&[], vec![in_account("acc_1111111111111111111111", &[])])).await, not_found);
    let twice = with(&[], vec![in_account(&one, &[]), in_account(&one, &[])]);
    let field = "group_member.entity_roles[1].account_id";
    refused_fields(upsert(&caller, twice).await, Reason::InvalidField, &[field]);
    // What was read can be written back although the account has left.
    remove(&caller, "g", &[&one]).await.unwrap();
    let read = get(&caller, "g", "ada").await.unwrap();
    assert_eq!(upsert(&caller, read.clone()).await.unwrap().entity_roles, read.entity_roles);
    assert_eq!(upsert(&caller, in_group("g", "ada", &[])).await.unwrap().entity_roles, []);
    refused(upsert(&caller, wire::GroupMember { etag: String::new(), ..read }).await, not_found);
}

async fn a_stale_etag_is_a_concurrent_update(service: Service) {
    let caller = caller(&service).await;
    create(&caller, named("g"), &[]).await.unwrap();
    member(&caller, "ada").await;
    let with = |etag: &str| wire::GroupMember { etag: etag.into(), ..in_group("g", "ada", &[]) };
    refused(upsert(&caller, with("v1")).await, Reason::ConcurrentUpdate);
    let one = upsert(&caller, with("")).await.unwrap();
    let two = upsert(&caller, with(&one.etag)).await.unwrap();
    refused(upsert(&caller, with(&one.etag)).await, Reason::ConcurrentUpdate);
    refused(leave(&caller, "g", "ada", &one.etag).await, Reason::ConcurrentUpdate);
    leave(&caller, "g", "ada", &two.etag).await.unwrap();
    leave(&caller, "g", "ada", &two.etag).await.unwrap();
    assert!(members(&caller, "g").await.is_empty());
}

async fn a_member_taken_out_loses_its_place_and_nothing_else(service: Service) {
    let caller = caller(&service).await;
    let account = service.account("").await;
    for group in ["g", "h"] {
        create(&caller, named(group), &[&account]).await.unwrap();
    }
    let id = member(&caller, "ada").await;
    join(&caller, place(&account, "ada", &[])).await.unwrap();
    refused(leave(&caller, "g", "ada", "").await, Reason::NotFound);
    for group in ["g", "h"] {
        upsert(&caller, in_group(group, "ada", &[])).await.unwrap();
    }
    // Twice: taking out who was taken out is fine.
    for _ in 0..2 {
        assert_eq!(leave(&caller, "g", &id, "").await.unwrap().len(), 20);
        refused(get(&caller, "g", &id).await, Reason::NotFound);
        assert_eq!(get_group(&caller, "g").await.unwrap().member_count, 0);
    }
    assert_eq!(members(&caller, "h").await, ["ada"]);
    let get = wire::GetMembershipRequest { account_id: account, member_id: id.clone(), ..Default::default() };
    caller.get_membership(get).await.unwrap();
    assert_eq!(upsert(&caller, in_group("g", "ada", &[])).await.unwrap().member_id, id);
}

async fn a_role_of_a_group_member_cannot_be_deleted(service: Service) {
    let caller = caller(&service).await;
    let account = service.account("").await;
    for group in ["g", "h"] {
        create(&caller, named(group), &[&account]).await.unwrap();
    }
    let (global, own) = (role(&caller, "clerk", "").await, role(&caller, "boss", &account).await);
    let with = |group: &str, who: &str| wire::GroupMember {
        entity_roles: vec![in_account(&account, &["boss", "clerk"])],
        ..in_group(group, who, &["clerk"])
    };
    for who in ["ada", "eve"] {
        member(&caller, who).await;
    }
    for (group, who) in [("g", "ada"), ("h", "ada"), ("h", "eve")] {
        upsert(&caller, with(group, who)).await.unwrap();
    }
    let in_use = async || {
        for role in [&global, &own] {
            refused(delete_role(&caller, role).await, Reason::RoleInUse);
        }
    };
    in_use().await;
    leave(&caller, "g", "ada", "").await.unwrap();
    in_use().await;
    caller.delete_member(wire::DeleteMemberRequest { member_id: "ada".into(), ..Default::default() }).await.unwrap();
    in_use().await;
    let without =
        wire::GroupMember { entity_roles: vec![in_account(&account, &["boss"])], ..in_group("h", "eve", &[]) };
    upsert(&caller, without).await.unwrap();
    delete_role(&caller, &global).await.unwrap();
    refused(delete_role(&caller, &own).await, Reason::RoleInUse);
    delete(&caller, "h").await.unwrap();
    delete_role(&caller, &own).await.unwrap();
}

async fn deleting_a_member_or_its_group_ends_its_places(service: Service) {
    let caller = caller(&service).await;
    let mut groups = Vec::new();
    for group in ["g", "h"] {
        groups.push(create(&caller, named(group), &[]).await.unwrap().entity_group_id);
        for who in ["ada", "eve"] {
            upsert_new(&caller, in_group(group, who, &[]), Some(person("n", ""))).await.unwrap();
        }
    }
    caller.delete_member(wire::DeleteMemberRequest { member_id: "ada".into(), ..Default::default() }).await.unwrap();
    for group in ["g", "h"] {
        assert_eq!(members(&caller, group).await, ["eve"]);
        assert_eq!(get_group(&caller, group).await.unwrap().member_count, 1);
    }
    delete(&caller, "g").await.unwrap();
    refused(get(&caller, &groups[0], "eve").await, Reason::NotFound);
    refused(upsert(&caller, in_group(&groups[0], "eve", &[])).await, Reason::NotFound);
    assert_eq!(members(&caller, "h").await, ["eve"]);
    delete(&caller, &groups[0]).await.unwrap();
    caller.delete_member(wire::DeleteMemberRequest { member_id: "eve".into(), ..Default::default() }).await.unwrap();
    assert!(members(&caller, "h").await.is_empty());
}

async fn concurrent_upserts_make_one_place_each_and_count_exactly(service: Service) {
    let caller = caller(&service).await;
    let account = service.account("").await;
    for group in ["g", "h"] {
        create(&caller, named(group), &[]).await.unwrap();
    }
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..16 {
        let (caller, account) = (caller.clone(), account.clone());
        calls.spawn(async move {
            // Each foreign id comes twice into each group.
            let (group, who) = (["g", "h"][at % 2], format!("m{}", at / 4));
            upsert_new(&caller, in_group(group, &who, &[]), Some(person("n", ""))).await.unwrap();
            if at == 0 {
                add(&caller, "g", &[&account]).await.unwrap();
            }
        });
    }
    calls.join_all().await;
    for (group, entities) in [("g", 1), ("h", 0)] {
        assert_eq!(members(&caller, group).await, ["m0", "m1", "m2", "m3"]);
        let group = get_group(&caller, group).await.unwrap();
        assert_eq!((group.member_count, group.entity_count), (4, entities));
    }
    assert_eq!(caller.list_members(Default::default()).await.unwrap().members.len(), 4);
}

async fn members_are_filtered_counted_and_paged(service: Service) {
    let caller = caller(&service).await;
    let account = service.account("").await;
    create(&caller, named("g"), &[&account]).await.unwrap();
    let clerk = role(&caller, "clerk", "").await;
    let boss = role(&caller, "boss", &account).await;
    let idle = role(&caller, "idle", "").await;
    for (who, email, roles, own) in [
        ("ada", "ada@example.com", vec!["clerk"], vec![]),
        ("bob", "bob@example.com", vec![], vec!["boss"]),
        ("cyd", "cyd@example.org", vec!["clerk"], vec!["boss"]),
        ("dan", "", vec![], vec![]),
    ] {
        let entity_roles = if own.is_empty() { vec![] } else { vec![in_account(&account, &own)] };
        let place = wire::GroupMember { entity_roles, ..in_group("g", who, &roles) };
        upsert_new(&caller, place, Some(person(&format!("Mx {who} Smith"), email))).await.unwrap();
    }
    let has = |role: &str| format!("role_id:\"{role}\"");
    for (filter, roles, expected) in [
        (String::new(), vec![], vec!["ada", "bob", "cyd", "dan"]),
        ("foreign_id = \"bob\"".into(), vec![], vec!["bob"]),
        ("display_name = \"*cyd*\"".into(), vec![], vec!["cyd"]),
        ("email = \"*@example.com\" AND foreign_id != \"ada\"".into(), vec![], vec!["bob"]),
        (has(&clerk), vec![], vec!["ada", "cyd"]),
        (format!("{} AND {}", has(&clerk), has(&boss)), vec![], vec!["cyd"]),
        (String::new(), vec![&*clerk, &*boss], vec!["ada", "bob", "cyd"]),
        ("email = \"*.com\"".into(), vec![&*boss, &*idle], vec!["bob"]),
        (String::new(), vec![&*idle], vec![]),
    ] {
        for size in [1, 2, 4, 0] {
            assert_eq!(list(&caller, "g", &filter, &roles, size).await, expected, "{filter} {roles:?} {size}");
        }
    }
    let first = wire::ListGroupMembersRequest { entity_group_id: "g".into(), page_size: 1, ..Default::default() };
    let page_token = caller.list_group_members(first.clone()).await.unwrap().next_page_token;
    let other = wire::ListGroupMembersRequest { page_token, role_ids: vec![clerk], ..first };
    refused(caller.list_group_members(other).await, Reason::PageTokenInvalid);
    let wrong =
        wire::ListGroupMembersRequest { entity_group_id: "g".into(), filter: "phone = 1".into(), ..Default::default() };
    refused(caller.list_group_members(wrong).await, Reason::FilterInvalid);
}

/// Accounts with so many members each: `a0` belongs to the first, and so on.
async fn staffed<const N: usize>(service: &Service, caller: &Caller, counts: [usize; N]) -> [String; N] {
    let mut accounts = [const { String::new() }; N];
    for (at, count) in counts.into_iter().enumerate() {
        accounts[at] = service.account("").await;
        for n in 0..count {
            let who = member(caller, &format!("{}{n}", ["a", "b", "c", "d"][at])).await;
            join(caller, place(&accounts[at], &who, &[])).await.unwrap();
        }
    }
    accounts
}

/// How many accounts and members were put in.
pub async fn add_with(
    caller: &Caller,
    group: &str,
    entities: &[&str],
    from: Option<AddFrom>,
    roles: &[&str],
) -> Result<(i32, i32), Status> {
    let request = wire::AddEntitiesRequest {
        entity_group_id: group.to_owned(),
        entity_ids: owned(entities),
        copy_members: from,
        filter_role_ids: owned(roles),
        ..Default::default()
    };
    let reply = caller.add_entities(request).await?;
    let count = get_group(caller, group).await.unwrap().member_count;
    assert_eq!(reply.entity_group.unwrap().member_count, count);
    Ok((reply.added_count, reply.added_member_count))
}

async fn adding_entities_copies_nobody_one_accounts_members_or_the_fullest_ones(service: Service) {
    let caller = caller(&service).await;
    let [a, b, c, d] = staffed(&service, &caller, [1, 3, 3, 0]).await;
    for group in ["none", "id", "auto", "bare"] {
        create(&caller, named(group), &[]).await.unwrap();
    }
    assert_eq!(add_with(&caller, "none", &[&a, &b], None, &[]).await.unwrap(), (2, 0));
    assert!(members(&caller, "none").await.is_empty());
    let from = |account: &str| Some(AddFrom::FromEntity(account.to_owned()));
    assert_eq!(add_with(&caller, "id", &[&a, &b], from(&a), &[]).await.unwrap(), (2, 1));
    assert_eq!(members(&caller, "id").await, ["a0"]);
    // Again: nothing is left to do.
    assert_eq!(add_with(&caller, "id", &[&a, &b], from(&a), &[]).await.unwrap(), (0, 0));
    // From one that was there before; from one that is not in the group nothing is done at all.
    assert_eq!(add_with(&caller, "id", &[&d], from(&b), &[]).await.unwrap(), (1, 3));
    refused(add_with(&caller, "id", &[&c], from("acc_1111111111111111111111"), &[]).await, Reason::NotFound);
    remove(&caller, "id", &[&b]).await.unwrap();
    refused(add_with(&caller, "id", &[&c], from(&b), &[]).await, Reason::NotFound);
    refused(add_with(&caller, "id", &[&c], from(&c), &["none"]).await, Reason::NotFound);
    assert_eq!(get_group(&caller, "id").await.unwrap().entity_count, 2);
    // Of two that have the most members the one that was put in last.
    add(&caller, "auto", &[&c]).await.unwrap();
    service.advance(std::time::Duration::from_secs(1));
    add(&caller, "auto", &[&b]).await.unwrap();
    service.advance(std::time::Duration::from_secs(1));
    assert_eq!(add_with(&caller, "auto", &[&a], Some(AddFrom::Auto(true)), &[]).await.unwrap(), (1, 3));
    assert_eq!(members(&caller, "auto").await, ["b0", "b1", "b2"]);
    assert_eq!(add_with(&caller, "bare", &[&d], Some(AddFrom::Auto(true)), &[]).await.unwrap(), (1, 0));
}

async fn what_is_copied_can_do_in_the_account_what_it_could_before(service: Service) {
    let caller = caller(&service).await;
    let account = service.account("").await;
    let (clerk, boss) = (role(&caller, "clerk", "").await, role(&caller, "boss", &account).await);
    create(&caller, named("g"), &[&account]).await.unwrap();
    for (who, roles) in
        [("global", vec!["clerk"]), ("both", vec!["clerk", "boss"]), ("own", vec!["boss"]), ("none", vec![])]
    {
        member(&caller, who).await;
        join(&caller, place(&account, who, &roles)).await.unwrap();
    }
    // Neither who is not active nor who is there already is copied.
    for who in ["invited", "disabled", "there"] {
        member(&caller, who).await;
    }
    invite(&caller, place(&account, "invited", &["clerk"])).await.unwrap();
    for who in ["disabled", "there"] {
        join(&caller, place(&account, who, &["clerk"])).await.unwrap();
    }
    disable(&caller, &account, "disabled").await.unwrap();
    let there = upsert(&caller, in_group("g", "there", &[])).await.unwrap();
    let sync = |roles: &[&str]| wire::SyncGroupMembersRequest {
        entity_group_id: "g".into(),
        copy_members: Some(SyncFrom::FromEntity(account.clone())),
        filter_role_ids: owned(roles),
        ..Default::default()
    };
    let reply = caller.sync_group_members(sync(&["boss"])).await.unwrap();
    assert_eq!((reply.added_count, reply.unchanged_count), (2, 0));
    assert_eq!(members(&caller, "g").await, ["both", "own", "there"]);
    let reply = caller.sync_group_members(sync(&[])).await.unwrap();
    assert_eq!((reply.added_count, reply.removed_count, reply.unchanged_count), (2, 0, 3));
    for (who, roles, own) in [
        ("global", vec![&*clerk], None),
        ("both", vec![&*clerk], Some(vec![&*clerk, &*boss])),
        ("own", vec![], Some(vec![&*boss])),
        ("none", vec![], None),
    ] {
        let answer = get(&caller, "g", who).await.unwrap();
        assert_eq!(answer.role_ids, owned(&roles), "{who}");
        let own: Vec<_> = own.iter().map(|roles| in_account(&account, roles)).collect();
        assert_eq!(answer.entity_roles, own, "{who}");
    }
    assert_eq!(get(&caller, "g", "there").await.unwrap(), there, "left alone");
}

async fn a_sync_only_adds_unless_it_is_asked_to_remove(service: Service) {
    let caller = caller(&service).await;
    let [a, b] = staffed(&service, &caller, [2, 1]).await;
    create(&caller, named("g"), &[&a, &b]).await.unwrap();
    upsert(&caller, in_group("g", "a0", &[])).await.unwrap();
    upsert(&caller, in_group("g", "b0", &[])).await.unwrap();
    let sync = async |from: SyncFrom, add: Option<bool>, remove: Option<bool>| {
        let request = wire::SyncGroupMembersRequest {
            entity_group_id: "g".into(),
            copy_members: Some(from),
            add_members: add,
            remove_members: remove,
            ..Default::default()
        };
        let reply = caller.sync_group_members(request).await?;
        assert_eq!(reply.position.len(), 20);
        Ok::<_, Status>((reply.added_count, reply.removed_count, reply.unchanged_count))
    };
    let from = |account: &str| SyncFrom::FromEntity(account.to_owned());
    assert_eq!(sync(from(&a), Some(false), Some(true)).await.unwrap(), (0, 1, 1));
    assert_eq!(members(&caller, "g").await, ["a0"]);
    assert_eq!(sync(from(&b), None, None).await.unwrap(), (1, 0, 0));
    assert_eq!(sync(SyncFrom::Auto(true), None, None).await.unwrap(), (1, 0, 1));
    assert_eq!(members(&caller, "g").await, ["a0", "a1", "b0"]);
    assert_eq!(sync(from(&b), None, Some(true)).await.unwrap(), (0, 2, 1));
    assert_eq!(sync(from(&b), None, Some(true)).await.unwrap(), (0, 0, 1));
    assert_eq!(members(&caller, "g").await, ["b0"]);
    let field = &["remove_members"];
    refused_fields(sync(from(&a), Some(false), None).await, Reason::InvalidField, field);
    refused(sync(from("acc_1111111111111111111111"), None, None).await, Reason::NotFound);
    // Without an account that has members nobody is taken out.
    remove(&caller, "g", &[&a, &b]).await.unwrap();
    refused(sync(from(&a), None, None).await, Reason::NotFound);
    assert_eq!(sync(SyncFrom::Auto(true), None, Some(true)).await.unwrap(), (0, 0, 0));
    assert_eq!(members(&caller, "g").await, ["b0"]);
}

async fn a_sync_of_many_members_takes_several_writes(service: Service) {
    let caller = caller(&service).await;
    let [a, b] = staffed(&service, &caller, [130, 1]).await;
    create(&caller, named("g"), &[&a, &b]).await.unwrap();
    let sync = |account: &str| wire::SyncGroupMembersRequest {
        entity_group_id: "g".into(),
        copy_members: Some(SyncFrom::FromEntity(account.to_owned())),
        remove_members: Some(true),
        ..Default::default()
    };
    assert_eq!(caller.sync_group_members(sync(&a)).await.unwrap().added_count, 130);
    assert_eq!(get_group(&caller, "g").await.unwrap().member_count, 130);
    let reply = caller.sync_group_members(sync(&b)).await.unwrap();
    assert_eq!((reply.added_count, reply.removed_count), (1, 130));
    assert_eq!(members(&caller, "g").await, ["b0"]);
    // A group of any size is deleted with its places.
    assert_eq!(caller.sync_group_members(sync(&a)).await.unwrap().removed_count, 1);
    delete(&caller, "g").await.unwrap();
}

async fn confined_callers_and_those_without_the_scope_reach_no_member(service: Service) {
    let free = caller(&service).await;
    let account = service.account("").await;
    create(&free, named("g"), &[&account]).await.unwrap();
    member(&free, "ada").await;
    upsert(&free, in_group("g", "ada", &[])).await.unwrap();
    let confined = service.client_in("default", wire::Client { account_id: account.clone(), ..manager() }).await;
    let confined = service.caller(&confined).await;
    let client = service.client_in("default", manager()).await;
    let with = async |scope: &str| {
        let request = super::calls::IssueExt::scopes(client.client_credentials(), &[scope]);
        service.bearer(&service.anonymous().issue(request).await.access_token)
    };
    let (reader, writer) = (with("jeton.groups.read").await, with("jeton.groups.write").await);
    let reason = Reason::ScopeInsufficient;
    let sync = || wire::SyncGroupMembersRequest {
        entity_group_id: "g".into(),
        copy_members: Some(SyncFrom::Auto(true)),
        ..Default::default()
    };
    let list = || wire::ListGroupMembersRequest { entity_group_id: "g".into(), ..Default::default() };
    for caller in [&confined, &reader] {
        refused(upsert(caller, in_group("g", "ada", &[])).await, reason);
        refused(leave(caller, "g", "ada", "").await, reason);
        refused(caller.sync_group_members(sync()).await, reason);
    }
    for caller in [&confined, &writer] {
        refused(get(caller, "g", "ada").await, reason);
        refused(caller.list_group_members(list()).await, reason);
    }
    get(&reader, "g", "ada").await.unwrap();
    assert_eq!(reader.list_group_members(list()).await.unwrap().group_members.len(), 1);
    upsert(&writer, in_group("g", "ada", &[])).await.unwrap();
    leave(&writer, "g", "ada", "").await.unwrap();
}

async fn malformed_requests_are_refused(service: Service) {
    let caller = caller(&service).await;
    create(&caller, named("g"), &[]).await.unwrap();
    let reason = Reason::InvalidField;
    let nothing = wire::UpsertGroupMemberRequest::default();
    refused_fields(caller.upsert_group_member(nothing).await, reason, &["group_member"]);
    let empty = ["group_member.entity_group_id", "group_member.member_id"];
    refused_fields(upsert(&caller, Default::default()).await, reason, &empty);
    refused_fields(upsert(&caller, in_group("g", "a b", &[])).await, reason, &["group_member.member_id"]);
    let roles = ["x", "x"];
    refused_fields(upsert(&caller, in_group("g", "ada", &roles)).await, reason, &["group_member.role_ids"]);
    let many = wire::GroupMember { entity_roles: vec![Default::default(); 101], ..in_group("g", "ada", &[]) };
    refused_fields(upsert(&caller, many).await, reason, &["group_member.entity_roles"]);
    let nameless = wire::GroupMember { entity_roles: vec![Default::default()], ..in_group("g", "ada", &[]) };
    let field = "group_member.entity_roles[0].account_id";
    refused_fields(upsert(&caller, nameless).await, reason, &[field]);
    let sync = wire::SyncGroupMembersRequest { entity_group_id: "g".into(), ..Default::default() };
    refused_fields(caller.sync_group_members(sync.clone()).await, reason, &["copy_members"]);
    let auto = wire::SyncGroupMembersRequest { copy_members: Some(SyncFrom::Auto(false)), ..sync };
    refused_fields(caller.sync_group_members(auto).await, reason, &["auto"]);
    let account = service.account("").await;
    refused_fields(add_with(&caller, "g", &[&account], None, &["x"]).await, reason, &["filter_role_ids"]);
    assert_eq!(get_group(&caller, "g").await.unwrap().entity_count, 0);
}

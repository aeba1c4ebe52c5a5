//! Entity groups: names, and the accounts in them.

use std::collections::BTreeSet;

use jeton::api::{wire, wire::GroupEntity};
use jeton_contract::reason::Reason;

use super::{
    calls::{Caller, IssueExt as _, owned, refused, refused_fields, seen, uuid},
    harness::{Backend, PUBLIC_URL, Service, manager},
};

on_both_stores! {
    a_group_is_read_by_its_id_and_by_its_foreign_id
    a_foreign_id_is_unique_among_groups_and_free_again_after_delete
    fields_change_by_mask_and_single_metadata_keys_by_name
    a_stale_etag_is_a_concurrent_update
    a_deleted_group_is_gone_and_may_be_deleted_again
    a_repeated_create_gives_the_same_group
    accounts_are_added_and_removed_once
    a_thousand_accounts_go_in_and_out_in_one_call
    an_account_may_be_in_several_groups_and_a_group_empty
    concurrent_calls_lose_no_entity_and_no_count
    a_deleted_account_counts_as_not_there
    one_account_that_is_not_there_stops_the_whole_call
    an_account_of_another_tenant_is_as_one_that_never_existed
    entities_are_listed_page_by_page_with_chosen_metadata
    groups_are_filtered_and_paged
    a_page_token_belongs_to_its_query
    confined_callers_reach_no_group
    the_scopes_for_groups_are_needed
    malformed_requests_are_refused
}

#[tokio::test]
async fn what_a_replica_remembers_of_a_group_ends_with_the_change_of_another() {
    let service = Service::start(Backend::Redis).await;
    let replica = service.replica().await;
    let caller = caller(&service).await;
    let (one, two) = (service.account("").await, service.account("").await);
    let group = create(&caller, named("g"), &[&one]).await.unwrap().entity_group_id;
    service.settle().await;
    // Twice: from the store, then from memory.
    for _ in 0..2 {
        assert!(replica.is_entity(&group, &one).await);
        assert!(!replica.is_entity(&group, &two).await);
    }
    add(&caller, "g", &[&two]).await.unwrap();
    remove(&caller, "g", &[&one]).await.unwrap();
    assert!(!replica.is_entity(&group, &one).await);
    assert!(replica.is_entity(&group, &two).await);
    delete(&caller, "g").await.unwrap();
    assert!(!replica.is_entity(&group, &two).await, "nobody gets to the places of a deleted group");
}

pub async fn caller(service: &Service) -> Caller {
    service.caller(&service.client_in("default", manager()).await).await
}

pub fn named(foreign: &str) -> wire::EntityGroup {
    wire::EntityGroup { display_name: "n".into(), foreign_id: foreign.into(), ..Default::default() }
}

pub async fn create(
    caller: &Caller,
    group: wire::EntityGroup,
    entities: &[&str],
) -> Result<wire::EntityGroup, tonic::Status> {
    let request =
        wire::CreateEntityGroupRequest { entity_group: Some(group), entity_ids: owned(entities), ..Default::default() };
    caller.create_entity_group(request).await.map(|reply| reply.entity_group.unwrap())
}

pub async fn get(caller: &Caller, id: &str) -> Result<wire::EntityGroup, tonic::Status> {
    let request = wire::GetEntityGroupRequest { entity_group_id: id.to_owned(), ..Default::default() };
    caller.get_entity_group(request).await.map(|reply| reply.entity_group.unwrap())
}

pub async fn delete(caller: &Caller, id: &str) -> Result<String, tonic::Status> {
    let request = wire::DeleteEntityGroupRequest { entity_group_id: id.to_owned(), ..Default::default() };
    caller.delete_entity_group(request).await.map(|reply| reply.position)
}

pub async fn update(
    caller: &Caller,
    group: wire::EntityGroup,
    paths: &[&str],
) -> Result<wire::EntityGroup, tonic::Status> {
    let update_mask = (!paths.is_empty()).then(|| prost_types::FieldMask { paths: owned(paths) });
    let request = wire::UpdateEntityGroupRequest { entity_group: Some(group), update_mask, ..Default::default() };
    caller.update_entity_group(request).await.map(|reply| reply.entity_group.unwrap())
}

/// How many were put in, how many were there already, and how many the group has now.
pub async fn add(caller: &Caller, id: &str, entities: &[&str]) -> Result<(i32, i32, i64), tonic::Status> {
    let request =
        wire::AddEntitiesRequest { entity_group_id: id.to_owned(), entity_ids: owned(entities), ..Default::default() };
    let reply = caller.add_entities(request).await?;
    Ok((reply.added_count, reply.unchanged_count, reply.entity_group.unwrap().entity_count))
}

/// How many were taken out, how many were not there, and how many the group has now.
pub async fn remove(caller: &Caller, id: &str, entities: &[&str]) -> Result<(i32, i32, i64), tonic::Status> {
    let request = wire::RemoveEntitiesRequest {
        entity_group_id: id.to_owned(),
        entity_ids: owned(entities),
        ..Default::default()
    };
    let reply = caller.remove_entities(request).await?;
    Ok((reply.removed_count, reply.unchanged_count, reply.entity_group.unwrap().entity_count))
}

async fn page(caller: &Caller, id: &str, size: i32, page_token: &str) -> (Vec<GroupEntity>, String) {
    let request = wire::ListGroupEntitiesRequest {
        entity_group_id: id.to_owned(),
        page_size: size,
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    let page = caller.list_group_entities(request).await.unwrap();
    (page.entities, page.next_page_token)
}

/// The ids of all accounts in a group, read in small pages.
async fn entities(caller: &Caller, id: &str) -> Vec<String> {
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let (entities, next) = page(caller, id, 3, &token).await;
        assert!(entities.len() <= 3);
        seen.extend(entities.into_iter().map(|entity| entity.account_id));
        if next.is_empty() {
            return seen;
        }
        token = next;
    }
}

async fn accounts(service: &Service, count: usize) -> Vec<String> {
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(service.account("").await);
    }
    made.sort();
    made
}

fn texts(ids: &[String]) -> Vec<&str> {
    ids.iter().map(String::as_str).collect()
}

async fn a_group_is_read_by_its_id_and_by_its_foreign_id(service: Service) {
    let caller = caller(&service).await;
    let account = service.account("").await;
    let group = wire::EntityGroup { email_to_name: "inbox.of-it".into(), ..named("crm:1") };
    let made = create(&caller, group, &[&account]).await.unwrap();
    assert!(made.entity_group_id.starts_with("grp_"));
    assert_eq!((made.tenant_id.as_str(), made.entity_count), ("default", 1));
    assert_eq!((made.foreign_id.as_str(), made.email_to_name.as_str()), ("crm:1", "inbox.of-it"));
    assert_eq!(get(&caller, &made.entity_group_id).await.unwrap(), made);
    assert_eq!(get(&caller, "crm:1").await.unwrap(), made);
    for reference in ["crm:1", &made.entity_group_id] {
        assert_eq!(entities(&caller, reference).await, [account.as_str()]);
        assert_eq!(add(&caller, reference, &[&account]).await.unwrap(), (0, 1, 1));
    }
    assert_eq!(get(&caller, "crm:1").await.unwrap(), made, "nothing was changed, nor was the etag");
    for unknown in ["CRM:1", "grp_0000000000000000000000", "grp_x", &account] {
        refused(get(&caller, unknown).await, Reason::NotFound);
    }
}

async fn a_foreign_id_is_unique_among_groups_and_free_again_after_delete(service: Service) {
    let caller = caller(&service).await;
    let one = create(&caller, named("f"), &[]).await.unwrap();
    let taken = refused(create(&caller, named("f"), &[]).await, Reason::ForeignIdTaken);
    assert!(!format!("{taken:?}").contains(&one.entity_group_id), "the holder is not named");
    let two = create(&caller, named("g"), &[]).await.unwrap();
    let rename = wire::EntityGroup {
        entity_group_id: two.entity_group_id.clone(),
        foreign_id: "f".into(),
        ..Default::default()
    };
    refused(update(&caller, rename.clone(), &[]).await, Reason::ForeignIdTaken);
    delete(&caller, "f").await.unwrap();
    assert_eq!(update(&caller, rename, &[]).await.unwrap().foreign_id, "f");
    assert_eq!(get(&caller, "f").await.unwrap().entity_group_id, two.entity_group_id);
    create(&caller, named("g"), &[]).await.unwrap();
    // Accounts have names of their own, and so has another tenant.
    let account = wire::Account { display_name: "n".into(), foreign_id: "f".into(), ..Default::default() };
    caller.create_account(wire::CreateAccountRequest { account: Some(account), ..Default::default() }).await.unwrap();
    service.tenant("other", Default::default()).await;
    let request = wire::CreateEntityGroupRequest {
        tenant_id: "other".into(),
        entity_group: Some(named("f")),
        ..Default::default()
    };
    service.admin().await.create_entity_group(request).await.unwrap();
}

async fn fields_change_by_mask_and_single_metadata_keys_by_name(service: Service) {
    let caller = caller(&service).await;
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let group = wire::EntityGroup {
        metadata: map(&[("a", "1"), ("b", "2")]),
        labels: map(&[("l", "x")]),
        email_to_name: "e".into(),
        ..named("f")
    };
    let made = create(&caller, group, &[]).await.unwrap();
    let id = || wire::EntityGroup { entity_group_id: made.entity_group_id.clone(), ..Default::default() };
    let keys = wire::EntityGroup { metadata: map(&[("a", "9"), ("c", "3")]), ..id() };
    let now = update(&caller, keys, &["metadata.a", "metadata.b"]).await.unwrap();
    assert_eq!(now.metadata, map(&[("a", "9")]));
    let now = update(&caller, wire::EntityGroup { metadata: map(&[("z", "0")]), ..id() }, &[]).await.unwrap();
    assert_eq!((now.metadata, now.labels), (map(&[("z", "0")]), map(&[("l", "x")])));
    let now = update(&caller, id(), &["foreign_id", "email_to_name", "labels", "metadata"]).await.unwrap();
    assert_eq!((now.foreign_id.as_str(), now.email_to_name.as_str()), ("", ""));
    assert_eq!((now.labels.len(), now.metadata.len(), now.display_name.as_str()), (0, 0, "n"));
    refused(get(&caller, "f").await, Reason::NotFound);
    for path in ["entity_group_id", "tenant_id", "entity_count", "create_time", "etag", "nonsense", "metadata."] {
        refused_fields(update(&caller, id(), &[path]).await, Reason::FieldImmutable, &["update_mask.paths[0]"]);
    }
    let nameless = update(&caller, id(), &["display_name"]).await;
    refused_fields(nameless, Reason::InvalidField, &["entity_group.display_name"]);
}

async fn a_stale_etag_is_a_concurrent_update(service: Service) {
    let caller = caller(&service).await;
    let account = service.account("").await;
    let made = create(&caller, named("f"), &[]).await.unwrap();
    add(&caller, "f", &[&account]).await.unwrap();
    let rename = wire::EntityGroup { display_name: "1".into(), ..made.clone() };
    refused(update(&caller, rename, &["display_name"]).await, Reason::ConcurrentUpdate);
    let delete = wire::DeleteEntityGroupRequest { entity_group_id: "f".into(), etag: made.etag, ..Default::default() };
    refused(caller.delete_entity_group(delete).await, Reason::ConcurrentUpdate);
    let current = get(&caller, "f").await.unwrap();
    let rename = wire::EntityGroup { display_name: "2".into(), ..current };
    assert_eq!(update(&caller, rename, &["display_name"]).await.unwrap().entity_count, 1);
}

async fn a_deleted_group_is_gone_and_may_be_deleted_again(service: Service) {
    let caller = caller(&service).await;
    let account = service.account("").await;
    let id = create(&caller, named("f"), &[&account]).await.unwrap().entity_group_id;
    let first = delete(&caller, "f").await.unwrap();
    assert!(delete(&caller, &id).await.unwrap() > first);
    refused(delete(&caller, "f").await, Reason::NotFound);
    refused(get(&caller, &id).await, Reason::NotFound);
    refused(add(&caller, &id, &[&account]).await, Reason::NotFound);
    refused(remove(&caller, &id, &[&account]).await, Reason::NotFound);
    let rename = wire::EntityGroup { entity_group_id: id.clone(), display_name: "x".into(), ..Default::default() };
    refused(update(&caller, rename, &[]).await, Reason::NotFound);
    let list = wire::ListGroupEntitiesRequest { entity_group_id: id.clone(), ..Default::default() };
    refused(caller.list_group_entities(list).await, Reason::NotFound);
    assert!(caller.list_entity_groups(Default::default()).await.unwrap().entity_groups.is_empty());
    assert!(!service.is_entity(&id, &account).await);
    // The name leads to the new group, which is empty.
    create(&caller, named("f"), &[]).await.unwrap();
    assert!(entities(&caller, "f").await.is_empty());
}

async fn a_repeated_create_gives_the_same_group(service: Service) {
    let caller = caller(&service).await;
    let account = service.account("").await;
    let request = wire::CreateEntityGroupRequest {
        entity_group: Some(named("f")),
        entity_ids: vec![account],
        request_id: uuid(1),
        ..Default::default()
    };
    let first = caller.create_entity_group(request.clone()).await.unwrap().entity_group.unwrap();
    let again = caller.create_entity_group(request.clone()).await.unwrap().entity_group.unwrap();
    assert_eq!((again.entity_count, &again), (1, &first));
    let other = wire::CreateEntityGroupRequest { entity_ids: Vec::new(), ..request };
    refused(caller.create_entity_group(other).await, Reason::RequestIdReused);
    assert_eq!(caller.list_entity_groups(Default::default()).await.unwrap().entity_groups.len(), 1);
}

async fn accounts_are_added_and_removed_once(service: Service) {
    let caller = caller(&service).await;
    let named_account = wire::Account { display_name: "n".into(), foreign_id: "acme".into(), ..Default::default() };
    let request = wire::CreateAccountRequest { account: Some(named_account), ..Default::default() };
    let acme = caller.create_account(request).await.unwrap().account.unwrap().account_id;
    let ids = accounts(&service, 4).await;
    let group = create(&caller, named("g"), &[]).await.unwrap().entity_group_id;
    assert_eq!(add(&caller, "g", &texts(&ids)).await.unwrap(), (4, 0, 4));
    assert_eq!(add(&caller, "g", &texts(&ids)).await.unwrap(), (0, 4, 4));
    assert_eq!(add(&caller, "g", &["acme", &acme, &ids[0], &ids[0]]).await.unwrap(), (1, 1, 5), "each account once");
    assert_eq!(remove(&caller, "g", &["acme", &ids[1]]).await.unwrap(), (2, 0, 3));
    assert_eq!(remove(&caller, "g", &[&acme, &ids[1], &ids[2]]).await.unwrap(), (1, 2, 2));
    assert_eq!(get(&caller, "g").await.unwrap().entity_count, 2);
    assert_eq!(entities(&caller, "g").await, [ids[0].clone(), ids[3].clone()]);
    for (id, is_in) in [(&ids[0], true), (&ids[1], false), (&ids[2], false), (&ids[3], true), (&acme, false)] {
        assert_eq!(service.is_entity(&group, id).await, is_in);
    }
    // Who was taken out can come back.
    assert_eq!(add(&caller, "g", &[&ids[1], "acme"]).await.unwrap(), (2, 0, 4));
    assert!(service.is_entity(&group, &acme).await);
}

async fn a_thousand_accounts_go_in_and_out_in_one_call(service: Service) {
    let caller = caller(&service).await;
    let account = wire::Account { display_name: "n".into(), ..Default::default() };
    let request = wire::CreateAccountRequest { account: Some(account), ..Default::default() };
    let mut ids = Vec::new();
    for _ in 0..1000 {
        ids.push(caller.create_account(request.clone()).await.unwrap().account.unwrap().account_id);
    }
    let group = create(&caller, named("g"), &texts(&ids)).await.unwrap();
    assert_eq!(group.entity_count, 1000);
    assert_eq!(remove(&caller, "g", &texts(&ids)).await.unwrap(), (1000, 0, 0));
    assert_eq!(add(&caller, "g", &texts(&ids)).await.unwrap(), (1000, 0, 1000));
    let (listed, next) = page(&caller, "g", 1000, "").await;
    assert_eq!((listed.len(), next.as_str()), (1000, ""));
}

async fn an_account_may_be_in_several_groups_and_a_group_empty(service: Service) {
    let caller = caller(&service).await;
    let account = service.account("").await;
    for foreign in ["a", "b"] {
        create(&caller, named(foreign), &[&account]).await.unwrap();
    }
    let empty = create(&caller, named("c"), &[]).await.unwrap();
    assert_eq!(empty.entity_count, 0);
    assert!(entities(&caller, "c").await.is_empty());
    remove(&caller, "a", &[&account]).await.unwrap();
    delete(&caller, "c").await.unwrap();
    assert!(entities(&caller, "a").await.is_empty());
    assert_eq!(entities(&caller, "b").await, [account]);
}

async fn concurrent_calls_lose_no_entity_and_no_count(service: Service) {
    let caller = caller(&service).await;
    let ids = accounts(&service, 12).await;
    create(&caller, named("g"), &texts(&ids[..2])).await.unwrap();
    // Each call shares one account with the next.
    let mut calls = tokio::task::JoinSet::new();
    for at in 2..10 {
        let (caller, ids) = (caller.clone(), ids.clone());
        calls.spawn(async move { add(&caller, "g", &texts(&ids[at..at + 2])).await.unwrap() });
    }
    let gone = (caller.clone(), ids.clone());
    calls.spawn(async move { remove(&gone.0, "g", &texts(&gone.1[..2])).await.unwrap() });
    let answer = calls.join_all().await;
    assert_eq!(answer.iter().map(|(changed, ..)| changed).sum::<i32>(), 9 + 2, "{answer:?}");
    assert_eq!(get(&caller, "g").await.unwrap().entity_count, 9);
    assert_eq!(entities(&caller, "g").await, ids[2..11]);
}

async fn a_deleted_account_counts_as_not_there(service: Service) {
    let caller = caller(&service).await;
    let ids = accounts(&service, 3).await;
    create(&caller, named("g"), &texts(&ids[..2])).await.unwrap();
    for id in [&ids[0], &ids[2]] {
        let request = wire::DeleteAccountRequest { account_id: id.clone(), ..Default::default() };
        caller.delete_account(request).await.unwrap();
    }
    assert_eq!(entities(&caller, "g").await, [ids[1].clone()]);
    refused(add(&caller, "g", &[&ids[2]]).await, Reason::NotFound);
    refused(create(&caller, named("h"), &[&ids[2]]).await, Reason::NotFound);
    let back = wire::UndeleteAccountRequest { account_id: ids[0].clone(), ..Default::default() };
    caller.undelete_account(back).await.unwrap();
    assert_eq!(entities(&caller, "g").await, ids[..2]);
    // One that is deleted can be taken out for good.
    let again = wire::DeleteAccountRequest { account_id: ids[0].clone(), ..Default::default() };
    caller.delete_account(again).await.unwrap();
    assert_eq!(remove(&caller, "g", &[&ids[0]]).await.unwrap(), (1, 0, 1));
}

async fn one_account_that_is_not_there_stops_the_whole_call(service: Service) {
    let caller = caller(&service).await;
    let ids = accounts(&service, 2).await;
    create(&caller, named("g"), &[&ids[0]]).await.unwrap();
    for unknown in ["nobody", "acc_0000000000000000000000", "acc_x", "grp_0000000000000000000000"] {
        refused(add(&caller, "g", &[&ids[1], unknown]).await, Reason::NotFound);
        refused(remove(&caller, "g", &[&ids[0], unknown]).await, Reason::NotFound);
        refused(create(&caller, named("h"), &[&ids[1], unknown]).await, Reason::NotFound);
    }
    assert_eq!(entities(&caller, "g").await, [ids[0].clone()]);
    assert_eq!(get(&caller, "g").await.unwrap().entity_count, 1);
    refused(get(&caller, "h").await, Reason::NotFound);
}

async fn an_account_of_another_tenant_is_as_one_that_never_existed(service: Service) {
    let caller = caller(&service).await;
    service.tenant("other", Default::default()).await;
    let account = wire::Account { display_name: "n".into(), foreign_id: "theirs".into(), ..Default::default() };
    let request =
        wire::CreateAccountRequest { tenant_id: "other".into(), account: Some(account), ..Default::default() };
    let theirs = service.admin().await.create_account(request).await.unwrap().account.unwrap().account_id;
    create(&caller, named("g"), &[]).await.unwrap();
    for (theirs, never) in [(theirs.as_str(), "acc_1111111111111111111111"), ("theirs", "nobody")] {
        let [a, b] = [add(&caller, "g", &[theirs]).await, add(&caller, "g", &[never]).await];
        assert_eq!(seen(&a.unwrap_err(), theirs).0, seen(&b.unwrap_err(), never).0);
        let a = refused(remove(&caller, "g", &[theirs]).await, Reason::NotFound);
        let b = refused(remove(&caller, "g", &[never]).await, Reason::NotFound);
        assert_eq!(a.message().replace(theirs, ""), b.message().replace(never, ""));
    }
    assert_eq!(get(&caller, "g").await.unwrap().entity_count, 0);
}

async fn entities_are_listed_page_by_page_with_chosen_metadata(service: Service) {
    let caller = caller(&service).await;
    let mut ids = BTreeSet::new();
    for n in 0..5 {
        let account = wire::Account {
            display_name: format!("acc {n}"),
            foreign_id: format!("f{n}"),
            metadata: ["a", "b"].map(|key| (key.to_owned(), n.to_string())).into(),
            ..Default::default()
        };
        let request = wire::CreateAccountRequest { account: Some(account), ..Default::default() };
        ids.insert(caller.create_account(request).await.unwrap().account.unwrap().account_id);
    }
    create(&caller, named("g"), &["f0", "f1", "f2", "f3", "f4"]).await.unwrap();
    let ids: Vec<_> = ids.into_iter().collect();
    for size in [0, 1, 2, 3, 5, i32::MAX] {
        let (mut seen, mut token) = (Vec::new(), String::new());
        for _ in 0..5 {
            let (entities, next) = page(&caller, "g", size, &token).await;
            seen.extend(entities.into_iter().map(|entity| entity.account_id));
            token = next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!((&seen, token.as_str()), (&ids, ""), "{size}");
    }
    let disable = wire::DisableAccountRequest { account_id: "f3".into(), ..Default::default() };
    let disabled = caller.disable_account(disable).await.unwrap().account.unwrap();
    let request = wire::ListGroupEntitiesRequest {
        entity_group_id: "g".into(),
        return_metadata_keys: owned(&["b", "none"]),
        ..Default::default()
    };
    let answer = caller.list_group_entities(request).await.unwrap().entities;
    let expected = GroupEntity {
        account_id: disabled.account_id.clone(),
        foreign_id: "f3".into(),
        display_name: "acc 3".into(),
        state: wire::AccountState::Disabled.into(),
        metadata: [("b".to_owned(), "3".to_owned())].into(),
    };
    assert_eq!(answer.iter().find(|entity| entity.account_id == disabled.account_id), Some(&expected));
    assert!(page(&caller, "g", 0, "").await.0.iter().all(|entity| entity.metadata.is_empty()));
}

async fn groups_are_filtered_and_paged(service: Service) {
    let caller = caller(&service).await;
    let mut ids = BTreeSet::new();
    for n in 0..5 {
        let labels = [("parity".to_owned(), if n % 2 == 0 { "even" } else { "odd" }.to_owned())];
        let group =
            wire::EntityGroup { display_name: format!("grp {n}"), labels: labels.into(), ..named(&format!("f{n}")) };
        ids.insert(create(&caller, group, &[]).await.unwrap().entity_group_id);
    }
    for (filter, expected) in [
        ("", 5),
        ("display_name = \"* 3\"", 1),
        ("display_name = \"grp*\" AND foreign_id != \"f1\"", 4),
        ("foreign_id = \"f2\"", 1),
        ("labels.parity = \"odd\"", 2),
        ("foreign_id = \"f\"", 0),
    ] {
        for size in [1, 2, 5, 0] {
            let (mut seen, mut page_token) = (Vec::new(), String::new());
            for _ in 0..6 {
                let list = wire::ListEntityGroupsRequest {
                    filter: filter.into(),
                    page_size: size,
                    page_token,
                    ..Default::default()
                };
                let page = caller.list_entity_groups(list).await.unwrap();
                seen.extend(page.entity_groups.into_iter().map(|group| group.entity_group_id));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            assert_eq!((seen.len(), page_token.as_str()), (expected, ""), "{filter} {size}");
            assert!(seen.is_sorted() && seen.iter().all(|id| ids.contains(id)));
        }
    }
    for filter in ["nonsense = 1", "entity_count > 1", "display_name", "labels. = 1"] {
        let list = wire::ListEntityGroupsRequest { filter: filter.into(), ..Default::default() };
        refused(caller.list_entity_groups(list).await, Reason::FilterInvalid);
    }
}

async fn a_page_token_belongs_to_its_query(service: Service) {
    let (caller, other) = (caller(&service).await, caller(&service).await);
    let ids = accounts(&service, 2).await;
    for foreign in ["g", "h"] {
        create(&caller, named(foreign), &texts(&ids)).await.unwrap();
    }
    let reason = Reason::PageTokenInvalid;
    let first = wire::ListGroupEntitiesRequest { entity_group_id: "g".into(), page_size: 1, ..Default::default() };
    let page_token = caller.list_group_entities(first.clone()).await.unwrap().next_page_token;
    let next = wire::ListGroupEntitiesRequest { page_token: page_token.clone(), ..first.clone() };
    // The page size is no part of the query.
    let wider = wire::ListGroupEntitiesRequest { page_size: 9, ..next.clone() };
    assert_eq!(caller.list_group_entities(wider).await.unwrap().entities.len(), 1);
    let elsewhere = wire::ListGroupEntitiesRequest { entity_group_id: "h".into(), ..next.clone() };
    refused(caller.list_group_entities(elsewhere).await, reason);
    let keys = wire::ListGroupEntitiesRequest { return_metadata_keys: owned(&["a"]), ..next.clone() };
    refused(caller.list_group_entities(keys).await, reason);
    refused(other.list_group_entities(next).await, reason);
    let groups = wire::ListEntityGroupsRequest { page_size: 1, ..Default::default() };
    let strange = wire::ListEntityGroupsRequest { page_token, ..groups.clone() };
    refused(caller.list_entity_groups(strange).await, reason);
    let page_token = caller.list_entity_groups(groups.clone()).await.unwrap().next_page_token;
    let filtered = wire::ListEntityGroupsRequest { page_token, filter: "foreign_id = \"h\"".into(), ..groups };
    refused(caller.list_entity_groups(filtered).await, reason);
}

async fn confined_callers_reach_no_group(service: Service) {
    let free = caller(&service).await;
    let account = service.account("").await;
    let id = create(&free, named("g"), &[&account]).await.unwrap().entity_group_id;
    let confined = service.client_in("default", wire::Client { account_id: account.clone(), ..manager() }).await;
    let broker = service.client_in("default", manager()).await;
    let token = broker.account(&account).scopes(&["jeton.groups.read", "jeton.groups.write"]);
    let token = service.anonymous().issue(token.audience(&[&format!("{PUBLIC_URL}/t/default")])).await;
    for caller in [service.caller(&confined).await, service.bearer(&token.access_token)] {
        let reason = Reason::ScopeInsufficient;
        // The reply does not show whether there is such a group.
        for reference in [id.as_str(), "grp_0000000000000000000000"] {
            refused(get(&caller, reference).await, reason);
            refused(add(&caller, reference, &[&account]).await, reason);
            refused(remove(&caller, reference, &[&account]).await, reason);
            refused(delete(&caller, reference).await, reason);
            let rename =
                wire::EntityGroup { entity_group_id: reference.into(), display_name: "x".into(), ..Default::default() };
            refused(update(&caller, rename, &[]).await, reason);
            let list = wire::ListGroupEntitiesRequest { entity_group_id: reference.into(), ..Default::default() };
            refused(caller.list_group_entities(list).await, reason);
        }
        refused(create(&caller, named("h"), &[]).await, reason);
        refused(caller.list_entity_groups(Default::default()).await, reason);
    }
    assert_eq!(entities(&free, "g").await, [account]);
}

async fn the_scopes_for_groups_are_needed(service: Service) {
    let client = service.client_in("default", manager()).await;
    let account = service.account("").await;
    create(&caller(&service).await, named("g"), &[&account]).await.unwrap();
    let with = async |scope: &str| {
        service.bearer(&service.anonymous().issue(client.client_credentials().scopes(&[scope])).await.access_token)
    };
    let (reader, writer) = (with("jeton.groups.read").await, with("jeton.groups.write").await);
    let reason = Reason::ScopeInsufficient;
    assert_eq!(entities(&reader, "g").await, [account.as_str()]);
    refused(add(&reader, "g", &[&account]).await, reason);
    refused(remove(&reader, "g", &[&account]).await, reason);
    refused(create(&reader, named("h"), &[]).await, reason);
    refused(delete(&reader, "g").await, reason);
    refused(get(&writer, "g").await, reason);
    refused(writer.list_entity_groups(Default::default()).await, reason);
    remove(&writer, "g", &[&account]).await.unwrap();
}

async fn malformed_requests_are_refused(service: Service) {
    let caller = caller(&service).await;
    let reason = Reason::InvalidField;
    let made = create(&caller, named("g"), &[]).await.unwrap();
    refused_fields(create(&caller, Default::default(), &[]).await, reason, &["entity_group.display_name"]);
    for foreign in ["tok_x", "acc_x", "grp_x", "jcs_x", "a b", "é", &"x".repeat(129)] {
        refused_fields(create(&caller, named(foreign), &[]).await, reason, &["entity_group.foreign_id"]);
    }
    for local in ["a b", "a@b", "é", &"x".repeat(65)] {
        let group = wire::EntityGroup { email_to_name: local.into(), ..named("") };
        refused_fields(create(&caller, group, &[]).await, reason, &["entity_group.email_to_name"]);
    }
    let metadata = (0..65).map(|n| (n.to_string(), String::new())).collect();
    let group = wire::EntityGroup { metadata, ..named("") };
    refused_fields(create(&caller, group, &[]).await, reason, &["entity_group.metadata"]);
    refused_fields(create(&caller, named(""), &vec!["x"; 1001]).await, reason, &["entity_ids"]);
    refused_fields(create(&caller, named(""), &[""]).await, reason, &["entity_ids[0]"]);
    for entities in [vec![], vec!["x"; 1001]] {
        refused_fields(add(&caller, "g", &entities).await, reason, &["entity_ids"]);
        refused_fields(remove(&caller, "g", &entities).await, reason, &["entity_ids"]);
    }
    refused_fields(add(&caller, "", &["x"]).await, reason, &["entity_group_id"]);
    refused_fields(get(&caller, "").await, reason, &["entity_group_id"]);
    refused_fields(update(&caller, named("x"), &[]).await, reason, &["entity_group.entity_group_id"]);
    let list = wire::ListGroupEntitiesRequest { page_size: -1, entity_group_id: "g".into(), ..Default::default() };
    refused_fields(caller.list_group_entities(list).await, reason, &["page_size"]);
    assert_eq!(get(&caller, "g").await.unwrap(), made);
}

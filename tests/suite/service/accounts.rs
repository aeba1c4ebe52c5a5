//! Accounts: names, the tree, and what becomes of both.

use jeton::api::wire;
use jeton_contract::reason::Reason;

use super::{
    calls::{Caller, owned, refused, refused_fields},
    harness::{Service, manager},
};

on_both_stores! {
    an_account_is_read_by_its_id_and_by_its_foreign_id
    a_foreign_id_is_unique_and_free_again_after_delete
    a_registration_id_is_unique_and_free_again_after_delete
    a_foreign_id_with_a_reserved_prefix_is_refused
    undelete_gives_the_names_back_unless_they_are_taken
    the_tree_is_eight_levels_deep_and_parents_never_change
    a_parent_may_disallow_children
    an_account_with_children_cannot_be_deleted
    fields_change_by_mask_and_single_metadata_keys_by_name
    a_stale_etag_is_a_concurrent_update
}

async fn caller(service: &Service) -> Caller {
    service.caller(&service.client_in("default", manager()).await).await
}

fn named(foreign: &str, registration: &str) -> wire::Account {
    wire::Account {
        display_name: "n".into(),
        foreign_id: foreign.into(),
        registration_id: registration.into(),
        ..Default::default()
    }
}

async fn create(caller: &Caller, account: wire::Account) -> Result<wire::Account, tonic::Status> {
    let request = wire::CreateAccountRequest { account: Some(account), ..Default::default() };
    caller.create_account(request).await.map(|reply| reply.account.unwrap())
}

async fn get(caller: &Caller, id: &str) -> Result<wire::Account, tonic::Status> {
    let request = wire::GetAccountRequest { account_id: id.to_owned(), ..Default::default() };
    caller.get_account(request).await.map(|reply| reply.account.unwrap())
}

async fn delete(caller: &Caller, id: &str) -> Result<wire::Account, tonic::Status> {
    let request = wire::DeleteAccountRequest { account_id: id.to_owned(), ..Default::default() };
    caller.delete_account(request).await.map(|reply| reply.account.unwrap())
}

async fn undelete(caller: &Caller, id: &str) -> Result<wire::Account, tonic::Status> {
    let request = wire::UndeleteAccountRequest { account_id: id.to_owned(), ..Default::default() };
    caller.undelete_account(request).await.map(|reply| reply.account.unwrap())
}

async fn update(caller: &Caller, account: wire::Account, paths: &[&str]) -> Result<wire::Account, tonic::Status> {
    let update_mask = (!paths.is_empty()).then(|| prost_types::FieldMask { paths: owned(paths) });
    let request = wire::UpdateAccountRequest { account: Some(account), update_mask, ..Default::default() };
    caller.update_account(request).await.map(|reply| reply.account.unwrap())
}

async fn an_account_is_read_by_its_id_and_by_its_foreign_id(service: Service) {
    let caller = caller(&service).await;
    let made = create(&caller, named("crm:1", "SE-1")).await.unwrap();
    assert!(made.account_id.starts_with("acc_"));
    assert_eq!((made.state(), made.ancestor_ids.len()), (wire::AccountState::Enabled, 0));
    assert_eq!(get(&caller, &made.account_id).await.unwrap(), made);
    assert_eq!(get(&caller, "crm:1").await.unwrap(), made);
    refused(get(&caller, "CRM:1").await, Reason::NotFound);
    refused(get(&caller, "SE-1").await, Reason::NotFound);
    refused_fields(create(&caller, wire::Account::default()).await, Reason::InvalidField, &["account.display_name"]);
}

async fn a_foreign_id_is_unique_and_free_again_after_delete(service: Service) {
    let caller = caller(&service).await;
    let one = create(&caller, named("f", "")).await.unwrap();
    let taken = refused(create(&caller, named("f", "")).await, Reason::ForeignIdTaken);
    assert!(!format!("{taken:?}").contains(&one.account_id), "the holder is not named");
    let two = create(&caller, named("g", "")).await.unwrap();
    let rename = wire::Account { account_id: two.account_id.clone(), foreign_id: "f".into(), ..Default::default() };
    refused(update(&caller, rename.clone(), &[]).await, Reason::ForeignIdTaken);
    delete(&caller, &one.account_id).await.unwrap();
    assert_eq!(update(&caller, rename, &[]).await.unwrap().foreign_id, "f");
    assert_eq!(get(&caller, "f").await.unwrap().account_id, two.account_id);
    create(&caller, named("g", "")).await.unwrap();
}

async fn a_registration_id_is_unique_and_free_again_after_delete(service: Service) {
    let caller = caller(&service).await;
    let one = create(&caller, named("", "r")).await.unwrap();
    refused(create(&caller, named("", "r")).await, Reason::RegistrationIdTaken);
    delete(&caller, &one.account_id).await.unwrap();
    create(&caller, named("", "r")).await.unwrap();
    refused(undelete(&caller, &one.account_id).await, Reason::RegistrationIdTaken);
    // Another tenant has names of its own.
    service.tenant("other", Default::default()).await;
    let request =
        wire::CreateAccountRequest { tenant_id: "other".into(), account: Some(named("f", "r")), ..Default::default() };
    service.admin().await.create_account(request).await.unwrap();
    create(&caller, named("f", "")).await.unwrap();
}

async fn a_foreign_id_with_a_reserved_prefix_is_refused(service: Service) {
    let caller = caller(&service).await;
    for prefix in ["tok_", "fam_", "cli_", "acc_", "mem_", "grp_", "ten_", "jta_", "jtr_", "jcs_"] {
        let result = create(&caller, named(&format!("{prefix}x"), "")).await;
        refused_fields(result, Reason::InvalidField, &["account.foreign_id"]);
    }
    for malformed in ["a b", "é", &"x".repeat(129)] {
        refused_fields(create(&caller, named(malformed, "")).await, Reason::InvalidField, &["account.foreign_id"]);
    }
}

async fn undelete_gives_the_names_back_unless_they_are_taken(service: Service) {
    let caller = caller(&service).await;
    let one = create(&caller, named("f", "")).await.unwrap();
    let deleted = delete(&caller, "f").await.unwrap();
    assert!(deleted.delete_time.is_some());
    refused(get(&caller, "f").await, Reason::NotFound);
    assert_eq!(get(&caller, &one.account_id).await.unwrap().state(), wire::AccountState::Deleted);
    let back = undelete(&caller, &one.account_id).await.unwrap();
    assert_eq!((back.state(), back.delete_time), (wire::AccountState::Enabled, None));
    assert_eq!(get(&caller, "f").await.unwrap().account_id, one.account_id);
    assert_eq!(undelete(&caller, &one.account_id).await.unwrap().account_id, one.account_id);
    delete(&caller, "f").await.unwrap();
    create(&caller, named("f", "")).await.unwrap();
    refused(undelete(&caller, &one.account_id).await, Reason::ForeignIdTaken);
    // Below a deleted parent there is nothing to come back to.
    let parent = create(&caller, named("p", "")).await.unwrap();
    let child = create(&caller, wire::Account { parent_id: "p".into(), ..named("c", "") }).await.unwrap();
    delete(&caller, "c").await.unwrap();
    delete(&caller, "p").await.unwrap();
    refused(undelete(&caller, &child.account_id).await, Reason::Disabled);
    undelete(&caller, &parent.account_id).await.unwrap();
    undelete(&caller, &child.account_id).await.unwrap();
}

async fn the_tree_is_eight_levels_deep_and_parents_never_change(service: Service) {
    let caller = caller(&service).await;
    let mut line = Vec::new();
    for _ in 0..8 {
        let parent_id = line.first().cloned().unwrap_or_default();
        let made = create(&caller, wire::Account { parent_id, ..named("", "") }).await.unwrap();
        assert_eq!(made.ancestor_ids, line, "nearest first");
        line.insert(0, made.account_id);
    }
    let ninth = create(&caller, wire::Account { parent_id: line[0].clone(), ..named("", "") }).await;
    refused(ninth, Reason::AccountTooDeep);
    let missing =
        create(&caller, wire::Account { parent_id: "acc_0000000000000000000000".into(), ..named("", "") }).await;
    refused(missing, Reason::NotFound);
    let moved = wire::Account { account_id: line[0].clone(), parent_id: line[7].clone(), ..Default::default() };
    refused_fields(update(&caller, moved, &["parent_id"]).await, Reason::FieldImmutable, &["update_mask.paths[0]"]);
    assert_eq!(get(&caller, &line[0]).await.unwrap().parent_id, line[1]);
}

async fn a_parent_may_disallow_children(service: Service) {
    let caller = caller(&service).await;
    let parent = create(&caller, wire::Account { children_disabled: true, ..named("p", "") }).await.unwrap();
    let child = || wire::Account { parent_id: "p".into(), ..named("", "") };
    refused(create(&caller, child()).await, Reason::ChildrenDisabled);
    let allow = wire::Account { account_id: parent.account_id, ..Default::default() };
    update(&caller, allow, &["children_disabled"]).await.unwrap();
    create(&caller, child()).await.unwrap();
}

async fn an_account_with_children_cannot_be_deleted(service: Service) {
    let caller = caller(&service).await;
    create(&caller, named("p", "")).await.unwrap();
    create(&caller, wire::Account { parent_id: "p".into(), ..named("c", "") }).await.unwrap();
    refused(delete(&caller, "p").await, Reason::AccountHasChildren);
    delete(&caller, "c").await.unwrap();
    let gone = delete(&caller, "p").await.unwrap();
    // By its id a second time is fine, and nobody is created below it.
    delete(&caller, &gone.account_id).await.unwrap();
    refused(
        create(&caller, wire::Account { parent_id: gone.account_id.clone(), ..named("", "") }).await,
        Reason::NotFound,
    );
    let rename = wire::Account { account_id: gone.account_id, display_name: "x".into(), ..Default::default() };
    refused(update(&caller, rename, &[]).await, Reason::NotFound);
}

async fn fields_change_by_mask_and_single_metadata_keys_by_name(service: Service) {
    let caller = caller(&service).await;
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let made = create(
        &caller,
        wire::Account { metadata: map(&[("a", "1"), ("b", "2")]), labels: map(&[("l", "x")]), ..named("f", "r") },
    );
    let made = made.await.unwrap();
    let id = || wire::Account { account_id: made.account_id.clone(), ..Default::default() };
    let keys = wire::Account { metadata: map(&[("a", "9"), ("c", "3")]), ..id() };
    let now = update(&caller, keys, &["metadata.a", "metadata.b"]).await.unwrap();
    assert_eq!(now.metadata, map(&[("a", "9")]));
    let now = update(&caller, wire::Account { metadata: map(&[("z", "0")]), ..id() }, &[]).await.unwrap();
    assert_eq!((now.metadata, now.labels), (map(&[("z", "0")]), map(&[("l", "x")])));
    let now = update(&caller, id(), &["foreign_id", "registration_id", "labels"]).await.unwrap();
    assert_eq!((now.foreign_id.as_str(), now.registration_id.as_str(), now.labels.len()), ("", "", 0));
    refused(get(&caller, "f").await, Reason::NotFound);
    for path in ["account_id", "tenant_id", "ancestor_ids", "state", "delete_time", "etag", "nonsense", "metadata."] {
        refused_fields(update(&caller, id(), &[path]).await, Reason::FieldImmutable, &["update_mask.paths[0]"]);
    }
}

async fn a_stale_etag_is_a_concurrent_update(service: Service) {
    let caller = caller(&service).await;
    let made = create(&caller, named("f", "")).await.unwrap();
    let rename = |name: &str| wire::Account { display_name: name.into(), ..made.clone() };
    update(&caller, rename("1"), &["display_name"]).await.unwrap();
    refused(update(&caller, rename("2"), &["display_name"]).await, Reason::ConcurrentUpdate);
    let delete = wire::DeleteAccountRequest { account_id: "f".into(), etag: made.etag.clone(), ..Default::default() };
    refused(caller.delete_account(delete).await, Reason::ConcurrentUpdate);
    assert_eq!(get(&caller, "f").await.unwrap().display_name, "1");
}

//! Roles: names, permissions, and who may change them.

use jeton::api::wire;
use jeton_contract::reason::Reason;

use super::{
    calls::{Caller, owned, refused, refused_fields},
    harness::{Service, manager},
};

on_both_stores! {
    a_role_is_created_changed_and_deleted
    a_name_is_unique_in_its_account_and_case_sensitive
    permissions_must_be_well_formed
    roles_are_listed_of_the_tenant_or_of_an_account
    a_confined_caller_changes_the_roles_of_its_own_accounts_only
    a_repeated_create_makes_one_role
}

async fn caller(service: &Service) -> Caller {
    service.caller(&service.client_in("default", manager()).await).await
}

fn role(name: &str, account: &str, permissions: &[&str]) -> wire::Role {
    wire::Role { name: name.into(), account_id: account.into(), permissions: owned(permissions), ..Default::default() }
}

async fn create(caller: &Caller, role: wire::Role) -> Result<wire::Role, tonic::Status> {
    let request = wire::CreateRoleRequest { role: Some(role), ..Default::default() };
    caller.create_role(request).await.map(|reply| reply.role.unwrap())
}

async fn get(caller: &Caller, id: &str) -> Result<wire::Role, tonic::Status> {
    let request = wire::GetRoleRequest { role_id: id.to_owned(), ..Default::default() };
    caller.get_role(request).await.map(|reply| reply.role.unwrap())
}

async fn update(caller: &Caller, role: wire::Role, paths: &[&str]) -> Result<wire::Role, tonic::Status> {
    let update_mask = (!paths.is_empty()).then(|| prost_types::FieldMask { paths: owned(paths) });
    let request = wire::UpdateRoleRequest { role: Some(role), update_mask, ..Default::default() };
    caller.update_role(request).await.map(|reply| reply.role.unwrap())
}

async fn delete(caller: &Caller, id: &str) -> Result<String, tonic::Status> {
    let request = wire::DeleteRoleRequest { role_id: id.to_owned(), ..Default::default() };
    caller.delete_role(request).await.map(|reply| reply.position)
}

async fn names(caller: &Caller, account: &str, filter: &str) -> Vec<String> {
    let request = wire::ListRolesRequest { account_id: account.into(), filter: filter.into(), ..Default::default() };
    let mut names: Vec<_> = caller.list_roles(request).await.unwrap().roles.into_iter().map(|role| role.name).collect();
    names.sort_unstable();
    names
}

async fn a_role_is_created_changed_and_deleted(service: Service) {
    let caller = caller(&service).await;
    let made = create(&caller, role("Approver 1", "", &["invoice.approve", "invoice.*:own"])).await.unwrap();
    assert!(made.role_id.starts_with("rol_"));
    assert_eq!((made.tenant_id.as_str(), made.account_id.as_str()), ("default", ""));
    assert_eq!(get(&caller, &made.role_id).await.unwrap(), made);
    refused(get(&caller, "Approver 1").await, Reason::NotFound);
    let id = || wire::Role { role_id: made.role_id.clone(), ..Default::default() };
    let now = update(&caller, wire::Role { name: "Approver".into(), ..id() }, &[]).await.unwrap();
    assert_eq!((now.name.as_str(), &now.permissions), ("Approver", &made.permissions));
    let now = update(&caller, id(), &["permissions"]).await.unwrap();
    assert!(now.permissions.is_empty());
    refused(
        update(&caller, wire::Role { name: "x".into(), ..made.clone() }, &["name"]).await,
        Reason::ConcurrentUpdate,
    );
    refused_fields(update(&caller, id(), &["account_id"]).await, Reason::FieldImmutable, &["update_mask.paths[0]"]);
    refused_fields(update(&caller, id(), &["name"]).await, Reason::InvalidField, &["role.name"]);
    assert_eq!(delete(&caller, &made.role_id).await.unwrap().len(), 20);
    refused(get(&caller, &made.role_id).await, Reason::NotFound);
    refused(delete(&caller, &made.role_id).await, Reason::NotFound);
    refused(update(&caller, wire::Role { name: "y".into(), ..id() }, &[]).await, Reason::NotFound);
    create(&caller, role("Approver", "", &[])).await.unwrap();
}

async fn a_name_is_unique_in_its_account_and_case_sensitive(service: Service) {
    let caller = caller(&service).await;
    let (one, two) = (service.account("").await, service.account("").await);
    create(&caller, role("admin", "", &[])).await.unwrap();
    create(&caller, role("admin", &one, &[])).await.unwrap();
    create(&caller, role("admin", &two, &[])).await.unwrap();
    let other = create(&caller, role("Admin", &one, &[])).await.unwrap();
    for account in ["", &one, &two] {
        refused(create(&caller, role("admin", account, &[])).await, Reason::RoleNameTaken);
    }
    let rename = wire::Role { role_id: other.role_id.clone(), name: "admin".into(), ..Default::default() };
    refused(update(&caller, rename, &[]).await, Reason::RoleNameTaken);
    // A name that was given up is free.
    let rename = wire::Role { role_id: other.role_id, name: "chief".into(), ..Default::default() };
    update(&caller, rename, &[]).await.unwrap();
    create(&caller, role("Admin", &one, &[])).await.unwrap();
}

async fn permissions_must_be_well_formed(service: Service) {
    let caller = caller(&service).await;
    let bad = create(&caller, role("r", "", &["invoice.read", "invoice", "a.b:all", "*.*"])).await;
    refused_fields(bad, Reason::InvalidField, &["role.permissions[1]", "role.permissions[2]"]);
    refused_fields(create(&caller, role("r", "", &["a.b", "a.b"])).await, Reason::InvalidField, &["role.permissions"]);
    for name in ["", "é", &"x".repeat(256), "rol_1111111111111111111111"] {
        refused_fields(create(&caller, role(name, "", &[])).await, Reason::InvalidField, &["role.name"]);
    }
    refused(create(&caller, role("r", "acc_1111111111111111111111", &[])).await, Reason::NotFound);
}

async fn roles_are_listed_of_the_tenant_or_of_an_account(service: Service) {
    let caller = caller(&service).await;
    let account = service.account("").await;
    for name in ["a1", "a2", "b1"] {
        create(&caller, role(name, "", &[])).await.unwrap();
        create(&caller, role(&format!("own {name}"), &account, &[])).await.unwrap();
    }
    assert_eq!(names(&caller, "", "").await, ["a1", "a2", "b1"]);
    assert_eq!(names(&caller, &account, "").await, ["own a1", "own a2", "own b1"]);
    assert_eq!(names(&caller, "", "name = \"a*\"").await, ["a1", "a2"]);
    let page = wire::ListRolesRequest { page_size: 2, ..Default::default() };
    let first = caller.list_roles(page.clone()).await.unwrap();
    assert_eq!(first.roles.len(), 2);
    let next = wire::ListRolesRequest { page_token: first.next_page_token, ..page };
    let other = wire::ListRolesRequest { account_id: account, ..next.clone() };
    refused(caller.list_roles(other).await, Reason::PageTokenInvalid);
    let second = caller.list_roles(next).await.unwrap();
    assert_eq!((second.roles.len(), second.next_page_token.as_str()), (1, ""));
}

async fn a_confined_caller_changes_the_roles_of_its_own_accounts_only(service: Service) {
    let free = caller(&service).await;
    let (own, other) = (service.account("").await, service.account("").await);
    let child = service.account(&own).await;
    let confined = wire::Client { account_id: own.clone(), ..manager() };
    let confined = service.caller(&service.client_in("default", confined).await).await;
    let tenants = create(&free, role("t", "", &[])).await.unwrap().role_id;
    let others = create(&free, role("o", &other, &[])).await.unwrap().role_id;
    let owns = create(&confined, role("c", &child, &[])).await.unwrap().role_id;
    // It may see those of the tenant, because they can be given in its accounts.
    assert_eq!(get(&confined, &tenants).await.unwrap().name, "t");
    assert_eq!(names(&confined, "", "").await, ["t"]);
    refused(create(&confined, role("x", "", &[])).await, Reason::ScopeInsufficient);
    let rename = |id: &str| wire::Role { role_id: id.to_owned(), name: "x".into(), ..Default::default() };
    refused(update(&confined, rename(&tenants), &[]).await, Reason::ScopeInsufficient);
    refused(delete(&confined, &tenants).await, Reason::ScopeInsufficient);
    refused(get(&confined, &others).await, Reason::NotFound);
    refused(update(&confined, rename(&others), &[]).await, Reason::NotFound);
    refused(delete(&confined, &others).await, Reason::NotFound);
    refused(create(&confined, role("x", &other, &[])).await, Reason::NotFound);
    update(&confined, rename(&owns), &[]).await.unwrap();
    delete(&confined, &owns).await.unwrap();
}

async fn a_repeated_create_makes_one_role(service: Service) {
    let caller = caller(&service).await;
    let request = |name: &str| wire::CreateRoleRequest {
        role: Some(role(name, "", &[])),
        request_id: "6ba7b810-9dad-41d1-80b4-00c04fd430c8".into(),
        ..Default::default()
    };
    let once = caller.create_role(request("n")).await.unwrap().role;
    assert_eq!(once, caller.create_role(request("n")).await.unwrap().role);
    refused(caller.create_role(request("m")).await, Reason::RequestIdReused);
    assert_eq!(names(&caller, "", "").await, ["n"]);
}

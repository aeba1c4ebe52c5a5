//! Every call that needs the head reads it once: when it is permitted.

use jeton::{
    directory::{
        accounts::{AccountPatch, AccountQuery},
        clients::ClientPatch,
        group_sync::{CopyFrom, CopyMembers, SyncOptions},
        groups::GroupPatch,
        members::{MemberPatch, MemberQuery},
        memberships::{Event, Invitee, ListMemberships, NewMembership},
        permit::{Act, Visit},
        profiles::{KindPatch, PasswordPatch, ProfilePatch},
        record::{ProfileKind, State},
        roles::RolePatch,
    },
    issuer::{list::ListSubject, request::Grant, revoke::Target},
    token::{Format, Scopes, filter::Filter},
};

use super::{Service, embedded, pages::first_page};

/// Notes the calls that do not read the head once.
macro_rules! once {
    ($service:ident, $wrong:ident: $($name:literal, |$act:ident| $call:expr;)*) => {$(
        let heads = $service.heads(async {
            let $act: Act = $service.act().await;
            $call.await.unwrap();
        });
        let heads = heads.await;
        if heads != 1 {
            $wrong.push(format!("{} reads it {heads} times", $name));
        }
    )*};
}

#[tokio::test]
async fn calls_on_tokens_read_the_head_once() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::on(embedded(&dir), None).await;
    let issuer = &service.app.issuer;
    let account = service.accounts(1).await.remove(0);
    let mut wrong = Vec::new();
    for (name, grant, format) in [
        ("IssueToken", Grant::ClientCredentials { tenant: None }, Format::Jwt),
        ("IssueToken opaque", Grant::ClientCredentials { tenant: None }, Format::Opaque),
        ("IssueToken for an account", Grant::Account(account.clone()), Format::Opaque),
    ] {
        let heads = service.heads(service.grant(grant, format)).await;
        if heads != 1 {
            wrong.push(format!("{name} reads it {heads} times"));
        }
    }
    let issued = service.issue(Format::Opaque).await;
    let (text, id) = ([issued.text.clone()], issued.token.id.to_string());
    let refresh = issued.refresh.unwrap().0.expose().to_owned();
    for (name, heads) in [
        ("RenewToken", service.heads(service.renew(refresh.clone())).await),
        ("IntrospectToken", service.heads(service.introspect(&text)).await),
        ("RevokeToken", service.heads(service.revoke(&text[0])).await),
    ] {
        if heads != 1 {
            wrong.push(format!("{name} reads it {heads} times"));
        }
    }
    let whose = ListSubject::Account(account.clone());
    let target = Target::Account { slot: account, descendants: true };
    once! { service, wrong:
        "GetToken", |act| issuer.token(&act, &id);
        "ListTokens", |act| issuer.list(&act, &whose, &Filter::default(), &first_page(&act));
        "RevokeToken by id", |act| issuer.revoke_by_id(&act, &id);
        "InvalidateTokens", |act| issuer.invalidate(&Visit::of(&act), Some(&text[0]), Some(&refresh));
        "RevokeAllTokens", |act| issuer.revoke_all(&act, &target, false);
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn calls_on_records_read_the_head_once() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::on(embedded(&dir), None).await;
    let directory = &service.app.issuer.directory;
    let mut wrong = Vec::new();
    let account = || AccountPatch { display_name: Some("n".into()), ..Default::default() };
    let accounts = AccountQuery { parent: None, filter: Filter::default(), show_deleted: false };
    let id = service.accounts(1).await.remove(0);
    once! { service, wrong:
        "CreateAccount", |act| directory.create_account(&act, Some(&id), account(), None);
        "GetAccount", |act| directory.reachable_account(&act, &id);
        "UpdateAccount", |act| directory.update_account(&act, &id, "", account());
        "DisableAccount", |act| directory.set_account_state(&act, &id, State::Disabled);
        "EnableAccount", |act| directory.set_account_state(&act, &id, State::Enabled);
        "ListAccounts", |act| directory.list_accounts(&act, &accounts, &first_page(&act));
    }
    let act = service.act().await;
    let client = directory.create_client(&act, None, ClientPatch::default(), None).await.unwrap().0.id.to_string();
    once! { service, wrong:
        "CreateClient", |act| directory.create_client(&act, None, ClientPatch::default(), None);
        "UpdateClient", |act| directory.update_client(&act, &client, "", ClientPatch::default());
        "CreateClientSecret", |act| directory.create_client_secret(&act, &client, None);
        "ListClients", |act| directory.list_clients(&act, &Filter::default(), &first_page(&act));
        "DisableClient", |act| directory.set_client_state(&act, &client, None, State::Disabled);
        "DeleteClient", |act| directory.set_client_state(&act, &client, None, State::Deleted);
        "AdmitClient", |act| directory.admit_client(
            &act, "cli_1111111111111111111111", (Scopes::default(), Vec::new()), None);
        "ListAdmittedClients", |act| directory.list_admissions(&act, &first_page(&act));
        "ExpelClient", |act| directory.expel_client(&act, "cli_1111111111111111111111");
        "UpdateTenant", |act| directory.update_tenant(&act, "", Default::default());
        "ListTenants", |act| directory.list_tenants(&act, &Filter::default(), &first_page(&act));
        "RotateSigningKey", |act| directory.rotate_signing_key(&act);
        "ListSigningKeys", |act| directory.public_keys(&Visit::of(&act), "default");
    }
    let role = || RolePatch { name: Some("clerk".into()), permissions: None };
    let profile = |name: &str| ProfilePatch {
        display_name: Some(name.into()),
        kind: Some(KindPatch::Password(PasswordPatch::default())),
    };
    let role_id = directory.create_role(&act, None, role(), None).await.unwrap().0.id.to_string();
    let made = directory.create_profile(&act, profile("p"), None).await.unwrap().0;
    assert!(matches!(made.kind, ProfileKind::Password(_)));
    once! { service, wrong:
        "UpdateRole", |act| directory.update_role(&act, &role_id, "", RolePatch::default());
        "ListRoles", |act| directory.list_roles(&act, None, &Filter::default(), &first_page(&act));
        "CreateIdentityProfile", |act| directory.create_profile(&act, profile("q"), None);
        "ListIdentityProfiles", |act| directory.list_profiles(&act, &Filter::default(), &first_page(&act));
        "DeleteIdentityProfile", |act| directory.delete_profile(&act, &made.id.to_string(), "");
        "DeleteRole", |act| directory.delete_role(&act, &role_id, "");
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn calls_on_members_and_groups_read_the_head_once() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::on(embedded(&dir), None).await;
    let directory = &service.app.issuer.directory;
    let mut wrong = Vec::new();
    let act = service.act().await;
    let patch = || MemberPatch { display_name: Some("n".into()), ..Default::default() };
    let member = directory.create_member(&act, patch(), None).await.unwrap().0.id.to_string();
    let accounts = service.accounts(2).await;
    let place = NewMembership {
        account: accounts[0].clone(),
        member: Invitee::Member(member.clone()),
        roles: Vec::new(),
        confirmed: false,
    };
    let members = MemberQuery { filter: Filter::default(), show_deleted: false };
    let of = ListMemberships::Member(member.clone());
    once! { service, wrong:
        "CreateMember", |act| directory.create_member(&act, patch(), None);
        "GetMember", |act| directory.readable_member(&act, &member);
        "UpdateMember", |act| directory.update_member(&act, &member, "", patch());
        "ListMembers", |act| directory.list_members(&act, &members, &first_page(&act));
        "CreateMembership", |act| directory.create_membership(&act, &place, None);
        "AcceptMembership", |act| directory.move_membership(&act, &accounts[0], &member, Event::Accept);
        "UpdateMembership", |act| directory.set_membership_roles(&act, &place, "");
        "ListMemberships", |act| directory.list_memberships(&act, &of, &Filter::default(), &first_page(&act));
    }
    let group = GroupPatch { display_name: Some("g".into()), ..Default::default() };
    let id = directory.create_group(&act, group.clone(), &[], None).await.unwrap().0.id.to_string();
    let copy = CopyMembers { from: CopyFrom::Auto, roles: Vec::new() };
    let sync = SyncOptions { add: true, remove: false };
    once! { service, wrong:
        "CreateEntityGroup", |act| directory.create_group(&act, group.clone(), &accounts, None);
        "UpdateEntityGroup", |act| directory.update_group(&act, &id, "", group.clone());
        "AddEntities", |act| directory.add_entities(&act, &id, &accounts, None);
        "SyncGroupMembers", |act| directory.sync_group_members(&act, &id, &copy, sync);
        "ListGroupEntities", |act| directory.list_group_entities(&act, &id, &first_page(&act));
        "RemoveEntities", |act| directory.remove_entities(&act, &id, &accounts[..1]);
        "ListEntityGroups", |act| directory.list_groups(&act, &Filter::default(), &first_page(&act));
        "DeleteEntityGroup", |act| directory.delete_group(&act, &id, "");
        "DeleteMembership", |act| directory.delete_membership(&act, &accounts[0], &member, "");
        "DeleteMember", |act| directory.delete_member(&act, &member, "");
    }
    assert_eq!(wrong, Vec::<String>::new());
}

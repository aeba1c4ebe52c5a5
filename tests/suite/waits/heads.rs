//! Every call that needs the head reads it once: when it is permitted.

use jeton::{
    directory::{
        accounts::{AccountPatch, AccountQuery},
        clients::ClientPatch,
        group_sync::{CopyFrom, CopyMembers, SyncOptions},
        groups::GroupPatch,
        member_patch::MemberPatch,
        members::MemberQuery,
        memberships::{Event, ListMemberships},
        new_memberships::{Invitee, NewMembership},
        permit::{Act, Visit},
        profiles::{KindPatch, PasswordPatch, ProfilePatch},
        record::{ProfileKind, State},
        roles::RolePatch,
    },
    issuer::{list::ListSubject, request::Grant, revoke::Target},
    notation::filter::Filter,
};
use jeton_core::{Format, Scopes};

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
    let target = Target::Account { reference: account, descendants: true };
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
    let mut wrong = Vec::new();
    let account = || AccountPatch { display_name: Some("n".into()), ..Default::default() };
    let accounts = AccountQuery { parent: None, filter: Filter::default(), show_deleted: false };
    let id = service.accounts(1).await.remove(0);
    once! { service, wrong:
        "CreateAccount", |act| act.create_account(Some(&id), account(), None);
        "GetAccount", |act| act.reachable_account(&id);
        "UpdateAccount", |act| act.update_account(&id, "", account());
        "DisableAccount", |act| act.set_account_state(&id, State::Disabled);
        "EnableAccount", |act| act.set_account_state(&id, State::Enabled);
        "ListAccounts", |act| act.list_accounts(&accounts, &first_page(&act));
    }
    let act = service.act().await;
    let client = act.create_client(None, ClientPatch::default(), None).await.unwrap().0.id.to_string();
    once! { service, wrong:
        "CreateClient", |act| act.create_client(None, ClientPatch::default(), None);
        "UpdateClient", |act| act.update_client(&client, "", ClientPatch::default());
        "CreateClientSecret", |act| act.create_client_secret(&client, None);
        "ListClients", |act| act.list_clients(&Filter::default(), &first_page(&act));
        "DisableClient", |act| act.set_client_state(&client, None, State::Disabled);
        "DeleteClient", |act| act.set_client_state(&client, None, State::Deleted);
        "AdmitClient", |act| act.admit_client("cli_1111111111111111111111", (Scopes::default(), Vec::new()), None);
        "ListAdmittedClients", |act| act.list_admissions(&first_page(&act));
        "ExpelClient", |act| act.expel_client("cli_1111111111111111111111");
        "UpdateTenant", |act| act.update_tenant("", Default::default());
        "ListTenants", |act| act.list_tenants(&Filter::default(), &first_page(&act));
        "RotateSigningKey", |act| act.rotate_signing_key();
        "ListSigningKeys", |act| Visit::of(&act).public_keys("default");
    }
    let role = || RolePatch { name: Some("clerk".into()), permissions: None };
    let profile = |name: &str| ProfilePatch {
        display_name: Some(name.into()),
        kind: Some(KindPatch::Password(PasswordPatch::default())),
    };
    let role_id = act.create_role(None, role(), None).await.unwrap().0.id.to_string();
    let made = act.create_profile(profile("p"), None).await.unwrap().0;
    assert!(matches!(made.kind, ProfileKind::Password(_)));
    once! { service, wrong:
        "UpdateRole", |act| act.update_role(&role_id, "", RolePatch::default());
        "ListRoles", |act| act.list_roles(None, &Filter::default(), &first_page(&act));
        "CreateIdentityProfile", |act| act.create_profile(profile("q"), None);
        "ListIdentityProfiles", |act| act.list_profiles(&Filter::default(), &first_page(&act));
        "DeleteIdentityProfile", |act| act.delete_profile(&made.id.to_string(), "");
        "DeleteRole", |act| act.delete_role(&role_id, "");
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn calls_on_members_and_groups_read_the_head_once() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::on(embedded(&dir), None).await;
    let mut wrong = Vec::new();
    let act = service.act().await;
    let patch = || MemberPatch { display_name: Some("n".into()), ..Default::default() };
    let member = act.create_member(patch(), None).await.unwrap().0.id.to_string();
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
        "CreateMember", |act| act.create_member(patch(), None);
        "GetMember", |act| act.readable_member(&member);
        "UpdateMember", |act| act.update_member(&member, "", patch());
        "ListMembers", |act| act.list_members(&members, &first_page(&act));
        "CreateMembership", |act| act.create_membership(&place, None);
        "AcceptMembership", |act| act.move_membership(&accounts[0], &member, Event::Accept);
        "UpdateMembership", |act| act.set_membership_roles(&place, "");
        "ListMemberships", |act| act.list_memberships(&of, &Filter::default(), &first_page(&act));
    }
    let group = GroupPatch { display_name: Some("g".into()), ..Default::default() };
    let id = act.create_group(group.clone(), &[], None).await.unwrap().0.id.to_string();
    let copy = CopyMembers { from: CopyFrom::Auto, roles: Vec::new() };
    let sync = SyncOptions { add: true, remove: false };
    once! { service, wrong:
        "CreateEntityGroup", |act| act.create_group(group.clone(), &accounts, None);
        "UpdateEntityGroup", |act| act.update_group(&id, "", group.clone());
        "AddEntities", |act| act.add_entities(&id, &accounts, None);
        "SyncGroupMembers", |act| act.sync_group_members(&id, &copy, sync);
        "ListGroupEntities", |act| act.list_group_entities(&id, &first_page(&act));
        "RemoveEntities", |act| act.remove_entities(&id, &accounts[..1]);
        "ListEntityGroups", |act| act.list_groups(&Filter::default(), &first_page(&act));
        "DeleteEntityGroup", |act| act.delete_group(&id, "");
        "DeleteMembership", |act| act.delete_membership(&accounts[0], &member, "");
        "DeleteMember", |act| act.delete_member(&member, "");
    }
    assert_eq!(wrong, Vec::<String>::new());
}

//! Tokens for entity groups and for their members: whom they are for, which accounts they reach now, and how they end.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton::api::{
    wire,
    wire::{SubjectKind, TokenFormat, list_tokens_request::Subject, revoke_all_tokens_request::Target},
};
use jeton_contract::reason::Reason;
use tonic::Status;

use super::{
    calls::{
        Caller, Credentials, IssueExt as _, assert_inactive, exchange, for_group, for_member, owned, refused,
        refused_fields, seconds,
    },
    group_members::{in_account, in_group, leave, upsert},
    groups::{self, add, create, named, remove},
    harness::{Backend, PUBLIC_URL, Service, plain},
    memberships::{caller, join, member, place, role},
};

on_both_stores! {
    a_token_for_a_group_reaches_the_accounts_that_are_in_it_now
    a_token_for_a_member_of_a_group_tells_its_roles_as_they_are_now
    an_account_that_is_none_of_the_tenants_is_not_reached
    other_tokens_tell_whether_they_reach_an_account
    one_that_may_not_act_gets_no_token
    a_token_ends_with_all_that_it_depends_on
    tokens_are_listed_by_group_and_by_member_and_revoked_together
    a_renewed_token_is_the_same_groups_and_ends_with_the_place
    the_common_fields_count_for_a_group_as_for_others
    an_exchanged_token_is_still_the_groups
    a_bearer_sees_its_own_group_and_no_other
}

#[tokio::test]
async fn an_account_that_left_is_out_of_reach_at_once_on_every_replica() {
    let service = Service::start(Backend::Redis).await;
    let replica = service.replica().await;
    let scene = Scene::of(&service).await;
    let group = service.anonymous().issue(scene.token("")).await.access_token;
    let ada = service.anonymous().issue(scene.token("ada")).await.access_token;
    service.settle().await;
    let reached = async |service: &Service, token: &str| ask(service, token, &scene.one).await.account_reached;
    for token in [&group, &ada] {
        // Twice: from the store, then from memory.
        for _ in 0..2 {
            assert_eq!(reached(&replica, token).await, Some(true));
        }
    }
    role(&scene.manager, "clerk", "").await;
    upsert(&scene.manager, in_group("g", "ada", &["clerk"])).await.unwrap();
    assert_eq!(ask(&replica, &ada, &scene.one).await.roles, owned(&["clerk"]), "and so are roles");
    remove(&scene.manager, "g", &[&scene.one]).await.unwrap();
    for token in [&group, &ada] {
        assert_eq!(reached(&replica, token).await, Some(false));
    }
    add(&scene.manager, "g", &[&scene.one]).await.unwrap();
    assert_eq!(reached(&replica, &ada).await, Some(true));
    leave(&scene.manager, "g", "ada", "").await.unwrap();
    assert_inactive(&ask(&replica, &ada, &scene.one).await);
    assert_eq!(reached(&replica, &group).await, Some(true));
    groups::delete(&scene.manager, "g").await.unwrap();
    assert_inactive(&ask(&replica, &group, &scene.one).await);
}

/// A group `g` of two accounts with a member `ada`, a third account, and the client that tokens come through.
struct Scene {
    manager: Caller,
    client: Credentials,
    group: String,
    one: String,
    two: String,
    outside: String,
    ada: String,
}

impl Scene {
    async fn of(service: &Service) -> Self {
        let manager = caller(service).await;
        let (one, two, outside) = (service.account("").await, service.account("").await, service.account("").await);
        let group = create(&manager, named("g"), &[&one, &two]).await.unwrap().entity_group_id;
        let ada = member(&manager, "ada").await;
        upsert(&manager, in_group("g", "ada", &[])).await.unwrap();
        Self { client: service.client().await, manager, group, one, two, outside, ada }
    }

    /// `member` may be empty.
    fn token(&self, member: &str) -> wire::IssueTokenRequest {
        self.client.with(for_group(&self.group, member))
    }
}

/// What introspection by the administrator says of a token and an account.
async fn ask(service: &Service, token: &str, account: &str) -> wire::Introspection {
    let request = wire::IntrospectTokenRequest { account_id: account.to_owned(), ..service.admin.introspect(token) };
    let one = service.anonymous().introspect(request).await;
    let batch = wire::BatchIntrospectTokensRequest {
        client_id: service.admin.client_id.clone(),
        client_secret: service.admin.client_secret.clone(),
        tokens: vec![token.to_owned(); 2],
        account_id: account.to_owned(),
        include_options: true,
        ..Default::default()
    };
    let batch = service.anonymous().batch_introspect_tokens(batch).await.unwrap().introspections;
    assert_eq!(batch, [one.clone(), one.clone()]);
    one
}

async fn a_token_for_a_group_reaches_the_accounts_that_are_in_it_now(service: Service) {
    let scene = Scene::of(&service).await;
    for format in [TokenFormat::Unspecified, TokenFormat::Opaque] {
        let issued = service.anonymous().issue(scene.token("").format(format)).await;
        assert_eq!((issued.expires_in, issued.scopes.as_slice()), (Some(3600), owned(&["invoices.read"]).as_slice()));
        let token = &issued.access_token;
        let introspection = service.introspect(token).await;
        assert_eq!((introspection.active, introspection.subject_kind()), (Some(true), SubjectKind::EntityGroup));
        assert_eq!((&introspection.subject, &introspection.entity_group_id), (&scene.group, &scene.group));
        assert_eq!(
            (introspection.account_id, introspection.member_id, introspection.account_reached),
            Default::default()
        );
        if format == TokenFormat::Unspecified {
            let claims = token.split('.').nth(1).unwrap();
            let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
            assert_eq!((&claims["sub"], &claims["grp"]), (&scene.group.clone().into(), &scene.group.clone().into()));
            assert!(claims.get("mem").is_none() && claims.get("acc").is_none(), "{claims}");
        }
        let reached = async |account: &str| ask(&service, token, account).await.account_reached.unwrap();
        assert!(reached(&scene.one).await && reached(&scene.two).await);
        assert!(!reached(&scene.outside).await);
        remove(&scene.manager, "g", &[&scene.two]).await.unwrap();
        assert!(!reached(&scene.two).await, "at once");
        assert!(reached(&scene.one).await);
        add(&scene.manager, "g", &[&scene.outside, &scene.two]).await.unwrap();
        assert!(reached(&scene.outside).await && reached(&scene.two).await);
        // What is disabled is out of reach, and what a child of it inherits as well.
        let below = service.account(&scene.two).await;
        assert!(!reached(&below).await, "a child is not in the group by itself");
        add(&scene.manager, "g", &[&below]).await.unwrap();
        assert!(reached(&below).await);
        let account = || wire::DisableAccountRequest { account_id: scene.two.clone(), ..Default::default() };
        scene.manager.disable_account(account()).await.unwrap();
        assert!(!reached(&scene.two).await && !reached(&below).await);
        let enable = wire::EnableAccountRequest { account_id: scene.two.clone(), ..Default::default() };
        scene.manager.enable_account(enable).await.unwrap();
        assert!(reached(&scene.two).await);
        remove(&scene.manager, "g", &[&scene.outside]).await.unwrap();
        assert!(service.is_active(token).await);
    }
    service.set(wire::TenantSettings { group_token_ttl: Some(seconds(60)), ..Default::default() }).await;
    let issued = service.anonymous().issue(scene.client.with(for_group("g", "ada"))).await;
    assert_eq!(issued.expires_in, Some(60));
}

async fn a_token_for_a_member_of_a_group_tells_its_roles_as_they_are_now(service: Service) {
    let scene = Scene::of(&service).await;
    let Scene { manager, one, two, .. } = &scene;
    role(manager, "clerk", "").await;
    role(manager, "boss", one).await;
    // What she is in an account by herself neither adds to it nor takes from it.
    role(manager, "guest", "").await;
    join(manager, place(two, "ada", &["guest"])).await.unwrap();
    let issued = service.anonymous().issue(scene.token("ada")).await;
    let token = &issued.access_token;
    let claims = token.split('.').nth(1).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!((&claims["sub"], &claims["mem"]), (&scene.ada.clone().into(), &scene.ada.clone().into()));
    assert_eq!(claims["grp"], scene.group);
    let introspection = service.introspect(token).await;
    assert_eq!((introspection.subject_kind(), &introspection.subject), (SubjectKind::Member, &scene.ada));
    assert_eq!((&introspection.member_id, &introspection.entity_group_id), (&scene.ada, &scene.group));
    assert_eq!((introspection.account_id.as_str(), introspection.account_reached), ("", None));
    assert_eq!(introspection.roles, owned(&[]));
    let roles = async |account: &str| {
        let introspection = ask(&service, token, account).await;
        (introspection.account_reached.unwrap(), introspection.roles)
    };
    let put = async |roles: &[&str], own: Vec<wire::EntityRoles>| {
        let place = wire::GroupMember { entity_roles: own, ..in_group("g", "ada", roles) };
        upsert(manager, place).await.unwrap();
    };
    put(&["clerk"], vec![in_account(one, &["boss"])]).await;
    assert_eq!(service.introspect(token).await.roles, owned(&["clerk"]), "in every account");
    assert_eq!(roles(one).await, (true, owned(&["boss"])), "those of the account in their place");
    assert_eq!(roles(two).await, (true, owned(&["clerk"])));
    assert_eq!(roles(&scene.outside).await, (false, owned(&[])));
    put(&["clerk"], vec![in_account(one, &[])]).await;
    assert_eq!(roles(one).await, (true, owned(&[])), "no role at all is in their place, too");
    remove(manager, "g", &[one]).await.unwrap();
    assert_eq!(roles(one).await, (false, owned(&[])));
    // What a role allows is looked up, too.
    let permissions = async || ask(&service, token, two).await.permissions;
    assert_eq!(permissions().await, owned(&[]));
    let list = manager.list_roles(wire::ListRolesRequest::default()).await.unwrap().roles;
    let clerk = list.into_iter().find(|role| role.name == "clerk").unwrap();
    let allowed = wire::Role { permissions: owned(&["invoice.read"]), ..clerk };
    manager.update_role(wire::UpdateRoleRequest { role: Some(allowed), ..Default::default() }).await.unwrap();
    assert_eq!(permissions().await, owned(&["invoice.read"]));
    let bearer = scene.token("ada").audience(&[&format!("{PUBLIC_URL}/t/default")]);
    let bearer = service.bearer(&service.anonymous().issue(bearer).await.access_token);
    let me = bearer.get_caller(wire::GetCallerRequest {}).await.unwrap().caller.unwrap();
    assert_eq!((me.member_id, me.entity_group_id), (scene.ada.clone(), scene.group.clone()));
    assert_eq!(me.roles, owned(&["clerk"]));
}

async fn an_account_that_is_none_of_the_tenants_is_not_reached(service: Service) {
    let scene = Scene::of(&service).await;
    service.tenant("elsewhere", Default::default()).await;
    let theirs = service.account_in("elsewhere", "").await;
    let never = "acc_1111111111111111111111";
    for request in [scene.token(""), scene.token("ada"), scene.client.client_credentials()] {
        let token = service.anonymous().issue(request).await.access_token;
        let [theirs, nobodys] = [ask(&service, &token, &theirs).await, ask(&service, &token, never).await];
        assert_eq!(theirs, nobodys);
        assert_eq!((theirs.active, theirs.account_reached), (Some(true), Some(false)));
        assert_eq!(ask(&service, &token, "no such foreign id").await, nobodys);
    }
    // A foreign id is one of the token's own tenant.
    let named = wire::Account { display_name: "n".into(), foreign_id: "acme".into(), ..Default::default() };
    let named = wire::CreateAccountRequest { account: Some(named), ..Default::default() };
    let account = scene.manager.create_account(named).await.unwrap().account.unwrap().account_id;
    add(&scene.manager, "g", &[&account]).await.unwrap();
    let token = service.anonymous().issue(scene.token("")).await.access_token;
    assert_eq!(ask(&service, &token, "acme").await.account_reached, Some(true));
    let dead = ask(&service, "garbage", &account).await;
    assert_inactive(&dead);
}

async fn other_tokens_tell_whether_they_reach_an_account(service: Service) {
    let scene = Scene::of(&service).await;
    let (parent, other) = (&scene.one, &scene.outside);
    let child = service.account(parent).await;
    join(&scene.manager, place(parent, "ada", &[])).await.unwrap();
    let confined = wire::Client { account_id: parent.clone(), ..plain() };
    let confined = service.client_in("default", confined).await;
    for (request, reached) in [
        (scene.client.client_credentials(), [true, true, true]),
        (confined.client_credentials(), [true, true, false]),
        (scene.client.account(parent), [true, true, false]),
        (scene.client.account(&child), [false, true, false]),
        (scene.client.with(for_member("ada", parent)), [true, false, false]),
    ] {
        let token = service.anonymous().issue(request).await.access_token;
        for (account, reached) in [parent, &child, other].into_iter().zip(reached) {
            assert_eq!(ask(&service, &token, account).await.account_reached, Some(reached));
        }
        assert_eq!(service.introspect(&token).await.account_reached, None);
    }
}

async fn one_that_may_not_act_gets_no_token(service: Service) {
    let scene = Scene::of(&service).await;
    let issue = async |request: wire::IssueTokenRequest| service.anonymous().issue_token(request).await;
    let client = &scene.client;
    let field = &["entity_group.entity_group_id"];
    refused_fields(issue(client.with(for_group("", ""))).await, Reason::InvalidField, field);
    create(&scene.manager, named("h"), &[]).await.unwrap();
    member(&scene.manager, "eve").await;
    upsert(&scene.manager, in_group("h", "eve", &[])).await.unwrap();
    service.tenant("elsewhere", Default::default()).await;
    let person = wire::Member { display_name: "n".into(), foreign_id: "zoe".into(), ..Default::default() };
    let request =
        wire::CreateMemberRequest { tenant_id: "elsewhere".into(), member: Some(person), ..Default::default() };
    let zoe = service.admin().await.create_member(request).await.unwrap().member.unwrap().member_id;
    // A member of another group, of another tenant, and one that never existed look the same.
    for (group, who) in
        [("x", ""), ("g", "eve"), ("g", "zoe"), ("g", &zoe), ("g", "mem_1111111111111111111111"), ("g", "nobody")]
    {
        let status = refused(issue(client.with(for_group(group, who))).await, Reason::NotFound);
        let of = if who.is_empty() { "EntityGroup" } else { "Member" };
        assert_eq!(status.message(), format!("{of} not found"));
    }
    let disable = wire::DisableMemberRequest { member_id: "ada".into(), ..Default::default() };
    scene.manager.disable_member(disable).await.unwrap();
    refused(issue(scene.token("ada")).await, Reason::Disabled);
    issue(scene.token("")).await.unwrap();
    refused(issue(scene.token("").scopes(&["jeton.tokens.issue"])).await, Reason::ScopeNotAllowed);
    let grants = vec![wire::GrantType::Member.into()];
    let without = service.client_in("default", wire::Client { allowed_grants: grants, ..plain() }).await;
    refused(issue(without.with(for_group("g", ""))).await, Reason::GrantNotAllowed);
    let confined = wire::Client { account_id: scene.one.clone(), ..plain() };
    let confined = service.client_in("default", confined).await;
    for group in ["g", "grp_1111111111111111111111"] {
        refused(issue(confined.with(for_group(group, ""))).await, Reason::ScopeInsufficient);
    }
}

async fn a_token_ends_with_all_that_it_depends_on(service: Service) {
    let scene = Scene::of(&service).await;
    let manager = &scene.manager;
    let issue = async || {
        let issue = async |who: &str| service.anonymous().issue(scene.token(who)).await.access_token;
        [issue("").await, issue("ada").await]
    };
    let active = async |tokens: &[String; 2]| service.active(&tokens.each_ref().map(String::as_str)).await;
    // Her place ends: only what is hers dies, and stays dead when she is back.
    let before = issue().await;
    assert_eq!(active(&before).await, [true, true]);
    leave(manager, "g", "ada", "").await.unwrap();
    assert_eq!(active(&before).await, [true, false]);
    upsert(manager, in_group("g", "ada", &[])).await.unwrap();
    assert_eq!(active(&before).await, [true, false]);
    let before = issue().await;
    let by_id = || ("ada".to_owned(), "default".to_owned());
    let (member_id, tenant_id) = by_id();
    manager.disable_member(wire::DisableMemberRequest { member_id, tenant_id }).await.unwrap();
    assert_eq!(active(&before).await, [true, false]);
    let (member_id, tenant_id) = by_id();
    manager.enable_member(wire::EnableMemberRequest { member_id, tenant_id }).await.unwrap();
    assert_eq!(active(&before).await, [true, false]);
    // An account's end is none of theirs.
    let before = issue().await;
    let disable = wire::DisableAccountRequest { account_id: scene.one.clone(), ..Default::default() };
    manager.disable_account(disable).await.unwrap();
    assert_eq!(active(&before).await, [true, true]);
    let client = wire::DisableClientRequest { client_id: scene.client.client_id.clone(), ..Default::default() };
    manager.disable_client(client).await.unwrap();
    assert_eq!(active(&before).await, [false, false]);
    let client = wire::EnableClientRequest { client_id: scene.client.client_id.clone(), ..Default::default() };
    manager.enable_client(client).await.unwrap();
    let before = issue().await;
    manager.delete_member(wire::DeleteMemberRequest { member_id: "ada".into(), ..Default::default() }).await.unwrap();
    assert_eq!(active(&before).await, [true, false]);
    refused(service.anonymous().issue_token(scene.token("ada")).await, Reason::NotFound);
    groups::delete(manager, "g").await.unwrap();
    assert_inactive(&service.introspect(&before[0]).await);
    refused(service.anonymous().issue_token(scene.token("")).await, Reason::NotFound);
}

async fn tokens_are_listed_by_group_and_by_member_and_revoked_together(service: Service) {
    let scene = Scene::of(&service).await;
    join(&scene.manager, place(&scene.one, "ada", &[])).await.unwrap();
    let issue = async || {
        let mut issued = Vec::new();
        for request in [scene.token(""), scene.token("ada"), scene.client.with(for_member("ada", &scene.one))] {
            issued.push(service.anonymous().issue(request).await);
        }
        issued
    };
    let issued = issue().await;
    let ids = |of: &[usize]| {
        let mut ids: Vec<_> = of.iter().map(|at| issued[*at].token_id.clone()).collect();
        ids.sort_unstable();
        ids
    };
    let list = async |subject: Subject| {
        let request = wire::ListTokensRequest { subject: Some(subject), ..Default::default() };
        let mut tokens = scene.manager.list_tokens(request).await?.tokens;
        tokens.sort_by(|a, b| a.token_id.cmp(&b.token_id));
        Ok::<_, Status>(tokens)
    };
    let of_group = list(Subject::EntityGroupId("g".into())).await.unwrap();
    assert_eq!(of_group.iter().map(|token| token.token_id.clone()).collect::<Vec<_>>(), ids(&[0]));
    assert_eq!((of_group[0].subject_kind(), &of_group[0].entity_group_id), (SubjectKind::EntityGroup, &scene.group));
    let of_ada = list(Subject::MemberId("ada".into())).await.unwrap();
    assert_eq!(of_ada.iter().map(|token| token.token_id.clone()).collect::<Vec<_>>(), ids(&[1, 2]));
    assert_eq!(of_ada.iter().filter(|token| token.entity_group_id == scene.group).count(), 1);
    refused(list(Subject::EntityGroupId("x".into())).await, Reason::NotFound);
    let revoke = async |target: Target| {
        let request = wire::RevokeAllTokensRequest { target: Some(target), ..Default::default() };
        scene.manager.revoke_all_tokens(request).await
    };
    let active = async |issued: &[wire::IssuedToken]| {
        service.active(&issued.iter().map(|issued| issued.access_token.as_str()).collect::<Vec<_>>()).await
    };
    refused(revoke(Target::EntityGroupId("x".into())).await, Reason::NotFound);
    revoke(Target::EntityGroupId("g".into())).await.unwrap();
    assert_eq!(active(&issued).await, [false, false, true]);
    let issued = issue().await;
    assert_eq!(active(&issued).await, [true, true, true], "what is issued afterwards is alive");
    revoke(Target::MemberId("ada".into())).await.unwrap();
    assert_eq!(active(&issued).await, [true, false, false]);
}

async fn a_renewed_token_is_the_same_groups_and_ends_with_the_place(service: Service) {
    let scene = Scene::of(&service).await;
    let renewal = async |refresh: &str| service.anonymous().renew_token(scene.client.renew(refresh)).await;
    let mut renewed = Vec::new();
    for (who, member_id) in [("", ""), ("ada", &*scene.ada)] {
        let zero = service.anonymous().issue(scene.token(who).refresh()).await;
        service.advance(Duration::from_secs(60));
        let one = service.anonymous().renew(scene.client.renew(&zero.refresh_token)).await;
        let answer = ask(&service, &one.access_token, &scene.one).await;
        assert_eq!((answer.entity_group_id.as_str(), answer.member_id.as_str()), (scene.group.as_str(), member_id));
        assert_eq!(answer.account_reached, Some(true));
        let refresh = scene.client.introspect(&one.refresh_token);
        assert_eq!(service.anonymous().introspect(refresh).await.active, Some(true));
        renewed.push(one);
    }
    leave(&scene.manager, "g", "ada", "").await.unwrap();
    refused(renewal(&renewed[1].refresh_token).await, Reason::RefreshInvalid);
    upsert(&scene.manager, in_group("g", "ada", &[])).await.unwrap();
    refused(renewal(&renewed[1].refresh_token).await, Reason::RefreshInvalid);
    let next = renewal(&renewed[0].refresh_token).await.unwrap().token.unwrap();
    groups::delete(&scene.manager, "g").await.unwrap();
    refused(renewal(&next.refresh_token).await, Reason::RefreshInvalid);
}

async fn the_common_fields_count_for_a_group_as_for_others(service: Service) {
    let scene = Scene::of(&service).await;
    for (number, who) in [(1, ""), (2, "ada")] {
        let session = format!("s{number}");
        let request = wire::IssueTokenRequest { options: Some(super::frozen::options()), ..scene.token(who) };
        let request = request.expires_in("12hr").session(&session).request_id(&super::calls::uuid(number));
        let issued = service.anonymous().issue(request.clone()).await;
        assert_eq!((issued.expires_in, &issued.session_id), (Some(43_200), &session));
        let introspection = service.introspect(&issued.access_token).await;
        assert_eq!((introspection.options, &introspection.session_id), (Some(super::frozen::options()), &session));
        assert_eq!(service.anonymous().issue(request).await.access_token, issued.access_token);
        let sessions = wire::revoke_all_tokens_request::SessionsTarget { session_ids: vec![session] };
        let all = wire::RevokeAllTokensRequest { target: Some(Target::Sessions(sessions)), ..Default::default() };
        scene.manager.revoke_all_tokens(all).await.unwrap();
        assert!(!service.is_active(&issued.access_token).await);
    }
}

async fn an_exchanged_token_is_still_the_groups(service: Service) {
    let scene = Scene::of(&service).await;
    let grants = vec![wire::GrantType::TokenExchange.into()];
    let broker = service.client_in("default", wire::Client { allowed_grants: grants, ..plain() }).await;
    let subject = service.anonymous().issue(scene.token("ada")).await.access_token;
    let narrow = service.anonymous().issue(broker.with(exchange(&subject, ""))).await.access_token;
    let introspection = ask(&service, &narrow, &scene.one).await;
    assert_eq!((introspection.subject_kind(), &introspection.member_id), (SubjectKind::Member, &scene.ada));
    assert_eq!((&introspection.entity_group_id, &introspection.client_id), (&scene.group, &broker.client_id));
    assert_eq!(introspection.account_reached, Some(true));
    // Somebody who acts for the group on behalf of another dies with the place of either.
    let group = service.anonymous().issue(scene.token("")).await.access_token;
    let acting = service.anonymous().issue(broker.with(exchange(&group, &subject))).await.access_token;
    let introspection = service.introspect(&acting).await;
    assert_eq!((&introspection.subject, &introspection.actor.unwrap().subject), (&scene.group, &scene.ada));
    leave(&scene.manager, "g", "ada", "").await.unwrap();
    assert_eq!(service.active(&[&subject, &narrow, &acting, &group]).await, [false, false, false, true]);
}

async fn a_bearer_sees_its_own_group_and_no_other(service: Service) {
    let scene = Scene::of(&service).await;
    let other = create(&scene.manager, named("h"), &[&scene.one]).await.unwrap().entity_group_id;
    let issuer = format!("{PUBLIC_URL}/t/default");
    for who in ["", "ada"] {
        let token = service.anonymous().issue(scene.token(who).audience(&[&issuer])).await.access_token;
        let bearer = service.bearer(&token);
        let me = bearer.get_caller(wire::GetCallerRequest {}).await.unwrap().caller.unwrap();
        assert_eq!((me.active, me.entity_group_id), (Some(true), scene.group.clone()));
        let list = async |filter: &str| {
            let request = wire::ListEntityGroupsRequest { filter: filter.into(), ..Default::default() };
            let page = bearer.list_entity_groups(request).await.unwrap();
            assert_eq!(page.next_page_token, "");
            page.entity_groups.into_iter().map(|group| group.entity_group_id).collect::<Vec<_>>()
        };
        assert_eq!(list("").await, [scene.group.as_str()]);
        assert_eq!(list("foreign_id = \"h\"").await, owned(&[]));
        for reference in ["g", &scene.group] {
            assert_eq!(groups::get(&bearer, reference).await.unwrap().entity_group_id, scene.group);
        }
        for reference in ["h", &other, "grp_1111111111111111111111"] {
            refused(groups::get(&bearer, reference).await, Reason::NotFound);
        }
        let insufficient = Reason::ScopeInsufficient;
        refused(add(&bearer, "g", &[&scene.outside]).await, insufficient);
        let entities = wire::ListGroupEntitiesRequest { entity_group_id: "g".into(), ..Default::default() };
        refused(bearer.list_group_entities(entities).await, insufficient);
        let get = wire::GetAccountRequest { account_id: scene.one.clone(), ..Default::default() };
        refused(bearer.get_account(get).await, insufficient);
        refused(bearer.issue_token(for_group("g", "")).await, insufficient);
        refused(bearer.issue_token(super::calls::for_account(&scene.one)).await, insufficient);
        let subject = Some(Subject::EntityGroupId("g".into()));
        refused(bearer.list_tokens(wire::ListTokensRequest { subject, ..Default::default() }).await, insufficient);
        let target = Some(Target::EntityGroupId("g".into()));
        let all = wire::RevokeAllTokensRequest { target, ..Default::default() };
        refused(bearer.revoke_all_tokens(all).await, insufficient);
    }
    // Without a scope and a group there is nothing to see.
    let nobody = scene.client.client_credentials().audience(&[&issuer]);
    let nobody = service.bearer(&service.anonymous().issue(nobody).await.access_token);
    refused(groups::get(&nobody, "g").await, Reason::ScopeInsufficient);
    refused(nobody.list_entity_groups(Default::default()).await, Reason::ScopeInsufficient);
}

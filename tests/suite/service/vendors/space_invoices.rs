//! Space Invoices: access tokens of an account and its children, which are listed and deleted; logins; memberships.

use std::time::Duration;

use jeton::api::{
    wire,
    wire::{MembershipState, TokenFormat},
};
use jeton_contract::reason::Reason;

use super::{account, at_jeton, ttl};
use crate::service::{
    calls::{
        Caller, Credentials, IssueExt as _, assert_inactive, for_account, list_account, owned, refused, refused_fields,
        revoke_id, uuid,
    },
    harness::{PUBLIC_URL, Service, manager, plain},
    memberships::{self, accept, disable, enable, invite, join, place, reject, role},
    people::{PASSWORD, People, let_members_manage_themselves, set_password},
};

on_both_stores! {
    tokens_of_an_account_are_created_listed_and_deleted
    an_account_issues_tokens_for_its_children
    a_token_without_an_end_is_issued_only_where_it_is_allowed
    a_member_logs_in_and_out_and_changes_its_password
    invitations_are_accepted_or_rejected
    tokens_are_found_by_filter
    every_documented_error_has_its_reason
}

const TWO_WEEKS: i64 = 1_209_600;

/// The platform, with the root account `root` and its child `child`.
struct Platform {
    manager: Caller,
    client: Credentials,
    root: String,
    child: String,
}

impl Platform {
    async fn of(service: &Service) -> Self {
        let manager = service.caller(&service.client_in("default", manager()).await).await;
        let (root, child) = (account(service, "root", "").await, account(service, "child", "root").await);
        Self { manager, client: service.client().await, root, child }
    }

    /// The root account's own token.
    async fn launch(&self, service: &Service) -> Caller {
        let request = at_jeton(self.client.account(&self.root).scopes(&["pay", "invoices.read"]));
        service.bearer(&service.anonymous().issue(request).await.access_token)
    }
}

async fn tokens_of_an_account_are_created_listed_and_deleted(service: Service) {
    let platform = Platform::of(&service).await;
    let issued = service.anonymous().issue(platform.client.account("child").scopes(&["pay"])).await;
    assert_eq!((issued.expires_in, issued.scopes.as_slice()), (Some(TWO_WEEKS), owned(&["pay"]).as_slice()));
    assert!(issued.access_token.starts_with("jta_"), "opaque");
    let short = service.anonymous().issue(ttl(platform.client.account("child"), 3600)).await;
    assert_eq!((short.expires_in, short.scopes), (Some(3600), owned(&["invoices.read"])));

    let listed = platform.manager.list_tokens(list_account("child")).await.unwrap();
    let shown = format!("{listed:?}");
    for secret in [&issued.access_token, &short.access_token] {
        assert!(!shown.contains(&secret[8..]) && !shown.contains(&**secret), "no list gives a token away");
    }
    let ids: Vec<_> = listed.tokens.iter().map(|token| token.token_id.clone()).collect();
    assert_eq!(ids, [short.token_id.clone(), issued.token_id.clone()], "by expiry");
    let answer = &listed.tokens[1];
    assert_eq!((&answer.account_id, answer.scopes.as_slice()), (&platform.child, owned(&["pay"]).as_slice()));
    let (created, expires) = (answer.create_time.unwrap().seconds, answer.expire_time.unwrap().seconds);
    assert_eq!(expires - created, TWO_WEEKS);

    // By its id, which is no secret; again is no error.
    for _ in 0..2 {
        platform.manager.revoke_token(revoke_id(&issued.token_id)).await.unwrap();
    }
    assert_inactive(&service.introspect(&issued.access_token).await);
    assert!(service.is_active(&short.access_token).await);
    // It ends by itself, too.
    service.advance(Duration::from_secs(3600));
    assert_inactive(&service.introspect(&short.access_token).await);
    refused(service.bearer(&short.access_token).get_caller(Default::default()).await, Reason::TokenInvalid);
}

async fn an_account_issues_tokens_for_its_children(service: Service) {
    let platform = Platform::of(&service).await;
    let launch = platform.launch(&service).await;
    let caller = launch.get_caller(Default::default()).await.unwrap().caller.unwrap();
    assert_eq!((caller.account_id, caller.active), (platform.root.clone(), Some(true)));
    // Impersonation: by id or foreign id, and it is recorded.
    for id in ["child", &platform.child] {
        let issued = launch.issue(for_account(id).scopes(&["pay"])).await;
        let introspection = service.introspect(&issued.access_token).await;
        assert_eq!(
            (introspection.subject, introspection.actor.unwrap().subject),
            (platform.child.clone(), platform.root.clone())
        );
    }
    // An account sees its own tokens and those of its children, and nobody else's.
    assert_eq!(launch.list_tokens(list_account("child")).await.unwrap().tokens.len(), 2);
    let stranger = account(&service, "stranger", "").await;
    refused(launch.issue_token(for_account(&stranger)).await, Reason::NotFound);
    refused(launch.list_tokens(list_account(&stranger)).await, Reason::NotFound);
    refused(launch.issue_token(for_account("child").scopes(&["invoices.write"])).await, Reason::ScopeNotAllowed);
    let no_children =
        wire::Account { account_id: platform.child.clone(), children_disabled: true, ..Default::default() };
    let update = wire::UpdateAccountRequest { account: Some(no_children), ..Default::default() };
    platform.manager.update_account(update).await.unwrap();
    let below = wire::Account { display_name: "n".into(), parent_id: "child".into(), ..Default::default() };
    let below = wire::CreateAccountRequest { account: Some(below), ..Default::default() };
    refused(platform.manager.create_account(below).await, Reason::ChildrenDisabled);
}

async fn a_token_without_an_end_is_issued_only_where_it_is_allowed(service: Service) {
    let platform = Platform::of(&service).await;
    let eternal = plain().allowed_scopes.into_iter().chain(owned(&["jeton.tokens.eternal"])).collect();
    let trusted = service.client_in("default", wire::Client { allowed_scopes: eternal, ..plain() }).await;
    let issue = async |client: &Credentials| service.anonymous().issue_token(client.account("child").never()).await;
    refused(issue(&trusted).await, Reason::EternalNotAllowed);
    service.set(wire::TenantSettings { eternal_tokens: Some(true), ..Default::default() }).await;
    refused(issue(&platform.client).await, Reason::EternalNotAllowed);
    let token = issue(&trusted).await.unwrap().token.unwrap();
    assert_eq!((token.expire_time, token.expires_in), (None, None));
    service.advance(Duration::from_secs(50 * 365 * 86_400));
    assert!(service.is_active(&token.access_token).await);
    service.anonymous().revoke(&token.access_token).await;
    assert!(!service.is_active(&token.access_token).await);
}

async fn a_member_logs_in_and_out_and_changes_its_password(service: Service) {
    let people = People::new(&service).await;
    let_members_manage_themselves(&service).await;
    let root = account(&service, "root", "").await;
    let member = people.person("ada@example.com", std::slice::from_ref(&root)).await;
    let login = async || people.tokens(&service, people.by_password("ada@example.com", PASSWORD)).await.remove(0);
    let (one, two) = (login().await, login().await);
    service.anonymous().revoke(&one).await;
    service.anonymous().revoke(&one).await;
    assert_eq!(service.active(&[&one, &two]).await, [false, true]);
    // All other tokens of the member end with the old password; the one that changed it stays.
    let itself = people.itself(&service, "ada@example.com").await;
    let change = |current: &str| wire::SetPasswordRequest {
        current_password: current.to_owned(),
        ..people.password(&member, "", "another password")
    };
    refused(set_password(&itself, change("wrong")).await, Reason::InvalidCredentials);
    set_password(&itself, change(PASSWORD)).await.unwrap();
    assert!(!service.is_active(&two).await);
    itself.get_caller(Default::default()).await.unwrap();
    let old = people.by_password("ada@example.com", PASSWORD);
    refused(service.anonymous().authenticate_member(old).await, Reason::InvalidCredentials);
}

async fn invitations_are_accepted_or_rejected(service: Service) {
    let platform = Platform::of(&service).await;
    let manager = &platform.manager;
    for name in ["default", "admin", "readonly"] {
        role(manager, name, "").await;
    }
    for who in ["ada", "bob", "cyd"] {
        memberships::member(manager, who).await;
    }
    let state = async |who: &str| {
        let request =
            wire::GetMembershipRequest { account_id: "child".into(), member_id: who.into(), ..Default::default() };
        manager.get_membership(request).await.unwrap().membership.unwrap().state()
    };
    for who in ["ada", "bob"] {
        invite(manager, place("child", who, &["default"])).await.unwrap();
        assert_eq!(state(who).await, MembershipState::Invited);
    }
    // Without confirmation: a silent add.
    join(manager, place("child", "cyd", &["readonly"])).await.unwrap();
    assert_eq!(state("cyd").await, MembershipState::Active);
    assert_eq!(accept(manager, "child", "ada").await.unwrap(), MembershipState::Active);
    assert_eq!(reject(manager, "child", "bob").await.unwrap(), MembershipState::Rejected);
    refused(accept(manager, "child", "bob").await, Reason::MembershipState);
    assert_eq!(disable(manager, "child", "ada").await.unwrap(), MembershipState::Disabled);
    assert_eq!(enable(manager, "child", "ada").await.unwrap(), MembershipState::Active);
    let membership = Some(place("child", "ada", &["admin"]));
    let update = wire::UpdateMembershipRequest { membership, ..Default::default() };
    let roles = manager.update_membership(update).await.unwrap().membership.unwrap().role_ids;
    assert_eq!(roles.len(), 1);
    // Somebody who is not a member yet is invited by the address.
    let request = wire::CreateMembershipRequest {
        membership: Some(place("child", "", &["default"])),
        email: "new@example.com".into(),
        ..Default::default()
    };
    let invited = manager.create_membership(request).await.unwrap().membership.unwrap();
    assert_eq!(invited.state(), MembershipState::Invited);
    let person = crate::service::people::get(manager, &invited.member_id).await.unwrap();
    assert_eq!((person.email.as_str(), person.invited), ("new@example.com", true));
    memberships::leave(manager, "child", "ada").await.unwrap();
    refused(enable(manager, "child", "ada").await, Reason::NotFound);
}

async fn tokens_are_found_by_filter(service: Service) {
    let platform = Platform::of(&service).await;
    let issue = async |request: wire::IssueTokenRequest| service.anonymous().issue(request).await;
    let hour = issue(platform.client.account("child").scopes(&["pay"]).expires_in("1h")).await;
    let day = issue(platform.client.account("child").session("s").expires_in("1d")).await;
    let dead = issue(platform.client.account("child").expires_in("2d").format(TokenFormat::Jwt)).await;
    service.anonymous().revoke(&dead.access_token).await;
    for (filter, expected) in [
        ("state = ACTIVE", vec![&hour, &day]),
        ("scope:pay OR session_id = s", vec![&hour, &day]),
        ("scope:pay AND session_id = s", vec![]),
        ("state = REVOKED", vec![&dead]),
    ] {
        let list = wire::ListTokensRequest { filter: filter.into(), ..list_account("child") };
        let found = platform.manager.list_tokens(list).await.unwrap().tokens;
        let found: Vec<_> = found.into_iter().map(|token| token.token_id).collect();
        let expected: Vec<_> = expected.into_iter().map(|token| token.token_id.clone()).collect();
        assert_eq!(found, expected, "{filter}");
    }
}

async fn every_documented_error_has_its_reason(service: Service) {
    let platform = Platform::of(&service).await;
    let (nobody, client) = (service.anonymous(), &platform.client);
    // 401, for which there are two here: who are you, and you may not.
    refused(service.bearer("XZHx7ODN0cq2bCDhdbLHD4CK").get_caller(Default::default()).await, Reason::TokenInvalid);
    refused(platform.launch(&service).await.list_clients(Default::default()).await, Reason::ScopeInsufficient);
    refused(nobody.issue_token(client.account("child").scopes(&["unknown"])).await, Reason::ScopeNotAllowed);
    // 404
    refused(nobody.issue_token(client.account("nobody")).await, Reason::NotFound);
    refused(platform.manager.list_tokens(list_account("nobody")).await, Reason::NotFound);
    let get = wire::GetTokenRequest { token_id: "tok_1111111111111111111111".into(), ..Default::default() };
    refused(platform.manager.get_token(get).await, Reason::NotFound);
    // 422
    for seconds in [0, -1, -2] {
        let lifetime = wire::issue_token_request::Lifetime::Ttl(prost_types::Duration { seconds, nanos: 0 });
        let request = wire::IssueTokenRequest { lifetime: Some(lifetime), ..client.account("child") };
        refused(nobody.issue_token(request).await, Reason::TtlOutOfRange);
    }
    for filter in ["{\"where\":{}}", "unknown = 1", "scope > pay"] {
        let list = wire::ListTokensRequest { filter: filter.into(), ..list_account("child") };
        refused(platform.manager.list_tokens(list).await, Reason::FilterInvalid);
    }
    let scopes = client.account("child").scopes(&["a b", "pay"]);
    refused_fields(nobody.issue_token(scopes).await, Reason::InvalidField, &["scopes[0]"]);
    let people = People::new(&service).await;
    let settings = wire::TenantSettings {
        self_signup: Some(true),
        duplicate_email_policy: wire::DuplicateEmailPolicy::Disallowed.into(),
        ..Default::default()
    };
    service.set(settings).await;
    let sign_up = async |username: &str| {
        nobody.authenticate_member(people.by_signup(people.signup(username, "one@example.com"))).await
    };
    sign_up("one").await.unwrap();
    refused(sign_up("two").await, Reason::EmailTaken);
    // `X-Request-Id`: the same token again; another body under the same id is an error.
    let request = || client.account("child").request_id(&uuid(9)).audience(&[&format!("{PUBLIC_URL}/t/default/api")]);
    let (once, twice) = (nobody.issue(request()).await, nobody.issue(request()).await);
    assert_eq!((once.token_id, once.access_token), (twice.token_id, twice.access_token));
    refused(nobody.issue_token(request().scopes(&["pay"])).await, Reason::RequestIdReused);
}

//! AuthenticateMember: who signs in, which tokens come of it, and page by page.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton::api::wire;
use jeton_contract::reason::Reason;
use tonic_types::StatusExt as _;

use super::{
    calls::{exchange, for_member, owned, refused, refused_fields, seconds, uuid},
    harness::{Service, manager, plain},
    identity_profiles,
    memberships::{self, invite, join, place},
    people::{PASSWORD, People, get, link, set_password, texts, unlink, update},
};

on_both_stores! {
    a_member_of_no_one_and_thirty_accounts_gets_as_many_tokens_over_pages
    only_where_the_member_may_act_now_is_there_a_token
    a_token_tells_how_and_when_its_member_signed_in
    a_switch_gives_the_same_set_with_a_later_expiry
    a_switch_goes_on_no_longer_than_its_sign_in_may
    a_token_that_is_not_a_living_sign_in_through_the_client_cannot_switch
    whatever_is_wrong_with_credentials_looks_the_same
    of_many_attempts_at_once_no_more_than_the_limit_are_looked_at
    attempts_that_succeed_do_not_count_and_those_of_long_ago_neither
    who_finds_no_place_to_hash_is_sent_away_uncounted
    a_page_token_is_good_for_its_own_request_only
    a_page_token_dies_after_ten_minutes_and_with_the_members_tokens
    pages_of_a_switch_die_with_the_token
    a_lapsed_session_begins_anew_for_all_tokens_of_a_page
    what_the_tokens_are_to_have_is_checked
    who_may_sign_members_in
    nobody_becomes_a_member_unless_the_tenant_allows_it
    a_newcomer_gets_an_account_where_the_tenant_says_so
    a_repeated_signup_makes_one_member_and_wants_the_same_password
    what_a_newcomer_says_is_checked
    an_email_address_is_unique_among_newcomers_where_the_tenant_says_so
}

/// The claims of a JWT.
fn claims(jwt: &str) -> serde_json::Value {
    let payload = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn accounts(service: &Service, count: usize) -> Vec<String> {
    let mut accounts = Vec::new();
    for _ in 0..count {
        accounts.push(service.account("").await);
    }
    accounts.sort_unstable();
    accounts
}

fn ids(page: &wire::AuthenticateMemberResponse) -> Vec<String> {
    page.tokens.iter().map(|token| token.account_id.clone()).collect()
}

async fn a_member_of_no_one_and_thirty_accounts_gets_as_many_tokens_over_pages(service: Service) {
    let people = People::new(&service).await;
    let all = accounts(&service, 30).await;
    let none = people.person("none", &[]).await;
    people.person("one", &all[..1]).await;
    let many = people.person("Many", &all).await;
    let nobody = service.anonymous();

    let page = nobody.authenticate_member(people.by_password("none", PASSWORD)).await.unwrap();
    assert_eq!((page.tokens.len(), page.next_page_token.as_str(), page.total_size), (0, "", 0));
    assert_eq!(page.member.unwrap().member_id, none);
    let page = nobody.authenticate_member(people.by_password("one", PASSWORD)).await.unwrap();
    assert_eq!((ids(&page), page.next_page_token.as_str(), page.total_size), (all[..1].to_vec(), "", 1));
    assert_eq!(page.tokens[0].account_name, "an account");

    // In any case, with space around.
    let request = people.by_password(" many ", PASSWORD);
    let first = nobody.authenticate_member(request.clone()).await.unwrap();
    assert_eq!((ids(&first), first.total_size), (all[..25].to_vec(), 30));
    let next = wire::AuthenticateMemberRequest { page_token: first.next_page_token.clone(), ..request };
    let second = nobody.authenticate_member(next.clone()).await.unwrap();
    assert_eq!((ids(&second), second.next_page_token.as_str()), (all[25..].to_vec(), ""));
    let tokens: Vec<_> = texts(&first).into_iter().chain(texts(&second)).collect();
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 30);
    let borrowed: Vec<_> = tokens.iter().map(String::as_str).collect();
    assert_eq!(service.active(&borrowed).await, [true; 30]);
    for (token, account) in tokens.iter().zip(&all) {
        let shown = service.introspect(token).await;
        assert_eq!((&shown.member_id, &shown.account_id), (&many, account));
        assert_eq!((shown.scopes, shown.client_id), (owned(&["invoices.read"]), people.desk.client_id.clone()));
    }
    // The same page again gives new tokens of the same accounts; a smaller one fewer.
    let again = nobody.authenticate_member(next.clone()).await.unwrap();
    assert_eq!(ids(&again), ids(&second));
    let small = nobody.authenticate_member(wire::AuthenticateMemberRequest { page_size: 2, ..next }).await.unwrap();
    assert_eq!(ids(&small), all[25..27]);
    assert!(!small.next_page_token.is_empty());
}

async fn only_where_the_member_may_act_now_is_there_a_token(service: Service) {
    let people = People::new(&service).await;
    let (manager, all) = (&people.manager, accounts(&service, 5).await);
    let member = people.person("m", &all[..4]).await;
    invite(manager, place(&all[4], &member, &[])).await.unwrap();
    let child = service.account(&all[2]).await;
    join(manager, place(&child, &member, &[])).await.unwrap();
    let disable =
        wire::DisableMembershipRequest { account_id: all[0].clone(), member_id: member.clone(), ..Default::default() };
    manager.disable_membership(disable).await.unwrap();
    for account in [&all[1], &all[2]] {
        let disable = wire::DisableAccountRequest { account_id: account.clone(), ..Default::default() };
        manager.disable_account(disable).await.unwrap();
    }
    let page = service.anonymous().authenticate_member(people.by_password("m", PASSWORD)).await.unwrap();
    assert_eq!((ids(&page), page.total_size), (vec![all[3].clone()], 6));
}

async fn a_token_tells_how_and_when_its_member_signed_in(service: Service) {
    let people = People::new(&service).await;
    people.person("m", &accounts(&service, 1).await).await;
    let before = service.clock.now().as_secs();
    let token = people.tokens(&service, people.by_password("m", PASSWORD)).await.remove(0);
    let answer = claims(&token);
    assert_eq!((&answer["amr"], &answer["auth_time"]), (&serde_json::json!(["pwd"]), &before.into()));
    assert_eq!(answer["exp"].as_u64().unwrap() - answer["iat"].as_u64().unwrap(), 86_400);
    service.advance(Duration::from_secs(60));
    let switched = people.tokens(&service, people.by_token(&token)).await.remove(0);
    assert_eq!(claims(&switched)["auth_time"], before, "the sign-in is as old as it is");
    // An opaque one keeps it in its record.
    let opaque = wire::AuthenticateMemberRequest {
        format: wire::TokenFormat::Opaque.into(),
        ..people.by_password("m", PASSWORD)
    };
    let opaque = people.tokens(&service, opaque).await.remove(0);
    assert!(opaque.starts_with("jta_"));
    assert!(people.tokens(&service, people.by_token(&opaque)).await[0].starts_with("jta_"));
}

async fn a_switch_gives_the_same_set_with_a_later_expiry(service: Service) {
    let people = People::new(&service).await;
    let all = accounts(&service, 3).await;
    people.person("m", &all).await;
    let request = wire::AuthenticateMemberRequest {
        scopes: owned(&["pay", "invoices.read"]),
        session_id: "s".into(),
        ..people.by_password("m", PASSWORD)
    };
    let first = service.anonymous().authenticate_member(request).await.unwrap();
    service.advance(Duration::from_secs(86_000));
    let switch = people.by_token(&texts(&first)[1]);
    let second = service.anonymous().authenticate_member(switch.clone()).await.unwrap();
    assert_eq!(ids(&second), all);
    for (old, new) in first.tokens.iter().zip(&second.tokens) {
        let (old, new) = (old.token.clone().unwrap(), new.token.clone().unwrap());
        assert_eq!(new.expire_time.unwrap().seconds - old.expire_time.unwrap().seconds, 86_000);
        assert_eq!((new.scopes, new.session_id, new.audience), (old.scopes, old.session_id, old.audience));
    }
    // The session lives on by it.
    service.advance(Duration::from_secs(86_000));
    assert!(service.is_active(&texts(&second)[0]).await);
    let narrow = wire::AuthenticateMemberRequest { scopes: owned(&["pay"]), ..people.by_token(&texts(&second)[0]) };
    let narrow = people.tokens(&service, narrow).await.remove(0);
    assert_eq!(service.introspect(&narrow).await.scopes, owned(&["pay"]));
    let wider = wire::AuthenticateMemberRequest { scopes: owned(&["invoices.read"]), ..people.by_token(&narrow) };
    refused(service.anonymous().authenticate_member(wider).await, Reason::ScopeNotAllowed);
    // Less is given once less is allowed, but not nothing.
    let client = wire::Client {
        client_id: people.desk.client_id.clone(),
        allowed_scopes: owned(&["invoices.read", "jeton.tokens.issue"]),
        ..Default::default()
    };
    let update = wire::UpdateClientRequest { tenant_id: "default".into(), client: Some(client), ..Default::default() };
    service.admin().await.update_client(update).await.unwrap();
    let less = people.tokens(&service, people.by_token(&texts(&second)[0])).await.remove(0);
    assert_eq!(service.introspect(&less).await.scopes, owned(&["invoices.read"]));
    let none = service.anonymous().authenticate_member(people.by_token(&narrow)).await;
    refused(none, Reason::ScopeNotAllowed);
    let other = wire::AuthenticateMemberRequest { session_id: "t".into(), ..people.by_token(&narrow) };
    refused_fields(service.anonymous().authenticate_member(other).await, Reason::InvalidField, &["session_id"]);
}

async fn a_switch_goes_on_no_longer_than_its_sign_in_may(service: Service) {
    use wire::authenticate_member_request::Lifetime;
    let people = People::new(&service).await;
    people.person("m", &accounts(&service, 1).await).await;
    let tokens = async |request: wire::AuthenticateMemberRequest, life: Option<&str>| {
        let lifetime = life.map(|life| Lifetime::ExpiresIn(life.to_owned()));
        let page =
            service.anonymous().authenticate_member(wire::AuthenticateMemberRequest { lifetime, ..request }).await?;
        Ok::<_, tonic::Status>(page.tokens[0].token.clone().unwrap())
    };
    // A short sign-in goes on in short steps.
    let short = tokens(people.by_password("m", PASSWORD), Some("3s")).await.unwrap();
    let next = tokens(people.by_token(&short.access_token), None).await.unwrap();
    assert_eq!(next.expires_in, Some(3));
    for longer in ["4s", "1d", "90d"] {
        let asked = tokens(people.by_token(&next.access_token), Some(longer)).await;
        refused_fields(asked, Reason::TtlOutOfRange, &["lifetime"]);
    }
    service.advance(Duration::from_secs(2));
    assert_eq!(tokens(people.by_token(&next.access_token), Some("3s")).await.unwrap().expires_in, Some(3));
    // All steps together are no longer than a family can be renewed.
    let days = |days: u64| seconds(days * 86_400);
    service.set(wire::TenantSettings { refresh_absolute_ttl: Some(days(3)), ..Default::default() }).await;
    let first = tokens(people.by_password("m", PASSWORD), Some("2d")).await.unwrap();
    service.advance(Duration::from_secs(86_400 * 2 - 3600));
    let second = tokens(people.by_token(&first.access_token), None).await.unwrap();
    assert_eq!(second.expires_in, Some(86_400));
    let beyond = tokens(people.by_token(&first.access_token), Some("2d")).await;
    refused_fields(beyond, Reason::TtlOutOfRange, &["lifetime"]);
    service.advance(Duration::from_secs(86_400 - 60));
    let last = tokens(people.by_token(&second.access_token), None).await.unwrap();
    assert_eq!(last.expires_in, Some(3660));
    service.advance(Duration::from_secs(3660));
    let over = service.anonymous().authenticate_member(people.by_token(&last.access_token)).await;
    refused(over, Reason::InvalidCredentials);
}

async fn a_token_that_is_not_a_living_sign_in_through_the_client_cannot_switch(service: Service) {
    let people = People::new(&service).await;
    let account = accounts(&service, 1).await;
    let member = people.person("m", &account).await;
    let nobody = service.anonymous();
    let grants = [wire::GrantType::TokenExchange, wire::GrantType::AuthenticatedMember].map(Into::into).into();
    let other = wire::Client { allowed_grants: grants, ..plain() };
    let other = service.client_in("default", other).await;
    let token = people.tokens(&service, people.by_password("m", PASSWORD)).await.remove(0);
    let dead = people.tokens(&service, people.by_password("m", PASSWORD)).await.remove(0);
    nobody.revoke(&dead).await;
    let granted = nobody.issue(people.desk.with(for_member(&member, &account[0]))).await.access_token;
    let exchanged = nobody.issue(other.with(exchange(&token, ""))).await.access_token;
    let secret = |client: &super::calls::Credentials, text: &str| wire::AuthenticateMemberRequest {
        client_id: client.client_id.clone(),
        client_secret: client.client_secret.clone(),
        ..people.by_token(text)
    };
    let mut seen = BTreeSet::new();
    for request in [
        secret(&people.desk, "nonsense"),
        secret(&people.desk, &dead),
        secret(&people.desk, &granted),
        secret(&other, &token),
        secret(&other, &exchanged),
    ] {
        let status = refused(nobody.authenticate_member(request).await, Reason::InvalidCredentials);
        seen.insert(format!("{status:?}").split("metadata").next().unwrap().to_owned());
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    service.advance(Duration::from_secs(86_400));
    refused(nobody.authenticate_member(people.by_token(&token)).await, Reason::InvalidCredentials);
}

async fn whatever_is_wrong_with_credentials_looks_the_same(service: Service) {
    let people = People::new(&service).await;
    let manager = &people.manager;
    people.person("here", &[]).await;
    let disabled = people.person("disabled", &[]).await;
    let disable = wire::DisableMemberRequest { member_id: disabled, ..Default::default() };
    manager.disable_member(disable).await.unwrap();
    let deleted = people.person("deleted", &[]).await;
    let delete = wire::DeleteMemberRequest { member_id: deleted, ..Default::default() };
    manager.delete_member(delete).await.unwrap();
    let linked = memberships::member(manager, "").await;
    let username = wire::link_identity_request::Identity::Username("linked".into());
    link(manager, &linked, &people.profile, username).await.unwrap();
    let gone = people.person("gone", &[]).await;
    unlink(manager, &gone, &people.profile).await.unwrap();
    let mut seen = BTreeSet::new();
    for (username, password) in [
        ("here", "another password"),
        ("unknown", PASSWORD),
        ("disabled", PASSWORD),
        ("deleted", PASSWORD),
        ("linked", PASSWORD),
        ("gone", PASSWORD),
        ("here", "x"),
    ] {
        let request = people.by_password(username, password);
        let status = refused(service.anonymous().authenticate_member(request).await, Reason::InvalidCredentials);
        seen.insert(format!("{status:?}").split("metadata").next().unwrap().to_owned());
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    // The same username in another profile is somebody else.
    let other = identity_profiles::create(manager, identity_profiles::password("q")).await.unwrap();
    let other = People { profile: other.identity_profile_id, ..People::new(&service).await };
    let request = other.by_password("here", PASSWORD);
    refused(service.anonymous().authenticate_member(request).await, Reason::InvalidCredentials);
}

async fn of_many_attempts_at_once_no_more_than_the_limit_are_looked_at(service: Service) {
    let people = People::new(&service).await;
    people.person("known", &[]).await;
    for username in ["known", "unknown"] {
        let mut attempts = tokio::task::JoinSet::new();
        for i in 0..30 {
            let (caller, request) = (service.anonymous(), people.by_password(username, &format!("guess {i}")));
            attempts.spawn(async move { caller.authenticate_member(request).await });
        }
        let (mut looked_at, mut limited) = (0, 0);
        for outcome in attempts.join_all().await {
            let status = outcome.unwrap_err();
            match status.get_details_error_info().unwrap().reason.as_str() {
                "INVALID_CREDENTIALS" => looked_at += 1,
                "ATTEMPT_LIMIT" => {
                    limited += 1;
                    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
                    assert_eq!(wait, Duration::from_secs(900));
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!((looked_at, limited), (10, 20), "{username}");
        // Nor the right password.
        let right = people.by_password(username, PASSWORD);
        refused(service.anonymous().authenticate_member(right).await, Reason::AttemptLimit);
    }
    service.advance(Duration::from_secs(900));
    service.anonymous().authenticate_member(people.by_password("known", PASSWORD)).await.unwrap();
}

async fn attempts_that_succeed_do_not_count_and_those_of_long_ago_neither(service: Service) {
    let people = People::new(&service).await;
    people.person("m", &[]).await;
    let attempt = async |password: &str| {
        service.anonymous().authenticate_member(people.by_password("M", password)).await.map(|_| ())
    };
    for _ in 0..12 {
        attempt(PASSWORD).await.unwrap();
    }
    for _ in 0..9 {
        refused(attempt("wrong").await, Reason::InvalidCredentials);
    }
    attempt(PASSWORD).await.unwrap();
    for _ in 0..5 {
        refused(attempt("wrong").await, Reason::InvalidCredentials);
    }
    service.advance(Duration::from_secs(900));
    for _ in 0..10 {
        refused(attempt("wrong").await, Reason::InvalidCredentials);
    }
    refused(attempt("wrong").await, Reason::AttemptLimit);
}

async fn who_finds_no_place_to_hash_is_sent_away_uncounted(service: Service) {
    let people = People::new(&service).await;
    let member = people.person("m", &[]).await;
    let places = service.all_places_to_hash();
    for _ in 0..11 {
        let request = people.by_password("m", "wrong");
        let status = refused(service.anonymous().authenticate_member(request).await, Reason::Overloaded);
        assert!(status.get_details_retry_info().is_some());
    }
    refused(set_password(&people.manager, people.password(&member, "", "new password")).await, Reason::Overloaded);
    drop(places);
    service.anonymous().authenticate_member(people.by_password("m", PASSWORD)).await.unwrap();
}

async fn a_page_token_is_good_for_its_own_request_only(service: Service) {
    let people = People::new(&service).await;
    let all = accounts(&service, 3).await;
    people.person("m", &all).await;
    people.person("n", &all).await;
    let nobody = service.anonymous();
    let request = wire::AuthenticateMemberRequest { page_size: 2, ..people.by_password("m", PASSWORD) };
    let page_token = nobody.authenticate_member(request.clone()).await.unwrap().next_page_token;
    let next = wire::AuthenticateMemberRequest { page_token, ..request };
    let other = service.client_in("default", plain()).await;
    let with = |mechanism: wire::AuthenticateMemberRequest| wire::AuthenticateMemberRequest {
        mechanism: mechanism.mechanism,
        ..next.clone()
    };
    for changed in [
        with(people.by_password("n", PASSWORD)),
        with(people.by_password("m", "wrong")),
        with(people.by_signup(people.signup("m", ""))),
        wire::AuthenticateMemberRequest { scopes: owned(&["pay"]), ..next.clone() },
        wire::AuthenticateMemberRequest { session_id: "s".into(), ..next.clone() },
        wire::AuthenticateMemberRequest {
            client_id: other.client_id.clone(),
            client_secret: other.client_secret.clone(),
            ..next.clone()
        },
        wire::AuthenticateMemberRequest { page_token: format!("{}A", next.page_token), ..next.clone() },
    ] {
        refused(nobody.authenticate_member(changed).await, Reason::PageTokenInvalid);
    }
    let page = nobody.authenticate_member(next).await.unwrap();
    assert_eq!((ids(&page), page.next_page_token.as_str()), (all[2..].to_vec(), ""));
}

async fn a_page_token_dies_after_ten_minutes_and_with_the_members_tokens(service: Service) {
    let people = People::new(&service).await;
    let all = accounts(&service, 3).await;
    let member = people.person("m", &all).await;
    let nobody = service.anonymous();
    let open = async || {
        let request = wire::AuthenticateMemberRequest { page_size: 1, ..people.by_password("m", PASSWORD) };
        let page = nobody.authenticate_member(request.clone()).await.unwrap();
        wire::AuthenticateMemberRequest { page_token: page.next_page_token, ..request }
    };
    let next = open().await;
    service.advance(Duration::from_secs(599));
    let page_token = nobody.authenticate_member(next.clone()).await.unwrap().next_page_token;
    service.advance(Duration::from_secs(1));
    refused(nobody.authenticate_member(next.clone()).await, Reason::PageTokenInvalid);
    let last = wire::AuthenticateMemberRequest { page_token, ..next };
    refused(nobody.authenticate_member(last).await, Reason::PageTokenInvalid);

    let next = open().await;
    let target = wire::revoke_all_tokens_request::Target::MemberId(member.clone());
    let revoke = wire::RevokeAllTokensRequest { target: Some(target), ..Default::default() };
    people.manager.revoke_all_tokens(revoke).await.unwrap();
    refused(nobody.authenticate_member(next).await, Reason::PageTokenInvalid);

    let next = open().await;
    set_password(&people.manager, people.password(&member, "", PASSWORD)).await.unwrap();
    refused(nobody.authenticate_member(next).await, Reason::PageTokenInvalid);

    let next = open().await;
    let disable = wire::DisableMemberRequest { member_id: member, ..Default::default() };
    people.manager.disable_member(disable).await.unwrap();
    refused(nobody.authenticate_member(next).await, Reason::PageTokenInvalid);
}

async fn pages_of_a_switch_die_with_the_token(service: Service) {
    let people = People::new(&service).await;
    people.person("m", &accounts(&service, 3).await).await;
    let token = people.tokens(&service, people.by_password("m", PASSWORD)).await.remove(0);
    let request = wire::AuthenticateMemberRequest { page_size: 1, ..people.by_token(&token) };
    let page_token = service.anonymous().authenticate_member(request.clone()).await.unwrap().next_page_token;
    let next = wire::AuthenticateMemberRequest { page_token, ..request };
    service.anonymous().authenticate_member(next.clone()).await.unwrap();
    service.anonymous().revoke(&token).await;
    refused(service.anonymous().authenticate_member(next).await, Reason::InvalidCredentials);
}

async fn a_lapsed_session_begins_anew_for_all_tokens_of_a_page(service: Service) {
    let people = People::new(&service).await;
    people.person("m", &accounts(&service, 6).await).await;
    let request = wire::AuthenticateMemberRequest {
        session_id: "s".into(),
        lifetime: Some(wire::authenticate_member_request::Lifetime::ExpiresIn("3 days".into())),
        ..people.by_password("m", PASSWORD)
    };
    let old = people.tokens(&service, request.clone()).await;
    service.advance(Duration::from_secs(86_400));
    let new = people.tokens(&service, request).await;
    let borrowed: Vec<_> = old.iter().chain(&new).map(String::as_str).collect();
    assert_eq!(service.active(&borrowed).await, [[false; 6], [true; 6]].concat());
    // What began before cannot go on.
    refused(service.anonymous().authenticate_member(people.by_token(&old[0])).await, Reason::InvalidCredentials);
}

async fn what_the_tokens_are_to_have_is_checked(service: Service) {
    use wire::authenticate_member_request::Lifetime;
    let people = People::new(&service).await;
    people.person("m", &accounts(&service, 1).await).await;
    let nobody = service.anonymous();
    let good = || people.by_password("m", PASSWORD);
    for (request, reason) in [
        (wire::AuthenticateMemberRequest { scopes: owned(&["jeton.tokens.issue"]), ..good() }, Reason::ScopeNotAllowed),
        (wire::AuthenticateMemberRequest { scopes: owned(&["nothing"]), ..good() }, Reason::ScopeNotAllowed),
        (wire::AuthenticateMemberRequest { audience: owned(&["x"]), ..good() }, Reason::AudienceNotAllowed),
        (
            wire::AuthenticateMemberRequest { lifetime: Some(Lifetime::ExpiresIn("0".into())), ..good() },
            Reason::TtlOutOfRange,
        ),
        (
            wire::AuthenticateMemberRequest { lifetime: Some(Lifetime::Ttl(seconds(91 * 86_400))), ..good() },
            Reason::TtlOutOfRange,
        ),
    ] {
        refused(nobody.authenticate_member(request).await, reason);
    }
    let bad = wire::AuthenticateMemberRequest {
        mechanism: people.by_password("", "").mechanism,
        scopes: owned(&["a b"]),
        page_size: -1,
        request_id: "x".into(),
        ..good()
    };
    let fields = ["password.username", "password.password", "scopes[0]", "request_id", "page_size"];
    refused_fields(nobody.authenticate_member(bad).await, Reason::InvalidField, &fields);
    let none = wire::AuthenticateMemberRequest { mechanism: None, ..good() };
    refused_fields(nobody.authenticate_member(none).await, Reason::InvalidField, &["mechanism"]);
    let repeated = wire::AuthenticateMemberRequest { request_id: uuid(1), ..good() };
    refused_fields(nobody.authenticate_member(repeated).await, Reason::InvalidField, &["request_id"]);
    let short = wire::AuthenticateMemberRequest { lifetime: Some(Lifetime::Ttl(seconds(60))), ..good() };
    let short = nobody.authenticate_member(short).await.unwrap().tokens.remove(0).token.unwrap();
    assert_eq!(short.expires_in, Some(60));
}

async fn who_may_sign_members_in(service: Service) {
    let people = People::new(&service).await;
    people.person("m", &[]).await;
    let nobody = service.anonymous();
    let by = async |client: wire::Client| {
        let client = service.client_in("default", client).await;
        let request = wire::AuthenticateMemberRequest {
            client_id: client.client_id,
            client_secret: client.client_secret,
            ..people.by_password("m", PASSWORD)
        };
        nobody.authenticate_member(request).await
    };
    by(plain()).await.unwrap();
    let grants = vec![wire::GrantType::ClientCredentials.into(), wire::GrantType::Member.into()];
    refused(by(wire::Client { allowed_grants: grants, ..plain() }).await, Reason::GrantNotAllowed);
    let scopes = owned(&["invoices.read"]);
    refused(by(wire::Client { allowed_scopes: scopes, ..plain() }).await, Reason::ScopeInsufficient);
    let account_id = service.account("").await;
    refused(by(wire::Client { account_id, ..plain() }).await, Reason::ScopeInsufficient);
    let wrong = wire::AuthenticateMemberRequest { client_secret: "x".into(), ..people.by_password("m", PASSWORD) };
    refused(nobody.authenticate_member(wrong).await, Reason::InvalidClient);
    // A bearer of the client does as well.
    let bearer = service.caller(&service.client_in("default", manager()).await).await;
    let request = wire::AuthenticateMemberRequest {
        client_id: String::new(),
        client_secret: String::new(),
        ..people.by_password("m", PASSWORD)
    };
    bearer.authenticate_member(request.clone()).await.unwrap();
    refused(nobody.authenticate_member(request).await, Reason::TokenMissing);
    // A profile of the wrong kind, and one that is not.
    let oidc = identity_profiles::create(&people.manager, identity_profiles::oidc("o")).await.unwrap();
    let profile = |id: &str| People { profile: id.to_owned(), manager: bearer.clone(), desk: people.desk.clone() };
    let request = profile(&oidc.identity_profile_id).by_password("m", PASSWORD);
    let field = "password.identity_profile_id";
    refused_fields(nobody.authenticate_member(request).await, Reason::InvalidField, &[field]);
    for id in ["idp_1111111111111111111111", "nonsense"] {
        refused(nobody.authenticate_member(profile(id).by_password("m", PASSWORD)).await, Reason::NotFound);
    }
}

async fn nobody_becomes_a_member_unless_the_tenant_allows_it(service: Service) {
    let people = People::new(&service).await;
    let nobody = service.anonymous();
    let request = people.by_signup(people.signup("New", "new@example.com"));
    refused(nobody.authenticate_member(request.clone()).await, Reason::SelfSignupDisabled);
    service.set(wire::TenantSettings { self_signup: Some(true), ..Default::default() }).await;
    let page = nobody.authenticate_member(request.clone()).await.unwrap();
    assert_eq!((page.tokens.len(), page.total_size), (0, 0));
    let member = page.member.unwrap();
    assert_eq!((member.display_name.as_str(), member.email.as_str()), ("A. Newcomer", "new@example.com"));
    assert_eq!(member.email_verified, Some(false));
    assert_eq!((member.identities[0].username.as_str(), member.identities.len()), ("New", 1));
    assert_eq!(get(&people.manager, &member.member_id).await.unwrap(), member);
    refused(nobody.authenticate_member(request).await, Reason::IdentityTaken);
    refused(nobody.authenticate_member(people.by_signup(people.signup(" NEW ", ""))).await, Reason::IdentityTaken);
    let again = nobody.authenticate_member(people.by_password("new", PASSWORD)).await.unwrap();
    assert_eq!(again.member, Some(member));
}

async fn a_newcomer_gets_an_account_where_the_tenant_says_so(service: Service) {
    let people = People::new(&service).await;
    let settings =
        wire::TenantSettings { self_signup: Some(true), auto_create_account: Some(true), ..Default::default() };
    service.set(settings).await;
    let request = people.by_signup(people.signup("new", ""));
    let page = service.anonymous().authenticate_member(request).await.unwrap();
    assert_eq!((page.tokens.len(), page.total_size, page.next_page_token.as_str()), (1, 1, ""));
    assert_eq!(page.tokens[0].account_name, "A. Newcomer");
    assert!(service.is_active(&texts(&page)[0]).await);
    let account = wire::GetAccountRequest { account_id: page.tokens[0].account_id.clone(), ..Default::default() };
    let account = people.manager.get_account(account).await.unwrap().account.unwrap();
    assert_eq!((account.display_name.as_str(), account.parent_id.as_str()), ("A. Newcomer", ""));
    let listed = people.manager.list_accounts(Default::default()).await.unwrap().accounts;
    assert_eq!(listed.len(), 1);
    // The tallies are right: the membership can be ended, and another one begun.
    let member = page.member.unwrap().member_id;
    let delete = wire::DeleteMembershipRequest {
        account_id: account.account_id,
        member_id: member.clone(),
        ..Default::default()
    };
    people.manager.delete_membership(delete).await.unwrap();
    join(&people.manager, place(&service.account("").await, &member, &[])).await.unwrap();
    let page = service.anonymous().authenticate_member(people.by_password("new", PASSWORD)).await.unwrap();
    assert_eq!((page.tokens.len(), page.total_size), (1, 1));
}

async fn a_repeated_signup_makes_one_member_and_wants_the_same_password(service: Service) {
    let people = People::new(&service).await;
    service.set(wire::TenantSettings { self_signup: Some(true), ..Default::default() }).await;
    let with = |signup: wire::SelfSignupMechanism| wire::AuthenticateMemberRequest {
        request_id: uuid(7),
        ..people.by_signup(signup)
    };
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (caller, request) = (service.anonymous(), with(people.signup("new", "")));
        tasks.spawn(async move { caller.authenticate_member(request).await.unwrap().member.unwrap().member_id });
    }
    let made: BTreeSet<_> = tasks.join_all().await.into_iter().collect();
    assert_eq!(made.len(), 1);
    let nobody = service.anonymous();
    let other = wire::SelfSignupMechanism { password: "another password".into(), ..people.signup("new", "") };
    refused(nobody.authenticate_member(with(other)).await, Reason::RequestIdReused);
    refused(nobody.authenticate_member(with(people.signup("newer", ""))).await, Reason::RequestIdReused);
    assert_eq!(people.manager.list_members(Default::default()).await.unwrap().members.len(), 1);
}

async fn what_a_newcomer_says_is_checked(service: Service) {
    let people = People::new(&service).await;
    service.set(wire::TenantSettings { self_signup: Some(true), ..Default::default() }).await;
    let nobody = service.anonymous();
    let bad = wire::SelfSignupMechanism {
        username: "x".repeat(256),
        password: "1234567".into(),
        display_name: String::new(),
        email: "nonsense".into(),
        ..people.signup("", "")
    };
    let fields = ["username", "password", "display_name", "email"].map(|field| format!("self_signup.{field}"));
    let fields: Vec<_> = fields.iter().map(String::as_str).collect();
    let bad = people.by_signup(bad);
    refused_fields(nobody.authenticate_member(bad).await, Reason::InvalidField, &fields);
    for username in ["a\u{7}b", "  "] {
        let request = people.by_signup(people.signup(username, ""));
        let field = "self_signup.username";
        refused_fields(nobody.authenticate_member(request).await, Reason::InvalidField, &[field]);
    }
    let email = wire::PasswordProfile { username_format: wire::UsernameFormat::Email.into(), ..Default::default() };
    let email = wire::IdentityProfile {
        kind: Some(wire::identity_profile::Kind::Password(email)),
        ..identity_profiles::password("e")
    };
    let email = identity_profiles::create(&people.manager, email).await.unwrap();
    let email = People { profile: email.identity_profile_id, ..People::new(&service).await };
    let request = email.by_signup(email.signup("somebody", ""));
    refused_fields(nobody.authenticate_member(request).await, Reason::InvalidField, &["self_signup.username"]);
    nobody.authenticate_member(email.by_signup(email.signup("some@body", ""))).await.unwrap();
}

async fn an_email_address_is_unique_among_newcomers_where_the_tenant_says_so(service: Service) {
    let people = People::new(&service).await;
    let set = async |policy: wire::DuplicateEmailPolicy| {
        let policy = policy.into();
        let settings =
            wire::TenantSettings { self_signup: Some(true), duplicate_email_policy: policy, ..Default::default() };
        service.set(settings).await;
    };
    let sign_up = async |username: &str| {
        let request = people.by_signup(people.signup(username, "one@example.com"));
        service.anonymous().authenticate_member(request).await.map(|page| page.member.unwrap())
    };
    set(wire::DuplicateEmailPolicy::Allowed).await;
    let one = sign_up("one").await.unwrap();
    let two = sign_up("two").await.unwrap();
    assert_ne!(one.member_id, two.member_id);
    // A password proves no address: members are not merged.
    set(wire::DuplicateEmailPolicy::LinkVerified).await;
    let three = sign_up("three").await.unwrap();
    set(wire::DuplicateEmailPolicy::Disallowed).await;
    refused(sign_up("four").await, Reason::EmailTaken);
    let request = people.by_signup(people.signup("five", "ONE@example.com"));
    refused(service.anonymous().authenticate_member(request).await, Reason::EmailTaken);
    // It is free once nobody has it.
    let changed = wire::Member { member_id: one.member_id, email: "other@example.com".into(), ..Default::default() };
    update(&people.manager, changed, &[]).await.unwrap();
    for member in [two, three] {
        let delete = wire::DeleteMemberRequest { member_id: member.member_id, ..Default::default() };
        people.manager.delete_member(delete).await.unwrap();
    }
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..5 {
        let request = people.by_signup(people.signup(&format!("at once {i}"), "one@example.com"));
        let caller = service.anonymous();
        tasks.spawn(async move { caller.authenticate_member(request).await.is_ok() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|made| *made).count(), 1);
}

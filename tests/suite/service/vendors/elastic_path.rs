//! Elastic Path: members of a store sign in and get a token for each of their accounts; accounts, memberships, settings.

use std::{collections::BTreeSet, time::Duration};

use jeton::api::{
    wire,
    wire::{
        OneTimePasswordPurpose as Purpose, authenticate_member_request::Mechanism, link_identity_request::Identity,
    },
};
use jeton_contract::reason::Reason;

use super::{account, claims};
use crate::{
    federation::provider::{OTHER_CALLBACK, code, issuer, s256},
    service::{
        calls::{IssueExt as _, owned, refused, refused_fields, seconds},
        harness::{PUBLIC_URL, Service, plain},
        identity_profiles,
        memberships::{self, join, place},
        one_time,
        people::{
            PASSWORD, People, brought, let_members_manage_themselves, link, provider, set_password, texts, update,
        },
    },
};

on_both_stores! {
    the_store_gets_its_own_token
    a_member_gets_a_token_for_each_account
    a_one_time_password_signs_in_once_and_resets_the_password
    a_code_of_an_openid_provider_signs_in_with_its_verifier
    a_live_token_is_switched_for_new_ones
    settings_of_the_store_decide
    accounts_are_kept_and_found
    every_documented_error_has_its_reason
}

async fn the_store_gets_its_own_token(service: Service) {
    let hour = wire::Client { token_ttl: Some(seconds(3600)), ..plain() };
    let store = service.client_in("default", hour).await;
    let issued = service.anonymous().issue(store.client_credentials()).await;
    assert_eq!((issued.token_type.as_str(), issued.expires_in), ("Bearer", Some(3600)));
    // Keys are several, are not tied to a person, and tell when they were used.
    service.settle().await;
    let list = wire::ListClientSecretsRequest { tenant_id: "default".into(), client_id: store.client_id.clone() };
    let listed = service.admin().await.list_client_secrets(list).await.unwrap().secrets;
    assert!(listed[0].last_used_time.is_some());
}

async fn a_member_gets_a_token_for_each_account(service: Service) {
    let people = People::new(&service).await;
    let (north, south) = (account(&service, "north", "").await, account(&service, "south", "north").await);
    let member = people.person("ada@example.com", &[north.clone(), south.clone()]).await;
    let reply = service.anonymous().authenticate_member(people.by_password("Ada@Example.com", PASSWORD)).await.unwrap();
    assert_eq!((reply.total_size, reply.next_page_token.as_str()), (2, ""));
    assert_eq!(reply.member.as_ref().unwrap().member_id, member);
    let answer: BTreeSet<_> =
        reply.tokens.iter().map(|token| (token.account_id.clone(), token.account_name.clone())).collect();
    let expected = [(north.clone(), "Account north".to_owned()), (south.clone(), "Account south".to_owned())];
    assert_eq!(answer, expected.into());
    for token in &reply.tokens {
        let issued = token.token.as_ref().unwrap();
        let claims = claims(&issued.access_token);
        assert_eq!((issued.expires_in, &claims["acc"]), (Some(86_400), &token.account_id.clone().into()));
        assert_eq!((&claims["sub"], &claims["ten"]), (&member.clone().into(), &"default".into()));
        let ancestors = if token.account_id == south { Some(&north) } else { None };
        assert_eq!(claims["anc"].get(0).and_then(|id| id.as_str()), ancestors.map(String::as_str));
    }
    // Page by page.
    let small = wire::AuthenticateMemberRequest { page_size: 1, ..people.by_password("ada@example.com", PASSWORD) };
    let first = service.anonymous().authenticate_member(small.clone()).await.unwrap();
    let next = wire::AuthenticateMemberRequest { page_token: first.next_page_token.clone(), ..small };
    let second = service.anonymous().authenticate_member(next).await.unwrap();
    assert_eq!((first.tokens.len(), second.tokens.len(), second.next_page_token.as_str()), (1, 1, ""));
    assert_ne!(first.tokens[0].account_id, second.tokens[0].account_id);
    // What an account is called, and whether it may act, is looked up: nothing must be issued again.
    let disable = wire::DisableAccountRequest { account_id: south.clone(), ..Default::default() };
    people.manager.disable_account(disable).await.unwrap();
    let alive: Vec<_> = reply.tokens.iter().map(|token| token.account_id != south).collect();
    let tokens = texts(&reply);
    assert_eq!(service.active(&tokens.iter().map(String::as_str).collect::<Vec<_>>()).await, alive);
}

async fn a_one_time_password_signs_in_once_and_resets_the_password(service: Service) {
    let people = one_time::people(&service).await;
    let_members_manage_themselves(&service).await;
    let north = account(&service, "north", "").await;
    let ada = people.person("ada", std::slice::from_ref(&north)).await;
    let nobody = service.anonymous();
    // The same reply for everybody, and an event for those there are.
    let ask = async |username: &str, purpose: Purpose| {
        let request = wire::RequestOneTimePasswordRequest { purpose: purpose.into(), ..people.code_for(username) };
        nobody.request_one_time_password(request).await.unwrap();
    };
    ask("unknown", Purpose::Authenticate).await;
    assert!(service.events().await.is_empty());
    ask("ada", Purpose::Authenticate).await;
    let event = service.events().await.pop().unwrap();
    assert_eq!((&event["username"], &event["purpose"]), (&"ada".into(), &"authenticate".into()));
    let code = event["code"].as_str().unwrap().to_owned();
    let page = nobody.authenticate_member(people.by_code("ada", &code)).await.unwrap();
    assert_eq!((page.tokens.len(), &page.tokens[0].account_id), (1, &north));
    refused(nobody.authenticate_member(people.by_code("ada", &code)).await, Reason::InvalidCredentials);
    // It is good for ten minutes.
    ask("ada", Purpose::Authenticate).await;
    let code = one_time::last_code(&service).await;
    service.advance(Duration::from_secs(600));
    refused(nobody.authenticate_member(people.by_code("ada", &code)).await, Reason::InvalidCredentials);
    // A token that was had by a code changes the password without the old one.
    ask("ada", Purpose::ResetPassword).await;
    let code = one_time::last_code(&service).await;
    let for_jeton = wire::AuthenticateMemberRequest {
        audience: vec![format!("{PUBLIC_URL}/t/default")],
        ..people.by_code("ada", &code)
    };
    let itself = service.bearer(&people.tokens(&service, for_jeton).await[0]);
    set_password(&itself, people.password(&ada, "", "battery staple")).await.unwrap();
    refused(nobody.authenticate_member(people.by_password("ada", PASSWORD)).await, Reason::InvalidCredentials);
    nobody.authenticate_member(people.by_password("ada", "battery staple")).await.unwrap();
}

async fn a_code_of_an_openid_provider_signs_in_with_its_verifier(service: Service) {
    let service = service.calling_out().await;
    let people = People::new(&service).await;
    let profile = provider(&people.manager, issuer(), "rsa").await;
    let member = memberships::member(&people.manager, "ada").await;
    let north = account(&service, "north", "").await;
    join(&people.manager, place("north", "ada", &[])).await.unwrap();
    link(&people.manager, "ada", &profile, Identity::Subject("person-1".into())).await.unwrap();
    let nobody = service.anonymous();
    let used = code("rsa").await;
    let page = nobody.authenticate_member(people.by_redirect(&profile, &used)).await.unwrap();
    assert_eq!((page.tokens.len(), &page.tokens[0].account_id), (1, &north));
    assert_eq!(page.member.unwrap().member_id, member);
    // The code a second time, with another verifier, for another redirect: one and the same refusal.
    let mut seen = BTreeSet::new();
    for wrong in [
        brought(&profile, &used),
        wire::OidcMechanism { code_verifier: s256("another"), ..brought(&profile, &code("rsa").await) },
        wire::OidcMechanism { redirect_uri: OTHER_CALLBACK.into(), ..brought(&profile, &code("rsa").await) },
    ] {
        let answer = nobody.authenticate_member(people.by(Mechanism::Oidc(wrong))).await;
        seen.insert(refused(answer, Reason::InvalidCredentials).message().to_owned());
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    let without = wire::OidcMechanism { code_verifier: String::new(), ..brought(&profile, "code") };
    let without = nobody.authenticate_member(people.by(Mechanism::Oidc(without))).await;
    refused_fields(without, Reason::InvalidField, &["oidc.code_verifier"]);
}

async fn a_live_token_is_switched_for_new_ones(service: Service) {
    let people = People::new(&service).await;
    let accounts = [account(&service, "north", "").await, account(&service, "south", "").await];
    people.person("ada", &accounts).await;
    // A short life and a switch while the shopper is active make an idle timeout.
    let hour = wire::TenantSettings { authenticated_member_token_ttl: Some(seconds(3600)), ..Default::default() };
    service.set(hour).await;
    let mut tokens = people.tokens(&service, people.by_password("ada", PASSWORD)).await;
    for _ in 0..3 {
        service.advance(Duration::from_secs(3000));
        tokens = people.tokens(&service, people.by_token(&tokens[1])).await;
        assert_eq!(service.active(&[&tokens[0], &tokens[1]]).await, [true, true]);
    }
    service.advance(Duration::from_secs(3600));
    refused(service.anonymous().authenticate_member(people.by_token(&tokens[0])).await, Reason::InvalidCredentials);
}

async fn settings_of_the_store_decide(service: Service) {
    let people = People::new(&service).await;
    let sign_up = async |username: &str| {
        let request = people.by_signup(people.signup(username, &format!("{username}@example.com")));
        service.anonymous().authenticate_member(request).await
    };
    refused(sign_up("ada").await, Reason::SelfSignupDisabled);
    service.set(wire::TenantSettings { self_signup: Some(true), ..Default::default() }).await;
    // Who signed up cannot act until there is a membership, unless an account is made for everybody.
    assert_eq!(sign_up("ada").await.unwrap().tokens.len(), 0);
    service.set(wire::TenantSettings { auto_create_account: Some(true), ..Default::default() }).await;
    let made = sign_up("bob").await.unwrap();
    assert_eq!((made.tokens.len(), made.tokens[0].account_name.as_str()), (1, "A. Newcomer"));
    // Members change themselves only where they may.
    let itself = people.itself(&service, "bob").await;
    let bob = made.member.unwrap().member_id;
    let named = || wire::Member { member_id: bob.clone(), display_name: "Bob".into(), ..Default::default() };
    refused(update(&itself, named(), &[]).await, Reason::ScopeInsufficient);
    let_members_manage_themselves(&service).await;
    assert_eq!(update(&itself, named(), &[]).await.unwrap().display_name, "Bob");
    // A lower limit leaves the memberships that are there.
    let own = made.tokens[0].account_id.clone();
    let more = account(&service, "more", "").await;
    join(&people.manager, place(&more, &bob, &[])).await.unwrap();
    service.set(wire::TenantSettings { membership_limit: 1, ..Default::default() }).await;
    let third = account(&service, "third", "").await;
    refused(join(&people.manager, place(&third, &bob, &[])).await, Reason::MembershipLimit);
    let page = service.anonymous().authenticate_member(people.by_password("bob", PASSWORD)).await.unwrap();
    let accounts: BTreeSet<_> = page.tokens.into_iter().map(|token| token.account_id).collect();
    assert_eq!(accounts, [own, more].into());
    let defaults = wire::GetTenantRequest { tenant_id: "default".into() };
    let settings = service.admin().await.get_tenant(defaults).await.unwrap().tenant.unwrap().settings.unwrap();
    assert_eq!(settings.authenticated_member_token_ttl, Some(seconds(86_400)));
}

async fn accounts_are_kept_and_found(service: Service) {
    let manager = memberships::caller(&service).await;
    let parent = account(&service, "parent", "").await;
    let sent = wire::Account {
        display_name: "Acme Ltd".into(),
        legal_name: "Acme Limited".into(),
        registration_id: "HRB 1".into(),
        foreign_id: "crm-1".into(),
        parent_id: "parent".into(),
        labels: [("segment".to_owned(), "vip".to_owned())].into(),
        ..Default::default()
    };
    let create = wire::CreateAccountRequest { account: Some(sent.clone()), ..Default::default() };
    let made = manager.create_account(create).await.unwrap().account.unwrap();
    assert_eq!((made.ancestor_ids.as_slice(), &made.parent_id), ([parent.clone()].as_slice(), &parent));
    let found = async |filter: &str| {
        let list = wire::ListAccountsRequest { filter: filter.into(), ..Default::default() };
        let found = manager.list_accounts(list).await.unwrap().accounts;
        found.into_iter().map(|account| account.foreign_id).collect::<BTreeSet<_>>()
    };
    let expected: BTreeSet<_> = ["crm-1".to_owned()].into();
    for filter in [
        "display_name = \"Acme Ltd\"",
        "display_name = \"*cme*\"",
        "legal_name:limited",
        "registration_id = \"HRB 1\"",
        "foreign_id = \"crm-*\"",
        "labels.segment = vip",
    ] {
        assert_eq!(found(filter).await, expected, "{filter}");
    }
    let again = wire::Account { display_name: "n".into(), registration_id: "HRB 1".into(), ..Default::default() };
    let again = wire::CreateAccountRequest { account: Some(again), ..Default::default() };
    refused(manager.create_account(again).await, Reason::RegistrationIdTaken);
    let long = wire::Account { registration_id: "x".repeat(64), ..sent.clone() };
    let long = wire::CreateAccountRequest { account: Some(long), ..Default::default() };
    refused_fields(manager.create_account(long).await, Reason::InvalidField, &["account.registration_id"]);
    let moved = wire::Account { account_id: made.account_id, ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: owned(&["parent_id"]) });
    let moved = wire::UpdateAccountRequest { account: Some(moved), update_mask, ..Default::default() };
    refused(manager.update_account(moved).await, Reason::FieldImmutable);
}

async fn every_documented_error_has_its_reason(service: Service) {
    let people = People::new(&service).await;
    let nobody = service.anonymous();
    let north = account(&service, "north", "").await;
    let ada = people.person("ada", std::slice::from_ref(&north)).await;
    // 400
    let bad = people.by_password("", PASSWORD);
    refused_fields(nobody.authenticate_member(bad).await, Reason::InvalidField, &["password.username"]);
    let short = people.password(&ada, "", "1234567");
    refused_fields(set_password(&people.manager, short).await, Reason::InvalidField, &["password"]);
    // 401: one and the same for whatever is wrong.
    let mut seen = BTreeSet::new();
    for request in
        [people.by_password("ada", "wrong"), people.by_password("unknown", PASSWORD), people.by_token("not a token")]
    {
        let status = refused(nobody.authenticate_member(request).await, Reason::InvalidCredentials);
        seen.insert((status.message().to_owned(), status.details().to_vec()));
    }
    assert_eq!(seen.len(), 1);
    let without = wire::AuthenticateMemberRequest {
        client_id: String::new(),
        client_secret: String::new(),
        ..people.by_password("ada", PASSWORD)
    };
    refused(nobody.authenticate_member(without).await, Reason::TokenMissing);
    // 403: what the store does not offer. The reply does not say whether there is such a person.
    for who in ["ada", "unknown"] {
        refused(nobody.request_one_time_password(people.code_for(who)).await, Reason::OneTimePasswordsDisabled);
    }
    refused(nobody.authenticate_member(people.by_signup(people.signup("new", ""))).await, Reason::SelfSignupDisabled);
    // 404: a profile that is not, or that is another store's (there 422).
    service.tenant("other", Default::default()).await;
    let theirs = wire::CreateIdentityProfileRequest {
        tenant_id: "other".into(),
        identity_profile: Some(identity_profiles::password("p")),
        ..Default::default()
    };
    let theirs = service.admin().await.create_identity_profile(theirs).await.unwrap().identity_profile.unwrap();
    for profile in [theirs.identity_profile_id, "idp_1111111111111111111111".into()] {
        let elsewhere = People { profile, ..People::new(&service).await };
        let client = people.desk.clone();
        let request = wire::AuthenticateMemberRequest {
            client_id: client.client_id,
            client_secret: client.client_secret,
            ..elsewhere.by_password("ada", PASSWORD)
        };
        refused(nobody.authenticate_member(request).await, Reason::NotFound);
    }
    refused(nobody.issue_token(people.desk.client_credentials().tenant("other")).await, Reason::TenantNotGranted);
    // 409
    refused(join(&people.manager, place("north", &ada, &[])).await, Reason::MembershipExists);
    // Not more members than an account may have.
    service.set(wire::TenantSettings { account_member_limit: 1, ..Default::default() }).await;
    let other = memberships::member(&people.manager, "").await;
    refused(join(&people.manager, place("north", &other, &[])).await, Reason::MemberLimit);
    // 429, after so many attempts that failed, with the time to wait.
    for _ in 0..10 {
        let _ = nobody.authenticate_member(people.by_password("guessed", "wrong")).await;
    }
    let limited = nobody.authenticate_member(people.by_password("guessed", "wrong")).await;
    let limited = refused(limited, Reason::AttemptLimit);
    assert!(tonic_types::StatusExt::get_details_retry_info(&limited).is_some());
}

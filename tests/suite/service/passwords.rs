//! Passwords and identities of members, and what members do for themselves.

use std::time::Duration;

use jeton::api::{
    wire,
    wire::{link_identity_request::Identity, list_memberships_request::Of},
};
use jeton_contract::reason::Reason;

use super::{
    calls::{for_member, owned, refused, refused_fields},
    harness::{Backend, PUBLIC_URL, Service, manager},
    identity_profiles,
    memberships::{self, invite, join, place},
    people::{PASSWORD, People, get, let_members_manage_themselves, link, set_password, texts, unlink, update},
};

on_both_stores! {
    a_first_password_wants_a_username_and_the_next_one_does_not
    a_username_is_one_members_in_any_case
    what_is_set_is_checked
    a_new_password_ends_all_tokens_and_a_first_one_none
    identities_are_linked_and_unlinked
    a_profile_with_identities_cannot_be_deleted
    a_confined_caller_sets_no_passwords
    a_member_changes_its_own_password_where_the_tenant_lets_it
    a_one_time_password_stands_in_for_the_current_one_for_ten_minutes
    a_member_reads_and_changes_itself
    a_member_answers_its_own_invitations
    a_hash_of_other_parameters_is_replaced_by_a_sign_in
    an_email_address_is_verified_until_it_changes
}

#[tokio::test]
async fn what_is_stored_opens_no_door() {
    let service = Service::start(Backend::Embedded).await;
    let people = People::new(&service).await;
    identity_profiles::create(&people.manager, identity_profiles::oidc("o")).await.unwrap();
    people.person("somebody", &[]).await;
    refused(sign_in(&service, &people, "hunter2 by mistake", PASSWORD).await, Reason::InvalidCredentials);
    service.settle().await;
    assert!(service.is_stored("$argon2id$") && service.is_stored("https://idp.example.com/a"), "it is readable");
    for secret in [PASSWORD, "kept to ourselves", "hunter2"] {
        assert!(!service.is_stored(secret), "{secret}");
    }
}

async fn sign_in(service: &Service, people: &People, username: &str, password: &str) -> Result<usize, tonic::Status> {
    let request = people.by_password(username, password);
    service.anonymous().authenticate_member(request).await.map(|page| page.tokens.len())
}

async fn a_first_password_wants_a_username_and_the_next_one_does_not(service: Service) {
    let people = People::new(&service).await;
    let member = memberships::member(&people.manager, "mine").await;
    let bare = people.password(&member, "", PASSWORD);
    refused_fields(set_password(&people.manager, bare).await, Reason::InvalidField, &["username"]);
    let set = set_password(&people.manager, people.password("mine", " Me ", PASSWORD)).await.unwrap();
    let identity = set.identities[0].clone();
    assert_eq!((identity.identity_profile_id.as_str(), identity.username.as_str()), (people.profile.as_str(), "Me"));
    assert!(identity.password_set_time.is_some());
    sign_in(&service, &people, "me", PASSWORD).await.unwrap();
    set_password(&people.manager, people.password(&member, "", "another one")).await.unwrap();
    sign_in(&service, &people, "me", "another one").await.unwrap();
    refused(sign_in(&service, &people, "me", PASSWORD).await, Reason::InvalidCredentials);
    // Another username takes the place of the first, which is free then.
    set_password(&people.manager, people.password(&member, "myself", PASSWORD)).await.unwrap();
    sign_in(&service, &people, "myself", PASSWORD).await.unwrap();
    refused(sign_in(&service, &people, "me", PASSWORD).await, Reason::InvalidCredentials);
    people.person("me", &[]).await;
}

async fn a_username_is_one_members_in_any_case(service: Service) {
    let people = People::new(&service).await;
    people.person("One", &[]).await;
    let other = memberships::member(&people.manager, "").await;
    let taken = people.password(&other, "oNE", PASSWORD);
    refused(set_password(&people.manager, taken).await, Reason::IdentityTaken);
    let username = Identity::Username("ONE".into());
    refused(link(&people.manager, &other, &people.profile, username).await, Reason::IdentityTaken);
    assert!(get(&people.manager, &other).await.unwrap().identities.is_empty());
    // In another profile it is somebody else's.
    let second = identity_profiles::create(&people.manager, identity_profiles::password("2")).await.unwrap();
    let second = People { profile: second.identity_profile_id, ..People::new(&service).await };
    set_password(&people.manager, second.password(&other, "one", "something else")).await.unwrap();
    sign_in(&service, &people, "one", PASSWORD).await.unwrap();
    sign_in(&service, &second, "one", "something else").await.unwrap();
}

async fn what_is_set_is_checked(service: Service) {
    let people = People::new(&service).await;
    let member = memberships::member(&people.manager, "").await;
    for (password, username, field) in [
        ("1234567", "u", "password"),
        (&*"x".repeat(257), "u", "password"),
        (PASSWORD, &*"x".repeat(256), "username"),
        (PASSWORD, "a\u{0}b", "username"),
    ] {
        let request = people.password(&member, username, password);
        refused_fields(set_password(&people.manager, request).await, Reason::InvalidField, &[field]);
    }
    let nobody = people.password("nobody", "u", PASSWORD);
    refused(set_password(&people.manager, nobody).await, Reason::NotFound);
    let profile = |id: &str| wire::SetPasswordRequest {
        identity_profile_id: id.to_owned(),
        ..people.password(&member, "u", PASSWORD)
    };
    for id in ["nonsense", "idp_1111111111111111111111"] {
        refused(set_password(&people.manager, profile(id)).await, Reason::NotFound);
    }
    let oidc = identity_profiles::create(&people.manager, identity_profiles::oidc("o")).await.unwrap();
    let wrong = set_password(&people.manager, profile(&oidc.identity_profile_id)).await;
    refused_fields(wrong, Reason::InvalidField, &["identity_profile_id"]);
    let delete = wire::DeleteMemberRequest { member_id: member.clone(), ..Default::default() };
    people.manager.delete_member(delete).await.unwrap();
    let deleted = people.password(&member, "u", PASSWORD);
    refused(set_password(&people.manager, deleted).await, Reason::NotFound);
}

async fn a_new_password_ends_all_tokens_and_a_first_one_none(service: Service) {
    let people = People::new(&service).await;
    let account = service.account("").await;
    let member = memberships::member(&people.manager, "").await;
    join(&people.manager, place(&account, &member, &[])).await.unwrap();
    let granted = service.anonymous().issue(people.desk.with(for_member(&member, &account))).await.access_token;
    set_password(&people.manager, people.password(&member, "m", PASSWORD)).await.unwrap();
    assert!(service.is_active(&granted).await, "nobody can have known a password");
    let signed_in = people.tokens(&service, people.by_password("m", PASSWORD)).await.remove(0);
    set_password(&people.manager, people.password(&member, "", PASSWORD)).await.unwrap();
    assert_eq!(service.active(&[&granted, &signed_in]).await, [false; 2]);
}

async fn identities_are_linked_and_unlinked(service: Service) {
    let people = People::new(&service).await;
    let oidc = identity_profiles::create(&people.manager, identity_profiles::oidc("o")).await.unwrap();
    let oidc = oidc.identity_profile_id;
    let (one, two) = (people.person("one", &[]).await, people.person("two", &[]).await);
    let subject = |subject: &str| Identity::Subject(subject.to_owned());
    let linked = link(&people.manager, &one, &oidc, subject("s1")).await.unwrap();
    let own = linked.identities.iter().find(|own| own.identity_profile_id == oidc).unwrap();
    assert_eq!((own.subject.as_str(), own.issuer.as_str()), ("s1", "https://idp.example.com/a"));
    assert_eq!(linked.identities.len(), 2);
    link(&people.manager, &one, &oidc, subject("s1")).await.unwrap();
    refused(link(&people.manager, &one, &oidc, subject("s2")).await, Reason::IdentityTaken);
    refused(link(&people.manager, &two, &oidc, subject("s1")).await, Reason::IdentityTaken);
    // Subjects are as the provider writes them.
    link(&people.manager, &two, &oidc, subject("S1")).await.unwrap();
    refused_fields(
        link(&people.manager, &two, &people.profile, subject("s")).await,
        Reason::InvalidField,
        &["subject"],
    );
    let username = Identity::Username("n".into());
    refused_fields(link(&people.manager, &two, &oidc, username).await, Reason::InvalidField, &["username"]);
    let neither =
        wire::LinkIdentityRequest { member_id: two.clone(), identity_profile_id: oidc.clone(), ..Default::default() };
    refused_fields(people.manager.link_identity(neither).await, Reason::InvalidField, &["identity"]);

    let left = unlink(&people.manager, &one, &oidc).await.unwrap();
    assert_eq!(left.identities.len(), 1);
    unlink(&people.manager, &one, &oidc).await.unwrap();
    unlink(&people.manager, &two, &oidc).await.unwrap();
    link(&people.manager, &two, &oidc, subject("s1")).await.unwrap();
    // Whichever way a token came, it ends with one of the ways.
    join(&people.manager, place(&service.account("").await, &one, &[])).await.unwrap();
    let token = people.tokens(&service, people.by_password("one", PASSWORD)).await.remove(0);
    unlink(&people.manager, &one, &oidc).await.unwrap();
    assert!(service.is_active(&token).await, "nothing was unlinked");
    unlink(&people.manager, &one, &people.profile).await.unwrap();
    assert!(!service.is_active(&token).await);
}

async fn a_profile_with_identities_cannot_be_deleted(service: Service) {
    let people = People::new(&service).await;
    let (one, two) = (people.person("one", &[]).await, people.person("two", &[]).await);
    refused(identity_profiles::delete(&people.manager, &people.profile).await, Reason::IdentityProfileInUse);
    unlink(&people.manager, &one, &people.profile).await.unwrap();
    refused(identity_profiles::delete(&people.manager, &people.profile).await, Reason::IdentityProfileInUse);
    let delete = wire::DeleteMemberRequest { member_id: two, ..Default::default() };
    people.manager.delete_member(delete).await.unwrap();
    identity_profiles::delete(&people.manager, &people.profile).await.unwrap();
    let late = people.password(&one, "late", PASSWORD);
    refused(set_password(&people.manager, late).await, Reason::NotFound);
    refused(sign_in(&service, &people, "one", PASSWORD).await, Reason::NotFound);
}

async fn a_confined_caller_sets_no_passwords(service: Service) {
    let people = People::new(&service).await;
    let account = service.account("").await;
    let member = people.person("m", std::slice::from_ref(&account)).await;
    let confined = wire::Client { account_id: account, ..manager() };
    let confined = service.caller(&service.client_in("default", confined).await).await;
    refused(set_password(&confined, people.password(&member, "", "a new one")).await, Reason::NotFound);
    let username = Identity::Username("n".into());
    refused(link(&confined, &member, &people.profile, username).await, Reason::NotFound);
    refused(unlink(&confined, &member, &people.profile).await, Reason::NotFound);
    // Nor who holds no scope and is no member.
    let client = service.client().await;
    let issuer = wire::IssueTokenRequest { scopes: owned(&["jeton.tokens.issue"]), ..client.client_credentials() };
    let powerless = service.bearer(&service.anonymous().issue(issuer).await.access_token);
    refused(set_password(&powerless, people.password(&member, "", "a new one")).await, Reason::ScopeInsufficient);
    refused(get(&powerless, &member).await, Reason::ScopeInsufficient);
}

async fn a_member_changes_its_own_password_where_the_tenant_lets_it(service: Service) {
    let people = People::new(&service).await;
    let account = service.account("").await;
    let member = people.person("m", std::slice::from_ref(&account)).await;
    let other = people.person("n", std::slice::from_ref(&account)).await;
    let itself = people.itself(&service, "m").await;
    let own = |current: &str, password: &str| wire::SetPasswordRequest {
        current_password: current.to_owned(),
        ..people.password(&member, "", password)
    };
    refused(set_password(&itself, own(PASSWORD, "a new one")).await, Reason::ScopeInsufficient);
    let_members_manage_themselves(&service).await;
    refused_fields(set_password(&itself, own("", "a new one")).await, Reason::InvalidField, &["current_password"]);
    refused(set_password(&itself, own("wrong", "a new one")).await, Reason::InvalidCredentials);
    let renamed = wire::SetPasswordRequest { username: "x".into(), ..own(PASSWORD, "a new one") };
    refused(set_password(&itself, renamed).await, Reason::ScopeInsufficient);
    let others =
        wire::SetPasswordRequest { current_password: PASSWORD.into(), ..people.password(&other, "", "a new one") };
    let status = refused(set_password(&itself, others).await, Reason::NotFound);
    let nobody =
        wire::SetPasswordRequest { member_id: "mem_1111111111111111111111".into(), ..own(PASSWORD, "a new one") };
    let unknown = refused(set_password(&itself, nobody).await, Reason::NotFound);
    assert_eq!(status.message(), unknown.message());
    let second = identity_profiles::create(&people.manager, identity_profiles::password("2")).await.unwrap();
    let second =
        wire::SetPasswordRequest { identity_profile_id: second.identity_profile_id, ..own(PASSWORD, "a new one") };
    refused(set_password(&itself, second).await, Reason::NotFound);
    // A token that the client made without the member is not enough.
    let issuer = format!("{PUBLIC_URL}/t/default");
    let granted = wire::IssueTokenRequest { audience: vec![issuer], ..for_member(&member, &account) };
    let granted = service.bearer(&service.anonymous().issue(people.desk.with(granted)).await.access_token);
    refused(set_password(&granted, own(PASSWORD, "a new one")).await, Reason::ScopeInsufficient);

    let elsewhere = people.tokens(&service, people.by_password("m", PASSWORD)).await.remove(0);
    let request = wire::AuthenticateMemberRequest { page_size: 1, ..people.by_password("m", PASSWORD) };
    join(&people.manager, place(&service.account("").await, &member, &[])).await.unwrap();
    let page_token = service.anonymous().authenticate_member(request.clone()).await.unwrap().next_page_token;
    assert!(!page_token.is_empty());
    set_password(&itself, own(PASSWORD, "a new one")).await.unwrap();
    let current = itself.authorization[0].strip_prefix("Bearer ").unwrap();
    assert_eq!(service.active(&[current, &elsewhere]).await, [true, false]);
    let next = wire::AuthenticateMemberRequest { page_token, ..request };
    refused(service.anonymous().authenticate_member(next).await, Reason::PageTokenInvalid);
    refused(sign_in(&service, &people, "m", PASSWORD).await, Reason::InvalidCredentials);
    sign_in(&service, &people, "m", "a new one").await.unwrap();
    // Guessing the current password is limited as a sign-in is.
    for _ in 0..10 {
        refused(set_password(&itself, own("guess", "a new one")).await, Reason::InvalidCredentials);
    }
    refused(set_password(&itself, own("guess", "a new one")).await, Reason::AttemptLimit);
    refused(sign_in(&service, &people, "m", "a new one").await, Reason::AttemptLimit);
}

async fn a_one_time_password_stands_in_for_the_current_one_for_ten_minutes(service: Service) {
    let people = People::new(&service).await;
    let_members_manage_themselves(&service).await;
    let account = service.account("").await;
    let member = people.person("m", std::slice::from_ref(&account)).await;
    // As a sign-in by one-time password writes it: a token of the member, with another `amr`.
    let request = wire::AuthenticateMemberRequest {
        audience: vec![format!("{PUBLIC_URL}/t/default")],
        ..people.by_password("m", PASSWORD)
    };
    let token = people.tokens(&service, request).await.remove(0);
    let part = |i: usize| {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        String::from_utf8(URL_SAFE_NO_PAD.decode(token.split('.').nth(i).unwrap()).unwrap()).unwrap()
    };
    let claims = part(1).replace("\"amr\":[\"pwd\"]", "\"amr\":[\"otp\"]");
    assert_ne!(claims, part(1));
    let itself = service.bearer(&service.sign(&part(0), &claims).await);
    let own = |password: &str| people.password(&member, "", password);
    service.advance(Duration::from_secs(599));
    set_password(&itself, own("after five hundred")).await.unwrap();
    sign_in(&service, &people, "m", "after five hundred").await.unwrap();
    service.advance(Duration::from_secs(1));
    refused_fields(set_password(&itself, own("too late")).await, Reason::InvalidField, &["current_password"]);
    // No other way is known, nor two at once.
    for amr in ["[\"pin\"]", "[\"pwd\",\"otp\"]", "[]"] {
        let claims = part(1).replace("[\"pwd\"]", amr);
        refused(
            service.bearer(&service.sign(&part(0), &claims).await).get_caller(Default::default()).await,
            Reason::TokenInvalid,
        );
    }
}

async fn a_member_reads_and_changes_itself(service: Service) {
    let people = People::new(&service).await;
    let account = service.account("").await;
    let member = people.person("m", std::slice::from_ref(&account)).await;
    let other = people.person("n", std::slice::from_ref(&account)).await;
    let itself = people.itself(&service, "m").await;
    assert_eq!(get(&itself, &member).await.unwrap().member_id, member);
    refused(get(&itself, &other).await, Reason::NotFound);
    refused(itself.list_members(Default::default()).await, Reason::ScopeInsufficient);
    let of = |of: Of| wire::ListMembershipsRequest { of: Some(of), ..Default::default() };
    let listed = itself.list_memberships(of(Of::MemberId(member.clone()))).await.unwrap().memberships;
    assert_eq!((listed.len(), &listed[0].account_id), (1, &account));
    refused(itself.list_memberships(of(Of::MemberId(other.clone()))).await, Reason::NotFound);
    refused(itself.list_memberships(of(Of::AccountId(account))).await, Reason::ScopeInsufficient);

    let me = |member: wire::Member| wire::Member { member_id: listed[0].member_id.clone(), ..member };
    let named = || me(wire::Member { display_name: "M.".into(), ..Default::default() });
    refused(update(&itself, named(), &[]).await, Reason::ScopeInsufficient);
    let_members_manage_themselves(&service).await;
    let changed = wire::Member {
        first_name: "f".into(),
        last_name: "l".into(),
        email: "m@example.com".into(),
        phone: "1".into(),
        title: "t".into(),
        ..named()
    };
    let now = update(&itself, changed, &[]).await.unwrap();
    assert_eq!((now.display_name.as_str(), now.email.as_str(), now.title.as_str()), ("M.", "m@example.com", "t"));
    for beyond in [
        wire::Member { foreign_id: "f".into(), ..named() },
        wire::Member { email_verified: Some(true), ..named() },
        wire::Member { labels: [("a".to_owned(), "b".to_owned())].into(), ..named() },
        wire::Member { metadata: [("a".to_owned(), "b".to_owned())].into(), ..named() },
    ] {
        refused(update(&itself, beyond, &[]).await, Reason::ScopeInsufficient);
    }
    refused(update(&itself, named(), &["metadata.a"]).await, Reason::ScopeInsufficient);
    refused(update(&itself, named(), &["*"]).await, Reason::ScopeInsufficient);
    refused(update(&itself, wire::Member { member_id: other, ..named() }, &[]).await, Reason::NotFound);
    let disable = wire::DisableMemberRequest { member_id: member.clone(), ..Default::default() };
    refused(itself.disable_member(disable).await, Reason::ScopeInsufficient);
    assert_eq!(get(&people.manager, &member).await.unwrap(), now);
}

async fn a_member_answers_its_own_invitations(service: Service) {
    let people = People::new(&service).await;
    let (first, second, third) = (service.account("").await, service.account("").await, service.account("").await);
    let member = people.person("m", std::slice::from_ref(&first)).await;
    let other = people.person("n", &[]).await;
    for account in [&second, &third] {
        invite(&people.manager, place(account, &member, &[])).await.unwrap();
        invite(&people.manager, place(account, &other, &[])).await.unwrap();
    }
    let itself = people.itself(&service, "m").await;
    let accept = |account: &str, member: &str| wire::AcceptMembershipRequest {
        account_id: account.to_owned(),
        member_id: member.to_owned(),
        ..Default::default()
    };
    itself.accept_membership(accept(&second, &member)).await.unwrap();
    let reject =
        wire::RejectMembershipRequest { account_id: third.clone(), member_id: member.clone(), ..Default::default() };
    itself.reject_membership(reject).await.unwrap();
    refused(itself.accept_membership(accept(&third, &member)).await, Reason::MembershipState);
    // What is none of its own looks as if it did not exist: another's, and accounts that it is not in.
    let foreign = service.account("").await;
    let mut seen = Vec::new();
    for (account, of) in [(&*second, &*other), (&foreign, &member), ("acc_1111111111111111111111", &member)] {
        let status = refused(itself.accept_membership(accept(account, of)).await, Reason::NotFound);
        seen.push(super::calls::seen(&status, of));
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    let disable =
        wire::DisableMembershipRequest { account_id: second.clone(), member_id: member.clone(), ..Default::default() };
    refused(itself.disable_membership(disable).await, Reason::ScopeInsufficient);
    let page = service.anonymous().authenticate_member(people.by_password("m", PASSWORD)).await.unwrap();
    assert_eq!(texts(&page).len(), 2);
}

async fn a_hash_of_other_parameters_is_replaced_by_a_sign_in(service: Service) {
    use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher as _};
    let people = People::new(&service).await;
    let member = people.person("m", &[]).await;
    let old = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8 * 1024, 1, 1, None).unwrap());
    let old = old.hash_password_with_salt(PASSWORD.as_bytes(), &[7; 16]).unwrap().to_string();
    service.set_hash(&member, &people.profile, &old).await;
    refused(sign_in(&service, &people, "m", "wrong").await, Reason::InvalidCredentials);
    service.settle().await;
    assert_eq!(service.hash(&member, &people.profile).await, old, "by nobody else");
    sign_in(&service, &people, "m", PASSWORD).await.unwrap();
    service.settle().await;
    let new = service.hash(&member, &people.profile).await;
    assert!(new.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{new}");
    sign_in(&service, &people, "m", PASSWORD).await.unwrap();
}

async fn an_email_address_is_verified_until_it_changes(service: Service) {
    let people = People::new(&service).await;
    let member = memberships::member(&people.manager, "").await;
    let me = |member_: wire::Member| wire::Member { member_id: member.clone(), ..member_ };
    let verified = || me(wire::Member { email_verified: Some(true), ..Default::default() });
    let status = update(&people.manager, verified(), &[]).await;
    refused_fields(status, Reason::InvalidField, &["member.email_verified"]);
    let email = |email: &str| me(wire::Member { email: email.into(), ..Default::default() });
    assert_eq!(update(&people.manager, email("a@b"), &[]).await.unwrap().email_verified, Some(false));
    assert_eq!(update(&people.manager, verified(), &[]).await.unwrap().email_verified, Some(true));
    assert_eq!(
        update(&people.manager, email("A@B"), &[]).await.unwrap().email_verified,
        Some(true),
        "the same address"
    );
    assert_eq!(update(&people.manager, email("a@c"), &[]).await.unwrap().email_verified, Some(false));
    let both = me(wire::Member { email: "a@d".into(), email_verified: Some(true), ..Default::default() });
    assert_eq!(update(&people.manager, both, &[]).await.unwrap().email_verified, Some(true));
    let none = update(&people.manager, me(wire::Member::default()), &["email"]).await.unwrap();
    assert_eq!((none.email.as_str(), none.email_verified), ("", Some(false)));
}

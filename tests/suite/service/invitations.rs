//! Invitations by e-mail address, which bind at a sign-up that proves the address.

use jeton::api::{
    wire,
    wire::{MembershipState as State, OneTimePasswordPurpose as Purpose},
};
use jeton_contract::reason::Reason;

use super::{
    calls::{Caller, refused, refused_fields, uuid},
    harness::Service,
    memberships::{accept, member, place},
    one_time::{last_code, people},
    people::{PASSWORD, People, get, update},
};

on_both_stores! {
    one_that_proves_an_invited_address_becomes_the_invited_member
    one_that_does_not_prove_an_address_joins_nothing
    a_member_known_by_its_address_is_invited_itself
    an_invitation_names_a_member_or_an_address
    of_many_invitations_of_one_address_at_once_there_comes_one_member
    an_address_is_free_again_when_its_member_is_deleted_or_renamed
    an_address_that_another_invitation_has_is_named_as_what_is_taken
    a_disabled_member_s_invitation_is_joined_by_nobody
    of_many_who_join_by_one_invitation_one_does
}

/// Invites an e-mail address.
async fn invite(caller: &Caller, account: &str, email: &str) -> wire::Membership {
    let request = wire::CreateMembershipRequest { email: email.to_owned(), ..invitation(account) };
    caller.create_membership(request).await.unwrap().membership.unwrap()
}

fn invitation(account: &str) -> wire::CreateMembershipRequest {
    wire::CreateMembershipRequest { membership: Some(place(account, "", &[])), ..Default::default() }
}

/// What a newcomer sends who has proved the address.
async fn proved(service: &Service, people: &People, username: &str, email: &str) -> wire::AuthenticateMemberRequest {
    let request = wire::RequestOneTimePasswordRequest { purpose: Purpose::SignUp.into(), ..people.code_for(email) };
    service.anonymous().request_one_time_password(request).await.unwrap();
    let one_time_password = last_code(service).await;
    people.by_signup(wire::SelfSignupMechanism { one_time_password, ..people.signup(username, email) })
}

async fn open_to_all(service: &Service) -> People {
    service.set(wire::TenantSettings { self_signup: Some(true), ..Default::default() }).await;
    people(service).await
}

async fn one_that_proves_an_invited_address_becomes_the_invited_member(service: Service) {
    let people = open_to_all(&service).await;
    let (first, second) = (service.account("").await, service.account("").await);
    let invited = invite(&people.manager, &first, "ada@example.com").await;
    assert_eq!(invited.state(), State::Invited);
    let again = invite(&people.manager, &second, "Ada@Example.com").await;
    assert_eq!(again.member_id, invited.member_id, "one member stands for an address, in whatever case");
    let stands = get(&people.manager, &invited.member_id).await.unwrap();
    assert_eq!((stands.email.as_str(), stands.invited, stands.email_verified), ("ada@example.com", true, Some(false),));

    let request = wire::AuthenticateMemberRequest {
        request_id: uuid(1),
        ..proved(&service, &people, "ada", "ADA@example.com").await
    };
    let page = service.anonymous().authenticate_member(request.clone()).await.unwrap();
    let ada = page.member.unwrap();
    assert_eq!((&ada.member_id, ada.invited, ada.email_verified), (&invited.member_id, false, Some(true)));
    assert_eq!(ada.display_name, "A. Newcomer");
    assert_eq!((page.tokens.len(), page.total_size), (0, 2), "nothing is accepted yet");
    // A repeat gets the same, though the code is used up.
    let repeated = service.anonymous().authenticate_member(request).await.unwrap();
    assert_eq!(repeated.member.unwrap().member_id, invited.member_id);

    accept(&people.manager, &first, &ada.member_id).await.unwrap();
    let itself = people.itself(&service, "ada").await;
    accept(&itself, &second, &ada.member_id).await.unwrap();
    assert_eq!(people.tokens(&service, people.by_password("ada", PASSWORD)).await.len(), 2);
}

async fn one_that_does_not_prove_an_address_joins_nothing(service: Service) {
    let people = open_to_all(&service).await;
    let account = service.account("").await;
    let invited = invite(&people.manager, &account, "ada@example.com").await;
    let request = people.by_signup(people.signup("eve", "ada@example.com"));
    let eve = service.anonymous().authenticate_member(request).await.unwrap();
    assert_ne!(eve.member.unwrap().member_id, invited.member_id);
    assert_eq!(eve.total_size, 0);
    assert!(get(&people.manager, &invited.member_id).await.unwrap().invited);
}

async fn a_member_known_by_its_address_is_invited_itself(service: Service) {
    let people = open_to_all(&service).await;
    let known = async |verified: bool| {
        let id = member(&people.manager, "").await;
        let member = wire::Member {
            member_id: id.clone(),
            email: "ada@example.com".into(),
            email_verified: Some(verified),
            ..Default::default()
        };
        update(&people.manager, member, &["email", "email_verified"]).await.unwrap();
        id
    };
    known(false).await;
    let ada = known(true).await;
    let [one, two] = [service.account("").await, service.account("").await];
    assert_eq!(invite(&people.manager, &one, "ADA@example.com").await.member_id, ada);
    // Of two who are known by it nobody can tell who is meant.
    let other = known(true).await;
    let invited = invite(&people.manager, &two, "ada@example.com").await.member_id;
    assert!(invited != ada && invited != other);
    assert!(get(&people.manager, &invited).await.unwrap().invited);
}

async fn an_invitation_names_a_member_or_an_address(service: Service) {
    let people = open_to_all(&service).await;
    let account = service.account("").await;
    let ada = member(&people.manager, "").await;
    let create = async |request: wire::CreateMembershipRequest| people.manager.create_membership(request).await;
    refused_fields(create(invitation(&account)).await, Reason::InvalidField, &["membership.member_id"]);
    let both = wire::CreateMembershipRequest {
        membership: Some(place(&account, &ada, &[])),
        email: "ada@example.com".into(),
        ..Default::default()
    };
    refused_fields(create(both).await, Reason::InvalidField, &["email"]);
    let bad = wire::CreateMembershipRequest { email: "ada".into(), ..invitation(&account) };
    refused_fields(create(bad).await, Reason::InvalidField, &["email"]);
    let nowhere = wire::CreateMembershipRequest { email: "ada@example.com".into(), ..invitation("nowhere") };
    refused(create(nowhere).await, Reason::NotFound);
    let silent = wire::CreateMembershipRequest {
        email: "ada@example.com".into(),
        require_confirmation: Some(false),
        request_id: uuid(1),
        ..invitation(&account)
    };
    let made = create(silent.clone()).await.unwrap().membership.unwrap();
    assert_eq!(made.state(), State::Active);
    assert_eq!(create(silent).await.unwrap().membership.unwrap().member_id, made.member_id);
    let twice = wire::CreateMembershipRequest { email: "ada@example.com".into(), ..invitation(&account) };
    refused(create(twice).await, Reason::MembershipExists);
}

async fn of_many_invitations_of_one_address_at_once_there_comes_one_member(service: Service) {
    let people = open_to_all(&service).await;
    let mut invitations = Vec::new();
    for _ in 0..8 {
        let (manager, account) = (people.manager.clone(), service.account("").await);
        invitations.push(tokio::spawn(async move { invite(&manager, &account, "ada@example.com").await.member_id }));
    }
    let mut members = std::collections::BTreeSet::new();
    for invitation in invitations {
        members.insert(invitation.await.unwrap());
    }
    assert_eq!(members.len(), 1);
}

async fn an_address_that_another_invitation_has_is_named_as_what_is_taken(service: Service) {
    let people = open_to_all(&service).await;
    let account = service.account("").await;
    invite(&people.manager, &account, "ada@example.com").await;
    let bob = invite(&people.manager, &account, "bob@example.com").await;
    let ada = wire::Member { member_id: bob.member_id, email: "ADA@example.com".into(), ..Default::default() };
    let status = refused(update(&people.manager, ada, &["email"]).await, Reason::IdentityTaken);
    assert_eq!(status.message(), "another member is invited by this e-mail address");
}

async fn an_address_is_free_again_when_its_member_is_deleted_or_renamed(service: Service) {
    let people = open_to_all(&service).await;
    let accounts = [service.account("").await, service.account("").await, service.account("").await];
    let first = invite(&people.manager, &accounts[0], "ada@example.com").await.member_id;
    let request = wire::DeleteMemberRequest { member_id: first.clone(), ..Default::default() };
    people.manager.delete_member(request).await.unwrap();
    let second = invite(&people.manager, &accounts[1], "ada@example.com").await.member_id;
    assert_ne!(second, first);
    let moved = wire::Member { member_id: second.clone(), email: "bob@example.com".into(), ..Default::default() };
    update(&people.manager, moved, &["email"]).await.unwrap();
    let third = invite(&people.manager, &accounts[2], "ada@example.com").await.member_id;
    assert_ne!(third, second);
    assert_eq!(invite(&people.manager, &accounts[0], "bob@example.com").await.member_id, second);
    // Who signs in stands for no address any more.
    set_password_of(&people, &second, "bob").await;
    assert!(!get(&people.manager, &second).await.unwrap().invited);
    assert_ne!(invite(&people.manager, &accounts[2], "bob@example.com").await.member_id, second);
}

async fn a_disabled_member_s_invitation_is_joined_by_nobody(service: Service) {
    let people = open_to_all(&service).await;
    let accounts = [service.account("").await, service.account("").await];
    let stands = invite(&people.manager, &accounts[0], "ada@example.com").await.member_id;
    let request = wire::DisableMemberRequest { member_id: stands.clone(), ..Default::default() };
    people.manager.disable_member(request).await.unwrap();
    assert_eq!(invite(&people.manager, &accounts[1], "ada@example.com").await.member_id, stands);
    let request = proved(&service, &people, "ada", "ada@example.com").await;
    refused(service.anonymous().authenticate_member(request).await, Reason::Disabled);
}

async fn set_password_of(people: &People, member: &str, username: &str) {
    super::people::set_password(&people.manager, people.password(member, username, PASSWORD)).await.unwrap();
}

async fn of_many_who_join_by_one_invitation_one_does(service: Service) {
    let people = open_to_all(&service).await;
    let account = service.account("").await;
    let stands = invite(&people.manager, &account, "ada@example.com").await.member_id;
    let mut joining = Vec::new();
    for number in 0..4 {
        // Each profile has a code of its own.
        let people = self::people(&service).await;
        let request = proved(&service, &people, &format!("ada{number}"), "ada@example.com").await;
        let caller = service.anonymous();
        joining.push(tokio::spawn(async move { caller.authenticate_member(request).await }));
    }
    let mut joined = Vec::new();
    for one in joining {
        match one.await.unwrap() {
            Ok(page) => joined.push(page.member.unwrap().member_id),
            other => drop(refused(other, Reason::ConcurrentUpdate)),
        }
    }
    assert_eq!(joined.iter().filter(|member| **member == stands).count(), 1, "{joined:?}");
    assert!(!get(&people.manager, &stands).await.unwrap().invited);
}

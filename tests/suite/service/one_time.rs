//! One-time passwords: asked for, delivered as an event, tried.

use std::{collections::BTreeSet, time::Duration};

use jeton::api::{wire, wire::OneTimePasswordPurpose as Purpose};
use jeton_contract::reason::Reason;

use super::{
    calls::{Caller, refused, refused_fields},
    harness::Service,
    identity_profiles,
    memberships::member,
    people::{PASSWORD, People, get, let_members_manage_themselves, link, set_password, update},
};

on_both_stores! {
    a_code_signs_its_member_in_once
    a_code_goes_to_a_verified_address_only
    a_code_stands_in_for_a_forgotten_password
    whether_anybody_has_a_username_shows_in_no_reply
    a_code_may_be_tried_five_times_however_many_come_at_once
    of_many_uses_of_one_code_at_once_one_signs_in
    a_code_is_good_for_ten_minutes_and_until_the_next_one
    one_name_is_sent_five_codes_in_ten_minutes
    a_code_is_good_for_its_own_name_and_profile_only
    what_is_requested_is_checked
    a_code_proves_the_address_of_a_newcomer
}

/// What an expiry is moved by at least.
const INSTANT: Duration = Duration::from_millis(1);
const TEN_MINUTES: Duration = Duration::from_secs(600);

/// People whose profile has one-time passwords.
pub async fn people(service: &Service) -> People {
    let people = People::new(service).await;
    let kind = wire::PasswordProfile { one_time_passwords: Some(true), ..Default::default() };
    let profile = wire::IdentityProfile {
        identity_profile_id: people.profile.clone(),
        kind: Some(wire::identity_profile::Kind::Password(kind)),
        ..Default::default()
    };
    identity_profiles::update(&people.manager, profile, &["password.one_time_passwords"]).await.unwrap();
    people
}

/// Asks for a code.
async fn ask(service: &Service, people: &People, username: &str) {
    service.anonymous().request_one_time_password(people.code_for(username)).await.unwrap();
}

/// Requests a code; the event that the platform gets.
async fn code(service: &Service, people: &People, username: &str) -> String {
    ask(service, people, username).await;
    last_code(service).await
}

pub async fn last_code(service: &Service) -> String {
    service.events().await.last().unwrap()["code"].as_str().unwrap().to_owned()
}

/// Another code than `code`.
fn wrong(code: &str) -> String {
    format!("{:08}", (code.parse::<u32>().unwrap() + 1) % 100_000_000)
}

async fn sign_in(caller: &Caller, people: &People, username: &str, code: &str) -> Result<usize, tonic::Status> {
    caller.authenticate_member(people.by_code(username, code)).await.map(|page| page.tokens.len())
}

async fn a_code_signs_its_member_in_once(service: Service) {
    let people = people(&service).await;
    let account = service.account("").await;
    let ada = people.person("Ada", std::slice::from_ref(&account)).await;
    let nobody = service.anonymous();
    let began = service.clock.now().as_secs();
    let request =
        wire::RequestOneTimePasswordRequest { purpose: Purpose::ResetPassword.into(), ..people.code_for(" ADA ") };
    let reply = nobody.request_one_time_password(request).await.unwrap();
    assert_eq!(reply.position.len(), 20);
    let [event] = &service.events().await[..] else { panic!("one event") };
    let answer = event.as_object().unwrap();
    assert_eq!(answer["member_id"], ada);
    assert_eq!(answer["identity_profile_id"], people.profile);
    assert_eq!(
        (&answer["tenant_id"], &answer["username"], &answer["purpose"]),
        (&"default".into(), &" ADA ".into(), &"reset_password".into(),)
    );
    let expires: prost_types::Timestamp = answer["expire_time"].as_str().unwrap().parse().unwrap();
    assert_eq!(u64::try_from(expires.seconds).unwrap(), began + 600);
    let code = answer["code"].as_str().unwrap();

    let page = nobody.authenticate_member(people.by_code("ada", code)).await.unwrap();
    assert_eq!((page.tokens.len(), page.member.unwrap().member_id), (1, ada.clone()));
    let shown = service.introspect(&page.tokens[0].token.as_ref().unwrap().access_token).await;
    assert_eq!((shown.active, shown.member_id, shown.account_id), (Some(true), ada, account));
    assert_eq!(u64::try_from(shown.authentication_time.unwrap().seconds).unwrap(), began);
    assert_eq!(shown.authentication_methods, ["otp"]);
    refused(sign_in(&nobody, &people, "ada", code).await, Reason::InvalidCredentials);
}

async fn a_code_goes_to_a_verified_address_only(service: Service) {
    let people = people(&service).await;
    let ada = people.person("ada", &[]).await;
    for (verified, expected) in [(false, ""), (true, "ada@example.com")] {
        let member = wire::Member {
            member_id: ada.clone(),
            email: "ada@example.com".into(),
            email_verified: Some(verified),
            ..Default::default()
        };
        update(&people.manager, member, &["email", "email_verified"]).await.unwrap();
        ask(&service, &people, "ada").await;
        assert_eq!(service.events().await.last().unwrap()["email"], expected);
    }
}

async fn a_code_stands_in_for_a_forgotten_password(service: Service) {
    let people = people(&service).await;
    let_members_manage_themselves(&service).await;
    let account = service.account("").await;
    let ada = people.person("ada", &[account]).await;
    let nobody = service.anonymous();
    let before = people.tokens(&service, people.by_password("ada", PASSWORD)).await;
    let request = wire::AuthenticateMemberRequest {
        audience: vec!["https://auth.example.com/t/default".to_owned()],
        ..people.by_code("ada", &code(&service, &people, "ada").await)
    };
    let own = people.tokens(&service, request).await;
    let itself = service.bearer(&own[0]);
    let new = wire::SetPasswordRequest { username: String::new(), ..people.password(&ada, "", "battery staple") };
    set_password(&itself, new.clone()).await.unwrap();
    assert_eq!(service.active(&[&before[0]]).await, [false], "a new password ends what the old one opened");
    refused(nobody.authenticate_member(people.by_password("ada", PASSWORD)).await, Reason::InvalidCredentials);
    nobody.authenticate_member(people.by_password("ada", "battery staple")).await.unwrap();
    // Ten minutes after it signed in, a finder of the token must know the password.
    service.clock.advance(TEN_MINUTES);
    refused_fields(set_password(&itself, new).await, Reason::InvalidField, &["current_password"]);
}

async fn whether_anybody_has_a_username_shows_in_no_reply(service: Service) {
    let people = people(&service).await;
    let disabled = people.person("disabled", &[]).await;
    let request = wire::DisableMemberRequest { member_id: disabled, ..Default::default() };
    people.manager.disable_member(request).await.unwrap();
    people.person("known", &[]).await;
    let nobody = service.anonymous();
    for username in ["known", "unknown", "disabled"] {
        let reply = nobody.request_one_time_password(people.code_for(username)).await.unwrap();
        assert_eq!(reply, wire::RequestOneTimePasswordResponse { position: reply.position.clone() });
    }
    let answer: Vec<_> = service.events().await.into_iter().map(|event| event["username"].clone()).collect();
    assert_eq!(answer, ["known"]);
    let mut texts = BTreeSet::new();
    for username in ["known", "unknown", "disabled", "never asked for"] {
        for _ in 0..6 {
            let status = refused(sign_in(&nobody, &people, username, "00000000").await, Reason::InvalidCredentials);
            texts.insert((status.message().to_owned(), status.details().to_vec()));
        }
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
}

async fn a_code_may_be_tried_five_times_however_many_come_at_once(service: Service) {
    let people = people(&service).await;
    people.person("ada", &[]).await;
    let nobody = service.anonymous();
    let first = code(&service, &people, "ada").await;
    for _ in 0..4 {
        refused(sign_in(&nobody, &people, "ada", &wrong(&first)).await, Reason::InvalidCredentials);
    }
    assert_eq!(sign_in(&nobody, &people, "ada", &first).await.unwrap(), 0, "the fifth attempt counts");

    let second = code(&service, &people, "ada").await;
    let attempts = (0..20).map(|_| {
        let (caller, request) = (nobody.clone(), people.by_code("ada", &wrong(&second)));
        tokio::spawn(async move { caller.authenticate_member(request).await })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        assert!(attempt.await.unwrap().is_err());
    }
    refused(sign_in(&nobody, &people, "ada", &second).await, Reason::InvalidCredentials);
}

async fn of_many_uses_of_one_code_at_once_one_signs_in(service: Service) {
    let people = people(&service).await;
    people.person("ada", &[]).await;
    let nobody = service.anonymous();
    let code = code(&service, &people, "ada").await;
    let uses = (0..10).map(|_| {
        let (caller, request) = (nobody.clone(), people.by_code("ada", &code));
        tokio::spawn(async move { caller.authenticate_member(request).await.is_ok() })
    });
    let mut signed_in = 0;
    for one in uses.collect::<Vec<_>>() {
        signed_in += usize::from(one.await.unwrap());
    }
    assert_eq!(signed_in, 1);
}

async fn a_code_is_good_for_ten_minutes_and_until_the_next_one(service: Service) {
    let people = people(&service).await;
    people.person("ada", &[]).await;
    let nobody = service.anonymous();
    let early = code(&service, &people, "ada").await;
    service.clock.advance(TEN_MINUTES - INSTANT);
    sign_in(&nobody, &people, "ada", &early).await.unwrap();
    let late = code(&service, &people, "ada").await;
    service.clock.advance(TEN_MINUTES);
    refused(sign_in(&nobody, &people, "ada", &late).await, Reason::InvalidCredentials);
    let (old, new) = (code(&service, &people, "ada").await, code(&service, &people, "ada").await);
    assert_ne!(old, new);
    refused(sign_in(&nobody, &people, "ada", &old).await, Reason::InvalidCredentials);
    sign_in(&nobody, &people, "ada", &new).await.unwrap();
}

async fn one_name_is_sent_five_codes_in_ten_minutes(service: Service) {
    let people = people(&service).await;
    people.person("ada", &[]).await;
    let mut last = String::new();
    for _ in 0..7 {
        last = code(&service, &people, "ada").await;
    }
    assert_eq!(service.events().await.len(), 5);
    sign_in(&service.anonymous(), &people, "ada", &last).await.expect("the last one that was sent works");
    ask(&service, &people, "ada").await;
    assert_eq!(service.events().await.len(), 5, "using a code gives no more of them");
    service.clock.advance(TEN_MINUTES);
    ask(&service, &people, "ada").await;
    assert_eq!(service.events().await.len(), 6);
}

async fn a_code_is_good_for_its_own_name_and_profile_only(service: Service) {
    let people = people(&service).await;
    let ada = people.person("ada", &[]).await;
    people.person("bob", &[]).await;
    let other = self::people(&service).await;
    let username = wire::link_identity_request::Identity::Username("ada".to_owned());
    link(&people.manager, &ada, &other.profile, username).await.unwrap();
    let nobody = service.anonymous();
    let code = code(&service, &people, "ada").await;
    refused(sign_in(&nobody, &people, "bob", &code).await, Reason::InvalidCredentials);
    refused(sign_in(&nobody, &other, "ada", &code).await, Reason::InvalidCredentials);
    // What is asked for to sign up does not sign in, nor the other way round.
    service.set(wire::TenantSettings { self_signup: Some(true), ..Default::default() }).await;
    people.person("eve@example.com", &[]).await;
    let request =
        wire::RequestOneTimePasswordRequest { purpose: Purpose::SignUp.into(), ..people.code_for("eve@example.com") };
    nobody.request_one_time_password(request).await.unwrap();
    let proof = last_code(&service).await;
    refused(sign_in(&nobody, &people, "eve@example.com", &proof).await, Reason::InvalidCredentials);
    sign_in(&nobody, &people, "ada", &code).await.unwrap();

    // A username that was given to somebody else opens nothing of theirs.
    let old = self::code(&service, &people, "ada").await;
    let rename = people.password(&ada, "ada2", PASSWORD);
    set_password(&people.manager, rename).await.unwrap();
    let heir = member(&people.manager, "").await;
    set_password(&people.manager, people.password(&heir, "ada", PASSWORD)).await.unwrap();
    refused(sign_in(&nobody, &people, "ada", &old).await, Reason::InvalidCredentials);
}

async fn what_is_requested_is_checked(service: Service) {
    let people = people(&service).await;
    let nobody = service.anonymous();
    let empty = wire::RequestOneTimePasswordRequest {
        identity_profile_id: String::new(),
        username: String::new(),
        purpose: 9,
        ..people.code_for("")
    };
    let fields = ["identity_profile_id", "username", "purpose"];
    refused_fields(nobody.request_one_time_password(empty).await, Reason::InvalidField, &fields);
    for code in ["", "1234567", "123456789", "1234567a"] {
        let signed_in = nobody.authenticate_member(people.by_code("ada", code)).await;
        refused_fields(signed_in, Reason::InvalidField, &["one_time_password.code"]);
    }
    let unknown = wire::RequestOneTimePasswordRequest {
        identity_profile_id: "idp_0000000000000000000000".into(),
        ..people.code_for("ada")
    };
    refused(nobody.request_one_time_password(unknown).await, Reason::NotFound);
    let sign_up = wire::RequestOneTimePasswordRequest { purpose: Purpose::SignUp.into(), ..people.code_for("ada") };
    refused(nobody.request_one_time_password(sign_up.clone()).await, Reason::SelfSignupDisabled);
    service.set(wire::TenantSettings { self_signup: Some(true), ..Default::default() }).await;
    refused_fields(nobody.request_one_time_password(sign_up).await, Reason::InvalidField, &["username"]);
    // Without one-time passwords, a code is not even looked at.
    let plain = People::new(&service).await;
    refused(sign_in(&nobody, &plain, "ada", "12345678").await, Reason::OneTimePasswordsDisabled);
    let wrong_client = wire::RequestOneTimePasswordRequest { client_secret: "wrong".into(), ..people.code_for("ada") };
    refused(nobody.request_one_time_password(wrong_client).await, Reason::InvalidClient);
}

async fn a_code_proves_the_address_of_a_newcomer(service: Service) {
    let people = people(&service).await;
    service.set(wire::TenantSettings { self_signup: Some(true), ..Default::default() }).await;
    people.person("taken", &[]).await;
    let nobody = service.anonymous();
    let request =
        wire::RequestOneTimePasswordRequest { purpose: Purpose::SignUp.into(), ..people.code_for("ada@example.com") };
    nobody.request_one_time_password(request).await.unwrap();
    let [event] = &service.events().await[..] else { panic!("one event") };
    assert_eq!((&event["email"], &event["purpose"]), (&"ada@example.com".into(), &"sign_up".into()));
    let code = event["code"].as_str().unwrap().to_owned();
    let newcomer = |username: &str, email: &str, code: &str| {
        let signup = people.signup(username, email);
        people.by_signup(wire::SelfSignupMechanism { one_time_password: code.to_owned(), ..signup })
    };
    let refusals = [
        (newcomer("ada", "eve@example.com", &code), Reason::InvalidCredentials),
        (newcomer("ada", "ada@example.com", &wrong(&code)), Reason::InvalidCredentials),
        // The code stays good for another username.
        (newcomer("taken", "ada@example.com", &code), Reason::IdentityTaken),
    ];
    for (request, reason) in refusals {
        refused(nobody.authenticate_member(request).await, reason);
    }
    let no_email = nobody.authenticate_member(newcomer("ada", "", &code)).await;
    refused_fields(no_email, Reason::InvalidField, &["self_signup.email"]);
    let page = nobody.authenticate_member(newcomer("ada", "Ada@example.com", &code)).await.unwrap();
    let ada = page.member.unwrap();
    assert_eq!((ada.email.as_str(), ada.email_verified, ada.invited), ("Ada@example.com", Some(true), false));
    refused(nobody.authenticate_member(newcomer("ada2", "ada@example.com", &code)).await, Reason::InvalidCredentials);
    let unproved = nobody.authenticate_member(people.by_signup(people.signup("bob", "bob@example.com"))).await;
    let bob = unproved.unwrap().member.unwrap();
    assert_eq!(get(&people.manager, &bob.member_id).await.unwrap().email_verified, Some(false));
}

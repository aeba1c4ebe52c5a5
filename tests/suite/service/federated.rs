//! AuthenticateMember by the word of an OpenID provider: a real one, and one that says what a test wants.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton::api::{
    wire,
    wire::{
        authenticate_member_request::Mechanism, link_identity_request::Identity,
        token_service_client::TokenServiceClient,
    },
};
use jeton_contract::reason::Reason;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tonic::{Response, Status};
use tonic_types::StatusExt as _;

use super::{
    calls::{refused, refused_fields},
    harness::{Backend, Service},
    identity_profiles,
    memberships::{self, join, place},
    people::{PASSWORD, People, brought, get, link, provider, texts, unlink, update},
};
use crate::{
    federation::{
        fake::{CLIENT, DISCOVERY, Fake},
        provider::{NONCE, OTHER_CALLBACK, code, issuer, s256},
    },
    remote::Reply,
};

on_both_stores! {
    a_real_code_gives_a_token_for_each_account_and_works_once
    what_a_known_subject_is_stays_as_it_is
    one_that_must_not_come_in_looks_like_a_wrong_code
    an_invited_person_joins_by_a_verified_address_only
    an_invitation_is_one_members_though_two_come_at_once
    an_address_that_is_not_verified_is_only_written_down
    a_verified_address_leads_to_the_one_member_that_is_known_by_it
    a_verified_address_leads_nowhere_if_it_is_not_one_members
    another_subject_of_the_same_address_is_another_person
    members_are_merged_only_where_the_tenant_says_so
    a_newcomer_is_who_the_provider_says_and_gets_an_account
    an_address_that_is_taken_is_refused_where_the_tenant_says_so
    of_many_first_sign_ins_of_a_subject_comes_one_member
    a_provider_that_fails_disturbs_nobody_else
    a_provider_that_never_answers_is_reported_before_the_callers_deadline
    pages_need_no_second_code
    what_is_brought_is_checked
    sign_ins_that_fail_count_for_their_client
}

/// A service, the people of it, and a provider with its identity profile.
struct World {
    service: Service,
    people: People,
    fake: Fake,
    profile: String,
}

impl World {
    async fn new(service: Service) -> Self {
        let service = service.calling_out().await;
        let (people, fake) = (People::new(&service).await, fake(&service).await);
        let profile = provider(&people.manager, &fake.issuer(), CLIENT).await;
        Self { service, people, fake, profile }
    }

    async fn sign_in(&self) -> Result<wire::AuthenticateMemberResponse, Status> {
        self.service.anonymous().authenticate_member(self.request()).await
    }

    /// The member who signs in as what the provider says from now on.
    async fn arrive(&self, claims: Value) -> Result<wire::Member, Status> {
        says(&self.fake, claims);
        self.sign_in().await.map(|page| page.member.unwrap())
    }

    fn request(&self) -> wire::AuthenticateMemberRequest {
        self.people.by_redirect(&self.profile, "code")
    }

    async fn set(&self, self_signup: bool, policy: wire::DuplicateEmailPolicy) {
        let settings = wire::TenantSettings {
            self_signup: Some(self_signup),
            duplicate_email_policy: policy.into(),
            ..Default::default()
        };
        self.service.set(settings).await;
    }

    /// A member whose address is known.
    async fn known_by(&self, email: &str) -> String {
        let member_id = memberships::member(&self.people.manager, "").await;
        let email_verified = Some(true);
        let known =
            wire::Member { member_id: member_id.clone(), email: email.into(), email_verified, ..Default::default() };
        update(&self.people.manager, known, &[]).await.unwrap();
        member_id
    }

    /// Who stands for an address in an account.
    async fn invited_by(&self, email: &str) -> String {
        let account = self.service.account("").await;
        let request = wire::CreateMembershipRequest {
            membership: Some(wire::Membership { account_id: account, ..Default::default() }),
            require_confirmation: Some(false),
            email: email.into(),
            ..Default::default()
        };
        self.people.manager.create_membership(request).await.unwrap().membership.unwrap().member_id
    }

    async fn members(&self) -> usize {
        self.people.manager.list_members(Default::default()).await.unwrap().members.len()
    }
}

async fn fake(service: &Service) -> Fake {
    let (fake, clock) = (Fake::secure().await, service.clock.clone());
    fake.change(|script| script.clock = clock);
    fake
}

fn says(fake: &Fake, claims: Value) {
    fake.change(|script| script.claims = claims);
}

/// Somebody at the provider.
fn person(subject: &str, email: &str, verified: bool) -> Value {
    json!({"sub": subject, "email": email, "email_verified": verified, "name": "Ada Lovelace"})
}

fn subject(subject: &str) -> Identity {
    Identity::Subject(subject.to_owned())
}

fn subjects(member: &wire::Member) -> Vec<&str> {
    member.identities.iter().map(|identity| identity.subject.as_str()).collect()
}

/// What the one refusal of whatever is wrong looks like, without what differs for every call.
#[track_caller]
fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    let status = refused(answer, Reason::InvalidCredentials);
    assert!(status.get_details_error_info().unwrap().metadata.is_empty(), "{status:?}");
    format!("{} {:?}", status.message(), status.get_error_details())
}

async fn a_real_code_gives_a_token_for_each_account_and_works_once(service: Service) {
    let service = service.calling_out().await;
    let people = People::new(&service).await;
    let profile = provider(&people.manager, issuer(), "rsa").await;
    let other = provider(&people.manager, issuer(), "elliptic").await;
    let member = memberships::member(&people.manager, "").await;
    let mut accounts = vec![service.account("").await, service.account("").await];
    accounts.sort_unstable();
    for account in &accounts {
        join(&people.manager, place(account, &member, &[])).await.unwrap();
    }
    for profile in [&profile, &other] {
        link(&people.manager, &member, profile, subject("person-1")).await.unwrap();
    }
    let nobody = service.anonymous();
    let used = code("rsa").await;
    let page = nobody.authenticate_member(people.by_redirect(&profile, &used)).await.unwrap();
    assert_eq!(page.member.as_ref().unwrap().member_id, member);
    let of: Vec<_> = page.tokens.iter().map(|token| token.account_id.clone()).collect();
    assert_eq!((of, page.total_size, page.next_page_token.as_str()), (accounts, 2, ""));
    for token in texts(&page) {
        assert_eq!(service.introspect(&token).await.member_id, member);
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let answer: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(
            (&answer["amr"], &answer["auth_time"]),
            (&json!(["fed"]), &json!(service.clock.now().as_secs())),
            "{answer}"
        );
        // Who signed in by a provider goes on like anybody else.
        people.tokens(&service, people.by_token(&token)).await;
    }

    let with = |mechanism: wire::OidcMechanism| people.by(Mechanism::Oidc(mechanism));
    let fresh = async || brought(&profile, &code("rsa").await);
    let mut seen = BTreeSet::new();
    for wrong in [
        brought(&profile, &used),
        brought(&profile, "made up"),
        wire::OidcMechanism { code_verifier: s256("another"), ..fresh().await },
        wire::OidcMechanism { redirect_uri: OTHER_CALLBACK.into(), ..fresh().await },
        wire::OidcMechanism { redirect_uri: "https://evil.example/callback".into(), ..fresh().await },
        wire::OidcMechanism { nonce: "another".into(), ..fresh().await },
        wire::OidcMechanism { identity_profile_id: other.clone(), ..fresh().await },
    ] {
        seen.insert(refusal(nobody.authenticate_member(with(wrong)).await));
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    // Without a nonce there is none to compare.
    let no_nonce = wire::OidcMechanism { nonce: String::new(), ..fresh().await };
    nobody.authenticate_member(with(no_nonce)).await.unwrap();
    if service.backend() == Backend::Embedded {
        assert!(!service.is_stored(&used));
    }
}

async fn what_a_known_subject_is_stays_as_it_is(service: Service) {
    let world = World::new(service).await;
    let manager = &world.people.manager;
    let member_id = memberships::member(manager, "").await;
    let email = wire::Member { member_id: member_id.clone(), email: "own@example.com".into(), ..Default::default() };
    update(manager, email, &[]).await.unwrap();
    let linked = link(manager, &member_id, &world.profile, subject("s")).await.unwrap();
    let others = world.known_by("ada@example.com").await;
    // Neither what the provider tells, nor whose the address is.
    for (self_signup, policy) in
        [(false, wire::DuplicateEmailPolicy::LinkVerified), (true, wire::DuplicateEmailPolicy::Disallowed)]
    {
        world.set(self_signup, policy).await;
        assert_eq!(world.arrive(person("s", "ada@example.com", true)).await.unwrap(), linked);
    }
    assert_eq!(get(manager, &member_id).await.unwrap(), linked);
    assert_eq!(get(manager, &others).await.unwrap().identities, []);
    assert_eq!(world.members().await, 2);
}

async fn one_that_must_not_come_in_looks_like_a_wrong_code(service: Service) {
    let world = World::new(service).await;
    let manager = &world.people.manager;
    let mut seen = BTreeSet::new();
    for policy in [wire::DuplicateEmailPolicy::Disallowed, wire::DuplicateEmailPolicy::Allowed] {
        world.set(false, policy).await;
        for name in ["disabled", "deleted", "unlinked"] {
            let member = world.known_by(&format!("{name}@example.com")).await;
            link(manager, &member, &world.profile, subject(name)).await.unwrap();
            let request = wire::DisableMemberRequest { member_id: member.clone(), ..Default::default() };
            match name {
                "disabled" => drop(manager.disable_member(request).await.unwrap()),
                "unlinked" => drop(unlink(manager, &member, &world.profile).await.unwrap()),
                _ => {
                    let delete = wire::DeleteMemberRequest { member_id: member.clone(), ..Default::default() };
                    manager.delete_member(delete).await.unwrap();
                }
            }
            seen.insert(refusal(world.arrive(person(name, &format!("{name}@example.com"), true)).await));
            let delete = wire::DeleteMemberRequest { member_id: member, ..Default::default() };
            let _ = manager.delete_member(delete).await;
        }
        seen.insert(refusal(world.arrive(person("unknown", "unknown@example.com", true)).await));
        seen.insert(refusal(world.arrive(json!({"aud": "other"})).await));
    }
    // Who is disabled is nobody new, either.
    let member = world.known_by("disabled@example.com").await;
    link(manager, &member, &world.profile, subject("disabled")).await.unwrap();
    manager.disable_member(wire::DisableMemberRequest { member_id: member, ..Default::default() }).await.unwrap();
    let before = world.members().await;
    for policy in [
        wire::DuplicateEmailPolicy::Allowed,
        wire::DuplicateEmailPolicy::Disallowed,
        wire::DuplicateEmailPolicy::LinkVerified,
    ] {
        world.set(true, policy).await;
        seen.insert(refusal(world.arrive(person("disabled", "disabled@example.com", true)).await));
    }
    assert_eq!((world.members().await, seen.len()), (before, 1), "{seen:?}");
}

async fn an_invited_person_joins_by_a_verified_address_only(service: Service) {
    let world = World::new(service).await;
    let manager = &world.people.manager;
    let invited = world.invited_by("ada@example.com").await;
    for stranger in [
        person("s", "ada@example.com", false),
        json!({"sub": "s", "email": "ada@example.com", "email_verified": null}),
        person("s", "ada@example.org", true),
        person("s", "ada@example.com.", true),
    ] {
        refusal(world.arrive(stranger).await);
        assert!(get(manager, &invited).await.unwrap().invited);
    }
    // The invitation is the permission: nobody may sign up here.
    says(&world.fake, person("s", "ADA@Example.com", true));
    let page = world.sign_in().await.unwrap();
    let member = page.member.clone().unwrap();
    assert_eq!((member.member_id.as_str(), member.invited), (invited.as_str(), false));
    assert_eq!((member.display_name.as_str(), member.email.as_str()), ("Ada Lovelace", "ada@example.com"));
    assert_eq!((member.email_verified, subjects(&member)), (Some(true), vec!["s"]));
    assert_eq!((page.tokens.len(), page.total_size), (1, 1));
    assert!(world.service.is_active(&texts(&page)[0]).await);
    // From now on the subject is the member, and the address opens nothing.
    assert_eq!(world.arrive(person("s", "other@example.com", false)).await.unwrap(), member);
    refusal(world.arrive(person("another", "ada@example.com", true)).await);
    assert_eq!(world.members().await, 1);
}

async fn an_invitation_is_one_members_though_two_come_at_once(service: Service) {
    let world = World::new(service).await;
    world.set(true, wire::DuplicateEmailPolicy::Allowed).await;
    let second = fake(&world.service).await;
    let profiles = [
        (world.profile.clone(), &world.fake),
        (provider(&world.people.manager, &second.issuer(), CLIENT).await, &second),
    ];
    for round in 0..3 {
        let email = format!("{round}@example.com");
        let invited = world.invited_by(&email).await;
        let mut arrivals = tokio::task::JoinSet::new();
        for (number, (profile, fake)) in profiles.iter().enumerate() {
            says(fake, person(&format!("{round}-{number}"), &email, true));
            let (caller, request) = (world.service.anonymous(), world.people.by_redirect(profile, "code"));
            arrivals.spawn(async move { caller.authenticate_member(request).await.unwrap().member.unwrap() });
        }
        let members = arrivals.join_all().await;
        assert_eq!(members.iter().filter(|member| member.member_id == invited).count(), 1, "{members:?}");
        assert!(members.iter().all(|member| member.identities.len() == 1), "{members:?}");
    }
    assert_eq!(world.members().await, 6);
}

async fn an_address_that_is_not_verified_is_only_written_down(service: Service) {
    let world = World::new(service).await;
    let manager = &world.people.manager;
    let (invited, known) = (world.invited_by("in@example.com").await, world.known_by("known@example.com").await);
    let before = get(manager, &known).await.unwrap();
    world.set(true, wire::DuplicateEmailPolicy::LinkVerified).await;
    for (number, email) in ["in@example.com", "known@example.com"].into_iter().enumerate() {
        let new = world.arrive(person(&number.to_string(), email, false)).await.unwrap();
        assert!(![&invited, &known].contains(&&new.member_id));
        assert_eq!((new.email.as_str(), new.email_verified, new.invited), (email, Some(false), false));
    }
    assert_eq!(get(manager, &known).await.unwrap(), before);
    assert!(get(manager, &invited).await.unwrap().invited);
    // What is no address to us is not even written down.
    let new = world.arrive(person("odd", "known@example.com ", true)).await.unwrap();
    assert_eq!((new.email.as_str(), new.email_verified), ("", Some(false)));
}

async fn a_verified_address_leads_to_the_one_member_that_is_known_by_it(service: Service) {
    let world = World::new(service).await;
    let manager = &world.people.manager;
    let known = world.known_by("ada@example.com").await;
    // Others who only say that it is theirs.
    let other = memberships::member(manager, "").await;
    let says_so = wire::Member { member_id: other, email: "ada@example.com".into(), ..Default::default() };
    update(manager, says_so, &[]).await.unwrap();
    let disabled = world.known_by("ada@example.com").await;
    manager.disable_member(wire::DisableMemberRequest { member_id: disabled, ..Default::default() }).await.unwrap();
    get(manager, &known).await.unwrap();
    // Also where nobody may sign up: it is a member already.
    world.set(false, wire::DuplicateEmailPolicy::LinkVerified).await;
    let linked = world.arrive(person("s", "ADA@example.com", true)).await.unwrap();
    assert_eq!((linked.member_id.as_str(), subjects(&linked)), (known.as_str(), vec!["s"]));
    assert_eq!((linked.display_name.as_str(), linked.email.as_str()), ("n", "ada@example.com"));
    assert_eq!(get(manager, &known).await.unwrap(), linked);
    // Linked once, it is no matter of the address any more.
    assert_eq!(world.arrive(person("s", "", false)).await.unwrap(), linked);
    assert_eq!(world.members().await, 3);
}

async fn a_verified_address_leads_nowhere_if_it_is_not_one_members(service: Service) {
    let world = World::new(service).await;
    let manager = &world.people.manager;
    let two = [world.known_by("two@example.com").await, world.known_by("two@example.com").await];
    for (number, email) in ["two@example.com", "none@example.com"].into_iter().enumerate() {
        let claims = person(&number.to_string(), email, true);
        world.set(false, wire::DuplicateEmailPolicy::LinkVerified).await;
        refusal(world.arrive(claims.clone()).await);
        world.set(true, wire::DuplicateEmailPolicy::LinkVerified).await;
        let new = world.arrive(claims).await.unwrap();
        assert_eq!((new.email.as_str(), new.email_verified), (email, Some(true)));
        assert!(!two.contains(&new.member_id));
    }
    for member in &two {
        assert_eq!(get(manager, member).await.unwrap().identities, []);
    }
}

async fn another_subject_of_the_same_address_is_another_person(service: Service) {
    let world = World::new(service).await;
    let manager = &world.people.manager;
    let known = world.known_by("ada@example.com").await;
    let before = link(manager, &known, &world.profile, subject("first")).await.unwrap();
    world.set(false, wire::DuplicateEmailPolicy::LinkVerified).await;
    refusal(world.arrive(person("second", "ada@example.com", true)).await);
    world.set(true, wire::DuplicateEmailPolicy::LinkVerified).await;
    let second = world.arrive(person("second", "ada@example.com", true)).await.unwrap();
    assert_ne!(second.member_id, known);
    assert_eq!(get(manager, &known).await.unwrap(), before);
    assert_eq!(world.arrive(person("first", "", false)).await.unwrap(), before);
    // The same subject of another provider is another one, too.
    let other = fake(&world.service).await;
    says(&other, person("first", "", false));
    let profile = provider(manager, &other.issuer(), CLIENT).await;
    let request = world.people.by_redirect(&profile, "code");
    let stranger = world.service.anonymous().authenticate_member(request).await.unwrap().member.unwrap();
    assert!(![&known, &second.member_id].contains(&&stranger.member_id));
}

async fn members_are_merged_only_where_the_tenant_says_so(service: Service) {
    let world = World::new(service).await;
    let known = world.known_by("ada@example.com").await;
    world.set(true, wire::DuplicateEmailPolicy::Allowed).await;
    let new = world.arrive(person("s", "ada@example.com", true)).await.unwrap();
    assert_ne!(new.member_id, known);
    assert_eq!(get(&world.people.manager, &known).await.unwrap().identities, []);
}

async fn a_newcomer_is_who_the_provider_says_and_gets_an_account(service: Service) {
    let world = World::new(service).await;
    let claims = json!({
        "sub": "s", "email": "ada@example.com", "email_verified": true,
        "name": "Ada King", "given_name": "Ada", "family_name": "Lovelace",
    });
    refusal(world.arrive(claims.clone()).await);
    let settings =
        wire::TenantSettings { self_signup: Some(true), auto_create_account: Some(true), ..Default::default() };
    world.service.set(settings).await;
    let page = world.sign_in().await.unwrap();
    assert_eq!((page.tokens.len(), page.total_size, page.next_page_token.as_str()), (1, 1, ""));
    assert_eq!(page.tokens[0].account_name, "Ada King");
    assert!(world.service.is_active(&texts(&page)[0]).await);
    let member = page.member.unwrap();
    let names = (member.display_name.as_str(), member.first_name.as_str(), member.last_name.as_str());
    assert_eq!(names, ("Ada King", "Ada", "Lovelace"));
    assert_eq!((member.email.as_str(), member.email_verified), ("ada@example.com", Some(true)));
    let identity = &member.identities[0];
    assert_eq!((identity.subject.as_str(), identity.issuer.as_str()), ("s", world.fake.issuer().as_str()));
    assert_eq!(get(&world.people.manager, &member.member_id).await.unwrap(), member);
    assert_eq!(world.arrive(claims).await.unwrap(), member);
    // A person without a name is named by what there is.
    let nameless = world.arrive(json!({"email": null})).await;
    assert_eq!(nameless.unwrap().display_name, "user@info.example");
    let person = Reply::json(json!({"sub": "only a subject"}));
    says(&world.fake, json!({"sub": "only a subject", "email": null}));
    world.fake.change(|script| drop(script.replies.insert("/userinfo", person)));
    let profile = provider(&world.people.manager, &world.fake.issuer(), CLIENT).await;
    let request = world.people.by_redirect(&profile, "code");
    let nameless = world.service.anonymous().authenticate_member(request).await.unwrap().member.unwrap();
    assert_eq!(nameless.display_name, "only a subject");
}

async fn an_address_that_is_taken_is_refused_where_the_tenant_says_so(service: Service) {
    let world = World::new(service).await;
    let known = world.known_by("ada@example.com").await;
    world.set(true, wire::DuplicateEmailPolicy::Disallowed).await;
    for verified in [true, false] {
        refused(world.arrive(person("s", "ADA@example.com", verified)).await, Reason::EmailTaken);
    }
    assert_eq!(get(&world.people.manager, &known).await.unwrap().identities, []);
    world.arrive(person("s", "s@example.com", true)).await.unwrap();
    world.arrive(person("s", "ada@example.com", true)).await.unwrap();
    assert_eq!(world.members().await, 2);
}

async fn of_many_first_sign_ins_of_a_subject_comes_one_member(service: Service) {
    let world = World::new(service).await;
    let replica = match world.service.backend() {
        Backend::Embedded => None,
        Backend::Redis => Some(world.service.replica().await),
    };
    let services = [Some(&world.service), replica.as_ref()];
    for (round, policy) in [
        wire::DuplicateEmailPolicy::Allowed,
        wire::DuplicateEmailPolicy::Disallowed,
        wire::DuplicateEmailPolicy::LinkVerified,
    ]
    .into_iter()
    .enumerate()
    {
        let settings = wire::TenantSettings {
            self_signup: Some(true),
            auto_create_account: Some(true),
            duplicate_email_policy: policy.into(),
            ..Default::default()
        };
        world.service.set(settings).await;
        if policy == wire::DuplicateEmailPolicy::LinkVerified {
            world.known_by("2@example.com").await;
        }
        says(&world.fake, person(&round.to_string(), &format!("{round}@example.com"), true));
        let mut arrivals = tokio::task::JoinSet::new();
        for service in services.iter().flatten().cycle().take(8) {
            let (caller, request) = (service.anonymous(), world.request());
            arrivals.spawn(async move { caller.authenticate_member(request).await });
        }
        let mut members = BTreeSet::new();
        for page in arrivals.join_all().await {
            members.insert(page.unwrap().member.unwrap().member_id);
        }
        assert_eq!((members.len(), world.members().await), (1, round + 1), "{policy:?}");
    }
    assert_eq!(world.people.manager.list_accounts(Default::default()).await.unwrap().accounts.len(), 2);
}

async fn a_provider_that_fails_disturbs_nobody_else(service: Service) {
    let world = World::new(service).await;
    let good = fake(&world.service).await;
    let profile = provider(&world.people.manager, &good.issuer(), CLIENT).await;
    world.set(true, wire::DuplicateEmailPolicy::Allowed).await;
    world.people.person("ada", &[]).await;
    let gate = Arc::new(Semaphore::new(0));
    let late = Reply::After(Arc::clone(&gate), Box::new(Reply::status(500)));
    world.fake.change(|script| drop(script.replies.insert("/token", late)));
    let (caller, request) = (world.service.anonymous(), world.request());
    let waiting = tokio::spawn(async move { caller.authenticate_member(request).await });
    while world.fake.remote.count("/token") == 0 {
        tokio::task::yield_now().await;
    }
    let nobody = world.service.anonymous();
    nobody.authenticate_member(world.people.by_redirect(&profile, "code")).await.unwrap();
    nobody.authenticate_member(world.people.by_password("ada", PASSWORD)).await.unwrap();
    assert!(!waiting.is_finished());
    gate.add_permits(1);
    let status = refused(waiting.await.unwrap(), Reason::IdentityProviderUnavailable);
    assert!(status.get_details_retry_info().is_some());
    for path in [DISCOVERY, "/keys", "/token"] {
        let bad = fake(&world.service).await;
        bad.change(|script| drop(script.replies.insert(path, Reply::Raw(Vec::new()))));
        let profile = provider(&world.people.manager, &bad.issuer(), CLIENT).await;
        let answer = nobody.authenticate_member(world.people.by_redirect(&profile, "code")).await;
        refused(answer, Reason::IdentityProviderUnavailable);
    }
    // What a provider fails at is nobody's attempt to guess, and there is nobody new.
    world.fake.change(|script| script.replies.clear());
    world.sign_in().await.unwrap();
    assert_eq!(world.members().await, 3);
}

async fn a_provider_that_never_answers_is_reported_before_the_callers_deadline(service: Service) {
    let world = World::new(service).await;
    world.fake.change(|script| drop(script.replies.insert("/token", Reply::Silence)));
    let caller = world.service.anonymous();
    let mut request = caller.request(world.request());
    // For the service only: nobody gives up at this end. Less than `outbound.timeout`.
    request.metadata_mut().insert("grpc-timeout", "1S".parse().unwrap());
    let answer = TokenServiceClient::new(caller.channel.clone()).authenticate_member(request).await;
    refused(answer.map(Response::into_inner), Reason::IdentityProviderUnavailable);
}

async fn pages_need_no_second_code(service: Service) {
    let world = World::new(service).await;
    let member = memberships::member(&world.people.manager, "").await;
    link(&world.people.manager, &member, &world.profile, subject("person-1")).await.unwrap();
    for _ in 0..3 {
        join(&world.people.manager, place(&world.service.account("").await, &member, &[])).await.unwrap();
    }
    let nobody = world.service.anonymous();
    let request = wire::AuthenticateMemberRequest { page_size: 2, ..world.request() };
    let first = nobody.authenticate_member(request.clone()).await.unwrap();
    let next = wire::AuthenticateMemberRequest { page_token: first.next_page_token.clone(), ..request };
    let second = nobody.authenticate_member(next.clone()).await.unwrap();
    assert_eq!((first.tokens.len(), second.tokens.len(), second.next_page_token.as_str()), (2, 1, ""));
    assert_eq!(world.fake.remote.count("/token"), 1, "the code is redeemed once");
    // It belongs to the code that it began with.
    let other = wire::OidcMechanism { code: "another".into(), ..brought(&world.profile, "") };
    let other = wire::AuthenticateMemberRequest { mechanism: Some(Mechanism::Oidc(other)), ..next.clone() };
    refused(nobody.authenticate_member(other).await, Reason::PageTokenInvalid);
    unlink(&world.people.manager, &member, &world.profile).await.unwrap();
    refused(nobody.authenticate_member(next.clone()).await, Reason::PageTokenInvalid);
    world.service.advance(Duration::from_secs(600));
    refused(nobody.authenticate_member(next).await, Reason::PageTokenInvalid);
    assert_eq!(world.fake.remote.count("/token"), 1);
}

async fn what_is_brought_is_checked(service: Service) {
    let world = World::new(service).await;
    let nobody = world.service.anonymous();
    let by = |mechanism| world.people.by(Mechanism::Oidc(mechanism));
    let bad = wire::OidcMechanism {
        identity_profile_id: String::new(),
        code: String::new(),
        redirect_uri: "with space".into(),
        code_verifier: "short".into(),
        nonce: "\u{7}".into(),
    };
    let fields = ["identity_profile_id", "code", "redirect_uri", "code_verifier", "nonce"];
    let fields = fields.map(|field| format!("oidc.{field}"));
    let fields: Vec<_> = fields.iter().map(String::as_str).collect();
    refused_fields(nobody.authenticate_member(by(bad)).await, Reason::InvalidField, &fields);
    let passwords = by(brought(&world.people.profile, "code"));
    let field = "oidc.identity_profile_id";
    refused_fields(nobody.authenticate_member(passwords).await, Reason::InvalidField, &[field]);
    for unknown in ["idp_1111111111111111111111", "nonsense"] {
        refused(nobody.authenticate_member(by(brought(unknown, "code"))).await, Reason::NotFound);
    }
    let deleted = provider(&world.people.manager, &world.fake.issuer(), CLIENT).await;
    identity_profiles::delete(&world.people.manager, &deleted).await.unwrap();
    refused(nobody.authenticate_member(by(brought(&deleted, "code"))).await, Reason::NotFound);
    let request_id = super::calls::uuid(1);
    let repeat = wire::AuthenticateMemberRequest { request_id, ..world.request() };
    refused_fields(nobody.authenticate_member(repeat).await, Reason::InvalidField, &["request_id"]);
    assert_eq!(world.fake.remote.connections(), 0, "nothing of that is the provider's business");
    // The nonce that the provider signs is this one's.
    says(&world.fake, json!({"nonce": NONCE.to_owned() + "x"}));
    refusal(world.sign_in().await);
}

async fn sign_ins_that_fail_count_for_their_client(service: Service) {
    let world = World::new(service).await;
    let elsewhere = wire::OidcMechanism { redirect_uri: "https://evil.example".into(), ..brought(&world.profile, "c") };
    let request = world.people.by(Mechanism::Oidc(elsewhere));
    let nobody = world.service.anonymous();
    for _ in 0..600 {
        refusal(nobody.authenticate_member(request.clone()).await);
    }
    refused(nobody.authenticate_member(request).await, Reason::AttemptLimit);
    assert_eq!(world.fake.remote.connections(), 0);
}

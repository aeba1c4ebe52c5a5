//! The secret at an OpenID provider goes to the provider that it was given for, and nowhere else.

use jeton::api::wire;
use jeton_contract::reason::Reason;

use super::{
    calls::{Caller, owned, refused_fields},
    harness::Service,
    identity_profiles::update,
    people::{People, provider},
};
use crate::federation::{
    fake::{CLIENT, Fake},
    provider::SECRET,
};

on_both_stores! {
    a_profile_that_is_pointed_elsewhere_wants_its_secret_again
    the_secret_given_with_another_destination_is_the_one_that_goes_there
    a_profile_without_a_secret_changes_its_provider_freely
}

/// A service, two providers, and a profile of the first of them with a secret.
struct World {
    service: Service,
    people: People,
    own: Fake,
    other: Fake,
    profile: String,
}

impl World {
    async fn new(service: Service) -> Self {
        let service = service.calling_out().await;
        let people = People::new(&service).await;
        let (own, other) = (Fake::secure().await, Fake::secure().await);
        for fake in [&own, &other] {
            fake.change(|script| script.clock = service.clock.clone());
        }
        let profile = provider(&people.manager, &own.issuer(), CLIENT).await;
        Self { service, people, own, other, profile }
    }

    const fn manager(&self) -> &Caller {
        &self.people.manager
    }

    async fn change(&self, oidc: wire::OidcProfile, paths: &[&str]) -> Result<wire::IdentityProfile, tonic::Status> {
        let kind = Some(wire::identity_profile::Kind::Oidc(oidc));
        let identity_profile_id = self.profile.clone();
        update(self.manager(), wire::IdentityProfile { identity_profile_id, kind, ..Default::default() }, paths).await
    }

    /// Somebody signs in whom the service does not know; what matters is what the provider was sent.
    async fn sign_in(&self) {
        let request = self.people.by_redirect(&self.profile, "code");
        self.service.anonymous().authenticate_member(request).await.unwrap_err();
    }
}

/// What a provider was sent at its token endpoint, as whom and with what.
fn sent(fake: &Fake) -> Vec<(Option<String>, String)> {
    let asked = fake.remote.requests().into_iter().filter(|asked| asked.path == "/token");
    asked.map(|asked| (asked.header("authorization").map(str::to_owned), asked.body)).collect()
}

/// HTTP Basic as RFC 6749 §2.3.1 has it.
fn basic(client_id: &str, secret: &str) -> Option<String> {
    use base64::Engine as _;
    let form = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", form(client_id), form(secret));
    Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
}

fn pointed_at(issuer: &str) -> wire::OidcProfile {
    wire::OidcProfile { issuer: issuer.to_owned(), ..Default::default() }
}

const WANTED: &[&str] = &["identity_profile.oidc.client_secret"];

async fn a_profile_that_is_pointed_elsewhere_wants_its_secret_again(service: Service) {
    let world = World::new(service).await;
    let elsewhere = pointed_at(&world.other.issuer());
    let same_host = pointed_at(&format!("{}/another-realm", world.own.issuer()));
    let other_client = wire::OidcProfile { client_id: "another".into(), ..Default::default() };
    let redirects = wire::OidcProfile { redirect_uris: owned(&["https://evil.example/cb"]), ..elsewhere.clone() };
    for (oidc, paths) in [
        (elsewhere.clone(), ["oidc.issuer"].as_slice()),
        (elsewhere.clone(), &[]),
        (redirects, &["oidc.issuer", "oidc.redirect_uris"]),
        (same_host, &["oidc.issuer"]),
        (other_client.clone(), &["oidc.client_id"]),
        (other_client, &[]),
    ] {
        refused_fields(world.change(oidc, paths).await, Reason::InvalidField, WANTED);
    }
    world.sign_in().await;
    assert_eq!(world.other.remote.connections(), 0);
    let own = sent(&world.own);
    assert_eq!((own.len(), &own[0].0), (1, &basic(CLIENT, SECRET)));

    // What stays the same is no other destination.
    let same = wire::OidcProfile { client_id: CLIENT.into(), ..pointed_at(&world.own.issuer()) };
    world.change(same, &["oidc.issuer", "oidc.client_id"]).await.unwrap();
    world.sign_in().await;
    assert_eq!(sent(&world.own)[1].0, basic(CLIENT, SECRET));
}

async fn the_secret_given_with_another_destination_is_the_one_that_goes_there(service: Service) {
    let world = World::new(service).await;
    let elsewhere = wire::OidcProfile { client_secret: "theirs".into(), ..pointed_at(&world.other.issuer()) };
    world.change(elsewhere, &["oidc.issuer", "oidc.client_secret"]).await.unwrap();
    world.sign_in().await;
    assert!(sent(&world.own).is_empty());
    let other = sent(&world.other);
    assert_eq!((other.len(), &other[0].0), (1, &basic(CLIENT, "theirs")));

    // Without any secret, too, if that is said.
    world.change(pointed_at(&world.own.issuer()), &["oidc.issuer", "oidc.client_secret"]).await.unwrap();
    world.sign_in().await;
    let own = sent(&world.own);
    assert_eq!((own.len(), &own[0].0), (1, &None));
    for what in [SECRET, "theirs"] {
        assert!(!own[0].1.contains(what), "{own:?}");
    }
}

async fn a_profile_without_a_secret_changes_its_provider_freely(service: Service) {
    let world = World::new(service).await;
    world.change(Default::default(), &["oidc.client_secret"]).await.unwrap();
    world.change(pointed_at(&world.other.issuer()), &["oidc.issuer"]).await.unwrap();
    world.sign_in().await;
    assert!(sent(&world.own).is_empty());
    assert_eq!(sent(&world.other)[0].0, None);
}

//! Signing in with OpenID providers: a real one, and bad ones.

pub mod fake;
mod hostile;
pub mod provider;
mod tokens;

use std::{sync::Arc, time::Duration};

use fake::Fake;
use jeton::{
    ambient::Clock,
    error::{Error, Result},
    federation::{Login, Provider, RelyingParty, VerifiedIdentity},
    outbound::jwks::JwksCache,
};
use jeton_contract::reason::Reason;
use jeton_core::secret::SecretText;
use provider::{Ask, CALLBACK, NONCE, OTHER_CALLBACK, SECRET, VERIFIER, ask, code, issuer, s256};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::remote::trusting;

/// Longer than anything here takes, unless it hangs.
const SOON: Duration = Duration::from_secs(30);

fn relying_party(clock: &Clock) -> RelyingParty {
    jeton::app::install_crypto();
    let (outbound, tasks) = (trusting(), TaskTracker::new());
    let key_sets = Arc::new(JwksCache::new(Arc::clone(&outbound), clock.clone(), tasks.clone()));
    RelyingParty::new(outbound, key_sets, clock.clone(), tasks)
}

/// A registration at the real provider.
fn registration(client_id: &str) -> Provider {
    Provider {
        issuer: issuer().to_owned(),
        client_id: client_id.to_owned(),
        client_secret: (client_id != "public").then(|| SecretText::new(SECRET.to_owned())),
        redirect_uris: vec![CALLBACK.to_owned(), OTHER_CALLBACK.to_owned()],
        scopes: ["openid", "email", "profile"].map(str::to_owned).into(),
    }
}

fn login(code: &str) -> Login<'_> {
    Login { code, redirect_uri: CALLBACK, code_verifier: VERIFIER, nonce: Some(NONCE) }
}

async fn sign_in(provider: &Provider, login: &Login<'_>) -> Result<VerifiedIdentity> {
    relying_party(&Clock::default()).authenticate(provider, login, Instant::now() + SOON).await
}

/// That it is the one refusal of whatever a person brings, which says nothing else.
fn is_refused<T: std::fmt::Debug>(answer: Result<T>) -> Error {
    let error = answer.unwrap_err();
    assert_eq!((error.reason(), error.message()), (Reason::InvalidCredentials, "the credentials are not valid"));
    assert!(error.retry_after().is_none() && error.violations().is_empty() && error.resource().is_none());
    error
}

/// That it is the one error of providers, which says when to come back.
fn is_unavailable<T: std::fmt::Debug>(answer: Result<T>) -> Error {
    let error = answer.unwrap_err();
    let message = "the identity provider did not answer in time, or not as it must";
    assert_eq!((error.reason(), error.message()), (Reason::IdentityProviderUnavailable, message), "{error:?}");
    assert!(error.retry_after().is_some());
    error
}

#[tokio::test]
async fn a_code_with_its_verifier_tells_who_it_is() {
    for client_id in ["rsa", "elliptic", "public"] {
        let identity = sign_in(&registration(client_id), &login(&code(client_id).await)).await.unwrap();
        let wanted = VerifiedIdentity {
            issuer: issuer().to_owned(),
            subject: "person-1".to_owned(),
            email: Some("ada@example.com".to_owned()),
            email_verified: true,
            name: Some("Ada Lovelace".to_owned()),
            given_name: Some("Ada".to_owned()),
            family_name: Some("Lovelace".to_owned()),
        };
        assert_eq!(identity, wanted, "{client_id}");
    }
    // Without a nonce there is none to check, and without its scope no address to ask for.
    let provider = Provider { scopes: vec!["openid".to_owned()], ..registration("rsa") };
    let code = code("rsa").await;
    let identity = sign_in(&provider, &Login { nonce: None, ..login(&code) }).await.unwrap();
    assert_eq!((identity.subject.as_str(), identity.email), ("person-1", None));
}

#[tokio::test]
async fn a_code_is_good_once_for_its_client_redirect_uri_and_verifier() {
    let rsa = registration("rsa");
    let used = code("rsa").await;
    sign_in(&rsa, &login(&used)).await.unwrap();
    is_refused(sign_in(&rsa, &login(&used)).await);

    let other_verifier = s256("another");
    let code_of = code("rsa").await;
    is_refused(sign_in(&rsa, &Login { code_verifier: &other_verifier, ..login(&code_of) }).await);
    let code_of = code("rsa").await;
    is_refused(sign_in(&rsa, &Login { redirect_uri: OTHER_CALLBACK, ..login(&code_of) }).await);
    let code_of = code("elliptic").await;
    is_refused(sign_in(&rsa, &login(&code_of)).await);
    let code_of = code("rsa").await;
    is_refused(sign_in(&rsa, &Login { nonce: Some("another"), ..login(&code_of) }).await);
    is_refused(sign_in(&rsa, &login("made-up")).await);
    is_refused(sign_in(&rsa, &login("")).await);
}

#[tokio::test]
async fn what_is_wrong_before_the_provider_is_asked_is_never_sent_to_it() {
    let fake = Fake::start().await;
    let with = |redirect_uri, code_verifier| Login { redirect_uri, code_verifier, ..login("code") };
    let long = "a".repeat(129);
    for login in [
        with("https://app.example.com/callback/", VERIFIER),
        with("https://app.example.com/callback?x", VERIFIER),
        with("https://APP.example.com/callback", VERIFIER),
        with("https://evil.example/callback", VERIFIER),
        with("", VERIFIER),
        with(CALLBACK, ""),
        with(CALLBACK, &VERIFIER[1..]),
        with(CALLBACK, &long),
        with(CALLBACK, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjX+"),
    ] {
        is_refused(sign_in(&fake.registration(), &login).await);
    }
    assert_eq!(fake.remote.connections(), 0);
    sign_in(&fake.registration(), &login("code")).await.unwrap();
}

#[tokio::test]
async fn plain_challenges_get_no_code() {
    let plain = Ask { client_id: "rsa", challenge: VERIFIER, method: "plain" };
    assert_eq!(ask(&plain).await.unwrap_err(), "invalid_request");
}

#[tokio::test]
async fn a_provider_that_does_not_know_this_service_is_a_matter_for_operators() {
    let wrong = Provider { client_secret: Some(SecretText::new("wrong".to_owned())), ..registration("rsa") };
    let error = is_unavailable(sign_in(&wrong, &login(&code("rsa").await)).await);
    assert!(jeton::error::chain(&error).contains("does not know this client"), "{error:?}");
}

#[test]
fn neither_errors_nor_debug_tell_what_a_person_brought() {
    let login = Login { code: "s3cret", redirect_uri: CALLBACK, code_verifier: "s3cret", nonce: Some("s3cret") };
    let provider = Provider { client_secret: Some(SecretText::new("s3cret".to_owned())), ..registration("rsa") };
    assert!(!format!("{login:?} {provider:?}").contains("s3cret"));
}

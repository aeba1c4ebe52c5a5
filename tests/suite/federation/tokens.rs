//! What an ID token must be, and what is done with the other replies of a provider.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton::{ambient::Clock, outbound::documents::COOL_DOWN};
use jeton_core::Time;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{
    fake::{ACCESS_TOKEN, CLIENT_SECRET, DISCOVERY, Fake, Key, patched},
    is_refused, is_unavailable, relying_party,
};
use crate::remote::Reply;

const NOW: u64 = 1_800_000_000;

/// A provider and a clock that they share.
async fn fake() -> (Fake, Clock) {
    let (fake, clock) = (Fake::start().await, Clock::manual(Time::from_secs(NOW)));
    let shared = clock.clone();
    fake.change(|script| script.clock = shared);
    (fake, clock)
}

/// The first half of a hash, as `at_hash` has it (OpenID Connect Core §3.1.3.6).
fn at_hash(token: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16])
}

/// A token without a signature.
fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.", part(header), part(claims))
}

#[tokio::test]
async fn the_code_is_redeemed_as_the_standard_has_it() {
    let (fake, clock) = fake().await;
    let identity = fake.sign_in(&relying_party(&clock)).await.unwrap();
    assert_eq!((identity.subject.as_str(), identity.email.as_deref()), ("person-1", Some("ada@example.com")));
    let requests = fake.remote.requests();
    let paths: Vec<&str> = requests.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, [DISCOVERY, "/token", "/keys"], "nobody asks for what the token says");
    let asked = &requests[1];
    for part in [
        "grant_type=authorization_code",
        "code=code",
        "code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        "redirect_uri=https%3A%2F%2Fapp.example.com%2Fcallback",
    ] {
        assert!(asked.body.split('&').any(|found| found == part), "{part} in {}", asked.body);
    }
    assert!(asked.header("authorization").unwrap().starts_with("Basic ") && !asked.body.contains("client_secret"));

    fake.change(|script| script.document = json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]}));
    fake.sign_in(&relying_party(&clock)).await.unwrap();
    let asked = fake.remote.requests().into_iter().rfind(|asked| asked.path == "/token").unwrap();
    assert!(asked.header("authorization").is_none() && asked.body.contains("client_secret=a+client+secret"));
}

#[tokio::test]
async fn claims_that_are_right_in_other_ways_are_taken() {
    for (claims, name) in [
        (json!({"aud": ["client"]}), "a list of one"),
        (json!({"azp": "client"}), "the authorized party"),
        (json!({"at_hash": at_hash(ACCESS_TOKEN)}), "the access token's hash"),
        (json!({"iat": NOW + 60}), "a clock that is ahead"),
        (json!({"iat": NOW - 600, "exp": NOW + 1}), "its last second"),
        (json!({"nbf": NOW, "unknown": {"a": [1]}}), "other claims"),
    ] {
        let (fake, clock) = fake().await;
        fake.change(|script| script.claims = claims);
        fake.sign_in(&relying_party(&clock)).await.expect(name);
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_an_id_token_is_one_refusal() {
    for claims in [
        json!({"iss": "https://other.example"}),
        json!({"iss": null}),
        json!({"aud": "other"}),
        json!({"aud": ["client", "other"]}),
        json!({"aud": []}),
        json!({"aud": null}),
        json!({"azp": "other"}),
        json!({"exp": NOW}),
        json!({"exp": NOW - 1}),
        json!({"exp": null}),
        json!({"exp": "soon"}),
        json!({"exp": 1e300}),
        json!({"iat": NOW + 61}),
        json!({"iat": NOW - 601}),
        json!({"iat": -1}),
        json!({"iat": null}),
        json!({"nonce": "other"}),
        json!({"nonce": null}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 5}),
        json!({"sub": "x".repeat(256)}),
        json!({"at_hash": at_hash("other")}),
        json!({"at_hash": ""}),
    ] {
        let (fake, clock) = fake().await;
        fake.change(|script| script.claims = claims.clone());
        let answer = fake.sign_in(&relying_party(&clock)).await;
        assert!(answer.is_err(), "{claims}");
        is_refused(answer);
    }
}

#[tokio::test]
async fn only_the_providers_own_keys_sign() {
    let (fake, clock) = fake().await;
    let issuer = fake.issuer();
    let mut texts = Vec::new();
    fake.change(|script| {
        let claims = script.claims(&issuer);
        let genuine = script.key.sign(&claims);
        let (signed, signature) = genuine.rsplit_once('.').unwrap();
        let header = |algorithm| Header { kid: Some("1".to_owned()), ..Header::new(algorithm) };
        let shared = |secret: &[u8]| {
            jsonwebtoken::encode(&header(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret)).unwrap()
        };
        let public = script.key.public().to_string();
        texts = vec![
            Key::new("1").sign(&claims),
            Key::new("unknown").sign(&claims),
            shared(CLIENT_SECRET.as_bytes()),
            shared(public.as_bytes()),
            unsigned(&json!({"alg": "none"}), &claims),
            unsigned(&json!({"alg": "none", "kid": "1"}), &claims) + signature,
            unsigned(&json!({"alg": "None", "kid": "1"}), &claims),
            unsigned(&json!({"alg": "ES256", "kid": "1"}), &claims),
            unsigned(&json!({"alg": "RS256", "kid": "1"}), &claims) + signature,
            unsigned(&json!({"alg": "ES256", "kid": "1", "crit": ["x"], "x": 1}), &claims) + signature,
            format!("{signed}."),
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
            format!("{}.{signature}", signed.replace('.', ".e30")),
            genuine.replace('.', ""),
            format!("{genuine}.{signature}"),
            "a.b.c".to_owned(),
            String::new(),
        ];
    });
    let relying_party = relying_party(&clock);
    for text in texts {
        fake.change(|script| script.answer = json!({"id_token": text}));
        let answer = fake.sign_in(&relying_party).await;
        assert!(answer.is_err(), "{text}");
        is_refused(answer);
    }
    fake.change(|script| script.answer = json!({}));
    fake.sign_in(&relying_party).await.unwrap();
}

#[tokio::test]
async fn a_new_key_of_the_provider_is_learned_from_the_first_token_that_has_it() {
    let (fake, clock) = fake().await;
    let relying_party = relying_party(&clock);
    for number in 0..3 {
        fake.change(|script| script.key = Key::new(&format!("key {number}")));
        fake.sign_in(&relying_party).await.unwrap();
        clock.advance(COOL_DOWN);
    }
    assert_eq!((fake.remote.count(DISCOVERY), fake.remote.count("/keys")), (1, 3));
}

#[tokio::test]
async fn an_address_that_the_token_lacks_is_asked_for_and_must_be_the_same_persons() {
    let (fake, clock) = fake().await;
    fake.change(|script| script.claims = json!({"email": null}));
    let relying_party = relying_party(&clock);
    let identity = fake.sign_in(&relying_party).await.unwrap();
    // What the token says of an address that it does not have is no word on this one.
    assert_eq!((identity.email.as_deref(), identity.email_verified), (Some("user@info.example"), false));
    let asked = fake.remote.requests().into_iter().find(|asked| asked.path == "/userinfo").unwrap();
    assert_eq!(asked.header("authorization"), Some("Bearer access"));

    let person = json!({"sub": "person-1", "email": "user@info.example"});
    for (patch, refused) in
        [(json!({"sub": "person-2"}), true), (json!({"sub": null}), false), (json!({"sub": 1}), false)]
    {
        let reply = Reply::json(patched(person.clone(), &patch));
        fake.change(|script| drop(script.replies.insert("/userinfo", reply)));
        let answer = fake.sign_in(&relying_party).await;
        if refused {
            is_refused(answer)
        } else {
            is_unavailable(answer)
        };
    }
    let nobody = Reply::json(json!({"sub": "person-1"}));
    fake.change(|script| drop(script.replies.insert("/userinfo", nobody)));
    assert_eq!(fake.sign_in(&relying_party).await.unwrap().email, None);
}

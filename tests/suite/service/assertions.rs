//! Clients that prove themselves by assertions (`private_key_jwt`, RFC 7523).

use std::{sync::LazyLock, time::Duration};

use jeton::api::{wire, wire::authenticate_member_request::Mechanism};
use jeton_contract::reason::Reason;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tonic::Status;

use super::{
    calls::{Credentials, IssueExt as _, client_credentials, refused, refused_fields, revoke, revoke_id, seen, uuid},
    harness::{Backend, PUBLIC_URL, Service, master, plain},
    signers::{ALGORITHMS, Signer, and_a_half, part, with},
};

on_both_stores! {
    an_assertion_of_each_algorithm_proves_its_client
    every_call_that_takes_a_secret_takes_an_assertion
    an_assertion_works_once_and_a_restart_does_not_forget_it
    what_is_wrong_with_an_assertion_looks_like_a_wrong_secret
    an_assertion_counts_between_its_times
    an_assertion_is_good_for_its_client_and_tenant_only
    keys_that_are_taken_away_and_clients_that_are_disabled_prove_nothing
    without_a_kid_the_keys_that_fit_are_tried
    more_than_one_proof_is_ambiguous
    keys_that_could_not_be_used_are_refused
    keys_are_shown_and_replaced_as_a_whole
    a_repeat_wants_a_fresh_assertion_and_gives_the_same_token
}

#[tokio::test]
async fn an_assertion_that_one_replica_took_no_other_takes() {
    let service = Service::start(Backend::Redis).await;
    let client = client(&service, &[&ED]).await;
    let replica = service.replica().await;
    let once = assertion(&service, &client.client_id, &ED);
    // On both at the same time, one of them is the first.
    let (here, there) = (service.anonymous(), replica.anonymous());
    let (one, other) = tokio::join!(here.issue_token(asserted(&once)), there.issue_token(asserted(&once)));
    let (taken, not) = if one.is_ok() { (one, other) } else { (other, one) };
    assert!(taken.is_ok());
    refused(not, Reason::InvalidClient);
    refused(replica.anonymous().issue_token(asserted(&once)).await, Reason::InvalidClient);
    // A key that is taken away on one replica counts on none.
    let fresh = assertion(&service, &client.client_id, &ED);
    set_keys(&service, &client.client_id, &[&EC]).await;
    refused(replica.anonymous().issue_token(asserted(&fresh)).await, Reason::InvalidClient);
}

pub(super) static ED: LazyLock<Signer> = LazyLock::new(|| Signer::new("ed", Algorithm::EdDSA));
static EC: LazyLock<Signer> = LazyLock::new(|| Signer::new("ec", Algorithm::ES256));
static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::new("rsa", Algorithm::RS256));

fn issuer(tenant: &str) -> String {
    format!("{PUBLIC_URL}/t/{tenant}")
}

/// A client of tenant `default` with some keys.
async fn client(service: &Service, signers: &[&Signer]) -> Credentials {
    let jwks = signers.iter().map(|signer| signer.jwk()).collect();
    service.client_in("default", wire::Client { jwks, ..plain() }).await
}

async fn set_keys(service: &Service, client: &str, signers: &[&Signer]) {
    let client = wire::Client {
        client_id: client.to_owned(),
        jwks: signers.iter().map(|signer| signer.jwk()).collect(),
        ..Default::default()
    };
    let request = wire::UpdateClientRequest {
        tenant_id: "default".into(),
        client: Some(client),
        update_mask: Some(prost_types::FieldMask { paths: vec!["jwks".into()] }),
    };
    service.admin().await.update_client(request).await.unwrap();
}

/// The claims of a good assertion, each time with another `jti`.
fn claims(service: &Service, client: &str) -> Value {
    let now = service.clock.now().as_secs();
    let jti = jeton::ambient::random::<8>().unwrap().map(|byte| format!("{byte:02x}")).concat();
    json!({"iss": client, "sub": client, "aud": issuer("default"), "iat": now, "exp": now + 60, "jti": jti})
}

pub(super) fn assertion(service: &Service, client: &str, signer: &Signer) -> String {
    signer.sign(&claims(service, client))
}

/// An IssueToken that an assertion proves.
pub(super) fn asserted(assertion: &str) -> wire::IssueTokenRequest {
    wire::IssueTokenRequest { client_assertion: assertion.to_owned(), ..client_credentials() }
}

async fn an_assertion_of_each_algorithm_proves_its_client(service: Service) {
    for algorithm in ALGORITHMS {
        let signer = Signer::new("key-1", algorithm);
        let client = client(&service, &[&signer]).await;
        let token = service.anonymous().issue(asserted(&assertion(&service, &client.client_id, &signer))).await;
        let introspection = service.introspect(&token.access_token).await;
        assert_eq!(
            (introspection.client_id, introspection.subject),
            (client.client_id.clone(), client.client_id.clone()),
            "{algorithm:?}"
        );
        assert_eq!(token.scopes, plain().default_scopes);
        let named = wire::IssueTokenRequest {
            client_id: client.client_id.clone(),
            ..asserted(&assertion(&service, &client.client_id, &signer))
        };
        service.anonymous().issue(named).await;
        // It goes on having its secrets.
        service.anonymous().issue(client.client_credentials()).await;
        if algorithm == Algorithm::PS256 {
            continue;
        }
        // What the key's type and curve, or for RSA the older one, sign with need not be said.
        let unnamed = wire::Client { jwks: vec![wire::JsonWebKey { alg: String::new(), ..signer.jwk() }], ..plain() };
        let unnamed = service.client_in("default", unnamed).await;
        service.anonymous().issue(asserted(&assertion(&service, &unnamed.client_id, &signer))).await;
    }
}

async fn every_call_that_takes_a_secret_takes_an_assertion(service: Service) {
    let client = client(&service, &[&ED]).await;
    let client_assertion = || assertion(&service, &client.client_id, &ED);
    let nobody = service.anonymous();
    let token = nobody.issue(asserted(&client_assertion()).refresh()).await;
    let introspect = wire::IntrospectTokenRequest {
        client_assertion: client_assertion(),
        token: token.access_token.clone(),
        ..Default::default()
    };
    assert_eq!(nobody.introspect(introspect.clone()).await.active, Some(true));
    refused(nobody.introspect_token(introspect).await, Reason::InvalidClient);
    let batch = wire::BatchIntrospectTokensRequest {
        client_assertion: client_assertion(),
        tokens: vec![token.access_token.clone()],
        ..Default::default()
    };
    assert_eq!(nobody.batch_introspect_tokens(batch.clone()).await.unwrap().introspections[0].active, Some(true));
    refused(nobody.batch_introspect_tokens(batch).await, Reason::InvalidClient);
    let renew = wire::RenewTokenRequest {
        client_assertion: client_assertion(),
        refresh_token: token.refresh_token.clone(),
        ..Default::default()
    };
    let renewed = nobody.renew(renew.clone()).await;
    refused(nobody.renew_token(renew.clone()).await, Reason::InvalidClient);
    // The same refresh token again is a lost reply that is asked for anew, under a fresh assertion.
    let again = nobody.renew(wire::RenewTokenRequest { client_assertion: client_assertion(), ..renew }).await;
    assert_eq!(again.refresh_token, renewed.refresh_token);
    let invalidate = wire::InvalidateTokensRequest {
        client_assertion: client_assertion(),
        access_token: renewed.access_token.clone(),
        ..Default::default()
    };
    nobody.invalidate_tokens(invalidate.clone()).await.unwrap();
    refused(nobody.invalidate_tokens(invalidate).await, Reason::InvalidClient);
    let sign_in = wire::AuthenticateMemberRequest {
        client_assertion: client_assertion(),
        mechanism: Some(Mechanism::Password(wire::PasswordMechanism {
            identity_profile_id: "idp".into(),
            username: "ann".into(),
            password: "a password".into(),
        })),
        ..Default::default()
    };
    refused(nobody.authenticate_member(sign_in.clone()).await, Reason::NotFound);
    refused(nobody.authenticate_member(sign_in).await, Reason::InvalidClient);
    let used = client_assertion();
    nobody.issue(asserted(&used)).await;
    let by_id = |client_assertion: String| wire::RevokeTokenRequest { client_assertion, ..revoke_id(&token.token_id) };
    refused(nobody.revoke_token(by_id(used.clone())).await, Reason::InvalidClient);
    let by_token = wire::RevokeTokenRequest { client_assertion: used, ..revoke(&token.access_token) };
    refused(nobody.revoke_token(by_token).await, Reason::InvalidClient);
    assert!(service.is_active(&token.access_token).await, "nothing is done before the proof");
    nobody.revoke_token(by_id(client_assertion())).await.unwrap();
    assert!(!service.is_active(&token.access_token).await);
}

async fn an_assertion_works_once_and_a_restart_does_not_forget_it(service: Service) {
    let client = client(&service, &[&ED, &EC]).await;
    let good = claims(&service, &client.client_id);
    let once = ED.sign(&good);
    service.anonymous().issue(asserted(&once)).await;
    refused(service.anonymous().issue_token(asserted(&once)).await, Reason::InvalidClient);
    // Its `jti` is what is used up, whatever else it says and whichever of the client's keys signs.
    let later = with(&good, "exp", json!(good["exp"].as_u64().unwrap() + 30));
    refused(service.anonymous().issue_token(asserted(&EC.sign(&later))).await, Reason::InvalidClient);
    let service = service.restart(vec![master(1)]).await;
    refused(service.anonymous().issue_token(asserted(&once)).await, Reason::InvalidClient);
    service.advance(Duration::from_secs(59));
    refused(service.anonymous().issue_token(asserted(&once)).await, Reason::InvalidClient);
    // Another client may choose the same.
    let other = self::client(&service, &[&ED]).await;
    let same = with(&claims(&service, &other.client_id), "jti", good["jti"].clone());
    service.anonymous().issue(asserted(&ED.sign(&same))).await;
}

async fn what_is_wrong_with_an_assertion_looks_like_a_wrong_secret(service: Service) {
    let client = client(&service, &[&ED, &RSA]).await;
    let id = client.client_id.as_str();
    let good = || claims(&service, id);
    let now = service.clock.now().as_secs();
    let stranger = Signer::new("ed", Algorithm::EdDSA);
    let ps = json!({"alg": "PS256", "kid": "rsa"});
    // The public key taken for a shared secret.
    let hmac = |secret: &[u8]| {
        let signed = format!("{}.{}", part(&json!({"alg": "HS256", "kid": "rsa"})), part(&good()));
        let key = EncodingKey::from_secret(secret);
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{signed}.{signature}")
    };
    let twice = good().to_string().replace("\"iss\"", "\"iss\":\"x\",\"iss\"");
    let twice = format!("{}.{}", part(&ED.header()), base64_of(&twice));
    let cut = |text: String| text[..text.len() - 8].to_owned();
    let mut wrong = vec![
        ("garbage", "x".to_owned()),
        ("two parts", part(&ED.header()) + "." + &part(&good())),
        ("four parts", ED.sign(&good()) + ".x"),
        ("padding", ED.sign(&good()) + "=="),
        ("a short signature", cut(ED.sign(&good()))),
        ("no signature", ED.sign(&good()).rsplit_once('.').unwrap().0.to_owned() + "."),
        ("another's signature", stranger.sign(&good())),
        ("an unregistered key", EC.sign(&good())),
        ("none", format!("{}.{}.", part(&json!({"alg": "none"})), part(&good()))),
        ("none, signed", ED.sign_under(&json!({"alg": "none", "kid": "ed"}), &good())),
        ("HMAC with the modulus", hmac(RSA.public()["n"].as_str().unwrap().as_bytes())),
        ("HMAC with the key", hmac(RSA.public().to_string().as_bytes())),
        ("an algorithm of the key's type, not the key's", RSA.sign_under(&ps, &good())),
        ("the kid of another key", ED.sign_under(&json!({"alg": "EdDSA", "kid": "rsa"}), &good())),
        ("an unknown kid", ED.sign_under(&json!({"alg": "EdDSA", "kid": "who"}), &good())),
        ("an empty kid", ED.sign_under(&json!({"alg": "EdDSA", "kid": ""}), &good())),
        ("a kid of null", ED.sign_under(&json!({"alg": "EdDSA", "kid": null}), &good())),
        ("no alg", ED.sign_under(&json!({"kid": "ed"}), &good())),
        ("an access token", ED.sign_under(&json!({"alg": "EdDSA", "kid": "ed", "typ": "at+jwt"}), &good())),
        ("a claim twice", ED.sign_text(&twice)),
        ("no claims", ED.sign(&json!({}))),
        ("claims in a list", ED.sign(&json!([good()]))),
    ];
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("jwk", stranger.public()),
        ("jku", json!("https://evil.example/jwks")),
        ("x5c", json!(["x"])),
        ("x5u", json!("https://evil.example/cert")),
    ] {
        let header = with(&ED.header(), name, value);
        wrong.push((name, ED.sign_under(&header, &good())));
    }
    for (name, value) in [
        ("iss", json!("somebody")),
        ("iss", json!("")),
        ("iss", Value::Null),
        ("sub", json!("cli_0000000000000000000000")),
        ("sub", Value::Null),
        ("aud", Value::Null),
        ("aud", json!([])),
        ("aud", json!(PUBLIC_URL)),
        ("aud", json!(issuer("default") + "/")),
        ("aud", json!(issuer("default") + "/api")),
        ("aud", json!(format!("{PUBLIC_URL}//t/default"))),
        ("aud", json!(issuer("nowhere"))),
        ("aud", json!([issuer("default"), "https://other.example"])),
        ("aud", json!([issuer("default"), issuer("default")])),
        ("exp", Value::Null),
        ("exp", json!((now + 60).to_string())),
        ("exp", and_a_half(now + 60)),
        ("exp", json!(-1)),
        ("exp", json!(now)),
        ("exp", json!(now - 1)),
        ("exp", json!(now + 306)),
        ("exp", json!(u64::MAX)),
        ("nbf", json!(now + 6)),
        ("nbf", json!(now.to_string())),
        ("iat", json!(now + 6)),
        ("iat", json!(true)),
        ("jti", Value::Null),
        ("jti", json!("")),
        ("jti", json!(1)),
        ("jti", json!("j".repeat(129))),
    ] {
        wrong.push((name, ED.sign(&with(&good(), name, value))));
    }
    let mut nulls = good();
    nulls["nbf"] = Value::Null;
    wrong.push(("nbf of null", ED.sign(&nulls)));
    let issue = async |request: wire::IssueTokenRequest| {
        seen(&refused(service.anonymous().issue_token(request).await, Reason::InvalidClient), "no id is in it")
    };
    let secret = issue(wire::IssueTokenRequest { client_secret: "jcs_x".into(), ..client.client_credentials() }).await;
    for (what, assertion) in wrong {
        assert_eq!(issue(asserted(&assertion)).await, secret, "{what}");
    }
    let other =
        wire::IssueTokenRequest { client_id: "cli_0000000000000000000000".into(), ..asserted(&ED.sign(&good())) };
    assert_eq!(issue(other).await, secret);
    // All of them are good but for what was said.
    service.anonymous().issue(asserted(&ED.sign(&good()))).await;
    service.anonymous().issue(asserted(&ED.sign(&with(&good(), "jti", json!("j".repeat(128)))))).await;
    service.anonymous().issue(asserted(&ED.sign(&with(&good(), "aud", json!([issuer("default")]))))).await;
    let typed = json!({"alg": "EdDSA", "kid": "ed", "typ": "Client-Authentication+JWT", "unknown": 1});
    service.anonymous().issue(asserted(&ED.sign_under(&typed, &good()))).await;
    let long = wire::IssueTokenRequest { client_assertion: "x".repeat(8193), ..client_credentials() };
    refused_fields(service.anonymous().issue_token(long).await, Reason::InvalidField, &["client_assertion"]);
}

fn base64_of(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(text)
}

async fn an_assertion_counts_between_its_times(service: Service) {
    let client = client(&service, &[&ED]).await;
    let now = service.clock.now().as_secs();
    let issue = async |claims: Value| service.anonymous().issue_token(asserted(&ED.sign(&claims))).await;
    // Five minutes, and what clocks differ by.
    let good = || claims(&service, &client.client_id);
    issue(with(&good(), "exp", json!(now + 305))).await.unwrap();
    issue(with(&with(&good(), "nbf", json!(now + 5)), "iat", json!(now + 5))).await.unwrap();
    issue(with(&good(), "iat", Value::Null)).await.unwrap();
    let last = good();
    service.advance(Duration::from_secs(58));
    issue(last.clone()).await.unwrap();
    let expired = with(&last, "jti", json!("other"));
    service.advance(Duration::from_secs(2));
    refused(issue(expired).await, Reason::InvalidClient);
}

async fn an_assertion_is_good_for_its_client_and_tenant_only(service: Service) {
    service.tenant("other", Default::default()).await;
    let own = client(&service, &[&ED]).await;
    let jwks = vec![EC.jwk()];
    let abroad = service.client_in("other", wire::Client { jwks, ..plain() }).await;
    let issue = async |assertion: String| service.anonymous().issue_token(asserted(&assertion)).await;
    // Somebody else's key.
    refused(issue(assertion(&service, &own.client_id, &EC)).await, Reason::InvalidClient);
    refused(issue(assertion(&service, &abroad.client_id, &ED)).await, Reason::InvalidClient);
    // A client of another tenant, by this tenant's issuer and by its own.
    refused(issue(assertion(&service, &abroad.client_id, &EC)).await, Reason::InvalidClient);
    let good = with(&claims(&service, &abroad.client_id), "aud", json!(issuer("other")));
    let token = issue(EC.sign(&good)).await.unwrap().token.unwrap();
    assert_eq!(token.tenant_id, "other");
    let elsewhere = with(&claims(&service, &own.client_id), "aud", json!(issuer("other")));
    refused(issue(ED.sign(&elsewhere)).await, Reason::InvalidClient);
    // Where it is admitted it proves itself as at home.
    let admission = wire::Admission { client_id: own.client_id.clone(), ..Default::default() };
    let request = wire::AdmitClientRequest { tenant_id: "other".into(), admission: Some(admission) };
    service.admin().await.admit_client(request).await.unwrap();
    let request = asserted(&assertion(&service, &own.client_id, &ED)).tenant("other");
    assert_eq!(service.anonymous().issue(request).await.tenant_id, "other");
}

async fn keys_that_are_taken_away_and_clients_that_are_disabled_prove_nothing(service: Service) {
    let client = client(&service, &[&ED, &EC]).await;
    let id = client.client_id.as_str();
    let issue =
        async |signer: &Signer| service.anonymous().issue_token(asserted(&assertion(&service, id, signer))).await;
    issue(&ED).await.unwrap();
    set_keys(&service, id, &[&EC]).await;
    refused(issue(&ED).await, Reason::InvalidClient);
    issue(&EC).await.unwrap();
    set_keys(&service, id, &[]).await;
    refused(issue(&EC).await, Reason::InvalidClient);
    set_keys(&service, id, &[&EC]).await;
    issue(&EC).await.unwrap();
    let admin = service.admin().await;
    let tenant_id = || "default".to_owned();
    let disable = wire::DisableClientRequest { tenant_id: tenant_id(), client_id: id.into() };
    admin.disable_client(disable).await.unwrap();
    let used = assertion(&service, id, &EC);
    refused(service.anonymous().issue_token(asserted(&used)).await, Reason::InvalidClient);
    let enable = wire::EnableClientRequest { tenant_id: tenant_id(), client_id: id.into() };
    admin.enable_client(enable).await.unwrap();
    issue(&EC).await.unwrap();
    service.anonymous().issue(asserted(&used)).await;
    let delete = wire::DeleteClientRequest { tenant_id: tenant_id(), client_id: id.into(), ..Default::default() };
    admin.delete_client(delete).await.unwrap();
    refused(issue(&EC).await, Reason::InvalidClient);
}

async fn without_a_kid_the_keys_that_fit_are_tried(service: Service) {
    let (one, other) = (Signer::new("1", Algorithm::EdDSA), Signer::new("", Algorithm::EdDSA));
    let client = client(&service, &[&one, &other, &EC]).await;
    let claims = || claims(&service, &client.client_id);
    for signer in [&one, &other, &*EC] {
        let header = json!({"alg": signer.alg()});
        service.anonymous().issue(asserted(&signer.sign_under(&header, &claims()))).await;
    }
    // A key without an id is nobody's.
    let named = asserted(&other.sign_under(&json!({"alg": "EdDSA", "kid": "1"}), &claims()));
    refused(service.anonymous().issue_token(named).await, Reason::InvalidClient);
}

async fn more_than_one_proof_is_ambiguous(service: Service) {
    let client = client(&service, &[&ED]).await;
    let assertion = || assertion(&service, &client.client_id, &ED);
    let both = wire::IssueTokenRequest { client_assertion: assertion(), ..client.client_credentials() };
    refused_fields(service.anonymous().issue_token(both).await, Reason::AmbiguousCredentials, &["client_assertion"]);
    let admin = service.admin().await;
    let reason = Reason::AmbiguousCredentials;
    refused(admin.issue_token(asserted(&assertion())).await, reason);
    let introspect =
        wire::IntrospectTokenRequest { client_assertion: assertion(), token: "x".into(), ..Default::default() };
    refused(admin.introspect_token(introspect).await, reason);
    let revoke = wire::RevokeTokenRequest { client_assertion: assertion(), ..revoke("x") };
    refused(admin.revoke_token(revoke).await, reason);
    // Refused before it was looked at, so it is not used up.
    let unused = assertion();
    refused(admin.issue_token(asserted(&unused)).await, reason);
    service.anonymous().issue(asserted(&unused)).await;
}

async fn keys_that_could_not_be_used_are_refused(service: Service) {
    let admin = service.admin().await;
    let create = async |jwks: Vec<wire::JsonWebKey>| -> Result<(), Status> {
        let client = Some(wire::Client { jwks, ..plain() });
        let request = wire::CreateClientRequest { tenant_id: "default".into(), client, ..Default::default() };
        admin.create_client(request).await.map(drop)
    };
    let (ed, ec, rsa) = (ED.jwk(), EC.jwk(), RSA.jwk());
    let set = |field: &str, value: &str, of: &wire::JsonWebKey| {
        let mut key = of.clone();
        let member = match field {
            "kty" => &mut key.kty,
            "use" => &mut key.r#use,
            "alg" => &mut key.alg,
            "kid" => &mut key.kid,
            "crv" => &mut key.crv,
            "x" => &mut key.x,
            "y" => &mut key.y,
            "n" => &mut key.n,
            _ => &mut key.e,
        };
        *member = value.to_owned();
        key
    };
    for (key, field, value) in [
        (&ed, "kty", "oct"),
        (&ed, "kty", ""),
        (&ed, "crv", "X25519"),
        (&ed, "crv", ""),
        (&ed, "use", "enc"),
        (&ed, "alg", "HS256"),
        (&ed, "alg", "ES256"),
        (&ed, "alg", "none"),
        (&ed, "x", "AA"),
        (&ed, "x", "!"),
        (&ed, "kid", "with space"),
        (&ec, "crv", "P-521"),
        (&ec, "crv", "secp256k1"),
        (&ec, "alg", "ES384"),
        (&ec, "y", "AA"),
        (&rsa, "alg", "RS512"),
        (&rsa, "n", &"_".repeat(171)),
        (&rsa, "n", ""),
        (&rsa, "e", "Aw"),
        (&rsa, "e", "AQAA"),
        (&rsa, "e", ""),
    ] {
        refused_fields(
            create(vec![set(field, value, key)]).await,
            Reason::InvalidField,
            &[&format!("client.jwks[0].{field}")],
        );
    }
    // No point of the curve.
    let off = set("x", &EC.jwk().y, &ec);
    refused_fields(create(vec![off.clone()]).await, Reason::InvalidField, &["client.jwks[0].x"]);
    // All at once.
    let many = vec![ed.clone(), off, ed.clone(), set("kid", "", &set("e", "", &rsa))];
    let fields = ["client.jwks[1].x", "client.jwks[2].kid", "client.jwks[3].e"];
    refused_fields(create(many).await, Reason::InvalidField, &fields);
    refused_fields(create(vec![ed; 6]).await, Reason::InvalidField, &["client.jwks"]);
}

async fn keys_are_shown_and_replaced_as_a_whole(service: Service) {
    let client = client(&service, &[&ED, &RSA]).await;
    let admin = service.admin().await;
    let get = || wire::GetClientRequest { tenant_id: "default".into(), client_id: client.client_id.clone() };
    let read = async || admin.get_client(get()).await.unwrap().client.unwrap().jwks;
    assert_eq!(read().await, [ED.jwk(), RSA.jwk()]);
    // What does not name them leaves them.
    let renamed =
        wire::Client { client_id: client.client_id.clone(), display_name: "new".into(), ..Default::default() };
    let request =
        wire::UpdateClientRequest { tenant_id: "default".into(), client: Some(renamed), ..Default::default() };
    admin.update_client(request).await.unwrap();
    assert_eq!(read().await, [ED.jwk(), RSA.jwk()]);
    set_keys(&service, &client.client_id, &[&EC]).await;
    assert_eq!(read().await, [EC.jwk()]);
    set_keys(&service, &client.client_id, &[]).await;
    assert!(read().await.is_empty());
}

async fn a_repeat_wants_a_fresh_assertion_and_gives_the_same_token(service: Service) {
    let client = client(&service, &[&ED]).await;
    let request = |assertion: &str| asserted(assertion).request_id(&uuid(1));
    let once = assertion(&service, &client.client_id, &ED);
    let first = service.anonymous().issue(request(&once)).await;
    refused(service.anonymous().issue_token(request(&once)).await, Reason::InvalidClient);
    let second = service.anonymous().issue(request(&assertion(&service, &client.client_id, &ED))).await;
    assert_eq!(first.access_token, second.access_token);
    // By its secret it is the same request of the same client.
    let by_secret = service.anonymous().issue(client.client_credentials().request_id(&uuid(1))).await;
    assert_eq!(first.access_token, by_secret.access_token);
}

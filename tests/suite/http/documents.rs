//! What anybody may read of a tenant: keys and metadata.

use jeton::api::wire;
use serde_json::json;

use super::client::{Answer, ask, get, post};
use crate::service::{
    harness::{PUBLIC_URL, Service},
    on_both_stores,
};

on_both_stores! {
    keys_are_served_and_kept_for_as_long_as_they_are_announced
    keys_that_did_not_change_are_not_sent_again
    metadata_stands_wherever_clients_look
    a_tenant_that_does_not_exist_has_neither
    head_tells_the_same_without_the_body
}

const JWKS: &str = "/t/default/oauth2/jwks";
const METADATA: &str = "/.well-known/oauth-authorization-server/t/default";

#[track_caller]
fn assert_public(answer: &Answer, seconds: i64) {
    assert_eq!(answer.header("cache-control"), format!("public, max-age={seconds}"), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), "*", "{answer:?}");
    assert!(!answer.header("x-request-id").is_empty(), "{answer:?}");
}

async fn listed(service: &Service) -> wire::ListSigningKeysResponse {
    let request = wire::ListSigningKeysRequest { tenant_id: "default".into() };
    service.anonymous().list_signing_keys(request).await.unwrap()
}

async fn rotate(service: &Service) {
    let request = wire::RotateSigningKeyRequest { tenant_id: "default".into() };
    service.admin().await.rotate_signing_key(request).await.unwrap();
}

async fn keys_are_served_and_kept_for_as_long_as_they_are_announced(service: Service) {
    let answer = get(&service, JWKS, &[]).await;
    let same = listed(&service).await;
    let (key, max_age) = (&same.keys[0], same.max_age.as_ref().unwrap().seconds);
    let expected = json!({"keys": [
        {"kty": key.kty, "use": "sig", "alg": key.alg, "kid": key.kid, "crv": key.crv, "x": key.x},
    ]});
    assert_eq!((answer.status, answer.json()), (200, expected));
    assert_public(&answer, max_age);
    let settings = wire::TenantSettings {
        key_announcement: Some(prost_types::Duration { seconds: 7200, nanos: 0 }),
        ..Default::default()
    };
    service.set(settings).await;
    assert_public(&get(&service, JWKS, &[]).await, 7200);
}

async fn keys_that_did_not_change_are_not_sent_again(service: Service) {
    let first = get(&service, JWKS, &[]).await;
    let tag = first.header("etag");
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 5, "{tag}");
    for known in [tag, &format!("W/{tag}"), &format!("\"x\", {tag}"), "*"] {
        let answer = get(&service, JWKS, &[("if-none-match", known)]).await;
        assert_eq!((answer.status, answer.body.as_str(), answer.header("etag")), (304, "", tag), "{known}");
        assert_public(&answer, listed(&service).await.max_age.unwrap().seconds);
    }
    rotate(&service).await;
    let answer = get(&service, JWKS, &[("if-none-match", tag)]).await;
    assert_eq!((answer.status, answer.json()["keys"].as_array().unwrap().len()), (200, 2));
    assert_ne!(answer.header("etag"), tag);
}

async fn metadata_stands_wherever_clients_look(service: Service) {
    let issuer = format!("{PUBLIC_URL}/t/default");
    for path in [METADATA, "/.well-known/openid-configuration/t/default", "/t/default/.well-known/openid-configuration"]
    {
        let answer = get(&service, path, &[]).await;
        let shown = answer.json();
        assert_eq!((answer.status, shown["issuer"].as_str()), (200, Some(issuer.as_str())));
        for (member, end) in [
            ("token_endpoint", "token"),
            ("introspection_endpoint", "introspect"),
            ("revocation_endpoint", "revoke"),
            ("jwks_uri", "jwks"),
        ] {
            assert_eq!(shown[member], format!("{issuer}/oauth2/{end}"), "{member}");
        }
        assert_eq!(shown["response_types_supported"], json!(["none"]));
        assert_eq!(shown["grant_types_supported"].as_array().unwrap().len(), 4);
        let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
        assert_eq!(shown["token_endpoint_auth_methods_supported"], methods);
        assert_public(&answer, listed(&service).await.max_age.unwrap().seconds);
    }
}

async fn a_tenant_that_does_not_exist_has_neither(service: Service) {
    for tenant in ["nowhere", "ten_x", "%20", ""] {
        for path in [format!("/t/{tenant}/oauth2/jwks"), format!("/t/{tenant}/.well-known/openid-configuration")] {
            get(&service, &path, &[]).await.refused(404, "not_found", &[]);
        }
    }
    // Every caller gets the same, even with credentials that are not valid.
    let nonsense = [("authorization", "Bearer nonsense")];
    assert_eq!(get(&service, JWKS, &nonsense).await.status, 200);
    post(&service, "jwks", &[], &[]).await.refused(405, "invalid_request", &[]);
}

async fn head_tells_the_same_without_the_body(service: Service) {
    for path in [JWKS, METADATA] {
        let (get, head) = (get(&service, path, &[]).await, ask(&service, "HEAD", path, &[], "").await);
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        for name in ["content-type", "content-length", "cache-control", "etag"] {
            assert_eq!(get.header(name), head.header(name), "{name}");
        }
    }
}

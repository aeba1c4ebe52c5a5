//! Bad input: the RFC's error, status and headers, whatever is wrong.

use super::client::{Answer, FORM, ask, basic, encoded, get, post, post_in, send};
use crate::service::{
    calls::Credentials,
    harness::{Service, plain},
    on_both_stores,
};
use jeton::api::wire::{self, GrantType};

on_both_stores! {
    what_is_no_form_is_refused
    parameters_stand_once_and_in_the_body
    a_body_has_an_end
    one_proof_and_of_a_known_kind
    whatever_is_wrong_with_a_client_looks_the_same
    grants_and_scopes_that_cannot_be_had_are_distinguished
    a_tenant_that_does_not_exist_looks_like_one_that_did_not_admit
    paths_and_methods_are_those_that_are
}

const OWN: (&str, &str) = ("grant_type", "client_credentials");
const TOKEN: &str = "/t/default/oauth2/token";

async fn what_is_no_form_is_refused(service: Service) {
    let form = encoded(&[OWN]);
    for content_type in ["application/json", "text/plain", "multipart/form-data; boundary=x", ""] {
        for endpoint in ["token", "introspect", "revoke"] {
            let path = format!("/t/default/oauth2/{endpoint}");
            let answer = ask(&service, "POST", &path, &[("content-type", content_type)], &form).await;
            answer.refused(400, "invalid_request", &["content-type"]);
        }
    }
    ask(&service, "POST", TOKEN, &[], &form).await.refused(400, "invalid_request", &["content-type"]);
    ask(&service, "POST", TOKEN, &[FORM, FORM], &form).await.refused(400, "invalid_request", &["content-type"]);
    // With a charset it is one, and then it is the grant that is missing.
    let header = basic(&service.client().await);
    let charset =
        [("authorization", header.as_str()), ("content-type", "Application/X-WWW-Form-URLencoded; charset=UTF-8")];
    ask(&service, "POST", TOKEN, &charset, &form).await.ok();
    ask(&service, "POST", TOKEN, &charset, "").await.refused(400, "invalid_request", &["grant_type: is required"]);
}

async fn parameters_stand_once_and_in_the_body(service: Service) {
    let client = service.client().await;
    let (id, secret) = (client.client_id.as_str(), client.client_secret.as_str());
    let twice = [OWN, ("client_id", id), ("client_secret", secret), OWN, ("scope", "a"), ("scope", "b")];
    let answer = post(&service, "token", &[], &twice).await;
    answer.refused(400, "invalid_request", &["grant_type: must not be given twice", "scope: must not"]);
    assert!(!answer.body.contains(secret), "{answer:?}");
    for endpoint in ["introspect", "revoke"] {
        let answer = post(&service, endpoint, &[], &[("token", "x"), ("token", "")]).await;
        answer.refused(400, "invalid_request", &["token: must not be given twice"]);
    }
    let path = format!("{TOKEN}?{}", encoded(&twice[..3]));
    let answer = ask(&service, "POST", &path, &[FORM], "").await;
    answer.refused(400, "invalid_request", &["never in the URL"]);
    let many: Vec<String> = (0..100).map(|i| format!("p{i}=")).collect();
    let answer = ask(&service, "POST", TOKEN, &[FORM], &many.join("&")).await;
    answer.refused(413, "invalid_request", &["64 parameters"]);
}

async fn a_body_has_an_end(service: Service) {
    let head = format!("POST {TOKEN} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}: {}\r\n", FORM.0, FORM.1);
    // Announced, so that it is not even read.
    let answer = send(&service, format!("{head}content-length: 65537\r\n\r\n").as_bytes()).await;
    answer.refused(413, "invalid_request", &["65536 bytes"]);
    // Not announced.
    let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..16 {
        chunked.extend(format!("1000\r\n{}\r\n", "a".repeat(0x1000)).into_bytes());
    }
    let fits = [&chunked[..], b"0\r\n\r\n"].concat();
    send(&service, &fits).await.refused(400, "invalid_request", &["grant_type"]);
    chunked.extend(b"1\r\na\r\n0\r\n\r\n");
    send(&service, &chunked).await.refused(413, "invalid_request", &["65536 bytes"]);
}

async fn one_proof_and_of_a_known_kind(service: Service) {
    let client = service.client().await;
    let header = basic(&client);
    let (id, secret) = (client.client_id.as_str(), client.client_secret.as_str());
    let jwt = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    for more in [vec![("client_secret", secret)], vec![("client_assertion", "x"), jwt]] {
        for endpoint in ["token", "introspect", "revoke"] {
            let form = [&[OWN, ("token", "x"), ("client_id", id)], &more[..]].concat();
            let answer = post(&service, endpoint, &[("authorization", &header)], &form).await;
            answer.refused(400, "invalid_request", &[]);
            assert_eq!(answer.json()["reason"], "AMBIGUOUS_CREDENTIALS");
        }
    }
    let form = [OWN, ("client_id", id), ("client_secret", secret), ("client_assertion", "x"), jwt];
    post(&service, "token", &[], &form).await.refused(400, "invalid_request", &["exclude each other"]);
    let other = [OWN, ("client_id", "cli_other")];
    let answer = post(&service, "token", &[("authorization", &header)], &other).await;
    answer.refused(400, "invalid_request", &["client_id"]);
    for header in ["Digest username=x", "Basic", "Basic !!!", "Basic bm9jb2xvbg=="] {
        let answer = post(&service, "token", &[("authorization", header)], &[OWN]).await;
        answer.refused(401, "invalid_client", &["authorization"]);
        assert!(answer.header("www-authenticate").starts_with("Basic realm="), "{answer:?}");
    }
    let twice = [("authorization", header.as_str()), ("authorization", header.as_str())];
    post(&service, "token", &twice, &[OWN]).await.refused(400, "invalid_request", &["authorization"]);
    post(&service, "token", &[], &[OWN]).await.refused(401, "invalid_client", &[]);
    post(&service, "introspect", &[], &[("token", "x")]).await.refused(401, "invalid_client", &[]);
}

async fn whatever_is_wrong_with_a_client_looks_the_same(service: Service) {
    let (client, disabled) = (service.client().await, service.client().await);
    let request = wire::DisableClientRequest { tenant_id: "default".into(), client_id: disabled.client_id.clone() };
    service.admin().await.disable_client(request).await.unwrap();
    let wrong = [
        Credentials::new(&client.client_id, "nonsense"),
        Credentials::new(&client.client_id, ""),
        Credentials::new("cli_nobody", &client.client_secret),
        disabled,
    ];
    let mut seen = Vec::new();
    for client in wrong {
        for endpoint in ["token", "introspect", "revoke"] {
            let answer = post(&service, endpoint, &[("authorization", &basic(&client))], &[OWN, ("token", "x")]).await;
            answer.refused(401, "invalid_client", &[]);
            assert!(answer.header("www-authenticate").starts_with("Basic "), "{answer:?}");
            seen.push(answer.seen());
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

async fn grants_and_scopes_that_cannot_be_had_are_distinguished(service: Service) {
    let client = wire::Client { allowed_grants: vec![GrantType::Account.into()], ..plain() };
    let (without, client) = (service.client_in("default", client).await, service.client().await);
    let ask = async |client: &Credentials, form: &[(&str, &str)]| -> Answer {
        post(&service, "token", &[("authorization", &basic(client))], form).await
    };
    ask(&without, &[OWN]).await.refused(400, "unauthorized_client", &["client_credentials"]);
    for grant in ["password", "authorization_code", "x\"\\\u{e9}"] {
        let answer = ask(&client, &[("grant_type", grant)]).await;
        answer.refused(400, "unsupported_grant_type", &["client_credentials", "refresh_token"]);
    }
    ask(&client, &[OWN, ("scope", "unheard.of")]).await.refused(400, "invalid_scope", &[]);
    ask(&client, &[OWN, ("scope", "a\"b \u{e9}")]).await.refused(400, "invalid_scope", &["scope: must match"]);
    ask(&client, &[OWN, ("audience", "https://else")]).await.refused(400, "invalid_target", &[]);
    ask(&client, &[OWN, ("resource", "else")]).await.refused(400, "invalid_target", &["resource", "absolute URI"]);
    let long = "x".repeat(300);
    let both = [OWN, ("audience", &long), ("scope", "a\"b"), ("resource", "else")];
    ask(&client, &both).await.refused(400, "invalid_request", &["resource", "scope", "audience"]);
}

async fn a_tenant_that_does_not_exist_looks_like_one_that_did_not_admit(service: Service) {
    service.tenant("acme", wire::TenantSettings::default()).await;
    let client = service.client().await;
    let mut seen = Vec::new();
    for tenant in ["acme", "nowhere", "%00%C3%A9"] {
        let answer = post_in(&service, tenant, "token", &[("authorization", &basic(&client))], &[OWN]).await;
        answer.refused(400, "unauthorized_client", &["unknown or has not admitted"]);
        seen.push(answer.seen());
        let answer = post_in(&service, tenant, "token", &[], &[OWN]).await;
        answer.refused(401, "invalid_client", &[]);
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let answer = post_in(&service, &"x".repeat(65), "token", &[("authorization", &basic(&client))], &[OWN]).await;
    answer.refused(400, "invalid_request", &["tenant_id"]);
}

async fn paths_and_methods_are_those_that_are(service: Service) {
    for path in
        ["/", "/t/default", "/t/default/oauth2", "/t//oauth2/token", "/t/a/b/oauth2/token", "/t/%FF/oauth2/token"]
    {
        ask(&service, "POST", path, &[FORM], "").await.refused(404, "not_found", &[]);
    }
    for endpoint in ["token", "introspect", "revoke"] {
        let path = format!("/t/default/oauth2/{endpoint}");
        for method in ["GET", "PUT", "OPTIONS"] {
            let answer = ask(&service, method, &path, &[], "").await;
            answer.refused(405, "invalid_request", &[]);
            assert_eq!(answer.header("allow"), "POST");
        }
    }
    let answer = ask(&service, "POST", "/t/default/oauth2/jwks", &[FORM], "").await;
    answer.refused(405, "invalid_request", &[]);
    assert_eq!(answer.header("allow"), "GET,HEAD");
    get(&service, "/jeton.v1.TokenService/IssueToken", &[]).await.refused(404, "not_found", &[]);
}

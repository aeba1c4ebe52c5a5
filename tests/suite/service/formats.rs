//! How access tokens are written, and what introspection tells of them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton::api::wire::{self, SigningAlgorithm, TokenFormat};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::Jwk};
use serde_json::{Value, json};

use super::{
    calls::{Credentials, IssueExt as _, assert_inactive, owned},
    harness::{PUBLIC_URL, Service, plain},
};

on_both_stores! {
    an_eddsa_jwt_verifies_offline_with_the_listed_keys
    an_es256_jwt_verifies_offline_with_the_listed_keys
    an_rs256_jwt_verifies_offline_with_the_listed_keys
    a_ps256_jwt_verifies_offline_with_the_listed_keys
    introspection_tells_all_of_a_token_in_either_format
    a_refresh_token_is_introspected_by_its_own_client_only
    service_urls_come_with_client_tokens_only
}

async fn an_eddsa_jwt_verifies_offline_with_the_listed_keys(service: Service) {
    verifies_offline(&service, SigningAlgorithm::Eddsa, Algorithm::EdDSA).await;
}

async fn an_es256_jwt_verifies_offline_with_the_listed_keys(service: Service) {
    verifies_offline(&service, SigningAlgorithm::Es256, Algorithm::ES256).await;
}

async fn an_rs256_jwt_verifies_offline_with_the_listed_keys(service: Service) {
    verifies_offline(&service, SigningAlgorithm::Rs256, Algorithm::RS256).await;
}

async fn a_ps256_jwt_verifies_offline_with_the_listed_keys(service: Service) {
    verifies_offline(&service, SigningAlgorithm::Ps256, Algorithm::PS256).await;
}

async fn verifies_offline(service: &Service, signing: SigningAlgorithm, algorithm: Algorithm) {
    let settings = wire::TenantSettings { signing_algorithm: signing.into(), ..Default::default() };
    service.tenant("signed", settings).await;
    let client = service.client_in("signed", plain()).await;
    let request = client.client_credentials().scopes(&["pay", "invoices.read"]).session("s-1").refresh();
    let issued = service.anonymous().issue(request).await;

    let text = &issued.access_token;
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text.split('.').next().unwrap()).unwrap()).unwrap();
    let kid = header["kid"].as_str().unwrap().to_owned();
    assert_eq!(header, json!({"alg": format!("{algorithm:?}"), "kid": kid, "typ": "at+jwt"}));

    let request = wire::ListSigningKeysRequest { tenant_id: "signed".into() };
    let keys = service.anonymous().list_signing_keys(request).await.unwrap();
    assert_eq!(keys.max_age.unwrap().seconds, 600);
    let key = keys.keys.into_iter().find(|key| key.kid == kid).unwrap();
    let claims = verify(&key, algorithm, text, &format!("{PUBLIC_URL}/t/signed"));
    let introspection = service.introspect(text).await;
    assert_eq!(
        claims,
        json!({
            "iss": format!("{PUBLIC_URL}/t/signed"), "aud": format!("{PUBLIC_URL}/t/signed/api"),
            "sub": client.client_id, "client_id": client.client_id, "scope": "pay invoices.read", "sid": "s-1",
            "jti": issued.token_id, "ten": "signed", "fam": introspection.family_id, "rev": claims["rev"],
            "iat": issued.expire_time.unwrap().seconds - 900, "exp": issued.expire_time.unwrap().seconds,
        })
    );
    assert_eq!(introspection.active, Some(true));
}

/// The claims of a JWT whose signature, expiry, issuer and audience a library has checked.
pub fn verify(key: &wire::JsonWebKey, algorithm: Algorithm, text: &str, issuer: &str) -> Value {
    let mut jwk = json!({"kty": key.kty, "use": key.r#use, "alg": key.alg, "kid": key.kid});
    for (name, value) in [("crv", &key.crv), ("x", &key.x), ("y", &key.y), ("n", &key.n), ("e", &key.e)] {
        if !value.is_empty() {
            jwk[name] = value.as_str().into();
        }
    }
    assert_eq!((key.r#use.as_str(), key.alg.as_str()), ("sig", format!("{algorithm:?}").as_str()));
    let jwk: Jwk = serde_json::from_value(jwk).unwrap();
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[format!("{issuer}/api")]);
    jsonwebtoken::decode::<Value>(text, &DecodingKey::from_jwk(&jwk).unwrap(), &validation).unwrap().claims
}

async fn introspection_tells_all_of_a_token_in_either_format(service: Service) {
    let client = service.client_in("default", wire::Client { audiences: vec!["https://pay".into()], ..plain() }).await;
    let (parent, now) = (service.account("").await, service.clock.now().as_secs());
    let child = service.account(&parent).await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let request = client.account(&child).format(format).scopes(&["pay", "invoices.write"]).session("s");
        let request = request.audience(&["https://pay", &format!("{PUBLIC_URL}/t/default/api")]).refresh();
        let token = service.anonymous().issue(request).await;
        assert_eq!(token.token_type, "Bearer");
        assert_eq!((token.tenant_id.as_str(), token.session_id.as_str()), ("default", "s"));
        assert!(token.refresh_token.starts_with("jtr_"), "{token:?}");
        assert_eq!(token.access_token.starts_with("jta_"), format == TokenFormat::Opaque);

        let introspection = service.introspect(&token.access_token).await;
        let expected = wire::Introspection {
            active: Some(true),
            token_use: wire::TokenUse::Access.into(),
            token_id: token.token_id.clone(),
            tenant_id: "default".into(),
            issuer: format!("{PUBLIC_URL}/t/default"),
            client_id: client.client_id.clone(),
            subject: child.clone(),
            subject_kind: wire::SubjectKind::Account.into(),
            account_id: child.clone(),
            ancestor_ids: vec![parent.clone()],
            scopes: owned(&["pay", "invoices.write"]),
            audience: vec!["https://pay".into(), format!("{PUBLIC_URL}/t/default/api")],
            issue_time: Some(prost_types::Timestamp { seconds: i64::try_from(now).unwrap(), nanos: 0 }),
            expire_time: token.expire_time,
            session_id: "s".into(),
            family_id: introspection.family_id.clone(),
            actor: Some(wire::Actor {
                subject: client.client_id.clone(),
                client_id: client.client_id.clone(),
                prior_actor: None,
            }),
            format: format.into(),
            options: None,
            claims: None,
            member_id: String::new(),
            roles: Vec::new(),
            permissions: Vec::new(),
            entity_group_id: String::new(),
            account_reached: None,
            authentication_methods: Vec::new(),
            authentication_time: None,
        };
        assert_eq!(introspection, expected);
        assert!(introspection.family_id.starts_with("fam_"));
        assert_eq!((token.scopes, token.audience), (introspection.scopes, introspection.audience));
    }
}

async fn a_refresh_token_is_introspected_by_its_own_client_only(service: Service) {
    let (client, other) = (service.client().await, service.client().await);
    let token = service.anonymous().issue(client.client_credentials().refresh()).await;
    let ask = async |who: &Credentials| service.anonymous().introspect(who.introspect(&token.refresh_token)).await;
    let answer = ask(&client).await;
    assert_eq!((answer.active, answer.token_use()), (Some(true), wire::TokenUse::Refresh));
    assert_eq!((answer.client_id.as_str(), answer.expire_time), (client.client_id.as_str(), token.refresh_expire_time));
    assert_inactive(&ask(&other).await);
    assert_inactive(&service.introspect(&token.refresh_token).await);

    service.anonymous().renew(client.renew(&token.refresh_token)).await;
    assert_inactive(&ask(&client).await);
}

async fn service_urls_come_with_client_tokens_only(service: Service) {
    let urls = [("billing".to_owned(), "https://billing".to_owned())].into();
    let tenant = wire::Tenant { tenant_id: "default".into(), service_urls: urls, ..Default::default() };
    let request = wire::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() };
    service.admin().await.update_tenant(request).await.unwrap();
    let (client, account) = (service.client().await, service.account("").await);
    let token = service.anonymous().issue(client.client_credentials()).await;
    assert_eq!(token.service_urls.get("billing").map(String::as_str), Some("https://billing"));
    assert!(service.anonymous().issue(client.account(&account)).await.service_urls.is_empty());
}

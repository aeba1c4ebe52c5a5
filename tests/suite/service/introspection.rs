//! What is inactive, and how fresh an answer is.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton::api::{
    wire,
    wire::{ConsistencyLevel, TokenFormat},
};
use jeton_contract::reason::Reason;
use serde_json::Value;

use super::{
    calls::{Credentials, IssueExt as _, assert_inactive, refused, refused_fields},
    harness::{PUBLIC_URL, Service, plain},
};

on_both_stores! {
    garbage_is_inactive
    expired_and_revoked_tokens_are_inactive
    a_token_of_another_tenant_or_audience_is_inactive
    a_changed_truncated_or_extended_token_is_inactive
    a_token_of_another_key_is_inactive
    a_genuinely_signed_token_of_another_form_is_inactive
    a_batch_judges_each_token_by_itself
    a_batch_has_one_to_a_thousand_tokens
    a_batch_leaves_options_out_unless_asked
    bounded_answers_from_memory_and_full_sees_the_last_revocation
    a_position_beyond_the_head_is_stale
}

async fn garbage_is_inactive(service: Service) {
    let token = service.anonymous().issue(service.client().await.client_credentials()).await.access_token;
    let sizes = [7 * 1024, 8 * 1024 + 1, 60 * 1024].map(|size| "a".repeat(size));
    let dots = sizes.clone().map(|text| format!("{}.{}.{}", &text[..100], &text[..100], &text[200..]));
    let long = format!("{token}{}", "A".repeat(8192));
    let texts = ["", " ", ".", "..", "...", "jta_", "jtr_", "jcs_", "\u{0}", "💥", "null", "Bearer x", "a.b.c", &long];
    for text in texts.iter().copied().chain(sizes.iter().map(String::as_str)).chain(dots.iter().map(String::as_str)) {
        assert_inactive(&service.introspect(text).await);
    }
    for text in [format!(" {token}"), format!("{token} "), format!("{token}\n"), format!("Bearer {token}")] {
        assert_inactive(&service.introspect(&text).await);
    }
    assert_inactive(&service.introspect(&service.admin.client_secret).await);
}

async fn expired_and_revoked_tokens_are_inactive(service: Service) {
    let client = service.client().await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let issue = || client.client_credentials().format(format);
        let expired = service.anonymous().issue(issue().expires_in("1")).await.access_token;
        let revoked = service.anonymous().issue(issue()).await.access_token;
        service.anonymous().revoke(&revoked).await;
        service.advance(Duration::from_secs(1));
        assert_inactive(&service.introspect(&expired).await);
        assert_inactive(&service.introspect(&revoked).await);
    }
}

async fn a_token_of_another_tenant_or_audience_is_inactive(service: Service) {
    service.tenant("other", Default::default()).await;
    let client = service.client_in("default", wire::Client { audiences: vec!["https://a".into()], ..plain() }).await;
    let foreign = service.client_in("other", plain()).await;
    let only_b = service.client_in("default", wire::Client { introspects: vec!["https://b".into()], ..plain() }).await;
    let only_a = service.client_in("default", wire::Client { introspects: vec!["https://a".into()], ..plain() }).await;
    let nothing = service.client_in("default", wire::Client { introspects: vec![], ..plain() }).await;
    let api = wire::Client { introspects: vec![format!("{PUBLIC_URL}/t/default/api")], ..plain() };
    let api = service.client_in("default", api).await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let request = client.client_credentials().format(format);
        let for_a = service.anonymous().issue(request.clone().audience(&["https://a"])).await.access_token;
        let for_api = service.anonymous().issue(request).await.access_token;
        for (who, a, default) in [
            (&client, true, true),
            (&only_a, true, false),
            (&api, false, true),
            (&only_b, false, false),
            (&nothing, false, false),
            (&foreign, false, false),
        ] {
            let ask = async |token: &str| service.anonymous().introspect(who.introspect(token)).await;
            for (token, known) in [(&for_a, a), (&for_api, default)] {
                let answer = ask(token).await;
                if known { assert_eq!(answer.active, Some(true)) } else { assert_inactive(&answer) }
            }
        }
    }
}

async fn a_changed_truncated_or_extended_token_is_inactive(service: Service) {
    let client = service.client().await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let token = service.anonymous().issue(client.client_credentials().format(format)).await.access_token;
        let mut changed: Vec<String> = Vec::new();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = match bytes[at] {
                b'A' => b'B',
                b'z' => b'y',
                b'9' => b'8',
                b'.' | b'_' | b'-' => b'0',
                other => other + 1,
            };
            changed.push(String::from_utf8(bytes).unwrap());
        }
        changed.extend((0..token.len()).step_by(7).map(|end| token[..end].to_owned()));
        changed.push(token[..token.len() - 1].to_owned());
        changed.extend(["A", "=", ".", "0", " "].map(|more| format!("{token}{more}")));
        changed.extend(["A", " "].map(|more| format!("{more}{token}")));
        // Every other last character: its spare bits must be zero.
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        changed.extend(alphabet.chars().map(|last| format!("{}{last}", &token[..token.len() - 1])));
        changed.retain(|text| *text != token);
        for texts in changed.chunks(1000) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let active = service.active(&texts).await;
            let accepted: Vec<_> = texts.iter().zip(&active).filter(|(_, active)| **active).collect();
            assert_eq!(accepted, [], "{token}");
        }
        assert!(service.is_active(&token).await);
    }
}

async fn a_token_of_another_key_is_inactive(service: Service) {
    let client = service.client().await;
    let genuine = service.anonymous().issue(client.client_credentials()).await.access_token;
    let parts: Vec<&str> = genuine.split('.').collect();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    let keys = service.anonymous().list_signing_keys(Default::default()).await.unwrap().keys;
    for (alg, key) in [("none", String::new()), ("HS256", keys[0].x.clone()), ("HS256", "guess".into())] {
        let mut forged = header.clone();
        forged["alg"] = alg.into();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(forged.to_string()), parts[1]);
        let key = jsonwebtoken::EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(&key).unwrap_or(key.into_bytes()));
        let mac = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
        assert_inactive(&service.introspect(&format!("{signed}.{mac}")).await);
        assert_inactive(&service.introspect(&format!("{signed}.")).await);
    }
    // The key of another tenant under its own and under the victim's name.
    service.tenant("other", Default::default()).await;
    let foreign = service.client_in("other", plain()).await;
    let foreign = service.anonymous().issue(foreign.client_credentials()).await.access_token;
    let theirs: Vec<&str> = foreign.split('.').collect();
    for mixed in [
        [theirs[0], parts[1], theirs[2]],
        [parts[0], theirs[1], parts[2]],
        [parts[0], parts[1], theirs[2]],
        [theirs[0], parts[1], parts[2]],
    ] {
        assert_inactive(&service.introspect(&mixed.join(".")).await);
    }
}

async fn a_genuinely_signed_token_of_another_form_is_inactive(service: Service) {
    let client = service.client().await;
    let genuine = service.anonymous().issue(client.client_credentials()).await.access_token;
    let part = |i: usize| {
        let bytes = URL_SAFE_NO_PAD.decode(genuine.split('.').nth(i).unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let (header, claims) = (part(0), part(1));
    assert!(service.is_active(&service.sign(&header, &claims).await).await, "the test signs as the service does");

    for (from, to) in [
        ("at+jwt", "JWT"),
        ("at+jwt", "AT+JWT"),
        ("EdDSA", "none"),
        ("EdDSA", "ES256"),
        ("\"kid\":\"", "\"kid\":\"x"),
        ("{", r#"{"crit":["exp"],"#),
        ("{", r#"{"jwk":{},"#),
        ("{", r#"{"alg":"EdDSA","#),
        (r#","typ":"at+jwt""#, ""),
    ] {
        let changed = header.replacen(from, to, 1);
        assert_ne!(changed, header);
        assert_inactive(&service.introspect(&service.sign(&changed, &claims).await).await);
    }
    let with = |name: &str, value: &str| {
        let mut object: serde_json::Map<String, Value> = serde_json::from_str(&claims).unwrap();
        object.insert(name.into(), serde_json::from_str(value).unwrap());
        Value::Object(object).to_string()
    };
    let exp = service.clock.now().as_secs();
    let changed = [
        with("iss", "\"https://auth.example.com/t/other\""),
        with("iss", "\"https://evil.example.com/t/default\""),
        with("ten", "\"system\""),
        with("exp", "\"9999999999\""),
        with("exp", "1e300"),
        with("exp", "-1"),
        with("exp", "18446744073709551615"),
        with("exp", "9999999999.5"),
        with("exp", &exp.to_string()),
        with("iat", "null"),
        with("jti", "\"tok_x\""),
        with("sub", "\"cli_someone\""),
        with("rev", "\"zz\""),
        with("unknown", "1"),
        claims.replacen('{', &format!("{{\"exp\":{},", exp + 10_000), 1),
        claims.replacen('{', "{\"scope\":\"jeton.admin\",", 1),
        format!("{claims} x"),
        format!("[{claims}]"),
    ];
    for claims in changed {
        let token = service.sign(&header, &claims).await;
        assert_eq!(service.introspect(&token).await.active, Some(false), "{claims}");
    }
}

async fn a_batch_judges_each_token_by_itself(service: Service) {
    let client = service.client().await;
    let issue = async |format| service.anonymous().issue(client.client_credentials().format(format)).await.access_token;
    let (jwt, opaque) = (issue(TokenFormat::Jwt).await, issue(TokenFormat::Opaque).await);
    let (dead_jwt, dead_opaque) = (issue(TokenFormat::Jwt).await, issue(TokenFormat::Opaque).await);
    let refresh = service.anonymous().issue(client.client_credentials().refresh()).await.refresh_token;
    service.anonymous().revoke(&dead_jwt).await;
    service.anonymous().revoke(&dead_opaque).await;
    let all = ["", &jwt, "garbage", &opaque, &dead_opaque, &jwt, &dead_jwt, &refresh, "jta_x", &opaque];
    let expected: Vec<_> = {
        let mut single = Vec::new();
        for token in all {
            single.push(service.introspect(token).await);
        }
        single
    };
    let request = batch(&service.admin, &all);
    let shown = service.anonymous().batch_introspect_tokens(request).await.unwrap().introspections;
    assert_eq!(shown, expected);
    let active: Vec<_> = shown.iter().map(|answer| answer.active.unwrap()).collect();
    assert_eq!(active, [false, true, false, true, false, true, false, false, false, true]);
    let backwards: Vec<&str> = all.iter().rev().copied().collect();
    let mut shown =
        service.anonymous().batch_introspect_tokens(batch(&service.admin, &backwards)).await.unwrap().introspections;
    shown.reverse();
    assert_eq!(shown, expected);
}

async fn a_batch_has_one_to_a_thousand_tokens(service: Service) {
    let token = service.anonymous().issue(service.client().await.client_credentials()).await.access_token;
    let ask = async |tokens: &[&str]| service.anonymous().batch_introspect_tokens(batch(&service.admin, tokens)).await;
    refused_fields(ask(&[]).await, Reason::InvalidField, &["tokens"]);
    refused_fields(ask(&vec!["x"; 1001]).await, Reason::InvalidField, &["tokens"]);
    let shown = ask(&vec![token.as_str(); 1000]).await.unwrap().introspections;
    assert!(shown.len() == 1000 && shown.iter().all(|answer| answer.active == Some(true)));
}

async fn a_batch_leaves_options_out_unless_asked(service: Service) {
    let options =
        wire::TokenOptions { style: Some(wire::StyleOptions { primary_color: "#123".into() }), ..Default::default() };
    let client = service.client().await;
    let request = wire::IssueTokenRequest { options: Some(options.clone()), ..client.client_credentials() };
    let token = service.anonymous().issue(request).await.access_token;
    let request = batch(&service.admin, &[&token]);
    let answer = service.anonymous().batch_introspect_tokens(request.clone()).await.unwrap().introspections;
    assert_eq!((answer[0].active, &answer[0].options), (Some(true), &None));
    let request = wire::BatchIntrospectTokensRequest { include_options: true, ..request };
    let answer = service.anonymous().batch_introspect_tokens(request).await.unwrap().introspections;
    assert_eq!(answer[0].options, Some(options));
}

async fn bounded_answers_from_memory_and_full_sees_the_last_revocation(service: Service) {
    let client = service.client().await;
    let token = service.anonymous().issue(client.client_credentials()).await.access_token;
    let ask = |consistency: ConsistencyLevel| wire::IntrospectTokenRequest {
        consistency: consistency.into(),
        ..service.admin.introspect(&token)
    };
    assert_eq!(service.anonymous().introspect(ask(ConsistencyLevel::Bounded)).await.active, Some(true));
    let position = service.anonymous().revoke_token(super::calls::revoke(&token)).await.unwrap().position;
    assert_inactive(&service.anonymous().introspect(ask(ConsistencyLevel::Full)).await);
    let bounded = wire::IntrospectTokenRequest { min_position: position, ..ask(ConsistencyLevel::Bounded) };
    assert_inactive(&service.anonymous().introspect(bounded).await);
}

async fn a_position_beyond_the_head_is_stale(service: Service) {
    for consistency in [ConsistencyLevel::Full, ConsistencyLevel::Bounded] {
        let request = wire::IntrospectTokenRequest {
            consistency: consistency.into(),
            min_position: "f".repeat(20),
            ..service.admin.introspect("x")
        };
        let status = refused(service.anonymous().introspect_token(request).await, Reason::Stale);
        assert!(tonic_types::StatusExt::get_details_retry_info(&status).is_some());
    }
    for malformed in ["f", &"F".repeat(20), &"f".repeat(21)] {
        let request =
            wire::IntrospectTokenRequest { min_position: malformed.to_owned(), ..service.admin.introspect("x") };
        refused_fields(service.anonymous().introspect_token(request).await, Reason::InvalidField, &["min_position"]);
    }
    let unknown = wire::IntrospectTokenRequest { consistency: 7, ..service.admin.introspect("x") };
    refused_fields(service.anonymous().introspect_token(unknown).await, Reason::InvalidField, &["consistency"]);
}

fn batch(who: &Credentials, tokens: &[&str]) -> wire::BatchIntrospectTokensRequest {
    wire::BatchIntrospectTokensRequest {
        client_id: who.client_id.clone(),
        client_secret: who.client_secret.clone(),
        tokens: super::calls::owned(tokens),
        ..Default::default()
    }
}

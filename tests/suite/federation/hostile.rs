//! Providers that are broken, slow or hostile: each is an error in time, and costs the others nothing.

use std::time::Duration;

use jeton::{ambient::Clock, error::chain};
use serde_json::{Value, json};

use super::{
    SOON,
    fake::{DISCOVERY, Fake},
    is_unavailable, relying_party,
};
use crate::remote::{Remote, Reply};

/// For those who never answer.
const SHORT: Duration = Duration::from_millis(300);

/// That signing in with the provider fails, what is logged of it, and that another one is not affected.
async fn fails(fake: &Fake, good: &Fake) -> String {
    fails_within(fake, good, SOON).await
}

async fn fails_within(fake: &Fake, good: &Fake, time: Duration) -> String {
    let relying_party = relying_party(&Clock::default());
    let error = is_unavailable(fake.sign_in_within(&relying_party, time).await);
    good.sign_in(&relying_party).await.unwrap();
    let answer = chain(&error);
    assert!(!answer.contains("hostile"), "nothing that the provider says is repeated: {answer}");
    answer
}

#[tokio::test]
async fn whatever_a_provider_answers_is_an_error_in_time() {
    let good = Fake::start().await;
    let private = Remote::start(|_| Reply::json("{}")).await;
    let huge = Reply::json(json!({"keys": [], "x": "x".repeat(64 * 1024)}));
    for path in [DISCOVERY, "/token", "/keys", "/userinfo"] {
        for (reply, why) in [
            (Reply::Silence, "in time|deadline"),
            (Reply::Stuck, "in time|deadline"),
            (Reply::Endless, "more than 65536 bytes"),
            (huge.clone(), "more than 65536 bytes"),
            (Reply::Raw(Vec::new()), "not reached"),
            (Reply::Raw(b"hostile".to_vec()), "not reached"),
            (Reply::json("hostile"), "cannot be"),
            (Reply::json("[]"), "cannot be"),
            (Reply::json("{}").with("content-type", "text/html"), ""),
            (Reply::status(500), "status 500|cannot be"),
            (Reply::status(204), "status 204|cannot be"),
            (Reply::redirect(private.url("/").as_str()), "status 302|cannot be"),
            (Reply::redirect("http://169.254.169.254/latest/meta-data/"), "status 302|cannot be"),
        ] {
            let fake = Fake::start().await;
            fake.change(|script| {
                script.claims = json!({"email": null});
                script.replies.insert(path, reply.clone());
            });
            let is_slow = matches!(reply, Reply::Silence | Reply::Stuck);
            let answer = fails_within(&fake, &good, if is_slow { SHORT } else { SOON }).await;
            assert!(why.split('|').any(|why| answer.contains(why)), "{path} {reply:?}: {answer}");
        }
    }
    assert_eq!(private.connections(), 0);
}

#[tokio::test]
async fn a_discovery_document_leads_to_no_private_address() {
    let good = Fake::start().await;
    for target in [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://[fd00:ec2::254]/",
        "http://example.com/",
        "file:///etc/passwd",
        "https://user:password@example.com/",
    ] {
        for endpoint in ["token_endpoint", "jwks_uri", "userinfo_endpoint"] {
            let fake = Fake::start().await;
            fake.change(|script| {
                script.document = json!({ endpoint: target });
                script.claims = json!({"email": null});
            });
            let answer = fails(&fake, &good).await;
            let is_none = target.starts_with("file:") && answer.contains("cannot be");
            assert!(is_none || answer.contains("may not be called"), "{endpoint} {target}: {answer}");
        }
    }
}

/// The operator allows calls in the clear to the address, but the provider is under TLS.
#[tokio::test]
async fn a_discovery_document_under_tls_leads_to_nothing_in_the_clear() {
    let good = Fake::start().await;
    let clear = Remote::start(|_| Reply::json("{}")).await;
    for endpoint in ["token_endpoint", "jwks_uri", "userinfo_endpoint"] {
        let fake = Fake::secure().await;
        fake.change(|script| {
            script.document = json!({ endpoint: clear.url("/hostile").as_str() });
            script.claims = json!({"email": null});
        });
        let answer = fails(&fake, &good).await;
        assert!(answer.contains("from https to http"), "{endpoint}: {answer}");
        assert_eq!(fake.remote.count("/token"), 0);
    }
    assert_eq!(clear.connections(), 0);
}

/// Many providers have it so: the issuer says where, under TLS.
#[tokio::test]
async fn a_token_endpoint_may_stand_at_another_host_than_its_issuer() {
    let (fake, elsewhere) = (Fake::secure().await, Fake::secure().await);
    let (issuer, key) = (fake.issuer(), elsewhere.issuer());
    elsewhere.change(|script| script.claims = json!({"iss": issuer}));
    let document = json!({"token_endpoint": format!("{key}/token"), "jwks_uri": format!("{key}/keys")});
    fake.change(|script| script.document = document);
    fake.sign_in(&relying_party(&Clock::default())).await.unwrap();
    assert_eq!((fake.remote.count("/token"), elsewhere.remote.count("/token")), (0, 1));
}

#[tokio::test]
async fn a_discovery_document_is_the_issuers_own_and_complete() {
    let good = Fake::start().await;
    let other = good.issuer();
    for document in [
        json!({"issuer": other}),
        json!({"issuer": "https://hostile.example"}),
        json!({"issuer": null}),
        json!({"jwks_uri": null}),
        json!({"token_endpoint": null}),
        json!({"code_challenge_methods_supported": ["plain"]}),
        json!({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}),
    ] {
        let fake = Fake::start().await;
        fake.change(|script| script.document = document);
        fails(&fake, &good).await;
    }
    // Nor one that differs by a slash.
    let fake = Fake::start().await;
    let issuer = format!("{}/", fake.issuer());
    fake.change(|script| script.document = json!({"issuer": issuer}));
    fails(&fake, &good).await;
}

#[tokio::test]
async fn a_token_reply_without_its_parts_is_the_providers_fault() {
    let good = Fake::start().await;
    for answer in [
        json!({"id_token": null}),
        json!({"id_token": 5}),
        json!({"access_token": null}),
        json!({"token_type": null}),
        // The library would panic on what fits into no header.
        json!({"access_token": "hostile\r\nx: y"}),
        json!({"access_token": "hostile\u{0}"}),
    ] {
        let fake = Fake::start().await;
        fake.change(|script| {
            script.answer = answer;
            script.claims = json!({"email": null});
        });
        fails(&fake, &good).await;
    }
    for error in ["server_error", "temporarily_unavailable", "unauthorized_client", "hostile"] {
        let fake = Fake::start().await;
        let Reply::Message { headers, body, .. } = Reply::json(json!({"error": error, "error_description": "hostile"}))
        else {
            panic!("not a message")
        };
        fake.change(|script| drop(script.replies.insert("/token", Reply::Message { status: 400, headers, body })));
        fails(&fake, &good).await;
    }
}

#[tokio::test]
async fn a_key_set_of_strange_keys_is_no_key_set() {
    let good = Fake::start().await;
    let keys = |keys: Value| Reply::json(json!({ "keys": keys }));
    let many: Vec<Value> = (0..101).map(|number| json!({"kty": "RSA", "kid": number.to_string()})).collect();
    for reply in [keys(json!(many)), keys(json!("hostile")), Reply::json("{}")] {
        let fake = Fake::start().await;
        fake.change(|script| drop(script.replies.insert("/keys", reply)));
        fails(&fake, &good).await;
    }
}

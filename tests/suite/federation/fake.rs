//! A provider that says what a test wants it to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use jeton::{
    ambient::Clock,
    error::Result,
    federation::{Login, Provider, RelyingParty, VerifiedIdentity},
};
use jeton_core::secret::SecretText;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    SOON, login,
    provider::{CALLBACK, NONCE},
};
use crate::remote::{Received, Remote, Reply};

pub const DISCOVERY: &str = "/.well-known/openid-configuration";
pub const CLIENT: &str = "client";
/// As long as HS256 wants it, for a test that signs with it.
pub const CLIENT_SECRET: &str = "a client secret of more than thirty-two bytes";
pub const ACCESS_TOKEN: &str = "access";

/// A running provider.
pub struct Fake {
    pub remote: Remote,
    issuer: String,
    script: Arc<Mutex<Script>>,
}

/// What it says.
pub struct Script {
    issuer: String,
    /// Replies instead of the right ones, by path.
    pub replies: BTreeMap<&'static str, Reply>,
    /// The key that it signs with and publishes.
    pub key: Key,
    /// What is other in the discovery document, in the token reply, and in the ID token's claims; null takes it away.
    pub document: Value,
    pub answer: Value,
    pub claims: Value,
    pub clock: Clock,
}

/// A key pair of P-256.
#[derive(Clone)]
pub struct Key {
    pub kid: String,
    pkcs8: Vec<u8>,
}

// === impl Fake ===

impl Fake {
    /// A good provider.
    pub async fn start() -> Self {
        let (says, answer) = Self::script();
        let remote = Remote::start(answer).await;
        let issuer = remote.url("").as_str().trim_end_matches('/').to_owned();
        Self::at(issuer, remote, says)
    }

    /// One that an identity profile can be of.
    pub async fn secure() -> Self {
        let (says, answer) = Self::script();
        let remote = Remote::secure(answer).await;
        Self::at(format!("https://localhost:{}", remote.port()), remote, says)
    }

    fn script() -> (Arc<Mutex<Script>>, impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        jeton::app::install_crypto();
        let script = Arc::new(Mutex::new(Script {
            issuer: String::new(),
            replies: BTreeMap::new(),
            key: Key::new("1"),
            document: json!({}),
            answer: json!({}),
            claims: json!({}),
            clock: Clock::default(),
        }));
        let says = Arc::clone(&script);
        (script, move |asked: &Received| says.lock().unwrap().reply(asked))
    }

    fn at(issuer: String, remote: Remote, script: Arc<Mutex<Script>>) -> Self {
        script.lock().unwrap().issuer.clone_from(&issuer);
        Self { remote, issuer, script }
    }

    /// Changes what it says.
    pub fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    pub fn issuer(&self) -> String {
        self.issuer.clone()
    }

    pub fn registration(&self) -> Provider {
        Provider {
            issuer: self.issuer(),
            client_id: CLIENT.to_owned(),
            client_secret: Some(SecretText::new(CLIENT_SECRET.to_owned())),
            redirect_uris: vec![CALLBACK.to_owned()],
            scopes: vec!["openid".to_owned(), "email".to_owned()],
        }
    }

    /// What comes of signing in with it.
    pub async fn sign_in(&self, relying_party: &RelyingParty) -> Result<VerifiedIdentity> {
        self.sign_in_within(relying_party, SOON).await
    }

    pub async fn sign_in_within(&self, relying_party: &RelyingParty, time: Duration) -> Result<VerifiedIdentity> {
        let login: Login<'_> = login("code");
        relying_party.authenticate(&self.registration(), &login, Instant::now() + time).await
    }
}

// === impl Script ===

impl Script {
    fn reply(&self, asked: &Received) -> Reply {
        if let Some(reply) = self.replies.get(asked.path.as_str()) {
            return reply.clone();
        }
        let issuer = &self.issuer;
        match asked.path.as_str() {
            DISCOVERY => Reply::json(patched(
                json!({
                    "issuer": issuer,
                    "authorization_endpoint": format!("{issuer}/authorize"),
                    "token_endpoint": format!("{issuer}/token"),
                    "userinfo_endpoint": format!("{issuer}/userinfo"),
                    "jwks_uri": format!("{issuer}/keys"),
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["ES256"],
                }),
                &self.document,
            )),
            "/keys" => Reply::json(json!({"keys": [self.key.public()]})),
            "/token" => Reply::json(patched(
                json!({
                    "access_token": ACCESS_TOKEN,
                    "token_type": "Bearer",
                    "expires_in": 60,
                    "id_token": self.key.sign(&self.claims(issuer)),
                }),
                &self.answer,
            )),
            "/userinfo" => Reply::json(json!({"sub": "person-1", "email": "user@info.example"})),
            _ => Reply::status(404),
        }
    }

    /// The claims of a good ID token, changed as the script has it.
    pub fn claims(&self, issuer: &str) -> Value {
        let now = self.clock.now().as_secs();
        let claims = json!({
            "iss": issuer, "aud": CLIENT, "sub": "person-1", "iat": now, "exp": now + 300, "nonce": NONCE,
            "email": "ada@example.com", "email_verified": true,
        });
        patched(claims, &self.claims)
    }
}

// === impl Key ===

impl Key {
    pub fn new(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        Self { kid: kid.to_owned(), pkcs8: pair.as_ref().to_vec() }
    }

    pub fn encoding(&self) -> EncodingKey {
        EncodingKey::from_ec_der(&self.pkcs8)
    }

    /// As a key set has it.
    pub fn public(&self) -> Value {
        let mut key =
            serde_json::to_value(Jwk::from_encoding_key(&self.encoding(), Algorithm::ES256).unwrap()).unwrap();
        key["kid"] = json!(self.kid);
        key
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.encoding()).unwrap()
    }
}

/// `value` with the members of `patch`; null takes one away.
pub fn patched(mut value: Value, patch: &Value) -> Value {
    for (name, change) in patch.as_object().unwrap() {
        value[name] = change.clone();
    }
    value.as_object_mut().unwrap().retain(|_, member| !member.is_null());
    value
}

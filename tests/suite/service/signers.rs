//! Others that sign JWTs: clients with keys of their own, clusters with workloads.

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jeton::api::wire;
use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use serde_json::{Value, json};

/// Somebody with a private key.
pub struct Signer {
    pub kid: String,
    pub algorithm: Algorithm,
    key: EncodingKey,
    /// As libraries read it.
    pub pem: String,
}

/// All that are accepted.
pub const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES384, Algorithm::RS256, Algorithm::PS256];

/// The set of some signers' public keys.
pub fn key_set(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| signer.public()).collect::<Vec<_>>() }).to_string()
}

/// A header or claims as a part of a JWT.
pub fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// Claims with one of them replaced, or taken away by `null`.
pub fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut changed = claims.clone();
    if value.is_null() {
        changed.as_object_mut().unwrap().remove(name);
    } else {
        changed[name] = value;
    }
    changed
}

/// Half a second later: a time that is no whole number.
pub fn and_a_half(seconds: u64) -> Value {
    serde_json::from_str(&format!("{seconds}.5")).unwrap()
}

// === impl Signer ===

impl Signer {
    pub fn new(kid: &str, algorithm: Algorithm) -> Self {
        jeton::app::install_crypto();
        let random = SystemRandom::new();
        let elliptic = |curve: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap().as_ref().to_vec()
        };
        let der = if algorithm == Algorithm::EdDSA {
            Ed25519KeyPair::generate_pkcs8v1(&random).unwrap().as_ref().to_vec()
        } else if algorithm == Algorithm::ES256 {
            elliptic(&ECDSA_P256_SHA256_FIXED_SIGNING)
        } else if algorithm == Algorithm::ES384 {
            elliptic(&ECDSA_P384_SHA384_FIXED_SIGNING)
        } else {
            let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
            let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
            der.as_ref().to_vec()
        };
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(&der));
        let key = if algorithm == Algorithm::EdDSA {
            EncodingKey::from_ed_der(&der)
        } else if matches!(algorithm, Algorithm::ES256 | Algorithm::ES384) {
            EncodingKey::from_ec_der(&der)
        } else {
            EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
        };
        Self { kid: kid.to_owned(), algorithm, key, pem }
    }

    /// The public key (RFC 7517).
    pub fn public(&self) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap()).unwrap();
        if !self.kid.is_empty() {
            jwk["kid"] = self.kid.clone().into();
        }
        jwk
    }

    pub fn jwk(&self) -> wire::JsonWebKey {
        let public = self.public();
        let text = |name: &str| public[name].as_str().unwrap_or_default().to_owned();
        wire::JsonWebKey {
            kty: text("kty"),
            r#use: text("use"),
            alg: text("alg"),
            kid: text("kid"),
            crv: text("crv"),
            x: text("x"),
            y: text("y"),
            n: text("n"),
            e: text("e"),
        }
    }

    /// `alg` as headers name it.
    pub fn alg(&self) -> String {
        format!("{:?}", self.algorithm)
    }

    /// The header that most libraries write.
    pub fn header(&self) -> Value {
        json!({"alg": self.alg(), "typ": "JWT", "kid": self.kid})
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_under(&self.header(), claims)
    }

    /// A JWT with any header.
    pub fn sign_under(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&format!("{}.{}", part(header), part(claims)))
    }

    /// A JWT of any encoded header and claims.
    pub fn sign_text(&self, signed: &str) -> String {
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }
}

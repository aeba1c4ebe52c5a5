//! Public keys of others (RFC 7517).

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// Public keys that signatures can be verified with.
#[derive(Clone, Debug)]
pub struct KeySet(Vec<Jwk>);

/// Why a document is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    NotAKeySet,
    TooManyKeys,
}

/// The most keys of one set. Who rotates has two or three.
pub const MAX_KEYS: usize = 100;

/// What only private and symmetric keys have (RFC 7518 §6). `oth` belongs to multi-prime RSA keys.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Every algorithm that a public key can verify.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

// === impl KeySet ===

impl KeySet {
    /// Reads a JWK Set. Keys that are private, symmetric, not for signatures or of an unknown kind are left out, as
    /// RFC 7517 §5 wants it: one key that is new to us must not cost the others.
    ///
    /// # Errors
    /// If it is no JWK Set, or has more than [`MAX_KEYS`] keys.
    pub fn parse(document: Value) -> Result<Self, Fault> {
        let document: Document = serde_json::from_value(document).map_err(|_| Fault::NotAKeySet)?;
        if document.keys.len() > MAX_KEYS {
            return Err(Fault::TooManyKeys);
        }
        Ok(Self(document.keys.into_iter().filter_map(verifying).collect()))
    }

    /// The keys with this id, or with any if it is not given, that verify signatures of this algorithm.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Jwk> {
        self.0.iter().filter(move |key| kid.is_none_or(|kid| is_called(key, kid)) && verifies(key, algorithm))
    }

    /// Whether it has a key with this id.
    pub fn knows(&self, kid: &str) -> bool {
        self.0.iter().any(|key| is_called(key, kid))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Jwk> {
        self.0.iter()
    }
}

impl Fault {
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotAKeySet => "it is no JWK Set",
            Self::TooManyKeys => "it has more than 100 keys",
        }
    }
}

fn is_called(key: &Jwk, kid: &str) -> bool {
    key.common.key_id.as_deref() == Some(kid)
}

/// The key, if it is public and verifies signatures.
fn verifying(key: Value) -> Option<Jwk> {
    // A private key that was published is lost: anybody may sign with it.
    if PRIVATE_MEMBERS.iter().any(|member| key.get(member).is_some()) {
        return None;
    }
    let key: Jwk = serde_json::from_value(key).ok()?;
    let common = &key.common;
    // SPIFFE names the kind of token that is signed (SPIFFE Trust Domain and Bundle §4.2.2).
    let is_for_signatures =
        common.public_key_use.as_ref().is_none_or(|purpose| {
            *purpose == PublicKeyUse::Signature || matches!(purpose, PublicKeyUse::Other(other) if other == "jwt-svid")
        }) && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let verifies_something = ALGORITHMS.into_iter().any(|algorithm| verifies(&key, algorithm));
    (is_for_signatures && verifies_something && DecodingKey::from_jwk(&key).is_ok()).then_some(key)
}

/// Whether signatures of `algorithm` can be verified with the key, by its type, its curve and what it says itself.
fn verifies(key: &Jwk, algorithm: Algorithm) -> bool {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let fits = match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
        AlgorithmParameters::EllipticCurve(ec) => {
            matches!((&ec.curve, algorithm), (EllipticCurve::P256, ES256) | (EllipticCurve::P384, ES384))
        }
        AlgorithmParameters::OctetKeyPair(pair) => matches!((&pair.curve, algorithm), (EllipticCurve::Ed25519, EdDSA)),
        // Symmetric keys, and kinds of the library's future.
        AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_) | _ => false,
    };
    fits && key.common.key_algorithm.is_none_or(|own| own == KeyAlgorithm::from(algorithm))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EC: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
    const Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";

    /// A key of RFC 7517 A.1 with other members, `null` taking one away.
    fn ec(members: &Value) -> Value {
        let mut key = json!({"kty": "EC", "crv": "P-256", "x": EC, "y": Y, "kid": "1"});
        for (name, value) in members.as_object().unwrap() {
            key[name] = value.clone();
        }
        key.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        key
    }

    fn set(keys: &[Value]) -> KeySet {
        KeySet::parse(json!({ "keys": keys })).unwrap()
    }

    #[test]
    fn only_public_keys_for_signatures_are_kept() {
        for (kept, members) in [
            (true, json!({})),
            (true, json!({"use": "sig", "alg": "ES256"})),
            (true, json!({"key_ops": ["verify"]})),
            (true, json!({"kid": null})),
            (true, json!({"use": "jwt-svid"})),
            (false, json!({"use": "x509-svid"})),
            (false, json!({"use": "enc"})),
            (false, json!({"key_ops": ["deriveKey"]})),
            (false, json!({"alg": "RS256"})),
            (false, json!({"alg": "ECDH-ES"})),
            (false, json!({"alg": "HS256"})),
            (false, json!({"crv": "P-521"})),
            (false, json!({"crv": "P-256K"})),
            (false, json!({"x": "!"})),
            (false, json!({"d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"})),
            (false, json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMko"})),
            (false, json!({"kty": "new"})),
        ] {
            assert_eq!(set(&[ec(&members)]).iter().count() == 1, kept, "{members}");
        }
        let both = set(&[json!(5), ec(&json!({"kty": "new"})), ec(&json!({}))]);
        assert_eq!(both.iter().count(), 1, "one strange key costs no other");
    }

    #[test]
    fn keys_are_found_by_id_and_algorithm() {
        let keys = set(&[ec(&json!({})), ec(&json!({"kid": "2", "alg": "ES256"})), ec(&json!({"kid": null}))]);
        let count = |kid, algorithm| keys.find(kid, algorithm).count();
        assert_eq!((count(Some("1"), Algorithm::ES256), count(Some("2"), Algorithm::ES256)), (1, 1));
        assert_eq!((count(None, Algorithm::ES256), count(Some("3"), Algorithm::ES256)), (3, 0));
        for other in [Algorithm::RS256, Algorithm::ES384, Algorithm::HS256, Algorithm::EdDSA] {
            assert_eq!(count(None, other), 0, "{other:?}");
        }
        assert!(keys.knows("2") && !keys.knows("3"));
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for wrong in [json!([]), json!({}), json!({"keys": {}}), json!("keys"), Value::Null] {
            assert_eq!(KeySet::parse(wrong).unwrap_err(), Fault::NotAKeySet);
        }
        let many = vec![ec(&json!({})); MAX_KEYS + 1];
        assert_eq!(KeySet::parse(json!({ "keys": many })).unwrap_err(), Fault::TooManyKeys);
        assert_eq!(set(&many[1..]).iter().count(), MAX_KEYS);
    }
}

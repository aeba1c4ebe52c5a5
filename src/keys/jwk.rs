//! Public keys of others as JWKs, and the signature algorithms that are accepted.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;

/// How a key signs. No symmetric algorithm: a public key must never be taken for a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    EdDsa,
    Es256,
    Es384,
    Rs256,
    Ps256,
}

/// A public key in its text form (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2), not checked yet. An absent member is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
#[serde(default)]
pub struct Jwk {
    #[n(0)]
    pub kty: String,
    #[n(1)]
    #[serde(rename = "use")]
    pub usage: String,
    #[n(2)]
    pub alg: String,
    #[n(3)]
    pub kid: String,
    #[n(4)]
    pub crv: String,
    #[n(5)]
    pub x: String,
    #[n(6)]
    pub y: String,
    #[n(7)]
    pub n: String,
    #[n(8)]
    pub e: String,
}

/// A public key, ready to check signatures of its one algorithm.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// Empty: it has none.
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    signature_bytes: usize,
    decoding: DecodingKey,
}

/// What is wrong with a [`Jwk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The member, as RFC 7517 calls it.
    pub member: &'static str,
    /// What it must be.
    pub description: &'static str,
}

/// The longest id of a key.
const MAX_KEY_ID_BYTES: usize = 128;
/// The `use` of keys of JWT-SVIDs (SPIFFE Trust Domain and Bundle §4.2.2).
const SPIFFE_USE: &str = "jwt-svid";
/// RSA moduli in bytes: 2048 to 8192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

// === impl Algorithm ===

impl Algorithm {
    /// All that are accepted.
    pub const ALL: [Self; 5] = [Self::EdDsa, Self::Es256, Self::Es384, Self::Rs256, Self::Ps256];

    /// The name in JWT headers and JWKs (RFC 7518 §3.1, RFC 8037 §3.1).
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    /// The algorithm of this name, if it is accepted.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.name() == name)
    }

    /// The library's name for it.
    pub const fn jsonwebtoken(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Es384 => jsonwebtoken::Algorithm::ES384,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
        }
    }
}

// === impl Jwk ===

impl Jwk {
    /// A key as the library read it; `None` if it is of a kind without these members.
    pub fn of(key: &jsonwebtoken::jwk::Jwk) -> Option<Self> {
        serde_json::from_value(serde_json::to_value(key).ok()?).ok()
    }
}

// === impl PublicKey ===

impl PublicKey {
    /// Reads a key.
    ///
    /// # Errors
    /// The first member with a wrong value.
    pub fn new(jwk: &Jwk) -> Result<Self, Flaw> {
        let visible = |byte: u8| byte.is_ascii_graphic();
        if jwk.kid.len() > MAX_KEY_ID_BYTES || !jwk.kid.bytes().all(visible) {
            return Err(Flaw::new("kid", "must be at most 128 visible ASCII characters"));
        }
        if !matches!(jwk.usage.as_str(), "" | "sig" | SPIFFE_USE) {
            return Err(Flaw::new("use", "must be sig or left out"));
        }
        let (fitting, signature_bytes, decoding): (&[Algorithm], _, _) = match (jwk.kty.as_str(), jwk.crv.as_str()) {
            ("OKP", "Ed25519") => {
                let x = coordinate("x", &jwk.x, 32)?;
                check_point(&ED25519, &x, "must be a public key of the curve")?;
                (&[Algorithm::EdDsa], 64, DecodingKey::from_ed_der(&x))
            }
            ("EC", "P-256") => (&[Algorithm::Es256], 64, curve_key(jwk, 32, &ECDSA_P256_SHA256_FIXED)?),
            ("EC", "P-384") => (&[Algorithm::Es384], 96, curve_key(jwk, 48, &ECDSA_P384_SHA384_FIXED)?),
            ("OKP", _) => return Err(Flaw::new("crv", "must be Ed25519 for an OKP key")),
            ("EC", _) => return Err(Flaw::new("crv", "must be P-256 or P-384 for an EC key")),
            ("RSA", _) => {
                let (modulus, exponent) = (rsa_modulus(&jwk.n)?, rsa_exponent(&jwk.e)?);
                let decoding = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
                (&[Algorithm::Rs256, Algorithm::Ps256], modulus.len(), decoding)
            }
            _ => return Err(Flaw::new("kty", "must be OKP, EC or RSA: a public key")),
        };
        let named = fitting.iter().find(|algorithm| jwk.alg.is_empty() || algorithm.name() == jwk.alg);
        let algorithm = *named.ok_or(Flaw::new("alg", "must be an algorithm that such a key signs with"))?;
        Ok(Self { id: jwk.kid.clone(), algorithm, signature_bytes, decoding })
    }

    /// Whether the base64url text of `signature` is this key's signature of `signed`.
    pub(super) fn has_signed(&self, signed: &str, signature: &[u8], encoded_signature: &str) -> bool {
        // Checked before the library reads the signature.
        if signature.len() != self.signature_bytes {
            return false;
        }
        jsonwebtoken::crypto::verify(
            encoded_signature,
            signed.as_bytes(),
            &self.decoding,
            self.algorithm.jsonwebtoken(),
        )
        .unwrap_or(false)
    }
}

fn coordinate(member: &'static str, text: &str, bytes: usize) -> Result<Vec<u8>, Flaw> {
    let read = URL_SAFE_NO_PAD.decode(text).ok().filter(|read| read.len() == bytes);
    read.ok_or(Flaw::new(member, "must be base64url without padding, as long as the curve's coordinates"))
}

fn curve_key(jwk: &Jwk, bytes: usize, curve: &'static dyn VerificationAlgorithm) -> Result<DecodingKey, Flaw> {
    // Uncompressed (SEC 1 §2.3.3).
    let point = [vec![4], coordinate("x", &jwk.x, bytes)?, coordinate("y", &jwk.y, bytes)?].concat();
    check_point(curve, &point, "must be, with y, a point on the curve")?;
    Ok(DecodingKey::from_ec_der(&point))
}

fn check_point(curve: &'static dyn VerificationAlgorithm, point: &[u8], description: &'static str) -> Result<(), Flaw> {
    ParsedPublicKey::new(curve, point).map(|_| ()).map_err(|_| Flaw::new("x", description))
}

fn rsa_modulus(text: &str) -> Result<Vec<u8>, Flaw> {
    let read = URL_SAFE_NO_PAD.decode(text).ok();
    // The shortest form (RFC 7518 §6.3.1.1) of a number that has at least 2048 bits, and no factor 2.
    let fits = |read: &Vec<u8>| {
        let (first, last) = (read.first().copied().unwrap_or(0), read.last().copied().unwrap_or(0));
        RSA_BYTES.contains(&read.len())
            && first != 0
            && (read.len() > *RSA_BYTES.start() || first >= 128)
            && last % 2 == 1
    };
    read.filter(fits).ok_or(Flaw::new("n", "must be base64url without padding of a modulus of 2048 to 8192 bits"))
}

fn rsa_exponent(text: &str) -> Result<Vec<u8>, Flaw> {
    let read = URL_SAFE_NO_PAD.decode(text).ok();
    // NIST SP 800-56B §6.2 wants more than 2^16.
    let fits = |read: &Vec<u8>| {
        let (first, last) = (read.first().copied().unwrap_or(0), read.last().copied().unwrap_or(0));
        (3..=4).contains(&read.len()) && first != 0 && last % 2 == 1
    };
    read.filter(fits).ok_or(Flaw::new("e", "must be base64url without padding of an odd exponent from 65537 to 2^32"))
}

// === impl Flaw ===

impl Flaw {
    const fn new(member: &'static str, description: &'static str) -> Self {
        Self { member, description }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The EC key of RFC 7517 A.1.
    pub(in crate::keys) fn ec() -> Jwk {
        Jwk {
            kty: "EC".into(),
            crv: "P-256".into(),
            x: "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4".into(),
            y: "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM".into(),
            kid: "1".into(),
            ..Jwk::default()
        }
    }

    #[test]
    fn a_key_has_one_algorithm() {
        let key = PublicKey::new(&ec()).unwrap();
        assert_eq!((key.algorithm, key.signature_bytes), (Algorithm::Es256, 64));
        for (alg, expected) in [("ES256", true), ("ES384", false), ("HS256", false), ("none", false)] {
            assert_eq!(PublicKey::new(&Jwk { alg: alg.into(), ..ec() }).is_ok(), expected, "{alg}");
        }
        let member = |jwk: Jwk| PublicKey::new(&jwk).unwrap_err().member;
        assert_eq!(member(Jwk { y: ec().x, ..ec() }), "x", "off the curve");
        assert_eq!(member(Jwk { kty: "oct".into(), ..ec() }), "kty");
        assert_eq!(member(Jwk::default()), "kty");
        let of_library =
            serde_json::from_value(json!({"kty": "EC", "crv": "P-256", "x": ec().x, "y": ec().y, "kid": "1"}));
        assert_eq!(Jwk::of(&of_library.unwrap()), Some(ec()));
    }

    proptest! {
        #[test]
        fn a_key_of_garbage_is_refused_without_a_panic(
            member in 0_usize..9,
            text in "[A-Za-z0-9_-]{0,200}",
            rsa in any::<bool>(),
        ) {
            let mut jwk = if rsa { Jwk { kty: "RSA".into(), e: "AQAB".into(), ..Jwk::default() } } else { ec() };
            let Jwk { kty, usage, alg, kid, crv, x, y, n, e } = &mut jwk;
            *[kty, usage, alg, kid, crv, x, y, n, e][member] = text;
            // Whatever becomes of it: no panic, and never a key that signs with a secret.
            if let Ok(key) = PublicKey::new(&jwk) {
                prop_assert!(key.signature_bytes >= 64);
            }
        }
    }
}

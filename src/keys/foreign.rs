//! JWTs of others, and the public keys that check them: client assertions (RFC 7523) and workloads' own tokens.
//!
//! Read strictly and by ourselves (RFC 8725): compact serialization, times as whole numbers, no claim twice. Nothing in a
//! token but `kid` has a say in which key checks it, and that only among the keys that are registered; the algorithm is
//! the key's.

use std::{fmt, time::Duration};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use crate::ambient::Time;

/// How a key signs. No symmetric algorithm: a public key must never be taken for a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    EdDsa,
    Es256,
    Es384,
    Rs256,
    Ps256,
}

/// A public key as it is written (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2), not checked yet. An empty member is an absent one.
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
    id: String,
    algorithm: Algorithm,
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

/// Why a JWT proves nothing. Without anything that stands in it: for the log of operators, never for callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

/// A JWT whose signature was not checked yet.
#[derive(Debug)]
pub struct Unverified<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Claims,
    signed: &'a str,
    signature: Vec<u8>,
    encoded_signature: &'a str,
}

/// The claims that are looked at (RFC 7519 §4.1); all others are nobody's business here.
#[derive(Debug, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    aud: Audience,
    /// Seconds since the epoch, and so are the others.
    exp: u64,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    pub jti: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What may not be there is read all the same, to be refused.
#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    typ: Option<String>,
    // What must be understood (RFC 7515 §4.1.11) is not, and a token brings no key of its own (§4.1.2 and following).
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    b64: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    jku: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    jwk: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    x5u: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    x5c: Option<IgnoredAny>,
}

/// The longest JWT that is read, in bytes.
pub const MAX_JWT_BYTES: usize = 8 * 1024;
/// How far the clocks of others may be ahead of ours.
pub const LEEWAY: Duration = Duration::from_secs(5);
/// How many keys are tried for one JWT: without a `kid`, all that its algorithm fits would be.
pub const MAX_CANDIDATES: usize = 5;
/// The longest id of a key.
const MAX_KEY_ID_BYTES: usize = 128;
/// What SPIFFE calls the keys of JWT-SVIDs (SPIFFE Trust Domain and Bundle §4.2.2).
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
    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.name() == name)
    }

    /// What the library calls it.
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
    /// The first member that is not as it must be.
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

// === impl Unverified ===

impl<'a> Unverified<'a> {
    /// Reads a JWT whose `typ`, if it has one, is among `types`.
    ///
    /// # Errors
    /// If it is longer than [`MAX_JWT_BYTES`], not of three parts, not canonical base64url, or if a header or claim that
    /// counts is missing, there twice, or of another JSON type than RFC 7519 and this module want.
    pub fn parse(text: &'a str, types: &[&str]) -> Result<Self, Refusal> {
        if text.len() > MAX_JWT_BYTES {
            return Err(Refusal("the JWT is too long"));
        }
        let three_parts = || Refusal("it is no JWT of three parts");
        let (signed, encoded_signature) = text.rsplit_once('.').ok_or_else(three_parts)?;
        let (header, claims) = signed.split_once('.').ok_or_else(three_parts)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal("a part is not base64url"));
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| Refusal("the header is not as it must be"))?;
        let algorithm = header.check(types)?;
        let claims: Claims = serde_json::from_slice(&decode(claims)?)
            .map_err(|_| Refusal("iss, sub, aud or exp is missing, or a claim is not of its type"))?;
        if claims.iss.is_empty() || claims.sub.is_empty() {
            return Err(Refusal("iss or sub is empty"));
        }
        let signature = decode(encoded_signature)?;
        Ok(Self { algorithm, key_id: header.kid, claims, signed, signature, encoded_signature })
    }

    /// What it claims, to find out whose keys must have signed it. Nothing of it is to be believed yet.
    pub fn unverified_claims(&self) -> &Claims {
        &self.claims
    }

    /// The id of the key that it claims to be signed by.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The algorithm that it claims to be signed with: a key of another one is not asked.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The claims, if one of `keys` signed them: the one of its `kid`, or without a `kid` one of its algorithm.
    ///
    /// # Errors
    /// If none did.
    pub fn verify<'k>(self, keys: impl IntoIterator<Item = &'k PublicKey>) -> Result<Claims, Refusal> {
        let fits = |key: &&PublicKey| {
            key.algorithm == self.algorithm && self.key_id().is_none_or(|id| !id.is_empty() && key.id == id)
        };
        let candidates: Vec<_> = keys.into_iter().filter(fits).take(MAX_CANDIDATES + 1).collect();
        if candidates.is_empty() {
            return Err(Refusal("no registered key has its kid and alg"));
        }
        if candidates.len() > MAX_CANDIDATES {
            return Err(Refusal("it names no key, and many would fit"));
        }
        if candidates.into_iter().any(|key| self.is_signed_by(key)) {
            return Ok(self.claims);
        }
        Err(Refusal("the signature does not hold"))
    }

    fn is_signed_by(&self, key: &PublicKey) -> bool {
        // Looked at before any library reads it.
        if self.signature.len() != key.signature_bytes {
            return false;
        }
        let algorithm = key.algorithm.jsonwebtoken();
        jsonwebtoken::crypto::verify(self.encoded_signature, self.signed.as_bytes(), &key.decoding, algorithm)
            .unwrap_or(false)
    }
}

impl Header {
    /// Refuses what nobody should act on; returns the algorithm.
    fn check(&self, types: &[&str]) -> Result<Algorithm, Refusal> {
        let Self { alg, kid: _, typ, crit, b64, jku, jwk, x5u, x5c } = self;
        if [crit, b64, jku, jwk, x5u, x5c].into_iter().any(Option::is_some) {
            return Err(Refusal("the header has crit, b64, or a key of its own"));
        }
        // Media types are compared regardless of case (RFC 7515 §4.1.9). So no other kind of JWT can stand in for this one.
        if typ.as_ref().is_some_and(|typ| !types.iter().any(|known| typ.eq_ignore_ascii_case(known))) {
            return Err(Refusal("typ is that of another kind of JWT"));
        }
        Algorithm::named(alg).ok_or(Refusal("alg is not accepted"))
    }
}

// === impl Claims ===

impl Claims {
    /// For whom it is meant.
    pub fn audience(&self) -> &[String] {
        match &self.aud {
            Audience::One(one) => std::slice::from_ref(one),
            Audience::Many(many) => many,
        }
    }

    /// When it expires.
    pub const fn expires(&self) -> Time {
        Time::from_secs(self.exp)
    }

    /// Whether it counts at `now`.
    ///
    /// # Errors
    /// If it has expired, or begins later than [`LEEWAY`] from now.
    pub fn check_time(&self, now: Time) -> Result<(), Refusal> {
        let soon = now.plus(LEEWAY);
        if self.expires() <= now {
            return Err(Refusal("it has expired"));
        }
        if [self.nbf, self.iat].into_iter().flatten().any(|begin| Time::from_secs(begin) > soon) {
            return Err(Refusal("it is not valid yet"));
        }
        Ok(())
    }
}

/// A member that may be absent but not null.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Flaw {
    const fn new(member: &'static str, description: &'static str) -> Self {
        Self { member, description }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The EC key of RFC 7517 A.1.
    fn ec() -> Jwk {
        Jwk {
            kty: "EC".into(),
            crv: "P-256".into(),
            x: "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4".into(),
            y: "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM".into(),
            kid: "1".into(),
            ..Jwk::default()
        }
    }

    fn jwt(header: &Value, claims: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encode(&header.to_string()), encode(claims), URL_SAFE_NO_PAD.encode([1; 64]))
    }

    fn es256() -> Value {
        json!({"alg": "ES256"})
    }

    const CLAIMS: &str = r#"{"iss": "i", "sub": "s", "aud": "a", "exp": 10}"#;

    #[test]
    fn a_key_has_one_algorithm() {
        let key = PublicKey::new(&ec()).unwrap();
        assert_eq!((key.algorithm, key.signature_bytes), (Algorithm::Es256, 64));
        for (alg, told) in [("ES256", true), ("ES384", false), ("HS256", false), ("none", false)] {
            assert_eq!(PublicKey::new(&Jwk { alg: alg.into(), ..ec() }).is_ok(), told, "{alg}");
        }
        let member = |jwk: Jwk| PublicKey::new(&jwk).unwrap_err().member;
        assert_eq!(member(Jwk { y: ec().x, ..ec() }), "x", "off the curve");
        assert_eq!(member(Jwk { kty: "oct".into(), ..ec() }), "kty");
        assert_eq!(member(Jwk::default()), "kty");
        let of_library =
            serde_json::from_value(json!({"kty": "EC", "crv": "P-256", "x": ec().x, "y": ec().y, "kid": "1"}));
        assert_eq!(Jwk::of(&of_library.unwrap()), Some(ec()));
    }

    #[test]
    fn a_jwt_is_read_strictly() {
        let read = |text: &str| Unverified::parse(text, &["JWT"]).map(|read| read.algorithm());
        assert_eq!(read(&jwt(&es256(), CLAIMS)), Ok(Algorithm::Es256));
        let headers = [
            json!({"alg": "HS256"}),
            json!({"alg": "none"}),
            json!({"alg": "es256"}),
            json!({"alg": "ES256", "typ": "at+jwt"}),
            json!({"alg": "ES256", "crit": []}),
            json!({"alg": "ES256", "crit": null}),
            json!({"alg": "ES256", "jwk": {}}),
            json!({"alg": "ES256", "kid": 1}),
            json!({}),
            json!([]),
        ];
        for header in headers {
            assert!(read(&jwt(&header, CLAIMS)).is_err(), "{header}");
        }
        for (from, to) in [
            ("10", "10.0"),
            ("10", "\"10\""),
            ("10", "-1"),
            ("10", "1e3"),
            ("10", "18446744073709551616"),
            ("10", "10, \"exp\": 11"),
            ("10", "10, \"nbf\": null"),
            ("10", "10, \"iat\": \"1\""),
            ("10", "10, \"jti\": 1"),
            ("\"s\"", "\"\""),
            ("\"s\"", "null"),
            ("\"a\"", "{}"),
            ("\"a\"", "[1]"),
            ("}", ""),
        ] {
            assert!(read(&jwt(&es256(), &CLAIMS.replace(from, to))).is_err(), "{from} as {to}");
        }
        let twice = URL_SAFE_NO_PAD.encode(r#"{"alg": "ES256", "alg": "ES256"}"#);
        let (_, rest) = jwt(&es256(), CLAIMS).split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert!(read(&format!("{twice}.{rest}")).is_err());
        let long = CLAIMS.replace("\"a\"", &format!("\"{}\"", "a".repeat(MAX_JWT_BYTES)));
        assert_eq!(read(&jwt(&es256(), &long)), Err(Refusal("the JWT is too long")));
    }

    #[test]
    fn times_are_checked_to_the_second_with_leeway_for_what_begins() {
        let claims = |more: &str| -> Claims { serde_json::from_str(&CLAIMS.replace("10", more)).unwrap() };
        let holds = |more: &str, now: u64| claims(more).check_time(Time::from_millis(now)).is_ok();
        assert!(holds("10", 9_999) && !holds("10", 10_000));
        assert!(holds("10, \"nbf\": 6", 1_000) && !holds("10, \"nbf\": 7", 1_000));
        assert!(holds("10, \"iat\": 6", 1_000) && !holds("10, \"iat\": 7", 1_000));
        assert!(holds("18446744073709551615", 0));
    }

    #[test]
    fn only_a_few_keys_are_tried() {
        let text = jwt(&es256(), CLAIMS);
        let verify = |count: usize| {
            let keys = vec![PublicKey::new(&ec()).unwrap(); count];
            Unverified::parse(&text, &[]).unwrap().verify(&keys).unwrap_err()
        };
        crate::app::install_crypto();
        assert_eq!(verify(0), Refusal("no registered key has its kid and alg"));
        assert_eq!(verify(MAX_CANDIDATES), Refusal("the signature does not hold"));
        assert_eq!(verify(MAX_CANDIDATES + 1), Refusal("it names no key, and many would fit"));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_a_panic(text in ".{0,200}", parts in prop::collection::vec(".{0,80}", 0..5)) {
            let encoded: Vec<_> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
            for text in [text, parts.join("."), encoded.join(".")] {
                prop_assert!(Unverified::parse(&text, &["JWT"]).is_err());
            }
        }

        #[test]
        fn a_changed_byte_is_refused_or_changes_nothing_that_counts(at in 0_usize..200, byte in any::<u8>()) {
            crate::app::install_crypto();
            let mut text = jwt(&es256(), CLAIMS).into_bytes();
            let at = at % text.len();
            text[at] = byte;
            if let Ok(text) = String::from_utf8(text)
                && let Ok(read) = Unverified::parse(&text, &["JWT"])
            {
                prop_assert!(read.verify(&[PublicKey::new(&ec()).unwrap()]).is_err());
            }
        }

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

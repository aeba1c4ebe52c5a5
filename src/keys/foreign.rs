//! JWTs of others: client assertions (RFC 7523) and workloads' own tokens.
//!
//! They are parsed strictly and by this module (RFC 8725): compact serialization, times as whole numbers, no claim twice.
//! A token chooses the key that checks it only by its `kid`, and only among the keys that are registered; the algorithm is
//! the key's.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton_core::Time;
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::jwk::{Algorithm, PublicKey};

/// Why a JWT proves nothing. It quotes nothing of the JWT. For the log of operators, never for callers.
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

/// The claims that are used (RFC 7519 §4.1); all others are ignored.
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

/// The header. Parameters that are not allowed are read, too, so that they can be refused.
#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    typ: Option<String>,
    // Critical extensions (RFC 7515 §4.1.11) are not supported, and a token must not bring its key (§4.1.2 and following).
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
/// How far the clocks of others may be ahead.
pub const LEEWAY: Duration = Duration::from_secs(5);
/// How many keys are tried for one JWT: without a `kid`, all keys of its algorithm are candidates.
pub const MAX_CANDIDATES: usize = 5;
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

    /// Its claims, to find the keys that must have signed it. Do not trust them yet.
    pub fn unverified_claims(&self) -> &Claims {
        &self.claims
    }

    /// The id of the key that it claims to be signed by.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The algorithm that it claims to be signed with. Keys of others are not tried.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The claims, if one of `keys` signed them: the one with its `kid`, or without a `kid` one of its algorithm.
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
        if candidates.iter().any(|key| key.has_signed(self.signed, &self.signature, self.encoded_signature)) {
            return Ok(self.claims);
        }
        Err(Refusal("the signature does not hold"))
    }
}

impl Header {
    /// Refuses headers that must not be acted on; returns the algorithm.
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
    /// Its intended recipients.
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

    /// Whether it is valid at `now`.
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

    use super::{super::jwk::tests::ec, *};

    fn jwt(header: &Value, claims: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encode(&header.to_string()), encode(claims), URL_SAFE_NO_PAD.encode([1; 64]))
    }

    fn es256() -> Value {
        json!({"alg": "ES256"})
    }

    const CLAIMS: &str = r#"{"iss": "i", "sub": "s", "aud": "a", "exp": 10}"#;

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

    }
}

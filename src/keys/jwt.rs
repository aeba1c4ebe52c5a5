//! Writing and reading of our JWTs: compact serialization only, one algorithm per key, no header but ours.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::signing::{KeyFault, SigningKey, StoredKey};
use crate::token::{
    AccessToken, TenantId,
    claims::{Claims, Header, MAX_TOKEN_BYTES, TYP},
};

/// A JWT whose signature was not checked yet.
#[derive(Debug)]
pub struct Unverified<'a> {
    header: Header,
    claims: Claims,
    signed: &'a str,
    signature: &'a str,
}

/// Writes the header and claims that a key is to sign.
pub fn signing_input(token: &AccessToken, issuer: &str, key: &SigningKey) -> Result<String, KeyFault> {
    let claims = Claims::new(token, issuer).ok_or(KeyFault::CLAIMS)?;
    let json = serde_json::to_vec(&claims).map_err(|_| KeyFault::CLAIMS)?;
    let mut text = String::with_capacity(key.header.len() + 1 + json.len() * 4 / 3 + 100);
    text.push_str(&key.header);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(json, &mut text);
    Ok(text)
}

/// Signs what [`signing_input`] wrote.
pub fn sign(mut input: String, key: &SigningKey) -> Result<String, KeyFault> {
    let signature = key.sign(input.as_bytes())?;
    input.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut input);
    Ok(input)
}

/// The encoded header of every JWT that `key` signs.
pub(super) fn header(key: &StoredKey) -> String {
    // Both values are ours and need no escaping.
    let json = format!(r#"{{"alg":"{}","kid":"{}","typ":"{TYP}"}}"#, key.algorithm.name(), key.id);
    URL_SAFE_NO_PAD.encode(json)
}

// === impl Unverified ===

impl<'a> Unverified<'a> {
    /// Reads a token of our form. Anything else is `None`: another length, other header members, duplicate or unknown
    /// claims, non-canonical base64.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header.typ != TYP {
            return None;
        }
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        Some(Self { header, claims, signed, signature })
    }

    /// The tenant that the token claims.
    pub fn tenant(&self) -> Option<TenantId> {
        self.claims.ten.parse().ok()
    }

    /// The key that the token claims to be signed by.
    pub fn key_id(&self) -> &str {
        &self.header.kid
    }

    /// The token, if `key` signed it for `issuer`. The algorithm is the key's, never the header's choice.
    pub fn verify(self, key: &SigningKey, issuer: &str) -> Option<AccessToken> {
        let algorithm = key.stored.algorithm;
        if self.header.alg != algorithm.name() {
            return None;
        }
        // A second text of the same signature would be a second token.
        URL_SAFE_NO_PAD.decode(self.signature).ok()?;
        let genuine = jsonwebtoken::crypto::verify(
            self.signature,
            self.signed.as_bytes(),
            &key.decoding,
            algorithm.jsonwebtoken(),
        );
        if !genuine.unwrap_or(false) {
            return None;
        }
        self.claims.into_token(issuer, key.stored.id.clone())
    }
}

impl KeyFault {
    const CLAIMS: Self = Self::new("write a token's claims");
}

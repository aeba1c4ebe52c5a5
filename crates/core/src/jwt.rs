//! Reading of our JWTs: compact serialization only, one algorithm per key, no header but ours.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    AccessToken, TenantId,
    claims::{Claims, Header, MAX_TOKEN_BYTES, TYP},
    public_key::PublicKey,
};

/// A JWT whose signature was not checked yet.
#[derive(Debug)]
pub struct Unverified<'a> {
    header: Header,
    claims: Claims,
    signed: &'a str,
    signature: &'a str,
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
    pub fn verify(self, key: &PublicKey, issuer: &str) -> Option<AccessToken> {
        if self.header.alg != key.algorithm.name() {
            return None;
        }
        // A second text of the same signature would be a second token.
        URL_SAFE_NO_PAD.decode(self.signature).ok()?;
        if !key.verifies(self.signature, self.signed.as_bytes()) {
            return None;
        }
        self.claims.into_token(issuer, key.id.clone())
    }
}

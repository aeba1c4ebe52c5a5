//! Public keys of tenants: what verifies a JWT of ours.

use std::fmt;

use jsonwebtoken::{DecodingKey, jwk::Jwk};

use crate::text::KeyId;

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Algorithm {
    #[n(0)]
    EdDsa,
    #[n(1)]
    Es256,
    #[n(2)]
    Rs256,
    #[n(3)]
    Ps256,
}

/// A public key, ready for use.
pub struct PublicKey {
    pub id: KeyId,
    pub algorithm: Algorithm,
    key: DecodingKey,
}

/// A JWK that is no public key.
#[derive(Debug)]
pub struct Malformed;

// === impl PublicKey ===

impl PublicKey {
    /// The key of a JWK (RFC 7517), which signs by `algorithm` alone.
    pub fn from_jwk(id: KeyId, algorithm: Algorithm, jwk: &Jwk) -> Result<Self, Malformed> {
        let key = DecodingKey::from_jwk(jwk).map_err(|_| Malformed)?;
        Ok(Self { id, algorithm, key })
    }

    /// Whether `signature`, in base64url, is this key's of `message`.
    pub fn verifies(&self, signature: &str, message: &[u8]) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.key, self.algorithm.jsonwebtoken()).unwrap_or(false)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

// === impl Algorithm ===

impl Algorithm {
    /// The name in JWT headers and JWKs (RFC 7518 §3.1, RFC 8037 §3.1).
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    /// The same algorithm as the JWT library calls it.
    pub const fn jsonwebtoken(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed public key")
    }
}

impl std::error::Error for Malformed {}

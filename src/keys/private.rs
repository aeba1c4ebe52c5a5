//! Private halves of signing keys: made, parsed and signed with.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
        RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jeton_core::public_key::Algorithm;
use jsonwebtoken::EncodingKey;
use zeroize::Zeroizing;

/// A key pair, ready to sign.
pub enum Pair {
    EdDsa(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

/// A signing key could not be made, sealed, opened or used.
#[derive(Debug)]
pub struct KeyFault(&'static str);

/// The private half of a new key, as PKCS#8. RSA takes some 100 ms of CPU.
pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
    let fault = |_| KeyFault("generate a signing key");
    let random = SystemRandom::new();
    match algorithm {
        // Version 1, without the public key: the only form of which jsonwebtoken makes a JWK.
        Algorithm::EdDsa => Ok(Ed25519KeyPair::generate_pkcs8v1(&random).map_err(fault)?.as_ref().to_vec().into()),
        Algorithm::Es256 => {
            let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(fault)?;
            Ok(document.as_ref().to_vec().into())
        }
        Algorithm::Rs256 | Algorithm::Ps256 => {
            let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).map_err(fault)?;
            let der: Pkcs8V1Der<'_> = pair.as_der().map_err(fault)?;
            Ok(der.as_ref().to_vec().into())
        }
    }
}

/// The same for jsonwebtoken, which derives the public half of it.
pub fn encoding_key(algorithm: Algorithm, pkcs8: &[u8]) -> Result<EncodingKey, KeyFault> {
    match algorithm {
        Algorithm::EdDsa => Ok(EncodingKey::from_ed_der(pkcs8)),
        Algorithm::Es256 => Ok(EncodingKey::from_ec_der(pkcs8)),
        // The DER constructor wants PKCS#1; the PEM one takes PKCS#8.
        Algorithm::Rs256 | Algorithm::Ps256 => {
            let body = Zeroizing::new(STANDARD.encode(pkcs8));
            let pem =
                Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", body.as_str()));
            EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| KeyFault("read a new RSA key"))
        }
    }
}

// === impl Pair ===

impl Pair {
    pub fn parse(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyFault> {
        let fault = |_| KeyFault("parse a signing key");
        match algorithm {
            Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8(pkcs8).map(Self::EdDsa).map_err(fault),
            Algorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map(Self::Es256).map_err(fault)
            }
            Algorithm::Rs256 => Ok(Self::Rsa(RsaKeyPair::from_pkcs8(pkcs8).map_err(fault)?, &RSA_PKCS1_SHA256)),
            Algorithm::Ps256 => Ok(Self::Rsa(RsaKeyPair::from_pkcs8(pkcs8).map_err(fault)?, &RSA_PSS_SHA256)),
        }
    }

    /// Signs a message. RSA takes about 1 ms of CPU, the others tens of microseconds.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let fault = |_| KeyFault("sign a token");
        match self {
            Self::EdDsa(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Self::Es256(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(fault)?.as_ref().to_vec()),
            Self::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), message, &mut signature).map_err(fault)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

// === impl KeyFault ===

impl KeyFault {
    pub(super) const fn new(attempted: &'static str) -> Self {
        Self(attempted)
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for KeyFault {}

impl From<KeyFault> for crate::error::Error {
    fn from(fault: KeyFault) -> Self {
        Self::internal("use a signing key").with_source(fault)
    }
}

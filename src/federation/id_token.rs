//! Whether an ID token is the provider's and meant for us (OpenID Connect Core §3.1.3.7).

use std::time::Duration;

use jeton_core::Time;
use jsonwebtoken::{Algorithm, jwk::Jwk};
use openidconnect::{
    AccessToken, AccessTokenHash, ClientId, IssuerUrl, Nonce,
    core::{
        CoreIdToken, CoreIdTokenClaims, CoreIdTokenVerifier, CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm,
    },
};
use serde_json::Value;

use crate::error::Source;

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a IssuerUrl,
    pub(super) client_id: &'a str,
    /// `None`: there was none, and whatever the token has is ignored.
    pub(super) nonce: Option<&'a str>,
    /// The one that came with it.
    pub(super) access_token: &'a AccessToken,
    pub(super) now: Time,
}

/// Public keys only. With a shared secret, everybody who knows it could sign in as anybody.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// How far the provider's clock may be ahead of ours.
const MAX_SKEW: Duration = Duration::from_secs(60);
/// How old a token may be that was made for a code just now.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The id, if it has one, and the algorithm of the key that signed, as the token says. `None`: in no way that is ours,
/// as `none`.
pub(super) fn key_of(token: &CoreIdToken) -> Option<(Option<String>, Algorithm)> {
    let header = jsonwebtoken::decode_header(token.to_string()).ok()?;
    Some((header.kid, header.alg))
}

/// The same key as the OpenID Connect library has it.
pub(super) fn convert(key: &Jwk) -> Option<CoreJsonWebKey> {
    serde_json::from_value(serde_json::to_value(key).ok()?).ok()
}

/// Whether it is the ID token that keeps a token reply from being read.
pub(super) fn is_malformed_in(reply: &[u8]) -> bool {
    let reply: Option<Value> = serde_json::from_slice(reply).ok();
    let text = reply.as_ref().and_then(|reply| reply.get("id_token")?.as_str());
    text.is_some_and(|text| text.parse::<CoreIdToken>().is_err())
}

/// The token's claims, if one of `keys` signed it and it says what it must.
pub(super) fn verify<'a>(
    token: &'a CoreIdToken,
    keys: CoreJsonWebKeySet,
    expected: &Expected<'_>,
) -> Result<&'a CoreIdTokenClaims, Source> {
    let now = expected.now;
    let client_id = ClientId::new(expected.client_id.to_owned());
    // A public client's verifier, so that there is no secret to verify anything with.
    let verifier = CoreIdTokenVerifier::new_public_client(client_id.clone(), expected.issuer.clone(), keys)
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(|| now.system().into())
        .set_issue_time_verifier_fn(|issued| is_recent(issued.timestamp(), now));
    let nonce = |found: Option<&Nonce>| match expected.nonce {
        Some(nonce) if found.is_none_or(|found| found.secret() != nonce) => Err("it is another one".to_owned()),
        Some(_) | None => Ok(()),
    };
    let claims = token.claims(&verifier, nonce)?;
    // The library takes no view of it.
    if claims.authorized_party().is_some_and(|party| *party != client_id) {
        return Err("the authorized party is another client".into());
    }
    if let Some(hash) = claims.access_token_hash() {
        let key = token.signing_key(&verifier)?;
        if AccessTokenHash::from_token(expected.access_token, token.signing_alg()?, key)? != *hash {
            return Err("the access token is another one".into());
        }
    }
    Ok(claims)
}

/// Whether `issued`, in seconds since the epoch, can be the time of a token that was made just now.
fn is_recent(issued: i64, now: Time) -> Result<(), String> {
    let issued = Time::from_secs(u64::try_from(issued).unwrap_or_default());
    if issued > now.plus(MAX_SKEW) {
        Err("it was issued in the future".to_owned())
    } else if now.since(issued) > MAX_AGE {
        Err("it was issued long ago".to_owned())
    } else {
        Ok(())
    }
}

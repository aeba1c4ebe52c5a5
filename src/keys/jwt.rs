//! Writing of our JWTs. [`jeton_core::jwt`] reads them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton_core::{AccessToken, claims::Claims};

use super::{private::KeyFault, signing::SigningKey};

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

impl KeyFault {
    const CLAIMS: Self = Self::new("write a token's claims");
}

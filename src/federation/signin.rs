//! What a sign-in is between: a provider, what a person presents, and the person that the provider describes.

use std::ops::Deref;

use jeton_core::secret::SecretText;
use openidconnect::LocalizedClaim;

/// A provider, and this service's registration there.
#[derive(Clone, Debug)]
pub struct Provider {
    /// As the provider writes it in `iss`; compared byte by byte.
    pub issuer: String,
    pub client_id: String,
    /// `None`: a public client.
    pub client_secret: Option<SecretText>,
    /// Where codes may have been sent to; compared byte by byte.
    pub redirect_uris: Vec<String>,
    /// The scopes that codes are requested with.
    pub scopes: Vec<String>,
}

/// What a person presents after signing in with the provider.
pub struct Login<'a> {
    /// Good for one use.
    pub code: &'a str,
    /// The one that the code was requested with.
    pub redirect_uri: &'a str,
    /// The verifier of the S256 challenge (RFC 7636).
    pub code_verifier: &'a str,
    /// The one that the code was requested with, if there was one.
    pub nonce: Option<&'a str>,
}

/// A person, as the provider describes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedIdentity {
    pub issuer: String,
    /// Identifies the person within the issuer, for ever. No other field does.
    pub subject: String,
    pub email: Option<String>,
    /// Whether the provider knows that the e-mail address is the person's.
    pub email_verified: bool,
    pub name: Option<String>,
    pub given_name: Option<String>,
    pub family_name: Option<String>,
}

/// The claim without a language tag.
pub(super) fn plain<T: Deref<Target = String>>(claim: Option<&LocalizedClaim<T>>) -> Option<String> {
    Some(claim?.get(None)?.to_string())
}

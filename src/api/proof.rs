//! How a call authenticates its caller: by a bearer token, or by the credentials in its message.

use std::{mem, sync::Arc};

use jeton_contract::reason::Reason;
use jeton_core::secret::SecretText;

use super::{convert::given, edge::Admitted, wire};
use crate::{
    error::{Error, Result},
    issuer::authenticate::{Proof, Recognized},
};

/// The client authentication in a message.
#[derive(Debug)]
pub(super) struct Credentials {
    client_id: String,
    client_secret: SecretText,
    client_assertion: SecretText,
}

/// A message that may carry client authentication.
pub(super) trait CarriesCredentials {
    /// Takes the credentials out, so that the same request with other credentials compares equal.
    fn take_credentials(&mut self) -> Credentials;
}

macro_rules! carries_credentials {
    ($($message:ident)*) => {$(
        impl CarriesCredentials for wire::$message {
            fn take_credentials(&mut self) -> Credentials {
                Credentials {
                    client_id: mem::take(&mut self.client_id),
                    client_secret: SecretText::new(mem::take(&mut self.client_secret)),
                    client_assertion: SecretText::new(mem::take(&mut self.client_assertion)),
                }
            }
        }
    )*};
}

carries_credentials! {
    IssueTokenRequest RenewTokenRequest RevokeTokenRequest InvalidateTokensRequest IntrospectTokenRequest
    BatchIntrospectTokensRequest AuthenticateMemberRequest RequestOneTimePasswordRequest
}

/// The proof that a call brings, if any: its bearer, or the credentials of its message.
pub(super) fn of(admitted: &Admitted<Recognized>, credentials: Credentials) -> Result<Option<Proof>> {
    match bearer(admitted) {
        Some(_) if !credentials.is_empty() => {
            Err(ambiguous("client_id", "a bearer token and client authentication exclude each other"))
        }
        Some(bearer) => Ok(Some(bearer)),
        None => credentials.proof(admitted.identities.as_ref()),
    }
}

/// The proof that an IssueToken brings: a workload's own token is one, and the only one.
pub(super) fn of_issue(
    admitted: &Admitted<Recognized>,
    message: &mut wire::IssueTokenRequest,
) -> Result<Option<Proof>> {
    let credentials = message.take_credentials();
    let Some(wire::issue_token_request::Grant::Workload(workload)) = &mut message.grant else {
        return of(admitted, credentials);
    };
    if admitted.caller.is_some() || !credentials.is_empty() {
        return Err(ambiguous("workload", "a workload's own token excludes a bearer token and client authentication"));
    }
    // Taken out, so that the same request with a renewed workload token compares equal.
    let jwt = SecretText::new(mem::take(&mut workload.jwt));
    Ok(Some(Proof::Workload { tenant: given(&message.tenant_id).map(str::to_owned), jwt }))
}

/// The bearer of a call, if it brings one.
pub(super) fn bearer(admitted: &Admitted<Recognized>) -> Option<Proof> {
    admitted.caller.clone().map(Proof::Bearer)
}

// === impl Credentials ===

impl Credentials {
    pub fn is_empty(&self) -> bool {
        let Self { client_id, client_secret, client_assertion } = self;
        [client_id, client_secret.expose(), client_assertion.expose()].iter().all(|text| text.is_empty())
    }

    /// The proof by these credentials, if there are any. A client id alone is proved by the names in the connection's
    /// certificate.
    fn proof(self, identities: Option<&Arc<[String]>>) -> Result<Option<Proof>> {
        if self.is_empty() {
            return Ok(None);
        }
        let Self { client_id, client_secret, client_assertion } = self;
        match (client_secret.expose().is_empty(), client_assertion.expose().is_empty()) {
            (false, false) => {
                Err(ambiguous("client_assertion", "a client's secret and an assertion of it exclude each other"))
            }
            (true, false) => {
                Ok(Some(Proof::Assertion { id: given(&client_id).map(str::to_owned), assertion: client_assertion }))
            }
            (_, true) if client_id.is_empty() => Err(Error::field("client_id", "must be set with client_secret")),
            (false, true) => Ok(Some(Proof::Client { id: client_id, secret: client_secret })),
            (true, true) => Ok(Some(match identities {
                Some(identities) => Proof::Certificate { id: client_id, identities: Arc::clone(identities) },
                // An empty secret is refused as a wrong one.
                None => Proof::Client { id: client_id, secret: client_secret },
            })),
        }
    }
}

fn ambiguous(field: &str, message: &'static str) -> Error {
    Error::new(Reason::AmbiguousCredentials, message).with_violation(field, message)
}

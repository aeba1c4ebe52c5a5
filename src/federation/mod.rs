//! Signing people in with their own identity provider: OpenID Connect, as a relying party.
//!
//! Promises: an identity is returned only if the provider redeemed the code for this client, this redirect URI and this
//! verifier (RFC 7636), and signed an ID token of this issuer, for this client alone, that is valid now. All faults of
//! what a person presented are one error without details; all faults of the provider are another.
//!
//! Invariant: knows nothing of members and profiles, stores nothing about a person, and calls others only through
//! [`Outbound`]. Start reading at [`RelyingParty::authenticate`].

mod discovery;
mod error;
mod id_token;
mod pkce;
mod remote;
mod signin;

use std::{fmt, sync::Arc, time::Duration};

use openidconnect::{
    OAuth2TokenResponse as _, RedirectUrl, TokenResponse as _,
    core::{CoreIdToken, CoreIdTokenClaims, CoreJsonWebKeySet},
};
pub use signin::{Login, Provider, VerifiedIdentity};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use self::{
    discovery::Endpoints,
    error::{refused, unavailable},
    remote::Remote,
    signin::plain,
};
use crate::{
    ambient::Clock,
    error::Result,
    outbound::{Outbound, documents::Documents, jwks::JwksCache},
};

/// Signs people in with identity providers. One for each process: it caches what the providers publish.
pub struct RelyingParty {
    outbound: Arc<Outbound>,
    key_sets: Arc<JwksCache>,
    endpoints: Documents<Endpoints>,
    clock: Clock,
}

/// The scope that gives the e-mail address (OpenID Connect Core §5.4).
const EMAIL: &str = "email";
/// The part of a call's time that is kept for its reply, so that a slow provider is distinguished from a late caller.
const REPLY_MARGIN: Duration = Duration::from_millis(100);
/// The longest `sub` (OpenID Connect Core §2).
const MAX_SUBJECT_LEN: usize = 255;

// === impl RelyingParty ===

impl RelyingParty {
    pub fn new(outbound: Arc<Outbound>, key_sets: Arc<JwksCache>, clock: Clock, tasks: TaskTracker) -> Self {
        let endpoints = Documents::new(discovery::DISCOVERY, Arc::clone(&outbound), clock.clone(), tasks);
        Self { outbound, key_sets, endpoints, clock }
    }

    /// Redeems a code and returns the person whose it was. The code is used up even if this fails or is dropped.
    ///
    /// Ends before `deadline`, the deadline of the call.
    ///
    /// # Errors
    /// INVALID_CREDENTIALS if what the person presented or the ID token is not valid; IDENTITY_PROVIDER_UNAVAILABLE if the
    /// provider did not answer in time, broke the protocol, or does not know this client.
    pub async fn authenticate(
        &self,
        provider: &Provider,
        login: &Login<'_>,
        deadline: Instant,
    ) -> Result<VerifiedIdentity> {
        let redirect_uri = redirect_uri(provider, login)?;
        if !pkce::is_verifier(login.code_verifier) {
            return Err(refused("the code verifier is malformed"));
        }
        let deadline = deadline.checked_sub(REPLY_MARGIN).unwrap_or(deadline);
        match timeout_at(deadline, self.redeem(provider, login, redirect_uri, deadline)).await {
            Ok(identity) => identity,
            Err(_) => Err(unavailable("the call's deadline passed")),
        }
    }

    async fn redeem(
        &self,
        provider: &Provider,
        login: &Login<'_>,
        redirect_uri: RedirectUrl,
        deadline: Instant,
    ) -> Result<VerifiedIdentity> {
        let endpoints = self.endpoints(&provider.issuer).await?;
        let remote = Remote { outbound: &self.outbound, provider, endpoints: &endpoints, deadline };
        let answer = remote.exchange(login, redirect_uri).await?;
        let token = answer.id_token().ok_or_else(|| unavailable("the token reply has no ID token"))?;
        let expected = id_token::Expected {
            issuer: &endpoints.issuer,
            client_id: &provider.client_id,
            nonce: login.nonce,
            access_token: answer.access_token(),
            now: self.clock.now(),
        };
        let claims = self.claims(&endpoints, token, &expected).await?;
        let mut identity = identity(claims)?;
        if identity.email.is_none() && provider.scopes.iter().any(|scope| scope == EMAIL) {
            remote.add_email(answer.access_token(), &mut identity).await?;
        }
        Ok(identity)
    }

    /// The provider's discovery document.
    async fn endpoints(&self, issuer: &str) -> Result<Arc<Endpoints>> {
        let url = discovery::url(issuer).ok_or_else(|| unavailable("the issuer is no URL"))?;
        let endpoints = self.endpoints.get(&url, |endpoints| endpoints.issuer.as_str() == issuer).await;
        let endpoints = endpoints.map_err(unavailable)?;
        if endpoints.issuer.as_str() == issuer {
            Ok(endpoints)
        } else {
            // Another issuer's tokens would pass as this issuer's (OpenID Connect Discovery §4.3).
            Err(unavailable("the discovery document is another issuer's"))
        }
    }

    /// The claims of a token that is the provider's and meant for us.
    async fn claims<'a>(
        &self,
        endpoints: &Endpoints,
        token: &'a CoreIdToken,
        expected: &id_token::Expected<'_>,
    ) -> Result<&'a CoreIdTokenClaims> {
        let (kid, algorithm) =
            id_token::key_of(token).ok_or_else(|| refused("the ID token's algorithm is not ours"))?;
        let keys = self.key_sets.keys(&endpoints.keys, kid.as_deref()).await.map_err(unavailable)?;
        let keys = keys.find(kid.as_deref(), algorithm).filter_map(id_token::convert).collect();
        id_token::verify(token, CoreJsonWebKeySet::new(keys), expected).map_err(refused)
    }
}

impl fmt::Debug for RelyingParty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelyingParty").field("outbound", &self.outbound).finish_non_exhaustive()
    }
}

/// The code and the verifier are as good as a password.
impl fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("redirect_uri", &self.redirect_uri).finish_non_exhaustive()
    }
}

/// The redirect URI, if it is one of the registered ones.
fn redirect_uri(provider: &Provider, login: &Login<'_>) -> Result<RedirectUrl> {
    if provider.redirect_uris.iter().any(|registered| registered == login.redirect_uri) {
        RedirectUrl::new(login.redirect_uri.to_owned()).map_err(refused)
    } else {
        Err(refused("the redirect URI is not registered"))
    }
}

fn identity(claims: &CoreIdTokenClaims) -> Result<VerifiedIdentity> {
    let subject = claims.subject().to_string();
    if subject.is_empty() || subject.len() > MAX_SUBJECT_LEN {
        return Err(refused("the subject is empty or too long"));
    }
    Ok(VerifiedIdentity {
        issuer: claims.issuer().to_string(),
        subject,
        email: claims.email().map(|email| email.to_string()),
        email_verified: claims.email().is_some() && claims.email_verified().unwrap_or(false),
        name: plain(claims.name()),
        given_name: plain(claims.given_name()),
        family_name: plain(claims.family_name()),
    })
}

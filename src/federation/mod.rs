//! Signing people in with an identity provider of theirs: OpenID Connect, as a relying party.
//!
//! Promises: an identity is returned only if the provider redeemed the code for this client, this redirect URI and this
//! verifier (RFC 7636), and signed an ID token of this issuer, for this client alone, that holds now. Whatever is wrong
//! with what a person brought is one error that does not tell what; whatever is wrong with the provider is another.
//!
//! Invariant: knows nothing of members and profiles, keeps nothing of a person, and calls nobody but through
//! [`Outbound`]. Start reading at [`RelyingParty::authenticate`].

mod discovery;
mod id_token;
mod pkce;

use std::{fmt, ops::Deref, pin::Pin, sync::Arc, time::Duration};

use openidconnect::{
    AccessToken, AuthType, AuthorizationCode, ClientId, ClientSecret, EmptyAdditionalClaims, HttpRequest, HttpResponse,
    OAuth2TokenResponse as _, PkceCodeVerifier, RedirectUrl, RequestTokenError, SubjectIdentifier, TokenResponse as _,
    UserInfoClaims, UserInfoError,
    core::{
        CoreClient, CoreErrorResponseType, CoreGenderClaim, CoreIdToken, CoreIdTokenClaims, CoreJsonWebKeySet,
        CoreRequestTokenError, CoreTokenResponse,
    },
};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::{
    ambient::Clock,
    outbound::{self, MAX_BODY_BYTES, Outbound, documents::Documents, jwks::JwksCache},
    token::{
        error::{Error, Reason, Result, Source},
        secret::SecretText,
    },
};
use discovery::Endpoints;

/// Signs people in with identity providers. One for each process: it remembers what the providers published.
pub struct RelyingParty {
    outbound: Arc<Outbound>,
    key_sets: Arc<JwksCache>,
    endpoints: Documents<Endpoints>,
    clock: Clock,
}

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
    /// What codes are asked for with.
    pub scopes: Vec<String>,
}

/// What a person brings from the provider.
pub struct Login<'a> {
    /// Good for one use.
    pub code: &'a str,
    /// The one that the code was asked for with.
    pub redirect_uri: &'a str,
    /// What the challenge was made of, by S256.
    pub code_verifier: &'a str,
    /// The one that the code was asked for with, if there was one.
    pub nonce: Option<&'a str>,
}

/// Who a person is, as the provider says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedIdentity {
    pub issuer: String,
    /// The person, for ever, within the issuer. Nothing else here identifies anybody.
    pub subject: String,
    pub email: Option<String>,
    /// Whether the provider knows that the e-mail address is the person's.
    pub email_verified: bool,
    pub name: Option<String>,
    pub given_name: Option<String>,
    pub family_name: Option<String>,
}

/// A request under way.
type Sent = Pin<Box<dyn Future<Output = outbound::Result<HttpResponse>> + Send>>;

/// The scope that gives the e-mail address (OpenID Connect Core §5.4).
const EMAIL: &str = "email";
/// What is left of a call's time for its reply, so that a slow provider is told from a late caller.
const REPLY_MARGIN: Duration = Duration::from_millis(100);
/// The longest `sub` (OpenID Connect Core §2).
const MAX_SUBJECT_LEN: usize = 255;

// === impl RelyingParty ===

impl RelyingParty {
    pub fn new(outbound: Arc<Outbound>, key_sets: Arc<JwksCache>, clock: Clock, tasks: TaskTracker) -> Self {
        let endpoints = Documents::new(discovery::KIND, Arc::clone(&outbound), clock.clone(), tasks);
        Self { outbound, key_sets, endpoints, clock }
    }

    /// Redeems a code and returns whose it was. A code is used up even if this fails, or is dropped, on the way.
    ///
    /// Ends before `deadline`, the deadline of the call.
    ///
    /// # Errors
    /// INVALID_CREDENTIALS for whatever the person brought or the ID token says; IDENTITY_PROVIDER_UNAVAILABLE if the
    /// provider did not answer in time, or not as it must, or does not know this client.
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
        let answer = self.exchange(provider, &endpoints, login, redirect_uri, deadline).await?;
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
            self.add_email(provider, &endpoints, answer.access_token(), &mut identity, deadline).await?;
        }
        Ok(identity)
    }

    /// What the provider published about itself.
    async fn endpoints(&self, issuer: &str) -> Result<Arc<Endpoints>> {
        let url = discovery::url(issuer).ok_or_else(|| unavailable("the issuer is no URL"))?;
        let endpoints = self.endpoints.get(&url, |endpoints| endpoints.issuer.as_str() == issuer).await;
        let endpoints = endpoints.map_err(unavailable)?;
        if endpoints.issuer.as_str() == issuer {
            Ok(endpoints)
        } else {
            // Somebody else's tokens would pass as this issuer's (OpenID Connect Discovery §4.3).
            Err(unavailable("the discovery document is another issuer's"))
        }
    }

    /// Sends what the library asks for. It borrows nothing: else the compiler could not tell that what awaits it is `Send`.
    fn http(&self, deadline: Instant) -> impl Fn(HttpRequest) -> Sent + Send + Sync + 'static {
        let outbound = Arc::clone(&self.outbound);
        move |request| {
            let outbound = Arc::clone(&outbound);
            Box::pin(async move { outbound.send(request, MAX_BODY_BYTES, deadline).await })
        }
    }

    /// Gives the code for tokens (RFC 6749 §4.1.3).
    async fn exchange(
        &self,
        provider: &Provider,
        endpoints: &Endpoints,
        login: &Login<'_>,
        redirect_uri: RedirectUrl,
        deadline: Instant,
    ) -> Result<CoreTokenResponse> {
        let auth_type = endpoints
            .auth_type
            .clone()
            .ok_or_else(|| unavailable("the provider takes neither client_secret_basic nor client_secret_post"))?;
        let client = client(provider, endpoints, auth_type)
            .set_token_uri(endpoints.token.clone())
            .set_redirect_uri(redirect_uri);
        let http = self.http(deadline);
        let answer = client
            .exchange_code(AuthorizationCode::new(login.code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(login.code_verifier.to_owned()))
            .request_async(&http)
            .await;
        answer.map_err(not_redeemed)
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

    /// Asks the provider for the e-mail address, which many do not put into the ID token.
    async fn add_email(
        &self,
        provider: &Provider,
        endpoints: &Endpoints,
        access_token: &AccessToken,
        identity: &mut VerifiedIdentity,
        deadline: Instant,
    ) -> Result<()> {
        let Some(url) = endpoints.user_info.clone() else { return Ok(()) };
        // The library panics on a token that does not fit into a header.
        if !access_token.secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unavailable("the access token is malformed"));
        }
        let client = client(provider, endpoints, AuthType::BasicAuth).set_user_info_url(url);
        let subject = SubjectIdentifier::new(identity.subject.clone());
        let http = self.http(deadline);
        let answer = client.user_info(access_token.clone(), Some(subject)).request_async(&http).await;
        let claims: UserInfoClaims<EmptyAdditionalClaims, CoreGenderClaim> = answer.map_err(no_user_info)?;
        identity.email = claims.email().map(|email| email.to_string());
        identity.email_verified = claims.email_verified().unwrap_or(false);
        identity.name = identity.name.take().or_else(|| plain(claims.name()));
        identity.given_name = identity.given_name.take().or_else(|| plain(claims.given_name()));
        identity.family_name = identity.family_name.take().or_else(|| plain(claims.family_name()));
        Ok(())
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

fn client(provider: &Provider, endpoints: &Endpoints, auth_type: AuthType) -> CoreClient {
    // Without keys: they are looked up when the token has told which it needs.
    let client = CoreClient::new(
        ClientId::new(provider.client_id.clone()),
        endpoints.issuer.clone(),
        CoreJsonWebKeySet::new(Vec::new()),
    );
    match &provider.client_secret {
        Some(secret) => {
            client.set_client_secret(ClientSecret::new(secret.expose().to_owned())).set_auth_type(auth_type)
        }
        None => client.set_auth_type(AuthType::RequestBody),
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

/// The claim in no language in particular.
fn plain<T: Deref<Target = String>>(claim: Option<&openidconnect::LocalizedClaim<T>>) -> Option<String> {
    Some(claim?.get(None)?.to_string())
}

// === errors ===

/// Says nothing of what was wrong to the caller, who may be guessing.
fn refused(why: impl Into<Source>) -> Error {
    Error::new(Reason::InvalidCredentials, "the credentials are not valid").with_source(why)
}

fn unavailable(why: impl Into<Source>) -> Error {
    let message = "the identity provider did not answer in time, or not as it must";
    Error::new(Reason::IdentityProviderUnavailable, message).with_source(why)
}

/// What it means that the code was not redeemed. What the provider says is not repeated: it may hold anything.
fn not_redeemed(error: CoreRequestTokenError<outbound::Error>) -> Error {
    match error {
        RequestTokenError::ServerResponse(said) => {
            use CoreErrorResponseType::{InvalidClient, InvalidGrant, InvalidRequest, UnauthorizedClient};
            if matches!(said.error(), InvalidGrant | InvalidRequest) {
                refused("the provider did not take the code")
            } else if matches!(said.error(), InvalidClient | UnauthorizedClient) {
                unavailable("the provider does not know this client, or not by this secret")
            } else {
                unavailable("the provider answered with an error that is no judgement of the code")
            }
        }
        RequestTokenError::Request(error) => unavailable(error),
        RequestTokenError::Parse(_, body) if id_token::is_malformed_in(&body) => refused("the ID token cannot be read"),
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => unavailable("the token reply cannot be read"),
    }
}

fn no_user_info(error: UserInfoError<outbound::Error>) -> Error {
    match error {
        UserInfoError::Request(error) => unavailable(error),
        UserInfoError::ClaimsVerification(error) => refused(error),
        // Without what the provider said.
        UserInfoError::Parse(_) | UserInfoError::Response(..) | UserInfoError::Other(_) | _ => {
            unavailable("the user info cannot be used")
        }
    }
}

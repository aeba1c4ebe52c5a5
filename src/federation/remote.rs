//! Calls to one provider: the code for tokens, and the access token for the person's claims.

use std::{pin::Pin, sync::Arc};

use openidconnect::{
    AccessToken, AuthType, AuthorizationCode, ClientId, ClientSecret, EmptyAdditionalClaims, HttpRequest, HttpResponse,
    PkceCodeVerifier, RedirectUrl, SubjectIdentifier, UserInfoClaims,
    core::{CoreClient, CoreGenderClaim, CoreJsonWebKeySet, CoreTokenResponse},
};
use tokio::time::Instant;

use super::{
    discovery::Endpoints,
    error::{no_user_info, not_redeemed, unavailable},
    signin::{Login, Provider, VerifiedIdentity, plain},
};
use crate::{
    error::Result,
    outbound,
    outbound::{MAX_BODY_BYTES, Outbound},
};

/// A provider as it is called during one sign-in.
#[derive(Debug)]
pub(super) struct Remote<'a> {
    pub(super) outbound: &'a Arc<Outbound>,
    pub(super) provider: &'a Provider,
    pub(super) endpoints: &'a Endpoints,
    pub(super) deadline: Instant,
}

/// A request that was sent.
type Sent = Pin<Box<dyn Future<Output = outbound::Result<HttpResponse>> + Send>>;

// === impl Remote ===

impl Remote<'_> {
    /// Exchanges the code for tokens (RFC 6749 §4.1.3).
    pub(super) async fn exchange(&self, login: &Login<'_>, redirect_uri: RedirectUrl) -> Result<CoreTokenResponse> {
        let auth_type = self
            .endpoints
            .auth_type
            .clone()
            .ok_or_else(|| unavailable("the provider takes neither client_secret_basic nor client_secret_post"))?;
        let client = self.client(auth_type).set_token_uri(self.endpoints.token.clone()).set_redirect_uri(redirect_uri);
        let http = self.http();
        let answer = client
            .exchange_code(AuthorizationCode::new(login.code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(login.code_verifier.to_owned()))
            .request_async(&http)
            .await;
        answer.map_err(not_redeemed)
    }

    /// Asks the provider for the e-mail address, which many do not put into the ID token.
    pub(super) async fn add_email(&self, access_token: &AccessToken, identity: &mut VerifiedIdentity) -> Result<()> {
        let Some(url) = self.endpoints.user_info.clone() else { return Ok(()) };
        // The library panics on a token that does not fit into a header.
        if !access_token.secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unavailable("the access token is malformed"));
        }
        let client = self.client(AuthType::BasicAuth).set_user_info_url(url);
        let subject = SubjectIdentifier::new(identity.subject.clone());
        let http = self.http();
        let answer = client.user_info(access_token.clone(), Some(subject)).request_async(&http).await;
        let claims: UserInfoClaims<EmptyAdditionalClaims, CoreGenderClaim> = answer.map_err(no_user_info)?;
        identity.email = claims.email().map(|email| email.to_string());
        identity.email_verified = claims.email_verified().unwrap_or(false);
        identity.name = identity.name.take().or_else(|| plain(claims.name()));
        identity.given_name = identity.given_name.take().or_else(|| plain(claims.given_name()));
        identity.family_name = identity.family_name.take().or_else(|| plain(claims.family_name()));
        Ok(())
    }

    /// Sends requests of the library. It borrows nothing: otherwise the compiler could not prove that a future that awaits
    /// it is `Send`.
    fn http(&self) -> impl Fn(HttpRequest) -> Sent + Send + Sync + 'static {
        let (outbound, deadline) = (Arc::clone(self.outbound), self.deadline);
        move |request| {
            let outbound = Arc::clone(&outbound);
            Box::pin(async move { outbound.send(request, MAX_BODY_BYTES, deadline).await })
        }
    }

    /// The library's client, which authenticates itself by `auth_type`.
    fn client(&self, auth_type: AuthType) -> CoreClient {
        // Without keys: they are looked up when the token has named the one that it needs.
        let client = CoreClient::new(
            ClientId::new(self.provider.client_id.clone()),
            self.endpoints.issuer.clone(),
            CoreJsonWebKeySet::new(Vec::new()),
        );
        match &self.provider.client_secret {
            Some(secret) => {
                client.set_client_secret(ClientSecret::new(secret.expose().to_owned())).set_auth_type(auth_type)
            }
            None => client.set_auth_type(AuthType::RequestBody),
        }
    }
}

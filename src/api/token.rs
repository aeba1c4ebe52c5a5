//! TokenService.

use jeton_core::Position;
use tonic::{Request, async_trait};

use super::{
    Services,
    batch::EncodedResponse,
    call::{Call, Reply, reply},
    convert::{
        self,
        access_token::{self, Frozen},
        given, issue, revoke, signin,
    },
    wire::{self, token_service_server::TokenService},
};
use crate::{
    error::{Error, Result},
    issuer::{list, renew},
    notation::filter::Filter,
};

#[async_trait]
impl TokenService for Services {
    async fn issue_token(&self, request: Request<wire::IssueTokenRequest>) -> Reply<wire::IssueTokenResponse> {
        let (call, message, repeat) = self.enter_repeatable(request)?;
        let wanted = issue::request(message, repeat)?;
        let issued = call.with_issuer(move |issuer, act| async move { issuer.issue(&act, &wanted).await }).await?;
        reply(access_token::issue_response(issued, self.now()))
    }

    async fn renew_token(&self, request: Request<wire::RenewTokenRequest>) -> Reply<wire::RenewTokenResponse> {
        let (call, message) = self.enter(request)?;
        let wanted = renew::Request { refresh_token: message.refresh_token, scopes: message.scopes };
        let issued = call.with_issuer(move |issuer, act| async move { issuer.renew(&act, &wanted).await }).await?;
        reply(access_token::renew_response(issued, self.now()))
    }

    async fn revoke_token(&self, request: Request<wire::RevokeTokenRequest>) -> Reply<wire::RevokeTokenResponse> {
        let (call, message) = self.enter(request)?;
        let position = revoke_target(call, message.target).await?;
        reply(wire::RevokeTokenResponse { position: convert::position(position) })
    }

    async fn invalidate_tokens(
        &self,
        request: Request<wire::InvalidateTokensRequest>,
    ) -> Reply<wire::InvalidateTokensResponse> {
        let (call, message) = self.enter(request)?;
        let (access, refresh) = (convert::set(message.access_token), convert::set(message.refresh_token));
        let done = call.visit(move |issuer, visit| async move {
            issuer.invalidate(&visit, access.as_deref(), refresh.as_deref()).await
        });
        reply(revoke::invalidated(done.await?))
    }

    async fn revoke_all_tokens(
        &self,
        request: Request<wire::RevokeAllTokensRequest>,
    ) -> Reply<wire::RevokeAllTokensResponse> {
        let (call, message) = self.enter(request)?;
        let target = revoke::target(message.target)?;
        let position = call
            .with_issuer(move |issuer, act| async move { issuer.revoke_all(&act, &target, message.keep_current).await })
            .await?;
        reply(wire::RevokeAllTokensResponse { position: convert::position(position) })
    }

    async fn introspect_token(
        &self,
        request: Request<wire::IntrospectTokenRequest>,
    ) -> Reply<wire::IntrospectTokenResponse> {
        let (call, message) = self.enter(request)?;
        let freshness = access_token::freshness(message.consistency(), &message.min_position)?;
        let answers = call.with_issuer_at(freshness, move |issuer, act| async move {
            issuer.introspect(&act, freshness, &[message.token], given(&message.account_id)).await
        });
        reply(access_token::introspect_response(&answers.await?)?)
    }

    async fn batch_introspect_tokens(
        &self,
        request: Request<wire::BatchIntrospectTokensRequest>,
    ) -> Reply<wire::BatchIntrospectTokensResponse> {
        // Calls that come over the wire go past the generated code, to `batch` itself.
        let encoded = self.batch(request).await?.into_inner();
        reply(encoded.decode()?)
    }

    async fn get_token(&self, request: Request<wire::GetTokenRequest>) -> Reply<wire::GetTokenResponse> {
        let (call, message) = self.enter(request)?;
        let found =
            call.with_issuer(move |issuer, act| async move { issuer.token(&act, &message.token_id).await }).await?;
        reply(wire::GetTokenResponse { token: Some(access_token::listed(&found)) })
    }

    async fn list_tokens(&self, request: Request<wire::ListTokensRequest>) -> Reply<wire::ListTokensResponse> {
        let (call, message, paging) = self.enter_list(request)?;
        let (owner, filter) = (access_token::owner(message.subject)?, Filter::parse(&message.filter, list::FIELDS)?);
        let page = call
            .list_with_issuer(paging, move |issuer, act, page| async move {
                issuer.list(&act, &owner, &filter, &page).await
            })
            .await?;
        reply(wire::ListTokensResponse {
            tokens: page.items.iter().map(access_token::listed).collect(),
            next_page_token: page.next,
        })
    }

    async fn get_caller(&self, request: Request<wire::GetCallerRequest>) -> Reply<wire::GetCallerResponse> {
        let (call, wire::GetCallerRequest {}) = self.enter(request)?;
        let (token, issuer, authority) =
            call.with_issuer(|issuer, act| async move { issuer.bearer(&act).await }).await?;
        let caller = access_token::active(&token, &issuer, authority.as_deref(), Frozen::Include)?;
        reply(wire::GetCallerResponse { caller: Some(caller) })
    }

    async fn authenticate_member(
        &self,
        request: Request<wire::AuthenticateMemberRequest>,
    ) -> Reply<wire::AuthenticateMemberResponse> {
        let (call, message) = self.enter(request)?;
        let wanted = signin::request(message, call.deadline)?;
        let signed_in = call.with_issuer(move |issuer, act| async move { issuer.sign_in(&act, &wanted).await }).await?;
        reply(signin::response(signed_in, self.now()))
    }

    async fn request_one_time_password(
        &self,
        request: Request<wire::RequestOneTimePasswordRequest>,
    ) -> Reply<wire::RequestOneTimePasswordResponse> {
        let (call, message) = self.enter(request)?;
        let wanted = signin::code_request(message);
        let sent = call.with_issuer(move |issuer, act| async move {
            issuer.request_code(&act, &wanted).await.map(|()| act.head())
        });
        reply(wire::RequestOneTimePasswordResponse { position: convert::position(sent.await?) })
    }

    async fn list_signing_keys(
        &self,
        request: Request<wire::ListSigningKeysRequest>,
    ) -> Reply<wire::ListSigningKeysResponse> {
        let (call, message) = self.enter(request)?;
        let listed = call.visit(move |_, visit| async move { visit.public_keys(&message.tenant_id).await });
        let (keys, max_age) = listed.await?;
        reply(wire::ListSigningKeysResponse {
            keys: keys.iter().map(convert::jwk).collect::<Result<_>>()?,
            max_age: Some(convert::duration(max_age)),
        })
    }
}

impl Services {
    /// BatchIntrospectTokens.
    pub(super) async fn batch(&self, request: Request<wire::BatchIntrospectTokensRequest>) -> Reply<EncodedResponse> {
        let (call, message) = self.enter(request)?;
        let freshness = access_token::freshness(message.consistency(), &message.min_position)?;
        let frozen = if message.include_options { Frozen::Include } else { Frozen::LeaveOut };
        let answers = call.with_issuer_at(freshness, move |issuer, act| async move {
            issuer.introspect(&act, freshness, &message.tokens, given(&message.account_id)).await
        });
        let answers = answers.await?;
        let introspections = answers.iter().map(|answer| access_token::encoded_introspection(answer, frozen));
        reply(EncodedResponse { introspections: introspections.collect::<Result<_>>()? })
    }
}

/// Possession of a token suffices to revoke it, but credentials that are shown must be right; by its id, only a caller
/// that may do so revokes it.
async fn revoke_target(call: Call, target: Option<wire::revoke_token_request::Target>) -> Result<Position> {
    use wire::revoke_token_request::Target;
    match target {
        Some(Target::Token(text)) => {
            call.visit(move |issuer, visit| async move { issuer.revoke(&visit, &text).await }).await
        }
        Some(Target::TokenId(id)) => {
            call.with_issuer(move |issuer, act| async move { issuer.revoke_by_id(&act, &id).await }).await
        }
        None => Err(Error::field("target", "must be set")),
    }
}

//! TokenService.

use prost::Message as _;
use tonic::{Request, Response, Status, async_trait};

use super::{
    Services,
    access_token::{self, Frozen},
    batch::EncodedResponse,
    convert::{self, answer, given},
    signin,
    wire::{self, token_service_server::TokenService},
};
use crate::{
    issuer::{
        authenticate::Freshness,
        issue::{self, Grant, Lifetime},
        list::{self, ListSubject},
        renew,
        revoke::{Outcome, Target},
    },
    token::{Error, Position, Result, access::SessionId, filter::Filter},
};

type Reply<T> = Result<Response<T>, Status>;

#[async_trait]
impl TokenService for Services {
    async fn issue_token(&self, request: Request<wire::IssueTokenRequest>) -> Reply<wire::IssueTokenResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let request = issue_request(message)?;
            let issued = call.act(move |issuer, act| async move { issuer.issue(&act, &request).await });
            let (token, position) = access_token::issued(issued.await?, self.now());
            Ok(wire::IssueTokenResponse { token: Some(token), position })
        })
        .await
    }

    async fn renew_token(&self, request: Request<wire::RenewTokenRequest>) -> Reply<wire::RenewTokenResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let request = renew::Request { refresh_token: message.refresh_token, scopes: message.scopes };
            let issued = call.act(move |issuer, act| async move { issuer.renew(&act, &request).await });
            let (token, position) = access_token::issued(issued.await?, self.now());
            Ok(wire::RenewTokenResponse { token: Some(token), position })
        })
        .await
    }

    async fn revoke_token(&self, request: Request<wire::RevokeTokenRequest>) -> Reply<wire::RevokeTokenResponse> {
        answer(async {
            use wire::revoke_token_request::Target;
            let (call, message) = self.enter(request)?;
            let position = match message.target {
                // Possession suffices, but credentials that are shown must be right.
                Some(Target::Token(text)) => {
                    call.visit(move |issuer, visit| async move { issuer.revoke(&visit, &text).await }).await?
                }
                Some(Target::TokenId(id)) => {
                    call.act(move |issuer, act| async move { issuer.revoke_by_id(&act, &id).await }).await?
                }
                None => return Err(Error::field("target", "must be set")),
            };
            Ok(wire::RevokeTokenResponse { position: convert::position(position) })
        })
        .await
    }

    async fn invalidate_tokens(
        &self,
        request: Request<wire::InvalidateTokensRequest>,
    ) -> Reply<wire::InvalidateTokensResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let done = call.visit(move |issuer, visit| async move {
                let (access, refresh) = (given(&message.access_token), given(&message.refresh_token));
                issuer.invalidate(&visit, access, refresh).await
            });
            let (access, refresh, position) = done.await?;
            Ok(wire::InvalidateTokensResponse {
                access_token: outcome(access).into(),
                refresh_token: outcome(refresh).into(),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn revoke_all_tokens(
        &self,
        request: Request<wire::RevokeAllTokensRequest>,
    ) -> Reply<wire::RevokeAllTokensResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let target = revoke_target(message.target)?;
            let position = call
                .act(move |issuer, act| async move { issuer.revoke_all(&act, &target, message.keep_current).await });
            Ok(wire::RevokeAllTokensResponse { position: convert::position(position.await?) })
        })
        .await
    }

    async fn introspect_token(
        &self,
        request: Request<wire::IntrospectTokenRequest>,
    ) -> Reply<wire::IntrospectTokenResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let freshness = freshness(message.consistency(), &message.min_position)?;
            let answers = call.act_at(freshness, move |issuer, act| async move {
                issuer.introspect(&act, freshness, &[message.token], given(&message.account_id)).await
            });
            let answers = answers.await?;
            let answer = answers.first().ok_or_else(|| Error::internal("answer about one token"))?;
            Ok(wire::IntrospectTokenResponse {
                introspection: Some(access_token::introspection(answer, Frozen::Include)?),
            })
        })
        .await
    }

    async fn batch_introspect_tokens(
        &self,
        request: Request<wire::BatchIntrospectTokensRequest>,
    ) -> Reply<wire::BatchIntrospectTokensResponse> {
        // Calls that come over the wire go past the generated code, to `batch` itself.
        let encoded = self.batch(request).await?.into_inner().introspections;
        answer(async {
            let introspections = encoded.into_iter().map(wire::Introspection::decode).collect::<Result<_, _>>();
            let failed = |source| Error::internal("read an encoded introspection").with_source(source);
            Ok(wire::BatchIntrospectTokensResponse { introspections: introspections.map_err(failed)? })
        })
        .await
    }

    async fn get_token(&self, request: Request<wire::GetTokenRequest>) -> Reply<wire::GetTokenResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let found = call.act(move |issuer, act| async move { issuer.token(&act, &message.token_id).await });
            Ok(wire::GetTokenResponse { token: Some(access_token::listed(&found.await?)) })
        })
        .await
    }

    async fn list_tokens(&self, request: Request<wire::ListTokensRequest>) -> Reply<wire::ListTokensResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let (kind, subject) = list_subject(message.subject)?;
            let filter = Filter::parse(&message.filter, list::FIELDS)?;
            let listed = call.act(move |issuer, act| async move {
                let query = ["ListTokens", kind, subject.slot(), &message.filter];
                let page = issuer.directory.page(&act, message.page_size, &message.page_token, &query)?;
                issuer.list(&act, &subject, &filter, &page).await
            });
            let page = listed.await?;
            Ok(wire::ListTokensResponse {
                tokens: page.items.iter().map(access_token::listed).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }

    async fn get_caller(&self, request: Request<wire::GetCallerRequest>) -> Reply<wire::GetCallerResponse> {
        answer(async {
            let (call, wire::GetCallerRequest {}) = self.enter(request)?;
            let known = call.act(|issuer, act| async move { issuer.bearer(&act).await });
            let (token, issuer, authority) = known.await?;
            let caller = access_token::active(&token, &issuer, authority.as_deref(), Frozen::Include)?;
            Ok(wire::GetCallerResponse { caller: Some(caller) })
        })
        .await
    }

    async fn authenticate_member(
        &self,
        request: Request<wire::AuthenticateMemberRequest>,
    ) -> Reply<wire::AuthenticateMemberResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let request = signin::request(message, call.deadline)?;
            let signed_in = call.act(move |issuer, act| async move { issuer.sign_in(&act, &request).await });
            Ok(signin::response(signed_in.await?, self.now()))
        })
        .await
    }

    async fn request_one_time_password(
        &self,
        request: Request<wire::RequestOneTimePasswordRequest>,
    ) -> Reply<wire::RequestOneTimePasswordResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let request = signin::code_request(message);
            let position = call
                .act(move |issuer, act| async move { issuer.request_code(&act, &request).await.map(|()| act.head()) });
            Ok(wire::RequestOneTimePasswordResponse { position: convert::position(position.await?) })
        })
        .await
    }

    async fn list_signing_keys(
        &self,
        request: Request<wire::ListSigningKeysRequest>,
    ) -> Reply<wire::ListSigningKeysResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let listed = call.visit(move |issuer, visit| async move {
                issuer.directory.public_keys(&visit, &message.tenant_id).await
            });
            let (keys, max_age) = listed.await?;
            Ok(wire::ListSigningKeysResponse {
                keys: keys.iter().map(convert::jwk).collect::<Result<_>>()?,
                max_age: Some(convert::duration(max_age)),
            })
        })
        .await
    }
}

impl Services {
    /// BatchIntrospectTokens.
    pub(super) async fn batch(&self, request: Request<wire::BatchIntrospectTokensRequest>) -> Reply<EncodedResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let freshness = freshness(message.consistency(), &message.min_position)?;
            let frozen = if message.include_options { Frozen::Include } else { Frozen::LeaveOut };
            let answers = call.act_at(freshness, move |issuer, act| async move {
                issuer.introspect(&act, freshness, &message.tokens, given(&message.account_id)).await
            });
            let answers = answers.await?;
            let introspections = answers.iter().map(|answer| access_token::encoded_introspection(answer, frozen));
            Ok(EncodedResponse { introspections: introspections.collect::<Result<_>>()? })
        })
        .await
    }
}

fn list_subject(subject: Option<wire::list_tokens_request::Subject>) -> Result<(&'static str, ListSubject)> {
    use wire::list_tokens_request::Subject;
    match subject {
        Some(Subject::AccountId(slot)) => Ok(("account", ListSubject::Account(slot))),
        Some(Subject::ClientId(slot)) => Ok(("client", ListSubject::Client(slot))),
        Some(Subject::MemberId(slot)) => Ok(("member", ListSubject::Member(slot))),
        Some(Subject::EntityGroupId(slot)) => Ok(("group", ListSubject::Group(slot))),
        None => Err(Error::field("subject", "must be set")),
    }
}

fn issue_request(mut message: wire::IssueTokenRequest) -> Result<issue::Request> {
    use wire::issue_token_request::{Grant as WireGrant, Lifetime as WireLifetime};
    let request_id = std::mem::take(&mut message.request_id);
    let repeat = convert::repeat(&request_id, "IssueToken", &message)?;
    let format = signin::format(message.format());
    let lifetime = match message.lifetime {
        None => Lifetime::Default,
        Some(WireLifetime::Ttl(ttl)) => signin::ttl(ttl)?,
        Some(WireLifetime::ExpiresIn(text)) => signin::expires_in(&text)?,
        Some(WireLifetime::Never(_)) => Lifetime::Never,
    };
    let tenant = given(&message.tenant_id).map(str::to_owned);
    let grant = match message.grant {
        Some(WireGrant::ClientCredentials(wire::ClientCredentialsGrant {})) => Grant::ClientCredentials { tenant },
        Some(WireGrant::Account(account)) => Grant::Account(account.account_id),
        Some(WireGrant::Member(wire::MemberGrant { member_id, account_id })) => {
            Grant::Member { member: member_id, account: given(&account_id).map(str::to_owned) }
        }
        Some(WireGrant::EntityGroup(wire::EntityGroupGrant { entity_group_id, member_id })) => {
            Grant::EntityGroup { group: entity_group_id, member: given(&member_id).map(str::to_owned) }
        }
        // Its token was the proof of who calls.
        Some(WireGrant::Workload(wire::WorkloadGrant { .. })) => Grant::Workload { tenant },
        Some(WireGrant::TokenExchange(exchange)) => Grant::TokenExchange {
            subject: exchange.subject_token,
            actor: Some(exchange.actor_token).filter(|text| !text.is_empty()),
        },
        None => return Err(Error::field("grant", "must be set")),
    };
    let (options, claims) = signin::frozen(message.options.as_ref(), message.claims.as_ref())?;
    Ok(issue::Request {
        grant,
        scopes: message.scopes,
        audience: message.audience,
        lifetime,
        session: given(&message.session_id).map(SessionId::new),
        options,
        claims,
        format,
        refresh: message.include_refresh_token,
        repeat,
    })
}

fn revoke_target(target: Option<wire::revoke_all_tokens_request::Target>) -> Result<Target> {
    use wire::revoke_all_tokens_request::{Target as Wire, TenantTarget};
    match target {
        Some(Wire::Account(account)) => {
            Ok(Target::Account { slot: account.account_id, descendants: account.include_descendants })
        }
        Some(Wire::ClientId(client)) => Ok(Target::Client(client)),
        Some(Wire::MemberId(member)) => Ok(Target::Member(member)),
        Some(Wire::EntityGroupId(group)) => Ok(Target::Group(group)),
        Some(Wire::Sessions(sessions)) => Ok(Target::Sessions(sessions.session_ids)),
        Some(Wire::Tenant(TenantTarget {})) => Ok(Target::Tenant),
        None => Err(Error::field("target", "must be set")),
    }
}

fn freshness(level: wire::ConsistencyLevel, min_position: &str) -> Result<Freshness> {
    let parse =
        |text: &str| text.parse::<Position>().map_err(|_| Error::field("min_position", "must be 20 hex digits"));
    let min = given(min_position).map(parse).transpose()?;
    Ok(match level {
        wire::ConsistencyLevel::Unspecified | wire::ConsistencyLevel::Full => Freshness::Full { min },
        wire::ConsistencyLevel::Bounded => Freshness::Bounded { min },
    })
}

const fn outcome(outcome: Option<Outcome>) -> wire::invalidate_tokens_response::Outcome {
    use wire::invalidate_tokens_response::Outcome as Wire;
    match outcome {
        None => Wire::Unspecified,
        Some(Outcome::Invalidated) => Wire::Invalidated,
        Some(Outcome::Unrecognized) => Wire::Unrecognized,
    }
}

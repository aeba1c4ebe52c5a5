//! TokenService.

use prost::Message as _;
use tonic::{Request, Response, Status, async_trait};

use super::{
    Services,
    batch::EncodedResponse,
    convert::{self, CarriesCredentials as _, Frozen, answer, given},
    edge::{open, run_to_end},
    signin,
    wire::{self, token_service_server::TokenService},
};
use crate::{
    directory::page::PageRequest,
    issuer::{
        authenticate::{FULL, Freshness, Proof},
        issue::{self, Grant, Lifetime},
        list::{self, ListSubject},
        renew,
        revoke::{Outcome, Target},
    },
    token::{Error, Position, Reason, Result, access::SessionId, filter::Filter},
};

type Reply<T> = Result<Response<T>, Status>;

#[async_trait]
impl TokenService for Services {
    async fn issue_token(&self, request: Request<wire::IssueTokenRequest>) -> Reply<wire::IssueTokenResponse> {
        answer(async {
            let (admitted, mut message) = open(request)?;
            let proof = convert::proof_of_issue(&admitted, &mut message)?;
            let request = issue_request(message)?;
            let issuer = self.issuer();
            let issued = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                issuer.issue(&call, &request).await
            });
            let (token, position) = convert::issued(issued.await?, self.now());
            Ok(wire::IssueTokenResponse { token: Some(token), position })
        })
        .await
    }

    async fn renew_token(&self, request: Request<wire::RenewTokenRequest>) -> Reply<wire::RenewTokenResponse> {
        answer(async {
            let (admitted, mut message) = open(request)?;
            let proof = convert::proof(&admitted, message.take_credentials())?;
            let request = renew::Request { refresh_token: message.refresh_token, scopes: message.scopes };
            let issuer = self.issuer();
            let issued = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                issuer.renew(&call, &request).await
            });
            let (token, position) = convert::issued(issued.await?, self.now());
            Ok(wire::RenewTokenResponse { token: Some(token), position })
        })
        .await
    }

    async fn revoke_token(&self, request: Request<wire::RevokeTokenRequest>) -> Reply<wire::RevokeTokenResponse> {
        answer(async {
            use wire::revoke_token_request::Target;
            let (admitted, mut message) = open(request)?;
            let proof = convert::proof_if_any(&admitted, message.take_credentials())?;
            let issuer = self.issuer();
            let position = run_to_end(async move {
                match (message.target, proof) {
                    (Some(Target::Token(text)), None) => issuer.revoke(&text).await,
                    // Possession suffices, but credentials that are shown must be right.
                    (Some(Target::Token(text)), Some(proof)) => {
                        issuer.prove(&proof, FULL).await?;
                        issuer.revoke(&text).await
                    }
                    (Some(Target::TokenId(id)), Some(proof)) => {
                        let call = issuer.prove(&proof, FULL).await?;
                        issuer.revoke_by_id(&call, given(&message.tenant_id), &id).await
                    }
                    (Some(Target::TokenId(_)), None) => Err(Error::new(
                        Reason::TokenMissing,
                        "revoking by id needs a bearer token or client authentication",
                    )),
                    (None, _) => Err(Error::field("target", "must be set")),
                }
            });
            Ok(wire::RevokeTokenResponse { position: convert::position(position.await?) })
        })
        .await
    }

    async fn invalidate_tokens(
        &self,
        request: Request<wire::InvalidateTokensRequest>,
    ) -> Reply<wire::InvalidateTokensResponse> {
        answer(async {
            let (admitted, mut message) = open(request)?;
            let proof = convert::proof_if_any(&admitted, message.take_credentials())?;
            let issuer = self.issuer();
            let done = run_to_end(async move {
                if let Some(proof) = proof {
                    issuer.prove(&proof, FULL).await?;
                }
                issuer.invalidate(given(&message.access_token), given(&message.refresh_token)).await
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
            let (admitted, message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let target = revoke_target(message.target)?;
            let issuer = self.issuer();
            let position = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                issuer.revoke_all(&call, given(&message.tenant_id), &target, message.keep_current).await
            });
            Ok(wire::RevokeAllTokensResponse { position: convert::position(position.await?) })
        })
        .await
    }

    async fn introspect_token(
        &self,
        request: Request<wire::IntrospectTokenRequest>,
    ) -> Reply<wire::IntrospectTokenResponse> {
        answer(async {
            let (admitted, mut message) = open(request)?;
            let proof = convert::proof(&admitted, message.take_credentials())?;
            let freshness = freshness(message.consistency(), &message.min_position)?;
            let answers =
                self.issuer.introspect(&proof, freshness, &[message.token], given(&message.account_id)).await?;
            let answer = answers.first().ok_or_else(|| Error::internal("answer about one token"))?;
            Ok(wire::IntrospectTokenResponse { introspection: Some(convert::introspection(answer, Frozen::Include)?) })
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
            let (admitted, message) = open(request)?;
            let call = self.issuer.prove(&convert::bearer(&admitted)?, FULL).await?;
            let listed = self.issuer.token(&call, given(&message.tenant_id), &message.token_id).await?;
            Ok(wire::GetTokenResponse { token: Some(convert::listed(&listed)) })
        })
        .await
    }

    async fn list_tokens(&self, request: Request<wire::ListTokensRequest>) -> Reply<wire::ListTokensResponse> {
        answer(async {
            use wire::list_tokens_request::Subject;
            let (admitted, message) = open(request)?;
            let call = self.issuer.prove(&convert::bearer(&admitted)?, FULL).await?;
            let (kind, subject) = match message.subject {
                Some(Subject::AccountId(slot)) => ("account", ListSubject::Account(slot)),
                Some(Subject::ClientId(slot)) => ("client", ListSubject::Client(slot)),
                Some(Subject::MemberId(slot)) => ("member", ListSubject::Member(slot)),
                Some(Subject::EntityGroupId(slot)) => ("group", ListSubject::Group(slot)),
                None => return Err(Error::field("subject", "must be set")),
            };
            let (ListSubject::Account(slot)
            | ListSubject::Client(slot)
            | ListSubject::Member(slot)
            | ListSubject::Group(slot)) = &subject;
            let query = ["ListTokens", &message.tenant_id, kind, slot, &message.filter].map(str::as_bytes);
            let ring = &self.issuer.directory.ring;
            let page = PageRequest::new(message.page_size, &message.page_token, &call.caller, &query, ring)?;
            let filter = Filter::parse(&message.filter, list::FIELDS)?;
            let page = self.issuer.list(&call, given(&message.tenant_id), &subject, &filter, &page).await?;
            Ok(wire::ListTokensResponse {
                tokens: page.items.iter().map(convert::listed).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }

    async fn get_caller(&self, request: Request<wire::GetCallerRequest>) -> Reply<wire::GetCallerResponse> {
        answer(async {
            let (admitted, wire::GetCallerRequest {}) = open(request)?;
            let call = self.issuer.prove(&convert::bearer(&admitted)?, FULL).await?;
            let missing = || Error::new(Reason::TokenMissing, "a bearer token is needed");
            let token = call.caller.token.as_ref().ok_or_else(missing)?;
            let issuer = self.issuer.directory.issuer(&token.tenant);
            let authority = self.issuer.directory.authority_of(&token.tenant, &token.subject, None).await?;
            let caller = convert::active(token, &issuer, authority.as_deref(), Frozen::Include)?;
            Ok(wire::GetCallerResponse { caller: Some(caller) })
        })
        .await
    }

    async fn authenticate_member(
        &self,
        request: Request<wire::AuthenticateMemberRequest>,
    ) -> Reply<wire::AuthenticateMemberResponse> {
        answer(async {
            let (admitted, mut message) = open(request)?;
            let proof = convert::proof(&admitted, message.take_credentials())?;
            let request = signin::request(message, admitted.deadline)?;
            let issuer = self.issuer();
            let signed_in = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                issuer.sign_in(&call, &request).await
            });
            Ok(signin::response(signed_in.await?, self.now()))
        })
        .await
    }

    async fn request_one_time_password(
        &self,
        request: Request<wire::RequestOneTimePasswordRequest>,
    ) -> Reply<wire::RequestOneTimePasswordResponse> {
        answer(async {
            let (admitted, mut message) = open(request)?;
            let proof = convert::proof(&admitted, message.take_credentials())?;
            let request = signin::code_request(message);
            let issuer = self.issuer();
            let position = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                issuer.request_code(&call, &request).await.map(|()| call.head)
            });
            Ok(wire::RequestOneTimePasswordResponse { position: convert::position(position.await?) })
        })
        .await
    }

    async fn list_signing_keys(
        &self,
        request: Request<wire::ListSigningKeysRequest>,
    ) -> Reply<wire::ListSigningKeysResponse> {
        answer(async {
            let (admitted, message) = open(request)?;
            let own = match convert::bearer_if_any(&admitted) {
                Some(Proof::Bearer(recognized)) => recognized.caller.tenant.to_string(),
                Some(
                    Proof::Client { .. } | Proof::Assertion { .. } | Proof::Certificate { .. } | Proof::Workload { .. },
                )
                | None => crate::directory::DEFAULT.to_owned(),
            };
            let requested = given(&message.tenant_id).unwrap_or(&own);
            let (keys, max_age) = self.issuer.directory.public_keys(requested).await?;
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
            let (admitted, mut message) = open(request)?;
            let proof = convert::proof(&admitted, message.take_credentials())?;
            let freshness = freshness(message.consistency(), &message.min_position)?;
            let frozen = if message.include_options { Frozen::Include } else { Frozen::LeaveOut };
            let answers =
                self.issuer.introspect(&proof, freshness, &message.tokens, given(&message.account_id)).await?;
            let introspections = answers.iter().map(|answer| convert::encoded_introspection(answer, frozen));
            Ok(EncodedResponse { introspections: introspections.collect::<Result<_>>()? })
        })
        .await
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
    let grant = match message.grant {
        Some(WireGrant::ClientCredentials(wire::ClientCredentialsGrant {})) => Grant::ClientCredentials,
        Some(WireGrant::Account(account)) => Grant::Account(account.account_id),
        Some(WireGrant::Member(wire::MemberGrant { member_id, account_id })) => {
            Grant::Member { member: member_id, account: given(&account_id).map(str::to_owned) }
        }
        Some(WireGrant::EntityGroup(wire::EntityGroupGrant { entity_group_id, member_id })) => {
            Grant::EntityGroup { group: entity_group_id, member: given(&member_id).map(str::to_owned) }
        }
        // Its token was the proof of who calls.
        Some(WireGrant::Workload(wire::WorkloadGrant { .. })) => Grant::Workload,
        Some(WireGrant::TokenExchange(exchange)) => Grant::TokenExchange {
            subject: exchange.subject_token,
            actor: Some(exchange.actor_token).filter(|text| !text.is_empty()),
        },
        None => return Err(Error::field("grant", "must be set")),
    };
    let (options, claims) = signin::frozen(message.options.as_ref(), message.claims.as_ref())?;
    Ok(issue::Request {
        tenant: given(&message.tenant_id).map(str::to_owned),
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

//! What a [`World`] sends: its requests, and the tokens that they are about.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jeton::api::wire::{self, issue_token_request::Grant};

use super::{
    Result,
    load::{Shape, Work},
    message::{self, Client, Message},
    world::{NAMED, SCOPES, TENANT, World},
};

/// Calls in flight while tokens are made.
const MAKERS: usize = 32;

// === impl World ===

impl World {
    /// The client's own token.
    pub(super) fn issue_own(&self, format: wire::TokenFormat) -> wire::IssueTokenRequest {
        let request = credentials(&self.client_id, &self.client_secret, &[]);
        wire::IssueTokenRequest { format: format.into(), ..request }
    }

    /// The same as a form and the header that goes with it.
    pub(super) fn issue_own_over_http(&self) -> (&'static str, String) {
        let pair = format!("{}:{}", self.client_id, self.client_secret);
        ("grant_type=client_credentials", format!("Basic {}", STANDARD.encode(pair)))
    }

    /// A token for an account.
    pub(super) fn issue_for(&self, account: &str, format: wire::TokenFormat) -> wire::IssueTokenRequest {
        let grant = Grant::Account(wire::AccountGrant { account_id: account.to_owned() });
        wire::IssueTokenRequest {
            tenant_id: TENANT.into(),
            grant: Some(grant),
            scopes: SCOPES.map(str::to_owned).into(),
            format: format.into(),
            ..wire::IssueTokenRequest::default()
        }
    }

    /// A token for the member in the account.
    pub(super) fn issue_for_member(&self) -> wire::IssueTokenRequest {
        let member = wire::MemberGrant { member_id: NAMED.into(), account_id: self.account_id.clone() };
        wire::IssueTokenRequest { grant: Some(Grant::Member(member)), ..self.issue_for("", wire::TokenFormat::Jwt) }
    }

    /// A token for the member in the group.
    pub(super) fn issue_for_group_member(&self) -> wire::IssueTokenRequest {
        let group = wire::EntityGroupGrant { entity_group_id: NAMED.into(), member_id: NAMED.into() };
        wire::IssueTokenRequest { grant: Some(Grant::EntityGroup(group)), ..self.issue_for("", wire::TokenFormat::Jwt) }
    }

    /// Issues `count` tokens and returns them with their refresh tokens, if any.
    pub(super) async fn tokens(
        &self,
        request: &wire::IssueTokenRequest,
        count: usize,
    ) -> Result<Vec<(String, String)>> {
        let own = matches!(request.grant, Some(Grant::ClientCredentials(_)));
        let bearer = (!own).then_some(&self.bearer);
        let mut made = Vec::with_capacity(count);
        let mut lanes = tokio::task::JoinSet::new();
        let clients = Shape::WIDE.connect(&self.service.address).await?;
        for lane in 0..MAKERS {
            let mut client: Client = clients[lane % clients.len()].clone();
            let (request, bearer) = (request.clone(), bearer.cloned());
            let share = count / MAKERS + usize::from(lane < count % MAKERS);
            lanes.spawn(async move {
                let mut made = Vec::with_capacity(share);
                for _ in 0..share {
                    let reply = Message::Issue(request.clone().into()).send(&mut client, bearer.as_ref()).await?;
                    made.push((reply.access_token, reply.refresh_token));
                }
                Ok::<_, super::Failure>(made)
            });
        }
        while let Some(lane) = lanes.join_next().await {
            made.extend(lane??);
        }
        Ok(made)
    }

    /// Introspections of tokens that the service has seen once, and of an account besides unless that is empty.
    pub(super) async fn introspections(
        &self,
        request: &wire::IssueTokenRequest,
        count: usize,
        consistency: wire::ConsistencyLevel,
        account: &str,
    ) -> Result<Arc<Work>> {
        let tokens = self.tokens(request, count).await?;
        let messages: Vec<Message> = tokens
            .into_iter()
            .map(|(token, _)| {
                Message::Introspect(wire::IntrospectTokenRequest {
                    token,
                    consistency: consistency.into(),
                    account_id: account.to_owned(),
                    ..wire::IntrospectTokenRequest::default()
                })
            })
            .collect();
        let mut client = message::connect(&self.service.address).await?;
        for message in &messages {
            message.clone().send(&mut client, Some(&self.bearer)).await?;
        }
        Ok(Work::cycle(Some(self.bearer.clone()), messages))
    }

    /// Renewals of so many families.
    pub(super) async fn renewals(&self, request: wire::IssueTokenRequest, count: usize) -> Result<Arc<Work>> {
        let request = wire::IssueTokenRequest { include_refresh_token: true, ..request };
        let tokens = self.tokens(&request, count).await?.into_iter().map(|(_, refresh)| refresh).collect();
        let client = (self.client_id.clone(), self.client_secret.clone());
        Ok(Work::renewals(client, tokens))
    }
}

pub(super) fn credentials(client: &str, secret: &str, scopes: &[&str]) -> wire::IssueTokenRequest {
    wire::IssueTokenRequest {
        client_id: client.into(),
        client_secret: secret.into(),
        grant: Some(Grant::ClientCredentials(wire::ClientCredentialsGrant {})),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        ..wire::IssueTokenRequest::default()
    }
}

//! What a service needs before its calls can be counted: a client, its bearer token, tokens; all made by calls.

use jeton_contract::wire::{
    self, client_service_client::ClientServiceClient, issue_token_request::Grant, revoke_token_request::Target,
};
use prost::Message as _;
use tokio::task::JoinSet;

use super::{
    Failure, Result,
    calls::{Bearer, Call, Connection, Shape, channel, connect, with},
    servers::{ADMIN, Server},
};

/// A service with a client in the tenant `default`.
#[derive(Debug)]
pub(super) struct World {
    pub(super) server: Server,
    client_id: String,
    client_secret: String,
    /// Of the client, with the scopes that introspect, revoke and list.
    pub(super) bearer: Bearer,
}

const TENANT: &str = "default";
/// What tokens are issued with.
const SCOPES: [&str; 3] = ["invoices.read", "invoices.write", "orders.read"];
const MANAGEMENT: [&str; 4] =
    ["jeton.tokens.issue", "jeton.tokens.introspect", "jeton.tokens.revoke", "jeton.clients.read"];
/// More clients than one page has.
const CLIENTS: usize = 60;
/// Tokens that are introspected in turn.
const TOKENS: usize = 64;
/// Longer than any run, because the bearer is never renewed.
const TOKEN_TTL_SECS: i64 = 86_400;

// === impl World ===

impl World {
    pub(super) async fn make(server: Server) -> Result<Self> {
        let mut connection = connect(&server.address).await?;
        let admin = bearer(&mut connection, credentials(ADMIN.0, ADMIN.1, &[])).await?;
        let client = wire::Client {
            display_name: "budget".into(),
            allowed_grants: vec![wire::GrantType::ClientCredentials.into()],
            allowed_scopes: SCOPES.iter().chain(&MANAGEMENT).map(ToString::to_string).collect(),
            default_scopes: SCOPES.map(str::to_owned).into(),
            introspects: vec!["*".into()],
            token_ttl: Some(prost_types::Duration { seconds: TOKEN_TTL_SECS, nanos: 0 }),
            renewal_policy: wire::RenewalPolicy::Always.into(),
            ..wire::Client::default()
        };
        let mut clients = ClientServiceClient::new(channel(&server.address).await?);
        let mut made = wire::CreateClientResponse::default();
        for _ in 0..CLIENTS {
            let (tenant_id, client) = (TENANT.into(), Some(client.clone()));
            let request = wire::CreateClientRequest { tenant_id, client, ..Default::default() };
            made = clients.create_client(with(request, Some(&admin))).await?.into_inner();
        }
        let client_id = made.client.unwrap_or_default().client_id;
        let own = credentials(&client_id, &made.client_secret, &MANAGEMENT);
        let bearer = bearer(&mut connection, own).await?;
        Ok(Self { server, client_id, client_secret: made.client_secret, bearer })
    }

    /// Introspections of tokens that the service has seen once.
    pub(super) async fn introspections(&self, format: wire::TokenFormat, count: usize) -> Result<Vec<Call>> {
        let tokens = self.tokens(&self.issue(format), TOKENS).await?;
        let request = |(token, _)| wire::IntrospectTokenRequest { token, ..Default::default() };
        let calls: Vec<Call> = tokens.into_iter().map(request).map(Call::Introspect).collect();
        super::calls::block(&[connect(&self.server.address).await?], Shape::SINGLE, &calls, Some(&self.bearer)).await?;
        Ok(calls.into_iter().cycle().take(count).collect())
    }

    /// A reply to an introspection, for the echo.
    pub(super) async fn introspection(&self) -> Result<Vec<u8>> {
        let tokens = self.tokens(&self.issue(wire::TokenFormat::Jwt), 1).await?;
        let token = tokens.into_iter().next().map(|(token, _)| token).unwrap_or_default();
        let request = wire::IntrospectTokenRequest { token, ..Default::default() };
        let mut connection = connect(&self.server.address).await?;
        let reply = connection.tokens.introspect_token(with(request, Some(&self.bearer))).await?;
        Ok(reply.into_inner().encode_to_vec())
    }

    pub(super) fn issues(&self, format: wire::TokenFormat, count: usize) -> Vec<Call> {
        vec![Call::Issue(self.issue(format).into()); count]
    }

    /// Renewals, each of a family of its own.
    pub(super) async fn renewals(&self, count: usize) -> Result<Vec<Call>> {
        let request = wire::IssueTokenRequest { include_refresh_token: true, ..self.issue(wire::TokenFormat::Jwt) };
        let renewal = |(_, refresh_token)| {
            let (client_id, client_secret) = (self.client_id.clone(), self.client_secret.clone());
            Call::Renew(wire::RenewTokenRequest { client_id, client_secret, refresh_token, ..Default::default() })
        };
        Ok(self.tokens(&request, count).await?.into_iter().map(renewal).collect())
    }

    pub(super) async fn revocations(&self, count: usize) -> Result<Vec<Call>> {
        let revocation = |(token, _)| {
            Call::Revoke(wire::RevokeTokenRequest { target: Some(Target::Token(token)), ..Default::default() })
        };
        Ok(self.tokens(&self.issue(wire::TokenFormat::Jwt), count).await?.into_iter().map(revocation).collect())
    }

    /// Batches of `size` tokens.
    pub(super) async fn batches(&self, size: usize, count: usize) -> Result<Vec<Call>> {
        let tokens = self.tokens(&self.issue(wire::TokenFormat::Jwt), size).await?;
        let tokens = tokens.into_iter().map(|(token, _)| token).collect();
        let batch = Call::Batch(wire::BatchIntrospectTokensRequest { tokens, ..Default::default() });
        Ok(vec![batch; count])
    }

    pub(super) fn lists(count: usize) -> Vec<Call> {
        let request = wire::ListClientsRequest { tenant_id: TENANT.into(), ..Default::default() };
        vec![Call::ListClients(request); count]
    }

    fn issue(&self, format: wire::TokenFormat) -> wire::IssueTokenRequest {
        let request = credentials(&self.client_id, &self.client_secret, &[]);
        wire::IssueTokenRequest { format: format.into(), ..request }
    }

    /// Issues `count` tokens and returns them with their refresh tokens, if any.
    async fn tokens(&self, request: &wire::IssueTokenRequest, count: usize) -> Result<Vec<(String, String)>> {
        let connection = connect(&self.server.address).await?;
        let mut lanes = JoinSet::new();
        let lanes_count = Shape::WIDE.in_flight;
        for lane in 0..lanes_count {
            let (mut connection, request) = (connection.clone(), request.clone());
            let share = count / lanes_count + usize::from(lane < count % lanes_count);
            lanes.spawn(async move {
                let mut made = Vec::with_capacity(share);
                for _ in 0..share {
                    let token = connection.tokens.issue_token(request.clone()).await?.into_inner().token;
                    let token = token.unwrap_or_default();
                    made.push((token.access_token, token.refresh_token));
                }
                Ok::<_, Failure>(made)
            });
        }
        let mut made = Vec::with_capacity(count);
        while let Some(lane) = lanes.join_next().await {
            made.extend(lane??);
        }
        Ok(made)
    }
}

async fn bearer(connection: &mut Connection, request: wire::IssueTokenRequest) -> Result<Bearer> {
    let issued = connection.tokens.issue_token(request).await?.into_inner();
    Ok(format!("Bearer {}", issued.token.unwrap_or_default().access_token).parse()?)
}

fn credentials(client: &str, secret: &str, scopes: &[&str]) -> wire::IssueTokenRequest {
    wire::IssueTokenRequest {
        client_id: client.into(),
        client_secret: secret.into(),
        grant: Some(Grant::ClientCredentials(wire::ClientCredentialsGrant {})),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        ..wire::IssueTokenRequest::default()
    }
}

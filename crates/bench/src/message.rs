//! One request, and the connection that it is sent on.

use std::time::Duration;

use jeton::api::{
    policy,
    wire::{
        self, entity_group_service_client::EntityGroupServiceClient, member_service_client::MemberServiceClient,
        token_service_client::TokenServiceClient,
    },
};
use prost::Message as _;
use tokio::time::{Instant, sleep};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::{Result, process::CERTIFICATE};

/// The services of one connection.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) tokens: TokenServiceClient<Channel>,
    pub(super) members: MemberServiceClient<Channel>,
    pub(super) groups: EntityGroupServiceClient<Channel>,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Issue(Box<wire::IssueTokenRequest>),
    Renew(wire::RenewTokenRequest),
    Revoke(wire::RevokeTokenRequest),
    RevokeAll(wire::RevokeAllTokensRequest),
    Introspect(wire::IntrospectTokenRequest),
    Batch(wire::BatchIntrospectTokensRequest),
    List(wire::ListTokensRequest),
    SignIn(Box<wire::AuthenticateMemberRequest>),
    Memberships(wire::ListMembershipsRequest),
    Entities(wire::ListGroupEntitiesRequest),
}

/// A reply's name and bytes, for the echo, and what is of use in it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) method: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) access_token: String,
    pub(super) refresh_token: String,
}

/// How long a call may take before the run is given up.
const CALL: Duration = Duration::from_secs(10);
const READY: Duration = Duration::from_secs(30);

/// A channel, once somebody listens there.
pub(super) async fn channel(address: &str) -> Result<Channel> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(CERTIFICATE));
    // Counts for https only.
    let endpoint = Endpoint::from_shared(address.to_owned())?.tcp_nodelay(true).timeout(CALL).tls_config(tls)?;
    let deadline = Instant::now() + READY;
    loop {
        match endpoint.connect().await {
            Ok(channel) => return Ok(channel),
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    }
}

pub(super) async fn connect(address: &str) -> Result<Client> {
    let channel = channel(address).await?;
    let tokens = TokenServiceClient::new(channel.clone());
    let tokens =
        tokens.max_decoding_message_size(policy::MAX_BATCH_BYTES).max_encoding_message_size(policy::MAX_BATCH_BYTES);
    let (members, groups) = (MemberServiceClient::new(channel.clone()), EntityGroupServiceClient::new(channel));
    Ok(Client { tokens, members, groups })
}

// === impl Message ===

impl Message {
    /// Sends it.
    pub(super) async fn send(self, client: &mut Client, bearer: Option<&MetadataValue<Ascii>>) -> Result<Reply> {
        macro_rules! call {
            ($service:ident.$method:ident, $message:expr, $token:expr) => {{
                let reply = client.$service.$method(with_bearer($message, bearer)).await?.into_inner();
                let issued: Option<wire::IssuedToken> = $token(&reply);
                let issued = issued.unwrap_or_default();
                Ok(Reply {
                    method: stringify!($method),
                    bytes: reply.encode_to_vec(),
                    access_token: issued.access_token,
                    refresh_token: issued.refresh_token,
                })
            }};
        }
        match self {
            Self::Issue(message) => {
                call!(tokens.issue_token, *message, |reply: &wire::IssueTokenResponse| reply.token.clone())
            }
            Self::Renew(message) => {
                call!(tokens.renew_token, message, |reply: &wire::RenewTokenResponse| reply.token.clone())
            }
            Self::Revoke(message) => call!(tokens.revoke_token, message, |_| None),
            Self::RevokeAll(message) => call!(tokens.revoke_all_tokens, message, |_| None),
            Self::Introspect(message) => call!(tokens.introspect_token, message, |_| None),
            Self::Batch(message) => call!(tokens.batch_introspect_tokens, message, |_| None),
            Self::List(message) => call!(tokens.list_tokens, message, |_| None),
            Self::SignIn(message) => {
                call!(tokens.authenticate_member, *message, |reply: &wire::AuthenticateMemberResponse| {
                    reply.tokens.first().and_then(|first| first.token.clone())
                })
            }
            Self::Memberships(message) => call!(members.list_memberships, message, |_| None),
            Self::Entities(message) => call!(groups.list_group_entities, message, |_| None),
        }
    }

    /// Sends it and looks at nothing but a new refresh token.
    pub(super) async fn fire(
        self,
        client: &mut Client,
        bearer: Option<&MetadataValue<Ascii>>,
    ) -> Result<Option<String>, Status> {
        match self {
            Self::Issue(message) => client.tokens.issue_token(with_bearer(*message, bearer)).await.map(|_| None),
            Self::Renew(message) => {
                let reply = client.tokens.renew_token(with_bearer(message, bearer)).await?;
                Ok(reply.into_inner().token.map(|token| token.refresh_token))
            }
            Self::Revoke(message) => client.tokens.revoke_token(with_bearer(message, bearer)).await.map(|_| None),
            Self::RevokeAll(message) => {
                client.tokens.revoke_all_tokens(with_bearer(message, bearer)).await.map(|_| None)
            }
            Self::Introspect(message) => {
                client.tokens.introspect_token(with_bearer(message, bearer)).await.map(|_| None)
            }
            Self::Batch(message) => {
                client.tokens.batch_introspect_tokens(with_bearer(message, bearer)).await.map(|_| None)
            }
            Self::List(message) => client.tokens.list_tokens(with_bearer(message, bearer)).await.map(|_| None),
            Self::SignIn(message) => {
                client.tokens.authenticate_member(with_bearer(*message, bearer)).await.map(|_| None)
            }
            Self::Memberships(message) => {
                client.members.list_memberships(with_bearer(message, bearer)).await.map(|_| None)
            }
            Self::Entities(message) => {
                client.groups.list_group_entities(with_bearer(message, bearer)).await.map(|_| None)
            }
        }
    }
}

fn with_bearer<T>(message: T, bearer: Option<&MetadataValue<Ascii>>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(bearer) = bearer {
        request.metadata_mut().insert("authorization", bearer.clone());
    }
    request
}

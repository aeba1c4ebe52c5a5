//! Calls, ready to be sent, and blocks of them: so many connections with so many calls in flight on each.

use std::{
    fmt,
    time::{Duration, Instant},
};

use jeton_contract::wire::{
    self, client_service_client::ClientServiceClient, token_service_client::TokenServiceClient,
};
use tokio::{task::JoinSet, time::sleep};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use super::{Failure, Result};

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) tokens: TokenServiceClient<Channel>,
    pub(super) clients: ClientServiceClient<Channel>,
}

pub(super) type Bearer = MetadataValue<Ascii>;

/// One call.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Introspect(wire::IntrospectTokenRequest),
    Issue(Box<wire::IssueTokenRequest>),
    Renew(wire::RenewTokenRequest),
    Revoke(wire::RevokeTokenRequest),
    Batch(wire::BatchIntrospectTokensRequest),
    ListClients(wire::ListClientsRequest),
}

/// How many calls at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) connections: usize,
    pub(super) in_flight: usize,
}

/// How long a call may take before the run is given up: under callgrind, and on a machine that does something else as well.
const CALL: Duration = Duration::from_secs(300);
const READY: Duration = Duration::from_secs(120);
/// A batch of 1,000 JWTs is half a megabyte, and its reply a whole one.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

// === impl Shape ===

impl Shape {
    pub(super) const SINGLE: Self = Self { connections: 1, in_flight: 1 };
    pub(super) const WIDE: Self = Self { connections: 4, in_flight: 16 };
    /// For messages of half a megabyte, of which more would keep the one worker for seconds.
    pub(super) const BULKY: Self = Self { connections: 4, in_flight: 1 };

    pub(super) async fn connect(self, address: &str) -> Result<Vec<Connection>> {
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            connections.push(connect(address).await?);
        }
        Ok(connections)
    }

    pub(super) const fn calls(self) -> usize {
        self.connections * self.in_flight
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}x{}", self.connections, self.in_flight))
    }
}

pub(super) async fn channel(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(address.to_owned())?.tcp_nodelay(true).timeout(CALL);
    let deadline = Instant::now() + READY;
    loop {
        match endpoint.connect().await {
            Ok(channel) => return Ok(channel),
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}

pub(super) async fn connect(address: &str) -> Result<Connection> {
    let channel = channel(address).await?;
    let tokens = TokenServiceClient::new(channel.clone());
    let tokens = tokens.max_decoding_message_size(MAX_BATCH_BYTES).max_encoding_message_size(MAX_BATCH_BYTES);
    Ok(Connection { tokens, clients: ClientServiceClient::new(channel) })
}

pub(super) fn with<T>(message: T, bearer: Option<&Bearer>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(bearer) = bearer {
        request.metadata_mut().insert("authorization", bearer.clone());
    }
    request
}

// === impl Call ===

impl Call {
    /// Makes the call. A refusal ends the run: it would cost less than what is counted.
    async fn send(self, to: &mut Connection, bearer: Option<&Bearer>) -> Result<()> {
        match self {
            Self::Introspect(message) => to.tokens.introspect_token(with(message, bearer)).await.map(drop)?,
            Self::Issue(message) => to.tokens.issue_token(with(*message, bearer)).await.map(drop)?,
            Self::Renew(message) => to.tokens.renew_token(with(message, bearer)).await.map(drop)?,
            Self::Revoke(message) => to.tokens.revoke_token(with(message, bearer)).await.map(drop)?,
            Self::Batch(message) => to.tokens.batch_introspect_tokens(with(message, bearer)).await.map(drop)?,
            Self::ListClients(message) => to.clients.list_clients(with(message, bearer)).await.map(drop)?,
        }
        Ok(())
    }
}

/// Sends each call once. Which of those in flight sends which is fixed beforehand.
pub(super) async fn block(
    connections: &[Connection],
    shape: Shape,
    calls: &[Call],
    bearer: Option<&Bearer>,
) -> Result<()> {
    let mut lanes = JoinSet::new();
    for lane in 0..shape.calls() {
        let mut connection = connections[lane % shape.connections].clone();
        let calls: Vec<Call> = calls.iter().skip(lane).step_by(shape.calls()).cloned().collect();
        let bearer = bearer.cloned();
        lanes.spawn(async move {
            for call in calls {
                call.send(&mut connection, bearer.as_ref()).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(())
}

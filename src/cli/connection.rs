//! A connection to the service, and calls of its methods by their descriptors.

use std::time::Duration;

use prost_reflect::{DynamicMessage, MethodDescriptor, Value, prost::Message};
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use zeroize::Zeroizing;

use super::{
    contract::Contract,
    failure::Failure,
    target::{Credentials, Proof, Target},
};
use crate::error::chain;

/// An open connection.
pub(super) struct Connection {
    grpc: tonic::client::Grpc<Channel>,
    timeout: Duration,
    bearer: Option<MetadataValue<Ascii>>,
}

/// Long enough for a list of many pages, and short, because it is not revoked.
const BEARER_TTL: Duration = Duration::from_secs(300);
/// A batch of 1,000 introspections fits.
const MAX_REPLY_BYTES: usize = 16 * 1024 * 1024;

/// Connects, and gets a bearer token if the target has credentials.
pub(super) async fn connect(target: Target, contract: &Contract) -> Result<Connection, Failure> {
    let endpoint = Endpoint::from_shared(target.server.clone())
        .and_then(|endpoint| endpoint.user_agent(concat!("jeton/", env!("CARGO_PKG_VERSION"))))
        .map_err(|error| Failure::usage(format!("--server: `{}`: {}", target.server, chain(&error))))?
        .connect_timeout(target.timeout);
    let endpoint = match target.tls {
        Some(tls) => endpoint.tls_config(tls).map_err(|error| {
            Failure::usage(format!("the files for {} cannot be used: {}", target.server, root_cause(&error)))
        })?,
        None => endpoint,
    };
    let channel = endpoint.connect().await.map_err(|error| {
        Failure::call(format!("cannot reach {}: {} (UNAVAILABLE)", target.server, root_cause(&error)))
    })?;
    let grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_REPLY_BYTES);
    let mut connection = Connection { grpc, timeout: target.timeout, bearer: None };
    let bearer = match target.proof {
        Proof::None => return Ok(connection),
        Proof::Bearer(bearer) => bearer,
        Proof::Credentials { credentials, tenant } => connection.issue_bearer(contract, &credentials, &tenant).await?,
    };
    let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", bearer.as_str())
        .parse()
        .map_err(|_| Failure::usage("the bearer token has characters that a token cannot have"))?;
    bearer.set_sensitive(true);
    connection.bearer = Some(bearer);
    Ok(connection)
}

/// The innermost error; those around it only say that they failed.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

// === impl Connection ===

impl Connection {
    /// Calls a method.
    pub(super) async fn call(
        &mut self,
        method: &MethodDescriptor,
        message: DynamicMessage,
    ) -> Result<DynamicMessage, Failure> {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let path = path.parse().map_err(|_| Failure::call(format!("`{path}` is not the path of a method")))?;
        let mut request = Request::new(message);
        // Sent as `grpc-timeout`, and also enforced on this side.
        request.set_timeout(self.timeout);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        self.grpc.ready().await.map_err(|error| Failure::call(format!("{} (UNAVAILABLE)", chain(&error))))?;
        let reply = self.grpc.unary(request, path, Dynamic(method.clone())).await?;
        Ok(reply.into_inner())
    }

    /// A short-lived token with all of the client's default scopes.
    async fn issue_bearer(
        &mut self,
        contract: &Contract,
        credentials: &Credentials,
        tenant: &str,
    ) -> Result<Zeroizing<String>, Failure> {
        let malformed = || Failure::call("cannot turn the credentials into a token: the contract has changed");
        let method = contract.method("TokenService/IssueToken").ok_or_else(malformed)?;
        let body = serde_json::json!({
            "tenantId": tenant,
            "clientId": credentials.client_id,
            "clientSecret": credentials.client_secret,
            "clientCredentials": {},
            "ttl": format!("{}s", BEARER_TTL.as_secs()),
        });
        let request = DynamicMessage::deserialize(method.input(), body).map_err(|_| malformed())?;
        let reply = self.call(&method, request).await.map_err(|failure| match failure {
            Failure::Call(why) => Failure::Call(format!("cannot turn the credentials into a token: {why}")),
            Failure::Usage(why) => Failure::Usage(why),
        })?;
        let token = reply.get_field_by_name("token");
        let token =
            token.as_deref().and_then(Value::as_message).and_then(|token| token.get_field_by_name("access_token"));
        let text = token.as_deref().and_then(Value::as_str).filter(|token| !token.is_empty());
        text.map(|text| Zeroizing::new(text.to_owned())).ok_or_else(malformed)
    }
}

/// Writes and reads the messages of a method.
struct Dynamic(MethodDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(self.0.clone())
    }

    fn decoder(&mut self) -> Self {
        Self(self.0.clone())
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(format!("write the request: {error}")))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.output(), buffer)
            .map(Some)
            .map_err(|error| Status::internal(format!("read the reply: {error}")))
    }
}

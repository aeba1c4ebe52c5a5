//! BatchIntrospectTokens, served past the generated code: its reply is put together from parts that are encoded once per
//! token. Building and encoding a thousand answers anew costs more than judging them.
//!
//! Everything else of TokenService goes to the generated server.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use jeton_contract::wire;
use prost::Message as _;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, StdError},
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;
use tower::Service;

use super::{policy, services::Services};
use crate::error::{Error, Result};

/// TokenService.
#[derive(Clone, Debug)]
pub(super) struct TokenServer<S> {
    services: Services,
    generated: S,
}

/// On the wire the same as [`wire::BatchIntrospectTokensResponse`].
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EncodedResponse {
    /// Each an encoded [`wire::Introspection`].
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) introspections: Vec<Bytes>,
}

struct Batch(Services);

const PATH: &str = "/jeton.v1.TokenService/BatchIntrospectTokens";

// === impl EncodedResponse ===

impl EncodedResponse {
    pub(super) fn decode(self) -> Result<wire::BatchIntrospectTokensResponse> {
        let failed = |source| Error::internal("read an encoded introspection").with_source(source);
        let introspections =
            self.introspections.into_iter().map(|encoded| wire::Introspection::decode(encoded).map_err(failed));
        Ok(wire::BatchIntrospectTokensResponse { introspections: introspections.collect::<Result<_>>()? })
    }
}

// === impl TokenServer ===

impl<S> TokenServer<S> {
    pub(super) const fn new(services: Services, generated: S) -> Self {
        Self { services, generated }
    }
}

impl<S: NamedService> NamedService for TokenServer<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<B>> for TokenServer<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.generated.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != PATH {
            return Box::pin(self.generated.call(request));
        }
        let batch = Batch(self.services.clone());
        Box::pin(async move {
            let codec = ProstCodec::<EncodedResponse, wire::BatchIntrospectTokensRequest>::default();
            let grpc = Grpc::new(codec).apply_max_message_size_config(Some(policy::MAX_BATCH_BYTES), None);
            Ok({ grpc }.unary(batch, request).await)
        })
    }
}

impl UnaryService<wire::BatchIntrospectTokensRequest> for Batch {
    type Response = EncodedResponse;
    type Future = BoxFuture<Response<EncodedResponse>, Status>;

    fn call(&mut self, request: Request<wire::BatchIntrospectTokensRequest>) -> Self::Future {
        let services = self.0.clone();
        Box::pin(async move { services.batch(request).await })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn the_encoded_response_is_the_one_of_the_contract() {
        let answers = ["tok_a", ""].map(|id| wire::Introspection {
            active: Some(!id.is_empty()),
            token_id: id.to_owned(),
            ..wire::Introspection::default()
        });
        let encoded =
            EncodedResponse { introspections: answers.iter().map(|answer| answer.encode_to_vec().into()).collect() };
        let contract = wire::BatchIntrospectTokensResponse { introspections: answers.into() };
        assert_eq!(encoded.encode_to_vec(), contract.encode_to_vec());
    }
}

//! The measure beside the service: a bare echo on the stock server of tonic, with the messages of IntrospectToken and a
//! reply that was made before. It must stay untuned.

use std::{
    convert::Infallible,
    fs,
    future::{Ready, ready},
    hint::black_box,
    net::Ipv4Addr,
    task::{Context, Poll},
};

use jeton_contract::wire::{IntrospectTokenRequest, IntrospectTokenResponse};
use prost::Message;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, http},
    server::{Grpc, NamedService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::Service;

use super::{Result, servers::LISTENS};

#[derive(Clone, Debug)]
struct Echo {
    reply: IntrospectTokenResponse,
}

/// Serves until it is killed. The reply is in the file `reply`.
pub(super) fn serve(reply: &str) -> Result<()> {
    let reply = IntrospectTokenResponse::decode(fs::read(reply)?.as_slice())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?.with_nodelay(Some(true));
        println!("{LISTENS}{}", incoming.local_addr()?);
        Server::builder().add_service(Echo { reply }).serve_with_incoming(incoming).await?;
        Ok(())
    })
}

impl NamedService for Echo {
    const NAME: &'static str = "jeton.v1.TokenService";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(echo, request).await) })
    }
}

impl UnaryService<IntrospectTokenRequest> for Echo {
    type Response = IntrospectTokenResponse;
    type Future = Ready<Result<Response<IntrospectTokenResponse>, Status>>;

    fn call(&mut self, request: Request<IntrospectTokenRequest>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(self.reply.clone())))
    }
}

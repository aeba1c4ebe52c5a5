//! The measure of all figures: a bare echo. The stock server of tonic on the stock runtime of tokio, the same messages,
//! and replies that were made before. Whatever the service does more shows as a ratio to it, so it must stay untuned.

use std::{fs, hint::black_box, net::Ipv4Addr, path::Path};

use jeton::api::wire::{
    self,
    token_service_server::{TokenService, TokenServiceServer},
};
use prost::Message;
use tonic::{
    Request, Response, Status, async_trait,
    transport::{Server, server::TcpIncoming},
};

use super::{Result, process::LISTENS, say};

macro_rules! replies {
    ($($method:ident $request:ident $response:ident)*) => {
        /// A reply for each method that has one.
        #[derive(Debug)]
        struct Echo {
            $($method: Option<wire::$response>,)*
        }

        impl Echo {
            /// Reads the replies from a directory of files that are named as the method is.
            fn load(dir: &Path) -> Result<Self> {
                Ok(Self {
                    $($method: match fs::read(dir.join(stringify!($method))) {
                        Ok(bytes) => Some(wire::$response::decode(bytes.as_slice())?),
                        Err(_) => None,
                    },)*
                })
            }
        }

        #[async_trait]
        impl TokenService for Echo {
            $(async fn $method(&self, request: Request<wire::$request>) -> Result<Response<wire::$response>, Status> {
                black_box(request);
                self.$method.clone().map(Response::new).ok_or_else(|| Status::unimplemented(stringify!($method)))
            })*
        }
    };
}

replies! {
    issue_token IssueTokenRequest IssueTokenResponse
    renew_token RenewTokenRequest RenewTokenResponse
    revoke_token RevokeTokenRequest RevokeTokenResponse
    invalidate_tokens InvalidateTokensRequest InvalidateTokensResponse
    revoke_all_tokens RevokeAllTokensRequest RevokeAllTokensResponse
    introspect_token IntrospectTokenRequest IntrospectTokenResponse
    batch_introspect_tokens BatchIntrospectTokensRequest BatchIntrospectTokensResponse
    get_token GetTokenRequest GetTokenResponse
    list_tokens ListTokensRequest ListTokensResponse
    get_caller GetCallerRequest GetCallerResponse
    list_signing_keys ListSigningKeysRequest ListSigningKeysResponse
    authenticate_member AuthenticateMemberRequest AuthenticateMemberResponse
    request_one_time_password RequestOneTimePasswordRequest RequestOneTimePasswordResponse
}

/// Serves until it is killed.
pub(super) fn serve(replies: &Path) -> Result<()> {
    let service = TokenServiceServer::new(Echo::load(replies)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?.with_nodelay(Some(true));
        say(&format!("{LISTENS}{}\n", incoming.local_addr()?))?;
        Server::builder().add_service(service).serve_with_incoming(incoming).await?;
        Ok(())
    })
}

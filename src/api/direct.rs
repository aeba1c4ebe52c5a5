//! The verbs that other protocols than gRPC call, with messages of the contract.

use http::HeaderMap;
use jeton_core::TenantId;

use super::{
    Services,
    edge::{
        Authenticate,
        direct::{DirectCall, Refusal},
    },
    wire::{self, token_service_server::TokenService as _},
};
use crate::{issuer::authenticate::Recognized, keys::jwk::Algorithm};

/// Tells who bears a token, as the services want to know it.
pub trait Bearers: Authenticate<Caller = Recognized> {}

impl<A: Authenticate<Caller = Recognized>> Bearers for A {}

/// What client assertions may be signed with.
pub fn assertion_algorithms() -> [&'static str; 5] {
    Algorithm::ALL.map(Algorithm::name)
}

macro_rules! verbs {
    ($($verb:ident = $path:literal, $handler:ident: $request:ident -> $response:ident;)*) => {
        impl Services {
            $(
                /// The method of this name.
                ///
                /// # Errors
                /// Those that the contract names.
                pub async fn $verb<A: Bearers>(
                    &self,
                    call: DirectCall<A>,
                    headers: &HeaderMap,
                    message: wire::$request,
                ) -> Result<wire::$response, Refusal> {
                    call.run($path, headers, message, |request| self.$handler(request)).await
                }
            )*
        }
    };
}

verbs! {
    issue = "/jeton.v1.TokenService/IssueToken", issue_token: IssueTokenRequest -> IssueTokenResponse;
    revoke = "/jeton.v1.TokenService/RevokeToken", revoke_token: RevokeTokenRequest -> RevokeTokenResponse;
    introspect = "/jeton.v1.TokenService/IntrospectToken", introspect_token:
        IntrospectTokenRequest -> IntrospectTokenResponse;
    signing_keys = "/jeton.v1.TokenService/ListSigningKeys", list_signing_keys:
        ListSigningKeysRequest -> ListSigningKeysResponse;
}

impl Services {
    /// RenewToken for a refresh token that was presented to the issuer of `tenant`, which its message does not name.
    ///
    /// # Errors
    /// REFRESH_INVALID for that of another tenant; else those that the contract names.
    pub async fn renew<A: Bearers>(
        &self,
        call: DirectCall<A>,
        headers: &HeaderMap,
        tenant: &str,
        message: wire::RenewTokenRequest,
    ) -> Result<wire::RenewTokenResponse, Refusal> {
        let renew = |request: tonic::Request<wire::RenewTokenRequest>| async move {
            self.issuer.check_tenant(&request.get_ref().refresh_token, tenant)?;
            self.renew_token(request).await
        };
        call.run("/jeton.v1.TokenService/RenewToken", headers, message, renew).await
    }

    /// The `iss` of a tenant's tokens; `None` for what can be no tenant's id.
    pub fn issuer_of(&self, tenant: &str) -> Option<String> {
        let tenant: TenantId = tenant.parse().ok()?;
        Some(self.directory.issuer(&tenant))
    }
}

//! How failures of a sign-in are reported: the person's credentials are not valid, or the provider is not available.

use jeton_contract::reason::Reason;
use openidconnect::{
    RequestTokenError, UserInfoError,
    core::{CoreErrorResponseType, CoreRequestTokenError},
};

use super::id_token;
use crate::{
    error::{Error, Source},
    outbound,
};

/// The credentials are not valid. The reply does not say why, because the caller may be guessing.
pub(super) fn refused(why: impl Into<Source>) -> Error {
    Error::new(Reason::InvalidCredentials, "the credentials are not valid").with_source(why)
}

/// The provider did not do its part.
pub(super) fn unavailable(why: impl Into<Source>) -> Error {
    let message = "the identity provider did not answer in time, or not as it must";
    Error::new(Reason::IdentityProviderUnavailable, message).with_source(why)
}

/// The code was not redeemed. The provider's text is not repeated, because it may contain anything.
pub(super) fn not_redeemed(error: CoreRequestTokenError<outbound::Error>) -> Error {
    match error {
        RequestTokenError::ServerResponse(said) => {
            use CoreErrorResponseType::{InvalidClient, InvalidGrant, InvalidRequest, UnauthorizedClient};
            if matches!(said.error(), InvalidGrant | InvalidRequest) {
                refused("the provider did not take the code")
            } else if matches!(said.error(), InvalidClient | UnauthorizedClient) {
                unavailable("the provider does not know this client, or not by this secret")
            } else {
                unavailable("the provider answered with an error that is no judgement of the code")
            }
        }
        RequestTokenError::Request(error) => unavailable(error),
        RequestTokenError::Parse(_, body) if id_token::is_malformed_in(&body) => refused("the ID token cannot be read"),
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => unavailable("the token reply cannot be read"),
    }
}

/// The UserInfo endpoint gave no claims.
pub(super) fn no_user_info(error: UserInfoError<outbound::Error>) -> Error {
    match error {
        UserInfoError::Request(error) => unavailable(error),
        UserInfoError::ClaimsVerification(error) => refused(error),
        // Without the provider's text.
        UserInfoError::Parse(_) | UserInfoError::Response(..) | UserInfoError::Other(_) | _ => {
            unavailable("the user info cannot be used")
        }
    }
}

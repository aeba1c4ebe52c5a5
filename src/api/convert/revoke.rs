//! What RevokeAllTokens and InvalidateTokens are about.

use jeton_core::Position;

use super::session_id;
use crate::{
    api::wire,
    error::{Error, Result},
    issuer::revoke::{Outcome, Target},
};

/// Whose tokens RevokeAllTokens revokes.
pub fn target(target: Option<wire::revoke_all_tokens_request::Target>) -> Result<Target> {
    use wire::revoke_all_tokens_request::{Target as Wire, TenantTarget};
    match target {
        Some(Wire::Account(account)) => {
            Ok(Target::Account { reference: account.account_id, descendants: account.include_descendants })
        }
        Some(Wire::ClientId(client)) => Ok(Target::Client(client)),
        Some(Wire::MemberId(member)) => Ok(Target::Member(member)),
        Some(Wire::EntityGroupId(group)) => Ok(Target::Group(group)),
        Some(Wire::Sessions(sessions)) => {
            let ids = sessions.session_ids.iter().map(|id| session_id("sessions.session_ids", id));
            Ok(Target::Sessions(ids.collect::<Result<_>>()?))
        }
        Some(Wire::Tenant(TenantTarget {})) => Ok(Target::Tenant),
        None => Err(Error::field("target", "must be set")),
    }
}

/// What became of an access token and a refresh token, in this order.
pub fn invalidated(
    (access, refresh, position): (Option<Outcome>, Option<Outcome>, Position),
) -> wire::InvalidateTokensResponse {
    wire::InvalidateTokensResponse {
        access_token: outcome(access).into(),
        refresh_token: outcome(refresh).into(),
        position: super::position(position),
    }
}

const fn outcome(outcome: Option<Outcome>) -> wire::invalidate_tokens_response::Outcome {
    use wire::invalidate_tokens_response::Outcome as Wire;
    match outcome {
        None => Wire::Unspecified,
        Some(Outcome::Invalidated) => Wire::Invalidated,
        Some(Outcome::Unrecognized) => Wire::Unrecognized,
    }
}

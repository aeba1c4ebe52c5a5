//! What IssueToken wants, and the properties of a token that AuthenticateMember shares with it.

use jeton_contract::reason::Reason;
use jeton_core::{Format, Json};

use super::{CLAIMS, OPTIONS, given, session_id, set, to_json};
use crate::{
    api::wire,
    directory::commit::Repeat,
    error::{Error, Result},
    issuer::request::{Grant, Lifetime, Request},
    notation::lifetime,
};

pub fn request(message: wire::IssueTokenRequest, repeat: Option<Repeat>) -> Result<Request> {
    use wire::issue_token_request::Lifetime as Wire;
    let format = format(message.format());
    let lifetime = match message.lifetime {
        None => Lifetime::Default,
        Some(Wire::Ttl(own)) => ttl(own)?,
        Some(Wire::ExpiresIn(text)) => expires_in(&text)?,
        Some(Wire::Never(_)) => Lifetime::Never,
    };
    let grant = grant(message.grant, message.tenant_id)?;
    let (options, claims) = frozen(message.options.as_ref(), message.claims.as_ref())?;
    Ok(Request {
        grant,
        scopes: message.scopes,
        audience: message.audience,
        lifetime,
        session: given(&message.session_id).map(|text| session_id("session_id", text)).transpose()?,
        options,
        claims,
        format,
        refresh: message.include_refresh_token,
        repeat,
    })
}

fn grant(grant: Option<wire::issue_token_request::Grant>, tenant_id: String) -> Result<Grant> {
    use wire::issue_token_request::Grant as Wire;
    match grant {
        Some(Wire::ClientCredentials(wire::ClientCredentialsGrant {})) => {
            Ok(Grant::ClientCredentials { tenant: set(tenant_id) })
        }
        Some(Wire::Account(account)) => Ok(Grant::Account(account.account_id)),
        Some(Wire::Member(wire::MemberGrant { member_id, account_id })) => {
            Ok(Grant::Member { member: member_id, account: set(account_id) })
        }
        Some(Wire::EntityGroup(wire::EntityGroupGrant { entity_group_id, member_id })) => {
            Ok(Grant::EntityGroup { group: entity_group_id, member: set(member_id) })
        }
        // Its token was the proof of who calls.
        Some(Wire::Workload(wire::WorkloadGrant { .. })) => Ok(Grant::Workload { tenant: set(tenant_id) }),
        Some(Wire::TokenExchange(exchange)) => {
            Ok(Grant::TokenExchange { subject: exchange.subject_token, actor: set(exchange.actor_token) })
        }
        None => Err(Error::field("grant", "must be set")),
    }
}

pub const fn format(format: wire::TokenFormat) -> Option<Format> {
    match format {
        wire::TokenFormat::Unspecified => None,
        wire::TokenFormat::Jwt => Some(Format::Jwt),
        wire::TokenFormat::Opaque => Some(Format::Opaque),
    }
}

pub fn ttl(ttl: prost_types::Duration) -> Result<Lifetime> {
    // The conversion normalizes a malformed duration to another lifetime, and panics at the extremes.
    let well_formed = ttl.seconds >= 0 && (0..1_000_000_000).contains(&ttl.nanos);
    let ttl = Some(ttl).filter(|_| well_formed).and_then(|ttl| ttl.try_into().ok());
    ttl.map(Lifetime::For).ok_or_else(|| out_of_range("ttl", "must be a positive duration"))
}

pub fn expires_in(text: &str) -> Result<Lifetime> {
    lifetime::parse(text).map(Lifetime::For).map_err(|lifetime::Malformed| {
        out_of_range(
            "expires_in",
            "must be a positive number of seconds, or a number and a unit such as 90m, 12hr or 7 days",
        )
    })
}

/// Options and claims as JSON.
pub fn frozen(
    options: Option<&wire::TokenOptions>,
    claims: Option<&prost_types::Struct>,
) -> Result<(Option<Json>, Option<Json>)> {
    let options = options.map(|options| to_json(OPTIONS, options)).transpose()?;
    let claims = claims.map(|claims| to_json(CLAIMS, claims)).transpose()?;
    Ok((options, claims))
}

fn out_of_range(field: &str, message: &'static str) -> Error {
    Error::new(Reason::TtlOutOfRange, message).with_violation(field, message)
}

//! What a token may be, decided without looking anything up: its scopes, audience, life, session, and what it dies with.

use std::{sync::Arc, time::Duration};

use jeton_contract::reason::Reason;
use jeton_core::{
    AccessToken, Audience, Format, GrantType, Scopes, SessionId, Source, Time, scope::management, source::MAX_SOURCES,
};

use super::{
    granted::Granted,
    request::{Lifetime, Request},
};
use crate::{
    directory::{caller::Caller, standing::Standing},
    error::{Error, Result},
    metrics::labels,
};

/// The most bytes of all scopes of a token together.
const MAX_SCOPE_BYTES: usize = 1024;
/// The most bytes of options, and of claims, as JSON.
const MAX_JSON_BYTES: usize = 2048;

pub(super) fn decide_scopes(request: &Request, granted: &Granted, caller: &Caller) -> Result<Scopes> {
    let scopes = if request.scopes.is_empty() { granted.default.clone() } else { Scopes::new(&request.scopes) };
    if let Some(beyond) = scopes.beyond(&granted.allowed) {
        return Err(Error::new(Reason::ScopeNotAllowed, format!("the scope {beyond} is not allowed")));
    }
    if scopes.to_claim().len() > MAX_SCOPE_BYTES {
        return Err(Error::field("scopes", format!("must be at most {MAX_SCOPE_BYTES} bytes in all")));
    }
    caller.may_grant(&scopes)?;
    Ok(scopes)
}

pub(super) fn decide_audience(
    request: &Request,
    scopes: &Scopes,
    standing: &Standing,
    issuer: &str,
) -> Result<Audience> {
    let refuse = |message: String| Error::new(Reason::AudienceNotAllowed, message);
    // A resource server must not be able to replay at jeton what it was sent.
    let for_jeton = request.audience.iter().any(|audience| audience == issuer);
    if (for_jeton || scopes.has_management()) && request.audience.iter().any(|audience| audience != issuer) {
        return Err(refuse("a token for jeton itself has no other audience than the issuer".to_owned()));
    }
    if request.audience.is_empty() {
        return Ok(if scopes.has_management() {
            Audience::new([issuer], issuer)
        } else {
            Audience::new([standing.tenant.settings.default_audience(issuer)], issuer)
        });
    }
    require_audience(request.audience.iter(), standing, issuer)?;
    Ok(Audience::new(&request.audience, issuer))
}

/// Refuses audiences that the client may not ask for.
pub(super) fn require_audience(
    mut audience: impl Iterator<Item = impl AsRef<str>>,
    standing: &Standing,
    issuer: &str,
) -> Result<()> {
    let beyond =
        audience.find(|audience| audience.as_ref() != issuer && !standing.allows_audience(audience.as_ref(), issuer));
    match beyond {
        Some(beyond) => {
            let message = format!("the audience {} is not allowed", beyond.as_ref());
            Err(Error::new(Reason::AudienceNotAllowed, message))
        }
        None => Ok(()),
    }
}

/// Refuses to hand out what was issued before if that is more than what would be issued now.
pub(super) fn require_within(stored: &AccessToken, now: &AccessToken, issuer: &str) -> Result<()> {
    let refuse = |reason, what: &str| {
        Err(Error::new(
            reason,
            format!("the token that this request id issued has {what} than the caller may obtain now"),
        ))
    };
    if stored.scopes.beyond(&now.scopes).is_some() {
        return refuse(Reason::ScopeNotAllowed, "more scopes");
    }
    let audience: Vec<_> = now.audience.absolute(issuer).collect();
    if stored.audience.absolute(issuer).any(|stored| !audience.contains(&stored)) {
        return refuse(Reason::AudienceNotAllowed, "another audience");
    }
    // Of two clocks one is behind: what lives as long from its own issue on does not live longer.
    let as_long = |token: &AccessToken| token.ttl.unwrap_or(Duration::MAX);
    if stored.expires() > now.expires() && as_long(stored) > as_long(now) {
        return refuse(Reason::TtlOutOfRange, "a longer life");
    }
    let holder = |token: &AccessToken| {
        (token.client.clone(), token.subject.clone(), token.actor.clone(), token.session.clone(), token.home.clone())
    };
    let dies_with_as_much = now.sources.iter().all(|source| stored.sources.contains(source));
    if holder(stored) != holder(now) || !dies_with_as_much {
        return refuse(Reason::GrantNotAllowed, "other rights");
    }
    Ok(())
}

/// How long a token with these scopes lives, in whole seconds; `None`: for ever.
pub(super) fn decide_ttl(
    request: &Request,
    granted: &Granted,
    scopes: &Scopes,
    caller: &Caller,
    now: Time,
) -> Result<Option<Duration>> {
    let Granted { standing, grant, life, .. } = granted;
    let max = standing.tenant.settings.max_ttl_of(scopes);
    let left = life.until.since(now.whole_secs());
    match request.lifetime {
        Lifetime::Never => {
            let allowed = standing.tenant.settings.eternal_tokens && caller.has(management::TOKENS_ETERNAL);
            if *grant == GrantType::TokenExchange {
                return Err(Error::new(Reason::EternalNotAllowed, "a token that is exchanged always expires"));
            }
            if scopes.has_management() {
                return Err(Error::new(
                    Reason::EternalNotAllowed,
                    "a token with a jeton. scope expires after the tenant's max_management_token_ttl at the latest",
                ));
            }
            if !allowed || !life.until.is_never() || life.longest.is_some() {
                return Err(Error::new(
                    Reason::EternalNotAllowed,
                    "eternal tokens want jeton.tokens.eternal and a tenant that allows them",
                ));
            }
            Ok(None)
        }
        Lifetime::Default => {
            let ttl = standing.token_ttl(*grant).min(max).min(life.longest.unwrap_or(max));
            Ok(Some(whole_secs(ttl.min(left))))
        }
        Lifetime::For(ttl) => {
            let ttl = Duration::from_secs(ttl.as_secs());
            let maximum = match scopes.has_management() {
                true => "the tenant's max_management_token_ttl",
                false => "the tenant's max_token_ttl",
            };
            let within = |limit: Duration, what: &str| match ttl > limit {
                true => Err(ttl_out_of_range(format!("must be at most {}s, {what}", limit.as_secs()))),
                false => Ok(()),
            };
            if ttl.is_zero() {
                return Err(ttl_out_of_range("must be at least 1s".to_owned()));
            }
            within(max, maximum)?;
            within(life.longest.unwrap_or(max), "the life of the token that it comes from")?;
            within(left, "what is left of the life of the token that it comes from")?;
            Ok(Some(ttl))
        }
    }
}

fn ttl_out_of_range(message: String) -> Error {
    Error::new(Reason::TtlOutOfRange, message.clone()).with_violation("lifetime", message)
}

/// What a token is if nothing is said.
pub(super) const fn default_format(grant: GrantType) -> Format {
    match grant {
        GrantType::ClientCredentials
        | GrantType::Workload
        | GrantType::Member
        | GrantType::EntityGroup
        | GrantType::TokenExchange
        | GrantType::AuthenticatedMember => Format::Jwt,
        GrantType::Account => Format::Opaque,
    }
}

/// The whole seconds of a life, one at least.
pub(super) fn whole_secs(ttl: Duration) -> Duration {
    Duration::from_secs(ttl.as_secs().max(1))
}

pub(super) fn refuse_eternal_with(format: Format, refresh: bool) -> Result<()> {
    if format == Format::Jwt {
        // Its signing key could never retire.
        return Err(Error::field("format", "must be TOKEN_FORMAT_OPAQUE for a token that never expires"));
    }
    if refresh {
        return Err(Error::field("include_refresh_token", "must not be set for a token that never expires"));
    }
    Ok(())
}

/// A token that dies with its parents also dies with their session: the log does not tell when it idles out.
pub(super) fn decide_session(request: &Request, parents: &[Arc<AccessToken>]) -> Result<Option<SessionId>> {
    let own = session_of(parents);
    let asked = request.session.as_ref();
    if own.is_some() && asked.is_some() && asked != own {
        return Err(Error::field("session_id", "must be the bearer's own session or left out"));
    }
    if parents.iter().any(|parent| parent.session.is_some() && parent.session.as_ref() != own) {
        return Err(Error::field("session_id", "would be two: the token comes from tokens of two sessions"));
    }
    Ok(asked.or(own).cloned())
}

/// The session that a token comes into with its parents.
pub(super) fn session_of(parents: &[Arc<AccessToken>]) -> Option<&SessionId> {
    parents.iter().find_map(|parent| parent.session.as_ref())
}

pub(super) fn check_json(request: &Request) -> Result<()> {
    for (name, json) in [("options", &request.options), ("claims", &request.claims)] {
        if json.as_ref().is_some_and(|json| json.as_str().len() > MAX_JSON_BYTES) {
            let message = format!("{name} must be at most {MAX_JSON_BYTES} bytes as JSON");
            return Err(Error::new(Reason::TokenTooLarge, message.clone()).with_violation(name, message));
        }
    }
    Ok(())
}

/// What the new token dies with besides what it names itself: all that its parents die with.
pub(super) fn sources_of(token: &AccessToken, parents: &[Arc<AccessToken>]) -> Result<Vec<Source>> {
    let own = token.idents();
    let mut sources = Vec::new();
    for ident in parents.iter().flat_map(|parent| parent.idents().iter().cloned().collect::<Vec<_>>()) {
        if let Some(source) = Source::of(&ident, &token.tenant)
            && !own.iter().any(|own| *own == ident)
            && !sources.contains(&source)
        {
            sources.push(source);
        }
    }
    if sources.len() > MAX_SOURCES {
        return Err(Error::new(
            Reason::GrantNotAllowed,
            format!("the token would depend on too much; at most {MAX_SOURCES} tokens and other things are recorded"),
        ));
    }
    Ok(sources)
}

/// As metrics tell grants apart.
pub(super) const fn label(grant: GrantType) -> labels::Grant {
    match grant {
        GrantType::ClientCredentials => labels::Grant::ClientCredentials,
        GrantType::Account => labels::Grant::Account,
        GrantType::Member => labels::Grant::Member,
        GrantType::EntityGroup => labels::Grant::EntityGroup,
        GrantType::TokenExchange => labels::Grant::TokenExchange,
        GrantType::Workload => labels::Grant::Workload,
        GrantType::AuthenticatedMember => labels::Grant::AuthenticatedMember,
    }
}

//! Exchange of a token for a narrower or delegated one (RFC 8693).

use std::sync::Arc;

use jeton_core::{
    AccessToken, Actor, GrantType,
    actor::{Acting, MAX_ACTORS},
};

use super::{
    Issuer,
    granted::{Granted, Life},
    request::Request,
    verified::Verified,
};
use crate::{
    directory::permit::Act,
    error::{Error, Result},
};

const SUBJECT: &str = "token_exchange.subject_token";
const ACTOR: &str = "token_exchange.actor_token";

// === impl Issuer ===

impl Issuer {
    /// What a caller may obtain in exchange for `subject`: never more than that already gives.
    pub(super) async fn grant_exchange(
        &self,
        act: &Act,
        request: &Request,
        subject: &str,
        actor: Option<&str>,
    ) -> Result<Granted> {
        let standing = self.standing_for_grant(act, GrantType::TokenExchange).await?;
        if request.refresh {
            return Err(Error::field("include_refresh_token", "must not be set for a token that is exchanged"));
        }
        let (subject, actor) = self.presented(act, subject, actor).await?;
        let client = &standing.client;
        let mut chain = subject.actors();
        if let Some(actor) = &actor {
            check_actor(actor, &subject)?;
            chain.insert(0, Acting { sub: actor.sub(), client: actor.client.clone() });
            if chain.len() > MAX_ACTORS {
                let message = format!("would be one of more than {MAX_ACTORS} actors of the token");
                return Err(Error::field(ACTOR, message));
            }
        }
        if request.session.is_some() && request.session != subject.session {
            return Err(Error::field("session_id", "must be the subject token's own session or left out"));
        }
        Ok(Granted {
            grant: GrantType::TokenExchange,
            subject: subject.subject_for(&client.id),
            actor: Actor::new(chain, &client.id),
            allowed: subject.scopes.intersection(&standing.allowed_scopes()),
            default: standing.default_scopes().without_management().intersection(&subject.scopes),
            parents: [Some(subject), actor].into_iter().flatten().collect(),
            life: Life::UNBOUNDED,
            authentication: None,
            standing,
        })
    }

    /// The tokens that are presented, if they are active in the tenant and within reach; at most one read of tokens, and
    /// one of what they depend on.
    async fn presented(
        &self,
        act: &Act,
        subject: &str,
        actor: Option<&str>,
    ) -> Result<(Arc<AccessToken>, Option<Arc<AccessToken>>)> {
        let texts: Vec<&str> = std::iter::once(subject).chain(actor).collect();
        let mut resolved = self.resolve_all(&texts).await?.into_iter();
        let (subject, presented) = (resolved.next().flatten(), resolved.next().flatten());
        let usable = |verified: &Arc<Verified>| verified.token.rev <= act.head() && is_reachable(act, verified);
        let subject = subject.filter(usable).ok_or_else(|| unusable(SUBJECT))?;
        let presented = presented.filter(usable);
        if actor.is_some() && presented.is_none() {
            return Err(unusable(ACTOR));
        }
        let tokens: Vec<_> = std::iter::once(subject).chain(presented).collect();
        let active = self.are_active(&tokens).await?;
        for (field, active) in [SUBJECT, ACTOR].into_iter().zip(active) {
            if !active {
                return Err(unusable(field));
            }
        }
        let mut tokens = tokens.into_iter().map(|verified| Arc::clone(&verified.token));
        let subject = tokens.next().ok_or_else(|| unusable(SUBJECT))?;
        Ok((subject, tokens.next()))
    }
}

fn is_reachable(act: &Act, verified: &Verified) -> bool {
    verified.token.tenant == *act.tenant() && act.may_touch(&verified.token)
}

/// The same for a text that is no token, for a dead token, and for one out of the caller's reach.
fn unusable(field: &'static str) -> Error {
    Error::field(field, "must be an active access token of the tenant within reach")
}

/// A session that was idle for too long to be minted for, a moment before its tokens are inactive, ends them for this
/// purpose.
pub(super) fn lapsed() -> Error {
    unusable(SUBJECT)
}

fn check_actor(actor: &AccessToken, subject: &AccessToken) -> Result<()> {
    if actor.sub() == subject.sub() {
        return Err(Error::field(ACTOR, "must have another subject than the subject token"));
    }
    // A token is in one session, and that of the subject token it must be. The log does not tell when another idles out.
    if actor.session.is_some() && actor.session != subject.session {
        return Err(Error::field(ACTOR, "must belong to the subject token's session or to none"));
    }
    Ok(())
}

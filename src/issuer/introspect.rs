//! Introspection: what a token stands for now (RFC 7662).

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{
    AccessToken, Family,
    secret::{RefreshContent, SecretKind},
};

use super::{
    Issuer,
    freshness::Freshness,
    reach::AccountLookup,
    records::decode_family,
    verified::{Reach, Verified},
};
use crate::{
    directory::{authority::Authority, caller::Caller, permit::Act},
    error::{Error, Result},
    metrics::{Event, labels::Activity},
};

/// What a text stands for. Inactive tokens are `Inactive` and nothing else.
#[derive(Clone, Debug)]
pub enum Introspection {
    Inactive,
    /// With what it gives in the account that the call named, if it named one.
    Access(Arc<Verified>, Option<Arc<Reach>>),
    Refresh {
        family: Box<Family>,
        issuer: String,
    },
}

// === impl Issuer ===

impl Issuer {
    /// What texts stand for, in their order. Result i depends on text i only, and all are judged at one head. `account`, by
    /// id or foreign id, is the account that all of them are judged in besides.
    pub async fn introspect(
        &self,
        act: &Act,
        freshness: Freshness,
        texts: &[String],
        account: Option<&str>,
    ) -> Result<Vec<Introspection>> {
        let caller = act.caller();
        let introspects = caller.standing.introspects();
        let resolved = self.resolve_all(texts).await?;
        let known: Vec<Arc<Verified>> = resolved.iter().flatten().cloned().collect();
        let mut active = self.are_active(&known).await?.into_iter();
        let mut asked = account.map(AccountLookup::new);
        let mut answers = Vec::with_capacity(texts.len());
        for (text, verified) in texts.iter().zip(resolved) {
            answers.push(match verified {
                Some(verified) => {
                    let active = active.next().unwrap_or(false) && freshness.has_seen(verified.token.rev, act.head());
                    if active && may_introspect(caller, &introspects, &verified) {
                        let reach = match &mut asked {
                            Some(asked) => Some(Box::pin(self.reach_in(&verified, asked)).await?),
                            None => None,
                        };
                        Introspection::Access(verified, reach)
                    } else {
                        Introspection::Inactive
                    }
                }
                None if SecretKind::of(text) == Some(SecretKind::Refresh) => {
                    Box::pin(self.introspect_refresh(act, freshness, text)).await?
                }
                None => Introspection::Inactive,
            });
        }
        for answer in &answers {
            self.metrics.count(Event::Introspected(match answer {
                Introspection::Inactive => Activity::Inactive,
                Introspection::Access(..) | Introspection::Refresh { .. } => Activity::Active,
            }));
        }
        Ok(answers)
    }

    /// The bearer of the call: its token, the tenant's `iss`, and what its member may do, if it has one.
    pub async fn bearer(&self, act: &Act) -> Result<(Arc<AccessToken>, String, Option<Arc<Authority>>)> {
        let missing = || Error::new(Reason::TokenMissing, "a bearer token is needed");
        let token = act.caller().token.clone().ok_or_else(missing)?;
        let issuer = self.directory.issuer(&token.tenant);
        let authority = self.directory.authority_of(&token.tenant, &token.subject, None).await?;
        Ok((token, issuer, authority))
    }

    /// Only its own client may introspect a refresh token.
    async fn introspect_refresh(&self, act: &Act, freshness: Freshness, text: &str) -> Result<Introspection> {
        let caller = act.caller();
        let Some((content, _)) = RefreshContent::from_text(text, &*self.core.ring) else {
            return Ok(Introspection::Inactive);
        };
        let Some(record) = self.core.store.family(&content.family).await? else {
            return Ok(Introspection::Inactive);
        };
        let family = decode_family(&record)?;
        let own = family.id == content.family
            && family.tenant == content.tenant
            && family.client == caller.standing.client.id;
        let current = own && family.generation == content.generation && freshness.has_seen(family.rev, act.head());
        let reached = current && caller.reaches_subject(&family.tenant, &family.subject);
        if !reached || self.living_family(&family).await?.is_err() {
            return Ok(Introspection::Inactive);
        }
        let issuer = self.directory.issuer(&family.tenant);
        Ok(Introspection::Refresh { family: Box::new(family), issuer })
    }
}

fn may_introspect(caller: &Caller, introspects: &[String], verified: &Verified) -> bool {
    let token = &verified.token;
    let tenant = token.tenant == caller.tenant || caller.is_admin();
    tenant
        && caller.reaches_subject(&token.tenant, &token.subject)
        && token.audience.meets(introspects, &verified.issuer)
}

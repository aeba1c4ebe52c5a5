//! Introspection: what a token stands for now (RFC 7662).

use std::sync::Arc;

use super::{
    Issuer,
    authenticate::Freshness,
    issue::decode_family,
    reach::{Asked, Reach},
    verify::Verified,
};
use crate::{
    ambient::Time,
    directory::{authority::Authority, caller::Caller, permit::Act, record::Confinement},
    metrics::{Event, labels::Activity},
    store::SessionKey,
    token::{
        AccessToken, Error, Family, Reason, Result, Subject, TenantId, TokenId,
        secret::{RefreshContent, SecretKind},
    },
};

/// What a text stands for. Inactive tokens are `Inactive` and nothing else.
#[derive(Clone, Debug)]
pub enum Introspection {
    Inactive,
    /// With what it gives in the account that was asked about, if one was.
    Access(Arc<Verified>, Option<Arc<Reach>>),
    Refresh {
        family: Box<Family>,
        issuer: String,
    },
}

// === impl Issuer ===

impl Issuer {
    /// What texts stand for, in their order. Result i depends on text i only, and all are judged at one head. `account`, by
    /// id or foreign id, is what all of them are asked about besides.
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
        let mut asked = account.map(Asked::new);
        let mut answers = Vec::with_capacity(texts.len());
        for (text, verified) in texts.iter().zip(resolved) {
            answers.push(match verified {
                Some(verified) => {
                    let active = active.next().unwrap_or(false) && freshness.has_seen(verified.token.rev, act.head());
                    if active && is_business_of(caller, &introspects, &verified) {
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
                    Box::pin(self.introspect_refresh(caller, text)).await?
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

    /// A refresh token is its own client's business only.
    async fn introspect_refresh(&self, caller: &Caller, text: &str) -> Result<Introspection> {
        let Some((content, _)) = RefreshContent::from_text(text, &*self.directory.ring) else {
            return Ok(Introspection::Inactive);
        };
        let Some(record) = self.directory.store.family(&content.family).await? else {
            return Ok(Introspection::Inactive);
        };
        let family = decode_family(&record)?;
        let own = family.id == content.family
            && family.tenant == content.tenant
            && family.client == caller.standing.client.id;
        if !own
            || !caller.reaches_subject(&family.tenant, family.account(), &family.ancestors)
            || family.generation != content.generation
            || !self.is_family_active(&family).await?
        {
            return Ok(Introspection::Inactive);
        }
        let issuer = self.directory.issuer(&family.tenant);
        Ok(Introspection::Refresh { family: Box::new(family), issuer })
    }

    /// Whether a family can be renewed, as far as its own state goes.
    async fn is_family_active(&self, family: &Family) -> Result<bool> {
        let now = self.now();
        if family.closed || family.expires() <= now || self.directory.follower.revokes(&family.idents(), family.rev) {
            return Ok(false);
        }
        // What holds for an access token that it would give now.
        let probe = family.access_token(TokenId::from_bytes([0; 16]), &family.minted);
        let line =
            probe.account().map(|account| Confinement { account: account.clone(), ancestors: probe.ancestors.clone() });
        let alive = match &line {
            Some(line) => self.directory.is_alive(&family.tenant, line).await?,
            None => true,
        };
        Ok(alive && self.may_act(&family.tenant, &family.subject).await? && self.is_session_alive(family, now).await?)
    }

    /// Whether a member may act where the family's tokens act, and their group is there; true of everybody else.
    pub(super) async fn may_act(&self, tenant: &TenantId, subject: &Subject) -> Result<bool> {
        Ok(self.directory.authority_of(tenant, subject, None).await?.is_some())
    }

    /// Whether the session of a family, if any, has not lapsed.
    pub(super) async fn is_session_alive(&self, family: &Family, now: Time) -> Result<bool> {
        let Some(session) = family.session.clone() else { return Ok(true) };
        let Some(tenant) = self.directory.tenant(&family.tenant).await? else { return Ok(false) };
        let key = SessionKey { tenant: family.tenant.clone(), session };
        Ok(self.session_until(&key, tenant.settings.session_idle_ttl(), now).await?.is_some())
    }
}

fn is_business_of(caller: &Caller, introspects: &[String], verified: &Verified) -> bool {
    let token = &verified.token;
    let tenant = token.tenant == caller.tenant || caller.is_admin();
    tenant
        && caller.reaches_subject(&token.tenant, token.account(), &token.ancestors)
        && token.audience.meets(introspects, &verified.issuer)
}

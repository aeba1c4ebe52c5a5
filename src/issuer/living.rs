//! Whether what was issued lives now: one answer for access tokens, bearers, the parents of derived tokens, repeats, and
//! refresh tokens.
//!
//! It lives if the log does not revoke it, it has not expired, its tenant and its client are enabled and the client still
//! reaches its subject, the accounts of its line and its member are enabled, and its session has not lapsed.

use std::sync::Arc;

use jeton_core::{
    AccessToken, ClientId, Family, Lineage, Position, SessionId, Subject, TenantId, Time, ident::Idents,
    scope::management,
};

use super::Issuer;
use crate::{
    directory::{authority::Authority, record::State, standing::Standing},
    error::Result,
    revocation::cache::MAX_AGE,
    store::SessionKey,
};

/// Something that was issued, with all that its life depends on.
#[derive(Debug)]
pub(super) struct Dependent<'a> {
    pub expires: Time,
    pub rev: Position,
    pub idents: &'a Idents,
    pub tenant: &'a TenantId,
    pub client: &'a ClientId,
    pub subject: &'a Subject,
    pub session: Option<&'a SessionId>,
}

/// What lives, until when that may be believed, and what its member may do.
#[derive(Debug)]
pub(super) struct Alive {
    pub until: Time,
    pub authority: Arc<Authority>,
}

/// Why something does not live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dead {
    /// It was revoked, or something that it depends on is not enabled.
    Over,
    Expired,
    /// Its session has lapsed.
    Lapsed,
}

// === impl Dependent ===

impl<'a> Dependent<'a> {
    pub(super) fn of_token(token: &'a AccessToken, idents: &'a Idents) -> Self {
        Self {
            expires: token.expires(),
            rev: token.rev,
            idents,
            tenant: &token.tenant,
            client: &token.client,
            subject: &token.subject,
            session: token.session.as_ref(),
        }
    }
}

// === impl Issuer ===

impl Issuer {
    /// Whether it lives, by the log as applied now and by records.
    pub(super) async fn living(&self, what: &Dependent<'_>, now: Time) -> Result<std::result::Result<Alive, Dead>> {
        match self.dead(what, now) {
            Some(dead) => Ok(Err(dead)),
            None => self.supported(what, now).await,
        }
    }

    /// What of its life is known without any record: why it does not live whatever they say.
    pub(super) fn dead(&self, what: &Dependent<'_>, now: Time) -> Option<Dead> {
        if self.core.log.revokes(what.idents, what.rev) {
            Some(Dead::Over)
        } else if what.expires <= now {
            Some(Dead::Expired)
        } else {
            None
        }
    }

    /// Whether all that it depends on is there.
    pub(super) async fn supported(&self, what: &Dependent<'_>, now: Time) -> Result<std::result::Result<Alive, Dead>> {
        let directory = &self.directory;
        if directory.tenant(what.tenant).await?.is_none_or(|tenant| tenant.state != State::Enabled) {
            return Ok(Err(Dead::Over));
        }
        if !self.client_reaches(what).await? {
            return Ok(Err(Dead::Over));
        }
        if let Some(lineage) = what.subject.lineage()
            && !directory.is_alive(what.tenant, lineage).await?
        {
            return Ok(Err(Dead::Over));
        }
        let Some(authority) = directory.authority_of(what.tenant, what.subject, None).await? else {
            return Ok(Err(Dead::Over));
        };
        let mut until = now.plus(MAX_AGE);
        if let Some(session) = what.session {
            let session = SessionKey { tenant: what.tenant.clone(), session: session.clone() };
            let Some(alive_until) = self.session_until(&session, now).await? else {
                return Ok(Err(Dead::Lapsed));
            };
            until = until.min(alive_until);
        }
        Ok(Ok(Alive { until, authority }))
    }

    /// Whether a family's refresh token lives, and what its client may do.
    pub(super) async fn living_family(&self, family: &Family) -> Result<std::result::Result<Arc<Standing>, Dead>> {
        let home = family.home.as_ref().unwrap_or(&family.tenant);
        let standing = self.standing_anywhere(&family.tenant, home, &family.client).await?;
        let Some(standing) = standing.filter(|standing| standing.is_enabled() && !family.closed) else {
            return Ok(Err(Dead::Over));
        };
        let idents = family.idents();
        let what = Dependent {
            expires: family.expires().min(standing.renewable_until(family)),
            rev: family.rev,
            idents: &idents,
            tenant: &family.tenant,
            client: &family.client,
            subject: &family.subject,
            session: family.session.as_ref(),
        };
        Ok(self.living(&what, self.now()).await?.map(|_| standing))
    }

    /// Whether its client is enabled: at home in its tenant, admitted to it, or an administrator of `system`; and not
    /// confined meanwhile to where its subject is not. That a client from elsewhere was disabled at home is found in the log.
    async fn client_reaches(&self, what: &Dependent<'_>) -> Result<bool> {
        let within = |now: Option<&Lineage>| now.is_none_or(|now| what.subject.is_within(&now.account));
        if let Some(client) = self.directory.client(what.tenant, what.client).await? {
            return Ok(client.state == State::Enabled && within(client.confinement.as_ref()));
        }
        if let Some(admission) = self.directory.admission(what.tenant, what.client).await? {
            return Ok(within(admission.confinement.as_ref()));
        }
        let client = self.directory.client(&TenantId::system(), what.client).await?;
        Ok(client
            .is_some_and(|client| client.state == State::Enabled && client.allowed_scopes.contains(management::ADMIN)))
    }

    /// Until when a session lives, as far as is known; `None`: it has lapsed. What memory knows may prove it alive, never
    /// lapsed: mints are not logged.
    async fn session_until(&self, session: &SessionKey, now: Time) -> Result<Option<Time>> {
        let alive = |until: &Time| now < *until;
        if let Some(until) = self.directory.known_alive(session).filter(alive) {
            return Ok(Some(until));
        }
        Ok(self.directory.session(session).await?.map(|session| session.alive_until).filter(alive))
    }
}

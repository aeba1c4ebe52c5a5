//! What a caller may hand on: to clients that it creates or changes, and to those that it admits.
//!
//! Every verb that writes a client or an admission asks [`Limits`] about the record as it was and as it will be. What a
//! record holds stands behind each of its credentials, so that a new secret, key or identity of it is judged with it.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{
    AccountId, GrantType, Lineage, Scopes,
    scope::{is_management, management},
};

use super::{
    bounds::{ANY, Bounds, Lifetimes},
    caller::Caller,
    permit::Act,
    record::{Admission, Client, Grantable, Tenant},
};
use crate::error::{Error, Result};

/// What a caller may hand on in a tenant now.
#[derive(Debug)]
pub struct Limits {
    caller: Arc<Caller>,
    tenant: Arc<Tenant>,
    /// The tenant's `iss`.
    issuer: String,
    /// `None`: everything. Administrators of `system`.
    bounds: Option<Bounds>,
}

// === impl Act ===

impl Act {
    /// What a call may hand on where it acts. A client that holds more is not touched: to disable or delete it is no less a
    /// way to rule over it than to change it.
    pub(super) async fn limits(&self) -> Result<Limits> {
        let tenant = self.directory.existing_tenant(self.tenant()).await?;
        let issuer = self.directory.issuer(&tenant.id);
        let caller = Arc::clone(self.caller());
        let bounds = (!caller.is_admin()).then(|| Bounds::held(&caller.standing, &tenant));
        Ok(Limits { caller, tenant, issuer, bounds })
    }
}

// === impl Limits ===

impl Limits {
    /// Refuses a client that holds what the caller may not hand on. It holds what its tenant gives it where it says nothing.
    pub fn check_client(&self, client: &Client) -> Result<()> {
        // By name, so that a new field is judged here or said to give nothing.
        let Client {
            allowed_grants,
            allowed_scopes,
            audiences,
            introspects,
            confinement,
            token_ttl,
            refresh_idle_ttl,
            refresh_absolute_ttl,
            grantable,
            // A subset of `allowed_scopes`.
            default_scopes: _,
            // These prove the client and give nothing of their own: all that it holds is judged here.
            secrets: _,
            jwks: _,
            jwks_uri: _,
            workload_identities: _,
            certificate_identities: _,
            // How a refresh token is replaced gives no right.
            replay_window: _,
            renewal_policy: _,
            id: _,
            tenant: _,
            display_name: _,
            state: _,
            labels: _,
            created: _,
            updated: _,
            version: _,
        } = client;
        self.check_confinement(confinement.as_ref())?;
        self.check_scopes(allowed_scopes)?;
        self.check_audiences(audiences)?;
        self.check_introspects(introspects)?;
        self.check_grants(allowed_grants)?;
        let settings = &self.tenant.settings;
        self.check_lifetimes(&Lifetimes {
            token: token_ttl.unwrap_or_default(),
            refresh_idle: refresh_idle_ttl.unwrap_or_else(|| settings.refresh_idle_ttl()),
            refresh_absolute: refresh_absolute_ttl.unwrap_or_else(|| settings.refresh_absolute_ttl()),
        })?;
        match grantable {
            Some(grantable) => self.check_grantable(grantable),
            None => Ok(()),
        }
    }

    /// Refuses an edit of the caller's own client that changes what it may do.
    pub fn check_own(&self, before: &Client, after: &Client) -> Result<()> {
        let powers = |client: &Client| {
            let Client {
                allowed_grants,
                allowed_scopes,
                default_scopes,
                audiences,
                introspects,
                token_ttl,
                refresh_idle_ttl,
                refresh_absolute_ttl,
                replay_window,
                renewal_policy,
                grantable,
                ..
            } = client.clone();
            (
                (allowed_grants, allowed_scopes, default_scopes, audiences, introspects, grantable),
                (token_ttl, refresh_idle_ttl, refresh_absolute_ttl, replay_window, renewal_policy),
            )
        };
        if before.id == self.caller.standing.client.id && powers(before) != powers(after) {
            return Err(own());
        }
        Ok(())
    }

    /// Refuses an admission that gives what the caller may not hand on, and every one of the caller's own client.
    pub fn check_admission(&self, admission: &Admission) -> Result<()> {
        let Admission {
            client,
            scopes,
            audiences,
            confinement,
            tenant: _,
            state: _,
            created: _,
            updated: _,
            version: _,
        } = admission;
        if *client == self.caller.standing.client.id {
            return Err(own());
        }
        self.check_confinement(confinement.as_ref())?;
        if scopes.is_empty() && self.bounds.as_ref().is_some_and(|bounds| !bounds.any_scope) {
            return Err(Error::new(
                Reason::ScopeNotAllowed,
                "an admission without scopes gives all that are not jeton's, which the caller may not hand on; name some",
            ));
        }
        self.check_scopes(scopes)?;
        // They are the ceiling of what the client may ask for, and of what it may ask about.
        self.check_audiences(audiences)?;
        self.check_introspects(audiences)
    }

    /// Refuses audiences that the caller may not hand on. Every client may ask for the tenant's default and for the issuer.
    pub fn check_audiences(&self, audiences: &[String]) -> Result<()> {
        let Some(bounds) = &self.bounds else { return Ok(()) };
        let default = self.tenant.settings.default_audience(&self.issuer);
        let free = |audience: &&String| **audience == default || **audience == self.issuer;
        let beyond = beyond(audiences.iter().filter(|audience| !free(audience)), &bounds.audiences);
        refuse(beyond, Reason::AudienceNotAllowed, "audience")
    }

    fn check_introspects(&self, introspects: &[String]) -> Result<()> {
        let Some(bounds) = &self.bounds else { return Ok(()) };
        let beyond = beyond(introspects.iter(), &bounds.introspects);
        refuse(beyond, Reason::AudienceNotAllowed, "right to introspect tokens for")
    }

    fn check_scopes(&self, scopes: &Scopes) -> Result<()> {
        let lacks = |scope: &str| is_management(scope) && !self.caller.scopes.contains(scope);
        let exceeds = |scope: &str| {
            self.bounds.as_ref().is_some_and(|bounds| {
                !(bounds.any_scope && scope != management::ADMIN || bounds.scopes.contains(scope))
            })
        };
        refuse(scopes.iter().find(|scope| lacks(scope) || exceeds(scope)), Reason::ScopeNotAllowed, "scope")
    }

    fn check_grants(&self, grants: &[GrantType]) -> Result<()> {
        let Some(bounds) = &self.bounds else { return Ok(()) };
        let beyond = grants.iter().find(|grant| !bounds.grants.contains(grant));
        refuse(beyond.map(|grant| grant.name()), Reason::GrantNotAllowed, "grant")
    }

    fn check_lifetimes(&self, lifetimes: &Lifetimes) -> Result<()> {
        let Some(bounds) = &self.bounds else { return Ok(()) };
        let limits = &bounds.lifetimes;
        for (name, life, limit) in [
            ("token_ttl", lifetimes.token, limits.token),
            ("refresh_idle_ttl", lifetimes.refresh_idle, limits.refresh_idle),
            ("refresh_absolute_ttl", lifetimes.refresh_absolute, limits.refresh_absolute),
        ] {
            if life > limit {
                let limit = limit.as_secs();
                return Err(Error::new(
                    Reason::TtlOutOfRange,
                    format!("{name} must be at most {limit}s, the longest that the caller may hand on"),
                ));
            }
        }
        Ok(())
    }

    fn check_grantable(&self, grantable: &Grantable) -> Result<()> {
        let Grantable { scopes, audiences, introspects, grants, .. } = grantable;
        // Here "*" is no scope of that name but every scope.
        if scopes.contains(ANY) && self.bounds.as_ref().is_some_and(|bounds| !bounds.any_scope) {
            return refuse(Some(ANY), Reason::ScopeNotAllowed, "scope");
        }
        self.check_scopes(&Scopes::new(scopes.iter().filter(|scope| *scope != ANY)))?;
        self.check_audiences(audiences)?;
        self.check_introspects(introspects)?;
        self.check_grants(grants)?;
        self.check_lifetimes(&Bounds::of(grantable, &self.tenant).lifetimes)
    }

    fn check_confinement(&self, confinement: Option<&Lineage>) -> Result<()> {
        let within = |root: &AccountId| confinement.is_some_and(|own| own.is_within(root));
        if self.caller.confinement(&self.tenant.id).is_none_or(within) {
            return Ok(());
        }
        Err(Error::new(Reason::ScopeInsufficient, "the client acts beyond the account that confines the caller"))
    }
}

fn beyond<'a>(mut wanted: impl Iterator<Item = &'a String>, limit: &[String]) -> Option<&'a str> {
    let all = limit.iter().any(|own| own == ANY);
    wanted.find(|wanted| !all && !limit.contains(wanted)).map(String::as_str)
}

fn refuse(beyond: Option<&str>, reason: Reason, what: &str) -> Result<()> {
    match beyond {
        Some(beyond) => Err(Error::new(
            reason,
            format!(
                "the {what} {beyond} cannot be given, or changed where it is held, by a caller that may not hand it on"
            ),
        )),
        None => Ok(()),
    }
}

fn own() -> Error {
    Error::new(Reason::ScopeInsufficient, "a client does not change what it may do itself")
}

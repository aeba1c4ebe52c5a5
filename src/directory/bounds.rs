//! What a client may hand on at most, by what it holds or by what its record says.

use std::time::Duration;

use jeton_core::{GrantType, Scopes};

use super::{
    record::{Admission, Grantable, Tenant},
    standing::{Standing, common},
};

/// The limits of a caller that has some, with nothing left out.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Every scope but `jeton.admin`, besides `scopes`.
    pub any_scope: bool,
    pub scopes: Scopes,
    pub audiences: Vec<String>,
    pub introspects: Vec<String>,
    pub grants: Vec<GrantType>,
    pub lifetimes: Lifetimes,
}

#[derive(Debug)]
pub(super) struct Lifetimes {
    pub token: Duration,
    pub refresh_idle: Duration,
    pub refresh_absolute: Duration,
}

/// What stands for all.
pub(super) const ANY: &str = "*";

// === impl Bounds ===

impl Bounds {
    /// Those of a client where it acts.
    pub(super) fn held(standing: &Standing, tenant: &Tenant) -> Self {
        let client = &standing.client;
        let bounds = match &client.grantable {
            Some(grantable) => Self::of(grantable, tenant),
            // By default what it holds. Any client may ask for tokens that live as long as the tenant allows.
            None => Self {
                any_scope: false,
                scopes: client.allowed_scopes.clone(),
                audiences: client.audiences.clone(),
                introspects: client.introspects.clone(),
                grants: client.allowed_grants.clone(),
                lifetimes: Lifetimes {
                    token: tenant.settings.max_token_ttl(),
                    refresh_idle: standing.refresh_idle_ttl(),
                    refresh_absolute: standing.refresh_absolute_ttl(),
                },
            },
        };
        match &standing.admission {
            Some(admission) => bounds.within(admission),
            None => bounds,
        }
    }

    pub(super) fn of(grantable: &Grantable, tenant: &Tenant) -> Self {
        let settings = &tenant.settings;
        Self {
            any_scope: grantable.scopes.contains(ANY),
            scopes: grantable.scopes.clone(),
            audiences: grantable.audiences.clone(),
            introspects: grantable.introspects.clone(),
            grants: grantable.grants.clone(),
            lifetimes: Lifetimes {
                token: grantable.token_ttl.unwrap_or_else(|| settings.max_token_ttl()),
                refresh_idle: grantable.refresh_idle_ttl.unwrap_or_else(|| settings.refresh_absolute_ttl()),
                refresh_absolute: grantable.refresh_absolute_ttl.unwrap_or_else(|| settings.refresh_absolute_ttl()),
            },
        }
    }

    /// What is left of them where the client is admitted.
    pub(super) fn within(self, admission: &Admission) -> Self {
        let (any_scope, scopes) = match (admission.scopes.is_empty(), self.any_scope) {
            (true, any) => (any, self.scopes.without_management()),
            (false, true) => (false, admission.scopes.clone()),
            (false, false) => (false, self.scopes.intersection(&admission.scopes)),
        };
        Self {
            any_scope,
            scopes,
            audiences: common(&self.audiences, &admission.audiences),
            introspects: common(&self.introspects, &admission.audiences),
            ..self
        }
    }
}

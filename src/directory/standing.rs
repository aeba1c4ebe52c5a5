//! What a client may do in a tenant: its own record, or, elsewhere than at home, that and its admission together.

use std::{sync::Arc, time::Duration};

use jeton_core::{Family, GrantType, Lineage, Scopes, Time};

use super::record::{Admission, Client, State, Tenant};

/// A client in a tenant.
#[derive(Clone, Debug)]
pub struct Standing {
    pub tenant: Arc<Tenant>,
    pub client: Arc<Client>,
    /// Set where the client is not at home.
    pub admission: Option<Arc<Admission>>,
}

// === impl Standing ===

impl Standing {
    /// Whether the client may act at all.
    pub fn is_enabled(&self) -> bool {
        let admitted = self.admission.as_ref().is_none_or(|admission| admission.state == State::Enabled);
        self.tenant.state == State::Enabled && self.client.state == State::Enabled && admitted
    }

    pub fn allows_grant(&self, grant: GrantType) -> bool {
        self.client.allowed_grants.contains(&grant)
    }

    /// The scopes that it may ask for. Abroad no `jeton.` scope unless the admission names it.
    pub fn allowed_scopes(&self) -> Scopes {
        self.ceiling(&self.client.allowed_scopes)
    }

    /// The scopes that it gets when it asks for none.
    pub fn default_scopes(&self) -> Scopes {
        self.ceiling(&self.client.default_scopes)
    }

    fn ceiling(&self, scopes: &Scopes) -> Scopes {
        match &self.admission {
            // An admission that names no scopes does not narrow ordinary ones.
            Some(admission) if admission.scopes.is_empty() => scopes.without_management(),
            Some(admission) => scopes.intersection(&admission.scopes),
            None => scopes.clone(),
        }
    }

    /// Whether it may ask for an audience.
    pub fn allows_audience(&self, audience: &str, issuer: &str) -> bool {
        if audience == self.tenant.settings.default_audience(issuer) {
            return true;
        }
        let names = |list: &[String]| list.iter().any(|own| own == "*" || own == audience);
        names(&self.client.audiences) && self.admission.as_ref().is_none_or(|admission| names(&admission.audiences))
    }

    /// The audiences whose tokens it may ask about; "*" is all.
    pub fn introspects(&self) -> Vec<String> {
        let own = &self.client.introspects;
        match &self.admission {
            Some(admission) => common(own, &admission.audiences),
            None => own.clone(),
        }
    }

    /// The account that confines it here.
    pub fn confinement(&self) -> Option<&Lineage> {
        match &self.admission {
            Some(admission) => admission.confinement.as_ref(),
            None => self.client.confinement.as_ref(),
        }
    }

    pub fn token_ttl(&self, grant: GrantType) -> Duration {
        let settings = &self.tenant.settings;
        let default = match grant {
            GrantType::ClientCredentials | GrantType::Workload | GrantType::TokenExchange => {
                settings.client_token_ttl()
            }
            GrantType::Account => settings.account_token_ttl(),
            GrantType::Member => settings.member_token_ttl(),
            GrantType::AuthenticatedMember => settings.authenticated_member_token_ttl(),
            GrantType::EntityGroup => settings.group_token_ttl(),
        };
        self.client.token_ttl.unwrap_or(default).min(settings.max_token_ttl())
    }

    pub fn refresh_idle_ttl(&self) -> Duration {
        let settings = &self.tenant.settings;
        let own = self.client.refresh_idle_ttl.unwrap_or_else(|| settings.refresh_idle_ttl());
        own.min(settings.refresh_absolute_ttl())
    }

    pub fn refresh_absolute_ttl(&self) -> Duration {
        let max = self.tenant.settings.refresh_absolute_ttl();
        self.client.refresh_absolute_ttl.map_or(max, |own| own.min(max))
    }

    /// When a family ends by what the client may have now.
    pub fn renewable_until(&self, family: &Family) -> Time {
        family.absolute_expiry.min(family.granted.plus(self.refresh_absolute_ttl()))
    }

    pub fn replay_window(&self) -> Duration {
        self.client.replay_window.unwrap_or_else(|| self.tenant.settings.replay_window())
    }
}

/// The audiences that two lists allow; "*" is all.
pub(super) fn common(one: &[String], other: &[String]) -> Vec<String> {
    let all = |list: &[String]| list.iter().any(|audience| audience == "*");
    if all(one) {
        return other.to_vec();
    }
    one.iter().filter(|audience| all(other) || other.contains(audience)).cloned().collect()
}

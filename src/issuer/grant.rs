//! Grants: whom a token is for, by which right, and what it may be given at most. [`super::exchange`] has one more.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{Actor, GrantType, Subject};

use super::{
    Issuer,
    granted::{Granted, Life},
};
use crate::{
    directory::{
        caller::Right,
        permit::Act,
        record::{Account, State, Tenant},
        standing::Standing,
    },
    error::{Error, Result},
};

// === impl Issuer ===

impl Issuer {
    /// For the client that calls: by client authentication, or by a workload that stands for it.
    pub(super) async fn grant_client(&self, act: &Act, named: Option<&str>, grant: GrantType) -> Result<Granted> {
        let caller = act.caller();
        if caller.token.is_some() {
            return Err(Error::new(
                Reason::InvalidClient,
                "this grant wants client authentication, not a bearer token",
            ));
        }
        let client = &caller.standing.client;
        let not_granted =
            || Error::new(Reason::TenantNotGranted, "the tenant is unknown or has not admitted the client");
        let standing = match named {
            None => Arc::clone(&caller.standing),
            Some(tenant) => {
                let tenant = tenant.parse().map_err(|_| not_granted())?;
                let standing = Box::pin(self.directory.standing(&tenant, &client.tenant, &client.id)).await?;
                standing.filter(|standing| standing.is_enabled()).ok_or_else(not_granted)?
            }
        };
        require_allowed(&standing, grant)?;
        let confinement = standing.confinement().cloned();
        if let Some(confinement) = &confinement
            && !self.directory.is_alive(&standing.tenant.id, confinement).await?
        {
            return Err(Error::new(Reason::Disabled, "the account that confines the client is disabled"));
        }
        Ok(Granted {
            grant,
            subject: Subject::Client(confinement),
            actor: None,
            allowed: standing.allowed_scopes(),
            default: standing.default_scopes(),
            parents: Vec::new(),
            life: Life::UNBOUNDED,
            authentication: None,
            standing,
        })
    }

    pub(super) async fn grant_account(&self, act: &Act, reference: &str) -> Result<Granted> {
        let (caller, right) = (act.caller(), act.right());
        let account = act.reachable_account(reference).await?;
        if account.state == State::Deleted {
            return Err(Error::not_found("Account", reference));
        }
        let standing = self.standing_in(act).await?;
        self.require_alive(&standing.tenant, &account).await?;
        if right == Right::Scope {
            require_allowed(&standing, GrantType::Account)?;
        }
        let default = standing.default_scopes().without_management();
        let (allowed, default, parents) = match right {
            Right::Scope => (standing.allowed_scopes(), default, Vec::new()),
            Right::OwnOnly => {
                let parents = caller.token.iter().cloned().collect();
                (caller.scopes.clone(), default.intersection(&caller.scopes), parents)
            }
        };
        let actor = if caller.sub == account.id.to_string() {
            None
        } else if caller.sub == standing.client.id.to_string() {
            Some(Actor::Client)
        } else {
            Some(Actor::Other(caller.sub.clone()))
        };
        Ok(Granted {
            grant: GrantType::Account,
            subject: Subject::Account(account.lineage()),
            actor,
            allowed,
            default,
            parents,
            life: Life::UNBOUNDED,
            authentication: None,
            standing,
        })
    }

    pub(super) async fn grant_member(&self, act: &Act, member: &str, account: Option<&str>) -> Result<Granted> {
        let standing = self.standing_for_grant(act, GrantType::Member).await?;
        let (account, member) = act.place_of(member, account).await?;
        self.require_alive(&standing.tenant, &account).await?;
        Ok(Granted {
            grant: GrantType::Member,
            subject: Subject::Member(account.lineage(), member),
            actor: None,
            // What a member may do at jeton itself is not decided by its client's scopes.
            allowed: standing.allowed_scopes().without_management(),
            default: standing.default_scopes().without_management(),
            parents: Vec::new(),
            life: Life::UNBOUNDED,
            authentication: None,
            standing,
        })
    }

    pub(super) async fn grant_group(&self, act: &Act, group: &str, member: Option<&str>) -> Result<Granted> {
        let standing = self.standing_for_grant(act, GrantType::EntityGroup).await?;
        let (group, member) = act.place_in_group(group, member).await?;
        if standing.tenant.state != State::Enabled {
            return Err(Error::new(Reason::Disabled, "the tenant is disabled"));
        }
        Ok(Granted {
            grant: GrantType::EntityGroup,
            subject: Subject::Group(group, member),
            actor: None,
            // What a group or its member may do at jeton itself is not decided by its client's scopes.
            allowed: standing.allowed_scopes().without_management(),
            default: standing.default_scopes().without_management(),
            parents: Vec::new(),
            life: Life::UNBOUNDED,
            authentication: None,
            standing,
        })
    }

    /// The standing of a caller that asks for a grant, in the tenant that it names.
    pub(super) async fn standing_for_grant(&self, act: &Act, grant: GrantType) -> Result<Arc<Standing>> {
        // These grants have nothing that is the caller's own.
        act.require_scope()?;
        let standing = self.standing_in(act).await?;
        require_allowed(&standing, grant)?;
        Ok(standing)
    }

    /// What the caller's client may do, in the tenant that the call is about.
    pub(super) async fn standing_in(&self, act: &Act) -> Result<Arc<Standing>> {
        let tenant = act.tenant_of().await?;
        Ok(Arc::new(Standing { tenant, ..(*act.caller().standing).clone() }))
    }

    async fn require_alive(&self, tenant: &Tenant, account: &Account) -> Result<()> {
        if tenant.state == State::Enabled && self.directory.is_alive(&tenant.id, &account.lineage()).await? {
            return Ok(());
        }
        Err(Error::new(Reason::Disabled, "the account, one of its ancestors, or the tenant is disabled"))
    }
}

pub(super) fn require_allowed(standing: &Standing, grant: GrantType) -> Result<()> {
    if standing.allows_grant(grant) {
        return Ok(());
    }
    Err(Error::new(Reason::GrantNotAllowed, format!("the client may not use the {} grant", grant.name())))
}

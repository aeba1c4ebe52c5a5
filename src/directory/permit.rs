//! May this caller? The rule that the contract declares, who calls, and the tenant make a [`Permit`]; no verb runs
//! without one.
//!
//! Invariant: scopes are compared here and nowhere else, unless a scope has a meaning of its own (`jeton.admin`,
//! `jeton.tokens.eternal`). Which scope a method or grant wants is known to the contract only.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{AccessToken, Position, Subject, TenantId};

use super::{
    Directory,
    caller::{About, Caller, Right},
    page::PageRequest,
};
use crate::error::{Error, Result};

/// Who may call a method or use a grant, as the contract declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub access: Access,
    /// A bearer without the scope may act on what is its own; the verb decides what that is.
    pub self_allowed: bool,
    /// A client's secret or assertion in the message may stand in place of a bearer token.
    pub client_authentication: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Public,
    /// Any active token of ours.
    Authenticated,
    /// A caller that holds this scope.
    Scope(String),
}

/// That a caller may do what a rule is declared for: who, by which right, in which tenant.
#[derive(Clone, Debug)]
struct Permit {
    caller: Arc<Caller>,
    rule: &'static Rule,
    right: Right,
    tenant: TenantId,
}

/// One call that may act: its permit, and the log's head that was read for it before anything else. What it may do in the
/// directory are its methods, each in the file of what it is done to.
///
/// Only [`Directory::permit`] makes one.
#[derive(Clone, Debug)]
pub struct Act {
    permit: Permit,
    head: Position,
    pub(super) directory: Arc<Directory>,
}

/// One call of what is open to anyone: possession of what it brings is its permit.
#[derive(Clone, Debug)]
pub struct Visit {
    pub(super) directory: Arc<Directory>,
    /// The caller's, if somebody calls.
    tenant: Option<TenantId>,
    head: Position,
}

// === impl Rule ===

impl Rule {
    /// Whether a call without a bearer token can pass.
    pub fn takes_no_bearer(&self) -> bool {
        self.access == Access::Public || self.client_authentication
    }

    /// By which right somebody acts who holds the scopes of which `holds` tells.
    ///
    /// # Errors
    /// SCOPE_INSUFFICIENT without the declared scope, unless the rule lets one act on one's own.
    pub fn right(&self, holds: impl FnOnce(&str) -> bool) -> Result<Right> {
        match &self.access {
            Access::Public | Access::Authenticated => Ok(Right::Scope),
            Access::Scope(scope) if holds(scope) => Ok(Right::Scope),
            Access::Scope(_) if self.self_allowed => Ok(Right::OwnOnly),
            Access::Scope(_) => Err(self.insufficient()),
        }
    }

    /// The refusal of a call without proof of who calls.
    pub fn missing(&self) -> Error {
        let message = match self.client_authentication {
            true => "a bearer token or client authentication is needed",
            false => "a bearer token is needed",
        };
        Error::new(Reason::TokenMissing, message)
    }

    /// The refusal of a caller without the declared scope.
    pub fn insufficient(&self) -> Error {
        let message = match &self.access {
            Access::Scope(scope) => format!("the call wants the scope {scope}"),
            Access::Public | Access::Authenticated => "the call is not the caller's to make".to_owned(),
        };
        Error::new(Reason::ScopeInsufficient, message)
    }
}

// === impl Directory ===

impl Directory {
    /// The one place that decides whether a call may be made, and where it acts: in the caller's own tenant, or in one that
    /// exists and that the caller may name. `head`: the log's head that was read for the call.
    ///
    /// # Errors
    /// SCOPE_INSUFFICIENT; NOT_FOUND of the tenant; INVALID_FIELD if it has to be named.
    pub async fn permit(
        self: &Arc<Self>,
        rule: &'static Rule,
        caller: Arc<Caller>,
        about: &About,
        head: Position,
    ) -> Result<Act> {
        let right = rule.right(|scope| caller.holds(scope))?;
        let tenant = caller.nameable_tenant(about)?;
        if tenant != caller.tenant {
            self.existing_tenant(&tenant).await?;
        }
        Ok(Act { permit: Permit { caller, rule, right, tenant }, head, directory: Arc::clone(self) })
    }

    /// Lets nobody in particular call what is open to anyone.
    ///
    /// # Errors
    /// TOKEN_MISSING under a rule that is not public.
    pub fn visit(self: &Arc<Self>, rule: &Rule, head: Position) -> Result<Visit> {
        match rule.access {
            Access::Public => Ok(Visit { directory: Arc::clone(self), tenant: None, head }),
            Access::Authenticated | Access::Scope(_) => Err(rule.missing()),
        }
    }
}

// === impl Act ===

impl Act {
    pub fn caller(&self) -> &Arc<Caller> {
        &self.permit.caller
    }

    /// In which it acts.
    pub const fn tenant(&self) -> &TenantId {
        &self.permit.tenant
    }

    pub const fn right(&self) -> Right {
        self.permit.right
    }

    /// The log's head that was read for the call.
    pub const fn head(&self) -> Position {
        self.head
    }

    /// The same under a head that was read later.
    #[must_use]
    pub fn at(&self, head: Position) -> Self {
        Self { head, ..self.clone() }
    }

    /// Whether the caller may see or revoke a token: by scope within reach, or as its own.
    pub fn may_touch(&self, token: &AccessToken) -> bool {
        let caller = self.caller();
        let own = caller.token.as_ref().is_some_and(|bearer| bearer.id == token.id);
        if own {
            return true;
        }
        match self.permit.right {
            Right::Scope => caller.reaches_subject(&token.tenant, &token.subject),
            Right::OwnOnly => match (&caller.subject, &token.subject) {
                (Subject::Client(_), Subject::Client(_)) => {
                    caller.tenant == token.tenant && caller.standing.client.id == token.client
                }
                (Subject::Account(own), Subject::Account(of)) => of.is_within(&own.account),
                // What another client obtained in its name is the client's own.
                (Subject::Client(_), Subject::OtherClient(client, _)) => {
                    caller.tenant == token.tenant && caller.standing.client.id == *client
                }
                // A member or a group has the token that it acts with, no more; so has an actor for a client.
                (Subject::OtherClient(..) | Subject::Member(..) | Subject::Group(..), _)
                | (Subject::Client(_), Subject::Account(_) | Subject::Member(..) | Subject::Group(..))
                | (
                    Subject::Account(_),
                    Subject::Client(_) | Subject::Member(..) | Subject::Group(..) | Subject::OtherClient(..),
                ) => false,
            },
        }
    }

    /// The page of a list that is asked for; `query` is what the list is of, besides its tenant.
    ///
    /// # Errors
    /// PAGE_TOKEN_INVALID.
    pub fn page(&self, size: i32, token: &str, query: &[&[u8]]) -> Result<PageRequest> {
        let tenant = self.tenant().to_string();
        let parts: Vec<&[u8]> = std::iter::once(tenant.as_bytes()).chain(query.iter().copied()).collect();
        PageRequest::new(size, token, self.caller(), &parts, &self.directory.core.ring)
    }

    /// Refuses a caller that does not hold the declared scope: what it acts on cannot be its own.
    pub fn require_scope(&self) -> Result<()> {
        match self.permit.right {
            Right::Scope => Ok(()),
            Right::OwnOnly => Err(self.insufficient()),
        }
    }

    pub fn insufficient(&self) -> Error {
        self.permit.rule.insufficient()
    }
}

// === impl Visit ===

impl Visit {
    /// Of somebody who proved who it is.
    pub fn of(act: &Act) -> Self {
        Self { directory: Arc::clone(&act.directory), tenant: Some(act.tenant().clone()), head: act.head }
    }

    /// The tenant that is meant unless another one is named.
    pub const fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    /// The log's head that was read for the call.
    pub const fn head(&self) -> Position {
        self.head
    }
}

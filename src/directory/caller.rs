//! Who calls, and what is within reach.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{AccessToken, AccountId, MemberId, Scopes, Subject, TenantId, scope::management};

use super::{record::Account, standing::Standing};
use crate::error::{Error, Result};

/// An authenticated caller: the bearer of one of our tokens, or a client that proved itself in the request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The tenant that it acts in unless it names another.
    pub tenant: TenantId,
    pub subject: Subject,
    /// Its `sub`.
    pub sub: String,
    pub scopes: Scopes,
    /// The client behind it, with what it may do in the tenant.
    pub standing: Arc<Standing>,
    /// The bearer token; `None`: client authentication.
    pub token: Option<Arc<AccessToken>>,
}

/// By which right a caller acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It holds the scope that the method declares.
    Scope,
    /// It holds no scope but acts on what is its own.
    OwnOnly,
}

/// What a call is about, as far as tenants are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A tenant, or something that belongs to one. Unnamed (empty) it is the caller's own; an administrator of all
    /// tenants has to name it.
    Tenant(String),
    /// The caller itself, all tenants, or something that names its tenant otherwise, as a token does.
    Caller,
}

// === impl Caller ===

impl Caller {
    pub fn has(&self, scope: &str) -> bool {
        self.scopes.contains(scope)
    }

    /// Whether all tenants are within reach.
    pub fn is_admin(&self) -> bool {
        let unconfined = matches!(self.subject, Subject::Client(None));
        unconfined && self.has(management::ADMIN) && self.tenant == TenantId::system()
    }

    /// Whether it holds a scope that a rule declares. Outside of `system` `jeton.admin` administers nothing.
    pub fn holds(&self, scope: &str) -> bool {
        if scope == management::ADMIN { self.is_admin() } else { self.has(scope) }
    }

    /// The member that it is: the bearer of a member's token through which nobody else acts.
    pub fn own_member(&self) -> Option<&MemberId> {
        let token = self.token.as_ref().filter(|token| token.actor.is_none());
        token.and_then(|_| self.subject.member())
    }

    /// Refuses a member's token that its client obtained without the member.
    pub fn require_signed_in(&self) -> Result<()> {
        if self.token.as_ref().is_some_and(|token| token.authentication.is_some()) {
            return Ok(());
        }
        Err(Error::new(Reason::ScopeInsufficient, "a token that the member obtained by signing in is needed"))
    }

    /// The tenant that a call is about, as far as the caller can name it; see [`super::permit`]. Another's
    /// looks as if it did not exist.
    ///
    /// # Errors
    /// INVALID_FIELD for an administrator of all tenants that names none: what it forgot to say must not fall on `system`.
    pub(super) fn nameable_tenant(&self, about: &About) -> Result<TenantId> {
        match about {
            About::Caller => Ok(self.tenant.clone()),
            About::Tenant(named) if named.is_empty() && self.is_admin() => {
                Err(Error::field("tenant_id", "must be set by an administrator of all tenants"))
            }
            About::Tenant(named) if named.is_empty() => Ok(self.tenant.clone()),
            About::Tenant(named) => match named.parse() {
                Ok(tenant) if tenant == self.tenant || self.is_admin() => Ok(tenant),
                _ => Err(Error::not_found("Tenant", named.as_str())),
            },
        }
    }

    /// The account that it acts as, or that confines it; in another tenant than its own an admin is not confined.
    pub fn confinement(&self, tenant: &TenantId) -> Option<&AccountId> {
        if *tenant != self.tenant {
            return None;
        }
        self.subject.account()
    }

    /// Whether what acts as `subject` is within the caller's confinement.
    pub fn reaches_subject(&self, tenant: &TenantId, subject: &Subject) -> bool {
        match self.confinement(tenant) {
            Some(root) => subject.is_within(root),
            // The contents of a group are introspected account by account; no token of a group has scopes of jeton's.
            None => self.subject.group().is_none(),
        }
    }

    /// Whether an account is within reach by `right`.
    pub fn reaches(&self, account: &Account, right: Right) -> bool {
        match (right, &self.subject) {
            // No token of a group has scopes of jeton's: the contents of its group are found by introspection.
            (Right::Scope, Subject::Group(..)) => false,
            (
                Right::Scope,
                Subject::Client(_) | Subject::Account(_) | Subject::Member(..) | Subject::OtherClient(..),
            ) => {
                let own = account.tenant == self.tenant || self.is_admin();
                own && self.confinement(&account.tenant).is_none_or(|root| account.is_within(root))
            }
            (Right::OwnOnly, Subject::Account(own)) => account.tenant == self.tenant && account.is_within(&own.account),
            (
                Right::OwnOnly,
                Subject::Client(_) | Subject::Member(..) | Subject::Group(..) | Subject::OtherClient(..),
            ) => false,
        }
    }

    /// Refuses a caller without a scope that has a meaning of its own, besides the one that a rule declares.
    pub fn require(&self, scope: &str) -> Result<()> {
        if self.has(scope) {
            return Ok(());
        }
        Err(Error::new(Reason::ScopeInsufficient, format!("the scope {scope} is needed")))
    }

    /// Refuses to hand on a `jeton.` scope that the caller lacks.
    pub fn may_grant(&self, scopes: &Scopes) -> Result<()> {
        let beyond = scopes.iter().find(|scope| jeton_core::scope::is_management(scope) && !self.has(scope));
        match beyond {
            Some(scope) => Err(Error::new(
                Reason::ScopeNotAllowed,
                format!("the scope {scope} cannot be given by a caller that lacks it"),
            )),
            None => Ok(()),
        }
    }
}

/// A confined caller must not change what concerns the whole tenant.
pub fn require_unconfined(caller: &Caller) -> Result<()> {
    if caller.confinement(&caller.tenant).is_some() || caller.subject.group().is_some() {
        return Err(Error::new(Reason::ScopeInsufficient, "the caller is confined and cannot act on the whole tenant"));
    }
    Ok(())
}

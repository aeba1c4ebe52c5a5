//! The directory: tenants, clients, accounts, entity groups, admissions, and who may touch them.
//!
//! Promises: a record that is read here is the one that counts at the head that the call read before; a change is atomic,
//! durable and in the revocation log when it returns; what is out of a caller's reach looks as if it had never existed.
//!
//! Invariant: knows neither tokens' text nor the wire. Start reading at [`record`] (what is stored), [`caller`] (who acts,
//! and within what reach) and [`permit`] (the act, whose methods the verbs are), then [`load`] (how records are read) and
//! [`commit`] (how a change is made).

mod account_tree;
pub mod accounts;
pub mod admissions;
pub mod attempts;
pub mod authority;
mod bootstrap;
mod bounds;
pub mod caller;
pub mod client_secrets;
pub mod clients;
pub mod commit;
pub mod credentials;
pub mod derivation;
pub mod enrolment;
pub mod entities;
mod filters;
pub mod grantable;
mod group_member_endings;
mod group_member_roles;
pub mod group_members;
pub mod group_sync;
pub mod groups;
pub mod identities;
pub mod invitations;
mod listing;
pub mod load;
mod lookup;
pub mod member_patch;
pub mod members;
pub mod memberships;
pub mod names;
pub mod new_memberships;
pub mod page;
pub mod permit;
pub mod profiles;
pub mod provider;
pub mod record;
pub mod roles;
mod sessions;
pub mod settings;
mod shelf;
pub mod signing_keys;
pub mod standing;
pub mod subjects;
mod tally;
pub mod tenants;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
};

use jeton_core::{TenantId, Time};

use self::shelf::Shelves;
use crate::{core::Core, metrics::Metrics, revocation::cache::Invalidate};

/// Reads and changes the directory.
pub struct Directory {
    core: Arc<Core>,
    /// `{base}` of issuers, without a slash at its end.
    public_url: String,
    shelves: Shelves,
    /// Until when the current master key is known to be noted as needed, in milliseconds.
    key_noted_until: AtomicU64,
}

// === impl Directory ===

impl Directory {
    /// A directory in which nothing is in memory yet.
    pub fn new(core: Arc<Core>, public_url: &str, metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            core,
            public_url: public_url.trim_end_matches('/').to_owned(),
            shelves: Shelves::new(metrics),
            key_noted_until: AtomicU64::default(),
        })
    }

    /// The caches that the follower keeps true.
    pub fn caches(&self) -> Vec<Arc<dyn Invalidate>> {
        self.shelves.caches()
    }

    /// The `iss` of a tenant's tokens.
    pub fn issuer(&self, tenant: &TenantId) -> String {
        format!("{}/t/{tenant}", self.public_url)
    }

    /// The tenant whose `iss` this is; it need not exist.
    pub fn tenant_of_issuer(&self, issuer: &str) -> Option<TenantId> {
        let tenant = issuer.strip_prefix(&self.public_url)?.strip_prefix("/t/")?.parse().ok()?;
        // One text for each.
        (self.issuer(&tenant) == issuer).then_some(tenant)
    }

    fn now(&self) -> Time {
        self.core.now()
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

/// The tenant that is there from the start.
pub const DEFAULT: &str = "default";

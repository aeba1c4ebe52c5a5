//! The directory: tenants, clients, accounts, entity groups, admissions, and who may touch them.
//!
//! Promises: a record that is read here is the one that counts at the head that the call read before; a change is atomic,
//! durable and in the revocation log when it returns; what is out of a caller's reach looks as if it had never existed.
//!
//! Invariant: knows neither tokens' text nor the wire. Start reading at [`record`] (what is stored), [`caller`] (who acts,
//! and within what reach), then [`commit`] (how a change is made).

pub mod accounts;
pub mod admissions;
pub mod attempts;
pub mod authority;
pub mod caller;
pub mod clients;
pub mod commit;
mod copies;
pub mod credentials;
pub mod derivation;
pub mod entities;
pub mod grantable;
pub mod group_members;
pub mod group_sync;
pub mod grouped;
pub mod groups;
pub mod identities;
pub mod identity;
pub mod invitations;
mod listing;
pub mod load;
pub mod members;
pub mod memberships;
pub mod names;
pub mod page;
pub mod permit;
pub mod profiles;
pub mod record;
pub mod roles;
pub mod roster;
pub mod settings;
pub mod standing;
pub mod subjects;
mod tally;
pub mod tenants;

use std::{fmt, sync::Arc};

use tokio_util::task::TaskTracker;

use crate::{
    ambient::{Clock, Time},
    keys::{ring::Keyring, signing::KeySet},
    metrics::{Metrics, labels},
    revocation::{
        cache::{Cache, Invalidate, Seen},
        follower::Follower,
    },
    store::{SessionKey, Store},
    token::{AccountId, ClientId, GroupId, Ident, IdentityProfileId, MemberId, RoleId, TenantId, access::SessionId},
};
use grouped::{Entity, EntityGroup, GroupMember};
use identity::IdentityProfile;
use record::{Account, Admission, Client, Tenant};
use roster::{Member, Membership, Role};

/// Reads and changes the directory.
pub struct Directory {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) follower: Arc<Follower>,
    pub(crate) ring: Arc<Keyring>,
    pub(crate) clock: Clock,
    /// Work that goes on after a reply.
    pub(crate) tasks: TaskTracker,
    /// `{base}` of issuers, without a slash at its end.
    public_url: String,
    tenants: Copies<TenantId, Option<Arc<Tenant>>>,
    clients: Copies<ClientId, Arc<Client>>,
    accounts: Copies<AccountId, Arc<Account>>,
    groups: Copies<GroupId, Arc<EntityGroup>>,
    entities: Copies<(GroupId, AccountId), Option<Arc<Entity>>>,
    group_members: Copies<(GroupId, MemberId), Option<Arc<GroupMember>>>,
    admissions: Copies<(TenantId, ClientId), Option<Arc<Admission>>>,
    members: Copies<MemberId, Arc<Member>>,
    memberships: Copies<(AccountId, MemberId), Option<Arc<Membership>>>,
    roles: Copies<RoleId, Arc<Role>>,
    profiles: Copies<IdentityProfileId, Arc<IdentityProfile>>,
    key_sets: Copies<TenantId, Arc<KeySet>>,
    /// Until when sessions are alive. It may prove a session alive, never lapsed.
    sessions: Copies<SessionKey, Time>,
    noted: derivation::Noted,
}

/// Copies of one kind of record, which the log keeps true.
type Copies<K, V> = Arc<Cache<K, V>>;

/// What a directory works with.
#[derive(Debug)]
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub follower: Arc<Follower>,
    pub ring: Arc<Keyring>,
    pub clock: Clock,
    pub tasks: TaskTracker,
    pub public_url: String,
    pub metrics: Arc<Metrics>,
}

/// The most records of each kind that a replica keeps in memory.
const CACHED_RECORDS: usize = 20_000;
/// The most sessions.
const CACHED_SESSIONS: usize = 100_000;

// === impl Directory ===

impl Directory {
    #[expect(clippy::wildcard_enum_match_arm, reason = "each cache knows its own kind of record only")]
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { store, follower, ring, clock, tasks, public_url, metrics } = parts;
        let seen = |cache: labels::Cache| Seen(Arc::clone(&metrics), cache);
        Arc::new(Self {
            store,
            follower,
            ring,
            clock,
            tasks,
            public_url: public_url.trim_end_matches('/').to_owned(),
            noted: derivation::Noted::default(),
            tenants: Arc::new(Cache::new(CACHED_RECORDS, seen(labels::Cache::Tenants), |ident| match ident {
                Ident::Tenant(id) => Some(id.clone()),
                _ => None,
            })),
            clients: Arc::new(Cache::new(CACHED_RECORDS, seen(labels::Cache::Clients), |ident| match ident {
                Ident::Client(id) => Some(id.clone()),
                _ => None,
            })),
            accounts: Arc::new(Cache::new(CACHED_RECORDS, seen(labels::Cache::Accounts), |ident| match ident {
                Ident::Account(_, id) | Ident::Subtree(_, id) => Some(id.clone()),
                _ => None,
            })),
            groups: Arc::new(Cache::new(CACHED_RECORDS, seen(labels::Cache::Groups), |ident| match ident {
                Ident::Group(_, id) => Some(id.clone()),
                _ => None,
            })),
            entities: Arc::new(Cache::new(CACHED_RECORDS, seen(labels::Cache::Entities), |ident| match ident {
                Ident::Entity(_, group, account) => Some((group.clone(), account.clone())),
                _ => None,
            })),
            group_members: Arc::new(Cache::new(
                CACHED_RECORDS,
                seen(labels::Cache::GroupMembers),
                |ident| match ident {
                    Ident::GroupMember(_, group, member) => Some((group.clone(), member.clone())),
                    _ => None,
                },
            )),
            admissions: Arc::new(Cache::new(CACHED_RECORDS, seen(labels::Cache::Admissions), |ident| match ident {
                Ident::Admission(tenant, client) => Some((tenant.clone(), client.clone())),
                _ => None,
            })),
            members: Arc::new(Cache::new(CACHED_RECORDS, seen(labels::Cache::Members), |ident| match ident {
                Ident::Member(_, id) => Some(id.clone()),
                _ => None,
            })),
            memberships: Arc::new(Cache::new(CACHED_RECORDS, seen(labels::Cache::Memberships), |ident| match ident {
                Ident::Membership(_, account, member) => Some((account.clone(), member.clone())),
                _ => None,
            })),
            roles: Arc::new(Cache::new(CACHED_RECORDS, seen(labels::Cache::Roles), |ident| match ident {
                Ident::Role(_, id) => Some(id.clone()),
                _ => None,
            })),
            profiles: Arc::new(Cache::new(CACHED_RECORDS, seen(labels::Cache::Profiles), |ident| match ident {
                Ident::IdentityProfile(_, id) => Some(id.clone()),
                _ => None,
            })),
            key_sets: Arc::new(Cache::new(CACHED_RECORDS, seen(labels::Cache::KeySets), |ident| match ident {
                Ident::Tenant(tenant) | Ident::SigningKey(tenant, _) => Some(tenant.clone()),
                _ => None,
            })),
            sessions: Arc::new(Cache::new(CACHED_SESSIONS, seen(labels::Cache::Sessions), |ident| match ident {
                Ident::Session(tenant, session) => {
                    Some(SessionKey { tenant: tenant.clone(), session: SessionId::new(Arc::clone(session)) })
                }
                _ => None,
            })),
        })
    }

    /// The caches that the follower keeps true.
    pub fn caches(&self) -> Vec<Arc<dyn Invalidate>> {
        vec![
            self.tenants.clone(),
            self.clients.clone(),
            self.accounts.clone(),
            self.groups.clone(),
            self.entities.clone(),
            self.group_members.clone(),
            self.admissions.clone(),
            self.members.clone(),
            self.memberships.clone(),
            self.roles.clone(),
            self.profiles.clone(),
            self.key_sets.clone(),
            self.sessions.clone(),
        ]
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

    pub fn now(&self) -> Time {
        self.clock.now()
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

/// The tenant that is there from the start.
pub const DEFAULT: &str = "default";

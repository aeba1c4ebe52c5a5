//! Copies of records in memory: a shelf for each kind, which the revocation log keeps true.

use std::{fmt, hash::Hash, sync::Arc};

use jeton_core::{
    Ident, TenantId, Time,
    state::{State, Ticket},
};
use tokio::time::Instant;

use super::record::{
    Account, Admission, Client, Entity, EntityGroup, GroupMember, IdentityProfile, Kept, Member, Membership, Role,
    Tenant,
};
use crate::{
    keys::signing::KeySet,
    metrics::{Metrics, labels},
    revocation::cache::{Cache, Invalidate, Seen},
    store::SessionKey,
};

/// Copies of one kind of record; a copy of `None` is that there is none.
pub(crate) struct Shelf<R: Kept>(Arc<Cache<R::Key, Option<Arc<R>>>>);

/// A kind of record that has a shelf.
pub(crate) trait Shelved: Kept {
    fn shelf(shelves: &Shelves) -> &Shelf<Self>;
}

/// The most copies of each kind.
const CACHED_RECORDS: usize = 20_000;
/// The most sessions of which a replica knows until when they are alive.
const CACHED_SESSIONS: usize = 100_000;

macro_rules! shelves {
    ($($field:ident: $record:ty;)*) => {
        /// The shelves of all kinds.
        #[derive(Debug)]
        pub(crate) struct Shelves {
            $($field: Shelf<$record>,)*
            /// Parsed, so not the record itself.
            pub(super) key_sets: Arc<Cache<TenantId, Arc<KeySet>>>,
            /// Until when sessions are alive. It may prove a session alive, never lapsed: only the store knows that.
            pub(super) sessions: Arc<Cache<SessionKey, Time>>,
        }

        impl Shelves {
            pub(super) fn new(metrics: &Arc<Metrics>) -> Self {
                Self {
                    $($field: Shelf::new(metrics),)*
                    key_sets: cache(metrics, labels::Cache::KeySets, CACHED_RECORDS, key_set_outdated_by),
                    sessions: cache(metrics, labels::Cache::Sessions, CACHED_SESSIONS, session_outdated_by),
                }
            }

            /// What the follower keeps true.
            pub(super) fn caches(&self) -> Vec<Arc<dyn Invalidate>> {
                vec![$(self.$field.0.clone(),)* self.key_sets.clone(), self.sessions.clone()]
            }
        }

        $(impl Shelved for $record {
            fn shelf(shelves: &Shelves) -> &Shelf<Self> {
                &shelves.$field
            }
        })*
    };
}

shelves! {
    tenants: Tenant;
    clients: Client;
    accounts: Account;
    groups: EntityGroup;
    entities: Entity;
    group_members: GroupMember;
    admissions: Admission;
    members: Member;
    memberships: Membership;
    roles: Role;
    profiles: IdentityProfile;
}

// === impl Shelf ===

impl<R: Kept> Shelf<R> {
    fn new(metrics: &Arc<Metrics>) -> Self {
        Self(cache(metrics, R::CACHE, CACHED_RECORDS, R::outdated_by))
    }

    /// The copy of a record; `Some(None)`: it is known that there is none.
    pub(super) fn get(&self, key: &R::Key) -> Option<Option<Arc<R>>> {
        self.0.get(key)
    }

    /// Keeps what a load that began at `ticket` found, if it is still true; see [`Cache::fill`].
    pub(super) fn fill(&self, state: &State, ticket: Ticket, began: Instant, key: R::Key, found: Option<Arc<R>>) {
        if found.is_some() || R::KEEPS_ABSENCE {
            self.0.fill(state, ticket, began, key, found);
        }
    }
}

impl<R: Kept> fmt::Debug for Shelf<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shelf").field(&R::NAME).finish()
    }
}

fn cache<K: Clone + Eq + Hash, V: Clone>(
    metrics: &Arc<Metrics>,
    counted_as: labels::Cache,
    capacity: usize,
    outdated_by: fn(&Ident) -> Option<K>,
) -> Arc<Cache<K, V>> {
    Arc::new(Cache::new(capacity, Seen(Arc::clone(metrics), counted_as), outdated_by))
}

fn key_set_outdated_by(ident: &Ident) -> Option<TenantId> {
    let (Ident::Tenant(tenant) | Ident::SigningKey(tenant, _)) = ident else { return None };
    Some(tenant.clone())
}

fn session_outdated_by(ident: &Ident) -> Option<SessionKey> {
    let Ident::Session(tenant, session) = ident else { return None };
    Some(SessionKey { tenant: tenant.clone(), session: session.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::Fresh as _;
    use jeton_core::{AccountId, ClientId, GroupId, IdentityProfileId, MemberId, RoleId};

    /// A copy is found again by where its record stands, and an entry about the record outdates it.
    fn holds<R: Kept>(tenant: &TenantId, key: &R::Key, idents: &[Ident])
    where
        R::Key: PartialEq,
    {
        let place = R::place(tenant, key);
        assert!(R::key_at(&place).as_ref() == Some(key), "{} at {place:?}", R::NAME);
        for ident in idents {
            assert!(R::outdated_by(ident).as_ref() == Some(key), "{} by {ident:?}", R::NAME);
        }
    }

    #[test]
    fn every_copy_is_found_by_its_place_and_outdated_by_its_entries() {
        let tenant = TenantId::random().unwrap();
        let t = || tenant.clone();
        let (client, account, member) =
            (ClientId::random().unwrap(), AccountId::random().unwrap(), MemberId::random().unwrap());
        let (group, role, profile) =
            (GroupId::random().unwrap(), RoleId::random().unwrap(), IdentityProfileId::random().unwrap());
        holds::<Tenant>(&tenant, &tenant, &[Ident::Tenant(t())]);
        holds::<Client>(&tenant, &client, &[Ident::Client(client.clone())]);
        holds::<Account>(
            &tenant,
            &account,
            &[Ident::Account(t(), account.clone()), Ident::Subtree(t(), account.clone())],
        );
        holds::<EntityGroup>(&tenant, &group, &[Ident::Group(t(), group.clone())]);
        let entity = (group.clone(), account.clone());
        holds::<Entity>(&tenant, &entity, &[Ident::Entity(t(), group.clone(), account.clone())]);
        let place = (group.clone(), member.clone());
        holds::<GroupMember>(&tenant, &place, &[Ident::GroupMember(t(), group, member.clone())]);
        holds::<Admission>(&tenant, &(t(), client.clone()), &[Ident::Admission(t(), client)]);
        holds::<Member>(&tenant, &member, &[Ident::Member(t(), member.clone())]);
        let membership = (account.clone(), member.clone());
        holds::<Membership>(&tenant, &membership, &[Ident::Membership(t(), account, member)]);
        holds::<Role>(&tenant, &role, &[Ident::Role(t(), role.clone())]);
        holds::<IdentityProfile>(&tenant, &profile, &[Ident::IdentityProfile(t(), profile.clone())]);
    }
}

//! Copying the members of an account into an entity group.
//!
//! What is copied is bounded by what an account may have. Places are written some at a time, each write by itself atomic, and
//! a call that is broken off is finished by its repeat: who is in the group already is left alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jeton_core::{MemberId, Position, RoleId, TenantId};

use super::{
    Directory,
    commit::MAX_RACES,
    group_member_roles::require_roles,
    group_members::{PLACES_PER_WRITE, members_of},
    groups::outraced,
    load::key,
    page::MAX_SIZE,
    permit::Act,
    record::{
        Account, Entity, EntityGroup, EntityRoles, GroupMember, Kept as _, Member, Membership, MembershipState, Role,
        State, Stored as _,
    },
};
use crate::{
    error::{Error, Result},
    store::{Index, Kind},
};

/// Whose members to copy.
#[derive(Clone, Debug)]
pub struct CopyMembers {
    pub from: CopyFrom,
    /// Roles, by id or name, of which a member must have one; empty: whatever it has.
    pub roles: Vec<String>,
}

/// An account of a group.
#[derive(Clone, Debug)]
pub enum CopyFrom {
    /// The one with the most members.
    Auto,
    /// This one, by id or foreign id.
    Entity(String),
}

/// What to make of the members of a group.
#[derive(Clone, Copy, Debug)]
pub struct SyncOptions {
    /// Whether to put in who is missing.
    pub add: bool,
    /// Whether to take out who is too many.
    pub remove: bool,
}

/// What became of the members of a group.
#[derive(Debug)]
pub struct Synced {
    pub group: Arc<EntityGroup>,
    pub added: usize,
    pub removed: usize,
    /// How many members of the account were in the group already.
    pub unchanged: usize,
    pub position: Position,
}

/// A place to give to who has none.
struct Copied {
    member: MemberId,
    roles: Vec<RoleId>,
    overrides: Vec<EntityRoles>,
}

// === impl Synced ===

impl Synced {
    /// Nothing is done yet.
    const fn none(group: Arc<EntityGroup>, position: Position) -> Self {
        Self { group, added: 0, removed: 0, unchanged: 0, position }
    }
}

// === impl Copied ===

impl Copied {
    fn all_roles(&self) -> impl Iterator<Item = &RoleId> {
        self.roles.iter().chain(self.overrides.iter().flat_map(|own| &own.roles))
    }
}

// === impl Act ===

impl Act {
    /// Makes the members of a group those of one of its accounts.
    pub async fn sync_group_members(&self, reference: &str, copy: &CopyMembers, sync: SyncOptions) -> Result<Synced> {
        let group = self.reachable_group(reference).await?;
        let source = self.directory.named_source(&group, copy, &[]).await?;
        self.directory.sync(Synced::none(group, self.head()), source, copy, sync).await
    }
}

// === impl Directory ===

impl Directory {
    /// Copies members of an account into a group; `source` is the one that the caller named.
    pub(super) async fn copy_members(
        &self,
        group: &Arc<EntityGroup>,
        source: Option<Arc<Account>>,
        copy: &CopyMembers,
    ) -> Result<Synced> {
        // The group has just changed: the caches must know how by now.
        let none = Synced::none(Arc::clone(group), self.core.log.head().await?);
        self.sync(none, source, copy, SyncOptions { add: true, remove: false }).await
    }

    /// The account that is named to copy from: one that is in the group, or among those that are `entering` it.
    pub(super) async fn named_source(
        &self,
        group: &EntityGroup,
        copy: &CopyMembers,
        entering: &[Arc<Account>],
    ) -> Result<Option<Arc<Account>>> {
        let CopyFrom::Entity(reference) = &copy.from else { return Ok(None) };
        let account =
            self.find_account(&group.tenant, reference).await?.filter(|account| account.state != State::Deleted);
        let account = account.ok_or_else(|| Error::not_found(Account::NAME, reference))?;
        if !entering.iter().any(|entering| entering.id == account.id) && !self.is_entity(group, &account.id).await? {
            return Err(Error::not_found(Entity::NAME, reference));
        }
        // A role that is not there stops the call before it has written anything.
        self.find_roles(&account, &copy.roles).await?;
        Ok(Some(account))
    }

    async fn sync(
        &self,
        mut synced: Synced,
        source: Option<Arc<Account>>,
        copy: &CopyMembers,
        sync: SyncOptions,
    ) -> Result<Synced> {
        let found = &Arc::clone(&synced.group);
        let source = match source {
            Some(account) => Some(account),
            None => self.fullest_entity(found).await?,
        };
        // Nobody is taken out for want of an account: a group must not be emptied by mistake.
        let Some(source) = source else { return Ok(synced) };
        let copied = self.members_to_copy(&source, &copy.roles).await?;
        for copied in copied.chunks(PLACES_PER_WRITE) {
            self.put_missing(copied, sync, &mut synced).await?;
        }
        if sync.remove {
            let kept: BTreeSet<&MemberId> = copied.iter().map(|copied| &copied.member).collect();
            self.remove_others(&kept, &mut synced).await?;
        }
        Ok(synced)
    }

    /// The account of a group that has the most members, of those the one that was put in last; `None` if none has any.
    async fn fullest_entity(&self, group: &EntityGroup) -> Result<Option<Arc<Account>>> {
        let newest = self.newest_entities(group).await?;
        let tallies = self.read_tallies(&group.tenant, newest.iter().map(ToString::to_string).collect()).await?;
        let mut counted: Vec<_> = tallies.iter().map(|tally| tally.count).zip(&newest).collect();
        // Stable: of equals the newest stays first.
        counted.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        for (_, account) in counted.into_iter().filter(|(count, _)| *count > 0) {
            let account = self.account(&group.tenant, account).await?;
            if let Some(account) = account.filter(|account| account.state != State::Deleted) {
                return Ok(Some(account));
            }
        }
        Ok(None)
    }

    /// The active members of an account who have one of the roles that `references` name, with the roles that they have there.
    async fn members_to_copy(&self, account: &Account, references: &[String]) -> Result<Vec<Copied>> {
        let tenant = &account.tenant;
        let wanted: BTreeSet<RoleId> =
            self.find_roles(account, references).await?.into_iter().map(|role| role.id).collect();
        let index = Index { tenant: tenant.clone(), kind: Kind::Membership, parent: Some(account.id.to_string()) };
        // No account has more members than a page has rows.
        let ids = self.core.store.list(&index, None, MAX_SIZE).await?;
        let keys: Vec<_> = ids.iter().map(|id| key::<Membership>(tenant, id)).collect();
        let mut memberships: Vec<Membership> = self.read_records(&keys).await?.into_iter().flatten().collect();
        memberships.retain(|membership| {
            let fits = wanted.is_empty() || membership.roles.iter().any(|role| wanted.contains(role));
            membership.state == MembershipState::Active && fits
        });
        let named = memberships.iter().flat_map(|membership| membership.roles.iter().cloned()).collect();
        let roles = self.read_roles(tenant, named).await?;
        let is_own = |role: &RoleId| roles.get(role).is_some_and(|role| role.account.is_some());
        let copied = memberships.into_iter().map(|membership| {
            // All of them: in the account they stand in place of those in the whole group.
            let own = membership.roles.iter().any(is_own);
            let overrides = own.then(|| EntityRoles { account: account.id.clone(), roles: membership.roles.clone() });
            let roles = membership.roles.into_iter().filter(|role| !is_own(role)).collect();
            Copied { member: membership.member, roles, overrides: overrides.into_iter().collect() }
        });
        Ok(copied.collect())
    }

    /// Gives places to those who have none, in one write.
    async fn put_missing(&self, copied: &[Copied], sync: SyncOptions, synced: &mut Synced) -> Result<()> {
        let found = Arc::clone(&synced.group);
        let tenant = &found.tenant;
        let places: Vec<_> = copied
            .iter()
            .map(|copied| GroupMember::place(tenant, &(found.id.clone(), copied.member.clone())))
            .collect();
        let people: Vec<_> = copied.iter().map(|copied| key::<Member>(tenant, &copied.member)).collect();
        for _ in 0..MAX_RACES {
            let mut edit = self.edit_contents(&found).await?;
            let before = self.read_records::<GroupMember>(&places).await?;
            let members = self.read_records::<Member>(&people).await?;
            let roles = self.read_roles(tenant, copied.iter().flat_map(Copied::all_roles).cloned().collect()).await?;
            // A role may have been taken from its members and deleted meanwhile.
            let living = |ids: &[RoleId]| ids.iter().filter(|id| roles.contains_key(*id)).cloned().collect::<Vec<_>>();
            let (mut added, mut unchanged) = (0, 0);
            for ((copied, before), member) in copied.iter().zip(before).zip(members) {
                if before.as_ref().is_some_and(|before| before.state == State::Enabled) {
                    unchanged += 1;
                    continue;
                }
                let Some(member) = member.filter(|member| sync.add && member.state != State::Deleted) else { continue };
                let overrides = copied
                    .overrides
                    .iter()
                    .map(|own| EntityRoles { account: own.account.clone(), roles: living(&own.roles) });
                let place = GroupMember {
                    tenant: tenant.clone(),
                    group: found.id.clone(),
                    member: member.id.clone(),
                    roles: living(&copied.roles),
                    overrides: overrides.collect(),
                    state: State::Enabled,
                    created: edit.change.now,
                    updated: edit.change.now,
                    version: before.as_ref().map_or(0, |before| before.version),
                };
                edit.change.require.push((Kind::Member, member.id.to_string(), member.version));
                edit.put_place(before.as_ref(), &place);
                added += 1;
            }
            require_roles(roles.values(), &mut edit.change);
            if let Some((group, position)) = self.write_contents(edit).await? {
                synced.added += added;
                synced.unchanged += unchanged;
                (synced.group, synced.position) = (group, position);
                return Ok(());
            }
        }
        Err(outraced())
    }

    /// Takes everybody out of a group but some.
    async fn remove_others(&self, kept: &BTreeSet<&MemberId>, synced: &mut Synced) -> Result<()> {
        let group = Arc::clone(&synced.group);
        let mut after: Option<String> = None;
        loop {
            let ids = self.core.store.list(&members_of(&group), after.as_deref(), MAX_SIZE).await?;
            let mut others = Vec::new();
            for id in &ids {
                let member = id.split_once(':').and_then(|(_, member)| member.parse::<MemberId>().ok());
                let member = member.ok_or_else(|| Error::internal("read an index of members of entity groups"))?;
                if !kept.contains(&member) {
                    others.push(member);
                }
            }
            for others in others.chunks(PLACES_PER_WRITE) {
                let (removed, position) = self.remove_members(&group, others, None).await?;
                synced.removed += removed;
                synced.position = position;
            }
            if ids.len() < MAX_SIZE {
                return Ok(());
            }
            after = ids.last().cloned();
        }
    }

    /// The roles of ids that are not deleted.
    async fn read_roles(&self, tenant: &TenantId, ids: BTreeSet<RoleId>) -> Result<BTreeMap<RoleId, Role>> {
        let keys: Vec<_> = ids.iter().map(|id| key::<Role>(tenant, id)).collect();
        let roles = self.read_records::<Role>(&keys).await?.into_iter().flatten();
        Ok(roles.filter(|role| role.state != State::Deleted).map(|role| (role.id.clone(), role)).collect())
    }
}

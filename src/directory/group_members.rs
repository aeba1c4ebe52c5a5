//! Members of entity groups.
//!
//! Each member's place in a group is a record of its own, and is written together with the group's record, as the accounts'
//! places are. What a member may do in the group stands in its place only: memberships in accounts neither add nor change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Directory,
    accounts::any,
    commit::MAX_RACES,
    groups::{ContentEdit, outraced},
    listing::Listing,
    load::key,
    members::{MemberPatch, new_member},
    page::{MAX_SIZE, Page, PageRequest},
    permit::Act,
    record::{
        Account, Entity, EntityGroup, EntityRoles, GroupMember, Kept as _, Member, Role, State, Stored as _, check_etag,
    },
    roles::holders_of,
};
use crate::{
    ambient::Time,
    revocation::entry::Entry,
    store::{Change, Index, Kind, Put, RecordKey},
    token::{
        Error, GroupId, MemberId, Position, Result, RoleId, TenantId,
        error::Violation,
        filter::{Field, Filter, SET_OPS, TEXT_OPS, Value},
    },
};

/// A place in a group as a caller describes it.
#[derive(Clone, Debug)]
pub struct NewGroupMember {
    /// The group, by id or foreign id.
    pub group: String,
    /// The member, by id or foreign id.
    pub member: String,
    /// Its roles in every account of the group, by id or name.
    pub roles: Vec<String>,
    /// Accounts, by id or foreign id, with its roles there, by id or name.
    pub overrides: Vec<(String, Vec<String>)>,
    /// The member to create if none has that foreign id; `None`: there must be one.
    pub create: Option<MemberPatch>,
}

/// A place in a group with the member who has it.
#[derive(Clone, Debug)]
pub struct Placed {
    pub place: Arc<GroupMember>,
    pub member: Arc<Member>,
}

/// Which members of a group to list.
#[derive(Clone, Debug, Default)]
pub struct GroupMemberQuery {
    pub filter: Filter,
    /// Ids of roles of which a member must have one; empty: whatever it has.
    pub roles: Vec<String>,
}

/// The fields that members of groups can be filtered by.
pub const FIELDS: &[Field] = &[
    Field { name: "foreign_id", ops: TEXT_OPS, value: any },
    Field { name: "display_name", ops: TEXT_OPS, value: any },
    Field { name: "email", ops: TEXT_OPS, value: any },
    Field { name: "role_id", ops: SET_OPS, value: any },
];

/// How many places one write changes at most, so that none keeps the store for long.
pub(super) const PLACES_PER_WRITE: usize = 100;

// === impl Act ===

impl Act {
    /// The place of a member in a group.
    pub async fn reachable_group_member(&self, group: &str, member: &str) -> Result<Placed> {
        let tenant = self.tenant();
        let group = self.reachable_group(group).await?;
        let not_found = || Error::not_found(GroupMember::NAME, member);
        let id: MemberId = self.directory.id_of(tenant, Member::FOREIGN_IDS, member).await?.ok_or_else(not_found)?;
        let place = self.directory.group_member(&group, &id).await?.ok_or_else(not_found)?;
        let member = self.directory.member(tenant, &id).await?.ok_or_else(not_found)?;
        Ok(Placed { place, member })
    }

    /// Gives a member a place in a group, or other roles in the place that it has; creates the member if asked to.
    pub async fn upsert_group_member(&self, new: &NewGroupMember, etag: &str) -> Result<(Placed, Position)> {
        let tenant = self.tenant();
        let found = self.reachable_group(&new.group).await?;
        for _ in 0..MAX_RACES {
            let mut edit = self.directory.edit_contents(&found).await?;
            let (member, is_new) = self.directory.member_to_place(new, &mut edit.change).await?;
            let before = if is_new {
                None
            } else {
                edit.change.require.push((Kind::Member, member.id.to_string(), member.version));
                self.directory
                    .fresh::<GroupMember>(&GroupMember::place(tenant, &(found.id.clone(), member.id.clone())))
                    .await?
            };
            let stands = before.as_ref().filter(|before| before.state == State::Enabled);
            check_etag(Some(etag), stands.map_or(0, |before| before.version))?;
            let (roles, overrides) = self.directory.roles_to_place(&edit.group, stands, new, &mut edit.change).await?;
            let mut place = GroupMember {
                tenant: tenant.clone(),
                group: found.id.clone(),
                member: member.id.clone(),
                roles,
                overrides,
                state: State::Enabled,
                created: stands.map_or(edit.change.now, |before| before.created),
                updated: edit.change.now,
                version: before.as_ref().map_or(0, |before| before.version),
            };
            if is_new {
                edit.entries.push(Entry::changed(member.ident()));
            }
            edit.put_place(before.as_ref(), &place);
            if let Some((_, position)) = self.directory.write_contents(edit).await? {
                place.version += 1;
                return Ok((Placed { place: Arc::new(place), member: Arc::new(member) }, position));
            }
        }
        Err(outraced())
    }

    /// Takes a member out of a group. What it obtained for the group is dead.
    pub async fn delete_group_member(&self, group: &str, member: &str, etag: &str) -> Result<Position> {
        let tenant = self.tenant();
        let group = self.reachable_group(group).await?;
        let not_found = || Error::not_found(GroupMember::NAME, member);
        let id: MemberId = self.directory.id_of(tenant, Member::FOREIGN_IDS, member).await?.ok_or_else(not_found)?;
        let key = GroupMember::place(tenant, &(group.id.clone(), id.clone()));
        let place: GroupMember = self.directory.fresh(&key).await?.ok_or_else(not_found)?;
        if place.state == State::Enabled {
            check_etag(Some(etag), place.version)?;
        }
        let expected = (!etag.is_empty()).then_some(place.version);
        let (_, position) = self.directory.remove_members(&group, &[id], expected).await?;
        Ok(position)
    }

    /// Lists the members of a group, by id, and tells how many it has in all.
    pub async fn list_group_members(
        &self,
        slot: &str,
        query: &GroupMemberQuery,
        page: &PageRequest,
    ) -> Result<(Page<Placed>, u64)> {
        let tenant = self.tenant();
        let group = self.reachable_group(slot).await?;
        let index = members_of(&group);
        let mut listing = Listing::new(&index, page);
        while let Some(rows) = self.directory.next_rows::<GroupMember, _>(&mut listing).await? {
            let places = rows.iter().filter_map(|(_, place)| place.as_ref());
            self.directory.load_all::<Member>(tenant, places.map(|place| &place.member)).await?;
            let mut placed = Vec::with_capacity(rows.len());
            for (id, place) in rows {
                let place = match place.filter(|place| place.state == State::Enabled) {
                    Some(place) => self.directory.placed(tenant, place).await?.filter(|placed| query.matches(placed)),
                    None => None,
                };
                placed.push((id, place));
            }
            listing.take(placed);
        }
        Ok((listing.into_page(&self.directory.core.ring)?, group.member_count))
    }
}

// === impl Directory ===

impl Directory {
    /// A place with the member that has it, unless the member is deleted.
    async fn placed(&self, tenant: &TenantId, place: Arc<GroupMember>) -> Result<Option<Placed>> {
        let member = self.member(tenant, &place.member).await?.filter(|member| member.state != State::Deleted);
        Ok(member.map(|member| Placed { place, member }))
    }

    /// Takes members out of a group, as far as they are in it; `version` is what a single place must have. Returns how many.
    pub(super) async fn remove_members(
        &self,
        found: &EntityGroup,
        members: &[MemberId],
        version: Option<u64>,
    ) -> Result<(usize, Position)> {
        let place = |member: &MemberId| GroupMember::place(&found.tenant, &(found.id.clone(), member.clone()));
        let keys: Vec<_> = members.iter().map(place).collect();
        for _ in 0..MAX_RACES {
            let mut edit = self.edit_contents(found).await?;
            let mut removed = 0;
            for place in self.read_records::<GroupMember>(&keys).await?.into_iter().flatten() {
                // Also of one that was taken out before: whoever asks again must find it dead.
                edit.entries.push(Entry::revoke(place.ident()));
                if place.state == State::Enabled {
                    check_etag(version.map(super::record::etag).as_deref(), place.version)?;
                    edit.put_place(Some(&place), &buried(&place, edit.change.now));
                    removed += 1;
                }
            }
            if let Some((_, position)) = self.write_contents(edit).await? {
                return Ok((removed, position));
            }
        }
        Err(outraced())
    }

    /// Ends the places of all members of a group that is deleted. A call that is broken off is finished by its repeat.
    pub(super) async fn end_members(&self, group: &EntityGroup) -> Result<()> {
        loop {
            let ids = self.core.store.list(&members_of(group), None, PLACES_PER_WRITE).await?;
            if ids.is_empty() {
                return Ok(());
            }
            self.bury(&group.tenant, &ids).await?;
        }
    }

    /// Ends all places of a member that is deleted. A call that is broken off is finished by its repeat.
    pub(super) async fn end_group_places(&self, tenant: &TenantId, member: &MemberId) -> Result<()> {
        let index = Index { tenant: tenant.clone(), kind: Kind::GroupMember, parent: Some(member.to_string()) };
        loop {
            let ids = self.core.store.list(&index, None, MAX_SIZE).await?;
            if ids.is_empty() {
                return Ok(());
            }
            for id in ids {
                let group = id.split_once(':').and_then(|(group, _)| group.parse::<GroupId>().ok());
                let group = group.ok_or_else(|| Error::internal("read an index of members of entity groups"))?;
                match self.fresh::<EntityGroup>(&key::<EntityGroup>(tenant, &group)).await? {
                    Some(group) if group.state != State::Deleted => {
                        self.remove_members(&group, std::slice::from_ref(member), None).await?;
                    }
                    Some(_) | None => self.bury(tenant, &[id]).await?,
                }
            }
        }
    }

    /// Leaves tombstones in places of deleted groups. Nobody asks for these any more, so neither counts nor the log need
    /// know. What another change came between is left for the next round.
    async fn bury(&self, tenant: &TenantId, ids: &[String]) -> Result<()> {
        let keys: Vec<RecordKey> = ids.iter().map(|id| key::<GroupMember>(tenant, id)).collect();
        let mut change = Change::new(tenant.clone(), self.now());
        for place in self.read_records::<GroupMember>(&keys).await?.into_iter().flatten() {
            change.unindex.extend(rows(&place));
            change.puts.push(put(&buried(&place, change.now)));
        }
        self.core.store.write(&change).await?;
        Ok(())
    }

    /// The member that is to have a place, and whether it is created with it.
    async fn member_to_place(&self, new: &NewGroupMember, change: &mut Change) -> Result<(Member, bool)> {
        let tenant = change.tenant.clone();
        let not_found = || Error::not_found(Member::NAME, &*new.member);
        let by_id = new.member.parse::<MemberId>().is_ok();
        if let Some(id) = self.id_of::<crate::token::id::Member>(&tenant, Member::FOREIGN_IDS, &new.member).await? {
            let member: Option<Member> = self.fresh(&key::<Member>(&tenant, &id)).await?;
            match member.filter(|member| member.state != State::Deleted) {
                Some(member) => return Ok((member, false)),
                // A foreign id is free again once its member is deleted.
                None if by_id => return Err(not_found()),
                None => {}
            }
        }
        let patch = new.create.clone().ok_or_else(not_found)?;
        if patch.foreign_id.as_ref().is_some_and(|foreign| *foreign != new.member) {
            return Err(Error::field("member.foreign_id", "must be that of group_member.member_id or left out"));
        }
        let member = new_member(MemberPatch { foreign_id: Some(new.member.clone()), ..patch }, change)?;
        let body = member.to_bytes();
        let id = member.id.to_string();
        change.puts.push(Put::new(Kind::Member, id, Some(0), body));
        Ok((member, true))
    }

    /// The roles of a place, in the whole group and in single accounts. That they still are is a condition of the change.
    async fn roles_to_place(
        &self,
        group: &EntityGroup,
        before: Option<&GroupMember>,
        new: &NewGroupMember,
        change: &mut Change,
    ) -> Result<(Vec<RoleId>, Vec<EntityRoles>)> {
        let accounts = self.overridden_accounts(group, before, new).await?;
        let overrides = accounts.iter().zip(&new.overrides).map(|(account, (_, slots))| (Some(&**account), &**slots));
        let places: Vec<(Option<&Account>, &[String])> =
            std::iter::once((None, &*new.roles)).chain(overrides).collect();
        let found = self.find_roles_in(&group.tenant, &places).await?;
        require_roles(found.iter().flatten(), change);
        let mut ids = found.into_iter().map(|roles| roles.into_iter().map(|role| role.id).collect::<Vec<_>>());
        let global = ids.next().unwrap_or_default();
        let own = |(account, roles): (&Arc<Account>, _)| EntityRoles { account: account.id.clone(), roles };
        Ok((global, accounts.iter().zip(ids).map(own).collect()))
    }

    /// The accounts in which a place is to have roles of its own, in their order: each in the group, and once.
    async fn overridden_accounts(
        &self,
        group: &EntityGroup,
        before: Option<&GroupMember>,
        new: &NewGroupMember,
    ) -> Result<Vec<Arc<Account>>> {
        let tenant = &group.tenant;
        let slots: Vec<String> = new.overrides.iter().map(|(slot, _)| slot.clone()).collect();
        let found = self.find_accounts(tenant, &slots).await?;
        let mut missing = self.missing();
        for account in &found {
            missing.want::<Entity>(tenant, &(group.id.clone(), account.id.clone()));
        }
        missing.load().await?;
        let mut accounts: Vec<Arc<Account>> = Vec::with_capacity(slots.len());
        let mut violations = Vec::new();
        for (i, slot) in slots.iter().enumerate() {
            let id = slot.parse().ok();
            let named = |account: &&Arc<Account>| match &id {
                Some(id) => account.id == *id,
                None => account.foreign_id.as_ref() == Some(slot),
            };
            let account = found.iter().find(named).ok_or_else(|| Error::not_found(Account::NAME, slot))?;
            // What a place says already may be said again, though the account has left the group meanwhile.
            let known = before.is_some_and(|before| before.overrides.iter().any(|own| own.account == account.id));
            if !known && account.state == State::Deleted {
                return Err(Error::not_found(Account::NAME, slot));
            }
            if !known && !self.is_entity(group, &account.id).await? {
                return Err(Error::not_found(Entity::NAME, slot));
            }
            if accounts.iter().any(|earlier| earlier.id == account.id) {
                violations.push(Violation {
                    field: format!("group_member.entity_roles[{i}].account_id"),
                    description: "must not name an account twice".to_owned(),
                });
            }
            accounts.push(Arc::clone(account));
        }
        if violations.is_empty() { Ok(accounts) } else { Err(Error::fields(violations)) }
    }
}

// === impl ContentEdit ===

impl ContentEdit {
    /// Writes a member's place, its rows in lists, and what it does to the count. `before` is what stands there, a tombstone
    /// included; `place` has its version.
    pub(super) fn put_place(&mut self, before: Option<&GroupMember>, place: &GroupMember) {
        let stood = before.filter(|before| before.state == State::Enabled);
        let (old, new) = (stood.map(rows).unwrap_or_default(), rows(place));
        match place.state {
            State::Enabled => {
                self.change.unindex.extend(old.difference(&new).cloned());
                self.change.index.extend(new);
                self.group.member_count += u64::from(stood.is_none());
                // An end was logged as one already.
                self.entries.push(Entry::changed(place.ident()));
            }
            State::Disabled | State::Deleted => {
                self.change.unindex.extend(old);
                self.group.member_count = self.group.member_count.saturating_sub(u64::from(stood.is_some()));
            }
        }
        self.change.puts.push(put(place));
    }
}

// === impl GroupMemberQuery ===

impl GroupMemberQuery {
    fn matches(&self, placed: &Placed) -> bool {
        let roles: BTreeSet<String> = placed.place.all_roles().map(ToString::to_string).collect();
        let profile = &placed.member.profile;
        (self.roles.is_empty() || self.roles.iter().any(|role| roles.contains(role)))
            && self.filter.matches(|field, _| match field {
                "foreign_id" => Value::Text(profile.foreign_id.as_deref()),
                "display_name" => Value::Text(Some(&profile.display_name)),
                "email" => Value::Text(Some(&profile.email)),
                _ => Value::Set(roles.iter().map(String::as_str).collect()),
            })
    }
}

/// Makes it a condition of a change that roles still are as they were read.
pub(super) fn require_roles<'a>(roles: impl Iterator<Item = &'a Role>, change: &mut Change) {
    let versions: BTreeMap<String, u64> = roles.map(|role| (role.id.to_string(), role.version)).collect();
    change.require.extend(versions.into_iter().map(|(id, version)| (Kind::Role, id, version)));
}

/// The list of a group's members.
pub(super) fn members_of(group: &EntityGroup) -> Index {
    Index { tenant: group.tenant.clone(), kind: Kind::GroupMember, parent: Some(group.id.to_string()) }
}

/// The tombstone of a place.
fn buried(place: &GroupMember, now: Time) -> GroupMember {
    GroupMember { roles: Vec::new(), overrides: Vec::new(), state: State::Deleted, updated: now, ..place.clone() }
}

fn put(place: &GroupMember) -> Put {
    Put::new(Kind::GroupMember, place.id(), Some(place.version), place.to_bytes())
}

/// The lists that a place stands in: of its group, of its member, and of its roles.
fn rows(place: &GroupMember) -> BTreeSet<(Index, String)> {
    let GroupMember { tenant, group, member, .. } = place;
    let list = |parent: String| Index { tenant: tenant.clone(), kind: Kind::GroupMember, parent: Some(parent) };
    let parents = [list(group.to_string()), list(member.to_string())];
    let roles = place.all_roles().map(|role| holders_of(tenant, Kind::GroupMember, role));
    parents.into_iter().chain(roles).map(|index| (index, place.id())).collect()
}

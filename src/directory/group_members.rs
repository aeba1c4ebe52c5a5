//! Members of entity groups.
//!
//! Each member's place in a group is a record of its own, and is written together with the group's record, as the accounts'
//! places are. What a member may do in the group stands in its place only: memberships in accounts neither add nor change.

use std::{collections::BTreeSet, sync::Arc};

use jeton_core::{MemberId, Position, TenantId, entry::Entry};

use super::{
    Directory,
    commit::MAX_RACES,
    filters::any,
    groups::{ContentEdit, outraced},
    listing::Listing,
    load::key,
    member_patch::{MemberPatch, new_member},
    page::{Page, PageRequest},
    permit::Act,
    record::{EntityGroup, GroupMember, Kept as _, Member, State, Stored as _, check_etag},
    roles::holders_of,
};
use crate::{
    error::{Error, Result},
    notation::filter::{Field, Filter, SET_OPS, TEXT_OPS, Value},
    store::{Change, Index, Kind, Put},
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
        reference: &str,
        query: &GroupMemberQuery,
        page: &PageRequest,
    ) -> Result<(Page<Placed>, u64)> {
        let tenant = self.tenant();
        let group = self.reachable_group(reference).await?;
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

    /// The member that is to have a place, and whether it is created with it.
    async fn member_to_place(&self, new: &NewGroupMember, change: &mut Change) -> Result<(Member, bool)> {
        let tenant = change.tenant.clone();
        let not_found = || Error::not_found(Member::NAME, &*new.member);
        let by_id = new.member.parse::<MemberId>().is_ok();
        if let Some(id) = self.id_of::<jeton_core::id::Member>(&tenant, Member::FOREIGN_IDS, &new.member).await? {
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

/// The list of a group's members.
pub(super) fn members_of(group: &EntityGroup) -> Index {
    Index { tenant: group.tenant.clone(), kind: Kind::GroupMember, parent: Some(group.id.to_string()) }
}

pub(super) fn put(place: &GroupMember) -> Put {
    Put::new(Kind::GroupMember, place.id(), Some(place.version), place.to_bytes())
}

/// The lists that a place stands in: of its group, of its member, and of its roles.
pub(super) fn rows(place: &GroupMember) -> BTreeSet<(Index, String)> {
    let GroupMember { tenant, group, member, .. } = place;
    let list = |parent: String| Index { tenant: tenant.clone(), kind: Kind::GroupMember, parent: Some(parent) };
    let parents = [list(group.to_string()), list(member.to_string())];
    let roles = place.all_roles().map(|role| holders_of(tenant, Kind::GroupMember, role));
    parents.into_iter().chain(roles).map(|index| (index, place.id())).collect()
}

//! How the places of members in groups end: one by one, with the group, or with the member.

use jeton_core::{GroupId, MemberId, Position, TenantId, Time, entry::Entry};

use super::{
    Directory,
    commit::MAX_RACES,
    group_members::{PLACES_PER_WRITE, members_of, put, rows},
    groups::outraced,
    load::key,
    page::MAX_SIZE,
    record::{EntityGroup, GroupMember, Kept as _, State, Stored as _, check_etag},
};
use crate::{
    error::{Error, Result},
    store::{Change, Index, Kind, RecordKey},
};

// === impl Directory ===

impl Directory {
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
                // Also for one that was taken out before: its tokens must be dead when a repeated call returns.
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
}

/// The tombstone of a place.
fn buried(place: &GroupMember, now: Time) -> GroupMember {
    GroupMember { roles: Vec::new(), overrides: Vec::new(), state: State::Deleted, updated: now, ..place.clone() }
}

//! Entity groups: named sets of accounts.

use std::{collections::BTreeMap, sync::Arc};

use jeton_contract::reason::Reason;
use jeton_core::{GroupId, Position, Subject, TenantId, entry::Entry};

use super::{
    Directory,
    caller::{Right, require_unconfined},
    commit::{Edit, Repeat, refused},
    filters::any,
    load::key,
    names::{change_data, foreign_id, read_foreign_id, rename},
    page::{Page, PageRequest},
    permit::Act,
    record::{EntityGroup, State, Stored as _},
};
use crate::{
    ambient::Fresh as _,
    error::{Error, Result},
    notation::filter::{Field, Filter, TEXT_OPS, Value},
    store::{Change, Index, Kind, Put, Unique, Written},
};

/// What a caller says of a group; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct GroupPatch {
    pub display_name: Option<String>,
    /// Empty: none.
    pub foreign_id: Option<String>,
    /// Empty: none.
    pub email_to_name: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
    pub metadata: Option<BTreeMap<String, String>>,
    /// Single keys of the metadata to set, or to remove.
    pub metadata_keys: Vec<(String, Option<String>)>,
}

/// The fields that groups can be filtered by.
pub const FIELDS: &[Field] = &[
    Field { name: "display_name", ops: TEXT_OPS, value: any },
    Field { name: "foreign_id", ops: TEXT_OPS, value: any },
    Field { name: "labels.", ops: TEXT_OPS, value: any },
    Field { name: "metadata.", ops: TEXT_OPS, value: any },
];

/// A change of what is in a group. The group's record is written with it: it counts what is in it, and its version is the
/// condition that keeps the counts exact.
pub(super) struct ContentEdit {
    pub group: EntityGroup,
    /// What is written besides the group.
    pub change: Change,
    /// What goes to the log; the group's own entry is the first.
    pub entries: Vec<Entry>,
}

// === impl Act ===

impl Act {
    /// The group that a reference names, if the caller may see it: any by scope, and its own with a token for a group.
    pub async fn visible_group(&self, reference: &str) -> Result<Arc<EntityGroup>> {
        let tenant = self.tenant();
        let Some(own) = own_group(self)? else { return self.reachable_group(reference).await };
        let id: Option<GroupId> = self.directory.id_of(tenant, EntityGroup::FOREIGN_IDS, reference).await?;
        let group = if id.as_ref() == Some(own) { self.directory.group(tenant, own).await? } else { None };
        group
            .filter(|group| group.state != State::Deleted)
            .ok_or_else(|| Error::not_found(EntityGroup::NAME, reference))
    }

    /// The group that a reference names, if the caller reaches it. Confined callers reach none: a group spans accounts, and
    /// changing it changes the reach of tokens in all of them.
    pub async fn reachable_group(&self, reference: &str) -> Result<Arc<EntityGroup>> {
        self.group_or_tombstone(reference)
            .await?
            .filter(|group| group.state != State::Deleted)
            .ok_or_else(|| Error::not_found(EntityGroup::NAME, reference))
    }

    pub async fn create_group(
        &self,
        patch: GroupPatch,
        accounts: &[String],
        repeat: Option<Repeat>,
    ) -> Result<(Arc<EntityGroup>, Position)> {
        let (caller, tenant) = (self.caller(), self.tenant());
        require_unconfined(caller)?;
        self.directory.existing_tenant(tenant).await?;
        let now = self.directory.now();
        let id = GroupId::random()?;
        let mut change = Change::new(tenant.clone(), now);
        let mut group = EntityGroup {
            id: id.clone(),
            tenant: tenant.clone(),
            display_name: String::new(),
            foreign_id: None,
            email_to_name: String::new(),
            labels: BTreeMap::new(),
            metadata: BTreeMap::new(),
            entity_count: 0,
            member_count: 0,
            state: State::Enabled,
            created: now,
            updated: now,
            version: 1,
        };
        apply(&mut group, patch, &mut change)?;
        if group.display_name.is_empty() {
            return Err(Error::field("entity_group.display_name", "must be set"));
        }
        let accounts = self.directory.living_accounts(tenant, accounts).await?;
        self.directory.put_first_entities(&mut group, &accounts, &mut change);
        change.index.push((all(tenant), id.to_string()));
        let (group, position) = self.directory.create(caller, group, id.to_string(), change, repeat).await?;
        // A repeat may come after the group's end.
        require_not_deleted(&group)?;
        Ok((group, position))
    }

    pub async fn update_group(
        &self,
        reference: &str,
        etag: &str,
        patch: GroupPatch,
    ) -> Result<(Arc<EntityGroup>, Position)> {
        let tenant = self.tenant();
        let found = self.reachable_group(reference).await?;
        self.directory
            .edit(&key::<EntityGroup>(tenant, &found.id), Some(etag), |mut group: EntityGroup| {
                require_not_deleted(&group)?;
                let mut change = Change::new(tenant.clone(), self.directory.now());
                apply(&mut group, patch.clone(), &mut change)?;
                group.updated = self.directory.now();
                let entries = vec![Entry::changed(group.ident())];
                Ok(Edit { record: group, change, entries })
            })
            .await
    }

    /// Deletes a group. The places of its accounts are left: nobody gets to them but by the group's record, and its id is
    /// never used again. Those of its members end, because they hold roles.
    pub async fn delete_group(&self, reference: &str, etag: &str) -> Result<Position> {
        let tenant = self.tenant();
        let found = self.group_or_tombstone(reference).await?;
        let found = found.ok_or_else(|| Error::not_found(EntityGroup::NAME, reference))?;
        let key = key::<EntityGroup>(tenant, &found.id);
        let edited = self.directory.edit(&key, Some(etag), |mut group: EntityGroup| {
            let now = self.directory.now();
            let id = group.id.to_string();
            let mut change = Change::new(tenant.clone(), now);
            rename(&mut change, &id, names(&group), Vec::new());
            // Deleted groups are never listed again.
            change.unindex.push((all(tenant), id));
            group.state = State::Deleted;
            group.updated = now;
            let entries = vec![Entry::revoke(group.ident())];
            Ok(Edit { record: group, change, entries })
        });
        let (group, position) = edited.await?;
        self.directory.end_members(&group).await?;
        Ok(position)
    }

    /// Lists groups by id.
    pub async fn list_groups(&self, filter: &Filter, page: &PageRequest) -> Result<Page<Arc<EntityGroup>>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        if let Some(own) = own_group(self)? {
            let group = self.directory.group(tenant, own).await?.filter(|group| group.state != State::Deleted);
            let items = group.filter(|group| matches(filter, group)).into_iter().collect();
            return Ok(Page { items, next: String::new() });
        }
        require_unconfined(caller)?;
        self.directory
            .list_records(&all(tenant), page, |group: &EntityGroup| {
                group.state != State::Deleted && matches(filter, group)
            })
            .await
    }

    /// The group that a reference names by id or foreign id, deleted ones included.
    async fn group_or_tombstone(&self, reference: &str) -> Result<Option<Arc<EntityGroup>>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        require_unconfined(caller)?;
        match self.directory.id_of(tenant, EntityGroup::FOREIGN_IDS, reference).await? {
            Some(id) => self.directory.group(tenant, &id).await,
            None => Ok(None),
        }
    }
}

// === impl Directory ===

impl Directory {
    /// Begins a change of what is in a group.
    pub(super) async fn edit_contents(&self, found: &EntityGroup) -> Result<ContentEdit> {
        let group: Option<EntityGroup> = self.fresh(&key::<EntityGroup>(&found.tenant, &found.id)).await?;
        let group = group.ok_or_else(|| Error::not_found(EntityGroup::NAME, found.id.to_string()))?;
        require_not_deleted(&group)?;
        let change = Change::new(group.tenant.clone(), self.now());
        Ok(ContentEdit { entries: vec![Entry::changed(group.ident())], group, change })
    }

    /// Writes a change of what is in a group, if there is anything to write. `None`: another change came between.
    pub(super) async fn write_contents(&self, edit: ContentEdit) -> Result<Option<(Arc<EntityGroup>, Position)>> {
        let ContentEdit { mut group, mut change, entries } = edit;
        if change.puts.is_empty() {
            let position = self.core.log.append(&entries).await?;
            return Ok(Some((Arc::new(group), position)));
        }
        let version = group.version;
        group.updated = change.now;
        change.puts.push(Put::new(Kind::Group, group.id.to_string(), Some(version), group.to_bytes()));
        let (written, position) = self.commit(change, &entries).await?;
        match written {
            Written::Done => {
                group.set_version(version + 1);
                Ok(Some((Arc::new(group), position)))
            }
            // A name can only have been taken by another call that creates the same member.
            Written::Conflict(..) | Written::Taken(_) => Ok(None),
            other @ (Written::NotEmpty(_) | Written::Repeated { .. }) => Err(refused(other)),
        }
    }
}

/// What a change of a group's contents says when too many others came between.
pub(super) fn outraced() -> Error {
    Error::new(Reason::ConcurrentUpdate, "too many concurrent changes of the entity group")
}

/// The group whose token the caller bears, unless it may read groups by scope.
fn own_group(act: &Act) -> Result<Option<&GroupId>> {
    match (act.right(), &act.caller().subject) {
        (Right::Scope, _) => Ok(None),
        (Right::OwnOnly, Subject::Group(own, _)) => Ok(Some(own)),
        (Right::OwnOnly, Subject::Client(_) | Subject::Account(_) | Subject::Member(..) | Subject::OtherClient(..)) => {
            Err(act.insufficient())
        }
    }
}

fn apply(group: &mut EntityGroup, patch: GroupPatch, change: &mut Change) -> Result<()> {
    let id = group.id.to_string();
    if let Some(name) = patch.display_name {
        if name.is_empty() {
            return Err(Error::field("entity_group.display_name", "must be set"));
        }
        group.display_name = name;
    }
    let before = names(group);
    if let Some(foreign) = patch.foreign_id {
        group.foreign_id = read_foreign_id("entity_group.foreign_id", foreign)?;
    }
    rename(change, &id, before, names(group));
    if let Some(email_to_name) = patch.email_to_name {
        group.email_to_name = email_to_name;
    }
    if let Some(labels) = patch.labels {
        group.labels = labels;
    }
    change_data(&mut group.metadata, patch.metadata, patch.metadata_keys);
    Ok(())
}

fn names(group: &EntityGroup) -> Vec<Unique> {
    group.foreign_id.iter().map(|id| foreign_id(EntityGroup::FOREIGN_IDS, id)).collect()
}

fn matches(filter: &Filter, group: &EntityGroup) -> bool {
    filter.matches(|field, key| match field {
        "display_name" => Value::Text(Some(&group.display_name)),
        "foreign_id" => Value::Text(group.foreign_id.as_deref()),
        "metadata" => Value::Text(group.metadata.get(key).map(String::as_str)),
        _ => Value::Text(group.labels.get(key).map(String::as_str)),
    })
}

pub(super) fn require_not_deleted(group: &EntityGroup) -> Result<()> {
    if group.state == State::Deleted {
        return Err(Error::not_found(EntityGroup::NAME, group.id.to_string()));
    }
    Ok(())
}

fn all(tenant: &TenantId) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Group, parent: None }
}

//! Members: the people who act in accounts.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Directory,
    accounts::{any, name_of, state_name},
    caller::Caller,
    commit::{Edit, Repeat},
    load::key,
    names::{change_data, foreign_id, read_foreign_id, rename},
    page::{Page, PageRequest},
    record::{State, Stored as _},
    roster::{Member, Profile},
};
use crate::{
    revocation::entry::Entry,
    store::{Change, Index, Kind, Unique},
    token::{
        Error, MemberId, Position, Reason, Result, TenantId,
        filter::{Field, Filter, MOMENT_OPS, NAME_OPS, TEXT_OPS, Value},
        moment,
    },
};

/// What a caller says of a member; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct MemberPatch {
    /// Empty: none.
    pub foreign_id: Option<String>,
    pub display_name: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub title: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
    pub metadata: Option<BTreeMap<String, String>>,
    /// Single keys of the metadata to set, or to remove.
    pub metadata_keys: Vec<(String, Option<String>)>,
}

/// Which members to list.
#[derive(Clone, Debug, Default)]
pub struct MemberQuery {
    pub filter: Filter,
    pub show_deleted: bool,
}

/// The fields that members can be filtered by.
pub const FIELDS: &[Field] = &[
    Field { name: "member_id", ops: NAME_OPS, value: any },
    Field { name: "foreign_id", ops: TEXT_OPS, value: any },
    Field { name: "display_name", ops: TEXT_OPS, value: any },
    Field { name: "first_name", ops: TEXT_OPS, value: any },
    Field { name: "last_name", ops: TEXT_OPS, value: any },
    Field { name: "email", ops: TEXT_OPS, value: any },
    Field { name: "phone", ops: TEXT_OPS, value: any },
    Field { name: "title", ops: TEXT_OPS, value: any },
    Field { name: "state", ops: NAME_OPS, value: state_name },
    Field { name: "create_time", ops: MOMENT_OPS, value: moment::canonical },
    Field { name: "labels.", ops: TEXT_OPS, value: any },
    Field { name: "metadata.", ops: TEXT_OPS, value: any },
];

// === impl Directory ===

impl Directory {
    /// The member that a slot names by id or foreign id, deleted ones included, if the caller reaches it.
    pub async fn reachable_member(&self, caller: &Caller, tenant: &TenantId, slot: &str) -> Result<Arc<Member>> {
        let not_found = || Error::not_found(Member::NAME, slot);
        if caller.confinement(tenant).is_some() {
            return Err(not_found());
        }
        let id: MemberId = self.id_of(tenant, Kind::Member, slot).await?.ok_or_else(not_found)?;
        self.member(tenant, &id).await?.ok_or_else(not_found)
    }

    pub async fn create_member(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        patch: MemberPatch,
        repeat: Option<Repeat>,
    ) -> Result<(Arc<Member>, Position)> {
        self.follower.head().await?;
        self.existing_tenant(tenant).await?;
        if caller.confinement(tenant).is_some() {
            return Err(Error::new(
                Reason::ScopeInsufficient,
                "members belong to the tenant: a caller that is confined to an account cannot create one",
            ));
        }
        let now = self.now();
        let id: MemberId = MemberId::random()?;
        let mut change = Change::new(tenant.clone(), now);
        let mut member = Member {
            id: id.clone(),
            tenant: tenant.clone(),
            state: State::Enabled,
            profile: Profile::default(),
            created: now,
            updated: now,
            deleted: None,
            version: 1,
        };
        apply(&mut member, patch, &mut change)?;
        if member.profile.display_name.is_empty() {
            return Err(Error::field("member.display_name", "must be set"));
        }
        change.index.push((all(tenant), id.to_string()));
        self.create(caller, member, id.to_string(), change, repeat).await
    }

    pub async fn update_member(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        slot: &str,
        etag: &str,
        patch: MemberPatch,
    ) -> Result<(Arc<Member>, Position)> {
        self.edit_member(caller, tenant, slot, etag, |mut member| {
            require_not_deleted(&member)?;
            let mut change = Change::new(tenant.clone(), self.now());
            apply(&mut member, patch.clone(), &mut change)?;
            let entries = vec![Entry::changed(member.ident())];
            Ok(Edit { record: member, change, entries })
        })
        .await
    }

    /// Enables or disables a member. What it obtained before stays dead.
    pub async fn set_member_state(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        slot: &str,
        state: State,
    ) -> Result<(Arc<Member>, Position)> {
        self.edit_member(caller, tenant, slot, "", |mut member| {
            require_not_deleted(&member)?;
            member.state = state;
            let entry = match state {
                State::Enabled => Entry::changed(member.ident()),
                State::Disabled | State::Deleted => Entry::revoke(member.ident()),
            };
            Ok(Edit { record: member, change: Change::new(tenant.clone(), self.now()), entries: vec![entry] })
        })
        .await
    }

    /// Deletes a member, forgets the person, and ends all memberships. The tombstone says that the id was used.
    pub async fn delete_member(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        slot: &str,
        etag: &str,
    ) -> Result<(Arc<Member>, Position)> {
        let deleted = self.edit_member(caller, tenant, slot, etag, |mut member| {
            let now = self.now();
            let mut change = Change::new(tenant.clone(), now);
            rename(&mut change, &member.id.to_string(), names(&member), Vec::new());
            member.profile = Profile::default();
            member.state = State::Deleted;
            member.deleted.get_or_insert(now);
            let entries = vec![Entry::revoke(member.ident())];
            Ok(Edit { record: member, change, entries })
        });
        let (member, position) = deleted.await?;
        // The member is dead already, and a deleted one gets no new memberships.
        self.end_memberships(tenant, &member.id).await?;
        Ok((member, position))
    }

    /// Lists a tenant's members, by id.
    pub async fn list_members(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        query: &MemberQuery,
        page: &PageRequest,
    ) -> Result<Page<Member>> {
        self.follower.head().await?;
        if caller.confinement(tenant).is_some() {
            return Ok(Page { items: Vec::new(), next: String::new() });
        }
        self.list_records(tenant, &all(tenant), page, query.filter.is_empty(), |member: &Member| {
            (query.show_deleted || member.state != State::Deleted) && matches(&query.filter, member)
        })
        .await
    }

    async fn edit_member(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        slot: &str,
        etag: &str,
        edit: impl Fn(Member) -> Result<Edit<Member>>,
    ) -> Result<(Arc<Member>, Position)> {
        self.follower.head().await?;
        let member = self.reachable_member(caller, tenant, slot).await?;
        let now = self.now();
        let edit = |member| {
            let mut edit = edit(member)?;
            edit.record.updated = now;
            Ok(edit)
        };
        self.edit(&key::<Member>(tenant, &member.id), Some(etag), edit).await
    }
}

fn apply(member: &mut Member, patch: MemberPatch, change: &mut Change) -> Result<()> {
    let before = names(member);
    let profile = &mut member.profile;
    if let Some(name) = patch.display_name {
        if name.is_empty() {
            return Err(Error::field("member.display_name", "must be set"));
        }
        profile.display_name = name;
    }
    if let Some(foreign) = patch.foreign_id {
        profile.foreign_id = read_foreign_id("member.foreign_id", foreign)?;
    }
    let texts = [
        (&mut profile.first_name, patch.first_name),
        (&mut profile.last_name, patch.last_name),
        (&mut profile.email, patch.email),
        (&mut profile.phone, patch.phone),
        (&mut profile.title, patch.title),
    ];
    for (own, new) in texts {
        if let Some(new) = new {
            *own = new;
        }
    }
    if let Some(labels) = patch.labels {
        profile.labels = labels;
    }
    change_data(&mut profile.metadata, patch.metadata, patch.metadata_keys);
    rename(change, &member.id.to_string(), before, names(member));
    Ok(())
}

fn names(member: &Member) -> Vec<Unique> {
    member.profile.foreign_id.iter().map(|id| foreign_id(Kind::Member, id)).collect()
}

fn matches(filter: &Filter, member: &Member) -> bool {
    let Profile { display_name, first_name, last_name, email, phone, title, labels, metadata, .. } = &member.profile;
    let id = member.id.to_string();
    filter.matches(|field, key| match field {
        "member_id" => Value::Text(Some(&id)),
        "foreign_id" => Value::Text(member.profile.foreign_id.as_deref()),
        "display_name" => Value::Text(Some(display_name)),
        "first_name" => Value::Text(Some(first_name)),
        "last_name" => Value::Text(Some(last_name)),
        "email" => Value::Text(Some(email)),
        "phone" => Value::Text(Some(phone)),
        "title" => Value::Text(Some(title)),
        "state" => Value::Name(name_of(member.state)),
        "create_time" => Value::Moment(moment::format(member.created)),
        "metadata" => Value::Text(metadata.get(key).map(String::as_str)),
        _ => Value::Text(labels.get(key).map(String::as_str)),
    })
}

fn require_not_deleted(member: &Member) -> Result<()> {
    if member.state == State::Deleted {
        return Err(Error::not_found(Member::NAME, member.id.to_string()));
    }
    Ok(())
}

fn all(tenant: &TenantId) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Member, parent: None }
}

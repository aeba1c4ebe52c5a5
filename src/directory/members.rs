//! Members: the people who act in accounts.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{MemberId, Position, TenantId, entry::Entry};

use super::{
    caller::Right,
    commit::{Edit, Repeat},
    filters::{any, name_of, state_name},
    load::key,
    member_patch::{MemberPatch, apply, names, new_member, with_email_of},
    names::rename,
    page::{Page, PageRequest},
    permit::Act,
    profiles::identities_of,
    record::{Member, Profile, State, Stored as _},
    settings::SelfManagement,
};
use crate::{
    error::{Error, Result},
    notation::{
        filter::{Field, Filter, MOMENT_OPS, NAME_OPS, TEXT_OPS, Value},
        moment,
    },
    store::{Change, Index, Kind},
};

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

// === impl Act ===

impl Act {
    /// The member that a reference names by id or foreign id, deleted ones included, if the caller reaches it.
    pub async fn reachable_member(&self, reference: &str) -> Result<Arc<Member>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        let not_found = || Error::not_found(Member::NAME, reference);
        if caller.confinement(tenant).is_some() {
            return Err(not_found());
        }
        let id: MemberId = self.directory.id_of(tenant, Member::FOREIGN_IDS, reference).await?.ok_or_else(not_found)?;
        self.directory.member(tenant, &id).await?.ok_or_else(not_found)
    }

    /// The member that a reference names, if the caller may read it: within reach by scope, or itself.
    pub async fn readable_member(&self, reference: &str) -> Result<Arc<Member>> {
        match self.right() {
            Right::Scope => self.reachable_member(reference).await,
            Right::OwnOnly => {
                self.own_member(reference).await?.ok_or_else(|| Error::not_found(Member::NAME, reference))
            }
        }
    }

    /// The member that a reference names, if it is the caller itself.
    ///
    /// # Errors
    /// SCOPE_INSUFFICIENT for a caller that is no member: without the declared scope it has nothing of its own.
    pub(super) async fn own_member(&self, reference: &str) -> Result<Option<Arc<Member>>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        let own = caller.own_member().ok_or_else(|| self.insufficient())?;
        if *tenant != caller.tenant {
            return Ok(None);
        }
        match self.directory.id_of(tenant, Member::FOREIGN_IDS, reference).await? {
            Some(id) if id == *own => self.directory.member(tenant, own).await,
            Some(_) | None => Ok(None),
        }
    }

    /// The member that a reference names and by which right the caller may change it: within reach by scope, or itself, if it
    /// signed in and the tenant lets members manage themselves.
    pub async fn manageable_member(&self, reference: &str) -> Result<(Arc<Member>, Right)> {
        let (caller, tenant) = (self.caller(), self.tenant());
        let right = self.right();
        if right == Right::Scope {
            return Ok((self.reachable_member(reference).await?, right));
        }
        let member = self.own_member(reference).await?;
        let member = member.ok_or_else(|| Error::not_found(Member::NAME, reference))?;
        caller.require_signed_in()?;
        match self.directory.existing_tenant(tenant).await?.settings.member_self_management() {
            SelfManagement::UpdateOnly => Ok((member, right)),
            SelfManagement::Disabled => {
                Err(Error::new(Reason::ScopeInsufficient, "in this tenant members do not manage themselves"))
            }
        }
    }

    pub async fn create_member(&self, patch: MemberPatch, repeat: Option<Repeat>) -> Result<(Arc<Member>, Position)> {
        let (caller, tenant) = (self.caller(), self.tenant());
        self.directory.existing_tenant(tenant).await?;
        if caller.confinement(tenant).is_some() {
            return Err(Error::new(
                Reason::ScopeInsufficient,
                "members belong to the tenant: a caller that is confined to an account cannot create one",
            ));
        }
        let mut change = Change::new(tenant.clone(), self.directory.now());
        let member = new_member(patch, &mut change)?;
        let id = member.id.to_string();
        self.directory.create(caller, member, id, change, repeat).await
    }

    pub async fn update_member(
        &self,
        reference: &str,
        etag: &str,
        patch: MemberPatch,
    ) -> Result<(Arc<Member>, Position)> {
        let tenant = self.tenant();
        let (found, right) = self.manageable_member(reference).await?;
        if right == Right::OwnOnly && patch.is_beyond_the_member() {
            let message = "members change their names, e-mail address, phone number and title only";
            return Err(Error::new(Reason::ScopeInsufficient, message));
        }
        self.directory
            .edit(&key::<Member>(tenant, &found.id), Some(etag), |mut member: Member| {
                require_not_deleted(&member)?;
                let mut change = Change::new(tenant.clone(), self.directory.now());
                apply(&mut member, patch.clone(), &mut change)?;
                member.updated = change.now;
                let entries = vec![Entry::changed(member.ident())];
                Ok(Edit { record: member, change, entries })
            })
            .await
    }

    /// Enables or disables a member. What it obtained before stays dead.
    pub async fn set_member_state(&self, reference: &str, state: State) -> Result<(Arc<Member>, Position)> {
        let tenant = self.tenant();
        self.edit_member(reference, "", |mut member| {
            require_not_deleted(&member)?;
            member.state = state;
            let entry = match state {
                State::Enabled => Entry::changed(member.ident()),
                State::Disabled | State::Deleted => Entry::revoke(member.ident()),
            };
            Ok(Edit { record: member, change: Change::new(tenant.clone(), self.directory.now()), entries: vec![entry] })
        })
        .await
    }

    /// Deletes a member, forgets the person, and ends all memberships. The tombstone says that the id was used.
    pub async fn delete_member(&self, reference: &str, etag: &str) -> Result<(Arc<Member>, Position)> {
        let tenant = self.tenant();
        let deleted = self.edit_member(reference, etag, |mut member| {
            let now = self.directory.now();
            let mut change = Change::new(tenant.clone(), now);
            let id = member.id.to_string();
            rename(&mut change, &id, names(&member), Vec::new());
            let lists = member.identities().iter().map(|identity| identities_of(tenant, &identity.profile));
            change.unindex = lists.chain(with_email_of(&member)).map(|index| (index, id.clone())).collect();
            member.identities = None;
            member.email_verified = None;
            member.invited = None;
            member.profile = Profile::default();
            member.state = State::Deleted;
            member.deleted.get_or_insert(now);
            let entries = vec![Entry::revoke(member.ident())];
            Ok(Edit { record: member, change, entries })
        });
        let (member, position) = deleted.await?;
        // The member is dead already, and a deleted one gets no new places.
        self.directory.end_memberships(tenant, &member.id).await?;
        self.directory.end_group_places(tenant, &member.id).await?;
        Ok((member, position))
    }

    /// Lists a tenant's members, by id.
    pub async fn list_members(&self, query: &MemberQuery, page: &PageRequest) -> Result<Page<Arc<Member>>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        if caller.confinement(tenant).is_some() {
            return Ok(Page { items: Vec::new(), next: String::new() });
        }
        self.directory
            .list_records(&all(tenant), page, |member: &Member| {
                (query.show_deleted || member.state != State::Deleted) && matches(&query.filter, member)
            })
            .await
    }

    async fn edit_member(
        &self,
        reference: &str,
        etag: &str,
        edit: impl Fn(Member) -> Result<Edit<Member>>,
    ) -> Result<(Arc<Member>, Position)> {
        let tenant = self.tenant();
        let member = self.reachable_member(reference).await?;
        let now = self.directory.now();
        let edit = |member| {
            let mut edit = edit(member)?;
            edit.record.updated = now;
            Ok(edit)
        };
        self.directory.edit(&key::<Member>(tenant, &member.id), Some(etag), edit).await
    }
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

pub(super) fn require_not_deleted(member: &Member) -> Result<()> {
    if member.state == State::Deleted {
        return Err(Error::not_found(Member::NAME, member.id.to_string()));
    }
    Ok(())
}

pub(super) fn all(tenant: &TenantId) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Member, parent: None }
}

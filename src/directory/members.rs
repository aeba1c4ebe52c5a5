//! Members: the people who act in accounts.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    accounts::{any, name_of, state_name},
    caller::Right,
    commit::{Edit, Repeat},
    load::key,
    names::{change_data, foreign_id, read_foreign_id, rename},
    page::{Page, PageRequest},
    permit::Act,
    profiles::identities_of,
    record::{Identity, Member, Profile, State, Stored as _, invited, normalized},
    settings::SelfManagement,
};
use crate::{
    ambient::Fresh as _,
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
    /// Whether the address is known to be the member's. A new address is not, unless this says so.
    pub email_verified: Option<bool>,
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

// === impl Act ===

impl Act {
    /// The member that a slot names by id or foreign id, deleted ones included, if the caller reaches it.
    pub async fn reachable_member(&self, slot: &str) -> Result<Arc<Member>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        let not_found = || Error::not_found(Member::NAME, slot);
        if caller.confinement(tenant).is_some() {
            return Err(not_found());
        }
        let id: MemberId = self.directory.id_of(tenant, Member::FOREIGN_IDS, slot).await?.ok_or_else(not_found)?;
        self.directory.member(tenant, &id).await?.ok_or_else(not_found)
    }

    /// The member that a slot names, if the caller may read it: within reach by scope, or itself.
    pub async fn readable_member(&self, slot: &str) -> Result<Arc<Member>> {
        match self.right() {
            Right::Scope => self.reachable_member(slot).await,
            Right::OwnOnly => self.own_member(slot).await?.ok_or_else(|| Error::not_found(Member::NAME, slot)),
        }
    }

    /// The member that a slot names, if it is the caller itself.
    ///
    /// # Errors
    /// SCOPE_INSUFFICIENT for a caller that is no member: without the declared scope it has nothing of its own.
    pub(super) async fn own_member(&self, slot: &str) -> Result<Option<Arc<Member>>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        let own = caller.own_member().ok_or_else(|| self.insufficient())?;
        if *tenant != caller.tenant {
            return Ok(None);
        }
        match self.directory.id_of(tenant, Member::FOREIGN_IDS, slot).await? {
            Some(id) if id == *own => self.directory.member(tenant, own).await,
            Some(_) | None => Ok(None),
        }
    }

    /// The member that a slot names and by which right the caller may change it: within reach by scope, or itself, if it
    /// signed in and the tenant lets members manage themselves.
    pub async fn manageable_member(&self, slot: &str) -> Result<(Arc<Member>, Right)> {
        let (caller, tenant) = (self.caller(), self.tenant());
        let right = self.right();
        if right == Right::Scope {
            return Ok((self.reachable_member(slot).await?, right));
        }
        let member = self.own_member(slot).await?;
        let member = member.ok_or_else(|| Error::not_found(Member::NAME, slot))?;
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

    pub async fn update_member(&self, slot: &str, etag: &str, patch: MemberPatch) -> Result<(Arc<Member>, Position)> {
        let tenant = self.tenant();
        let (found, right) = self.manageable_member(slot).await?;
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
    pub async fn set_member_state(&self, slot: &str, state: State) -> Result<(Arc<Member>, Position)> {
        let tenant = self.tenant();
        self.edit_member(slot, "", |mut member| {
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
    pub async fn delete_member(&self, slot: &str, etag: &str) -> Result<(Arc<Member>, Position)> {
        let tenant = self.tenant();
        let deleted = self.edit_member(slot, etag, |mut member| {
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
        slot: &str,
        etag: &str,
        edit: impl Fn(Member) -> Result<Edit<Member>>,
    ) -> Result<(Arc<Member>, Position)> {
        let tenant = self.tenant();
        let member = self.reachable_member(slot).await?;
        let now = self.directory.now();
        let edit = |member| {
            let mut edit = edit(member)?;
            edit.record.updated = now;
            Ok(edit)
        };
        self.directory.edit(&key::<Member>(tenant, &member.id), Some(etag), edit).await
    }
}

// === impl MemberPatch ===

impl MemberPatch {
    /// Whether it changes what members do not decide about themselves.
    fn is_beyond_the_member(&self) -> bool {
        let Self { foreign_id, email_verified, labels, metadata, metadata_keys, .. } = self;
        foreign_id.is_some()
            || email_verified.is_some()
            || labels.is_some()
            || metadata.is_some()
            || !metadata_keys.is_empty()
    }
}

/// A new member, with what `change` has to write of it besides its record.
pub(super) fn new_member(patch: MemberPatch, change: &mut Change) -> Result<Member> {
    let mut member = Member {
        id: MemberId::random()?,
        tenant: change.tenant.clone(),
        state: State::Enabled,
        profile: Profile::default(),
        created: change.now,
        updated: change.now,
        deleted: None,
        identities: None,
        email_verified: None,
        invited: None,
        version: 1,
    };
    apply(&mut member, patch, change)?;
    if member.profile.display_name.is_empty() {
        return Err(Error::field("member.display_name", "must be set"));
    }
    change.index.push((all(&member.tenant), member.id.to_string()));
    Ok(member)
}

pub(super) fn apply(member: &mut Member, patch: MemberPatch, change: &mut Change) -> Result<()> {
    let before = names(member);
    let email_before = with_email_of(member);
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
    let id = member.id.to_string();
    rename(change, &id, before, names(member));
    let email = with_email_of(member);
    if email != email_before {
        // Nobody has shown that the new one is the member's.
        member.email_verified = None;
        change.unindex.extend(email_before.map(|index| (index, id.clone())));
        change.index.extend(email.map(|index| (index, id)));
    }
    if let Some(verified) = patch.email_verified {
        if verified && member.profile.email.is_empty() {
            return Err(Error::field("member.email_verified", "must not be set without an e-mail address"));
        }
        member.email_verified = Some(verified);
    }
    Ok(())
}

pub(super) fn names(member: &Member) -> Vec<Unique> {
    let foreign = member.profile.foreign_id.iter().map(|id| foreign_id(Member::FOREIGN_IDS, id));
    let invitation = Some(&member.profile.email).filter(|email| member.invited == Some(true) && !email.is_empty());
    let invitation = invitation.map(|email| invited(email));
    foreign.chain(member.identities().iter().map(Identity::unique)).chain(invitation).collect()
}

/// The members with an e-mail address, in whatever case.
pub(super) fn with_email(tenant: &TenantId, email: &str) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Member, parent: Some(format!("email:{}", normalized(email))) }
}

/// The list of a member's e-mail address, if it has one.
fn with_email_of(member: &Member) -> Option<Index> {
    let email = Some(&member.profile.email).filter(|email| !email.is_empty());
    email.map(|email| with_email(&member.tenant, email))
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

//! Memberships: who belongs to which account, as what.
//!
//! A membership is written together with two tallies, of its account and of its member, whose versions are the condition
//! that keeps both limits exact.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{MemberId, Position, RoleId, TenantId, entry::Entry};

use super::{
    Directory,
    caller::{Caller, Right},
    commit::{Edit, MAX_RACES, Repeat, refused},
    filters::any,
    new_memberships::NewMembership,
    page::{Page, PageRequest},
    permit::Act,
    record::{Account, Kept as _, Member, Membership, MembershipState, Stored as _, check_etag},
    roles::holders_of,
};
use crate::{
    error::{Error, Result},
    notation::filter::{Field, Filter, NAME_OPS, SET_OPS, Value},
    store::{Change, Index, Kind, Put, RecordKey, Written},
};

/// What happens to a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The member confirms an invitation.
    Accept,
    /// The member refuses an invitation.
    Reject,
    Enable,
    Disable,
}

/// Whose memberships to list.
#[derive(Clone, Debug)]
pub enum ListMemberships {
    /// Of an account, by id or foreign id.
    Account(String),
    /// Of a member, by id or foreign id.
    Member(String),
}

/// The fields that memberships can be filtered by.
pub const FIELDS: &[Field] =
    &[Field { name: "state", ops: NAME_OPS, value: state_name }, Field { name: "role_id", ops: SET_OPS, value: any }];

// === impl Act ===

impl Act {
    /// The membership of a member in an account within reach.
    pub async fn reachable_membership(&self, account: &str, member: &str) -> Result<Arc<Membership>> {
        let tenant = self.tenant();
        let account = self.reachable_account(account).await?;
        let not_found = || Error::not_found(Membership::NAME, member);
        let member: MemberId =
            self.directory.id_of(tenant, Member::FOREIGN_IDS, member).await?.ok_or_else(not_found)?;
        let membership = self.directory.membership(tenant, &account.id, &member).await?;
        membership.filter(|membership| membership.state != MembershipState::Deleted).ok_or_else(not_found)
    }

    /// The membership of a member in an account, if the caller may confirm or refuse it: within reach by scope, or its own.
    async fn answerable_membership(&self, account: &str, member: &str) -> Result<Arc<Membership>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        if self.right() == Right::Scope {
            return self.reachable_membership(account, member).await;
        }
        let not_found = || Error::not_found(Membership::NAME, member);
        let own = self.own_member(member).await?.ok_or_else(not_found)?;
        caller.require_signed_in()?;
        // An account that the member is not in looks as if it had never existed.
        let account = self.directory.find_account(tenant, account).await?.ok_or_else(not_found)?;
        let membership = self.directory.membership(tenant, &account.id, &own.id).await?;
        membership.filter(|membership| membership.state != MembershipState::Deleted).ok_or_else(not_found)
    }

    /// Replaces the roles of a membership.
    pub async fn set_membership_roles(&self, new: &NewMembership, etag: &str) -> Result<(Arc<Membership>, Position)> {
        let tenant = self.tenant();
        let found = self.reachable_membership(&new.account, new.member.reference()).await?;
        let account = self.directory.account(tenant, &found.account).await?;
        let account = account.ok_or_else(|| Error::not_found(Account::NAME, &*new.account))?;
        let roles = self.directory.find_roles(&account, &new.roles).await?;
        let ids: Vec<RoleId> = roles.iter().map(|role| role.id.clone()).collect();
        self.directory
            .edit(&place(tenant, &account, &found.member), Some(etag), |mut membership: Membership| {
                require_not_deleted(&membership)?;
                let mut change = Change::new(tenant.clone(), self.directory.now());
                let id = membership.id();
                let list = |role: &RoleId| (holders_of(tenant, Kind::Membership, role), id.clone());
                change.require = roles.iter().map(|role| (Kind::Role, role.id.to_string(), role.version)).collect();
                change.unindex = membership.roles.iter().filter(|role| !ids.contains(role)).map(list).collect();
                change.index = ids.iter().map(list).collect();
                membership.roles.clone_from(&ids);
                membership.updated = self.directory.now();
                let entries = vec![Entry::changed(membership.ident())];
                Ok(Edit { record: membership, change, entries })
            })
            .await
    }

    /// Moves a membership on.
    pub async fn move_membership(
        &self,
        account: &str,
        member: &str,
        event: Event,
    ) -> Result<(Arc<Membership>, Position)> {
        let tenant = self.tenant();
        let found = match event {
            Event::Accept | Event::Reject => self.answerable_membership(account, member).await?,
            Event::Enable | Event::Disable => self.reachable_membership(account, member).await?,
        };
        let key = RecordKey { tenant: tenant.clone(), kind: Kind::Membership, id: found.id() };
        self.directory
            .edit(&key, None, |mut membership: Membership| {
                require_not_deleted(&membership)?;
                membership.state = event.of(membership.state)?;
                membership.updated = self.directory.now();
                let ident = membership.ident();
                let entry = if membership.state == MembershipState::Active {
                    Entry::changed(ident)
                } else {
                    Entry::revoke(ident)
                };
                Ok(Edit {
                    record: membership,
                    change: Change::new(tenant.clone(), self.directory.now()),
                    entries: vec![entry],
                })
            })
            .await
    }

    /// Takes a member out of an account. What it obtained there is dead.
    pub async fn delete_membership(&self, account: &str, member: &str, etag: &str) -> Result<Position> {
        let tenant = self.tenant();
        let account = self.reachable_account(account).await?;
        let not_found = || Error::not_found(Membership::NAME, member);
        let id: MemberId = self.directory.id_of(tenant, Member::FOREIGN_IDS, member).await?.ok_or_else(not_found)?;
        self.directory.remove(&place(tenant, &account, &id), member, etag).await
    }

    /// Lists memberships: those of an account by member, or those of a member by account.
    pub async fn list_memberships(
        &self,
        of: &ListMemberships,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page<Arc<Membership>>> {
        let tenant = self.tenant();
        let parent = match of {
            ListMemberships::Account(reference) => {
                self.require_scope()?;
                self.reachable_account(reference).await?.id.to_string()
            }
            ListMemberships::Member(reference) => self.readable_member(reference).await?.id.to_string(),
        };
        let index = Index { tenant: tenant.clone(), kind: Kind::Membership, parent: Some(parent) };
        self.directory
            .list_records(&index, page, |membership: &Membership| {
                membership.state != MembershipState::Deleted && matches(filter, membership)
            })
            .await
    }
}

// === impl Directory ===

impl Directory {
    /// Ends all memberships of a member that is deleted. A call that is broken off is finished by its repeat.
    pub(super) async fn end_memberships(&self, tenant: &TenantId, member: &MemberId) -> Result<()> {
        let index = Index { tenant: tenant.clone(), kind: Kind::Membership, parent: Some(member.to_string()) };
        loop {
            let ids = self.core.store.list(&index, None, super::page::MAX_SIZE).await?;
            if ids.is_empty() {
                return Ok(());
            }
            for id in ids {
                let reference = member.to_string();
                self.remove(&RecordKey { tenant: tenant.clone(), kind: Kind::Membership, id }, &reference, "").await?;
            }
        }
    }

    /// The answer for a membership that is there already: a repeat receives it, others ALREADY_EXISTS.
    pub(super) async fn existing(
        &self,
        caller: &Caller,
        membership: &Membership,
        repeat: Option<Repeat>,
    ) -> Result<(Membership, Position)> {
        let tenant = &membership.tenant;
        if let Some(repeat) = repeat
            && let Some((body, _)) = self.core.store.remembered(tenant, repeat.key(tenant, caller), self.now()).await?
        {
            repeat.check(body)?;
            let position = self.core.log.append(&[Entry::changed(membership.ident())]).await?;
            return Ok((membership.clone(), position));
        }
        Err(Error::new(Reason::MembershipExists, "the member belongs to the account already"))
    }

    /// Leaves a tombstone in a membership's place, with the tallies lowered.
    async fn remove(&self, key: &RecordKey, reference: &str, etag: &str) -> Result<Position> {
        let tenant = &key.tenant;
        for _ in 0..MAX_RACES {
            let membership: Option<Membership> = self.fresh(key).await?;
            let mut membership = membership.ok_or_else(|| Error::not_found(Membership::NAME, reference))?;
            if membership.state == MembershipState::Deleted {
                return self.core.log.append(&[Entry::revoke(membership.ident())]).await;
            }
            check_etag(Some(etag), membership.version)?;
            let [of_account, of_member] = self.tallies(&membership).await?;
            let version = membership.version;
            let mut change = Change::new(tenant.clone(), self.now());
            change.unindex = lists(&membership);
            membership.state = MembershipState::Deleted;
            membership.roles = Vec::new();
            membership.updated = self.now();
            change.puts = vec![
                put(&membership, version),
                of_account.put(of_account.count.saturating_sub(1)),
                of_member.put(of_member.count.saturating_sub(1)),
            ];
            let (written, position) = self.commit(change, &[Entry::revoke(membership.ident())]).await?;
            match written {
                Written::Done => return Ok(position),
                Written::Conflict(..) => {}
                other @ (Written::Taken(_) | Written::NotEmpty(_) | Written::Repeated { .. }) => {
                    return Err(refused(other));
                }
            }
        }
        Err(outraced())
    }
}

// === impl Event ===

impl Event {
    /// What it makes of a state. What has happened already may happen again.
    fn of(self, state: MembershipState) -> Result<MembershipState> {
        use MembershipState::{Active, Deleted, Disabled, Invited, Rejected};
        match (self, state) {
            (Self::Accept, Invited | Active) | (Self::Enable, Disabled | Active) => Ok(Active),
            (Self::Reject, Invited | Rejected) => Ok(Rejected),
            (Self::Disable, Active | Disabled) => Ok(Disabled),
            // Above all, enabling must not confirm for the member.
            (Self::Accept, Disabled | Rejected | Deleted)
            | (Self::Enable, Invited | Rejected | Deleted)
            | (Self::Reject, Active | Disabled | Deleted)
            | (Self::Disable, Invited | Rejected | Deleted) => Err(Error::new(
                Reason::MembershipState,
                format!("a membership that is {} does not allow this", name_of(state)),
            )),
        }
    }
}

pub(super) fn outraced() -> Error {
    Error::new(Reason::ConcurrentUpdate, "too many concurrent changes of the account's or member's memberships")
}

pub(super) fn put(membership: &Membership, version: u64) -> Put {
    Put::new(Kind::Membership, membership.id(), Some(version), membership.to_bytes())
}

/// The lists that a membership stands in: of its account, of its member, and of its roles.
pub(super) fn lists(membership: &Membership) -> Vec<(Index, String)> {
    let Membership { tenant, account, member, roles, .. } = membership;
    let list = |parent: String| Index { tenant: tenant.clone(), kind: Kind::Membership, parent: Some(parent) };
    let parents = [list(account.to_string()), list(member.to_string())];
    let roles = roles.iter().map(|role| holders_of(tenant, Kind::Membership, role));
    parents.into_iter().chain(roles).map(|index| (index, membership.id())).collect()
}

/// Where a membership stands.
pub(super) fn place(tenant: &TenantId, account: &Account, member: &MemberId) -> RecordKey {
    Membership::place(tenant, &(account.id.clone(), member.clone()))
}

fn require_not_deleted(membership: &Membership) -> Result<()> {
    if membership.state == MembershipState::Deleted {
        return Err(Error::not_found(Membership::NAME, membership.member.to_string()));
    }
    Ok(())
}

fn matches(filter: &Filter, membership: &Membership) -> bool {
    let roles: Vec<String> = membership.roles.iter().map(ToString::to_string).collect();
    filter.matches(|field, _| match field {
        "state" => Value::Name(name_of(membership.state)),
        _ => Value::Set(roles.iter().map(String::as_str).collect()),
    })
}

/// A state as filters call it.
const fn name_of(state: MembershipState) -> &'static str {
    match state {
        MembershipState::Invited => "INVITED",
        MembershipState::Active => "ACTIVE",
        MembershipState::Disabled => "DISABLED",
        MembershipState::Rejected => "REJECTED",
        MembershipState::Deleted => "DELETED",
    }
}

fn state_name(value: &str) -> Option<String> {
    use MembershipState::{Active, Disabled, Invited, Rejected};
    let known = [Invited, Active, Disabled, Rejected].into_iter().any(|state| name_of(state) == value);
    known.then(|| value.to_owned())
}

//! Memberships: who belongs to which account, as what.
//!
//! A membership is written together with two tallies, of its account and of its member, whose versions are the condition
//! that keeps both limits exact.

use std::sync::Arc;

use super::{
    Directory,
    caller::{Caller, Right, require_unconfined},
    commit::{Edit, MAX_RACES, Repeat, refused},
    load::key,
    page::{Page, PageRequest},
    permit::Act,
    record::{Account, Kept as _, Member, Membership, MembershipState, State, Stored as _, check_etag},
    roles::holders_of,
    settings::Settings,
    tally::Tally,
};
use crate::{
    revocation::entry::Entry,
    store::{Change, Index, Kind, Put, RecordKey, Written},
    token::{
        AccountId, Error, MemberId, Position, Reason, Result, RoleId, TenantId,
        filter::{Field, Filter, NAME_OPS, SET_OPS, Value},
    },
};

/// Who is to belong to an account.
#[derive(Clone, Debug)]
pub enum Invitee {
    /// A member, by id or foreign id.
    Member(String),
    /// Whoever has this e-mail address.
    Email(String),
}

/// A membership to create.
#[derive(Clone, Debug)]
pub struct NewMembership {
    /// The account, by id or foreign id.
    pub account: String,
    pub member: Invitee,
    /// Roles, by id or name.
    pub roles: Vec<String>,
    /// Whether the member need not confirm it.
    pub confirmed: bool,
}

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
pub const FIELDS: &[Field] = &[
    Field { name: "state", ops: NAME_OPS, value: state_name },
    Field { name: "role_id", ops: SET_OPS, value: super::accounts::any },
];

// === impl Invitee ===

impl Invitee {
    /// As the caller names them.
    pub(super) fn slot(&self) -> &str {
        let (Self::Member(slot) | Self::Email(slot)) = self;
        slot
    }
}

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

    /// Gives a member a place in an account.
    pub async fn create_membership(
        &self,
        new: &NewMembership,
        repeat: Option<Repeat>,
    ) -> Result<(Membership, Position)> {
        let (caller, tenant) = (self.caller(), self.tenant());
        // Whoever cannot see members must not find out by their foreign ids who is one.
        require_unconfined(caller)?;
        let not_a_member = || Error::not_found(Member::NAME, new.member.slot());
        let settings = &self.directory.existing_tenant(tenant).await?.settings;
        let account_id = self.living_account(&new.account).await?.id.clone();
        let member_id: MemberId = match &new.member {
            Invitee::Member(slot) => {
                self.directory.id_of(tenant, Member::FOREIGN_IDS, slot).await?.ok_or_else(not_a_member)?
            }
            Invitee::Email(email) => self.member_to_invite(email).await?,
        };
        for _ in 0..MAX_RACES {
            // All read afresh: their versions are conditions of the write.
            let account: Option<Account> = self.directory.fresh(&key::<Account>(tenant, &account_id)).await?;
            let account = account.filter(|account| account.state != State::Deleted);
            let account = account.ok_or_else(|| Error::not_found(Account::NAME, &*new.account))?;
            let member: Option<Member> = self.directory.fresh(&key::<Member>(tenant, &member_id)).await?;
            let member = member.filter(|member| member.state != State::Deleted).ok_or_else(not_a_member)?;
            let roles = self.directory.find_roles(&account, &new.roles).await?;
            let key = place(tenant, &account, &member_id);
            let before: Option<Membership> = self.directory.fresh(&key).await?;
            let now = self.directory.now();
            if let Some(before) = before.as_ref().filter(|before| before.state != MembershipState::Deleted) {
                return self.directory.existing(caller, before, repeat).await;
            }
            let version = before.map_or(0, |before| before.version);
            let membership = Membership {
                tenant: tenant.clone(),
                account: account.id.clone(),
                member: member_id.clone(),
                roles: roles.iter().map(|role| role.id.clone()).collect(),
                state: if new.confirmed { MembershipState::Active } else { MembershipState::Invited },
                created: now,
                updated: now,
                version: version + 1,
            };
            let [of_account, of_member] = self.directory.tallies(&membership).await?;
            check_limits(settings, of_account.count, of_member.count)?;
            let mut change = Change::new(tenant.clone(), now);
            change.puts = vec![
                put(&membership, version),
                of_account.put(of_account.count + 1),
                of_member.put(of_member.count + 1),
            ];
            change.require = vec![
                (Kind::Account, account.id.to_string(), account.version),
                (Kind::Member, member.id.to_string(), member.version),
            ];
            change.require.extend(roles.iter().map(|role| (Kind::Role, role.id.to_string(), role.version)));
            change.index = lists(&membership);
            change.request = repeat.map(|repeat| repeat.request(tenant, caller, membership.id(), now));
            let (written, position) = self.directory.commit(change, &[Entry::changed(membership.ident())]).await?;
            match written {
                Written::Done => return Ok((membership, position)),
                // Also of a repeat that came in between: the next round finds its membership.
                Written::Conflict(..) => {}
                Written::Repeated { body, .. } => {
                    repeat.map_or(Ok(()), |repeat| repeat.check(body))?;
                    // What the first request made was deleted since.
                    return Err(Error::not_found(Membership::NAME, new.member.slot()));
                }
                other @ (Written::Taken(_) | Written::NotEmpty(_)) => return Err(refused(other)),
            }
        }
        Err(outraced())
    }

    /// Replaces the roles of a membership.
    pub async fn set_membership_roles(&self, new: &NewMembership, etag: &str) -> Result<(Arc<Membership>, Position)> {
        let tenant = self.tenant();
        let found = self.reachable_membership(&new.account, new.member.slot()).await?;
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
            ListMemberships::Account(slot) => {
                self.require_scope()?;
                self.reachable_account(slot).await?.id.to_string()
            }
            ListMemberships::Member(slot) => self.readable_member(slot).await?.id.to_string(),
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
                let slot = member.to_string();
                self.remove(&RecordKey { tenant: tenant.clone(), kind: Kind::Membership, id }, &slot, "").await?;
            }
        }
    }

    /// What is told of a membership that is there already: to a repeat that it made it, to others that it exists.
    async fn existing(
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
    async fn remove(&self, key: &RecordKey, slot: &str, etag: &str) -> Result<Position> {
        let tenant = &key.tenant;
        for _ in 0..MAX_RACES {
            let membership: Option<Membership> = self.fresh(key).await?;
            let mut membership = membership.ok_or_else(|| Error::not_found(Membership::NAME, slot))?;
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

    async fn tallies(&self, membership: &Membership) -> Result<[Tally; 2]> {
        let of = [membership.account.to_string(), membership.member.to_string()];
        let mut tallies = self.read_tallies(&membership.tenant, of.to_vec()).await?.into_iter();
        let mut next = || tallies.next().ok_or_else(|| Error::internal("read the tallies of memberships"));
        Ok([next()?, next()?])
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

fn outraced() -> Error {
    Error::new(Reason::ConcurrentUpdate, "too many concurrent changes of the account's or member's memberships")
}

/// Refuses one membership more than an account or a member may have. Where there are more already, they stay.
fn check_limits(settings: &Settings, of_account: u32, of_member: u32) -> Result<()> {
    let (members, accounts) = (settings.account_member_limit(), settings.membership_limit());
    if of_account >= members {
        return Err(Error::new(Reason::MemberLimit, format!("an account has at most {members} members")));
    }
    if of_member >= accounts {
        return Err(Error::new(Reason::MembershipLimit, format!("a member belongs to at most {accounts} accounts")));
    }
    Ok(())
}

/// Puts an active membership of a new member in a new account into a change: both have no other.
pub(super) fn put_first(tenant: &TenantId, account: &AccountId, member: &MemberId, change: &mut Change) {
    let membership = Membership {
        tenant: tenant.clone(),
        account: account.clone(),
        member: member.clone(),
        roles: Vec::new(),
        state: MembershipState::Active,
        created: change.now,
        updated: change.now,
        version: 1,
    };
    change.puts.extend([put(&membership, 0), Tally::first(account.to_string()), Tally::first(member.to_string())]);
    change.index.extend(lists(&membership));
}

fn put(membership: &Membership, version: u64) -> Put {
    Put::new(Kind::Membership, membership.id(), Some(version), membership.to_bytes())
}

/// The lists that a membership stands in: of its account, of its member, and of its roles.
fn lists(membership: &Membership) -> Vec<(Index, String)> {
    let Membership { tenant, account, member, roles, .. } = membership;
    let list = |parent: String| Index { tenant: tenant.clone(), kind: Kind::Membership, parent: Some(parent) };
    let parents = [list(account.to_string()), list(member.to_string())];
    let roles = roles.iter().map(|role| holders_of(tenant, Kind::Membership, role));
    parents.into_iter().chain(roles).map(|index| (index, membership.id())).collect()
}

/// Where a membership stands.
fn place(tenant: &TenantId, account: &Account, member: &MemberId) -> RecordKey {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_have_their_limit() {
        let settings = Settings::default();
        check_limits(&settings, 999, 9_999).unwrap();
        assert_eq!(check_limits(&settings, 1_000, 0).unwrap_err().reason(), Reason::MemberLimit);
        assert_eq!(check_limits(&settings, 0, 10_000).unwrap_err().reason(), Reason::MembershipLimit);
        let settings = Settings { account_member_limit: Some(2), membership_limit: Some(3), ..settings };
        check_limits(&settings, 1, 2).unwrap();
        assert_eq!(check_limits(&settings, 2, 0).unwrap_err().reason(), Reason::MemberLimit);
        assert_eq!(check_limits(&settings, 0, 7).unwrap_err().reason(), Reason::MembershipLimit);
    }
}

//! How members come into accounts: named, or invited by their e-mail address, within the limits of the tenant.

use jeton_contract::reason::Reason;
use jeton_core::{AccountId, MemberId, Position, TenantId, entry::Entry};

use super::{
    Directory,
    caller::require_unconfined,
    commit::{MAX_RACES, Repeat, refused},
    load::key,
    memberships::{lists, outraced, place, put},
    permit::Act,
    record::{Account, Member, Membership, MembershipState, State, Stored as _},
    settings::Settings,
    tally::Tally,
};
use crate::{
    error::{Error, Result},
    store::{Change, Kind, Written},
};

/// Who is to belong to an account.
#[derive(Clone, Debug)]
pub enum Invitee {
    /// A member, by id or foreign id.
    Member(String),
    /// The member with this e-mail address.
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

// === impl Invitee ===

impl Invitee {
    /// As the caller names them.
    pub(super) fn reference(&self) -> &str {
        let (Self::Member(reference) | Self::Email(reference)) = self;
        reference
    }
}

// === impl Act ===

impl Act {
    /// Gives a member a place in an account.
    pub async fn create_membership(
        &self,
        new: &NewMembership,
        repeat: Option<Repeat>,
    ) -> Result<(Membership, Position)> {
        let (caller, tenant) = (self.caller(), self.tenant());
        // A caller that cannot see members must not learn from foreign ids who is one.
        require_unconfined(caller)?;
        let not_a_member = || Error::not_found(Member::NAME, new.member.reference());
        let settings = &self.directory.existing_tenant(tenant).await?.settings;
        let account_id = self.living_account(&new.account).await?.id.clone();
        let member_id: MemberId = match &new.member {
            Invitee::Member(reference) => {
                self.directory.id_of(tenant, Member::FOREIGN_IDS, reference).await?.ok_or_else(not_a_member)?
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
                    return Err(Error::not_found(Membership::NAME, new.member.reference()));
                }
                other @ (Written::Taken(_) | Written::NotEmpty(_)) => return Err(refused(other)),
            }
        }
        Err(outraced())
    }
}

// === impl Directory ===

impl Directory {
    pub(super) async fn tallies(&self, membership: &Membership) -> Result<[Tally; 2]> {
        let of = [membership.account.to_string(), membership.member.to_string()];
        let mut tallies = self.read_tallies(&membership.tenant, of.to_vec()).await?.into_iter();
        let mut next = || tallies.next().ok_or_else(|| Error::internal("read the tallies of memberships"));
        Ok([next()?, next()?])
    }
}

/// Refuses one membership more than an account or a member may have. Where there are more already, they stay.
pub(super) fn check_limits(settings: &Settings, of_account: u32, of_member: u32) -> Result<()> {
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

//! What a member may do in an account or in an entity group, as it is now.

use std::sync::{Arc, LazyLock};

use jeton_contract::reason::Reason;
use jeton_core::{AccountId, GroupId, MemberId, RoleId, Subject, TenantId};

use super::{
    Directory,
    permit::Act,
    record::{Account, Member, Membership, MembershipState, Role, State, Stored as _},
};
use crate::{
    error::{Error, Result},
    store::{Index, Kind},
};

/// A member's roles where it acts, and what they allow together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    /// Names, in the order in which it has them.
    pub roles: Vec<String>,
    /// Each once.
    pub permissions: Vec<String>,
}

/// That of those who are no members.
static NONE: LazyLock<Arc<Authority>> = LazyLock::new(Arc::default);

// === impl Authority ===

impl Authority {
    /// No role.
    pub fn none() -> Arc<Self> {
        Arc::clone(&NONE)
    }
}

// === impl Act ===

impl Act {
    /// The group that a reference names, and the member of it, if one is named.
    pub async fn place_in_group(&self, group: &str, member: Option<&str>) -> Result<(GroupId, Option<MemberId>)> {
        let tenant = self.tenant();
        let group = self.reachable_group(group).await?;
        let Some(reference) = member else { return Ok((group.id.clone(), None)) };
        let not_a_member = || Error::not_found(Member::NAME, reference);
        let id: MemberId =
            self.directory.id_of(tenant, Member::FOREIGN_IDS, reference).await?.ok_or_else(not_a_member)?;
        if self.directory.group_member(&group, &id).await?.is_none() {
            return Err(not_a_member());
        }
        if self.directory.group_authority(tenant, &group.id, Some(&id), None).await?.is_none() {
            return Err(Error::new(Reason::Disabled, "the member is disabled"));
        }
        Ok((group.id.clone(), Some(id)))
    }

    /// The account that a member is to act in, and the member: by references, or the only account that there is to choose.
    pub async fn place_of(&self, member: &str, account: Option<&str>) -> Result<(Arc<Account>, MemberId)> {
        let (caller, tenant) = (self.caller(), self.tenant());
        let not_a_member = || Error::not_found(Member::NAME, member);
        let account = match account {
            Some(reference) => Some(self.reachable_account(reference).await?),
            None => match caller.confinement(tenant) {
                Some(own) => self.directory.account(tenant, own).await?,
                None => None,
            },
        };
        let id: MemberId = self.directory.id_of(tenant, Member::FOREIGN_IDS, member).await?.ok_or_else(not_a_member)?;
        let account = match account {
            Some(account) => account,
            None => self.directory.only_account(tenant, &id).await?.ok_or_else(not_a_member)?,
        };
        let membership = self.directory.membership(tenant, &account.id, &id).await?;
        if membership.is_none_or(|membership| membership.state == MembershipState::Deleted) {
            return Err(not_a_member());
        }
        if account.state == State::Deleted {
            return Err(Error::not_found(Account::NAME, account.id.to_string()));
        }
        if self.directory.authority(tenant, &account.id, &id).await?.is_none() {
            return Err(Error::new(Reason::Disabled, "the member or the membership is not active"));
        }
        Ok((account, id))
    }
}

// === impl Directory ===

impl Directory {
    /// What a member may do in an account; `None`: it may not act there.
    pub async fn authority(
        &self,
        tenant: &TenantId,
        account: &AccountId,
        member: &MemberId,
    ) -> Result<Option<Arc<Authority>>> {
        let enabled = self.member(tenant, member).await?.is_some_and(|member| member.state == State::Enabled);
        let membership = self.membership(tenant, account, member).await?;
        let membership = membership.filter(|membership| enabled && membership.state == MembershipState::Active);
        let Some(membership) = membership else { return Ok(None) };
        self.authority_by(tenant, &membership.roles).await.map(Some)
    }

    /// What stands behind a group, or a member of it, in one of its accounts or else in all of them; `None`: the group is
    /// gone, or the member may not act in it. That the account is in the group is another question.
    pub async fn group_authority(
        &self,
        tenant: &TenantId,
        group: &GroupId,
        member: Option<&MemberId>,
        account: Option<&AccountId>,
    ) -> Result<Option<Arc<Authority>>> {
        let group = self.group(tenant, group).await?.filter(|group| group.state == State::Enabled);
        let Some(group) = group else { return Ok(None) };
        let Some(member) = member else { return Ok(Some(Authority::none())) };
        let enabled = self.member(tenant, member).await?.is_some_and(|member| member.state == State::Enabled);
        let place = self.group_member(&group, member).await?.filter(|_| enabled);
        let Some(place) = place else { return Ok(None) };
        self.authority_by(tenant, place.roles_in(account)).await.map(Some)
    }

    /// What the subject of a token may do now where it acts, or in one account of its group; `None`: it may not act. Of who
    /// is no member nothing is looked up.
    pub async fn authority_of(
        &self,
        tenant: &TenantId,
        subject: &Subject,
        account: Option<&AccountId>,
    ) -> Result<Option<Arc<Authority>>> {
        match subject {
            Subject::Member(own, member) => self.authority(tenant, &own.account, member).await,
            Subject::Group(group, member) => self.group_authority(tenant, group, member.as_ref(), account).await,
            Subject::Client(_) | Subject::Account(_) | Subject::OtherClient(..) => Ok(Some(Authority::none())),
        }
    }

    /// What roles allow together.
    async fn authority_by(&self, tenant: &TenantId, ids: &[RoleId]) -> Result<Arc<Authority>> {
        self.load_all::<Role>(tenant, ids).await?;
        let mut authority = Authority::default();
        for id in ids {
            let role = self.role(tenant, id).await?;
            // A role in use cannot be deleted.
            let Some(role) = role.filter(|role| role.state != State::Deleted) else { continue };
            authority.roles.push(role.name.clone());
            for permission in &role.permissions {
                if !authority.permissions.contains(permission) {
                    authority.permissions.push(permission.clone());
                }
            }
        }
        Ok(Arc::new(authority))
    }

    /// One page of the accounts that a member may act in now, by their ids from after `after` on, and where the next page
    /// begins. It examines `size` memberships, whatever they are.
    pub async fn accounts_of(
        &self,
        tenant: &TenantId,
        member: &MemberId,
        after: Option<&str>,
        size: usize,
    ) -> Result<(Vec<Arc<Account>>, Option<String>)> {
        let index = Index { tenant: tenant.clone(), kind: Kind::Membership, parent: Some(member.to_string()) };
        // One more than wanted tells whether there is a next page.
        let mut ids = self.core.store.list(&index, after, size + 1).await?;
        let more = ids.len() > size;
        ids.truncate(size);
        let mut places = Vec::with_capacity(ids.len());
        for id in &ids {
            let account: Option<AccountId> = id.split_once(':').and_then(|(account, _)| account.parse().ok());
            places.push(account.ok_or_else(|| Error::internal("read an index of memberships"))?);
        }
        let mut missing = self.missing();
        missing.want::<Member>(tenant, member);
        for account in &places {
            missing.want::<Account>(tenant, account);
            missing.want::<Membership>(tenant, &(account.clone(), member.clone()));
        }
        missing.load().await?;
        let mut accounts = Vec::with_capacity(places.len());
        for place in &places {
            let membership = self.membership(tenant, place, member).await?;
            if membership.is_some_and(|membership| membership.state == MembershipState::Active) {
                accounts.extend(self.account(tenant, place).await?);
            }
        }
        // Their ancestors together, too.
        self.load_all::<Account>(tenant, accounts.iter().flat_map(|account| &account.ancestors)).await?;
        let mut alive = Vec::with_capacity(accounts.len());
        for account in accounts {
            if self.is_alive(tenant, &account.lineage()).await? {
                alive.push(account);
            }
        }
        Ok((alive, ids.pop().filter(|_| more)))
    }

    /// How many memberships a member has, in whatever state.
    pub async fn membership_count(&self, tenant: &TenantId, member: &MemberId) -> Result<u32> {
        let tallies = self.read_tallies(tenant, vec![member.to_string()]).await?;
        Ok(tallies.first().map_or(0, |tally| tally.count))
    }

    /// The account of a member that belongs to exactly one.
    async fn only_account(&self, tenant: &TenantId, member: &MemberId) -> Result<Option<Arc<Account>>> {
        let index = Index { tenant: tenant.clone(), kind: Kind::Membership, parent: Some(member.to_string()) };
        let ids = self.core.store.list(&index, None, 2).await?;
        let [only] = ids.as_slice() else {
            return if ids.is_empty() {
                Ok(None)
            } else {
                Err(Error::field("member.account_id", "must be set: the member belongs to more than one account"))
            };
        };
        let account = only.split_once(':').and_then(|(account, _)| account.parse().ok());
        let account: AccountId = account.ok_or_else(|| Error::internal("read an index of memberships"))?;
        self.account(tenant, &account).await
    }
}

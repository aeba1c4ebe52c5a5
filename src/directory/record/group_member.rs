//! Group members: the places of members in entity groups.

use jeton_core::{AccountId, GroupId, Ident, MemberId, RoleId, TenantId, Time};

use super::stored::{Kept, State, Stored, stored};
use crate::{metrics::labels, store::Kind};

/// A member's place in an entity group. It owes the log nothing, as an [`Entity`](super::entity::Entity).
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct GroupMember {
    #[n(0)]
    pub tenant: TenantId,
    #[n(1)]
    pub group: GroupId,
    #[n(2)]
    pub member: MemberId,
    /// Its roles in every account of the group.
    #[n(3)]
    pub roles: Vec<RoleId>,
    /// Its roles in single accounts, which there stand in place of those.
    #[n(4)]
    pub overrides: Vec<EntityRoles>,
    /// Enabled, or Deleted once the member was taken out.
    #[n(5)]
    pub state: State,
    #[n(6)]
    pub created: Time,
    #[n(7)]
    pub updated: Time,
    #[cbor(skip)]
    pub version: u64,
}

/// A member's roles in one account of an entity group.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct EntityRoles {
    #[n(0)]
    pub account: AccountId,
    #[n(1)]
    pub roles: Vec<RoleId>,
}

stored! {
    GroupMember GroupMember "GroupMember" |self| Ident::GroupMember(self.tenant.clone(), self.group.clone(), self.member.clone());
}

impl Kept for GroupMember {
    type Key = (GroupId, MemberId);
    const CACHE: labels::Cache = labels::Cache::GroupMembers;
    const KEEPS_ABSENCE: bool = true;

    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    fn outdated_by(ident: &Ident) -> Option<Self::Key> {
        let Ident::GroupMember(_, group, member) = ident else { return None };
        Some((group.clone(), member.clone()))
    }
}

// === impl GroupMember ===

impl GroupMember {
    /// The text of its id.
    pub fn id(&self) -> String {
        format!("{}:{}", self.group, self.member)
    }

    /// The roles that count in an account of the group; without an account, those that count in every one.
    pub fn roles_in(&self, account: Option<&AccountId>) -> &[RoleId] {
        let own = account.and_then(|account| self.overrides.iter().find(|own| own.account == *account));
        own.map_or(&self.roles, |own| &own.roles)
    }

    /// All roles that it names.
    pub fn all_roles(&self) -> impl Iterator<Item = &RoleId> {
        self.roles.iter().chain(self.overrides.iter().flat_map(|own| &own.roles))
    }
}

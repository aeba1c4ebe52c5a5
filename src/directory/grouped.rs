//! What the directory stores of entity groups: the groups, and the places of accounts and members in them.

use std::collections::BTreeMap;

use super::record::{State, Stored, foreign_ids, stored};
use crate::{
    ambient::Time,
    store::{Kind, Name},
    token::{AccountId, GroupId, Ident, MemberId, RoleId, TenantId},
};

/// A named set of accounts.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct EntityGroup {
    #[n(0)]
    pub id: GroupId,
    #[n(1)]
    pub tenant: TenantId,
    #[n(2)]
    pub display_name: String,
    #[n(3)]
    pub foreign_id: Option<String>,
    /// The local part of its inbox.
    #[n(4)]
    pub email_to_name: String,
    #[n(5)]
    pub labels: BTreeMap<String, String>,
    #[n(6)]
    pub metadata: BTreeMap<String, String>,
    /// How many accounts have a place in it. Written together with the places, so that it is exact.
    #[n(7)]
    pub entity_count: u64,
    /// Enabled or Deleted.
    #[n(8)]
    pub state: State,
    #[n(9)]
    pub created: Time,
    #[n(10)]
    pub updated: Time,
    /// How many members have a place in it. Exact, as `entity_count` is.
    #[cbor(n(11), default)]
    pub member_count: u64,
    #[cbor(skip)]
    pub version: u64,
}

/// An account's place in an entity group. It owes the log nothing: it is written together with its group's record, which
/// owes the entries of both.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Entity {
    #[n(0)]
    pub tenant: TenantId,
    #[n(1)]
    pub group: GroupId,
    #[n(2)]
    pub account: AccountId,
    /// Enabled, or Deleted once the account was taken out.
    #[n(3)]
    pub state: State,
    /// When it was put in or taken out.
    #[n(4)]
    pub updated: Time,
    #[cbor(skip)]
    pub version: u64,
}

/// A member's place in an entity group. It owes the log nothing, as an [`Entity`].
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
    EntityGroup Group "EntityGroup" |self| Ident::Group(self.tenant.clone(), self.id.clone());
    Entity Entity "GroupEntity" |self| Ident::Entity(self.tenant.clone(), self.group.clone(), self.account.clone());
    GroupMember GroupMember "GroupMember" |self| Ident::GroupMember(self.tenant.clone(), self.group.clone(), self.member.clone());
}

// === impl EntityGroup ===

impl EntityGroup {
    /// The ids that platforms gave to entity groups.
    pub(super) const FOREIGN_IDS: &'static Name = &foreign_ids(Self::KIND, Self::NAME);
}

// === impl GroupMember ===

impl GroupMember {
    /// The text of its id.
    pub fn id(&self) -> String {
        group_member_id(&self.group, &self.member)
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

/// The text of the id of an account's place in an entity group.
pub fn entity_id(group: &GroupId, account: &AccountId) -> String {
    format!("{group}:{account}")
}

/// The text of the id of a member's place in an entity group.
pub fn group_member_id(group: &GroupId, member: &MemberId) -> String {
    format!("{group}:{member}")
}

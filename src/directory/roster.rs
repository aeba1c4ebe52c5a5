//! What the directory stores of people: members, their roles, and their places in accounts.

use std::collections::BTreeMap;

use super::identity::Identity;
use super::record::{Confinement, State, Stored, foreign_ids, stored};
use crate::{
    ambient::Time,
    store::{Kind, Name},
    token::{AccountId, Ident, IdentityProfileId, MemberId, RoleId, TenantId},
};

/// A person.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Member {
    #[n(0)]
    pub id: MemberId,
    #[n(1)]
    pub tenant: TenantId,
    #[n(2)]
    pub state: State,
    #[n(3)]
    pub profile: Profile,
    #[n(4)]
    pub created: Time,
    #[n(5)]
    pub updated: Time,
    #[n(6)]
    pub deleted: Option<Time>,
    /// How it signs in; at most one for each profile.
    #[n(7)]
    pub identities: Option<Vec<Identity>>,
    /// Whether the e-mail address is known to be its own.
    #[n(8)]
    pub email_verified: Option<bool>,
    /// It stands for its e-mail address, by which it was invited, until somebody joins who has it.
    #[n(9)]
    pub invited: Option<bool>,
    #[cbor(skip)]
    pub version: u64,
}

/// What the platform says of a member.
#[derive(Clone, Debug, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Profile {
    #[n(0)]
    pub foreign_id: Option<String>,
    #[n(1)]
    pub display_name: String,
    #[n(2)]
    pub first_name: String,
    #[n(3)]
    pub last_name: String,
    #[n(4)]
    pub email: String,
    #[n(5)]
    pub phone: String,
    #[n(6)]
    pub title: String,
    #[n(7)]
    pub labels: BTreeMap<String, String>,
    #[n(8)]
    pub metadata: BTreeMap<String, String>,
}

/// What members who have it may do: in one account, or in every account of the tenant.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Role {
    #[n(0)]
    pub id: RoleId,
    #[n(1)]
    pub tenant: TenantId,
    /// The account that it belongs to, with that account's ancestors, which never change.
    #[n(2)]
    pub account: Option<Confinement>,
    #[n(3)]
    pub name: String,
    #[n(4)]
    pub permissions: Vec<String>,
    /// Enabled or Deleted.
    #[n(5)]
    pub state: State,
    #[n(6)]
    pub created: Time,
    #[n(7)]
    pub updated: Time,
    #[cbor(skip)]
    pub version: u64,
}

/// A member's place in an account.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Membership {
    #[n(0)]
    pub tenant: TenantId,
    #[n(1)]
    pub account: AccountId,
    #[n(2)]
    pub member: MemberId,
    #[n(3)]
    pub roles: Vec<RoleId>,
    #[n(4)]
    pub state: MembershipState,
    #[n(5)]
    pub created: Time,
    #[n(6)]
    pub updated: Time,
    #[cbor(skip)]
    pub version: u64,
}

/// Where a membership stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum MembershipState {
    /// The member has not confirmed it yet.
    #[n(0)]
    Invited,
    #[n(1)]
    Active,
    #[n(2)]
    Disabled,
    /// The member has refused it.
    #[n(3)]
    Rejected,
    /// A tombstone.
    #[n(4)]
    Deleted,
}

stored! {
    Member Member "Member" |self| Ident::Member(self.tenant.clone(), self.id.clone());
    Role Role "Role" |self| Ident::Role(self.tenant.clone(), self.id.clone());
    Membership Membership "Membership" |self| Ident::Membership(self.tenant.clone(), self.account.clone(), self.member.clone());
}

// === impl Member ===

impl Member {
    /// The ids that platforms gave to members.
    pub(super) const FOREIGN_IDS: &'static Name = &foreign_ids(Self::KIND, Self::NAME);

    pub fn identities(&self) -> &[Identity] {
        self.identities.as_deref().unwrap_or_default()
    }

    /// How it signs in through a profile.
    pub fn identity(&self, profile: &IdentityProfileId) -> Option<&Identity> {
        self.identities().iter().find(|identity| identity.profile == *profile)
    }
}

// === impl Membership ===

impl Membership {
    /// The text of its id.
    pub fn id(&self) -> String {
        membership_id(&self.account, &self.member)
    }
}

/// The text of the id of a member's place in an account.
pub fn membership_id(account: &AccountId, member: &MemberId) -> String {
    format!("{account}:{member}")
}

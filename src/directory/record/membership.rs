//! Memberships: the places of members in accounts.

use jeton_core::{AccountId, Ident, MemberId, RoleId, TenantId, Time};

use super::stored::{Kept, Stored, stored};
use crate::{metrics::labels, store::Kind};

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
    Membership Membership "Membership" |self| Ident::Membership(self.tenant.clone(), self.account.clone(), self.member.clone());
}

impl Kept for Membership {
    type Key = (AccountId, MemberId);
    const CACHE: labels::Cache = labels::Cache::Memberships;
    const KEEPS_ABSENCE: bool = true;

    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    fn outdated_by(ident: &Ident) -> Option<Self::Key> {
        let Ident::Membership(_, account, member) = ident else { return None };
        Some((account.clone(), member.clone()))
    }
}

// === impl Membership ===

impl Membership {
    /// The text of its id.
    pub fn id(&self) -> String {
        format!("{}:{}", self.account, self.member)
    }
}

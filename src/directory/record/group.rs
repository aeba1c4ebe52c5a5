//! Entity groups: named sets of accounts, with members of their own.

use std::collections::BTreeMap;

use jeton_core::{GroupId, Ident, TenantId, Time};

use super::stored::{Kept, State, Stored, foreign_ids, stored};
use crate::{
    metrics::labels,
    store::{Kind, Name},
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

stored! {
    EntityGroup Group "EntityGroup" |self| Ident::Group(self.tenant.clone(), self.id.clone());
}

impl Kept for EntityGroup {
    type Key = GroupId;
    const CACHE: labels::Cache = labels::Cache::Groups;
    const KEEPS_ABSENCE: bool = false;

    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    fn outdated_by(ident: &Ident) -> Option<Self::Key> {
        let Ident::Group(_, id) = ident else { return None };
        Some(id.clone())
    }
}

// === impl EntityGroup ===

impl EntityGroup {
    /// The ids that platforms gave to entity groups.
    pub(crate) const FOREIGN_IDS: &'static Name = &foreign_ids(Self::KIND, Self::NAME);
}

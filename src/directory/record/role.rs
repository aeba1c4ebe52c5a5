//! Roles: what members who have one may do.

use jeton_core::{Ident, Lineage, RoleId, TenantId, Time};

use super::stored::{Kept, State, Stored, stored};
use crate::{metrics::labels, store::Kind};

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
    pub account: Option<Lineage>,
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

stored! {
    Role Role "Role" |self| Ident::Role(self.tenant.clone(), self.id.clone());
}

impl Kept for Role {
    type Key = RoleId;
    const CACHE: labels::Cache = labels::Cache::Roles;
    const KEEPS_ABSENCE: bool = false;

    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    fn outdated_by(ident: &Ident) -> Option<Self::Key> {
        let Ident::Role(_, id) = ident else { return None };
        Some(id.clone())
    }
}

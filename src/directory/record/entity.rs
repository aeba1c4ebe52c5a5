//! Entities: the places of accounts in entity groups.

use jeton_core::{AccountId, GroupId, Ident, TenantId, Time};

use super::stored::{Kept, State, Stored, stored};
use crate::{metrics::labels, store::Kind};

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

stored! {
    Entity Entity "GroupEntity" |self| Ident::Entity(self.tenant.clone(), self.group.clone(), self.account.clone());
}

impl Kept for Entity {
    type Key = (GroupId, AccountId);
    const CACHE: labels::Cache = labels::Cache::Entities;
    const KEEPS_ABSENCE: bool = true;

    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    fn outdated_by(ident: &Ident) -> Option<Self::Key> {
        let Ident::Entity(_, group, account) = ident else { return None };
        Some((group.clone(), account.clone()))
    }
}

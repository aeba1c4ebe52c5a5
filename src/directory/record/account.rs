//! Accounts: companies, organizations and sub-accounts, in a tree.

use std::collections::BTreeMap;

use jeton_contract::reason::Reason;
use jeton_core::{AccountId, Ident, Lineage, TenantId, Time};

use super::stored::{Kept, State, Stored, foreign_ids, stored};
use crate::{
    metrics::labels,
    store::{Kind, Name, Refusal},
};

/// A company, organization or sub-account.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Account {
    #[n(0)]
    pub id: AccountId,
    #[n(1)]
    pub tenant: TenantId,
    #[n(2)]
    pub display_name: String,
    #[n(3)]
    pub legal_name: String,
    #[n(4)]
    pub registration_id: Option<String>,
    #[n(5)]
    pub foreign_id: Option<String>,
    /// All ancestors, nearest first; the first is the parent.
    #[n(6)]
    pub ancestors: Vec<AccountId>,
    #[n(7)]
    pub state: State,
    #[n(8)]
    pub children_disabled: bool,
    #[n(9)]
    pub labels: BTreeMap<String, String>,
    #[n(10)]
    pub metadata: BTreeMap<String, String>,
    #[n(11)]
    pub created: Time,
    #[n(12)]
    pub updated: Time,
    #[n(13)]
    pub deleted: Option<Time>,
    #[cbor(skip)]
    pub version: u64,
}

/// How deep the account tree may be, the root included.
pub const MAX_DEPTH: usize = 8;

stored! {
    Account Account "Account" |self| Ident::Account(self.tenant.clone(), self.id.clone());
}

impl Kept for Account {
    type Key = AccountId;
    const CACHE: labels::Cache = labels::Cache::Accounts;
    const KEEPS_ABSENCE: bool = false;

    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    fn outdated_by(ident: &Ident) -> Option<Self::Key> {
        let (Ident::Account(_, id) | Ident::Subtree(_, id)) = ident else { return None };
        Some(id.clone())
    }
}

// === impl Account ===

impl Account {
    /// The ids that platforms gave to accounts.
    pub(crate) const FOREIGN_IDS: &'static Name = &foreign_ids(Self::KIND, Self::NAME);
    /// The numbers of registers of companies.
    pub(crate) const REGISTRATION_IDS: &'static Name = &Name {
        kind: Self::KIND,
        field: "registration_id",
        taken: Refusal {
            reason: Reason::RegistrationIdTaken,
            message: "the registration id is taken",
            resource: Some(Self::NAME),
        },
    };

    pub fn parent(&self) -> Option<&AccountId> {
        self.ancestors.first()
    }

    /// Whether it is `root` or stands below it.
    pub fn is_within(&self, root: &AccountId) -> bool {
        self.id == *root || self.ancestors.contains(root)
    }

    pub fn lineage(&self) -> Lineage {
        Lineage { account: self.id.clone(), ancestors: self.ancestors.clone() }
    }
}

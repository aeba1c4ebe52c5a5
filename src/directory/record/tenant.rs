//! Tenants: the record of a tenant stands in the directory of `system`.

use std::collections::BTreeMap;

use jeton_core::{Ident, TenantId, Time};

use super::stored::{Kept, State, Stored, stored};
use crate::{
    directory::settings::Settings,
    metrics::labels,
    store::{Kind, RecordKey},
};

/// A tenant.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Tenant {
    #[n(0)]
    pub id: TenantId,
    #[n(1)]
    pub display_name: String,
    #[n(2)]
    pub state: State,
    #[n(3)]
    pub service_urls: BTreeMap<String, String>,
    #[n(4)]
    pub settings: Settings,
    #[n(5)]
    pub created: Time,
    #[n(6)]
    pub updated: Time,
    #[cbor(skip)]
    pub version: u64,
}

stored! {
    Tenant Tenant "Tenant" |self| Ident::Tenant(self.id.clone());
}

impl Kept for Tenant {
    type Key = TenantId;
    const CACHE: labels::Cache = labels::Cache::Tenants;
    const KEEPS_ABSENCE: bool = true;

    fn tenant(&self) -> &TenantId {
        &self.id
    }

    fn place(_: &TenantId, key: &Self::Key) -> RecordKey {
        RecordKey { tenant: TenantId::system(), kind: Self::KIND, id: key.to_string() }
    }

    fn outdated_by(ident: &Ident) -> Option<Self::Key> {
        let Ident::Tenant(id) = ident else { return None };
        Some(id.clone())
    }
}

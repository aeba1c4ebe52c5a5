//! Admissions: what lets a client of another tenant work in this one.

use jeton_core::{ClientId, Ident, Lineage, Scopes, TenantId, Time};

use super::stored::{Kept, State, Stored, stored};
use crate::{
    metrics::labels,
    store::{Kind, RecordKey},
};

/// Lets a client of another tenant work in this one.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Admission {
    #[n(0)]
    pub tenant: TenantId,
    #[n(1)]
    pub client: ClientId,
    #[n(2)]
    pub scopes: Scopes,
    #[n(3)]
    pub audiences: Vec<String>,
    #[n(4)]
    pub confinement: Option<Lineage>,
    /// Enabled, or Deleted once expelled.
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
    Admission Admission "Admission" |self| Ident::Admission(self.tenant.clone(), self.client.clone());
}

impl Kept for Admission {
    type Key = (TenantId, ClientId);
    const CACHE: labels::Cache = labels::Cache::Admissions;
    const KEEPS_ABSENCE: bool = true;

    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    fn place(_: &TenantId, (tenant, client): &Self::Key) -> RecordKey {
        RecordKey { tenant: tenant.clone(), kind: Self::KIND, id: client.to_string() }
    }

    fn key_at(place: &RecordKey) -> Option<Self::Key> {
        Some((place.tenant.clone(), place.id.parse().ok()?))
    }

    fn outdated_by(ident: &Ident) -> Option<Self::Key> {
        let Ident::Admission(tenant, client) = ident else { return None };
        Some((tenant.clone(), client.clone()))
    }
}

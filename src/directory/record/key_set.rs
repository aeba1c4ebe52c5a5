//! The signing keys of a tenant, all in one record. The keys made of it are kept, not the record.

use jeton_core::{Ident, TenantId};

use super::stored::{Stored, stored};
use crate::{keys::stored::StoredKeySet, store::Kind};

/// A tenant's signing keys as a record of its directory.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct KeySetRecord {
    #[n(0)]
    pub tenant: TenantId,
    #[n(1)]
    pub set: StoredKeySet,
    #[cbor(skip)]
    pub version: u64,
}

stored! {
    KeySetRecord KeySet "SigningKey" |self| Ident::Tenant(self.tenant.clone());
}

//! The signing keys of tenants, parsed. Kept apart from other records: the copy is what is made of the record.

use std::sync::Arc;

use super::{Directory, load::key, record::KeySetRecord};
use crate::{
    keys::signing::KeySet,
    token::{Result, TenantId},
};

// === impl Directory ===

impl Directory {
    /// A tenant's keys, parsed; `None` if there is no such tenant.
    pub async fn key_set(&self, tenant: &TenantId) -> Result<Option<Arc<KeySet>>> {
        if let Some(keys) = self.shelves.key_sets.get(tenant) {
            return Ok(Some(keys));
        }
        Box::pin(self.load_key_set(tenant)).await
    }

    async fn load_key_set(&self, tenant: &TenantId) -> Result<Option<Arc<KeySet>>> {
        let (ticket, began) = self.core.log.ticket();
        let places = [key::<KeySetRecord>(tenant, tenant)];
        let Some(stored) = self.read_records::<KeySetRecord>(&places).await?.pop().flatten() else {
            return Ok(None);
        };
        let keys = Arc::new(KeySet::read(&stored.set, tenant, &self.core.ring, self.now())?);
        self.shelves.key_sets.fill(&self.core.log.state(), ticket, began, tenant.clone(), Arc::clone(&keys));
        Ok(Some(keys))
    }
}

//! How many calls of each tenant wait for identity providers. One tenant whose providers hang must not take all places of the
//! service.

use std::collections::HashMap;

use jeton_contract::reason::Reason;
use jeton_core::TenantId;
use parking_lot::Mutex;

use crate::error::{Error, Result};

/// The calls that wait, by tenant.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<TenantId, usize>>);

/// One of a tenant's calls that wait, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    waiting: &'a Waiting,
    tenant: TenantId,
}

/// How many calls of a tenant may wait for identity providers, on each replica.
const MAX_WAITING: usize = 128;
// === impl Waiting ===

impl Waiting {
    /// Lets a call wait, if not too many of its tenant do.
    pub(super) fn enter(&self, tenant: &TenantId) -> Result<Turn<'_>> {
        let mut waiting = self.0.lock();
        let count = waiting.entry(tenant.clone()).or_default();
        if *count >= MAX_WAITING {
            return Err(Error::new(
                Reason::Overloaded,
                "too many of the tenant's sign-ins wait for identity providers",
            ));
        }
        *count += 1;
        Ok(Turn { waiting: self, tenant: tenant.clone() })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiting.0.lock();
        if let Some(count) = waiting.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_whose_providers_hang_waits_for_itself() {
        let (waiting, one, other) = (Waiting::default(), "one".parse().unwrap(), "other".parse().unwrap());
        let mut turns: Vec<_> = (0..MAX_WAITING).map(|_| waiting.enter(&one).unwrap()).collect();
        let refused = waiting.enter(&one).unwrap_err();
        assert_eq!(refused.reason(), Reason::Overloaded);
        drop(waiting.enter(&other).unwrap());
        turns.pop();
        turns.push(waiting.enter(&one).unwrap());
        turns.clear();
        assert!(waiting.0.lock().is_empty());
    }
}

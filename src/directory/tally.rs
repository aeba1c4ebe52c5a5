//! Counts that hold a limit exactly: a tally is written together with what it counts, and its version is the condition.

use jeton_core::TenantId;

use super::Directory;
use crate::{
    error::{Error, Result},
    store::{Kind, Put, RecordKey},
};

/// How many things something has, as it was read.
#[derive(Debug)]
pub(super) struct Tally {
    /// What has them: an id, or the name of a kind for a whole tenant.
    of: String,
    pub(super) count: u32,
    version: u64,
}

// === impl Directory ===

impl Directory {
    /// The tallies of several things, in their order.
    pub(super) async fn read_tallies(&self, tenant: &TenantId, of: Vec<String>) -> Result<Vec<Tally>> {
        let key = |of: &String| RecordKey { tenant: tenant.clone(), kind: Kind::Tally, id: of.clone() };
        let keys: Vec<_> = of.iter().map(key).collect();
        let records = self.core.store.read(&keys).await?;
        let read = |(of, record): (String, Option<crate::store::Record>)| {
            let Some(record) = record else { return Ok(Tally { of, count: 0, version: 0 }) };
            let count = minicbor::decode(&record.body)
                .map_err(|source| Error::internal("decode a tally").with_source(source))?;
            Ok(Tally { of, count, version: record.version })
        };
        of.into_iter().zip(records).map(read).collect()
    }
}

// === impl Tally ===

impl Tally {
    /// The first count of something that is being created.
    pub(super) fn first(of: String) -> Put {
        Self { of, count: 0, version: 0 }.put(1)
    }

    /// Writes another count, if nobody else did.
    pub(super) fn put(&self, count: u32) -> Put {
        let body = minicbor::to_vec(count).unwrap_or_default().into();
        Put::new(Kind::Tally, self.of.clone(), Some(self.version), body)
    }
}

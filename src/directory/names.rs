//! Names that platforms choose: foreign ids, which stand wherever an id does, and free data.
//!
//! A *reference* is what a caller names something by: its id, or its foreign id.

use std::collections::BTreeMap;

use jeton_core::{
    TenantId, id,
    id::{Id, RESERVED_PREFIXES},
};

use super::Directory;
use crate::{
    error::{Error, Result},
    store::{Change, Name, Unique},
};

// === impl Directory ===

impl Directory {
    /// The id that a reference names: the id itself, or the holder of a foreign id.
    pub(super) async fn id_of<K: id::Tag>(
        &self,
        tenant: &TenantId,
        foreign_ids: &'static Name,
        reference: &str,
    ) -> Result<Option<Id<K>>> {
        if let Ok(id) = reference.parse() {
            return Ok(Some(id));
        }
        if has_reserved_prefix(reference) {
            return Ok(None);
        }
        let holder = self.core.store.holder(tenant, &foreign_id(foreign_ids, reference)).await?;
        holder.map(|id| id.parse().map_err(|_| Error::internal("read the holder of a foreign id"))).transpose()
    }
}

/// The unique name of a foreign id.
pub(super) fn foreign_id(name: &'static Name, value: &str) -> Unique {
    Unique { name, value: value.to_owned() }
}

/// Reads a new foreign id of `field`; empty: none.
pub(super) fn read_foreign_id(field: &str, value: String) -> Result<Option<String>> {
    if has_reserved_prefix(&value) {
        return Err(Error::field(field, "must not begin with a reserved prefix such as acc_"));
    }
    Ok(Some(value).filter(|value| !value.is_empty()))
}

/// Makes `after` the names of `id` in place of `before`. All of them are taken, also those that stay: a name that was lost
/// meanwhile would be noticed.
pub(super) fn rename(change: &mut Change, id: &str, before: Vec<Unique>, after: Vec<Unique>) {
    let gone = before.into_iter().filter(|name| !after.contains(name));
    change.free = gone.map(|name| (name, id.to_owned())).collect();
    change.take = after.into_iter().map(|name| (name, id.to_owned())).collect();
}

/// Replaces free data as a whole, if asked for, then sets or removes single keys.
pub(super) fn change_data(
    data: &mut BTreeMap<String, String>,
    whole: Option<BTreeMap<String, String>>,
    keys: Vec<(String, Option<String>)>,
) {
    if let Some(whole) = whole {
        *data = whole;
    }
    for (key, value) in keys {
        match value {
            Some(value) => data.insert(key, value),
            None => data.remove(&key),
        };
    }
}

pub(super) fn has_reserved_prefix(text: &str) -> bool {
    RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

//! Entity groups on the wire, and the accounts in them.

use super::{Mask, account, required, size, timestamp};
use crate::{
    api::wire,
    directory::{
        groups::GroupPatch,
        record::{Account, EntityGroup, etag},
    },
    error::Result,
};

/// The fields of a new group, and the accounts in it.
pub fn create(message: wire::CreateEntityGroupRequest) -> (GroupPatch, Vec<String>) {
    (patch(&message.entity_group.unwrap_or_default(), &Mask::CREATION), message.entity_ids)
}

/// Which group changes, from which etag, and what of it.
pub fn update(message: wire::UpdateEntityGroupRequest) -> Result<(String, String, GroupPatch)> {
    let group = message.entity_group.unwrap_or_default();
    let patch = patch(&group, &Mask::new(message.update_mask.as_ref(), "EntityGroup", CHANGEABLE)?);
    Ok((required("entity_group.entity_group_id", group.entity_group_id)?, group.etag, patch))
}

/// The fields that an update mask can name.
const CHANGEABLE: &[&str] = &["display_name", "foreign_id", "email_to_name", "labels", "metadata", "metadata."];

fn patch(group: &wire::EntityGroup, mask: &Mask<'_>) -> GroupPatch {
    let text = |name: &str, text: &String| mask.changes(name, !text.is_empty()).then(|| text.clone());
    GroupPatch {
        display_name: text("display_name", &group.display_name),
        foreign_id: text("foreign_id", &group.foreign_id),
        email_to_name: text("email_to_name", &group.email_to_name),
        labels: mask.changes("labels", !group.labels.is_empty()).then(|| group.labels.clone()),
        metadata: mask.changes("metadata", !group.metadata.is_empty()).then(|| group.metadata.clone()),
        metadata_keys: mask.keys("metadata").map(|key| (key.to_owned(), group.metadata.get(key).cloned())).collect(),
    }
}

pub fn to_wire(group: &EntityGroup) -> wire::EntityGroup {
    wire::EntityGroup {
        entity_group_id: group.id.to_string(),
        tenant_id: group.tenant.to_string(),
        display_name: group.display_name.clone(),
        foreign_id: group.foreign_id.clone().unwrap_or_default(),
        email_to_name: group.email_to_name.clone(),
        labels: group.labels.clone(),
        metadata: group.metadata.clone(),
        entity_count: size(group.entity_count),
        member_count: size(group.member_count),
        create_time: Some(timestamp(group.created)),
        update_time: Some(timestamp(group.updated)),
        etag: etag(group.version),
    }
}

/// An account of a group, with the metadata of these keys.
pub fn entity(account: &Account, keys: &[String]) -> wire::GroupEntity {
    let chosen = keys.iter().filter_map(|key| account.metadata.get_key_value(key));
    wire::GroupEntity {
        account_id: account.id.to_string(),
        foreign_id: account.foreign_id.clone().unwrap_or_default(),
        display_name: account.display_name.clone(),
        state: account::state(account.state).into(),
        metadata: chosen.map(|(key, value)| (key.clone(), value.clone())).collect(),
    }
}

//! Roles on the wire.

use super::{Mask, required, set, timestamp};
use crate::{
    api::wire,
    directory::{
        record::{Role, etag},
        roles::RolePatch,
    },
    error::Result,
};

/// The account whose role it is, if any, and the fields of a new role.
pub fn create(message: wire::CreateRoleRequest) -> (Option<String>, RolePatch) {
    let mut role = message.role.unwrap_or_default();
    (set(std::mem::take(&mut role.account_id)), patch(role, &Mask::CREATION))
}

/// Which role changes, from which etag, and what of it.
pub fn update(message: wire::UpdateRoleRequest) -> Result<(String, String, RolePatch)> {
    let mut role = message.role.unwrap_or_default();
    let id = required("role.role_id", std::mem::take(&mut role.role_id))?;
    let etag = std::mem::take(&mut role.etag);
    Ok((id, etag, patch(role, &Mask::new(message.update_mask.as_ref(), "Role", CHANGEABLE)?)))
}

/// The fields that an update mask can name.
const CHANGEABLE: &[&str] = &["name", "permissions"];

fn patch(role: wire::Role, mask: &Mask<'_>) -> RolePatch {
    RolePatch {
        name: mask.changes("name", !role.name.is_empty()).then_some(role.name),
        permissions: mask.changes("permissions", !role.permissions.is_empty()).then_some(role.permissions),
    }
}

pub fn to_wire(role: &Role) -> wire::Role {
    wire::Role {
        role_id: role.id.to_string(),
        tenant_id: role.tenant.to_string(),
        account_id: role.account.as_ref().map(|line| line.account.to_string()).unwrap_or_default(),
        name: role.name.clone(),
        permissions: role.permissions.clone(),
        create_time: Some(timestamp(role.created)),
        update_time: Some(timestamp(role.updated)),
        etag: etag(role.version),
    }
}

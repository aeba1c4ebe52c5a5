//! Roles on the wire.

use super::{
    convert::{self, Mask},
    wire,
};
use crate::{
    directory::{record::etag, roles::RolePatch, roster::Role},
    token::Result,
};

/// The fields that an update mask can name.
const CHANGEABLE: &[&str] = &["name", "permissions"];

/// What a message changes; without a mask: all that is set.
pub(super) fn patch(role: &wire::Role, mask: Option<&prost_types::FieldMask>) -> Result<RolePatch> {
    let mask = Mask::new(mask, "Role", CHANGEABLE)?;
    Ok(RolePatch {
        name: mask.changes("name", !role.name.is_empty()).then(|| role.name.clone()),
        permissions: mask.changes("permissions", !role.permissions.is_empty()).then(|| role.permissions.clone()),
    })
}

pub(super) fn to_wire(role: &Role) -> wire::Role {
    wire::Role {
        role_id: role.id.to_string(),
        tenant_id: role.tenant.to_string(),
        account_id: role.account.as_ref().map(|line| line.account.to_string()).unwrap_or_default(),
        name: role.name.clone(),
        permissions: role.permissions.clone(),
        create_time: Some(convert::timestamp(role.created)),
        update_time: Some(convert::timestamp(role.updated)),
        etag: etag(role.version),
    }
}

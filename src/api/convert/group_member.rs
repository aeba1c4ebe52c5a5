//! The members of an entity group on the wire, and whose members to copy into it.

use super::{Mask, member, timestamp};
use crate::{
    api::wire,
    directory::{
        group_members::{FIELDS, GroupMemberQuery, NewGroupMember, Placed},
        group_sync::{CopyFrom, CopyMembers, SyncOptions},
        record::etag,
    },
    error::{Error, Result},
    notation::filter::Filter,
};

/// The place that a request describes, and its etag.
pub fn upsert(message: wire::UpsertGroupMemberRequest) -> (NewGroupMember, String) {
    let wire::GroupMember { entity_group_id, member_id, role_ids, entity_roles, etag, .. } =
        message.group_member.unwrap_or_default();
    let new = NewGroupMember {
        group: entity_group_id,
        member: member_id,
        roles: role_ids,
        overrides: entity_roles.into_iter().map(|own| (own.account_id, own.role_ids)).collect(),
        create: message.member.map(|member| member::patch(&member, &Mask::CREATION)),
    };
    (new, etag)
}

/// Which group, and which of its members.
pub fn query(message: wire::ListGroupMembersRequest) -> Result<(String, GroupMemberQuery)> {
    let filter = Filter::parse(&message.filter, FIELDS)?;
    Ok((message.entity_group_id, GroupMemberQuery { filter, roles: message.role_ids }))
}

/// Whose members AddEntities copies; `None`: nobody's.
pub fn copied(
    from: Option<wire::add_entities_request::CopyMembers>,
    roles: Vec<String>,
) -> Result<Option<CopyMembers>> {
    use wire::add_entities_request::CopyMembers as Wire;
    match from {
        None if !roles.is_empty() => Err(Error::field("filter_role_ids", "must not be set without copy_members")),
        None => Ok(None),
        Some(Wire::Auto(_)) => Ok(Some(CopyMembers { from: CopyFrom::Auto, roles })),
        Some(Wire::FromEntity(account)) => Ok(Some(CopyMembers { from: CopyFrom::Entity(account), roles })),
    }
}

/// The group, whose members SyncGroupMembers copies into it, and how.
pub fn sync(message: wire::SyncGroupMembersRequest) -> Result<(String, CopyMembers, SyncOptions)> {
    use wire::sync_group_members_request::CopyMembers as Wire;
    let from = match message.copy_members {
        Some(Wire::Auto(_)) => CopyFrom::Auto,
        Some(Wire::FromEntity(account)) => CopyFrom::Entity(account),
        None => return Err(Error::field("copy_members", "must be set")),
    };
    let copy = CopyMembers { from, roles: message.filter_role_ids };
    Ok((message.entity_group_id, copy, sync_options(message.add_members, message.remove_members)?))
}

fn sync_options(add_members: Option<bool>, remove_members: Option<bool>) -> Result<SyncOptions> {
    let sync = SyncOptions { add: add_members.unwrap_or(true), remove: remove_members.unwrap_or(false) };
    if !sync.add && !sync.remove {
        return Err(Error::field("remove_members", "must be true if add_members is false"));
    }
    Ok(sync)
}

pub fn to_wire(placed: &Placed) -> wire::GroupMember {
    let Placed { place, member } = placed;
    let overrides = place.overrides.iter().map(|own| wire::EntityRoles {
        account_id: own.account.to_string(),
        role_ids: own.roles.iter().map(ToString::to_string).collect(),
    });
    wire::GroupMember {
        entity_group_id: place.group.to_string(),
        member_id: place.member.to_string(),
        tenant_id: place.tenant.to_string(),
        role_ids: place.roles.iter().map(ToString::to_string).collect(),
        entity_roles: overrides.collect(),
        foreign_id: member.profile.foreign_id.clone().unwrap_or_default(),
        display_name: member.profile.display_name.clone(),
        email: member.profile.email.clone(),
        create_time: Some(timestamp(place.created)),
        update_time: Some(timestamp(place.updated)),
        etag: etag(place.version),
    }
}

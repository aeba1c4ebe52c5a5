//! EntityGroupService.

use tonic::{Request, Response, Status, async_trait};

use super::{
    Services, account,
    convert::{self, Mask, answer},
    person,
    wire::{self, entity_group_service_server::EntityGroupService},
};
use crate::{
    directory::{
        group_members::{self, GroupMemberQuery, NewGroupMember, Placed},
        group_sync::{CopyFrom, CopyMembers, SyncOptions},
        grouped::EntityGroup,
        groups::{self, GroupPatch},
        record::{Account, etag},
    },
    token::{Error, Result, filter::Filter},
};

type Reply<T> = Result<Response<T>, Status>;

#[async_trait]
impl EntityGroupService for Services {
    async fn create_entity_group(
        &self,
        request: Request<wire::CreateEntityGroupRequest>,
    ) -> Reply<wire::CreateEntityGroupResponse> {
        answer(async {
            let (call, mut message) = self.enter(request)?;
            let request_id = std::mem::take(&mut message.request_id);
            let repeat = convert::repeat(&request_id, "CreateEntityGroup", &message)?;
            let group = message.entity_group.unwrap_or_default();
            let patch = patch(&group, &Mask::new(None, "EntityGroup", &[])?);
            let entities = message.entity_ids;
            let created = call.act(move |issuer, act| async move {
                issuer.directory.create_group(&act, patch, &entities, repeat).await
            });
            let (group, position) = created.await?;
            Ok(wire::CreateEntityGroupResponse {
                entity_group: Some(to_wire(&group)),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn get_entity_group(
        &self,
        request: Request<wire::GetEntityGroupRequest>,
    ) -> Reply<wire::GetEntityGroupResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let group =
                call.act(move |issuer, act| async move {
                    issuer.directory.visible_group(&act, &message.entity_group_id).await
                })
                .await?;
            Ok(wire::GetEntityGroupResponse { entity_group: Some(to_wire(&group)) })
        })
        .await
    }

    async fn update_entity_group(
        &self,
        request: Request<wire::UpdateEntityGroupRequest>,
    ) -> Reply<wire::UpdateEntityGroupResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let group = message.entity_group.unwrap_or_default();
            let mask = Mask::new(message.update_mask.as_ref(), "EntityGroup", CHANGEABLE)?;
            if group.entity_group_id.is_empty() {
                return Err(Error::field("entity_group.entity_group_id", "must be set"));
            }
            let patch = patch(&group, &mask);
            let updated = call.act(move |issuer, act| async move {
                issuer.directory.update_group(&act, &group.entity_group_id, &group.etag, patch).await
            });
            let (group, position) = updated.await?;
            Ok(wire::UpdateEntityGroupResponse {
                entity_group: Some(to_wire(&group)),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn delete_entity_group(
        &self,
        request: Request<wire::DeleteEntityGroupRequest>,
    ) -> Reply<wire::DeleteEntityGroupResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let deleted = call.act(move |issuer, act| async move {
                issuer.directory.delete_group(&act, &message.entity_group_id, &message.etag).await
            });
            Ok(wire::DeleteEntityGroupResponse { position: convert::position(deleted.await?) })
        })
        .await
    }

    async fn list_entity_groups(
        &self,
        request: Request<wire::ListEntityGroupsRequest>,
    ) -> Reply<wire::ListEntityGroupsResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let filter = Filter::parse(&message.filter, groups::FIELDS)?;
            let listed = call.act(move |issuer, act| async move {
                let query = ["ListEntityGroups", &message.filter];
                let page = issuer.directory.page(&act, message.page_size, &message.page_token, &query)?;
                issuer.directory.list_groups(&act, &filter, &page).await
            });
            let page = listed.await?;
            Ok(wire::ListEntityGroupsResponse {
                entity_groups: page.items.iter().map(|group| to_wire(group)).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }

    async fn add_entities(&self, request: Request<wire::AddEntitiesRequest>) -> Reply<wire::AddEntitiesResponse> {
        answer(async {
            use wire::add_entities_request::CopyMembers as From;
            let (call, message) = self.enter(request)?;
            let from = message.copy_members.map(|from| match from {
                From::Auto(_) => CopyFrom::Auto,
                From::FromEntity(slot) => CopyFrom::Entity(slot),
            });
            let copy = copy_members(from, message.filter_role_ids)?;
            let added = call.act(move |issuer, act| async move {
                let (group, entities) = (&message.entity_group_id, &message.entity_ids);
                issuer.directory.add_entities(&act, group, entities, copy.as_ref()).await
            });
            let (moved, copied) = added.await?;
            Ok(wire::AddEntitiesResponse {
                entity_group: Some(to_wire(&moved.group)),
                added_count: count(moved.changed),
                unchanged_count: count(moved.unchanged),
                position: convert::position(moved.position),
                added_member_count: copied.as_ref().map_or(0, |copied| count(copied.added)),
                unchanged_member_count: copied.as_ref().map_or(0, |copied| count(copied.unchanged)),
            })
        })
        .await
    }

    async fn remove_entities(
        &self,
        request: Request<wire::RemoveEntitiesRequest>,
    ) -> Reply<wire::RemoveEntitiesResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let removed = call.act(move |issuer, act| async move {
                let (group, entities) = (&message.entity_group_id, &message.entity_ids);
                issuer.directory.remove_entities(&act, group, entities).await
            });
            let moved = removed.await?;
            Ok(wire::RemoveEntitiesResponse {
                entity_group: Some(to_wire(&moved.group)),
                removed_count: count(moved.changed),
                unchanged_count: count(moved.unchanged),
                position: convert::position(moved.position),
            })
        })
        .await
    }

    async fn list_group_entities(
        &self,
        request: Request<wire::ListGroupEntitiesRequest>,
    ) -> Reply<wire::ListGroupEntitiesResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let keys = message.return_metadata_keys.clone();
            let listed = call.act(move |issuer, act| async move {
                let query =
                    [&["ListGroupEntities", &message.entity_group_id][..], &texts(&message.return_metadata_keys)];
                let page = issuer.directory.page(&act, message.page_size, &message.page_token, &query.concat())?;
                issuer.directory.list_group_entities(&act, &message.entity_group_id, &page).await
            });
            let page = listed.await?;
            Ok(wire::ListGroupEntitiesResponse {
                entities: page.items.iter().map(|account| entity(account, &keys)).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }

    async fn upsert_group_member(
        &self,
        request: Request<wire::UpsertGroupMemberRequest>,
    ) -> Reply<wire::UpsertGroupMemberResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let (new, etag) = new_group_member(message.group_member, message.member)?;
            let upserted = call
                .act(move |issuer, act| async move { issuer.directory.upsert_group_member(&act, &new, &etag).await });
            let (placed, position) = upserted.await?;
            Ok(wire::UpsertGroupMemberResponse {
                group_member: Some(placed_to_wire(&placed)),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn get_group_member(
        &self,
        request: Request<wire::GetGroupMemberRequest>,
    ) -> Reply<wire::GetGroupMemberResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let found = call.act(move |issuer, act| async move {
                let (group, member) = (&message.entity_group_id, &message.member_id);
                issuer.directory.reachable_group_member(&act, group, member).await
            });
            Ok(wire::GetGroupMemberResponse { group_member: Some(placed_to_wire(&found.await?)) })
        })
        .await
    }

    async fn delete_group_member(
        &self,
        request: Request<wire::DeleteGroupMemberRequest>,
    ) -> Reply<wire::DeleteGroupMemberResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let deleted = call.act(move |issuer, act| async move {
                let (group, member) = (&message.entity_group_id, &message.member_id);
                issuer.directory.delete_group_member(&act, group, member, &message.etag).await
            });
            Ok(wire::DeleteGroupMemberResponse { position: convert::position(deleted.await?) })
        })
        .await
    }

    async fn list_group_members(
        &self,
        request: Request<wire::ListGroupMembersRequest>,
    ) -> Reply<wire::ListGroupMembersResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let filter = Filter::parse(&message.filter, group_members::FIELDS)?;
            let listed = call.act(move |issuer, act| async move {
                let group = &message.entity_group_id;
                let query = [&["ListGroupMembers", group, &message.filter][..], &texts(&message.role_ids)].concat();
                let page = issuer.directory.page(&act, message.page_size, &message.page_token, &query)?;
                let query = GroupMemberQuery { filter, roles: message.role_ids };
                issuer.directory.list_group_members(&act, group, &query, &page).await
            });
            let (page, total) = listed.await?;
            Ok(wire::ListGroupMembersResponse {
                group_members: page.items.iter().map(placed_to_wire).collect(),
                next_page_token: page.next,
                total_size: size(total),
            })
        })
        .await
    }

    async fn sync_group_members(
        &self,
        request: Request<wire::SyncGroupMembersRequest>,
    ) -> Reply<wire::SyncGroupMembersResponse> {
        answer(async {
            use wire::sync_group_members_request::CopyMembers as From;
            let (call, message) = self.enter(request)?;
            let from = message.copy_members.map(|from| match from {
                From::Auto(_) => CopyFrom::Auto,
                From::FromEntity(slot) => CopyFrom::Entity(slot),
            });
            let copy = copy_members(from, message.filter_role_ids)?;
            let copy = copy.ok_or_else(|| Error::field("copy_members", "must be set"))?;
            let sync = sync_options(message.add_members, message.remove_members)?;
            let synced = call.act(move |issuer, act| async move {
                issuer.directory.sync_group_members(&act, &message.entity_group_id, &copy, sync).await
            });
            let synced = synced.await?;
            Ok(wire::SyncGroupMembersResponse {
                added_count: count(synced.added),
                removed_count: count(synced.removed),
                unchanged_count: count(synced.unchanged),
                position: convert::position(synced.position),
            })
        })
        .await
    }
}

fn texts(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
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

fn to_wire(group: &EntityGroup) -> wire::EntityGroup {
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
        create_time: Some(convert::timestamp(group.created)),
        update_time: Some(convert::timestamp(group.updated)),
        etag: etag(group.version),
    }
}

fn entity(account: &Account, keys: &[String]) -> wire::GroupEntity {
    let chosen = keys.iter().filter_map(|key| account.metadata.get_key_value(key));
    wire::GroupEntity {
        account_id: account.id.to_string(),
        foreign_id: account.foreign_id.clone().unwrap_or_default(),
        display_name: account.display_name.clone(),
        state: account::state(account.state).into(),
        metadata: chosen.map(|(key, value)| (key.clone(), value.clone())).collect(),
    }
}

/// The place that a request describes, and its etag.
fn new_group_member(
    group_member: Option<wire::GroupMember>,
    member: Option<wire::Member>,
) -> Result<(NewGroupMember, String)> {
    let wire::GroupMember { entity_group_id, member_id, role_ids, entity_roles, etag, .. } =
        group_member.unwrap_or_default();
    let mask = Mask::new(None, "Member", &[])?;
    let new = NewGroupMember {
        group: entity_group_id,
        member: member_id,
        roles: role_ids,
        overrides: entity_roles.into_iter().map(|own| (own.account_id, own.role_ids)).collect(),
        create: member.map(|member| person::patch(&member, &mask)),
    };
    Ok((new, etag))
}

fn placed_to_wire(placed: &Placed) -> wire::GroupMember {
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
        create_time: Some(convert::timestamp(place.created)),
        update_time: Some(convert::timestamp(place.updated)),
        etag: etag(place.version),
    }
}

/// Whose members to copy; `None`: nobody's.
fn copy_members(from: Option<CopyFrom>, roles: Vec<String>) -> Result<Option<CopyMembers>> {
    if from.is_none() && !roles.is_empty() {
        return Err(Error::field("filter_role_ids", "must not be set without copy_members"));
    }
    Ok(from.map(|from| CopyMembers { from, roles }))
}

fn sync_options(add_members: Option<bool>, remove_members: Option<bool>) -> Result<SyncOptions> {
    let sync = SyncOptions { add: add_members.unwrap_or(true), remove: remove_members.unwrap_or(false) };
    if !sync.add && !sync.remove {
        return Err(Error::field("remove_members", "must be true if add_members is false"));
    }
    Ok(sync)
}

fn size(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A call names at most 1,000 accounts, and an account has at most 1,000 members.
fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

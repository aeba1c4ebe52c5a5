//! EntityGroupService.

use tonic::{Request, async_trait};

use super::{
    Services,
    call::{Reply, reply},
    convert::{self, count, group, group_member, size},
    wire::{self, entity_group_service_server::EntityGroupService},
};
use crate::{directory::groups, notation::filter::Filter};

#[async_trait]
impl EntityGroupService for Services {
    async fn create_entity_group(
        &self,
        request: Request<wire::CreateEntityGroupRequest>,
    ) -> Reply<wire::CreateEntityGroupResponse> {
        let (call, message, repeat) = self.enter_repeatable(request)?;
        let (patch, entities) = group::create(message);
        let (group, position) =
            call.act(move |act| async move { act.create_group(patch, &entities, repeat).await }).await?;
        reply(wire::CreateEntityGroupResponse {
            entity_group: Some(group::to_wire(&group)),
            position: convert::position(position),
        })
    }

    async fn get_entity_group(
        &self,
        request: Request<wire::GetEntityGroupRequest>,
    ) -> Reply<wire::GetEntityGroupResponse> {
        let (call, message) = self.enter(request)?;
        let group = call.act(move |act| async move { act.visible_group(&message.entity_group_id).await }).await?;
        reply(wire::GetEntityGroupResponse { entity_group: Some(group::to_wire(&group)) })
    }

    async fn update_entity_group(
        &self,
        request: Request<wire::UpdateEntityGroupRequest>,
    ) -> Reply<wire::UpdateEntityGroupResponse> {
        let (call, message) = self.enter(request)?;
        let (reference, etag, patch) = group::update(message)?;
        let (group, position) =
            call.act(move |act| async move { act.update_group(&reference, &etag, patch).await }).await?;
        reply(wire::UpdateEntityGroupResponse {
            entity_group: Some(group::to_wire(&group)),
            position: convert::position(position),
        })
    }

    async fn delete_entity_group(
        &self,
        request: Request<wire::DeleteEntityGroupRequest>,
    ) -> Reply<wire::DeleteEntityGroupResponse> {
        let (call, message) = self.enter(request)?;
        let position =
            call.act(move |act| async move { act.delete_group(&message.entity_group_id, &message.etag).await }).await?;
        reply(wire::DeleteEntityGroupResponse { position: convert::position(position) })
    }

    async fn list_entity_groups(
        &self,
        request: Request<wire::ListEntityGroupsRequest>,
    ) -> Reply<wire::ListEntityGroupsResponse> {
        let (call, message, paging) = self.enter_list(request)?;
        let filter = Filter::parse(&message.filter, groups::FIELDS)?;
        let page = call.list(paging, move |act, page| async move { act.list_groups(&filter, &page).await }).await?;
        reply(wire::ListEntityGroupsResponse {
            entity_groups: page.items.iter().map(|group| group::to_wire(group)).collect(),
            next_page_token: page.next,
        })
    }

    async fn add_entities(&self, request: Request<wire::AddEntitiesRequest>) -> Reply<wire::AddEntitiesResponse> {
        let (call, message) = self.enter(request)?;
        let copy = group_member::copied(message.copy_members, message.filter_role_ids)?;
        let (moved, copied) = call
            .act(move |act| async move {
                act.add_entities(&message.entity_group_id, &message.entity_ids, copy.as_ref()).await
            })
            .await?;
        reply(wire::AddEntitiesResponse {
            entity_group: Some(group::to_wire(&moved.group)),
            added_count: count(moved.changed),
            unchanged_count: count(moved.unchanged),
            position: convert::position(moved.position),
            added_member_count: copied.as_ref().map_or(0, |copied| count(copied.added)),
            unchanged_member_count: copied.as_ref().map_or(0, |copied| count(copied.unchanged)),
        })
    }

    async fn remove_entities(
        &self,
        request: Request<wire::RemoveEntitiesRequest>,
    ) -> Reply<wire::RemoveEntitiesResponse> {
        let (call, message) = self.enter(request)?;
        let moved = call
            .act(move |act| async move { act.remove_entities(&message.entity_group_id, &message.entity_ids).await })
            .await?;
        reply(wire::RemoveEntitiesResponse {
            entity_group: Some(group::to_wire(&moved.group)),
            removed_count: count(moved.changed),
            unchanged_count: count(moved.unchanged),
            position: convert::position(moved.position),
        })
    }

    async fn list_group_entities(
        &self,
        request: Request<wire::ListGroupEntitiesRequest>,
    ) -> Reply<wire::ListGroupEntitiesResponse> {
        let (call, message, paging) = self.enter_list(request)?;
        let (group, keys) = (message.entity_group_id, message.return_metadata_keys);
        let page =
            call.list(paging, move |act, page| async move { act.list_group_entities(&group, &page).await }).await?;
        reply(wire::ListGroupEntitiesResponse {
            entities: page.items.iter().map(|account| group::entity(account, &keys)).collect(),
            next_page_token: page.next,
        })
    }

    async fn upsert_group_member(
        &self,
        request: Request<wire::UpsertGroupMemberRequest>,
    ) -> Reply<wire::UpsertGroupMemberResponse> {
        let (call, message) = self.enter(request)?;
        let (new, etag) = group_member::upsert(message);
        let (placed, position) = call.act(move |act| async move { act.upsert_group_member(&new, &etag).await }).await?;
        reply(wire::UpsertGroupMemberResponse {
            group_member: Some(group_member::to_wire(&placed)),
            position: convert::position(position),
        })
    }

    async fn get_group_member(
        &self,
        request: Request<wire::GetGroupMemberRequest>,
    ) -> Reply<wire::GetGroupMemberResponse> {
        let (call, message) = self.enter(request)?;
        let placed =
            call.act(move |act| async move {
                act.reachable_group_member(&message.entity_group_id, &message.member_id).await
            })
            .await?;
        reply(wire::GetGroupMemberResponse { group_member: Some(group_member::to_wire(&placed)) })
    }

    async fn delete_group_member(
        &self,
        request: Request<wire::DeleteGroupMemberRequest>,
    ) -> Reply<wire::DeleteGroupMemberResponse> {
        let (call, message) = self.enter(request)?;
        let wire::DeleteGroupMemberRequest { entity_group_id, member_id, etag, .. } = message;
        let position = call
            .act(move |act| async move { act.delete_group_member(&entity_group_id, &member_id, &etag).await })
            .await?;
        reply(wire::DeleteGroupMemberResponse { position: convert::position(position) })
    }

    async fn list_group_members(
        &self,
        request: Request<wire::ListGroupMembersRequest>,
    ) -> Reply<wire::ListGroupMembersResponse> {
        let (call, message, paging) = self.enter_list(request)?;
        let (group, query) = group_member::query(message)?;
        let (page, total) = call
            .list(paging, move |act, page| async move { act.list_group_members(&group, &query, &page).await })
            .await?;
        reply(wire::ListGroupMembersResponse {
            group_members: page.items.iter().map(group_member::to_wire).collect(),
            next_page_token: page.next,
            total_size: size(total),
        })
    }

    async fn sync_group_members(
        &self,
        request: Request<wire::SyncGroupMembersRequest>,
    ) -> Reply<wire::SyncGroupMembersResponse> {
        let (call, message) = self.enter(request)?;
        let (group, copy, sync) = group_member::sync(message)?;
        let synced = call.act(move |act| async move { act.sync_group_members(&group, &copy, sync).await }).await?;
        reply(wire::SyncGroupMembersResponse {
            added_count: count(synced.added),
            removed_count: count(synced.removed),
            unchanged_count: count(synced.unchanged),
            position: convert::position(synced.position),
        })
    }
}

//! EntityGroupService.

use tonic::{Request, Response, Status, async_trait};

use super::{
    Services, account,
    convert::{self, Mask, answer, given},
    edge::{open, run_to_end},
    wire::{self, entity_group_service_server::EntityGroupService},
};
use crate::{
    directory::{
        groups::{self, GroupPatch},
        page::PageRequest,
        record::{Account, EntityGroup, etag},
    },
    issuer::authenticate::FULL,
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
            let (admitted, mut message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let request_id = std::mem::take(&mut message.request_id);
            let repeat = convert::repeat(&request_id, "CreateEntityGroup", &message)?;
            let group = message.entity_group.unwrap_or_default();
            let patch = patch(&group, &Mask::new(None, "EntityGroup", &[])?);
            let entities = message.entity_ids;
            let issuer = self.issuer();
            let created = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let tenant = issuer.directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
                issuer.directory.create_group(&call.caller, &tenant, patch, &entities, repeat).await
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
            let (admitted, message) = open(request)?;
            let call = self.issuer.prove(&convert::bearer(&admitted)?, FULL).await?;
            let tenant = self.issuer.directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
            let group = self.issuer.directory.reachable_group(&call.caller, &tenant, &message.entity_group_id).await?;
            Ok(wire::GetEntityGroupResponse { entity_group: Some(to_wire(&group)) })
        })
        .await
    }

    async fn update_entity_group(
        &self,
        request: Request<wire::UpdateEntityGroupRequest>,
    ) -> Reply<wire::UpdateEntityGroupResponse> {
        answer(async {
            let (admitted, message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let group = message.entity_group.unwrap_or_default();
            let mask = Mask::new(message.update_mask.as_ref(), "EntityGroup", CHANGEABLE)?;
            if group.entity_group_id.is_empty() {
                return Err(Error::field("entity_group.entity_group_id", "must be set"));
            }
            let patch = patch(&group, &mask);
            let issuer = self.issuer();
            let updated = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let tenant = issuer.directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
                issuer.directory.update_group(&call.caller, &tenant, &group.entity_group_id, &group.etag, patch).await
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
            let (admitted, message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let issuer = self.issuer();
            let deleted = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let tenant = issuer.directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
                issuer.directory.delete_group(&call.caller, &tenant, &message.entity_group_id, &message.etag).await
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
            let (admitted, message) = open(request)?;
            let call = self.issuer.prove(&convert::bearer(&admitted)?, FULL).await?;
            let directory = &self.issuer.directory;
            let tenant = directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
            let name = tenant.to_string();
            let query = ["ListEntityGroups", &name, &message.filter].map(str::as_bytes);
            let page = PageRequest::new(message.page_size, &message.page_token, &call.caller, &query, &directory.ring)?;
            let filter = Filter::parse(&message.filter, groups::FIELDS)?;
            let page = directory.list_groups(&call.caller, &tenant, &filter, &page).await?;
            Ok(wire::ListEntityGroupsResponse {
                entity_groups: page.items.iter().map(to_wire).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }

    async fn add_entities(&self, request: Request<wire::AddEntitiesRequest>) -> Reply<wire::AddEntitiesResponse> {
        answer(async {
            let (admitted, message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let issuer = self.issuer();
            let added = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let directory = &issuer.directory;
                let tenant = directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
                let (group, entities) = (&message.entity_group_id, &message.entity_ids);
                directory.add_entities(&call.caller, &tenant, group, entities).await
            });
            let moved = added.await?;
            Ok(wire::AddEntitiesResponse {
                entity_group: Some(to_wire(&moved.group)),
                added_count: count(moved.changed),
                unchanged_count: count(moved.unchanged),
                position: convert::position(moved.position),
            })
        })
        .await
    }

    async fn remove_entities(
        &self,
        request: Request<wire::RemoveEntitiesRequest>,
    ) -> Reply<wire::RemoveEntitiesResponse> {
        answer(async {
            let (admitted, message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let issuer = self.issuer();
            let removed = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let directory = &issuer.directory;
                let tenant = directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
                let (group, entities) = (&message.entity_group_id, &message.entity_ids);
                directory.remove_entities(&call.caller, &tenant, group, entities).await
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
            let (admitted, message) = open(request)?;
            let call = self.issuer.prove(&convert::bearer(&admitted)?, FULL).await?;
            let directory = &self.issuer.directory;
            let tenant = directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
            let (name, slot) = (tenant.to_string(), &message.entity_group_id);
            let keys = &message.return_metadata_keys;
            let query = ["ListGroupEntities", &name, slot].into_iter().chain(keys.iter().map(String::as_str));
            let query: Vec<_> = query.map(str::as_bytes).collect();
            let page = PageRequest::new(message.page_size, &message.page_token, &call.caller, &query, &directory.ring)?;
            let page = directory.list_group_entities(&call.caller, &tenant, slot, &page).await?;
            Ok(wire::ListGroupEntitiesResponse {
                entities: page.items.iter().map(|account| entity(account, keys)).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }
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
        entity_count: i64::try_from(group.entity_count).unwrap_or(i64::MAX),
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

/// A call names at most 1,000 accounts.
fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

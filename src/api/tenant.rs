//! TenantService.

use tonic::{Request, async_trait};

use super::{
    Services,
    call::{Reply, reply},
    convert::{self, given, profile, role, tenant},
    wire::{self, tenant_service_server::TenantService},
};
use crate::{
    directory::{
        profiles,
        record::{State, Tenant},
        roles, tenants,
    },
    notation::filter::Filter,
};

#[async_trait]
impl TenantService for Services {
    async fn create_tenant(&self, request: Request<wire::CreateTenantRequest>) -> Reply<wire::CreateTenantResponse> {
        let (call, message, repeat) = self.enter_repeatable(request)?;
        let (id, patch) = tenant::create(message)?;
        let (tenant, position) = call.act(move |act| async move { act.create_tenant(id, patch, repeat).await }).await?;
        reply(wire::CreateTenantResponse { tenant: Some(self.tenant(&tenant)), position: convert::position(position) })
    }

    async fn get_tenant(&self, request: Request<wire::GetTenantRequest>) -> Reply<wire::GetTenantResponse> {
        let (call, wire::GetTenantRequest { .. }) = self.enter(request)?;
        let tenant = call.act(move |act| async move { act.tenant_of().await }).await?;
        reply(wire::GetTenantResponse { tenant: Some(self.tenant(&tenant)) })
    }

    async fn update_tenant(&self, request: Request<wire::UpdateTenantRequest>) -> Reply<wire::UpdateTenantResponse> {
        let (call, message) = self.enter(request)?;
        let (etag, patch) = tenant::update(message)?;
        let (tenant, position) = call.act(move |act| async move { act.update_tenant(&etag, patch).await }).await?;
        reply(wire::UpdateTenantResponse { tenant: Some(self.tenant(&tenant)), position: convert::position(position) })
    }

    async fn list_tenants(&self, request: Request<wire::ListTenantsRequest>) -> Reply<wire::ListTenantsResponse> {
        let (call, message, paging) = self.enter_list(request)?;
        let filter = Filter::parse(&message.filter, tenants::FIELDS)?;
        let page = call.list(paging, move |act, page| async move { act.list_tenants(&filter, &page).await }).await?;
        reply(wire::ListTenantsResponse {
            tenants: page.items.iter().map(|tenant| self.tenant(tenant)).collect(),
            next_page_token: page.next,
        })
    }

    async fn delete_tenant(&self, request: Request<wire::DeleteTenantRequest>) -> Reply<wire::DeleteTenantResponse> {
        let (call, message) = self.enter(request)?;
        let (_, position) = call
            .act(move |act| async move { act.set_tenant_state(given(&message.etag), State::Deleted).await })
            .await?;
        reply(wire::DeleteTenantResponse { position: convert::position(position) })
    }

    async fn enable_tenant(&self, request: Request<wire::EnableTenantRequest>) -> Reply<wire::EnableTenantResponse> {
        let (call, wire::EnableTenantRequest { .. }) = self.enter(request)?;
        let (tenant, position) =
            call.act(move |act| async move { act.set_tenant_state(None, State::Enabled).await }).await?;
        reply(wire::EnableTenantResponse { tenant: Some(self.tenant(&tenant)), position: convert::position(position) })
    }

    async fn disable_tenant(&self, request: Request<wire::DisableTenantRequest>) -> Reply<wire::DisableTenantResponse> {
        let (call, wire::DisableTenantRequest { .. }) = self.enter(request)?;
        let (tenant, position) =
            call.act(move |act| async move { act.set_tenant_state(None, State::Disabled).await }).await?;
        reply(wire::DisableTenantResponse { tenant: Some(self.tenant(&tenant)), position: convert::position(position) })
    }

    async fn admit_client(&self, request: Request<wire::AdmitClientRequest>) -> Reply<wire::AdmitClientResponse> {
        let (call, message) = self.enter(request)?;
        let (client, ceiling, account) = tenant::admit(message);
        let (admission, position) =
            call.act(move |act| async move { act.admit_client(&client, ceiling, account.as_deref()).await }).await?;
        reply(wire::AdmitClientResponse {
            admission: Some(tenant::admission(&admission)),
            position: convert::position(position),
        })
    }

    async fn expel_client(&self, request: Request<wire::ExpelClientRequest>) -> Reply<wire::ExpelClientResponse> {
        let (call, message) = self.enter(request)?;
        let position = call.act(move |act| async move { act.expel_client(&message.client_id).await }).await?;
        reply(wire::ExpelClientResponse { position: convert::position(position) })
    }

    async fn list_admitted_clients(
        &self,
        request: Request<wire::ListAdmittedClientsRequest>,
    ) -> Reply<wire::ListAdmittedClientsResponse> {
        let (call, wire::ListAdmittedClientsRequest { .. }, paging) = self.enter_list(request)?;
        let page = call.list(paging, move |act, page| async move { act.list_admissions(&page).await }).await?;
        reply(wire::ListAdmittedClientsResponse {
            admissions: page.items.iter().map(|admission| tenant::admission(admission)).collect(),
            next_page_token: page.next,
        })
    }

    async fn rotate_signing_key(
        &self,
        request: Request<wire::RotateSigningKeyRequest>,
    ) -> Reply<wire::RotateSigningKeyResponse> {
        let (call, wire::RotateSigningKeyRequest { .. }) = self.enter(request)?;
        let (key, position) = call.act(move |act| async move { act.rotate_signing_key().await }).await?;
        reply(wire::RotateSigningKeyResponse {
            key: Some(tenant::key(&key, self.now())?),
            position: convert::position(position),
        })
    }

    async fn revoke_signing_key(
        &self,
        request: Request<wire::RevokeSigningKeyRequest>,
    ) -> Reply<wire::RevokeSigningKeyResponse> {
        let (call, message) = self.enter(request)?;
        let (key, position) = call.act(move |act| async move { act.revoke_signing_key(&message.key_id).await }).await?;
        reply(wire::RevokeSigningKeyResponse {
            key: Some(tenant::key(&key, self.now())?),
            position: convert::position(position),
        })
    }

    async fn create_role(&self, request: Request<wire::CreateRoleRequest>) -> Reply<wire::CreateRoleResponse> {
        let (call, message, repeat) = self.enter_repeatable(request)?;
        let (account, patch) = role::create(message);
        let (role, position) =
            call.act(move |act| async move { act.create_role(account.as_deref(), patch, repeat).await }).await?;
        reply(wire::CreateRoleResponse { role: Some(role::to_wire(&role)), position: convert::position(position) })
    }

    async fn get_role(&self, request: Request<wire::GetRoleRequest>) -> Reply<wire::GetRoleResponse> {
        let (call, message) = self.enter(request)?;
        let role = call.act(move |act| async move { act.reachable_role(&message.role_id).await }).await?;
        reply(wire::GetRoleResponse { role: Some(role::to_wire(&role)) })
    }

    async fn update_role(&self, request: Request<wire::UpdateRoleRequest>) -> Reply<wire::UpdateRoleResponse> {
        let (call, message) = self.enter(request)?;
        let (id, etag, patch) = role::update(message)?;
        let (role, position) = call.act(move |act| async move { act.update_role(&id, &etag, patch).await }).await?;
        reply(wire::UpdateRoleResponse { role: Some(role::to_wire(&role)), position: convert::position(position) })
    }

    async fn delete_role(&self, request: Request<wire::DeleteRoleRequest>) -> Reply<wire::DeleteRoleResponse> {
        let (call, message) = self.enter(request)?;
        let position =
            call.act(move |act| async move { act.delete_role(&message.role_id, &message.etag).await }).await?;
        reply(wire::DeleteRoleResponse { position: convert::position(position) })
    }

    async fn list_roles(&self, request: Request<wire::ListRolesRequest>) -> Reply<wire::ListRolesResponse> {
        let (call, message, paging) = self.enter_list(request)?;
        let filter = Filter::parse(&message.filter, roles::FIELDS)?;
        let page =
            call.list(paging, move |act, page| async move {
                act.list_roles(given(&message.account_id), &filter, &page).await
            })
            .await?;
        reply(wire::ListRolesResponse {
            roles: page.items.iter().map(|role| role::to_wire(role)).collect(),
            next_page_token: page.next,
        })
    }

    async fn create_identity_profile(
        &self,
        request: Request<wire::CreateIdentityProfileRequest>,
    ) -> Reply<wire::CreateIdentityProfileResponse> {
        let (call, message, repeat) = self.enter_repeatable(request)?;
        let patch = profile::create(message);
        let (profile, position) = call.act(move |act| async move { act.create_profile(patch, repeat).await }).await?;
        reply(wire::CreateIdentityProfileResponse {
            identity_profile: Some(profile::to_wire(&profile)),
            position: convert::position(position),
        })
    }

    async fn get_identity_profile(
        &self,
        request: Request<wire::GetIdentityProfileRequest>,
    ) -> Reply<wire::GetIdentityProfileResponse> {
        let (call, message) = self.enter(request)?;
        let profile =
            call.act(move |act| async move { act.reachable_profile(&message.identity_profile_id).await }).await?;
        reply(wire::GetIdentityProfileResponse { identity_profile: Some(profile::to_wire(&profile)) })
    }

    async fn update_identity_profile(
        &self,
        request: Request<wire::UpdateIdentityProfileRequest>,
    ) -> Reply<wire::UpdateIdentityProfileResponse> {
        let (call, message) = self.enter(request)?;
        let (id, etag, patch) = profile::update(message)?;
        let (profile, position) =
            call.act(move |act| async move { act.update_profile(&id, &etag, patch).await }).await?;
        reply(wire::UpdateIdentityProfileResponse {
            identity_profile: Some(profile::to_wire(&profile)),
            position: convert::position(position),
        })
    }

    async fn delete_identity_profile(
        &self,
        request: Request<wire::DeleteIdentityProfileRequest>,
    ) -> Reply<wire::DeleteIdentityProfileResponse> {
        let (call, message) = self.enter(request)?;
        let position = call
            .act(move |act| async move { act.delete_profile(&message.identity_profile_id, &message.etag).await })
            .await?;
        reply(wire::DeleteIdentityProfileResponse { position: convert::position(position) })
    }

    async fn list_identity_profiles(
        &self,
        request: Request<wire::ListIdentityProfilesRequest>,
    ) -> Reply<wire::ListIdentityProfilesResponse> {
        let (call, message, paging) = self.enter_list(request)?;
        let filter = Filter::parse(&message.filter, profiles::FIELDS)?;
        let page = call.list(paging, move |act, page| async move { act.list_profiles(&filter, &page).await }).await?;
        reply(wire::ListIdentityProfilesResponse {
            identity_profiles: page.items.iter().map(|profile| profile::to_wire(profile)).collect(),
            next_page_token: page.next,
        })
    }
}

impl Services {
    fn tenant(&self, tenant: &Tenant) -> wire::Tenant {
        tenant::to_wire(tenant, self.directory.issuer(&tenant.id))
    }
}

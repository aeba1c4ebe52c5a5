//! TenantService.

use tonic::{Request, Response, Status, async_trait};

use super::{
    Services,
    convert::{self, Mask, answer, given},
    profile, role, settings, tenancy,
    wire::{self, tenant_service_server::TenantService},
};
use crate::{
    directory::{
        profiles,
        record::{State, Tenant, etag},
        roles, tenants,
    },
    token::{Error, Result, Scopes, filter::Filter},
};

type Reply<T> = Result<Response<T>, Status>;

#[async_trait]
impl TenantService for Services {
    async fn create_tenant(&self, request: Request<wire::CreateTenantRequest>) -> Reply<wire::CreateTenantResponse> {
        answer(async {
            let (call, mut message) = self.enter(request)?;
            let request_id = std::mem::take(&mut message.request_id);
            let repeat = convert::repeat(&request_id, "CreateTenant", &message)?;
            let tenant = message.tenant.unwrap_or_default();
            let id = given(&tenant.tenant_id)
                .map(|id| {
                    id.parse().map_err(|_| Error::field("tenant.tenant_id", "must not begin with a reserved prefix"))
                })
                .transpose()?;
            let patch = tenancy::patch(&tenant, &Mask::new(None, "Tenant", &[])?)?;
            let created = call
                .act(move |issuer, act| async move { issuer.directory.create_tenant(&act, id, patch, repeat).await });
            let (tenant, position) = created.await?;
            Ok(wire::CreateTenantResponse { tenant: Some(self.tenant(&tenant)), position: convert::position(position) })
        })
        .await
    }

    async fn get_tenant(&self, request: Request<wire::GetTenantRequest>) -> Reply<wire::GetTenantResponse> {
        answer(async {
            let (call, wire::GetTenantRequest { .. }) = self.enter(request)?;
            let tenant = call.act(|issuer, act| async move { issuer.directory.tenant_of(&act).await }).await?;
            Ok(wire::GetTenantResponse { tenant: Some(self.tenant(&tenant)) })
        })
        .await
    }

    async fn update_tenant(&self, request: Request<wire::UpdateTenantRequest>) -> Reply<wire::UpdateTenantResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let tenant = message.tenant.unwrap_or_default();
            let mask = Mask::new(message.update_mask.as_ref(), "Tenant", tenancy::CHANGEABLE)?;
            let patch = tenancy::patch(&tenant, &mask)?;
            let updated = call
                .act(move |issuer, act| async move { issuer.directory.update_tenant(&act, &tenant.etag, patch).await });
            let (tenant, position) = updated.await?;
            Ok(wire::UpdateTenantResponse { tenant: Some(self.tenant(&tenant)), position: convert::position(position) })
        })
        .await
    }

    async fn list_tenants(&self, request: Request<wire::ListTenantsRequest>) -> Reply<wire::ListTenantsResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let filter = Filter::parse(&message.filter, tenants::FIELDS)?;
            let listed = call.act(move |issuer, act| async move {
                let query = ["ListTenants", &message.filter];
                let page = issuer.directory.page(&act, message.page_size, &message.page_token, &query)?;
                issuer.directory.list_tenants(&act, &filter, &page).await
            });
            let page = listed.await?;
            Ok(wire::ListTenantsResponse {
                tenants: page.items.iter().map(|tenant| self.tenant(tenant)).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }

    async fn delete_tenant(&self, request: Request<wire::DeleteTenantRequest>) -> Reply<wire::DeleteTenantResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let deleted = call.act(move |issuer, act| async move {
                issuer.directory.set_tenant_state(&act, given(&message.etag), State::Deleted).await
            });
            let (_, position) = deleted.await?;
            Ok(wire::DeleteTenantResponse { position: convert::position(position) })
        })
        .await
    }

    async fn enable_tenant(&self, request: Request<wire::EnableTenantRequest>) -> Reply<wire::EnableTenantResponse> {
        answer(async {
            let (call, wire::EnableTenantRequest { .. }) = self.enter(request)?;
            let enabled = call.act(move |issuer, act| async move {
                issuer.directory.set_tenant_state(&act, None, State::Enabled).await
            });
            let (tenant, position) = enabled.await?;
            Ok(wire::EnableTenantResponse { tenant: Some(self.tenant(&tenant)), position: convert::position(position) })
        })
        .await
    }

    async fn disable_tenant(&self, request: Request<wire::DisableTenantRequest>) -> Reply<wire::DisableTenantResponse> {
        answer(async {
            let (call, wire::DisableTenantRequest { .. }) = self.enter(request)?;
            let disabled = call.act(move |issuer, act| async move {
                issuer.directory.set_tenant_state(&act, None, State::Disabled).await
            });
            let (tenant, position) = disabled.await?;
            Ok(wire::DisableTenantResponse {
                tenant: Some(self.tenant(&tenant)),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn admit_client(&self, request: Request<wire::AdmitClientRequest>) -> Reply<wire::AdmitClientResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let admission = message.admission.unwrap_or_default();
            let done = call.act(move |issuer, act| async move {
                let ceiling = (Scopes::new(&admission.scopes), admission.audiences.clone());
                let account = given(&admission.account_id);
                issuer.directory.admit_client(&act, &admission.client_id, ceiling, account).await
            });
            let (admission, position) = done.await?;
            Ok(wire::AdmitClientResponse {
                admission: Some(tenancy::admission(&admission)),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn expel_client(&self, request: Request<wire::ExpelClientRequest>) -> Reply<wire::ExpelClientResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let position = call
                .act(move |issuer, act| async move { issuer.directory.expel_client(&act, &message.client_id).await });
            Ok(wire::ExpelClientResponse { position: convert::position(position.await?) })
        })
        .await
    }

    async fn list_admitted_clients(
        &self,
        request: Request<wire::ListAdmittedClientsRequest>,
    ) -> Reply<wire::ListAdmittedClientsResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let listed = call.act(move |issuer, act| async move {
                let query = ["ListAdmittedClients"];
                let page = issuer.directory.page(&act, message.page_size, &message.page_token, &query)?;
                issuer.directory.list_admissions(&act, &page).await
            });
            let page = listed.await?;
            Ok(wire::ListAdmittedClientsResponse {
                admissions: page.items.iter().map(|admission| tenancy::admission(admission)).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }

    async fn rotate_signing_key(
        &self,
        request: Request<wire::RotateSigningKeyRequest>,
    ) -> Reply<wire::RotateSigningKeyResponse> {
        answer(async {
            let (call, wire::RotateSigningKeyRequest { .. }) = self.enter(request)?;
            let rotated = call.act(move |issuer, act| async move { issuer.directory.rotate_signing_key(&act).await });
            let (key, position) = rotated.await?;
            let key = tenancy::key(&key, self.now())?;
            Ok(wire::RotateSigningKeyResponse { key: Some(key), position: convert::position(position) })
        })
        .await
    }

    async fn revoke_signing_key(
        &self,
        request: Request<wire::RevokeSigningKeyRequest>,
    ) -> Reply<wire::RevokeSigningKeyResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let revoked =
                call.act(
                    move |issuer, act| async move { issuer.directory.revoke_signing_key(&act, &message.key_id).await },
                );
            let (key, position) = revoked.await?;
            let key = tenancy::key(&key, self.now())?;
            Ok(wire::RevokeSigningKeyResponse { key: Some(key), position: convert::position(position) })
        })
        .await
    }

    async fn create_role(&self, request: Request<wire::CreateRoleRequest>) -> Reply<wire::CreateRoleResponse> {
        answer(async {
            let (call, mut message) = self.enter(request)?;
            let request_id = std::mem::take(&mut message.request_id);
            let repeat = convert::repeat(&request_id, "CreateRole", &message)?;
            let role = message.role.unwrap_or_default();
            let patch = role::patch(&role, None)?;
            let created = call.act(move |issuer, act| async move {
                issuer.directory.create_role(&act, given(&role.account_id), patch, repeat).await
            });
            let (role, position) = created.await?;
            let position = convert::position(position);
            Ok(wire::CreateRoleResponse { role: Some(role::to_wire(&role)), position })
        })
        .await
    }

    async fn get_role(&self, request: Request<wire::GetRoleRequest>) -> Reply<wire::GetRoleResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let role = call
                .act(move |issuer, act| async move { issuer.directory.reachable_role(&act, &message.role_id).await })
                .await?;
            Ok(wire::GetRoleResponse { role: Some(role::to_wire(&role)) })
        })
        .await
    }

    async fn update_role(&self, request: Request<wire::UpdateRoleRequest>) -> Reply<wire::UpdateRoleResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let role = message.role.unwrap_or_default();
            if role.role_id.is_empty() {
                return Err(Error::field("role.role_id", "must be set"));
            }
            let patch = role::patch(&role, message.update_mask.as_ref())?;
            let updated = call.act(move |issuer, act| async move {
                issuer.directory.update_role(&act, &role.role_id, &role.etag, patch).await
            });
            let (role, position) = updated.await?;
            let position = convert::position(position);
            Ok(wire::UpdateRoleResponse { role: Some(role::to_wire(&role)), position })
        })
        .await
    }

    async fn delete_role(&self, request: Request<wire::DeleteRoleRequest>) -> Reply<wire::DeleteRoleResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let deleted = call.act(move |issuer, act| async move {
                issuer.directory.delete_role(&act, &message.role_id, &message.etag).await
            });
            Ok(wire::DeleteRoleResponse { position: convert::position(deleted.await?) })
        })
        .await
    }

    async fn list_roles(&self, request: Request<wire::ListRolesRequest>) -> Reply<wire::ListRolesResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let filter = Filter::parse(&message.filter, roles::FIELDS)?;
            let listed = call.act(move |issuer, act| async move {
                let query = ["ListRoles", &message.account_id, &message.filter];
                let page = issuer.directory.page(&act, message.page_size, &message.page_token, &query)?;
                issuer.directory.list_roles(&act, given(&message.account_id), &filter, &page).await
            });
            let page = listed.await?;
            Ok(wire::ListRolesResponse {
                roles: page.items.iter().map(|role| role::to_wire(role)).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }

    async fn create_identity_profile(
        &self,
        request: Request<wire::CreateIdentityProfileRequest>,
    ) -> Reply<wire::CreateIdentityProfileResponse> {
        answer(async {
            let (call, mut message) = self.enter(request)?;
            let request_id = std::mem::take(&mut message.request_id);
            let repeat = convert::repeat(&request_id, "CreateIdentityProfile", &message)?;
            let patch = profile::patch(message.identity_profile.unwrap_or_default(), None)?;
            let created =
                call.act(move |issuer, act| async move { issuer.directory.create_profile(&act, patch, repeat).await });
            let (profile, position) = created.await?;
            let (identity_profile, position) = (Some(profile::to_wire(&profile)), convert::position(position));
            Ok(wire::CreateIdentityProfileResponse { identity_profile, position })
        })
        .await
    }

    async fn get_identity_profile(
        &self,
        request: Request<wire::GetIdentityProfileRequest>,
    ) -> Reply<wire::GetIdentityProfileResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let profile = call
                .act(move |issuer, act| async move {
                    issuer.directory.reachable_profile(&act, &message.identity_profile_id).await
                })
                .await?;
            Ok(wire::GetIdentityProfileResponse { identity_profile: Some(profile::to_wire(&profile)) })
        })
        .await
    }

    async fn update_identity_profile(
        &self,
        request: Request<wire::UpdateIdentityProfileRequest>,
    ) -> Reply<wire::UpdateIdentityProfileResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let profile = message.identity_profile.unwrap_or_default();
            let (id, etag) = profile::named(&profile)?;
            let patch = profile::patch(profile, message.update_mask.as_ref())?;
            let updated = call
                .act(move |issuer, act| async move { issuer.directory.update_profile(&act, &id, &etag, patch).await });
            let (profile, position) = updated.await?;
            let (identity_profile, position) = (Some(profile::to_wire(&profile)), convert::position(position));
            Ok(wire::UpdateIdentityProfileResponse { identity_profile, position })
        })
        .await
    }

    async fn delete_identity_profile(
        &self,
        request: Request<wire::DeleteIdentityProfileRequest>,
    ) -> Reply<wire::DeleteIdentityProfileResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let wire::DeleteIdentityProfileRequest { identity_profile_id, etag, .. } = message;
            let deleted = call.act(move |issuer, act| async move {
                issuer.directory.delete_profile(&act, &identity_profile_id, &etag).await
            });
            Ok(wire::DeleteIdentityProfileResponse { position: convert::position(deleted.await?) })
        })
        .await
    }

    async fn list_identity_profiles(
        &self,
        request: Request<wire::ListIdentityProfilesRequest>,
    ) -> Reply<wire::ListIdentityProfilesResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let filter = Filter::parse(&message.filter, profiles::FIELDS)?;
            let listed = call.act(move |issuer, act| async move {
                let query = ["ListIdentityProfiles", &message.filter];
                let page = issuer.directory.page(&act, message.page_size, &message.page_token, &query)?;
                issuer.directory.list_profiles(&act, &filter, &page).await
            });
            let page = listed.await?;
            Ok(wire::ListIdentityProfilesResponse {
                identity_profiles: page.items.iter().map(|profile| profile::to_wire(profile)).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }
}

impl Services {
    fn tenant(&self, tenant: &Tenant) -> wire::Tenant {
        let issuer = self.issuer.directory.issuer(&tenant.id);
        let state = match tenant.state {
            State::Enabled => wire::TenantState::Enabled,
            State::Disabled | State::Deleted => wire::TenantState::Disabled,
        };
        wire::Tenant {
            tenant_id: tenant.id.to_string(),
            display_name: tenant.display_name.clone(),
            state: state.into(),
            service_urls: tenant.service_urls.clone(),
            settings: Some(settings::to_wire(&tenant.settings, &issuer)),
            create_time: Some(convert::timestamp(tenant.created)),
            update_time: Some(convert::timestamp(tenant.updated)),
            etag: etag(tenant.version),
            issuer,
        }
    }
}

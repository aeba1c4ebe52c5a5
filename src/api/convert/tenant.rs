//! Tenants on the wire, and what belongs to them: admissions and signing keys.

use jeton_core::{Scopes, TenantId, Time};

use super::{Mask, given, jwk, moment, set, settings, timestamp};
use crate::{
    api::wire,
    directory::{
        record::{Admission, State, Tenant, etag},
        tenants::TenantPatch,
    },
    error::{Error, Result},
    keys::stored::{State as KeyState, StoredKey},
};

/// The id that a new tenant wants, if any, and its fields.
pub fn create(message: wire::CreateTenantRequest) -> Result<(Option<TenantId>, TenantPatch)> {
    let tenant = message.tenant.unwrap_or_default();
    let parse =
        |id: &str| id.parse().map_err(|_| Error::field("tenant.tenant_id", "must not begin with a reserved prefix"));
    let id = given(&tenant.tenant_id).map(parse).transpose()?;
    Ok((id, patch(&tenant, &Mask::CREATION)?))
}

/// From which etag the tenant changes, and what of it.
pub fn update(message: wire::UpdateTenantRequest) -> Result<(String, TenantPatch)> {
    let tenant = message.tenant.unwrap_or_default();
    let patch = patch(&tenant, &Mask::new(message.update_mask.as_ref(), "Tenant", CHANGEABLE)?)?;
    Ok((tenant.etag, patch))
}

/// Which client is admitted, to which scopes and audiences at most, and the account that it is confined to.
pub fn admit(message: wire::AdmitClientRequest) -> (String, (Scopes, Vec<String>), Option<String>) {
    let wire::Admission { client_id, scopes, audiences, account_id, .. } = message.admission.unwrap_or_default();
    (client_id, (Scopes::new(&scopes), audiences), set(account_id))
}

/// The tenant; `issuer` is its own.
pub fn to_wire(tenant: &Tenant, issuer: String) -> wire::Tenant {
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
        create_time: Some(timestamp(tenant.created)),
        update_time: Some(timestamp(tenant.updated)),
        etag: etag(tenant.version),
        issuer,
    }
}

/// The fields that an update mask can name.
const CHANGEABLE: &[&str] = &[
    "display_name",
    "service_urls",
    "settings",
    "settings.client_token_ttl",
    "settings.account_token_ttl",
    "settings.member_token_ttl",
    "settings.max_token_ttl",
    "settings.refresh_idle_ttl",
    "settings.refresh_absolute_ttl",
    "settings.replay_window",
    "settings.session_idle_ttl",
    "settings.eternal_tokens",
    "settings.default_audience",
    "settings.signing_algorithm",
    "settings.key_rotation_period",
    "settings.key_announcement",
    "settings.account_member_limit",
    "settings.membership_limit",
    "settings.self_signup",
    "settings.auto_create_account",
    "settings.member_self_management",
    "settings.duplicate_email_policy",
    "settings.authenticated_member_token_ttl",
    "settings.group_token_ttl",
    "settings.max_management_token_ttl",
];

fn patch(tenant: &wire::Tenant, mask: &Mask<'_>) -> Result<TenantPatch> {
    Ok(TenantPatch {
        display_name: mask
            .changes("display_name", !tenant.display_name.is_empty())
            .then(|| tenant.display_name.clone()),
        service_urls: mask
            .changes("service_urls", !tenant.service_urls.is_empty())
            .then(|| tenant.service_urls.clone()),
        settings: settings::patch(&tenant.settings.clone().unwrap_or_default(), mask)?,
    })
}

pub fn admission(admission: &Admission) -> wire::Admission {
    wire::Admission {
        client_id: admission.client.to_string(),
        scopes: admission.scopes.to_vec(),
        audiences: admission.audiences.clone(),
        account_id: admission.confinement.as_ref().map(|own| own.account.to_string()).unwrap_or_default(),
        create_time: Some(timestamp(admission.created)),
        update_time: Some(timestamp(admission.updated)),
    }
}

pub fn key(key: &StoredKey, now: Time) -> Result<wire::SigningKey> {
    use wire::signing_key::State as Wire;
    let state = match key.state(now) {
        KeyState::Announced => Wire::Announced,
        KeyState::Active => Wire::Active,
        KeyState::Retiring => Wire::Retiring,
        KeyState::Revoked | KeyState::Removed => Wire::Revoked,
    };
    Ok(wire::SigningKey {
        key_id: key.id.to_string(),
        algorithm: settings::algorithm(key.algorithm).into(),
        state: state.into(),
        public_key: Some(jwk(key)?),
        create_time: Some(timestamp(key.created)),
        activate_time: Some(timestamp(key.activates)),
        retire_time: moment(key.retires),
        remove_time: moment(key.removes()),
    })
}

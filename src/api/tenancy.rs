//! Tenants on the wire, and what belongs to them: admissions and signing keys.

use super::{
    convert::{self, Mask},
    settings, wire,
};
use crate::{
    ambient::Time,
    directory::{record::Admission, tenants::TenantPatch},
    keys::signing::{State as KeyState, StoredKey},
    token::Result,
};

/// The fields that an update mask can name.
pub(super) const CHANGEABLE: &[&str] = &[
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

pub(super) fn patch(tenant: &wire::Tenant, mask: &Mask<'_>) -> Result<TenantPatch> {
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

pub(super) fn admission(admission: &Admission) -> wire::Admission {
    wire::Admission {
        client_id: admission.client.to_string(),
        scopes: admission.scopes.to_vec(),
        audiences: admission.audiences.clone(),
        account_id: admission.confinement.as_ref().map(|own| own.account.to_string()).unwrap_or_default(),
        create_time: Some(convert::timestamp(admission.created)),
        update_time: Some(convert::timestamp(admission.updated)),
    }
}

pub(super) fn key(key: &StoredKey, now: Time) -> Result<wire::SigningKey> {
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
        public_key: Some(convert::jwk(key)?),
        create_time: Some(convert::timestamp(key.created)),
        activate_time: Some(convert::timestamp(key.activates)),
        retire_time: convert::moment(key.retires),
        remove_time: convert::moment(key.removes()),
    })
}

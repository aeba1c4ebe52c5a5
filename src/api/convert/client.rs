//! Clients on the wire.

use jeton_core::{GrantType, Scopes, family::RenewalPolicy};

use super::{Mask, duration, positive, required, set, timestamp};
use crate::{
    api::wire,
    directory::{
        clients::ClientPatch,
        record::{Client, Grantable, State, WorkloadIdentity, etag},
    },
    error::Result,
    keys::jwk::Jwk,
};

/// The account that a new client is confined to, and its fields.
pub fn create(message: wire::CreateClientRequest) -> Result<(Option<String>, ClientPatch)> {
    let client = message.client.unwrap_or_default();
    let patch = patch(&client, &Mask::CREATION)?;
    Ok((set(client.account_id), patch))
}

/// Which client changes, from which etag, and what of it.
pub fn update(message: wire::UpdateClientRequest) -> Result<(String, String, ClientPatch)> {
    let client = message.client.unwrap_or_default();
    let mask = Mask::new(message.update_mask.as_ref(), "Client", CHANGEABLE)?;
    let id = required("client.client_id", client.client_id.clone())?;
    let patch = patch(&client, &mask)?;
    Ok((id, client.etag, patch))
}

/// The fields that an update mask can name.
const CHANGEABLE: &[&str] = &[
    "display_name",
    "allowed_grants",
    "allowed_scopes",
    "default_scopes",
    "audiences",
    "introspects",
    "token_ttl",
    "refresh_idle_ttl",
    "refresh_absolute_ttl",
    "replay_window",
    "renewal_policy",
    "labels",
    "jwks",
    "jwks_uri",
    "workload_identities",
    "certificate_identities",
    "grantable",
];

fn patch(client: &wire::Client, mask: &Mask<'_>) -> Result<ClientPatch> {
    let optional = |name: &str, ttl: Option<prost_types::Duration>| {
        if !mask.changes(name, ttl.is_some()) {
            return Ok(None);
        }
        ttl.map(|ttl| positive(&format!("client.{name}"), ttl)).transpose().map(Some)
    };
    let list = |name: &str, list: &Vec<String>| mask.changes(name, !list.is_empty()).then(|| list.clone());
    let scopes = |name: &str, list: &Vec<String>| mask.changes(name, !list.is_empty()).then(|| Scopes::new(list));
    let policy = match client.renewal_policy() {
        wire::RenewalPolicy::Unspecified | wire::RenewalPolicy::Always => RenewalPolicy::Always,
        wire::RenewalPolicy::Never => RenewalPolicy::Never,
        wire::RenewalPolicy::NearExpiry => RenewalPolicy::NearExpiry,
    };
    Ok(ClientPatch {
        display_name: mask
            .changes("display_name", !client.display_name.is_empty())
            .then(|| client.display_name.clone()),
        allowed_grants: mask
            .changes("allowed_grants", !client.allowed_grants.is_empty())
            .then(|| client.allowed_grants().filter_map(grant_from_wire).collect()),
        allowed_scopes: scopes("allowed_scopes", &client.allowed_scopes),
        default_scopes: scopes("default_scopes", &client.default_scopes),
        audiences: list("audiences", &client.audiences),
        introspects: list("introspects", &client.introspects),
        token_ttl: optional("token_ttl", client.token_ttl)?,
        refresh_idle_ttl: optional("refresh_idle_ttl", client.refresh_idle_ttl)?,
        refresh_absolute_ttl: optional("refresh_absolute_ttl", client.refresh_absolute_ttl)?,
        replay_window: optional("replay_window", client.replay_window)?,
        renewal_policy: mask.changes("renewal_policy", client.renewal_policy != 0).then_some(policy),
        labels: mask.changes("labels", !client.labels.is_empty()).then(|| client.labels.clone()),
        jwks: mask
            .changes("jwks", !client.jwks.is_empty())
            .then(|| client.jwks.iter().cloned().map(jwk_from_wire).collect()),
        jwks_uri: mask.changes("jwks_uri", !client.jwks_uri.is_empty()).then(|| set(client.jwks_uri.clone())),
        workload_identities: mask
            .changes("workload_identities", !client.workload_identities.is_empty())
            .then(|| client.workload_identities.iter().cloned().map(identity_from_wire).collect()),
        certificate_identities: list("certificate_identities", &client.certificate_identities),
        grantable: if mask.changes("grantable", client.grantable.is_some()) {
            Some(client.grantable.clone().map(grantable_from_wire).transpose()?)
        } else {
            None
        },
    })
}

fn grantable_from_wire(grantable: wire::Grantable) -> Result<Grantable> {
    let ttl = |name: &str, ttl: Option<prost_types::Duration>| {
        ttl.map(|ttl| positive(&format!("client.grantable.{name}"), ttl)).transpose()
    };
    Ok(Grantable {
        grants: grantable.grants().filter_map(grant_from_wire).collect(),
        scopes: Scopes::new(&grantable.scopes),
        token_ttl: ttl("token_ttl", grantable.token_ttl)?,
        refresh_idle_ttl: ttl("refresh_idle_ttl", grantable.refresh_idle_ttl)?,
        refresh_absolute_ttl: ttl("refresh_absolute_ttl", grantable.refresh_absolute_ttl)?,
        audiences: grantable.audiences,
        introspects: grantable.introspects,
    })
}

fn grantable_to_wire(grantable: Grantable) -> wire::Grantable {
    let Grantable { scopes, audiences, introspects, grants, token_ttl, refresh_idle_ttl, refresh_absolute_ttl } =
        grantable;
    wire::Grantable {
        scopes: scopes.to_vec(),
        audiences,
        introspects,
        grants: grants.iter().map(grant_to_wire).collect(),
        token_ttl: token_ttl.map(duration),
        refresh_idle_ttl: refresh_idle_ttl.map(duration),
        refresh_absolute_ttl: refresh_absolute_ttl.map(duration),
    }
}

fn grant_to_wire(grant: &GrantType) -> i32 {
    match grant {
        GrantType::ClientCredentials => wire::GrantType::ClientCredentials.into(),
        GrantType::Account => wire::GrantType::Account.into(),
        GrantType::Member => wire::GrantType::Member.into(),
        GrantType::EntityGroup => wire::GrantType::EntityGroup.into(),
        GrantType::TokenExchange => wire::GrantType::TokenExchange.into(),
        GrantType::Workload => wire::GrantType::Workload.into(),
        GrantType::AuthenticatedMember => wire::GrantType::AuthenticatedMember.into(),
    }
}

const fn grant_from_wire(grant: wire::GrantType) -> Option<GrantType> {
    match grant {
        wire::GrantType::Unspecified => None,
        wire::GrantType::ClientCredentials => Some(GrantType::ClientCredentials),
        wire::GrantType::Account => Some(GrantType::Account),
        wire::GrantType::Member => Some(GrantType::Member),
        wire::GrantType::EntityGroup => Some(GrantType::EntityGroup),
        wire::GrantType::TokenExchange => Some(GrantType::TokenExchange),
        wire::GrantType::Workload => Some(GrantType::Workload),
        wire::GrantType::AuthenticatedMember => Some(GrantType::AuthenticatedMember),
    }
}

fn jwk_from_wire(key: wire::JsonWebKey) -> Jwk {
    let wire::JsonWebKey { kty, r#use: usage, alg, kid, crv, x, y, n, e } = key;
    Jwk { kty, usage, alg, kid, crv, x, y, n, e }
}

fn jwk_to_wire(key: Jwk) -> wire::JsonWebKey {
    let Jwk { kty, usage, alg, kid, crv, x, y, n, e } = key;
    wire::JsonWebKey { kty, r#use: usage, alg, kid, crv, x, y, n, e }
}

fn identity_from_wire(identity: wire::WorkloadIdentity) -> WorkloadIdentity {
    let wire::WorkloadIdentity { issuer, subject } = identity;
    WorkloadIdentity { issuer, subject }
}

fn identity_to_wire(identity: WorkloadIdentity) -> wire::WorkloadIdentity {
    let WorkloadIdentity { issuer, subject } = identity;
    wire::WorkloadIdentity { issuer, subject }
}

pub fn to_wire(client: &Client) -> wire::Client {
    let state = match client.state {
        State::Enabled => wire::ClientState::Enabled,
        State::Disabled | State::Deleted => wire::ClientState::Disabled,
    };
    let policy = match client.renewal_policy {
        RenewalPolicy::Always => wire::RenewalPolicy::Always,
        RenewalPolicy::Never => wire::RenewalPolicy::Never,
        RenewalPolicy::NearExpiry => wire::RenewalPolicy::NearExpiry,
    };
    wire::Client {
        client_id: client.id.to_string(),
        tenant_id: client.tenant.to_string(),
        display_name: client.display_name.clone(),
        state: state.into(),
        allowed_grants: client.allowed_grants.iter().map(grant_to_wire).collect(),
        allowed_scopes: client.allowed_scopes.to_vec(),
        default_scopes: client.default_scopes.to_vec(),
        audiences: client.audiences.clone(),
        introspects: client.introspects.clone(),
        account_id: client.confinement.as_ref().map(|own| own.account.to_string()).unwrap_or_default(),
        token_ttl: client.token_ttl.map(duration),
        refresh_idle_ttl: client.refresh_idle_ttl.map(duration),
        refresh_absolute_ttl: client.refresh_absolute_ttl.map(duration),
        replay_window: client.replay_window.map(duration),
        renewal_policy: policy.into(),
        labels: client.labels.clone(),
        create_time: Some(timestamp(client.created)),
        update_time: Some(timestamp(client.updated)),
        etag: etag(client.version),
        jwks: client.jwks.iter().cloned().map(jwk_to_wire).collect(),
        jwks_uri: client.jwks_uri.clone().unwrap_or_default(),
        workload_identities: client.workload_identities.iter().cloned().map(identity_to_wire).collect(),
        certificate_identities: client.certificate_identities.clone(),
        grantable: client.grantable.clone().map(grantable_to_wire),
    }
}

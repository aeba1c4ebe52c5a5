//! ClientService.

use std::time::Duration;

use tonic::{Request, Response, Status, async_trait};

use super::{
    Services,
    convert::{self, Mask, answer, given},
    wire::{self, client_service_server::ClientService},
};
use crate::{
    ambient::Time,
    directory::{
        clients::{self, ClientPatch},
        credentials::{Secret, SecretUse, WorkloadIdentity},
        record::{Client, Grantable, State, etag},
    },
    keys::jwk::Jwk,
    token::{Error, GrantType, Result, Scopes, family::RenewalPolicy, filter::Filter},
};

type Reply<T> = Result<Response<T>, Status>;

#[async_trait]
impl ClientService for Services {
    async fn create_client(&self, request: Request<wire::CreateClientRequest>) -> Reply<wire::CreateClientResponse> {
        answer(async {
            let (call, mut message) = self.enter(request)?;
            let request_id = std::mem::take(&mut message.request_id);
            let repeat = convert::repeat(&request_id, "CreateClient", &message)?;
            let client = message.client.unwrap_or_default();
            let patch = patch(&client, &Mask::new(None, "Client", &[])?)?;
            let created = call.act(move |issuer, act| async move {
                issuer.directory.create_client(&act, given(&client.account_id), patch, repeat).await
            });
            let (client, shown, position) = created.await?;
            Ok(wire::CreateClientResponse {
                client: Some(to_wire(&client)),
                client_secret: shown.text.expose().to_owned(),
                secret_id: shown.secret.id_text(),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn get_client(&self, request: Request<wire::GetClientRequest>) -> Reply<wire::GetClientResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let client = call
                .act(
                    move |issuer, act| async move { issuer.directory.reachable_client(&act, &message.client_id).await },
                )
                .await?;
            Ok(wire::GetClientResponse { client: Some(to_wire(&client)) })
        })
        .await
    }

    async fn update_client(&self, request: Request<wire::UpdateClientRequest>) -> Reply<wire::UpdateClientResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let client = message.client.unwrap_or_default();
            let mask = Mask::new(message.update_mask.as_ref(), "Client", CHANGEABLE)?;
            if client.client_id.is_empty() {
                return Err(Error::field("client.client_id", "must be set"));
            }
            let patch = patch(&client, &mask)?;
            let updated = call.act(move |issuer, act| async move {
                issuer.directory.update_client(&act, &client.client_id, &client.etag, patch).await
            });
            let (client, position) = updated.await?;
            Ok(wire::UpdateClientResponse { client: Some(to_wire(&client)), position: convert::position(position) })
        })
        .await
    }

    async fn delete_client(&self, request: Request<wire::DeleteClientRequest>) -> Reply<wire::DeleteClientResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let deleted = call.act(move |issuer, act| async move {
                let etag = given(&message.etag);
                issuer.directory.set_client_state(&act, &message.client_id, etag, State::Deleted).await
            });
            let (_, position) = deleted.await?;
            Ok(wire::DeleteClientResponse { position: convert::position(position) })
        })
        .await
    }

    async fn list_clients(&self, request: Request<wire::ListClientsRequest>) -> Reply<wire::ListClientsResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let filter = Filter::parse(&message.filter, clients::FIELDS)?;
            let listed = call.act(move |issuer, act| async move {
                let query = ["ListClients", &message.filter];
                let page = issuer.directory.page(&act, message.page_size, &message.page_token, &query)?;
                issuer.directory.list_clients(&act, &filter, &page).await
            });
            let page = listed.await?;
            Ok(wire::ListClientsResponse {
                clients: page.items.iter().map(|client| to_wire(client)).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }

    async fn enable_client(&self, request: Request<wire::EnableClientRequest>) -> Reply<wire::EnableClientResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let enabled = call.act(move |issuer, act| async move {
                issuer.directory.set_client_state(&act, &message.client_id, None, State::Enabled).await
            });
            let (client, position) = enabled.await?;
            Ok(wire::EnableClientResponse { client: Some(to_wire(&client)), position: convert::position(position) })
        })
        .await
    }

    async fn disable_client(&self, request: Request<wire::DisableClientRequest>) -> Reply<wire::DisableClientResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let disabled = call.act(move |issuer, act| async move {
                issuer.directory.set_client_state(&act, &message.client_id, None, State::Disabled).await
            });
            let (client, position) = disabled.await?;
            Ok(wire::DisableClientResponse { client: Some(to_wire(&client)), position: convert::position(position) })
        })
        .await
    }

    async fn create_client_secret(
        &self,
        request: Request<wire::CreateClientSecretRequest>,
    ) -> Reply<wire::CreateClientSecretResponse> {
        answer(async {
            let (call, mut message) = self.enter(request)?;
            let request_id = std::mem::take(&mut message.request_id);
            let repeat = convert::repeat(&request_id, "CreateClientSecret", &message)?;
            let created = call.act(move |issuer, act| async move {
                issuer.directory.create_client_secret(&act, &message.client_id, repeat).await
            });
            let (shown, position) = created.await?;
            Ok(wire::CreateClientSecretResponse {
                secret: Some(secret_to_wire(&shown.secret, &SecretUse::default(), self.now())),
                client_secret: shown.text.expose().to_owned(),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn list_client_secrets(
        &self,
        request: Request<wire::ListClientSecretsRequest>,
    ) -> Reply<wire::ListClientSecretsResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let listed = call.act(move |issuer, act| async move {
                let client = issuer.directory.reachable_client(&act, &message.client_id).await?;
                let uses = issuer.directory.secret_use(&client).await?;
                Ok((client, uses))
            });
            let (client, uses) = listed.await?;
            let now = self.now();
            let secrets = client.secrets.iter().map(|secret| secret_to_wire(secret, &uses, now)).collect();
            Ok(wire::ListClientSecretsResponse { secrets })
        })
        .await
    }

    async fn revoke_client_secret(
        &self,
        request: Request<wire::RevokeClientSecretRequest>,
    ) -> Reply<wire::RevokeClientSecretResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let delay = message.delay.map_or(Ok(Duration::ZERO), |delay| convert::positive("delay", delay))?;
            let revoked = call.act(move |issuer, act| async move {
                issuer.directory.revoke_client_secret(&act, &message.client_id, &message.secret_id, delay).await
            });
            let (secret, position) = revoked.await?;
            Ok(wire::RevokeClientSecretResponse {
                secret: Some(secret_to_wire(&secret, &SecretUse::default(), self.now())),
                position: convert::position(position),
            })
        })
        .await
    }
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
        ttl.map(|ttl| convert::positive(&format!("client.{name}"), ttl)).transpose().map(Some)
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
        jwks_uri: mask
            .changes("jwks_uri", !client.jwks_uri.is_empty())
            .then(|| given(&client.jwks_uri).map(str::to_owned)),
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
        ttl.map(|ttl| convert::positive(&format!("client.grantable.{name}"), ttl)).transpose()
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
        token_ttl: token_ttl.map(convert::duration),
        refresh_idle_ttl: refresh_idle_ttl.map(convert::duration),
        refresh_absolute_ttl: refresh_absolute_ttl.map(convert::duration),
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

fn to_wire(client: &Client) -> wire::Client {
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
        token_ttl: client.token_ttl.map(convert::duration),
        refresh_idle_ttl: client.refresh_idle_ttl.map(convert::duration),
        refresh_absolute_ttl: client.refresh_absolute_ttl.map(convert::duration),
        replay_window: client.replay_window.map(convert::duration),
        renewal_policy: policy.into(),
        labels: client.labels.clone(),
        create_time: Some(convert::timestamp(client.created)),
        update_time: Some(convert::timestamp(client.updated)),
        etag: etag(client.version),
        jwks: client.jwks.iter().cloned().map(jwk_to_wire).collect(),
        jwks_uri: client.jwks_uri.clone().unwrap_or_default(),
        workload_identities: client.workload_identities.iter().cloned().map(identity_to_wire).collect(),
        certificate_identities: client.certificate_identities.clone(),
        grantable: client.grantable.clone().map(grantable_to_wire),
    }
}

fn secret_to_wire(secret: &Secret, uses: &SecretUse, now: Time) -> wire::ClientSecret {
    use wire::client_secret::State as Wire;
    let state = match secret.revokes {
        None => Wire::Active,
        Some(_) if secret.is_live(now) => Wire::ScheduledToRevoke,
        Some(_) => Wire::Revoked,
    };
    let id = secret.id_text();
    let used = uses.last.iter().find(|(used, _)| used.as_slice() == secret.id);
    wire::ClientSecret {
        mask: format!("jcs_…{}", id.get(id.len().saturating_sub(4)..).unwrap_or_default()),
        secret_id: id,
        state: state.into(),
        create_time: Some(convert::timestamp(secret.created)),
        revoke_time: secret.revokes.map(convert::timestamp),
        last_used_time: used.map(|(_, at)| convert::timestamp(*at)),
    }
}

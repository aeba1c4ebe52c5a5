//! ClientService.

use tonic::{Request, async_trait};

use super::{
    Services,
    call::{Reply, reply},
    convert::{self, client, given, secret},
    wire::{self, client_service_server::ClientService},
};
use crate::{
    directory::{clients, credentials::SecretUse, record::State},
    notation::filter::Filter,
};

#[async_trait]
impl ClientService for Services {
    async fn create_client(&self, request: Request<wire::CreateClientRequest>) -> Reply<wire::CreateClientResponse> {
        let (call, message, repeat) = self.enter_repeatable(request)?;
        let (account, patch) = client::create(message)?;
        let (client, shown, position) =
            call.act(move |act| async move { act.create_client(account.as_deref(), patch, repeat).await }).await?;
        reply(wire::CreateClientResponse {
            client: Some(client::to_wire(&client)),
            client_secret: shown.text.expose().to_owned(),
            secret_id: shown.secret.id_text(),
            position: convert::position(position),
        })
    }

    async fn get_client(&self, request: Request<wire::GetClientRequest>) -> Reply<wire::GetClientResponse> {
        let (call, message) = self.enter(request)?;
        let client = call.act(move |act| async move { act.reachable_client(&message.client_id).await }).await?;
        reply(wire::GetClientResponse { client: Some(client::to_wire(&client)) })
    }

    async fn update_client(&self, request: Request<wire::UpdateClientRequest>) -> Reply<wire::UpdateClientResponse> {
        let (call, message) = self.enter(request)?;
        let (id, etag, patch) = client::update(message)?;
        let (client, position) = call.act(move |act| async move { act.update_client(&id, &etag, patch).await }).await?;
        reply(wire::UpdateClientResponse {
            client: Some(client::to_wire(&client)),
            position: convert::position(position),
        })
    }

    async fn delete_client(&self, request: Request<wire::DeleteClientRequest>) -> Reply<wire::DeleteClientResponse> {
        let (call, message) = self.enter(request)?;
        let (_, position) = call
            .act(move |act| async move {
                act.set_client_state(&message.client_id, given(&message.etag), State::Deleted).await
            })
            .await?;
        reply(wire::DeleteClientResponse { position: convert::position(position) })
    }

    async fn list_clients(&self, request: Request<wire::ListClientsRequest>) -> Reply<wire::ListClientsResponse> {
        let (call, message, paging) = self.enter_list(request)?;
        let filter = Filter::parse(&message.filter, clients::FIELDS)?;
        let page = call.list(paging, move |act, page| async move { act.list_clients(&filter, &page).await }).await?;
        reply(wire::ListClientsResponse {
            clients: page.items.iter().map(|client| client::to_wire(client)).collect(),
            next_page_token: page.next,
        })
    }

    async fn enable_client(&self, request: Request<wire::EnableClientRequest>) -> Reply<wire::EnableClientResponse> {
        let (call, message) = self.enter(request)?;
        let (client, position) = call
            .act(move |act| async move { act.set_client_state(&message.client_id, None, State::Enabled).await })
            .await?;
        reply(wire::EnableClientResponse {
            client: Some(client::to_wire(&client)),
            position: convert::position(position),
        })
    }

    async fn disable_client(&self, request: Request<wire::DisableClientRequest>) -> Reply<wire::DisableClientResponse> {
        let (call, message) = self.enter(request)?;
        let (client, position) = call
            .act(move |act| async move { act.set_client_state(&message.client_id, None, State::Disabled).await })
            .await?;
        reply(wire::DisableClientResponse {
            client: Some(client::to_wire(&client)),
            position: convert::position(position),
        })
    }

    async fn create_client_secret(
        &self,
        request: Request<wire::CreateClientSecretRequest>,
    ) -> Reply<wire::CreateClientSecretResponse> {
        let (call, message, repeat) = self.enter_repeatable(request)?;
        let (shown, position) =
            call.act(move |act| async move { act.create_client_secret(&message.client_id, repeat).await }).await?;
        reply(wire::CreateClientSecretResponse {
            secret: Some(secret::to_wire(&shown.secret, &SecretUse::default(), self.now())),
            client_secret: shown.text.expose().to_owned(),
            position: convert::position(position),
        })
    }

    async fn list_client_secrets(
        &self,
        request: Request<wire::ListClientSecretsRequest>,
    ) -> Reply<wire::ListClientSecretsResponse> {
        let (call, message) = self.enter(request)?;
        let (client, uses) = call.act(move |act| async move { act.client_secrets(&message.client_id).await }).await?;
        reply(wire::ListClientSecretsResponse { secrets: secret::all_to_wire(&client, &uses, self.now()) })
    }

    async fn revoke_client_secret(
        &self,
        request: Request<wire::RevokeClientSecretRequest>,
    ) -> Reply<wire::RevokeClientSecretResponse> {
        let (call, message) = self.enter(request)?;
        let delay = secret::delay(message.delay)?;
        let (secret, position) = call
            .act(
                move |act| async move { act.revoke_client_secret(&message.client_id, &message.secret_id, delay).await },
            )
            .await?;
        reply(wire::RevokeClientSecretResponse {
            secret: Some(secret::to_wire(&secret, &SecretUse::default(), self.now())),
            position: convert::position(position),
        })
    }
}

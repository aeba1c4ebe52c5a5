//! AccountService.

use tonic::{Request, async_trait};

use super::{
    Services,
    call::{Reply, reply},
    convert::{self, account},
    wire::{self, account_service_server::AccountService},
};
use crate::directory::record::State;

#[async_trait]
impl AccountService for Services {
    async fn create_account(&self, request: Request<wire::CreateAccountRequest>) -> Reply<wire::CreateAccountResponse> {
        let (call, message, repeat) = self.enter_repeatable(request)?;
        let (parent, patch) = account::create(message);
        let (account, position) =
            call.act(move |act| async move { act.create_account(parent.as_deref(), patch, repeat).await }).await?;
        reply(wire::CreateAccountResponse {
            account: Some(account::to_wire(&account)),
            position: convert::position(position),
        })
    }

    async fn get_account(&self, request: Request<wire::GetAccountRequest>) -> Reply<wire::GetAccountResponse> {
        let (call, message) = self.enter(request)?;
        let account = call.act(move |act| async move { act.reachable_account(&message.account_id).await }).await?;
        reply(wire::GetAccountResponse { account: Some(account::to_wire(&account)) })
    }

    async fn update_account(&self, request: Request<wire::UpdateAccountRequest>) -> Reply<wire::UpdateAccountResponse> {
        let (call, message) = self.enter(request)?;
        let (reference, etag, patch) = account::update(message)?;
        let (account, position) =
            call.act(move |act| async move { act.update_account(&reference, &etag, patch).await }).await?;
        reply(wire::UpdateAccountResponse {
            account: Some(account::to_wire(&account)),
            position: convert::position(position),
        })
    }

    async fn delete_account(&self, request: Request<wire::DeleteAccountRequest>) -> Reply<wire::DeleteAccountResponse> {
        let (call, message) = self.enter(request)?;
        let (account, position) =
            call.act(move |act| async move { act.delete_account(&message.account_id, &message.etag).await }).await?;
        reply(wire::DeleteAccountResponse {
            account: Some(account::to_wire(&account)),
            position: convert::position(position),
        })
    }

    async fn undelete_account(
        &self,
        request: Request<wire::UndeleteAccountRequest>,
    ) -> Reply<wire::UndeleteAccountResponse> {
        let (call, message) = self.enter(request)?;
        let (account, position) =
            call.act(move |act| async move { act.undelete_account(&message.account_id).await }).await?;
        reply(wire::UndeleteAccountResponse {
            account: Some(account::to_wire(&account)),
            position: convert::position(position),
        })
    }

    async fn list_accounts(&self, request: Request<wire::ListAccountsRequest>) -> Reply<wire::ListAccountsResponse> {
        let (call, message, paging) = self.enter_list(request)?;
        let query = account::query(message)?;
        let page = call.list(paging, move |act, page| async move { act.list_accounts(&query, &page).await }).await?;
        reply(wire::ListAccountsResponse {
            accounts: page.items.iter().map(|account| account::to_wire(account)).collect(),
            next_page_token: page.next,
        })
    }

    async fn enable_account(&self, request: Request<wire::EnableAccountRequest>) -> Reply<wire::EnableAccountResponse> {
        let (call, message) = self.enter(request)?;
        let (account, position) = call
            .act(move |act| async move { act.set_account_state(&message.account_id, State::Enabled).await })
            .await?;
        reply(wire::EnableAccountResponse {
            account: Some(account::to_wire(&account)),
            position: convert::position(position),
        })
    }

    async fn disable_account(
        &self,
        request: Request<wire::DisableAccountRequest>,
    ) -> Reply<wire::DisableAccountResponse> {
        let (call, message) = self.enter(request)?;
        let (account, position) = call
            .act(move |act| async move { act.set_account_state(&message.account_id, State::Disabled).await })
            .await?;
        reply(wire::DisableAccountResponse {
            account: Some(account::to_wire(&account)),
            position: convert::position(position),
        })
    }
}

//! AccountService.

use tonic::{Request, Response, Status, async_trait};

use super::{
    Services,
    convert::{self, Mask, answer, given},
    wire::{self, account_service_server::AccountService},
};
use crate::{
    directory::{
        accounts::{self, AccountPatch, AccountQuery},
        record::{Account, State, etag},
    },
    token::{Error, Result, filter::Filter},
};

type Reply<T> = Result<Response<T>, Status>;

#[async_trait]
impl AccountService for Services {
    async fn create_account(&self, request: Request<wire::CreateAccountRequest>) -> Reply<wire::CreateAccountResponse> {
        answer(async {
            let (call, mut message) = self.enter(request)?;
            let request_id = std::mem::take(&mut message.request_id);
            let repeat = convert::repeat(&request_id, "CreateAccount", &message)?;
            let account = message.account.unwrap_or_default();
            let patch = patch(&account, &Mask::new(None, "Account", &[])?);
            let created = call.act(move |issuer, act| async move {
                issuer.directory.create_account(&act, given(&account.parent_id), patch, repeat).await
            });
            let (account, position) = created.await?;
            Ok(wire::CreateAccountResponse { account: Some(to_wire(&account)), position: convert::position(position) })
        })
        .await
    }

    async fn get_account(&self, request: Request<wire::GetAccountRequest>) -> Reply<wire::GetAccountResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let found = call.act(move |issuer, act| async move {
                issuer.directory.reachable_account(&act, &message.account_id).await
            });
            Ok(wire::GetAccountResponse { account: Some(to_wire(&*found.await?)) })
        })
        .await
    }

    async fn update_account(&self, request: Request<wire::UpdateAccountRequest>) -> Reply<wire::UpdateAccountResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let account = message.account.unwrap_or_default();
            let mask = Mask::new(message.update_mask.as_ref(), "Account", CHANGEABLE)?;
            if account.account_id.is_empty() {
                return Err(Error::field("account.account_id", "must be set"));
            }
            let patch = patch(&account, &mask);
            let updated = call.act(move |issuer, act| async move {
                issuer.directory.update_account(&act, &account.account_id, &account.etag, patch).await
            });
            let (account, position) = updated.await?;
            Ok(wire::UpdateAccountResponse { account: Some(to_wire(&account)), position: convert::position(position) })
        })
        .await
    }

    async fn delete_account(&self, request: Request<wire::DeleteAccountRequest>) -> Reply<wire::DeleteAccountResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let deleted = call.act(move |issuer, act| async move {
                issuer.directory.delete_account(&act, &message.account_id, &message.etag).await
            });
            let (account, position) = deleted.await?;
            Ok(wire::DeleteAccountResponse { account: Some(to_wire(&account)), position: convert::position(position) })
        })
        .await
    }

    async fn undelete_account(
        &self,
        request: Request<wire::UndeleteAccountRequest>,
    ) -> Reply<wire::UndeleteAccountResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let undeleted = call.act(move |issuer, act| async move {
                issuer.directory.undelete_account(&act, &message.account_id).await
            });
            let (account, position) = undeleted.await?;
            Ok(wire::UndeleteAccountResponse {
                account: Some(to_wire(&account)),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn list_accounts(&self, request: Request<wire::ListAccountsRequest>) -> Reply<wire::ListAccountsResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let deleted = if message.show_deleted { "deleted" } else { "" };
            let wanted = AccountQuery {
                parent: given(&message.parent_id).map(str::to_owned),
                filter: Filter::parse(&message.filter, accounts::FIELDS)?,
                show_deleted: message.show_deleted,
            };
            let listed = call.act(move |issuer, act| async move {
                let query = ["ListAccounts", &message.filter, &message.parent_id, deleted];
                let page = issuer.directory.page(&act, message.page_size, &message.page_token, &query)?;
                issuer.directory.list_accounts(&act, &wanted, &page).await
            });
            let page = listed.await?;
            Ok(wire::ListAccountsResponse {
                accounts: page.items.iter().map(|account| to_wire(account)).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }

    async fn enable_account(&self, request: Request<wire::EnableAccountRequest>) -> Reply<wire::EnableAccountResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let enabled = call.act(move |issuer, act| async move {
                issuer.directory.set_account_state(&act, &message.account_id, State::Enabled).await
            });
            let (account, position) = enabled.await?;
            Ok(wire::EnableAccountResponse { account: Some(to_wire(&account)), position: convert::position(position) })
        })
        .await
    }

    async fn disable_account(
        &self,
        request: Request<wire::DisableAccountRequest>,
    ) -> Reply<wire::DisableAccountResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let disabled = call.act(move |issuer, act| async move {
                issuer.directory.set_account_state(&act, &message.account_id, State::Disabled).await
            });
            let (account, position) = disabled.await?;
            Ok(wire::DisableAccountResponse { account: Some(to_wire(&account)), position: convert::position(position) })
        })
        .await
    }
}

/// The fields that an update mask can name.
const CHANGEABLE: &[&str] = &[
    "display_name",
    "legal_name",
    "registration_id",
    "foreign_id",
    "children_disabled",
    "labels",
    "metadata",
    "metadata.",
];

fn patch(account: &wire::Account, mask: &Mask<'_>) -> AccountPatch {
    let text = |name: &str, text: &String| mask.changes(name, !text.is_empty()).then(|| text.clone());
    AccountPatch {
        display_name: text("display_name", &account.display_name),
        legal_name: text("legal_name", &account.legal_name),
        registration_id: text("registration_id", &account.registration_id),
        foreign_id: text("foreign_id", &account.foreign_id),
        children_disabled: mask
            .changes("children_disabled", account.children_disabled)
            .then_some(account.children_disabled),
        labels: mask.changes("labels", !account.labels.is_empty()).then(|| account.labels.clone()),
        metadata: mask.changes("metadata", !account.metadata.is_empty()).then(|| account.metadata.clone()),
        metadata_keys: mask.keys("metadata").map(|key| (key.to_owned(), account.metadata.get(key).cloned())).collect(),
    }
}

pub(super) const fn state(state: State) -> wire::AccountState {
    match state {
        State::Enabled => wire::AccountState::Enabled,
        State::Disabled => wire::AccountState::Disabled,
        State::Deleted => wire::AccountState::Deleted,
    }
}

fn to_wire(account: &Account) -> wire::Account {
    wire::Account {
        account_id: account.id.to_string(),
        tenant_id: account.tenant.to_string(),
        display_name: account.display_name.clone(),
        legal_name: account.legal_name.clone(),
        registration_id: account.registration_id.clone().unwrap_or_default(),
        foreign_id: account.foreign_id.clone().unwrap_or_default(),
        parent_id: account.parent().map(ToString::to_string).unwrap_or_default(),
        ancestor_ids: account.ancestors.iter().map(ToString::to_string).collect(),
        state: state(account.state).into(),
        children_disabled: account.children_disabled,
        labels: account.labels.clone(),
        metadata: account.metadata.clone(),
        create_time: Some(convert::timestamp(account.created)),
        update_time: Some(convert::timestamp(account.updated)),
        delete_time: account.deleted.map(convert::timestamp),
        etag: etag(account.version),
    }
}

//! Accounts on the wire.

use super::{Mask, required, set, timestamp};
use crate::{
    api::wire,
    directory::{
        accounts::{AccountPatch, AccountQuery, FIELDS},
        record::{Account, State, etag},
    },
    error::Result,
    notation::filter::Filter,
};

/// The parent and the fields of a new account.
pub fn create(message: wire::CreateAccountRequest) -> (Option<String>, AccountPatch) {
    let account = message.account.unwrap_or_default();
    let patch = patch(&account, &Mask::CREATION);
    (set(account.parent_id), patch)
}

/// Which account changes, from which etag, and what of it.
pub fn update(message: wire::UpdateAccountRequest) -> Result<(String, String, AccountPatch)> {
    let account = message.account.unwrap_or_default();
    let patch = patch(&account, &Mask::new(message.update_mask.as_ref(), "Account", CHANGEABLE)?);
    Ok((required("account.account_id", account.account_id)?, account.etag, patch))
}

pub fn query(message: wire::ListAccountsRequest) -> Result<AccountQuery> {
    Ok(AccountQuery {
        filter: Filter::parse(&message.filter, FIELDS)?,
        parent: set(message.parent_id),
        show_deleted: message.show_deleted,
    })
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

pub const fn state(state: State) -> wire::AccountState {
    match state {
        State::Enabled => wire::AccountState::Enabled,
        State::Disabled => wire::AccountState::Disabled,
        State::Deleted => wire::AccountState::Deleted,
    }
}

pub fn to_wire(account: &Account) -> wire::Account {
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
        create_time: Some(timestamp(account.created)),
        update_time: Some(timestamp(account.updated)),
        delete_time: account.deleted.map(timestamp),
        etag: etag(account.version),
    }
}

//! Accounts.

use std::{collections::BTreeMap, sync::Arc};

use jeton_core::{AccountId, Ident, Position, Subject, TenantId, Time, entry::Entry};

use super::{
    account_tree::children,
    caller::Right,
    commit::{Edit, Repeat},
    filters::{any, name_of, state_name},
    load::key,
    names::{change_data, read_foreign_id, rename},
    page::{Page, PageRequest},
    permit::Act,
    record::{Account, State, Stored as _},
};
use crate::{
    ambient::Fresh as _,
    error::{Error, Result},
    notation::{
        filter::{Field, Filter, MOMENT_OPS, NAME_OPS, TEXT_OPS, Value},
        moment,
    },
    store::{Change, Index, Kind, Put, Unique},
};

/// What a caller says of an account; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct AccountPatch {
    pub display_name: Option<String>,
    pub legal_name: Option<String>,
    /// Empty: none.
    pub registration_id: Option<String>,
    /// Empty: none.
    pub foreign_id: Option<String>,
    pub children_disabled: Option<bool>,
    pub labels: Option<BTreeMap<String, String>>,
    pub metadata: Option<BTreeMap<String, String>>,
    /// Single keys of the metadata to set, or to remove.
    pub metadata_keys: Vec<(String, Option<String>)>,
}

/// Which accounts to list.
#[derive(Clone, Debug, Default)]
pub struct AccountQuery {
    /// Only the children of this account.
    pub parent: Option<String>,
    pub filter: Filter,
    pub show_deleted: bool,
}

/// The fields that accounts can be filtered by.
pub const FIELDS: &[Field] = &[
    Field { name: "account_id", ops: NAME_OPS, value: any },
    Field { name: "display_name", ops: TEXT_OPS, value: any },
    Field { name: "legal_name", ops: TEXT_OPS, value: any },
    Field { name: "registration_id", ops: TEXT_OPS, value: any },
    Field { name: "foreign_id", ops: TEXT_OPS, value: any },
    Field { name: "state", ops: NAME_OPS, value: state_name },
    Field { name: "create_time", ops: MOMENT_OPS, value: moment::canonical },
    Field { name: "labels.", ops: TEXT_OPS, value: any },
    Field { name: "metadata.", ops: TEXT_OPS, value: any },
];

// === impl Act ===

impl Act {
    /// The account that a reference names, if the caller reaches it. Without the declared scope only an account has something of
    /// its own.
    pub async fn reachable_account(&self, reference: &str) -> Result<Arc<Account>> {
        if !matches!(self.caller().subject, Subject::Account(_)) {
            self.require_scope()?;
        }
        self.directory
            .find_account(self.tenant(), reference)
            .await?
            .filter(|account| self.caller().reaches(account, self.right()))
            .ok_or_else(|| Error::not_found("Account", reference))
    }

    pub async fn create_account(
        &self,
        parent: Option<&str>,
        patch: AccountPatch,
        repeat: Option<Repeat>,
    ) -> Result<(Arc<Account>, Position)> {
        let (caller, tenant) = (self.caller(), self.tenant());
        self.directory.existing_tenant(tenant).await?;
        let now = self.directory.now();
        let id = AccountId::random()?;
        let mut change = Change::new(tenant.clone(), now);
        let ancestors = self.place_below(parent, &mut change).await?;
        let mut account = new_account(tenant, &id, ancestors, now);
        apply(&mut account, patch, &mut change)?;
        if account.display_name.is_empty() {
            return Err(Error::field("account.display_name", "must be set"));
        }
        change.index.push((all(tenant), id.to_string()));
        if let Some(parent) = account.parent() {
            change.index.push((children(tenant, parent), id.to_string()));
        }
        self.directory.create(caller, account, id.to_string(), change, repeat).await
    }

    pub async fn update_account(
        &self,
        reference: &str,
        etag: &str,
        patch: AccountPatch,
    ) -> Result<(Arc<Account>, Position)> {
        let tenant = self.tenant();
        self.edit_account(reference, Some(etag), |mut account| {
            require_not_deleted(&account)?;
            let mut change = Change::new(tenant.clone(), self.directory.now());
            apply(&mut account, patch.clone(), &mut change)?;
            account.updated = self.directory.now();
            let entries = vec![Entry::changed(account.ident())];
            Ok(Edit { record: account, change, entries })
        })
        .await
    }

    /// Enables or disables an account. Disabling takes the descendants' tokens along.
    pub async fn set_account_state(&self, reference: &str, state: State) -> Result<(Arc<Account>, Position)> {
        let tenant = self.tenant();
        self.edit_account(reference, None, |mut account| {
            require_not_deleted(&account)?;
            account.state = state;
            account.updated = self.directory.now();
            let entry = match state {
                State::Enabled => Entry::changed(account.ident()),
                State::Disabled | State::Deleted => {
                    Entry::revoke(Ident::Subtree(account.tenant.clone(), account.id.clone()))
                }
            };
            Ok(Edit {
                record: account,
                change: Change::new(tenant.clone(), self.directory.now()),
                entries: vec![entry],
            })
        })
        .await
    }

    /// Lists the accounts within reach, by id.
    pub async fn list_accounts(&self, query: &AccountQuery, page: &PageRequest) -> Result<Page<Arc<Account>>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        if !matches!(caller.subject, Subject::Account(_)) {
            self.require_scope()?;
        }
        let right = self.right();
        let index = match &query.parent {
            Some(parent) => {
                let parent = self.reachable_account(parent).await?;
                children(tenant, &parent.id)
            }
            None if right == Right::OwnOnly => match caller.confinement(tenant) {
                Some(own) => children(tenant, own),
                None => return Ok(Page { items: Vec::new(), next: String::new() }),
            },
            None => all(tenant),
        };
        self.directory
            .list_records(&index, page, |account: &Account| {
                let shown = query.show_deleted || account.state != State::Deleted;
                shown && caller.reaches(account, right) && matches(&query.filter, account)
            })
            .await
    }

    pub(super) async fn edit_account(
        &self,
        reference: &str,
        etag: Option<&str>,
        edit: impl Fn(Account) -> Result<Edit<Account>>,
    ) -> Result<(Arc<Account>, Position)> {
        let tenant = self.tenant();
        let account = self.reachable_account(reference).await?;
        self.directory.edit(&key::<Account>(tenant, &account.id), etag, edit).await
    }
}

/// An account of which nothing is known yet.
fn new_account(tenant: &TenantId, id: &AccountId, ancestors: Vec<AccountId>, now: Time) -> Account {
    Account {
        id: id.clone(),
        tenant: tenant.clone(),
        display_name: String::new(),
        legal_name: String::new(),
        registration_id: None,
        foreign_id: None,
        ancestors,
        state: State::Enabled,
        children_disabled: false,
        labels: BTreeMap::new(),
        metadata: BTreeMap::new(),
        created: now,
        updated: now,
        deleted: None,
        version: 1,
    }
}

/// Puts a new account of a name into a change.
pub(super) fn put_new(tenant: &TenantId, display_name: String, change: &mut Change) -> Result<AccountId> {
    let id = AccountId::random()?;
    let account = Account { display_name, ..new_account(tenant, &id, Vec::new(), change.now) };
    change.index.push((all(tenant), id.to_string()));
    change.puts.push(Put::new(Account::KIND, id.to_string(), Some(0), account.to_bytes()));
    Ok(id)
}

fn apply(account: &mut Account, patch: AccountPatch, change: &mut Change) -> Result<()> {
    let id = account.id.to_string();
    if let Some(name) = patch.display_name {
        if name.is_empty() {
            return Err(Error::field("account.display_name", "must be set"));
        }
        account.display_name = name;
    }
    if let Some(name) = patch.legal_name {
        account.legal_name = name;
    }
    let before = names(account);
    if let Some(registration) = patch.registration_id {
        account.registration_id = Some(registration).filter(|id| !id.is_empty());
    }
    if let Some(foreign) = patch.foreign_id {
        account.foreign_id = read_foreign_id("account.foreign_id", foreign)?;
    }
    rename(change, &id, before, names(account));
    if let Some(disabled) = patch.children_disabled {
        account.children_disabled = disabled;
    }
    if let Some(labels) = patch.labels {
        account.labels = labels;
    }
    change_data(&mut account.metadata, patch.metadata, patch.metadata_keys);
    Ok(())
}

pub(super) fn names(account: &Account) -> Vec<Unique> {
    let unique = |name, value: &Option<String>| value.clone().map(|value| Unique { name, value });
    [unique(Account::FOREIGN_IDS, &account.foreign_id), unique(Account::REGISTRATION_IDS, &account.registration_id)]
        .into_iter()
        .flatten()
        .collect()
}

fn matches(filter: &Filter, account: &Account) -> bool {
    let id = account.id.to_string();
    filter.matches(|field, key| match field {
        "account_id" => Value::Text(Some(&id)),
        "display_name" => Value::Text(Some(&account.display_name)),
        "legal_name" => Value::Text(Some(&account.legal_name)),
        "registration_id" => Value::Text(account.registration_id.as_deref()),
        "foreign_id" => Value::Text(account.foreign_id.as_deref()),
        "state" => Value::Name(name_of(account.state)),
        "create_time" => Value::Moment(moment::format(account.created)),
        "metadata" => Value::Text(account.metadata.get(key).map(String::as_str)),
        _ => Value::Text(account.labels.get(key).map(String::as_str)),
    })
}

pub(super) fn require_not_deleted(account: &Account) -> Result<()> {
    if account.state == State::Deleted {
        return Err(Error::not_found("Account", account.id.to_string()));
    }
    Ok(())
}

pub(super) fn all(tenant: &TenantId) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Account, parent: None }
}

//! The tree of accounts: where accounts stand, which of them live, and how they come and go.

use std::{collections::BTreeMap, sync::Arc};

use jeton_contract::reason::Reason;
use jeton_core::{AccountId, Ident, Lineage, Position, TenantId, entry::Entry};

use super::{
    Directory,
    accounts::names,
    commit::Edit,
    load::key,
    names::{foreign_id, has_reserved_prefix},
    permit::Act,
    record::{Account, MAX_DEPTH, State, Stored as _},
};
use crate::{
    error::{Error, Result},
    store::{Change, Index, Kind, Refusal, Unique},
};

/// What it means that accounts stand below one that is to go.
pub(super) const HAS_CHILDREN: Refusal = Refusal::new(Reason::AccountHasChildren, "the account still has children");

// === impl Act ===

impl Act {
    pub async fn delete_account(&self, reference: &str, etag: &str) -> Result<(Arc<Account>, Position)> {
        let tenant = self.tenant();
        self.edit_account(reference, Some(etag), |mut account| {
            let now = self.directory.now();
            let id = account.id.to_string();
            let mut change = Change::new(tenant.clone(), now);
            change.require_empty.push((children(tenant, &account.id), HAS_CHILDREN));
            for name in names(&account) {
                change.free.push((name, id.clone()));
            }
            if let Some(parent) = account.parent() {
                change.unindex.push((children(tenant, parent), id));
            }
            account.state = State::Deleted;
            account.deleted.get_or_insert(now);
            account.updated = now;
            let entries = vec![Entry::revoke(Ident::Subtree(account.tenant.clone(), account.id.clone()))];
            Ok(Edit { record: account, change, entries })
        })
        .await
    }

    pub async fn undelete_account(&self, reference: &str) -> Result<(Arc<Account>, Position)> {
        let tenant = self.tenant();
        let found = self.reachable_account(reference).await?;
        let mut parent_version = None;
        if let Some(parent) = found.parent() {
            let parent: Option<Account> = self.directory.fresh(&key::<Account>(tenant, parent)).await?;
            match parent {
                Some(parent) if parent.state != State::Deleted => {
                    parent_version = Some((parent.id.to_string(), parent.version))
                }
                _ => return Err(Error::new(Reason::Disabled, "the parent account is deleted")),
            }
        }
        self.edit_account(reference, None, |mut account| {
            let mut change = Change::new(tenant.clone(), self.directory.now());
            if account.state == State::Deleted {
                account.state = State::Enabled;
                account.deleted = None;
                account.updated = self.directory.now();
                let id = account.id.to_string();
                change.take = names(&account).into_iter().map(|name| (name, id.clone())).collect();
                if let (Some(parent), Some((parent_id, version))) = (account.parent(), &parent_version) {
                    change.index.push((children(tenant, parent), id));
                    change.require.push((Kind::Account, parent_id.clone(), *version));
                }
            }
            let entries = vec![Entry::changed(account.ident())];
            Ok(Edit { record: account, change, entries })
        })
        .await
    }

    /// The ancestors of an account that is created below `parent`, and what must hold for it.
    pub(super) async fn place_below(&self, parent: Option<&str>, change: &mut Change) -> Result<Vec<AccountId>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        let parent = match parent {
            Some(reference) => Some(self.reachable_account(reference).await?),
            // A confined caller creates below its own account.
            None => match caller.confinement(tenant) {
                Some(own) => self.directory.account(tenant, own).await?,
                None => None,
            },
        };
        let Some(parent) = parent else { return Ok(Vec::new()) };
        // Read afresh: its version is a condition of the write, so that a parent that is deleted meanwhile gets no child.
        let parent: Account = self
            .directory
            .fresh(&key::<Account>(tenant, &parent.id))
            .await?
            .filter(|parent: &Account| parent.state != State::Deleted)
            .ok_or_else(|| Error::not_found("Account", parent.id.to_string()))?;
        if parent.children_disabled {
            return Err(Error::new(Reason::ChildrenDisabled, "the parent account allows no children"));
        }
        if parent.ancestors.len() + 2 > MAX_DEPTH {
            return Err(Error::new(Reason::AccountTooDeep, format!("accounts can stand {MAX_DEPTH} levels deep")));
        }
        change.require.push((Kind::Account, parent.id.to_string(), parent.version));
        Ok(std::iter::once(parent.id).chain(parent.ancestors).collect())
    }
}

// === impl Directory ===

impl Directory {
    /// The account that a reference names by id or foreign id, deleted ones included.
    pub async fn find_account(&self, tenant: &TenantId, reference: &str) -> Result<Option<Arc<Account>>> {
        match self.id_of(tenant, Account::FOREIGN_IDS, reference).await? {
            Some(id) => self.account(tenant, &id).await,
            None => Ok(None),
        }
    }

    /// The accounts that references name, deleted ones included, each once; all of them, or NOT_FOUND.
    pub(super) async fn find_accounts(&self, tenant: &TenantId, references: &[String]) -> Result<Vec<Arc<Account>>> {
        let foreign = |reference: &&String| reference.parse::<AccountId>().is_err() && !has_reserved_prefix(reference);
        let foreign: Vec<&String> = references.iter().filter(foreign).collect();
        let names: Vec<Unique> = foreign.iter().map(|reference| foreign_id(Account::FOREIGN_IDS, reference)).collect();
        let holders = if names.is_empty() { Vec::new() } else { self.core.store.holders(tenant, &names).await? };
        let held: BTreeMap<&String, Option<String>> = foreign.into_iter().zip(holders).collect();
        let mut ids = BTreeMap::new();
        for reference in references {
            let id = held.get(reference).cloned().flatten().unwrap_or_else(|| reference.clone());
            let id: AccountId = id.parse().map_err(|_| Error::not_found("Account", reference))?;
            ids.insert(id, reference);
        }
        self.load_all::<Account>(tenant, ids.keys()).await?;
        let mut accounts = Vec::with_capacity(ids.len());
        for (id, reference) in ids {
            let account = self.account(tenant, &id).await?;
            accounts.push(account.ok_or_else(|| Error::not_found("Account", reference))?);
        }
        Ok(accounts)
    }

    /// Whether an account and all of its ancestors are enabled.
    pub async fn is_alive(&self, tenant: &TenantId, lineage: &Lineage) -> Result<bool> {
        let line = || lineage.accounts();
        self.load_all::<Account>(tenant, line()).await?;
        for id in line() {
            let account = self.account(tenant, id).await?;
            if account.is_none_or(|account| account.state != State::Enabled) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

pub(super) fn children(tenant: &TenantId, parent: &AccountId) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Account, parent: Some(parent.to_string()) }
}

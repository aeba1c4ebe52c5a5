//! The accounts in entity groups.
//!
//! Each account's place in a group is a record of its own, so that adding and removing cost what changes, whatever stands
//! in the group already. The group's record is written together with the places: it counts them, and its version is the
//! condition that keeps the count exact.

use std::sync::Arc;

use jeton_core::{AccountId, Ident, Position, TenantId, Time, entry::Entry};

use super::{
    Directory,
    commit::MAX_RACES,
    group_sync::{CopyMembers, Synced},
    groups::outraced,
    load::decode,
    page::{MAX_SIZE, Page, PageRequest},
    permit::Act,
    record::{Account, Entity, EntityGroup, Kept as _, RecordId as _, State, Stored as _},
};
use crate::{
    error::{Error, Result},
    store::{Change, Index, Kind, Put},
};

/// What became of a group whose entities changed.
#[derive(Debug)]
pub struct Moved {
    pub group: Arc<EntityGroup>,
    /// How many accounts went in or out.
    pub changed: usize,
    /// How many were there, or not there, already.
    pub unchanged: usize,
    pub position: Position,
}

// === impl Act ===

impl Act {
    /// Puts accounts into a group, and members of one of its accounts behind them, if asked to.
    pub async fn add_entities(
        &self,
        reference: &str,
        accounts: &[String],
        copy: Option<&CopyMembers>,
    ) -> Result<(Moved, Option<Synced>)> {
        let tenant = self.tenant();
        let group = self.reachable_group(reference).await?;
        let accounts = self.directory.living_accounts(tenant, accounts).await?;
        let Some(copy) = copy else {
            return Ok((self.directory.move_entities(&group, &accounts, State::Enabled).await?, None));
        };
        // Before anything is written: an account to copy from that is not there stops the whole call.
        let source = self.directory.named_source(&group, copy, &accounts).await?;
        let moved = self.directory.move_entities(&group, &accounts, State::Enabled).await?;
        let synced = self.directory.copy_members(&moved.group, source, copy).await?;
        Ok((Moved { group: Arc::clone(&synced.group), position: synced.position, ..moved }, Some(synced)))
    }

    /// Takes accounts out of a group, deleted ones as well.
    pub async fn remove_entities(&self, reference: &str, accounts: &[String]) -> Result<Moved> {
        let tenant = self.tenant();
        let group = self.reachable_group(reference).await?;
        let accounts = self.directory.find_accounts(tenant, accounts).await?;
        self.directory.move_entities(&group, &accounts, State::Deleted).await
    }

    /// Lists the accounts of a group, by id. Deleted ones count as not there.
    pub async fn list_group_entities(&self, reference: &str, page: &PageRequest) -> Result<Page<Arc<Account>>> {
        let group = self.reachable_group(reference).await?;
        self.directory.list_records(&places(&group), page, |account: &Account| account.state != State::Deleted).await
    }
}

// === impl Directory ===

impl Directory {
    /// The accounts that were last put into a group, newest first, as many as a page may have.
    pub(super) async fn newest_entities(&self, group: &EntityGroup) -> Result<Vec<AccountId>> {
        let parse = |id: &str| id.parse().map_err(|_| Error::internal("read an index of entities"));
        let mut newest = Vec::new();
        for row in self.core.store.list(&newest_places(group), None, MAX_SIZE).await? {
            newest.push(parse(row.split_once(':').map_or("", |(_, account)| account))?);
        }
        if newest.len() < MAX_SIZE {
            // Those that were put in before there was that list are the oldest.
            for id in self.core.store.list(&places(group), None, MAX_SIZE).await? {
                let account = parse(&id)?;
                if newest.len() < MAX_SIZE && !newest.contains(&account) {
                    newest.push(account);
                }
            }
        }
        Ok(newest)
    }

    /// The accounts that references name. A deleted one looks as if it had never existed.
    pub(super) async fn living_accounts(&self, tenant: &TenantId, references: &[String]) -> Result<Vec<Arc<Account>>> {
        let accounts = self.find_accounts(tenant, references).await?;
        match accounts.iter().find(|account| account.state == State::Deleted) {
            Some(deleted) => Err(Error::not_found("Account", deleted.id.to_string())),
            None => Ok(accounts),
        }
    }

    /// The first entities of a group that is being created. Nobody can have asked about places in it, so the log need not
    /// name them.
    pub(super) fn put_first_entities(&self, group: &mut EntityGroup, accounts: &[Arc<Account>], change: &mut Change) {
        for account in accounts {
            put_place(group, account, State::Enabled, None, change);
        }
    }

    /// Moves accounts in (`Enabled`) or out (`Deleted`), as far as they are not there already.
    async fn move_entities(&self, found: &EntityGroup, accounts: &[Arc<Account>], state: State) -> Result<Moved> {
        let keys: Vec<_> = accounts
            .iter()
            .map(|account| Entity::place(&found.tenant, &(found.id.clone(), account.id.clone())))
            .collect();
        for _ in 0..MAX_RACES {
            let mut edit = self.edit_contents(found).await?;
            // After the group: a call that moves one of them meanwhile raises the version of the group.
            let records = self.core.store.read(&keys).await?;
            for ((account, key), record) in accounts.iter().zip(&keys).zip(records) {
                let before: Option<Entity> = record.map(|record| decode(key, &record)).transpose()?;
                let stands = before.as_ref().map_or(State::Deleted, |entity| entity.state);
                if stands != state {
                    put_place(&mut edit.group, account, state, before.as_ref(), &mut edit.change);
                    edit.entries.push(Entry::changed(Ident::Entity(
                        found.tenant.clone(),
                        found.id.clone(),
                        account.id.clone(),
                    )));
                }
            }
            let changed = edit.change.puts.len();
            let unchanged = accounts.len() - changed;
            if let Some((group, position)) = self.write_contents(edit).await? {
                return Ok(Moved { group, changed, unchanged, position });
            }
        }
        Err(outraced())
    }
}

/// Writes an account's place in a group, its rows in the group's lists, and what it does to the count.
fn put_place(group: &mut EntityGroup, account: &Account, state: State, before: Option<&Entity>, change: &mut Change) {
    let version = before.map_or(0, |before| before.version);
    let entity = Entity {
        tenant: group.tenant.clone(),
        group: group.id.clone(),
        account: account.id.clone(),
        state,
        updated: change.now,
        version,
    };
    change.puts.push(Put {
        kind: Kind::Entity,
        id: (group.id.clone(), account.id.clone()).to_text(),
        expected: Some(version),
        pending: Vec::new(),
        body: entity.to_bytes(),
        keep_until: Time::NEVER,
    });
    let rows = |entity: &Entity| {
        let newest = format!("{:016x}:{}", u64::MAX - entity.updated.as_millis(), account.id);
        [(places(group), account.id.to_string()), (newest_places(group), newest)]
    };
    match (state, before) {
        (State::Enabled, _) => {
            change.index.extend(rows(&entity));
            group.entity_count += 1;
        }
        (State::Disabled | State::Deleted, Some(before)) => {
            change.unindex.extend(rows(before));
            group.entity_count = group.entity_count.saturating_sub(1);
        }
        // What never was in the group is not taken out of it.
        (State::Disabled | State::Deleted, None) => {}
    }
}

/// The list of a group's entities.
fn places(group: &EntityGroup) -> Index {
    Index { tenant: group.tenant.clone(), kind: Kind::Entity, parent: Some(group.id.to_string()) }
}

/// The same list, by when they were put in, the last one first. Those that were put in before there was this list are not in
/// it.
fn newest_places(group: &EntityGroup) -> Index {
    Index { tenant: group.tenant.clone(), kind: Kind::Entity, parent: Some(format!("{}:newest", group.id)) }
}

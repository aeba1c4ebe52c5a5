//! The accounts in entity groups.
//!
//! Each account's place in a group is a record of its own, so that adding and removing cost what changes, whatever stands
//! in the group already. The group's record is written together with the places: it counts them, and its version is the
//! condition that keeps the count exact.

use std::sync::Arc;

use super::{
    Directory,
    caller::Caller,
    commit::{MAX_RACES, refused},
    groups::require_not_deleted,
    load::{Wanted, decode, entity_key, key},
    page::{Page, PageRequest},
    record::{Account, Entity, EntityGroup, State, Stored as _},
};
use crate::{
    ambient::Time,
    revocation::entry::Entry,
    store::{Change, Index, Kind, Put, Written},
    token::{Error, Ident, Position, Reason, Result, TenantId},
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

// === impl Directory ===

impl Directory {
    /// Puts accounts into a group.
    pub async fn add_entities(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        slot: &str,
        accounts: &[String],
    ) -> Result<Moved> {
        self.follower.head().await?;
        let group = self.reachable_group(caller, tenant, slot).await?;
        let accounts = self.living_accounts(tenant, accounts).await?;
        self.move_entities(&group, &accounts, State::Enabled).await
    }

    /// Takes accounts out of a group, deleted ones as well.
    pub async fn remove_entities(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        slot: &str,
        accounts: &[String],
    ) -> Result<Moved> {
        self.follower.head().await?;
        let group = self.reachable_group(caller, tenant, slot).await?;
        let accounts = self.find_accounts(tenant, accounts).await?;
        self.move_entities(&group, &accounts, State::Deleted).await
    }

    /// Lists the accounts of a group, by id. Deleted ones count as not there, so a page may be short.
    pub async fn list_group_entities(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        slot: &str,
        page: &PageRequest,
    ) -> Result<Page<Arc<Account>>> {
        self.follower.head().await?;
        let group = self.reachable_group(caller, tenant, slot).await?;
        // One more than wanted tells whether there is a next page.
        let mut ids = self.store.list(&places(&group), page.cursor.as_deref(), page.size + 1).await?;
        let more = ids.len() > page.size;
        ids.truncate(page.size);
        let wanted = ids.iter().filter_map(|id| Some((tenant.clone(), id.parse().ok()?))).collect();
        self.preload(&[Wanted { accounts: wanted, ..Wanted::default() }]).await?;
        let mut items = Vec::with_capacity(ids.len());
        for id in &ids {
            let account = id.parse().map_err(|_| Error::internal("read an index of entities"))?;
            let account = self.account(tenant, &account).await?;
            items.extend(account.filter(|account| account.state != State::Deleted));
        }
        let next = match ids.last() {
            Some(last) if more => page.next(last, &self.ring)?,
            _ => String::new(),
        };
        Ok(Page { items, next })
    }

    /// The accounts that slots name. A deleted one looks as if it had never existed.
    pub(super) async fn living_accounts(&self, tenant: &TenantId, slots: &[String]) -> Result<Vec<Arc<Account>>> {
        let accounts = self.find_accounts(tenant, slots).await?;
        match accounts.iter().find(|account| account.state == State::Deleted) {
            Some(deleted) => Err(Error::not_found("Account", deleted.id.to_string())),
            None => Ok(accounts),
        }
    }

    /// The first entities of a group that is being created. Nobody can have asked about places in it, so the log need not
    /// name them.
    pub(super) fn put_first_entities(&self, group: &mut EntityGroup, accounts: &[Arc<Account>], change: &mut Change) {
        for account in accounts {
            put_place(group, account, State::Enabled, 0, change);
        }
    }

    /// Moves accounts in (`Enabled`) or out (`Deleted`), as far as they are not there already.
    async fn move_entities(&self, found: &EntityGroup, accounts: &[Arc<Account>], state: State) -> Result<Moved> {
        let keys: Vec<_> = accounts.iter().map(|account| entity_key(found, &account.id)).collect();
        for _ in 0..MAX_RACES {
            let group_key = key::<EntityGroup>(&found.tenant, &found.id);
            let group: Option<EntityGroup> = self.fresh(&group_key).await?;
            let mut group = group.ok_or_else(|| Error::not_found(EntityGroup::NAME, found.id.to_string()))?;
            require_not_deleted(&group)?;
            let version = group.version;
            let mut change = Change::new(found.tenant.clone(), self.now());
            let mut entries = vec![Entry::changed(group.ident())];
            // After the group: whoever moves one of them meanwhile moves the group's version on.
            let records = self.store.read(&keys).await?;
            for ((account, key), record) in accounts.iter().zip(&keys).zip(records) {
                let before: Option<Entity> = record.map(|record| decode(key, &record)).transpose()?;
                let stands = before.as_ref().map_or(State::Deleted, |entity| entity.state);
                if stands != state {
                    put_place(&mut group, account, state, before.map_or(0, |entity| entity.version), &mut change);
                    entries.push(Entry::changed(Ident::Entity(group.id.clone(), account.id.clone())));
                }
            }
            let changed = change.puts.len();
            let unchanged = accounts.len() - changed;
            if changed == 0 {
                let position = self.follower.append(&entries).await?;
                return Ok(Moved { group: Arc::new(group), changed, unchanged, position });
            }
            group.updated = change.now;
            change.puts.push(Put {
                kind: group_key.kind,
                id: group_key.id,
                expected: Some(version),
                pending: Vec::new(),
                body: group.to_bytes(),
                keep_until: Time::NEVER,
            });
            let (written, position) = self.commit(change, &entries).await?;
            match written {
                Written::Done => {
                    group.set_version(version + 1);
                    return Ok(Moved { group: Arc::new(group), changed, unchanged, position });
                }
                Written::Conflict(..) => {}
                other @ (Written::Taken(_) | Written::NotEmpty(_) | Written::Repeated { .. }) => {
                    return Err(refused(other));
                }
            }
        }
        Err(Error::new(Reason::ConcurrentUpdate, "too many concurrent changes of the entity group"))
    }
}

/// Writes an account's place in a group, its row in the group's list, and what it does to the count.
fn put_place(group: &mut EntityGroup, account: &Account, state: State, version: u64, change: &mut Change) {
    let entity = Entity { group: group.id.clone(), account: account.id.clone(), state, updated: change.now, version };
    change.puts.push(Put {
        kind: Kind::Entity,
        id: entity_key(group, &account.id).id,
        expected: Some(version),
        pending: Vec::new(),
        body: entity.to_bytes(),
        keep_until: Time::NEVER,
    });
    let row = (places(group), account.id.to_string());
    match state {
        State::Enabled => {
            change.index.push(row);
            group.entity_count += 1;
        }
        State::Disabled | State::Deleted => {
            change.unindex.push(row);
            group.entity_count = group.entity_count.saturating_sub(1);
        }
    }
}

/// The list of a group's entities.
fn places(group: &EntityGroup) -> Index {
    Index { tenant: group.tenant.clone(), kind: Kind::Entity, parent: Some(group.id.to_string()) }
}

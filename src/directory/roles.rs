//! Roles: what members may do, in one account or in every account of a tenant.

use std::sync::Arc;

use jeton_contract::{reason::Reason, validate::Violation};
use jeton_core::{AccountId, Lineage, Position, RoleId, TenantId, entry::Entry};

use super::{
    Directory,
    caller::{Caller, require_unconfined},
    commit::{Edit, Repeat},
    filters::any,
    load::key,
    page::{Page, PageRequest},
    permit::Act,
    record::{Account, Role, State, Stored as _},
};
use crate::{
    ambient::Fresh as _,
    error::{Error, Result},
    notation::{
        filter::{Field, Filter, TEXT_OPS, Value},
        permission::is_permission,
    },
    store::{Change, Index, Kind, Name, RecordKey, Refusal, Unique},
};

/// What a caller says of a role; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct RolePatch {
    pub name: Option<String>,
    pub permissions: Option<Vec<String>>,
}

/// The fields that roles can be filtered by.
pub const FIELDS: &[Field] = &[Field { name: "name", ops: TEXT_OPS, value: any }];

static NAMES: Name = Name {
    kind: Kind::Role,
    field: "name",
    taken: Refusal::new(Reason::RoleNameTaken, "there is a role of this name"),
};
/// What it means that somebody has a role that is to go.
const IN_USE: Refusal = Refusal::new(Reason::RoleInUse, "memberships or members of entity groups still have the role");

// === impl Act ===

impl Act {
    /// The role of an id, if the caller may see it: those of the tenant, and those of accounts within its reach.
    pub async fn reachable_role(&self, id: &str) -> Result<Arc<Role>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        let not_found = || Error::not_found(Role::NAME, id);
        let role_id: RoleId = id.parse().map_err(|_| not_found())?;
        let role = self.directory.role(tenant, &role_id).await?;
        role.filter(|role| role.state != State::Deleted && is_visible(caller, role)).ok_or_else(not_found)
    }

    pub async fn create_role(
        &self,
        account: Option<&str>,
        patch: RolePatch,
        repeat: Option<Repeat>,
    ) -> Result<(Arc<Role>, Position)> {
        let (caller, tenant) = (self.caller(), self.tenant());
        self.directory.existing_tenant(tenant).await?;
        let account = match account {
            Some(reference) => Some(self.living_account(reference).await?.lineage()),
            None => {
                require_unconfined(caller)?;
                None
            }
        };
        let now = self.directory.now();
        let id = RoleId::random()?;
        let mut change = Change::new(tenant.clone(), now);
        let mut role = Role {
            id: id.clone(),
            tenant: tenant.clone(),
            account,
            name: String::new(),
            permissions: Vec::new(),
            state: State::Enabled,
            created: now,
            updated: now,
            version: 1,
        };
        apply(&mut role, patch, &mut change)?;
        if role.name.is_empty() {
            return Err(Error::field("role.name", "must be set"));
        }
        change.index.push((list_of(tenant, role.account.as_ref().map(|line| &line.account)), id.to_string()));
        self.directory.create(caller, role, id.to_string(), change, repeat).await
    }

    pub async fn update_role(&self, id: &str, etag: &str, patch: RolePatch) -> Result<(Arc<Role>, Position)> {
        let tenant = self.tenant();
        self.edit_role(id, etag, |mut role| {
            let mut change = Change::new(tenant.clone(), self.directory.now());
            apply(&mut role, patch.clone(), &mut change)?;
            Ok((role, change))
        })
        .await
    }

    /// Deletes a role that no membership and no member of an entity group has.
    pub async fn delete_role(&self, id: &str, etag: &str) -> Result<Position> {
        let tenant = self.tenant();
        let deleted = self.edit_role(id, etag, |mut role| {
            let mut change = Change::new(tenant.clone(), self.directory.now());
            let id = role.id.to_string();
            change.require_empty.push((holders_of(tenant, Kind::Membership, &role.id), IN_USE));
            change.require_empty.push((holders_of(tenant, Kind::GroupMember, &role.id), IN_USE));
            change.free.push((unique(role.account.as_ref(), &role.name), id.clone()));
            change.unindex.push((list_of(tenant, role.account.as_ref().map(|line| &line.account)), id));
            role.state = State::Deleted;
            Ok((role, change))
        });
        Ok(deleted.await?.1)
    }

    /// Lists the roles of an account, or those of the tenant, by id.
    pub async fn list_roles(
        &self,
        account: Option<&str>,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page<Arc<Role>>> {
        let tenant = self.tenant();
        let account = match account {
            Some(reference) => Some(self.living_account(reference).await?),
            None => None,
        };
        let index = list_of(tenant, account.as_ref().map(|account| &account.id));
        self.directory
            .list_records(&index, page, |role: &Role| {
                role.state != State::Deleted && filter.matches(|_, _| Value::Text(Some(&role.name)))
            })
            .await
    }

    /// The account that a reference names, unless it is deleted.
    pub(super) async fn living_account(&self, reference: &str) -> Result<Arc<Account>> {
        let account = self.reachable_account(reference).await?;
        if account.state == State::Deleted { Err(Error::not_found(Account::NAME, reference)) } else { Ok(account) }
    }

    async fn edit_role(
        &self,
        id: &str,
        etag: &str,
        edit: impl Fn(Role) -> Result<(Role, Change)>,
    ) -> Result<(Arc<Role>, Position)> {
        let (caller, tenant) = (self.caller(), self.tenant());
        let found = self.reachable_role(id).await?;
        if found.account.is_none() {
            require_unconfined(caller)?;
        }
        let key: RecordKey = key::<Role>(tenant, &found.id);
        self.directory
            .edit(&key, Some(etag), |role: Role| {
                if role.state == State::Deleted {
                    return Err(Error::not_found(Role::NAME, id));
                }
                let (mut record, change) = edit(role)?;
                record.updated = self.directory.now();
                let entries = vec![Entry::changed(record.ident())];
                Ok(Edit { record, change, entries })
            })
            .await
    }
}

// === impl Directory ===

impl Directory {
    /// The roles that references name for members of `account`, each once: by id, or by the name that the account has a role
    /// of, else the tenant.
    pub(super) async fn find_roles(&self, account: &Account, references: &[String]) -> Result<Vec<Role>> {
        let found = self.find_roles_in(&account.tenant, &[(Some(account), references)]).await?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    /// The same for several accounts, in their order; in none of them (`None`) a role is the tenant's. Waits for the store
    /// twice, however many there are.
    pub(super) async fn find_roles_in(
        &self,
        tenant: &TenantId,
        places: &[(Option<&Account>, &[String])],
    ) -> Result<Vec<Vec<Role>>> {
        let wanted = || {
            places
                .iter()
                .flat_map(|(account, references)| references.iter().map(move |reference| (*account, reference)))
        };
        // The names that a reference may be: the account's own and the tenant's.
        let names: Vec<Unique> = wanted()
            .filter(|(_, reference)| reference.parse::<RoleId>().is_err())
            .flat_map(|(account, reference)| {
                let own = account.map(Account::lineage);
                [unique(own.as_ref(), reference), unique(None, reference)]
            })
            .collect();
        let holders = if names.is_empty() { Vec::new() } else { self.core.store.holders(tenant, &names).await? };
        let mut holders = holders.chunks(2);
        let mut keys = Vec::new();
        for (_, reference) in wanted() {
            let id = match reference.parse::<RoleId>() {
                Ok(id) => Some(id.to_string()),
                Err(_) => holders.next().unwrap_or_default().iter().flatten().next().cloned(),
            };
            let id = id.ok_or_else(|| Error::not_found(Role::NAME, reference))?;
            keys.push(RecordKey { tenant: tenant.clone(), kind: Kind::Role, id });
        }
        let mut records = self.read_records::<Role>(&keys).await?.into_iter();
        let mut found = Vec::with_capacity(places.len());
        for (account, references) in places {
            let mut roles: Vec<Role> = Vec::with_capacity(references.len());
            for (reference, role) in references.iter().zip(records.by_ref()) {
                let fits = |role: &Role| {
                    let own = |line: &Lineage| account.is_some_and(|account| line.account == account.id);
                    role.state != State::Deleted && role.account.as_ref().is_none_or(own)
                };
                let role = role.filter(fits).ok_or_else(|| Error::not_found(Role::NAME, reference))?;
                if !roles.iter().any(|known| known.id == role.id) {
                    roles.push(role);
                }
            }
            found.push(roles);
        }
        Ok(found)
    }
}

fn apply(role: &mut Role, patch: RolePatch, change: &mut Change) -> Result<()> {
    let id = role.id.to_string();
    if let Some(permissions) = patch.permissions {
        let malformed = |(i, permission): (usize, &String)| {
            (!is_permission(permission)).then(|| Violation {
                field: format!("role.permissions[{i}]"),
                description: "must be object.action, where * stands for any, and may end in :own".to_owned(),
            })
        };
        let violations: Vec<_> = permissions.iter().enumerate().filter_map(malformed).collect();
        if !violations.is_empty() {
            return Err(Error::fields(violations));
        }
        role.permissions = permissions;
    }
    if let Some(name) = patch.name {
        if name.is_empty() {
            return Err(Error::field("role.name", "must be set"));
        }
        if name.parse::<RoleId>().is_ok() {
            return Err(Error::new(Reason::InvalidField, "the name of a role must not look like an id")
                .with_violation("role.name", "must not look like an id"));
        }
        if !role.name.is_empty() && role.name != name {
            change.free.push((unique(role.account.as_ref(), &role.name), id.clone()));
        }
        role.name = name;
    }
    change.take.push((unique(role.account.as_ref(), &role.name), id));
    Ok(())
}

fn is_visible(caller: &Caller, role: &Role) -> bool {
    match (&role.account, caller.confinement(&role.tenant)) {
        (None, _) | (_, None) => true,
        (Some(line), Some(root)) => line.is_within(root),
    }
}

/// A role's name: unique in its account, or among those of the tenant.
fn unique(account: Option<&Lineage>, name: &str) -> Unique {
    let account = account.map(|line| line.account.to_string()).unwrap_or_default();
    Unique { name: &NAMES, value: format!("{account}/{name}") }
}

/// The roles of an account, or those of the tenant.
fn list_of(tenant: &TenantId, account: Option<&AccountId>) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Role, parent: account.map(ToString::to_string) }
}

/// The memberships, or places in entity groups, that have a role.
pub(super) fn holders_of(tenant: &TenantId, kind: Kind, role: &RoleId) -> Index {
    Index { tenant: tenant.clone(), kind, parent: Some(role.to_string()) }
}

//! Which roles a member of a group has: in all of its accounts, or in single ones.

use std::{collections::BTreeMap, sync::Arc};

use jeton_contract::validate::Violation;
use jeton_core::RoleId;

use super::{
    Directory,
    group_members::NewGroupMember,
    record::{Account, Entity, EntityGroup, EntityRoles, GroupMember, Role, State, Stored as _},
};
use crate::{
    error::{Error, Result},
    store::{Change, Kind},
};

// === impl Directory ===

impl Directory {
    /// The roles of a place, in the whole group and in single accounts. That they still are is a condition of the change.
    pub(super) async fn roles_to_place(
        &self,
        group: &EntityGroup,
        before: Option<&GroupMember>,
        new: &NewGroupMember,
        change: &mut Change,
    ) -> Result<(Vec<RoleId>, Vec<EntityRoles>)> {
        let accounts = self.overridden_accounts(group, before, new).await?;
        let overrides =
            accounts.iter().zip(&new.overrides).map(|(account, (_, references))| (Some(&**account), &**references));
        let places: Vec<(Option<&Account>, &[String])> =
            std::iter::once((None, &*new.roles)).chain(overrides).collect();
        let found = self.find_roles_in(&group.tenant, &places).await?;
        require_roles(found.iter().flatten(), change);
        let mut ids = found.into_iter().map(|roles| roles.into_iter().map(|role| role.id).collect::<Vec<_>>());
        let global = ids.next().unwrap_or_default();
        let own = |(account, roles): (&Arc<Account>, _)| EntityRoles { account: account.id.clone(), roles };
        Ok((global, accounts.iter().zip(ids).map(own).collect()))
    }

    /// The accounts in which a place is to have roles of its own, in their order: each in the group, and once.
    async fn overridden_accounts(
        &self,
        group: &EntityGroup,
        before: Option<&GroupMember>,
        new: &NewGroupMember,
    ) -> Result<Vec<Arc<Account>>> {
        let tenant = &group.tenant;
        let references: Vec<String> = new.overrides.iter().map(|(reference, _)| reference.clone()).collect();
        let found = self.find_accounts(tenant, &references).await?;
        let mut missing = self.missing();
        for account in &found {
            missing.want::<Entity>(tenant, &(group.id.clone(), account.id.clone()));
        }
        missing.load().await?;
        let mut accounts: Vec<Arc<Account>> = Vec::with_capacity(references.len());
        let mut violations = Vec::new();
        for (i, reference) in references.iter().enumerate() {
            let id = reference.parse().ok();
            let named = |account: &&Arc<Account>| match &id {
                Some(id) => account.id == *id,
                None => account.foreign_id.as_ref() == Some(reference),
            };
            let account = found.iter().find(named).ok_or_else(|| Error::not_found(Account::NAME, reference))?;
            // What a place says already may be said again, though the account has left the group meanwhile.
            let known = before.is_some_and(|before| before.overrides.iter().any(|own| own.account == account.id));
            if !known && account.state == State::Deleted {
                return Err(Error::not_found(Account::NAME, reference));
            }
            if !known && !self.is_entity(group, &account.id).await? {
                return Err(Error::not_found(Entity::NAME, reference));
            }
            if accounts.iter().any(|earlier| earlier.id == account.id) {
                violations.push(Violation {
                    field: format!("group_member.entity_roles[{i}].account_id"),
                    description: "must not name an account twice".to_owned(),
                });
            }
            accounts.push(Arc::clone(account));
        }
        if violations.is_empty() { Ok(accounts) } else { Err(Error::fields(violations)) }
    }
}

/// Makes it a condition of a change that roles still are as they were read.
pub(super) fn require_roles<'a>(roles: impl Iterator<Item = &'a Role>, change: &mut Change) {
    let versions: BTreeMap<String, u64> = roles.map(|role| (role.id.to_string(), role.version)).collect();
    change.require.extend(versions.into_iter().map(|(id, version)| (Kind::Role, id, version)));
}

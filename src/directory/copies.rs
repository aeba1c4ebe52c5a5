//! What is remembered of records that were read.

use std::sync::Arc;

use super::{
    Directory,
    grouped::{Entity, EntityGroup, GroupMember},
    identity::IdentityProfile,
    load::decode,
    record::{Account, Admission, Client, Tenant},
    roster::{Member, Membership, Role},
};
use crate::{
    store::{Kind, Record, RecordKey},
    token::{Error, Result},
};

// === impl Directory ===

impl Directory {
    /// Caches a record that was read, unless it still owes entries to the log.
    pub(super) fn take_in(
        &self,
        key: &RecordKey,
        record: Option<&Record>,
        ticket: crate::revocation::state::Ticket,
        began: tokio::time::Instant,
    ) -> Result<()> {
        if record.is_some_and(|record| !record.pending.is_empty()) {
            return Ok(());
        }
        let id = |text: &str| Error::internal(format!("read the id {text} of a record"));
        let state = self.follower.state();
        match key.kind {
            Kind::Tenant => {
                let tenant = record.map(|record| decode::<Tenant>(key, record).map(Arc::new)).transpose()?;
                let own = key.id.parse().map_err(|_| id(&key.id))?;
                self.tenants.fill(&state, ticket, began, own, tenant);
            }
            // Absence is not cached: the key does not tell at which home it was asked.
            Kind::Client => {
                if let Some(record) = record {
                    let client: Client = decode(key, record)?;
                    self.clients.fill(&state, ticket, began, client.id.clone(), Arc::new(client));
                }
            }
            Kind::Account => {
                if let Some(record) = record {
                    let account: Account = decode(key, record)?;
                    self.accounts.fill(&state, ticket, began, account.id.clone(), Arc::new(account));
                }
            }
            Kind::Group => {
                if let Some(record) = record {
                    let group: EntityGroup = decode(key, record)?;
                    self.groups.fill(&state, ticket, began, group.id.clone(), Arc::new(group));
                }
            }
            // Absence can be cached: places are asked for by their group's record, so the tenant is the group's own.
            Kind::Entity => {
                let entity = record.map(|record| decode::<Entity>(key, record).map(Arc::new)).transpose()?;
                let (group, account) = key.id.split_once(':').ok_or_else(|| id(&key.id))?;
                let group = group.parse().map_err(|_| id(&key.id))?;
                let account = account.parse().map_err(|_| id(&key.id))?;
                self.entities.fill(&state, ticket, began, (group, account), entity);
            }
            // As for entities.
            Kind::GroupMember => {
                let place = record.map(|record| decode::<GroupMember>(key, record).map(Arc::new)).transpose()?;
                let (group, member) = key.id.split_once(':').ok_or_else(|| id(&key.id))?;
                let group = group.parse().map_err(|_| id(&key.id))?;
                let member = member.parse().map_err(|_| id(&key.id))?;
                self.group_members.fill(&state, ticket, began, (group, member), place);
            }
            Kind::Admission => {
                let admission = record.map(|record| decode::<Admission>(key, record).map(Arc::new)).transpose()?;
                let client = key.id.parse().map_err(|_| id(&key.id))?;
                self.admissions.fill(&state, ticket, began, (key.tenant.clone(), client), admission);
            }
            Kind::Member => {
                if let Some(record) = record {
                    let member: Member = decode(key, record)?;
                    self.members.fill(&state, ticket, began, member.id.clone(), Arc::new(member));
                }
            }
            // Absence can be cached: ids of accounts and members are never used in another tenant.
            Kind::Membership => {
                let membership = record.map(|record| decode::<Membership>(key, record).map(Arc::new)).transpose()?;
                let (account, member) = key.id.split_once(':').ok_or_else(|| id(&key.id))?;
                let account = account.parse().map_err(|_| id(&key.id))?;
                let member = member.parse().map_err(|_| id(&key.id))?;
                self.memberships.fill(&state, ticket, began, (account, member), membership);
            }
            Kind::Role => {
                if let Some(record) = record {
                    let role: Role = decode(key, record)?;
                    self.roles.fill(&state, ticket, began, role.id.clone(), Arc::new(role));
                }
            }
            Kind::IdentityProfile => {
                if let Some(record) = record {
                    let profile: IdentityProfile = decode(key, record)?;
                    self.profiles.fill(&state, ticket, began, profile.id.clone(), Arc::new(profile));
                }
            }
            Kind::Identity
            | Kind::Attempts
            | Kind::Tally
            | Kind::Event
            | Kind::OneTimePassword
            | Kind::KeySet
            | Kind::SecretUse
            | Kind::MasterKeys => {}
        }
        Ok(())
    }
}

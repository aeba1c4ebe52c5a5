//! Reading records: from the caches that the log keeps true, else from the store, all that is missing in one read.

use std::sync::Arc;

use super::{
    Directory,
    grouped::{Entity, EntityGroup, GroupMember, entity_id, group_member_id},
    record::{Account, Admission, Client, KeySetRecord, State, Stored, Tenant},
    roster::{Member, Membership, Role, membership_id},
    standing::Standing,
};
use crate::{
    ambient::Time,
    keys::signing::KeySet,
    revocation::cache::MAX_AGE,
    store::{Kind, Record, RecordKey, Session, SessionKey},
    token::{AccountId, ClientId, Error, GroupId, MemberId, Result, RoleId, TenantId},
};

/// What a token depends on.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub tenant: Option<TenantId>,
    pub clients: Vec<(TenantId, ClientId)>,
    pub admissions: Vec<(TenantId, ClientId)>,
    pub accounts: Vec<(TenantId, AccountId)>,
    /// Members, each in one account.
    pub members: Vec<(TenantId, AccountId, MemberId)>,
    /// Members by themselves.
    pub people: Vec<(TenantId, MemberId)>,
    pub groups: Vec<(TenantId, GroupId)>,
    /// Places of accounts in entity groups.
    pub entities: Vec<(TenantId, GroupId, AccountId)>,
    /// Places of members in entity groups.
    pub group_members: Vec<(TenantId, GroupId, MemberId)>,
    pub roles: Vec<(TenantId, RoleId)>,
    pub sessions: Vec<SessionKey>,
}

// === impl Directory ===

impl Directory {
    /// Fills the caches with what is wanted and missing: one read of records and one of sessions, sent together.
    pub async fn preload(&self, wanted: &[Wanted]) -> Result<()> {
        let mut keys = Vec::new();
        let mut sessions = Vec::new();
        for wanted in wanted {
            if let Some(tenant) = wanted.tenant.as_ref().filter(|id| self.tenants.get(id).is_none()) {
                keys.push(tenant_key(tenant));
            }
            for (tenant, client) in &wanted.clients {
                if self.clients.get(client).is_none() {
                    keys.push(key::<Client>(tenant, client));
                }
            }
            for (tenant, client) in &wanted.admissions {
                if self.admissions.get(&(tenant.clone(), client.clone())).is_none() {
                    keys.push(key::<Admission>(tenant, client));
                }
            }
            for (tenant, account) in &wanted.accounts {
                if self.accounts.get(account).is_none() {
                    keys.push(key::<Account>(tenant, account));
                }
            }
            let people = wanted.people.iter().map(|(tenant, member)| (tenant, member));
            for (tenant, member) in people.chain(wanted.members.iter().map(|(tenant, _, member)| (tenant, member))) {
                if self.members.get(member).is_none() {
                    keys.push(key::<Member>(tenant, member));
                }
            }
            for (tenant, account, member) in &wanted.members {
                if self.memberships.get(&(account.clone(), member.clone())).is_none() {
                    keys.push(key::<Membership>(tenant, &membership_id(account, member)));
                }
            }
            for (tenant, role) in &wanted.roles {
                if self.roles.get(role).is_none() {
                    keys.push(key::<Role>(tenant, role));
                }
            }
            for (tenant, group) in &wanted.groups {
                if self.groups.get(group).is_none() {
                    keys.push(key::<EntityGroup>(tenant, group));
                }
            }
            for (tenant, group, account) in &wanted.entities {
                if self.entities.get(&(group.clone(), account.clone())).is_none() {
                    keys.push(key::<Entity>(tenant, &entity_id(group, account)));
                }
            }
            for (tenant, group, member) in &wanted.group_members {
                if self.group_members.get(&(group.clone(), member.clone())).is_none() {
                    keys.push(key::<GroupMember>(tenant, &group_member_id(group, member)));
                }
            }
            sessions.extend(wanted.sessions.iter().filter(|key| self.sessions.get(key).is_none()).cloned());
        }
        if keys.is_empty() && sessions.is_empty() {
            return Ok(());
        }
        // Boxed, as every way to the store is here: what is in memory should not pay for the state of what is not.
        Box::pin(self.load_missing(keys, sessions)).await
    }

    async fn load_missing(&self, mut keys: Vec<RecordKey>, mut sessions: Vec<SessionKey>) -> Result<()> {
        keys.sort_unstable();
        keys.dedup();
        sessions.sort_unstable();
        sessions.dedup();
        let records = async { if keys.is_empty() { Ok(()) } else { self.read_all(&keys).await } };
        let sessions = async { if sessions.is_empty() { Ok(()) } else { self.read_sessions(&sessions).await } };
        tokio::try_join!(records, sessions).map(|_| ())
    }

    /// The tenant, which must exist.
    pub async fn existing_tenant(&self, id: &TenantId) -> Result<Arc<Tenant>> {
        self.tenant(id).await?.ok_or_else(|| Error::not_found(Tenant::NAME, id.to_string()))
    }

    pub async fn tenant(&self, id: &TenantId) -> Result<Option<Arc<Tenant>>> {
        if let Some(tenant) = self.tenants.get(id) {
            return Ok(tenant.filter(|tenant| tenant.state != State::Deleted));
        }
        let tenant: Option<Tenant> = Box::pin(self.read(&tenant_key(id))).await?;
        Ok(tenant.filter(|tenant| tenant.state != State::Deleted).map(Arc::new))
    }

    /// The client, if `tenant` is its home. Deleted ones are `None`.
    pub async fn client(&self, tenant: &TenantId, id: &ClientId) -> Result<Option<Arc<Client>>> {
        let own = |client: &Arc<Client>| client.tenant == *tenant && client.state != State::Deleted;
        if let Some(client) = self.clients.get(id) {
            return Ok(Some(client).filter(own));
        }
        let client: Option<Client> = Box::pin(self.read(&key::<Client>(tenant, id))).await?;
        Ok(client.map(Arc::new).filter(own))
    }

    /// The client wherever it is at home, if memory knows it. Deleted ones are `None`.
    pub(super) fn cached_client(&self, id: &ClientId) -> Option<Arc<Client>> {
        self.clients.get(id).filter(|client| client.state != State::Deleted)
    }

    /// The account, deleted ones included.
    pub async fn account(&self, tenant: &TenantId, id: &AccountId) -> Result<Option<Arc<Account>>> {
        if let Some(account) = self.accounts.get(id) {
            return Ok(Some(account).filter(|account| account.tenant == *tenant));
        }
        Ok(Box::pin(self.read(&key::<Account>(tenant, id))).await?.map(Arc::new))
    }

    /// The entity group, deleted ones included.
    pub async fn group(&self, tenant: &TenantId, id: &GroupId) -> Result<Option<Arc<EntityGroup>>> {
        if let Some(group) = self.groups.get(id) {
            return Ok(Some(group).filter(|group| group.tenant == *tenant));
        }
        Ok(Box::pin(self.read(&key::<EntityGroup>(tenant, id))).await?.map(Arc::new))
    }

    /// Whether an account has a place in a group now. Whether the account itself lives is told by its own record.
    pub async fn is_entity(&self, group: &EntityGroup, account: &AccountId) -> Result<bool> {
        // The places of a deleted group are left in the store.
        if group.state == State::Deleted {
            return Ok(false);
        }
        let entity = match self.entities.get(&(group.id.clone(), account.clone())) {
            Some(entity) => entity,
            None => Box::pin(self.read(&entity_key(group, account))).await?.map(Arc::new),
        };
        Ok(entity.is_some_and(|entity| entity.state == State::Enabled))
    }

    /// A member's place in a group, if it has one now. Whether the member itself may act is told by its own record.
    pub async fn group_member(&self, group: &EntityGroup, member: &MemberId) -> Result<Option<Arc<GroupMember>>> {
        // The places of a deleted group end after it.
        if group.state == State::Deleted {
            return Ok(None);
        }
        let place = match self.group_members.get(&(group.id.clone(), member.clone())) {
            Some(place) => place,
            None => {
                let key = key::<GroupMember>(&group.tenant, &group_member_id(&group.id, member));
                Box::pin(self.read(&key)).await?.map(Arc::new)
            }
        };
        Ok(place.filter(|place: &Arc<GroupMember>| place.state == State::Enabled))
    }

    /// The member, deleted ones included.
    pub async fn member(&self, tenant: &TenantId, id: &MemberId) -> Result<Option<Arc<Member>>> {
        if let Some(member) = self.members.get(id) {
            return Ok(Some(member).filter(|member| member.tenant == *tenant));
        }
        Ok(Box::pin(self.read(&key::<Member>(tenant, id))).await?.map(Arc::new))
    }

    /// A member's place in an account, deleted ones included.
    pub async fn membership(
        &self,
        tenant: &TenantId,
        account: &AccountId,
        member: &MemberId,
    ) -> Result<Option<Arc<Membership>>> {
        if let Some(membership) = self.memberships.get(&(account.clone(), member.clone())) {
            return Ok(membership.filter(|membership| membership.tenant == *tenant));
        }
        Ok(Box::pin(self.read(&key::<Membership>(tenant, &membership_id(account, member)))).await?.map(Arc::new))
    }

    /// The role, deleted ones included.
    pub async fn role(&self, tenant: &TenantId, id: &RoleId) -> Result<Option<Arc<Role>>> {
        if let Some(role) = self.roles.get(id) {
            return Ok(Some(role).filter(|role| role.tenant == *tenant));
        }
        Ok(Box::pin(self.read(&key::<Role>(tenant, id))).await?.map(Arc::new))
    }

    /// The admission of a client, unless it was expelled.
    pub async fn admission(&self, tenant: &TenantId, client: &ClientId) -> Result<Option<Arc<Admission>>> {
        let admitted = |admission: &Arc<Admission>| admission.state == State::Enabled;
        if let Some(admission) = self.admissions.get(&(tenant.clone(), client.clone())) {
            return Ok(admission.filter(admitted));
        }
        let admission: Option<Admission> = Box::pin(self.read(&key::<Admission>(tenant, client))).await?;
        Ok(admission.map(Arc::new).filter(admitted))
    }

    /// What a client of tenant `home` may do in `tenant`; `None` where it has no business.
    pub async fn standing(
        &self,
        tenant: &TenantId,
        home: &TenantId,
        client: &ClientId,
    ) -> Result<Option<Arc<Standing>>> {
        let abroad = home != tenant;
        if abroad || self.tenants.get(tenant).is_none() || self.clients.get(client).is_none() {
            let wanted = Wanted {
                tenant: Some(tenant.clone()),
                clients: vec![(home.clone(), client.clone())],
                admissions: if abroad { vec![(tenant.clone(), client.clone())] } else { Vec::new() },
                ..Wanted::default()
            };
            self.preload(std::slice::from_ref(&wanted)).await?;
        }
        let (Some(tenant_record), Some(client_record)) = (self.tenant(tenant).await?, self.client(home, client).await?)
        else {
            return Ok(None);
        };
        let admission = if abroad { self.admission(tenant, client).await? } else { None };
        if abroad && admission.is_none() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Standing { tenant: tenant_record, client: client_record, admission })))
    }

    /// A tenant's keys, parsed; `None` if there is no such tenant.
    pub async fn key_set(&self, tenant: &TenantId) -> Result<Option<Arc<KeySet>>> {
        if let Some(keys) = self.key_sets.get(tenant) {
            return Ok(Some(keys));
        }
        Box::pin(self.load_key_set(tenant)).await
    }

    async fn load_key_set(&self, tenant: &TenantId) -> Result<Option<Arc<KeySet>>> {
        let (ticket, began) = self.follower.ticket();
        let Some(stored) = self.read::<KeySetRecord>(&key::<KeySetRecord>(tenant, tenant)).await? else {
            return Ok(None);
        };
        let keys = Arc::new(KeySet::read(&stored.set, tenant, &self.ring, self.now())?);
        self.key_sets.fill(&self.follower.state(), ticket, began, tenant.clone(), Arc::clone(&keys));
        Ok(Some(keys))
    }

    /// Until when a session is alive, as far as memory knows; it may be longer.
    pub fn known_alive(&self, session: &SessionKey) -> Option<Time> {
        self.sessions.get(session)
    }

    /// Until when sessions are alive, from the store.
    pub async fn read_sessions(&self, sessions: &[SessionKey]) -> Result<()> {
        let (ticket, began) = self.follower.ticket();
        let now = self.now();
        let known = self.store.sessions(sessions).await?;
        let state = self.follower.state();
        for (session, known) in sessions.iter().zip(known) {
            if let Some(known) = known {
                // For no longer than a copy is believed: with a shorter idle time since, a mint may have brought it nearer.
                let alive_until = known.alive_until.min(now.plus(MAX_AGE));
                self.sessions.fill(&state, ticket, began, session.clone(), alive_until);
            }
        }
        Ok(())
    }

    /// What is known of a session, from the store.
    pub async fn session(&self, session: &SessionKey) -> Result<Option<Session>> {
        Ok(self.store.sessions(std::slice::from_ref(session)).await?.pop().flatten())
    }

    /// Reads one record from the store, caches it, and repairs what a crash left undone.
    pub(super) async fn read<R: Stored>(&self, key: &RecordKey) -> Result<Option<R>> {
        let (ticket, began) = self.follower.ticket();
        let mut records = self.store.read(std::slice::from_ref(key)).await?;
        let record = records.pop().flatten();
        self.take_in(key, record.as_ref(), ticket, began)?;
        let Some(record) = record else { return Ok(None) };
        self.repair(key, &record).await?;
        decode(key, &record).map(Some)
    }

    /// Reads records of a kind that is not cached, in the order of `keys`.
    pub(super) async fn read_records<R: Stored>(&self, keys: &[RecordKey]) -> Result<Vec<Option<R>>> {
        let records = self.store.read(keys).await?;
        let mut decoded = Vec::with_capacity(keys.len());
        for (key, record) in keys.iter().zip(records) {
            decoded.push(match record {
                Some(record) => {
                    self.repair(key, &record).await?;
                    Some(decode(key, &record)?)
                }
                None => None,
            });
        }
        Ok(decoded)
    }

    async fn read_all(&self, keys: &[RecordKey]) -> Result<()> {
        let (ticket, began) = self.follower.ticket();
        let records = self.store.read(keys).await?;
        for (key, record) in keys.iter().zip(&records) {
            self.take_in(key, record.as_ref(), ticket, began)?;
        }
        for (key, record) in keys.iter().zip(&records) {
            if let Some(record) = record {
                self.repair(key, record).await?;
            }
        }
        Ok(())
    }
}

/// Where a tenant's record stands: in the directory of `system`.
pub(super) fn tenant_key(id: &TenantId) -> RecordKey {
    RecordKey { tenant: TenantId::system(), kind: Kind::Tenant, id: id.to_string() }
}

/// Where a record of a tenant stands.
pub(super) fn key<R: Stored>(tenant: &TenantId, id: &impl ToString) -> RecordKey {
    RecordKey { tenant: tenant.clone(), kind: R::KIND, id: id.to_string() }
}

/// Where an account's place in a group stands.
pub(super) fn entity_key(group: &EntityGroup, account: &AccountId) -> RecordKey {
    key::<Entity>(&group.tenant, &entity_id(&group.id, account))
}

/// Reads a record's body.
pub(super) fn decode<R: Stored>(key: &RecordKey, record: &Record) -> Result<R> {
    let mut decoded: R = minicbor::decode(&record.body)
        .map_err(|source| Error::internal(format!("decode the {} {}", R::NAME, key.id)).with_source(source))?;
    decoded.set_version(record.version);
    Ok(decoded)
}

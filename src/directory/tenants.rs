//! Tenants and their signing keys.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    DEFAULT, Directory,
    accounts::{any, name_of, state_name},
    caller::require_unconfined,
    clients::{ShownSecret, new_client},
    commit::{Edit, MAX_RACES, Repeat, refused},
    load::key,
    page::{Page, PageRequest},
    permit::{Act, Visit},
    record::{Client, Kept as _, KeySetRecord, State, Stored as _, Tenant},
    settings::{Settings, SettingsPatch},
};
use crate::{
    ambient::{Fresh as _, Time},
    keys::{
        ring::Keyring,
        signing::{Algorithm, State as KeyState, StoredKey, StoredKeySet},
    },
    revocation::{cache::Invalidate as _, entry::Entry},
    store::{Change, Index, Kind, Put, Written},
    token::{
        ClientId, Error, GrantType, Ident, Position, Reason, Result, Scopes, TenantId,
        access::KeyId,
        filter::{Field, Filter, NAME_OPS, TEXT_OPS, Value},
        id::SYSTEM,
        scope::ALL_MANAGEMENT,
    },
};

/// What a caller says of a tenant; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct TenantPatch {
    pub display_name: Option<String>,
    pub service_urls: Option<BTreeMap<String, String>>,
    pub settings: SettingsPatch,
}

/// The fields that tenants can be filtered by.
pub const FIELDS: &[Field] = &[
    Field { name: "display_name", ops: TEXT_OPS, value: any },
    Field { name: "state", ops: NAME_OPS, value: state_name },
];

// === impl Directory: tenants ===

impl Act {
    pub async fn create_tenant(
        &self,
        id: Option<TenantId>,
        patch: TenantPatch,
        repeat: Option<Repeat>,
    ) -> Result<(Arc<Tenant>, Position)> {
        let id = match id {
            Some(id) => id,
            None => TenantId::random()?,
        };
        let mut tenant = new_tenant(id, self.directory.now());
        apply(&mut tenant, patch)?;
        let system = TenantId::system();
        let request =
            repeat.map(|repeat| repeat.request(&system, self.caller(), tenant.id.to_string(), self.directory.now()));
        match (self.directory.insert_tenant(tenant, request).await?, repeat) {
            (Inserted::New(tenant, position), _) => Ok((tenant, position)),
            (Inserted::Repeated(body, id), Some(repeat)) => {
                repeat.check(body)?;
                let id: TenantId = id.parse().map_err(|_| Error::internal("read a remembered request"))?;
                let tenant: Tenant = self
                    .directory
                    .fresh(&Tenant::place(&id, &id))
                    .await?
                    .ok_or_else(|| Error::internal("find what a remembered request made"))?;
                let position = self.directory.core.log.append(&[Entry::changed(tenant.ident())]).await?;
                Ok((Arc::new(tenant), position))
            }
            (Inserted::Repeated(..), None) => Err(Error::internal("handle a repeat that was not asked for")),
        }
    }

    /// The tenant that the call is about.
    pub async fn tenant_of(&self) -> Result<Arc<Tenant>> {
        self.directory.existing_tenant(self.tenant()).await
    }

    pub async fn update_tenant(&self, etag: &str, patch: TenantPatch) -> Result<(Arc<Tenant>, Position)> {
        let caller = self.caller();
        let found = self.tenant_of().await?;
        require_unconfined(caller)?;
        if patch.settings.eternal_tokens == Some(true) {
            caller.require(crate::token::scope::management::TOKENS_ETERNAL)?;
        }
        if let Some(Some(audience)) = &patch.settings.default_audience {
            // Every client may ask for it from then on.
            self.limits().await?.check_audiences(std::slice::from_ref(audience))?;
        }
        let before = found.settings.clone();
        let (tenant, position) = self
            .directory
            .edit_tenant(&found.id, Some(etag), |tenant| {
                apply(tenant, patch.clone())?;
                Ok(Entry::changed(Ident::Tenant(tenant.id.clone())))
            })
            .await?;
        if tenant.settings.signing_algorithm() != before.signing_algorithm() {
            let (_, position) = self.directory.rotate_key(&tenant, Rotation::NewAlgorithm).await?;
            return Ok((tenant, position));
        }
        if tenant.settings.key_announcement() != before.key_announcement() {
            let tell = |set: &mut StoredKeySet, now| {
                set.tell(tenant.settings.key_announcement(), now);
                Ok(Entry::changed(Ident::Tenant(tenant.id.clone())))
            };
            let (_, position) = self.directory.edit_keys(&tenant, tell).await?;
            return Ok((tenant, position));
        }
        Ok((tenant, position))
    }

    pub async fn set_tenant_state(&self, etag: Option<&str>, state: State) -> Result<(Arc<Tenant>, Position)> {
        let id = self.tenant();
        let requested = self.tenant_of().await?.id.to_string();
        if state != State::Enabled && (requested == SYSTEM || (requested == DEFAULT && state == State::Deleted)) {
            return Err(Error::new(Reason::BuiltIn, format!("the tenant {requested} is built in")));
        }
        self.directory
            .edit_tenant(id, etag, |tenant| {
                tenant.state = state;
                let ident = Ident::Tenant(tenant.id.clone());
                Ok(match state {
                    State::Enabled => Entry::changed(ident),
                    State::Disabled | State::Deleted => Entry::revoke(ident),
                })
            })
            .await
    }

    /// Lists the tenants within reach, by id.
    pub async fn list_tenants(&self, filter: &Filter, page: &PageRequest) -> Result<Page<Arc<Tenant>>> {
        let caller = self.caller();
        let matches = |tenant: &Tenant| {
            filter.matches(|field, _| match field {
                "display_name" => Value::Text(Some(&tenant.display_name)),
                _ => Value::Name(name_of(tenant.state)),
            })
        };
        if !caller.is_admin() {
            let own = self.directory.tenant(&caller.tenant).await?.filter(|tenant| matches(tenant));
            return Ok(Page { items: own.into_iter().collect(), next: String::new() });
        }
        let shown = |tenant: &Tenant| tenant.state != State::Deleted && matches(tenant);
        self.directory.list_records(&tenant_index(), page, shown).await
    }
}

// === impl Visit ===

impl Visit {
    /// The keys that verify a tenant's JWTs, and how long that may be believed.
    pub async fn public_keys(&self, named: &str) -> Result<(Vec<StoredKey>, Duration)> {
        let own = self.tenant().map_or_else(|| DEFAULT.to_owned(), ToString::to_string);
        let requested = if named.is_empty() { own.as_str() } else { named };
        let not_found = || Error::not_found("Tenant", requested);
        let id: TenantId = requested.parse().map_err(|_| not_found())?;
        self.directory.tenant(&id).await?.ok_or_else(not_found)?;
        let now = self.directory.now();
        // What is told stands in the set itself, so that whoever announces a key knows what was told of the sets without it.
        let StoredKeySet { mut keys, max_age, .. } = self.directory.listed_set(&id).await?;
        keys.retain(|key| key.state(now) != KeyState::Revoked);
        Ok((keys, max_age))
    }
}

// === impl Directory ===

impl Directory {
    /// Makes what every start needs: the tenants `system` and `default`, and the bootstrap client if there is none yet.
    /// Returns the client's secret if one was made here.
    pub async fn bootstrap(&self, client: Option<ClientId>) -> Result<Option<(Arc<Client>, ShownSecret)>> {
        let Some((client, shown)) = self.prepare_bootstrap(client).await? else { return Ok(None) };
        Ok(self.insert_bootstrap(client).await?.map(|client| (client, shown)))
    }

    /// The same up to the client, which is returned and not stored yet: whoever is to know its secret is told first, because
    /// after a crash nobody could be.
    pub async fn prepare_bootstrap(&self, client: Option<ClientId>) -> Result<Option<(Client, ShownSecret)>> {
        self.core.log.head().await?;
        for id in [SYSTEM, DEFAULT] {
            let id: TenantId = id.parse().map_err(|_| Error::internal("parse a built-in tenant's id"))?;
            if self.tenant(&id).await?.is_none() {
                let tenant = new_tenant(id.clone(), self.now());
                match self.insert_tenant(tenant, None).await {
                    Ok(_) => {}
                    // Another replica was faster.
                    Err(error) if error.reason() == Reason::TenantIdTaken => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let system = TenantId::system();
        let id = match client {
            Some(id) if self.client(&system, &id).await?.is_some() => return Ok(None),
            Some(id) => id,
            None if !self.core.store.list(&client_index(&system), None, 1).await?.is_empty() => return Ok(None),
            None => ClientId::random()?,
        };
        let all = Scopes::new(ALL_MANAGEMENT);
        let admin = Client {
            display_name: "bootstrap administrator".to_owned(),
            allowed_grants: vec![
                GrantType::ClientCredentials,
                GrantType::Account,
                GrantType::Member,
                GrantType::EntityGroup,
                GrantType::TokenExchange,
                GrantType::AuthenticatedMember,
            ],
            allowed_scopes: all.clone(),
            default_scopes: all,
            introspects: vec!["*".to_owned()],
            ..new_client(id, &system, None, self.now())
        };
        self.with_first_secret(admin).map(Some)
    }

    /// Stores the bootstrap client; `None` if another replica was faster.
    pub async fn insert_bootstrap(&self, client: Client) -> Result<Option<Arc<Client>>> {
        let (written, client, _) = self.insert_client(client, None).await?;
        match written {
            Written::Done => Ok(Some(client)),
            Written::Conflict(..) => Ok(None),
            other @ (Written::Taken(_) | Written::NotEmpty(_) | Written::Repeated { .. }) => Err(refused(other)),
        }
    }

    /// Writes the keys, then the tenant: a tenant that can be seen has keys.
    async fn insert_tenant(&self, tenant: Tenant, request: Option<crate::store::Request>) -> Result<Inserted> {
        let now = self.now();
        let taken = || {
            Error::new(Reason::TenantIdTaken, "the tenant id is taken").with_resource("Tenant", tenant.id.to_string())
        };
        let key = self.generate_key(&tenant.id, tenant.settings.signing_algorithm()).await?;
        let keys = KeySetRecord {
            tenant: tenant.id.clone(),
            set: StoredKeySet::new(key, tenant.settings.key_announcement()),
            version: 1,
        };
        let mut change = Change::new(tenant.id.clone(), now);
        change.puts.push(put_new(Kind::KeySet, tenant.id.to_string(), keys.to_bytes()));
        // A key set that is there already belongs to a start or create that died here; its tenant may be written now.
        let _ = self.core.store.write(&change).await?;

        let slot = Tenant::place(&tenant.id, &tenant.id);
        let mut change = Change::new(slot.tenant, now);
        change.puts.push(put_new(Kind::Tenant, slot.id.clone(), tenant.to_bytes()));
        change.index.push((tenant_index(), slot.id));
        change.request = request;
        let (written, position) = self.commit(change, &[Entry::changed(tenant.ident())]).await?;
        match written {
            Written::Done => Ok(Inserted::New(Arc::new(tenant), position)),
            Written::Repeated { body, result } => Ok(Inserted::Repeated(body, result)),
            Written::Conflict(..) => Err(taken()),
            other @ (Written::Taken(_) | Written::NotEmpty(_)) => Err(refused(other)),
        }
    }

    async fn edit_tenant(
        &self,
        id: &TenantId,
        etag: Option<&str>,
        edit: impl Fn(&mut Tenant) -> Result<Entry>,
    ) -> Result<(Arc<Tenant>, Position)> {
        let slot = Tenant::place(id, id);
        self.edit(&slot, etag, |mut tenant: Tenant| {
            if tenant.state == State::Deleted {
                return Err(Error::not_found("Tenant", id.to_string()));
            }
            let entry = edit(&mut tenant)?;
            tenant.updated = self.now();
            Ok(Edit { record: tenant, change: Change::new(slot.tenant.clone(), self.now()), entries: vec![entry] })
        })
        .await
    }
}

enum Inserted {
    New(Arc<Tenant>, Position),
    Repeated([u8; 16], String),
}

// === impl Directory: signing keys ===

/// Why keys rotate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// An operator asks; a key that is announced already will do.
    Asked,
    /// The active key is old enough; nothing is done if another replica was faster.
    Due,
    /// The tenant signs in another way from now on; a key of the old way that is announced will not do.
    NewAlgorithm,
}

impl Act {
    /// Announces a new key of the tenant that the call is about, unless one is announced already.
    pub async fn rotate_signing_key(&self) -> Result<(StoredKey, Position)> {
        require_unconfined(self.caller())?;
        let tenant = self.tenant_of().await?;
        self.directory.rotate_key(&tenant, Rotation::Asked).await
    }

    /// Revokes a key. If it was the one that signs, or the next, a new one signs from now on.
    pub async fn revoke_signing_key(&self, id: &str) -> Result<(StoredKey, Position)> {
        require_unconfined(self.caller())?;
        let tenant = &*self.tenant_of().await?;
        let settings = &tenant.settings;
        let id = KeyId::new(id);
        let fresh = self.directory.generate_key(&tenant.id, settings.signing_algorithm()).await?;
        let (keys, position) = self
            .directory
            .edit_keys(tenant, |set, now| {
                if !set.revoke(&id, now) {
                    return Err(Error::not_found("SigningKey", id.as_str()));
                }
                if set.active(now).is_none() {
                    set.announce(fresh.clone(), now, now);
                }
                // What another key signs once the revoked one would have taken over is not decided yet.
                set.extend_active(now);
                Ok(Entry::revoke(Ident::SigningKey(tenant.id.clone(), id.shared())))
            })
            .await?;
        let key = keys.set.keys.iter().find(|key| key.id == id).cloned();
        Ok((key.ok_or_else(|| Error::internal("find the key that was revoked"))?, position))
    }
}

// === impl Directory ===

impl Directory {
    /// Announces a new key of a tenant, and returns the one that is announced.
    pub async fn rotate_key(&self, tenant: &Tenant, why: Rotation) -> Result<(StoredKey, Position)> {
        let settings = &tenant.settings;
        let algorithm = settings.signing_algorithm();
        let fresh = self.generate_key(&tenant.id, algorithm).await?;
        let (keys, position) = self
            .edit_keys(tenant, |set, now| {
                set.tell(settings.key_announcement(), now);
                let announced = set.announced(now).filter(|key| key.algorithm == algorithm);
                let due = set.is_due(now, settings.key_rotation_period(), settings.key_announcement());
                let enough = match why {
                    Rotation::Asked | Rotation::NewAlgorithm => announced.is_some(),
                    Rotation::Due => !due,
                };
                if !enough {
                    // A set that has nothing to sign with cannot wait for the announcement.
                    let activates = match set.active(now) {
                        Some(_) => set.known(now),
                        None => now,
                    };
                    set.announce(fresh.clone(), now, activates);
                }
                Ok(Entry::changed(Ident::Tenant(tenant.id.clone())))
            })
            .await?;
        let now = self.now();
        let key = keys.set.announced(now).or_else(|| keys.set.active(now)).cloned();
        Ok((key.ok_or_else(|| Error::internal("find the key that was announced"))?, position))
    }

    /// Notes that a key is about to sign tokens that expire up to `expires`. False if it may not any more.
    pub async fn cover_key(&self, tenant: &TenantId, id: &KeyId, expires: Time) -> Result<bool> {
        let slot = key::<KeySetRecord>(tenant, tenant);
        for _ in 0..MAX_RACES {
            let record: Option<KeySetRecord> = self.fresh(&slot).await?;
            let Some(mut record) = record else { return Ok(false) };
            let covered = |set: &StoredKeySet| set.keys.iter().any(|key| key.id == *id && key.signed_until >= expires);
            if covered(&record.set) {
                // Another call was faster, and this replica has not heard of it: it must not ask again and again.
                self.shelves.key_sets.outdate(&Ident::Tenant(tenant.clone()));
                return Ok(true);
            }
            if !record.set.cover(id, expires, self.now()) {
                return Ok(false);
            }
            let mut change = Change::new(tenant.clone(), self.now());
            change.puts.push(Put::new(slot.kind, slot.id.clone(), Some(record.version), record.to_bytes()));
            if self.commit(change, &[Entry::changed(Ident::Tenant(tenant.clone()))]).await?.0 == Written::Done {
                return Ok(true);
            }
        }
        Err(Error::new(Reason::ConcurrentUpdate, "too many concurrent changes of the signing keys"))
    }

    /// All keys of a tenant that are listed: announced, active, retiring and revoked ones.
    pub async fn listed_keys(&self, tenant: &TenantId) -> Result<Vec<StoredKey>> {
        Ok(self.listed_set(tenant).await?.keys)
    }

    async fn listed_set(&self, tenant: &TenantId) -> Result<StoredKeySet> {
        let record: Option<KeySetRecord> = self.fresh(&key::<KeySetRecord>(tenant, tenant)).await?;
        let now = self.now();
        let mut set = record.map(|record| record.set).unwrap_or_default();
        set.keys.retain(|key| key.state(now) != KeyState::Removed);
        Ok(set)
    }

    /// Seals keys again that are sealed under an old master key, so that it can be taken away.
    pub async fn reseal_keys(&self, tenant: &Tenant) -> Result<()> {
        let current = crate::token::secret::Mac::current(&*self.core.ring);
        let old = |key: &StoredKey| key.sealed_by().is_some_and(|id| id != current);
        if !self.listed_keys(&tenant.id).await?.iter().any(old) {
            return Ok(());
        }
        let ring: &Keyring = &self.core.ring;
        self.edit_keys(tenant, |set, _| {
            for key in set.keys.iter_mut().filter(|key| old(key)) {
                key.reseal(&tenant.id, ring)?;
            }
            Ok(Entry::changed(Ident::Tenant(tenant.id.clone())))
        })
        .await?;
        Ok(())
    }

    async fn edit_keys(
        &self,
        tenant: &Tenant,
        edit: impl Fn(&mut StoredKeySet, Time) -> Result<Entry>,
    ) -> Result<(Arc<KeySetRecord>, Position)> {
        let slot = key::<KeySetRecord>(&tenant.id, &tenant.id);
        self.edit(&slot, None, |mut record: KeySetRecord| {
            let now = self.now();
            let entry = edit(&mut record.set, now)?;
            Ok(Edit { record, change: Change::new(tenant.id.clone(), now), entries: vec![entry] })
        })
        .await
    }

    async fn generate_key(&self, tenant: &TenantId, algorithm: Algorithm) -> Result<StoredKey> {
        let (ring, now, tenant) = (Arc::clone(&self.core.ring), self.now(), tenant.clone());
        let generate = move || StoredKey::generate(&tenant, algorithm, &ring, now);
        // An RSA key takes some 100 ms.
        let generated = tokio::task::spawn_blocking(generate).await;
        Ok(generated.map_err(|source| Error::internal("generate a signing key").with_source(source))??)
    }
}

fn new_tenant(id: TenantId, now: Time) -> Tenant {
    Tenant {
        id,
        display_name: String::new(),
        state: State::Enabled,
        service_urls: BTreeMap::new(),
        settings: Settings::default(),
        created: now,
        updated: now,
        version: 1,
    }
}

fn apply(tenant: &mut Tenant, patch: TenantPatch) -> Result<()> {
    if let Some(name) = patch.display_name {
        tenant.display_name = name;
    }
    if let Some(urls) = patch.service_urls {
        tenant.service_urls = urls;
    }
    super::settings::apply(&mut tenant.settings, patch.settings)
}

fn put_new(kind: Kind, id: String, body: bytes::Bytes) -> Put {
    Put::new(kind, id, Some(0), body)
}

fn tenant_index() -> Index {
    Index { tenant: TenantId::system(), kind: Kind::Tenant, parent: None }
}

fn client_index(tenant: &TenantId) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Client, parent: None }
}

//! The signing keys of tenants: one that signs, those that are announced, and those that still verify.

use std::{sync::Arc, time::Duration};

use jeton_contract::reason::Reason;
use jeton_core::{Ident, KeyId, Position, TenantId, Time, entry::Entry, public_key::Algorithm};

use super::{
    DEFAULT, Directory,
    caller::require_unconfined,
    commit::{Edit, MAX_RACES},
    load::key,
    permit::{Act, Visit},
    record::{KeySetRecord, Stored as _, Tenant},
};
use crate::{
    error::{Error, Result},
    keys::{
        ring::Keyring,
        signing::KeySet,
        stored::{State as KeyState, StoredKey, StoredKeySet},
    },
    revocation::cache::Invalidate as _,
    store::{Change, Put, Written},
};

/// Why keys rotate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// An operator asks; a key that is announced already will do.
    Requested,
    /// The active key is old enough; nothing is done if another replica was faster.
    Due,
    /// The tenant signs in another way from now on; a key of the old way that is announced will not do.
    NewAlgorithm,
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

// === impl Act ===

impl Act {
    /// Announces a new key of the tenant that the call is about, unless one is announced already.
    pub async fn rotate_signing_key(&self) -> Result<(StoredKey, Position)> {
        require_unconfined(self.caller())?;
        let tenant = self.tenant_of().await?;
        self.directory.rotate_key(&tenant, Rotation::Requested).await
    }

    /// Revokes a key. If it was the one that signs, or the next, a new one signs from now on.
    pub async fn revoke_signing_key(&self, id: &str) -> Result<(StoredKey, Position)> {
        require_unconfined(self.caller())?;
        let tenant = &*self.tenant_of().await?;
        let settings = &tenant.settings;
        let id: KeyId = id.parse().map_err(|_| Error::not_found("SigningKey", id))?;
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
                Ok(Entry::revoke(Ident::SigningKey(tenant.id.clone(), id.clone())))
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
                    Rotation::Requested | Rotation::NewAlgorithm => announced.is_some(),
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
        let place = key::<KeySetRecord>(tenant, tenant);
        for _ in 0..MAX_RACES {
            let record: Option<KeySetRecord> = self.fresh(&place).await?;
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
            change.puts.push(Put::new(place.kind, place.id.clone(), Some(record.version), record.to_bytes()));
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
        let current = jeton_core::secret::Mac::current(&*self.core.ring);
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

    pub(super) async fn edit_keys(
        &self,
        tenant: &Tenant,
        edit: impl Fn(&mut StoredKeySet, Time) -> Result<Entry>,
    ) -> Result<(Arc<KeySetRecord>, Position)> {
        let place = key::<KeySetRecord>(&tenant.id, &tenant.id);
        self.edit(&place, None, |mut record: KeySetRecord| {
            let now = self.now();
            let entry = edit(&mut record.set, now)?;
            Ok(Edit { record, change: Change::new(tenant.id.clone(), now), entries: vec![entry] })
        })
        .await
    }

    pub(super) async fn generate_key(&self, tenant: &TenantId, algorithm: Algorithm) -> Result<StoredKey> {
        let (ring, now, tenant) = (Arc::clone(&self.core.ring), self.now(), tenant.clone());
        let generate = move || StoredKey::generate(&tenant, algorithm, &ring, now);
        // An RSA key takes some 100 ms.
        let generated = tokio::task::spawn_blocking(generate).await;
        Ok(generated.map_err(|source| Error::internal("generate a signing key").with_source(source))??)
    }
}

// === impl Directory ===

impl Directory {
    /// A tenant's keys, parsed; `None` if there is no such tenant.
    pub async fn key_set(&self, tenant: &TenantId) -> Result<Option<Arc<KeySet>>> {
        if let Some(keys) = self.shelves.key_sets.get(tenant) {
            return Ok(Some(keys));
        }
        Box::pin(self.load_key_set(tenant)).await
    }

    async fn load_key_set(&self, tenant: &TenantId) -> Result<Option<Arc<KeySet>>> {
        let (ticket, began) = self.core.log.ticket();
        let places = [key::<KeySetRecord>(tenant, tenant)];
        let Some(stored) = self.read_records::<KeySetRecord>(&places).await?.pop().flatten() else {
            return Ok(None);
        };
        let keys = Arc::new(KeySet::read(&stored.set, tenant, &self.core.ring, self.now())?);
        self.shelves.key_sets.fill(&self.core.log.state(), ticket, began, tenant.clone(), Arc::clone(&keys));
        Ok(Some(keys))
    }
}

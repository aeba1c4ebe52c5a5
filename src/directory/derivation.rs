//! Which master keys are still needed.
//!
//! What is derived or sealed under a master key is worthless without it, so one record says for each key until when
//! something lives that depends on it. A start without a key that is needed is refused, instead of every login failing.

use std::sync::{Arc, atomic::Ordering};

use jeton_core::{
    TenantId, Time,
    secret::{DerivationKeyId, Mac as _},
};

use super::{Directory, page::MAX_SIZE, record::Client};
use crate::{
    error::{Error, Result},
    store::{Change, Index, Kind, Put, RecordKey, Written},
};

/// Until when each master key is needed.
#[derive(Clone, Debug, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
struct KeyUses {
    #[n(0)]
    keys: Vec<KeyUse>,
}

#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
struct KeyUse {
    #[n(0)]
    id: DerivationKeyId,
    /// When the last opaque or refresh token that it made has expired.
    #[n(1)]
    tokens_until: Time,
    /// Whether client secrets or sealed signing keys depend on it.
    #[n(2)]
    secrets: bool,
}

/// How much further than needed a note reaches, so that it is written about once a day and not with every token.
const AHEAD: std::time::Duration = std::time::Duration::from_secs(86_400);
/// How often a note that lost a race is written again.
const MAX_RACES: usize = 16;

// === impl Directory ===

impl Directory {
    /// Refuses a keyring that lacks a key which is still needed, and notes the current one.
    pub async fn check_master_keys(&self) -> Result<()> {
        let now = self.now();
        let (uses, _) = self.key_uses().await?;
        let needed = |key: &&KeyUse| key.secrets || key.tokens_until > now;
        let missing: Vec<_> = uses.keys.iter().filter(needed).filter(|key| !self.core.ring.contains(key.id)).collect();
        if missing.is_empty() {
            // Signing keys and client secrets are made under it from the first start on.
            self.note_key(|key| !std::mem::replace(&mut key.secrets, true)).await?;
            return Ok(());
        }
        let names: Vec<_> = missing.iter().map(|key| name(key.id)).collect();
        Err(Error::internal(format!(
            "the master key with the id {} is not configured, but what it made is still in use; put it behind the current one",
            names.join(", ")
        )))
    }

    /// Notes that the current master key is needed until a token expires. Before the token is handed out.
    pub async fn note_derived(&self, expires: Time) -> Result<()> {
        if expires.as_millis() <= self.key_noted_until.load(Ordering::Acquire) {
            return Ok(());
        }
        let noted = self.note_key(|key| {
            let is_short = key.tokens_until < expires;
            if is_short {
                key.tokens_until = expires.plus(AHEAD);
            }
            is_short
        });
        self.key_noted_until.fetch_max(noted.await?.tokens_until.as_millis(), Ordering::AcqRel);
        Ok(())
    }

    /// Moves what can be moved from old master keys to the current one, and tells which old ones can be taken away.
    /// Reads every tenant and client once, if there is more than one key.
    pub async fn retire_master_keys(&self) -> Result<()> {
        if !self.core.ring.has_old_keys() {
            return Ok(());
        }
        let current = self.core.ring.current();
        let mut still_used: Vec<DerivationKeyId> = Vec::new();
        for tenant in self.all_ids(&Index { tenant: TenantId::system(), kind: Kind::Tenant, parent: None }).await? {
            let Ok(tenant) = tenant.parse::<TenantId>() else { continue };
            let Some(record) = self.tenant(&tenant).await? else { continue };
            self.reseal_keys(&record).await?;
            self.reseal_profiles(&tenant).await?;
            for client in self.all_ids(&Index { tenant: tenant.clone(), kind: Kind::Client, parent: None }).await? {
                let Ok(client) = client.parse() else { continue };
                let client: Option<Arc<Client>> = self.client(&tenant, &client).await?;
                let live = client.iter().flat_map(|client| &client.secrets).filter(|secret| secret.is_live(self.now()));
                still_used.extend(live.map(|secret| secret.key).filter(|key| *key != current));
            }
        }
        let settled = self.change_key_uses(|uses| {
            for key in uses.keys.iter_mut().filter(|key| key.id != current && self.core.ring.contains(key.id)) {
                key.secrets = still_used.contains(&key.id);
            }
            true
        });
        let now = self.now();
        for key in settled.await?.keys.iter().filter(|key| key.id != current && self.core.ring.contains(key.id)) {
            match (key.secrets, key.tokens_until > now) {
                (false, false) => {
                    tracing::info!(key = name(key.id), "an old master key is not needed any more and can be taken away")
                }
                (true, _) => {
                    tracing::info!(key = name(key.id), "an old master key is needed: client secrets depend on it")
                }
                (false, true) => tracing::info!(
                    key = name(key.id),
                    until = crate::notation::moment::format(key.tokens_until),
                    "an old master key is needed: tokens depend on it"
                ),
            }
        }
        Ok(())
    }

    pub(super) async fn all_ids(&self, index: &Index) -> Result<Vec<String>> {
        let mut ids: Vec<String> = Vec::new();
        loop {
            let page = self.core.store.list(index, ids.last().map(String::as_str), MAX_SIZE).await?;
            let more = page.len() == MAX_SIZE;
            ids.extend(page);
            if !more {
                return Ok(ids);
            }
        }
    }

    /// Notes something about the current key, unless `note` finds nothing to change. Returns what is noted then.
    async fn note_key(&self, note: impl Fn(&mut KeyUse) -> bool) -> Result<KeyUse> {
        let id = self.core.ring.current();
        let uses = self.change_key_uses(|uses| match uses.keys.iter_mut().find(|key| key.id == id) {
            Some(key) => note(key),
            None => {
                let mut key = KeyUse { id, tokens_until: Time::from_millis(0), secrets: false };
                note(&mut key);
                uses.keys.push(key);
                true
            }
        });
        let noted = uses.await?.keys.into_iter().find(|key| key.id == id);
        noted.ok_or_else(|| Error::internal("note the use of a master key"))
    }

    /// Changes the record, unless `change` finds nothing to change. A call that loses a race to one that noted the same is
    /// done, so that no race is lost often however many calls there are. What was read is durable: reads are confirmed.
    async fn change_key_uses(&self, change: impl Fn(&mut KeyUses) -> bool) -> Result<KeyUses> {
        let key = key_uses();
        for _ in 0..MAX_RACES {
            let (mut uses, version) = self.key_uses().await?;
            if !change(&mut uses) {
                return Ok(uses);
            }
            let mut body = Vec::new();
            minicbor::encode(&uses, &mut body)
                .map_err(|source| Error::internal("encode the use of master keys").with_source(source))?;
            let mut write = Change::new(key.tenant.clone(), self.now());
            write.puts.push(Put::new(key.kind, key.id.clone(), Some(version), body.into()));
            if self.core.store.write(&write).await? == Written::Done {
                return Ok(uses);
            }
        }
        Err(Error::internal("note the use of a master key: too many concurrent changes"))
    }

    async fn key_uses(&self) -> Result<(KeyUses, u64)> {
        let Some(record) = self.core.store.read(&[key_uses()]).await?.pop().flatten() else {
            return Ok((KeyUses::default(), 0));
        };
        let uses = minicbor::decode(&record.body)
            .map_err(|source| Error::internal("decode the use of master keys").with_source(source))?;
        Ok((uses, record.version))
    }
}

fn key_uses() -> RecordKey {
    RecordKey { tenant: TenantId::system(), kind: Kind::MasterKeys, id: "all".to_owned() }
}

/// A master key's id as operators see it. Not a secret.
fn name(id: DerivationKeyId) -> String {
    format!("{:04x}", id.0)
}

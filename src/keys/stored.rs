//! Signing keys as they are stored: one set per tenant, each key announced before it signs and kept until nothing that it
//! signed can live.

use std::{fmt, time::Duration};

use jeton_core::{KeyId, TenantId, Time, base62, public_key::Algorithm, secret::DerivationKeyId};
use jsonwebtoken::jwk::Jwk;
use zeroize::Zeroizing;

use super::{
    private::{self, KeyFault},
    ring::{Keyring, Sealed},
};
use crate::ambient;

/// A tenant's keys as they are stored: one record, so that a change of keys is one atomic step.
#[derive(Clone, Debug, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct StoredKeySet {
    #[n(0)]
    pub keys: Vec<StoredKey>,
    /// For how long a reader of the set may use it from now on.
    #[n(1)]
    pub max_age: Duration,
    /// Until when a set may be in use that was read under another `max_age`.
    #[n(2)]
    pub used_until: Time,
}

/// One key as it is stored.
#[derive(Clone, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct StoredKey {
    #[n(0)]
    pub id: KeyId,
    #[n(1)]
    pub algorithm: Algorithm,
    /// The public key as JWK text.
    #[n(2)]
    public: String,
    /// PKCS#8, sealed under the master key.
    #[cbor(n(3), with = "minicbor::bytes")]
    sealed: Vec<u8>,
    #[n(4)]
    pub created: Time,
    /// When it starts to sign.
    #[n(5)]
    pub activates: Time,
    /// When it stops to sign; NEVER while not decided.
    #[n(6)]
    pub retires: Time,
    /// No token that it signed expires later. Raised in steps, before it signs one that does: see [`STEP`].
    #[n(7)]
    pub signed_until: Time,
    #[n(8)]
    pub revoked: Option<Time>,
}

/// Where a key stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Listed, not signing yet.
    Announced,
    Active,
    /// Not signing any more; its tokens still live.
    Retiring,
    /// Its last token has expired; not listed.
    Removed,
    Revoked,
}

/// Clock skew: a key stays this much longer than its last token.
const REMOVAL_MARGIN: Duration = Duration::from_secs(3600);
/// How much further than needed the mark of what a key signs is raised, so that it is written about once a day and not with
/// every token. A key may stay so much longer than it had to.
const STEP: Duration = Duration::from_secs(86_400);

// === impl StoredKeySet ===

impl StoredKeySet {
    /// A set of one key.
    pub fn new(key: StoredKey, max_age: Duration) -> Self {
        Self { keys: vec![key], max_age, used_until: Time::from_millis(0) }
    }

    /// Lets readers use the set for `max_age` from now on.
    pub fn tell(&mut self, max_age: Duration, now: Time) {
        if max_age != self.max_age {
            self.used_until = self.used_until.max(now.plus(self.max_age));
            self.max_age = max_age;
        }
    }

    /// When a key that is announced now is known to everybody: every set without it is too old.
    pub fn known(&self, now: Time) -> Time {
        now.plus(self.max_age).max(self.used_until)
    }

    /// Announces `key`, which signs from `activates` on; whatever signs then stops then. Keys past their removal go.
    pub fn announce(&mut self, mut key: StoredKey, now: Time, activates: Time) {
        key.activates = activates;
        for old in &mut self.keys {
            if matches!(old.state(now), State::Active | State::Announced) {
                old.retires = activates;
            }
        }
        self.keys.retain(|key| key.removes() > now);
        self.keys.push(key);
    }

    /// Notes that the active key is to sign tokens that expire up to `expires`; false if it may not, and another one signs.
    pub fn cover(&mut self, id: &KeyId, expires: Time, now: Time) -> bool {
        let key = self.keys.iter_mut().find(|key| key.id == *id && key.state(now) == State::Active);
        let Some(key) = key else { return false };
        if key.signed_until < expires {
            key.signed_until = expires.plus(STEP);
        }
        true
    }

    /// The key that signs at `now`.
    pub fn active(&self, now: Time) -> Option<&StoredKey> {
        self.keys.iter().find(|key| key.state(now) == State::Active)
    }

    /// The key that is announced.
    pub fn announced(&self, now: Time) -> Option<&StoredKey> {
        self.keys.iter().find(|key| key.state(now) == State::Announced)
    }

    /// Whether a next key must be announced now for it to take over when the active one is `period` old.
    pub fn is_due(&self, now: Time, period: Duration, announcement: Duration) -> bool {
        self.announced(now).is_none()
            && self.active(now).is_none_or(|key| key.activates.plus(period) <= now.plus(announcement))
    }

    /// Lets the active key sign on if nothing is announced that would take over.
    pub fn extend_active(&mut self, now: Time) {
        if self.announced(now).is_some() {
            return;
        }
        if let Some(active) = self.keys.iter_mut().find(|key| key.state(now) == State::Active) {
            active.retires = Time::NEVER;
        }
    }

    /// Revokes a key, if it is there.
    pub fn revoke(&mut self, id: &KeyId, now: Time) -> bool {
        let Some(key) = self.keys.iter_mut().find(|key| key.id == *id) else {
            return false;
        };
        key.revoked.get_or_insert(now);
        // Listed as revoked until none of its tokens would live anyway; its private part is of no use any more.
        key.sealed.clear();
        true
    }
}

// === impl StoredKey ===

impl StoredKey {
    /// A new key of a tenant, which signs from now on for ever. RSA takes some 100 ms of CPU.
    pub fn generate(tenant: &TenantId, algorithm: Algorithm, ring: &Keyring, now: Time) -> Result<Self, KeyFault> {
        let mut id = String::new();
        base62::encode_into(&ambient::random::<6>().map_err(|_| KeyFault::new("make a key id"))?, &mut id);
        let id: KeyId = id.parse().map_err(|_| KeyFault::new("make a key id"))?;
        let pkcs8 = private::generate(algorithm)?;
        let mut public = Jwk::from_encoding_key(&private::encoding_key(algorithm, &pkcs8)?, algorithm.jsonwebtoken())
            .map_err(|_| KeyFault::new("read a new key's public part"))?;
        public.common.key_id = Some(id.to_string());
        public.common.public_key_use = Some(jsonwebtoken::jwk::PublicKeyUse::Signature);
        let sealed = seal(tenant, &id, &pkcs8, ring)?;
        Ok(Self {
            id,
            algorithm,
            public: serde_json::to_string(&public).map_err(|_| KeyFault::new("write a public key"))?,
            sealed,
            created: now,
            activates: now,
            retires: Time::NEVER,
            signed_until: Time::from_millis(0),
            revoked: None,
        })
    }

    /// When nothing lives any more that it signed; NEVER while it signs or is to sign.
    pub fn removes(&self) -> Time {
        let stops = self.revoked.map_or(self.retires, |revoked| revoked.min(self.retires));
        if stops.is_never() { Time::NEVER } else { stops.max(self.signed_until).plus(REMOVAL_MARGIN) }
    }

    pub fn state(&self, now: Time) -> State {
        if self.removes() <= now {
            State::Removed
        } else if self.revoked.is_some() {
            State::Revoked
        } else if now < self.activates {
            State::Announced
        } else if now < self.retires {
            State::Active
        } else {
            State::Retiring
        }
    }

    /// The public key (RFC 7517).
    pub fn jwk(&self) -> Result<Jwk, KeyFault> {
        serde_json::from_str(&self.public).map_err(|_| KeyFault::new("read a stored public key"))
    }

    /// The master key under which the private part is sealed; `None` once it is gone.
    pub fn sealed_by(&self) -> Option<DerivationKeyId> {
        Keyring::sealed_by(&self.sealed)
    }

    /// Seals the private part again under the current master key.
    pub fn reseal(&mut self, tenant: &TenantId, ring: &Keyring) -> Result<(), KeyFault> {
        let plain = self.unseal(tenant, ring)?;
        self.sealed = seal(tenant, &self.id, &plain, ring)?;
        Ok(())
    }

    /// The private part, as PKCS#8.
    pub(super) fn unseal(&self, tenant: &TenantId, ring: &Keyring) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        let plain = ring.open(Sealed::SigningKey, &context(tenant, &self.id), &self.sealed);
        plain.map(Zeroizing::new).ok_or(KeyFault::new("open a sealed signing key: is its master key still configured?"))
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKey").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn seal(tenant: &TenantId, key: &KeyId, pkcs8: &[u8], ring: &Keyring) -> Result<Vec<u8>, KeyFault> {
    ring.seal(Sealed::SigningKey, &context(tenant, key), pkcs8).map_err(|_| KeyFault::new("seal a signing key"))
}

fn context(tenant: &TenantId, key: &KeyId) -> Vec<u8> {
    format!("{tenant}\0{key}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::master::MasterKey;

    #[test]
    fn keys_are_announced_before_they_sign_and_stay_until_their_last_token_has_expired() {
        let ring = Keyring::new(&[MasterKey::new([7; 32])]).unwrap();
        let tenant: TenantId = "default".parse().unwrap();
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let key = |now| StoredKey::generate(&tenant, Algorithm::EdDsa, &ring, now).unwrap();
        let (start, minute) = (Time::from_secs(1_000_000), Duration::from_secs(60));
        let mut set = StoredKeySet::new(key(start), minute);
        let first = set.keys[0].id.clone();
        assert!(set.cover(&first, start.plus(30 * minute), start));
        assert!(!set.is_due(start, 10 * minute, minute));
        let due = start.plus(9 * minute);
        assert!(set.is_due(due, 10 * minute, minute));
        set.announce(key(due), due, set.known(due));
        let states = |set: &StoredKeySet, at| set.keys.iter().map(|key| key.state(at)).collect::<Vec<_>>();
        assert_eq!(states(&set, due), [State::Active, State::Announced]);
        assert!(!set.is_due(due, 10 * minute, minute));
        let over = due.plus(minute);
        assert_eq!(states(&set, over), [State::Retiring, State::Active]);
        assert!(!set.cover(&first, over, over), "it does not sign any more");
        // Whatever settings say by now: what counts is what it signed.
        let last = start.plus(30 * minute).plus(STEP);
        assert_eq!(states(&set, last), [State::Retiring, State::Active]);
        assert_eq!(states(&set, last.plus(REMOVAL_MARGIN)), [State::Removed, State::Active]);
        let revoked = set.keys[1].id.clone();
        assert!(set.revoke(&revoked, over));
        assert_eq!(states(&set, over)[1], State::Revoked);
        assert!(set.active(over).is_none());
    }
}

//! A tenant's keys, ready to sign and to verify.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton_core::{
    TenantId, Time,
    claims::TYP,
    public_key::{Algorithm, PublicKey},
};

use super::{
    private::{KeyFault, Pair},
    ring::Keyring,
    stored::{State, StoredKey, StoredKeySet},
};

/// A tenant's keys, ready for use.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Arc<SigningKey>>,
}

/// A key, ready for use: parsed once.
pub struct SigningKey {
    pub stored: StoredKey,
    /// Unsealed when the key signs for the first time. A key that only verifies, as all that have retired, leaves its
    /// private half sealed.
    pair: OnceLock<Pair>,
    tenant: TenantId,
    ring: Arc<Keyring>,
    /// What verifies what it signs.
    pub public: PublicKey,
    /// The encoded header of every JWT that it signs.
    pub(super) header: String,
}

// === impl KeySet ===

impl KeySet {
    /// Parses the public half of every key that is of use.
    pub fn read(stored: &StoredKeySet, tenant: &TenantId, ring: &Arc<Keyring>, now: Time) -> Result<Self, KeyFault> {
        let usable = |key: &&StoredKey| !matches!(key.state(now), State::Removed | State::Revoked);
        let keys = stored.keys.iter().filter(usable).map(|key| SigningKey::read(key, tenant, ring).map(Arc::new));
        Ok(Self { keys: keys.collect::<Result<_, _>>()? })
    }

    /// The key that signs at `now`.
    pub fn active(&self, now: Time) -> Option<&Arc<SigningKey>> {
        self.keys.iter().find(|key| key.stored.state(now) == State::Active)
    }

    /// The key of a token that claims to be signed by `id`. Announced keys verify, too: another replica's clock may be
    /// ahead.
    pub fn verifying(&self, id: &str, now: Time) -> Option<&Arc<SigningKey>> {
        self.keys.iter().find(|key| key.stored.id.as_str() == id && key.stored.state(now) != State::Removed)
    }

    /// Whether a next key must be announced; see [`StoredKeySet::is_due`].
    pub fn is_due(&self, now: Time, period: Duration, announcement: Duration) -> bool {
        let announced = self.keys.iter().any(|key| key.stored.state(now) == State::Announced);
        !announced && self.active(now).is_none_or(|key| key.stored.activates.plus(period) <= now.plus(announcement))
    }
}

// === impl SigningKey ===

impl SigningKey {
    fn read(stored: &StoredKey, tenant: &TenantId, ring: &Arc<Keyring>) -> Result<Self, KeyFault> {
        let public = PublicKey::from_jwk(stored.id.clone(), stored.algorithm, &stored.jwk()?)
            .map_err(|_| KeyFault::new("read a stored public key"))?;
        Ok(Self {
            header: header(stored),
            stored: stored.clone(),
            pair: OnceLock::new(),
            tenant: tenant.clone(),
            ring: Arc::clone(ring),
            public,
        })
    }

    /// Signs a message. RSA takes about 1 ms of CPU, the others tens of microseconds.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        self.pair()?.sign(message)
    }

    /// Whether signing is slow enough to be kept off the worker threads.
    pub const fn signs_slowly(&self) -> bool {
        match self.stored.algorithm {
            Algorithm::EdDsa | Algorithm::Es256 => false,
            Algorithm::Rs256 | Algorithm::Ps256 => true,
        }
    }

    /// The private half.
    fn pair(&self) -> Result<&Pair, KeyFault> {
        if let Some(pair) = self.pair.get() {
            return Ok(pair);
        }
        let pair = Pair::parse(self.stored.algorithm, &self.stored.unseal(&self.tenant, &self.ring)?)?;
        // Two calls may both unseal it; the second pair is dropped.
        Ok(self.pair.get_or_init(|| pair))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("stored", &self.stored).finish_non_exhaustive()
    }
}

/// The encoded header of every JWT that `key` signs.
fn header(key: &StoredKey) -> String {
    // Both values are ours and need no escaping.
    let json = format!(r#"{{"alg":"{}","kid":"{}","typ":"{TYP}"}}"#, key.algorithm.name(), key.id);
    URL_SAFE_NO_PAD.encode(json)
}

#[cfg(test)]
mod tests {
    use jeton_core::{AccessToken, Audience, Format, Position, Scopes, Subject, TokenId, jwt::Unverified};

    use super::*;
    use crate::keys::{jwt, master::MasterKey};

    fn token() -> AccessToken {
        AccessToken {
            id: TokenId::from_bytes([1; 16]),
            tenant: "default".parse().unwrap(),
            client: "client".parse().unwrap(),
            subject: Subject::Client(None),
            scopes: Scopes::new(["a", "b"]),
            audience: Audience::new(["https://id/t/default/api"], "https://id/t/default"),
            format: Format::Jwt,
            issued: Time::from_secs(1000),
            ttl: Some(Duration::from_secs(60)),
            rev: Position::new(1, 2).unwrap(),
            signing_key: None,
            actor: None,
            session: None,
            family: None,
            sources: Vec::new(),
            options: None,
            claims: None,
            request: None,
            home: None,
            authentication: None,
        }
    }

    #[test]
    fn each_algorithm_signs_what_only_its_own_key_verifies() {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let ring = Arc::new(Keyring::new(&[MasterKey::new([7; 32])]).unwrap());
        let tenant: TenantId = "default".parse().unwrap();
        let issuer = "https://id/t/default";
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Ps256] {
            let [own, other] = [(); 2].map(|()| {
                let stored = StoredKey::generate(&tenant, algorithm, &ring, Time::from_secs(1000)).unwrap();
                SigningKey::read(&stored, &tenant, &ring).unwrap()
            });
            let token = AccessToken { signing_key: Some(own.stored.id.clone()), ..token() };
            let input = jwt::signing_input(&token, issuer, &own).unwrap();
            let text = jwt::sign(input, &own).unwrap();
            let read =
                |text: &str, key: &SigningKey| Unverified::parse(text).and_then(|jwt| jwt.verify(&key.public, issuer));
            assert_eq!(read(&text, &own), Some(token));
            assert_eq!(read(&text, &other), None);
            assert_eq!(Unverified::parse(&text).unwrap().verify(&own.public, "https://id/t/other"), None);
            // I22: no other text than the genuine one is genuine.
            for at in (0..text.len()).step_by(7) {
                let mut changed = text.clone().into_bytes();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                assert_eq!(read(&String::from_utf8(changed).unwrap(), &own), None, "{algorithm:?} at {at}");
            }
            assert_eq!(own.stored.jwk().unwrap().common.key_id.as_deref(), Some(own.stored.id.as_str()));
        }
    }

    /// A thief of the memory, or of one master key, does not get keys with which tokens of the past were signed.
    #[test]
    fn the_private_half_of_a_key_that_only_verifies_stays_sealed() {
        let [old, new] = [1, 2].map(|byte| Arc::new(Keyring::new(&[MasterKey::new([byte; 32])]).unwrap()));
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let tenant: TenantId = "default".parse().unwrap();
        let (now, hour, issuer) = (Time::from_secs(1_000_000), Duration::from_secs(3600), "https://id/t/default");
        let mut set = StoredKeySet::new(StoredKey::generate(&tenant, Algorithm::Es256, &old, now).unwrap(), hour);
        let sign = |set: &KeySet, now| {
            let key = set.active(now).unwrap();
            let token = AccessToken { signing_key: Some(key.stored.id.clone()), ..token() };
            jwt::sign(jwt::signing_input(&token, issuer, key).unwrap(), key)
        };
        let text = sign(&KeySet::read(&set, &tenant, &old, now).unwrap(), now).unwrap();
        set.announce(StoredKey::generate(&tenant, Algorithm::Rs256, &new, now).unwrap(), now, now);
        // The master key of the retired one is gone.
        let keys = KeySet::read(&set, &tenant, &new, now).unwrap();
        let unverified = Unverified::parse(&text).unwrap();
        let retired = keys.verifying(unverified.key_id(), now).unwrap();
        assert_eq!(retired.stored.state(now), State::Retiring);
        assert!(unverified.verify(&retired.public, issuer).is_some());
        assert!(keys.keys.iter().all(|key| key.pair.get().is_none()));
        retired.sign(b"again").unwrap_err();
        sign(&keys, now).unwrap();
        assert!(retired.pair.get().is_none() && keys.active(now).unwrap().pair.get().is_some());
    }
}

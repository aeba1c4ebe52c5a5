//! Signing keys: one set per tenant, each key announced before it signs and kept until nothing that it signed can live.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
        RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
pub use jeton_core::public_key::Algorithm;
use jeton_core::public_key::PublicKey;
use jsonwebtoken::{EncodingKey, jwk::Jwk};

use super::ring::{Keyring, Sealed};
use crate::{
    ambient::{self, Time},
    token::{TenantId, access::KeyId, base62, secret::DerivationKeyId},
};

/// A tenant's keys as they are stored: one record, so that a change of keys is one atomic step.
#[derive(Clone, Debug, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct StoredKeySet {
    #[n(0)]
    pub keys: Vec<StoredKey>,
    /// For how long whoever reads the set now may believe it.
    #[n(1)]
    pub max_age: Duration,
    /// Until when somebody may believe a set that was read when another `max_age` was told.
    #[n(2)]
    pub believed_until: Time,
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

enum Pair {
    EdDsa(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

/// A signing key could not be made, sealed, opened or used.
#[derive(Debug)]
pub struct KeyFault(&'static str);

// === impl StoredKeySet ===

impl StoredKeySet {
    /// A set of one key.
    pub fn new(key: StoredKey, max_age: Duration) -> Self {
        Self { keys: vec![key], max_age, believed_until: Time::from_millis(0) }
    }

    /// Lets readers believe the set for `max_age` from now on.
    pub fn tell(&mut self, max_age: Duration, now: Time) {
        if max_age != self.max_age {
            self.believed_until = self.believed_until.max(now.plus(self.max_age));
            self.max_age = max_age;
        }
    }

    /// When a key that is announced now is known to everybody: every set without it is too old.
    pub fn known(&self, now: Time) -> Time {
        now.plus(self.max_age).max(self.believed_until)
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

/// Clock skew: a key stays this much longer than its last token.
const REMOVAL_MARGIN: Duration = Duration::from_secs(3600);
/// How much further than needed the mark of what a key signs is raised, so that it is written about once a day and not with
/// every token. A key may stay so much longer than it had to.
const STEP: Duration = Duration::from_secs(86_400);

// === impl StoredKey ===

impl StoredKey {
    /// A new key of a tenant, which signs from now on for ever. RSA takes some 100 ms of CPU.
    pub fn generate(tenant: &TenantId, algorithm: Algorithm, ring: &Keyring, now: Time) -> Result<Self, KeyFault> {
        let mut id = String::new();
        base62::encode_into(&ambient::random::<6>().map_err(|_| KeyFault("make a key id"))?, &mut id);
        let id = KeyId::new(id);
        let pkcs8 = zeroize::Zeroizing::new(generate(algorithm)?);
        let mut public = Jwk::from_encoding_key(&encoding_key(algorithm, &pkcs8)?, algorithm.jsonwebtoken())
            .map_err(|_| KeyFault("read a new key's public part"))?;
        public.common.key_id = Some(id.to_string());
        public.common.public_key_use = Some(jsonwebtoken::jwk::PublicKeyUse::Signature);
        let sealed =
            ring.seal(Sealed::SigningKey, &context(tenant, &id), &pkcs8).map_err(|_| KeyFault("seal a signing key"))?;
        Ok(Self {
            id,
            algorithm,
            public: serde_json::to_string(&public).map_err(|_| KeyFault("write a public key"))?,
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
        serde_json::from_str(&self.public).map_err(|_| KeyFault("read a stored public key"))
    }

    /// The master key under which the private part is sealed; `None` once it is gone.
    pub fn sealed_by(&self) -> Option<DerivationKeyId> {
        Keyring::sealed_by(&self.sealed)
    }

    /// Seals the private part again under the current master key.
    pub fn reseal(&mut self, tenant: &TenantId, ring: &Keyring) -> Result<(), KeyFault> {
        let context = context(tenant, &self.id);
        let plain =
            ring.open(Sealed::SigningKey, &context, &self.sealed).ok_or(KeyFault("open a sealed signing key"))?;
        let plain = zeroize::Zeroizing::new(plain);
        self.sealed = ring.seal(Sealed::SigningKey, &context, &plain).map_err(|_| KeyFault("seal a signing key"))?;
        Ok(())
    }

    fn read(&self, tenant: &TenantId, ring: &Arc<Keyring>) -> Result<SigningKey, KeyFault> {
        let public = PublicKey::from_jwk(self.id.clone(), self.algorithm, &self.jwk()?)
            .map_err(|_| KeyFault("read a stored public key"))?;
        Ok(SigningKey {
            header: super::jwt::header(self),
            stored: self.clone(),
            pair: OnceLock::new(),
            tenant: tenant.clone(),
            ring: Arc::clone(ring),
            public,
        })
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKey").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

// === impl KeySet ===

impl KeySet {
    /// Parses the public half of every key that is of use.
    pub fn read(stored: &StoredKeySet, tenant: &TenantId, ring: &Arc<Keyring>, now: Time) -> Result<Self, KeyFault> {
        let usable = |key: &&StoredKey| !matches!(key.state(now), State::Removed | State::Revoked);
        let keys = stored.keys.iter().filter(usable).map(|key| key.read(tenant, ring).map(Arc::new));
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
    /// Signs a message. RSA takes about 1 ms of CPU, the others tens of microseconds.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let fault = |_| KeyFault("sign a token");
        match self.pair()? {
            Pair::EdDsa(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Es256(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(fault)?.as_ref().to_vec()),
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), message, &mut signature).map_err(fault)?;
                Ok(signature)
            }
        }
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
        let plain = self
            .ring
            .open(Sealed::SigningKey, &context(&self.tenant, &self.stored.id), &self.stored.sealed)
            .ok_or(KeyFault("open a sealed signing key: is its master key still configured?"))?;
        let pair = parse(self.stored.algorithm, &zeroize::Zeroizing::new(plain))?;
        // Two calls may both unseal it; the second pair is dropped.
        Ok(self.pair.get_or_init(|| pair))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("stored", &self.stored).finish_non_exhaustive()
    }
}

// === private keys ===

fn generate(algorithm: Algorithm) -> Result<Vec<u8>, KeyFault> {
    let fault = |_| KeyFault("generate a signing key");
    let random = SystemRandom::new();
    match algorithm {
        // Version 1, without the public key: the only form of which jsonwebtoken makes a JWK.
        Algorithm::EdDsa => Ok(Ed25519KeyPair::generate_pkcs8v1(&random).map_err(fault)?.as_ref().to_vec()),
        Algorithm::Es256 => {
            let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(fault)?;
            Ok(document.as_ref().to_vec())
        }
        Algorithm::Rs256 | Algorithm::Ps256 => {
            let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).map_err(fault)?;
            let der: Pkcs8V1Der<'_> = pair.as_der().map_err(fault)?;
            Ok(der.as_ref().to_vec())
        }
    }
}

fn parse(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Pair, KeyFault> {
    let fault = |_| KeyFault("parse a signing key");
    match algorithm {
        Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8(pkcs8).map(Pair::EdDsa).map_err(fault),
        Algorithm::Es256 => {
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map(Pair::Es256).map_err(fault)
        }
        Algorithm::Rs256 => Ok(Pair::Rsa(RsaKeyPair::from_pkcs8(pkcs8).map_err(fault)?, &RSA_PKCS1_SHA256)),
        Algorithm::Ps256 => Ok(Pair::Rsa(RsaKeyPair::from_pkcs8(pkcs8).map_err(fault)?, &RSA_PSS_SHA256)),
    }
}

fn encoding_key(algorithm: Algorithm, pkcs8: &[u8]) -> Result<EncodingKey, KeyFault> {
    match algorithm {
        Algorithm::EdDsa => Ok(EncodingKey::from_ed_der(pkcs8)),
        Algorithm::Es256 => Ok(EncodingKey::from_ec_der(pkcs8)),
        // The DER constructor wants PKCS#1; the PEM one takes PKCS#8.
        Algorithm::Rs256 | Algorithm::Ps256 => {
            let body = zeroize::Zeroizing::new(STANDARD.encode(pkcs8));
            let pem = zeroize::Zeroizing::new(format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                body.as_str()
            ));
            EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| KeyFault("read a new RSA key"))
        }
    }
}

fn context(tenant: &TenantId, key: &KeyId) -> Vec<u8> {
    format!("{tenant}\0{key}").into_bytes()
}

impl KeyFault {
    pub(super) const fn new(attempted: &'static str) -> Self {
        Self(attempted)
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for KeyFault {}

impl From<KeyFault> for crate::token::Error {
    fn from(fault: KeyFault) -> Self {
        Self::internal("use a signing key").with_source(fault)
    }
}

#[cfg(test)]
mod tests {
    use jeton_core::jwt::Unverified;

    use super::*;
    use crate::keys::{jwt, master::MasterKey};
    use crate::token::{AccessToken, Format, Position, Scopes, Subject, TokenId, access::Audience};

    fn token() -> AccessToken {
        AccessToken {
            id: TokenId::from_bytes([1; 16]),
            tenant: "default".parse().unwrap(),
            client: "client".parse().unwrap(),
            subject: Subject::Client(None),
            scopes: Scopes::new(["a", "b"]),
            audience: Audience::new(["https://id/t/default/api"], "https://id/t/default"),
            format: Format::Jwt,
            issued_secs: 1000,
            ttl_secs: Some(60),
            rev: Position::new(1, 2).unwrap(),
            signing_key: None,
            actor: None,
            ancestors: Vec::new(),
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
                stored.read(&tenant, &ring).unwrap()
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

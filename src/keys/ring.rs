//! The keyring: everything that is derived from the master keys.

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    constant_time, digest,
    error::Unspecified,
    hkdf, hmac,
};
use jeton_core::secret::{DerivationKeyId, MAC_BYTES, Mac, SecretKind};

use super::master::MasterKey;

/// Derives secrets and seals what must be stored. The first master key makes what is new; the others only read what they
/// made before.
pub struct Keyring {
    current: DerivationKeyId,
    keys: BTreeMap<DerivationKeyId, DerivationKey>,
}

/// The sub-keys of one master key.
struct DerivationKey {
    opaque: hmac::Key,
    refresh: hmac::Key,
    client: hmac::Key,
    code: hmac::Key,
    seal: RandomizedNonceKey,
}

/// What sealed bytes are for; bytes sealed for one thing do not open as another.
#[derive(Clone, Copy, Debug)]
pub enum Sealed<'a> {
    /// A signing key's private part.
    SigningKey,
    /// The secret of this service at an OpenID provider. It is sent, so it opens only for where it may be sent.
    ProviderSecret(Destination<'a>),
    /// A page token's cursor.
    PageToken,
}

/// Where a secret may be sent, and as whose. A new kind of secret that leaves the service needs one of these, too: else
/// a caller that may change a record's address gets the secret that stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination<'a> {
    /// The provider that is trusted with it. Its discovery document says to which URL it goes.
    pub issuer: &'a str,
    /// As whom the provider knows this service.
    pub client_id: &'a str,
}

/// Two master keys have the same id, or a key could not be derived.
#[derive(Debug)]
pub struct Unusable;

// === impl Keyring ===

impl Keyring {
    /// A ring of master keys, newest first.
    pub fn new(masters: &[MasterKey]) -> Result<Self, Unusable> {
        let current = masters.first().map(key_id).ok_or(Unusable)?;
        let mut keys = BTreeMap::new();
        for master in masters {
            let key = DerivationKey::new(master).map_err(|Unspecified| Unusable)?;
            if keys.insert(key_id(master), key).is_some() {
                return Err(Unusable);
            }
        }
        Ok(Self { current, keys })
    }

    /// Whether there are old keys behind the current one.
    pub fn has_old_keys(&self) -> bool {
        self.keys.len() > 1
    }

    /// Whether the ring still has a key.
    pub fn contains(&self, id: DerivationKeyId) -> bool {
        self.keys.contains_key(&id)
    }

    /// Encrypts and authenticates `plain`, bound to `purpose` and `context`. Begins with the key's id.
    pub fn seal(&self, purpose: Sealed<'_>, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, Unusable> {
        let key = self.keys.get(&self.current).ok_or(Unusable)?;
        let mut text = plain.to_vec();
        let nonce = key
            .seal
            .seal_in_place_append_tag(Aad::from(purpose.associated(context)), &mut text)
            .map_err(|Unspecified| Unusable)?;
        Ok([&self.current.0.to_be_bytes(), nonce.as_ref().as_slice(), &text].concat())
    }

    /// What was sealed, if it was by a key of the ring, for `purpose` and `context`.
    pub fn open(&self, purpose: Sealed<'_>, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = sealed.split_first_chunk::<2>()?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.keys.get(&DerivationKeyId(u16::from_be_bytes(*id)))?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.seal.open_in_place(nonce, Aad::from(purpose.associated(context)), &mut text).ok()?;
        Some(plain.to_vec())
    }

    /// Which key sealed.
    pub fn sealed_by(sealed: &[u8]) -> Option<DerivationKeyId> {
        sealed.first_chunk::<2>().map(|id| DerivationKeyId(u16::from_be_bytes(*id)))
    }
}

impl Mac for Keyring {
    fn mac(&self, key: DerivationKeyId, kind: SecretKind, message: &[u8]) -> Option<[u8; MAC_BYTES]> {
        let tag = hmac::sign(self.keys.get(&key)?.mac_key(kind), message);
        tag.as_ref().first_chunk().copied()
    }

    fn verify(&self, key: DerivationKeyId, kind: SecretKind, message: &[u8], mac: &[u8]) -> bool {
        self.mac(key, kind, message).is_some_and(|own| constant_time::verify_slices_are_equal(&own, mac).is_ok())
    }

    fn current(&self) -> DerivationKeyId {
        self.current
    }
}

// === impl DerivationKey ===

impl DerivationKey {
    fn new(master: &MasterKey) -> Result<Self, Unspecified> {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"jeton master key v1").extract(master.expose());
        let derive = |label: &[u8]| {
            let mut bytes = zeroize::Zeroizing::new([0; 32]);
            extracted.expand(&[label], hkdf::HKDF_SHA256)?.fill(bytes.as_mut())?;
            Ok::<_, Unspecified>(bytes)
        };
        let mac = |label: &[u8]| Ok::<_, Unspecified>(hmac::Key::new(hmac::HMAC_SHA256, derive(label)?.as_ref()));
        Ok(Self {
            opaque: mac(b"opaque access token")?,
            refresh: mac(b"refresh token")?,
            client: mac(b"client secret")?,
            code: mac(b"one-time password")?,
            seal: RandomizedNonceKey::new(&AES_256_GCM, derive(b"seal")?.as_ref())?,
        })
    }

    const fn mac_key(&self, kind: SecretKind) -> &hmac::Key {
        match kind {
            SecretKind::Opaque => &self.opaque,
            SecretKind::Refresh => &self.refresh,
            SecretKind::Client => &self.client,
            SecretKind::Code => &self.code,
        }
    }
}

impl Sealed<'_> {
    /// Each part with its length before it: no two lists of parts run together.
    fn associated(self, context: &[u8]) -> Vec<u8> {
        let (purpose, to): (&[u8], [&[u8]; 2]) = match self {
            Self::SigningKey => (b"signing key", [&[]; 2]),
            Self::ProviderSecret(to) => (b"provider secret", [to.issuer.as_bytes(), to.client_id.as_bytes()]),
            Self::PageToken => (b"page token", [&[]; 2]),
        };
        let parts = [purpose, context, to[0], to[1]];
        parts.iter().flat_map(|part| [length(part).as_slice(), part].concat()).collect()
    }
}

fn length(part: &[u8]) -> [u8; 8] {
    u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes()
}

/// Derived from the key, so that a key keeps its id wherever it stands in the list.
fn key_id(master: &MasterKey) -> DerivationKeyId {
    let sum = digest::digest(&digest::SHA256, &[b"jeton key id".as_slice(), master.expose()].concat());
    DerivationKeyId(sum.as_ref().first_chunk::<2>().map_or(0, |id| u16::from_be_bytes(*id)))
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("current", &self.current).finish_non_exhaustive()
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("master keys could not be used: one stands twice, or derivation failed")
    }
}

impl std::error::Error for Unusable {}

/// SHA-256 of parts, each with its length before it so that no two lists of parts run together; cut to 128 bits. For
/// ids that derive from something public, and for comparing request bodies: not a secret.
pub fn digest128(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&length(part));
        context.update(part);
    }
    let mut out = [0; 16];
    out.copy_from_slice(&context.finish().as_ref()[..16]);
    out
}

/// [`digest128`] as the text of a key.
pub fn digest_text(parts: &[&[u8]]) -> String {
    format!("{:032x}", u128::from_be_bytes(digest128(parts)))
}

#[cfg(test)]
mod tests {
    use jeton_core::{
        FamilyId, TokenId,
        secret::{ClientSecretContent, OpaqueContent, RefreshContent},
    };
    use proptest::prelude::*;

    use super::*;

    fn ring(first: &[u8]) -> Keyring {
        let masters: Vec<_> = first.iter().map(|byte| MasterKey::new([*byte; 32])).collect();
        Keyring::new(&masters).unwrap()
    }

    #[test]
    fn secrets_read_back_and_old_keys_still_read() {
        let (old, new) = (ring(&[1]), ring(&[2, 1]));
        let content = RefreshContent {
            tenant: "default".parse().unwrap(),
            family: FamilyId::from_bytes([3; 16]),
            generation: 7,
            ends: jeton_core::Time::from_secs(1 << 33),
        };
        let text = content.to_text(&old, old.current()).unwrap();
        assert!(text.expose().starts_with("jtr_"));
        assert_eq!(RefreshContent::from_text(text.expose(), &new), Some((content, old.current())));
        assert_eq!(OpaqueContent::from_text(text.expose(), &new), None);
        assert!(RefreshContent::from_text(text.expose(), &ring(&[2])).is_none());

        let secret = ClientSecretContent { home: "default".parse().unwrap(), secret: [9; 8] };
        let text = secret.to_text("cli_a", &old, old.current()).unwrap();
        assert_eq!(ClientSecretContent::from_text(text.expose(), "cli_a", &old), Some(secret));
        assert_eq!(ClientSecretContent::from_text(text.expose(), "cli_b", &old), None);
    }

    #[test]
    fn sealed_bytes_open_only_as_what_they_are() {
        let ring = ring(&[1]);
        let sealed = ring.seal(Sealed::PageToken, b"a", b"cursor").unwrap();
        assert_eq!(ring.open(Sealed::PageToken, b"a", &sealed).as_deref(), Some(b"cursor".as_slice()));
        assert_eq!(ring.open(Sealed::PageToken, b"b", &sealed), None);
        assert_eq!(ring.open(Sealed::SigningKey, b"a", &sealed), None);
    }

    #[test]
    fn a_secret_that_leaves_opens_only_for_where_it_may_go() {
        let ring = ring(&[1]);
        let to = |issuer, client_id| Sealed::ProviderSecret(Destination { issuer, client_id });
        let sealed = ring.seal(to("https://idp.example", "jeton"), b"default/idp_a", b"secret").unwrap();
        let opened = |to, context: &[u8]| ring.open(to, context, &sealed).is_some();
        assert!(opened(to("https://idp.example", "jeton"), b"default/idp_a"));
        assert!(!opened(to("https://idp.example", "jeton"), b"default/idp_b"));
        for (issuer, client_id) in [
            ("https://evil.example", "jeton"),
            ("https://idp.example", "another"),
            ("https://idp.example/", "jeton"),
            // The same bytes in a row.
            ("https://idp.examplej", "eton"),
            ("", "https://idp.examplejeton"),
        ] {
            assert!(!opened(to(issuer, client_id), b"default/idp_a"), "{issuer} {client_id}");
        }
    }

    proptest! {
        /// I22: no other text than the genuine one is genuine.
        #[test]
        fn any_changed_byte_makes_a_secret_false(at in 0_usize..90, with in "[ -~]") {
            let ring = ring(&[1]);
            let content = OpaqueContent { tenant: "default".parse().unwrap(), token: TokenId::from_bytes([3; 16]) };
            let text = content.to_text(&ring, ring.current()).unwrap().expose().to_owned();
            let at = at % text.len();
            let mut changed = text.clone();
            changed.replace_range(at..=at, &with);
            let read = OpaqueContent::from_text(&changed, &ring);
            prop_assert_eq!(read.is_some(), changed == text);
            prop_assert!(OpaqueContent::from_text(&text[..at], &ring).is_none());
        }
    }
}

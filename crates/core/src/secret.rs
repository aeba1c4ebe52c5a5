//! The text of opaque tokens, refresh tokens and client secrets.
//!
//! `prefix_` + base62(version, key id, content, MAC) + checksum. The store never holds one: everybody who has the
//! derivation key can make the same text again from the content. The checksum lets anyone (a secret scanner, our own
//! edge) tell a mistyped or made-up string from a real one without any key.

use std::fmt;

use super::{
    base62,
    id::{FamilyId, TenantId, TokenId},
};
use crate::time::Time;

/// A secret's text. Shown once; never logged.
#[derive(Clone, PartialEq, Eq, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct SecretText(String);

/// What kind of secret; the kinds' MACs never stand in for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// An opaque access token.
    Opaque,
    /// A refresh token.
    Refresh,
    /// A client secret.
    Client,
    /// A one-time password, which people type: digits only.
    Code,
}

/// Which derivation key made a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct DerivationKeyId(#[n(0)] pub u16);

/// Makes and checks the MACs of secrets; implemented by the keyring.
pub trait Mac {
    /// HMAC-SHA-256 of `message` under the key's sub-key for `kind`, cut to [`MAC_BYTES`]; `None` for an unknown key.
    fn mac(&self, key: DerivationKeyId, kind: SecretKind, message: &[u8]) -> Option<[u8; MAC_BYTES]>;
    /// Whether `mac` is that, in constant time.
    fn verify(&self, key: DerivationKeyId, kind: SecretKind, message: &[u8], mac: &[u8]) -> bool;
    /// The key that makes new secrets.
    fn current(&self) -> DerivationKeyId;
}

/// What an opaque access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpaqueContent {
    pub tenant: TenantId,
    pub token: TokenId,
}

/// What a refresh token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshContent {
    pub tenant: TenantId,
    pub family: FamilyId,
    pub generation: u32,
    /// When nothing of the family lives any more, in whole seconds: the family's record is gone long before.
    pub ends: Time,
}

/// What a client secret says. The client's id is not in it but under its MAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSecretContent {
    /// The tenant that the client belongs to.
    pub home: TenantId,
    pub secret: [u8; 8],
}

/// 192 bits.
pub const MAC_BYTES: usize = 24;

const VERSION: u8 = 1;
/// Bytes of a refresh token's end: enough for every time that there is.
const ENDS: usize = 5;
const CHECKSUM_DIGITS: usize = 6;
/// version + key id.
const HEAD: usize = 3;

// === impl SecretText ===

impl SecretText {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the reply to its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

// === impl SecretKind ===

impl SecretKind {
    /// What the text begins with. Secret scanners know it: never change it.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Opaque => "jta_",
            Self::Refresh => "jtr_",
            Self::Client => "jcs_",
            Self::Code => "",
        }
    }

    /// The kind that a text claims to be.
    pub fn of(text: &str) -> Option<Self> {
        [Self::Opaque, Self::Refresh, Self::Client].into_iter().find(|kind| text.starts_with(kind.prefix()))
    }
}

// === impl contents ===

impl OpaqueContent {
    pub fn to_text(&self, mac: &impl Mac, key: DerivationKeyId) -> Option<SecretText> {
        let id = self.token.random_bytes()?;
        seal(SecretKind::Opaque, key, &[id.as_slice(), &self.tenant.to_compact()].concat(), &[], mac)
    }

    /// The content and the key that made it, if the text is genuine.
    pub fn from_text(text: &str, mac: &impl Mac) -> Option<(Self, DerivationKeyId)> {
        let (key, content) = open(SecretKind::Opaque, text, &[], mac)?;
        let (id, tenant) = content.split_first_chunk::<16>()?;
        Some((Self { token: TokenId::from_bytes(*id), tenant: TenantId::from_compact(tenant)? }, key))
    }
}

impl RefreshContent {
    pub fn to_text(&self, mac: &impl Mac, key: DerivationKeyId) -> Option<SecretText> {
        let id = self.family.random_bytes()?;
        let ends = self.ends.as_secs().to_be_bytes();
        let (_, ends) = ends.split_last_chunk::<ENDS>()?;
        let content =
            [id.as_slice(), &self.generation.to_be_bytes(), ends.as_slice(), &self.tenant.to_compact()].concat();
        seal(SecretKind::Refresh, key, &content, &[], mac)
    }

    /// The content and the key that made it, if the text is genuine.
    pub fn from_text(text: &str, mac: &impl Mac) -> Option<(Self, DerivationKeyId)> {
        let (key, content) = open(SecretKind::Refresh, text, &[], mac)?;
        let (id, rest) = content.split_first_chunk::<16>()?;
        let (generation, rest) = rest.split_first_chunk::<4>()?;
        let (ends, tenant) = rest.split_first_chunk::<ENDS>()?;
        let mut secs = [0; 8];
        secs[8 - ENDS..].copy_from_slice(ends);
        let content = Self {
            ends: Time::from_secs(u64::from_be_bytes(secs)),
            family: FamilyId::from_bytes(*id),
            generation: u32::from_be_bytes(*generation),
            tenant: TenantId::from_compact(tenant)?,
        };
        Some((content, key))
    }
}

impl ClientSecretContent {
    pub fn to_text(&self, client: &str, mac: &impl Mac, key: DerivationKeyId) -> Option<SecretText> {
        let content = [self.secret.as_slice(), &self.home.to_compact()].concat();
        seal(SecretKind::Client, key, &content, client.as_bytes(), mac)
    }

    /// The content, if the text is a genuine secret of `client`.
    pub fn from_text(text: &str, client: &str, mac: &impl Mac) -> Option<Self> {
        let (_, content) = open(SecretKind::Client, text, client.as_bytes(), mac)?;
        let (secret, home) = content.split_first_chunk::<8>()?;
        Some(Self { secret: *secret, home: TenantId::from_compact(home)? })
    }
}

/// Writes `content` with its MAC, which also covers `associated`.
fn seal(
    kind: SecretKind,
    key: DerivationKeyId,
    content: &[u8],
    associated: &[u8],
    mac: &impl Mac,
) -> Option<SecretText> {
    let mut bytes = Vec::with_capacity(HEAD + content.len() + MAC_BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(&key.0.to_be_bytes());
    bytes.extend_from_slice(content);
    let tag = mac.mac(key, kind, &[&bytes, associated].concat())?;
    bytes.extend_from_slice(&tag);

    let mut text = String::with_capacity(kind.prefix().len() + bytes.len() * 11 / 8 + 2 + CHECKSUM_DIGITS);
    text.push_str(kind.prefix());
    base62::encode_into(&bytes, &mut text);
    let sum = crc32fast::hash(text.as_bytes());
    base62::encode_into(&sum.to_be_bytes(), &mut text);
    Some(SecretText(text))
}

/// The key id and content of a genuine text.
fn open(kind: SecretKind, text: &str, associated: &[u8], mac: &impl Mac) -> Option<(DerivationKeyId, Vec<u8>)> {
    let (body, sum) = text.split_at_checked(text.len().checked_sub(CHECKSUM_DIGITS)?)?;
    let digits = body.strip_prefix(kind.prefix())?;
    if base62::decode(sum.as_bytes())? != crc32fast::hash(body.as_bytes()).to_be_bytes() {
        return None;
    }
    let mut bytes = base62::decode(digits.as_bytes())?;
    let tag = bytes.split_off(bytes.len().checked_sub(MAC_BYTES)?);
    let [VERSION, hi, lo, content @ ..] = bytes.as_slice() else {
        return None;
    };
    let key = DerivationKeyId(u16::from_be_bytes([*hi, *lo]));
    let genuine = if associated.is_empty() {
        mac.verify(key, kind, &bytes, &tag)
    } else {
        mac.verify(key, kind, &[&bytes, associated].concat(), &tag)
    };
    genuine.then(|| (key, content.to_vec()))
}

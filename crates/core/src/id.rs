//! Ids of things: a prefix for each kind, and 128 bits that nobody else has. Not secrets.
//!
//! The tenants `system` and `default` and the bootstrap client keep the literal ids that were given; all other ids are
//! made of random bits and never used twice. Ids are compared byte by byte and never normalized.

use std::{fmt, hash, marker::PhantomData, str::FromStr, sync::Arc};

use super::base62;
use crate::time::Time;

/// The id of one kind of thing.
pub struct Id<K> {
    repr: Repr,
    kind: PhantomData<fn() -> K>,
}

/// Distinguishes the ids of one kind of thing from all others.
pub trait Tag: 'static {
    /// What random ids of the kind begin with.
    const PREFIX: &'static str;
    /// Whether ids of the kind may also be literals that an operator chose.
    const LITERALS: bool;
}

/// A string that is no id of the kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Repr {
    Random([u8; 16]),
    Literal(Arc<str>),
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $alias:ident $prefix:literal $literals:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $kind {}
        impl Tag for $kind {
            const PREFIX: &'static str = $prefix;
            const LITERALS: bool = $literals;
        }
        $(#[$doc])*
        pub type $alias = Id<$kind>;
    )*};
}

kinds! {
    /// An access token (`jti`).
    Token TokenId "tok_" false;
    /// A family of refresh tokens.
    Family FamilyId "fam_" false;
    /// A client.
    Client ClientId "cli_" true;
    /// An account.
    Account AccountId "acc_" false;
    /// A member.
    Member MemberId "mem_" false;
    /// An entity group.
    Group GroupId "grp_" false;
    /// A role.
    Role RoleId "rol_" false;
    /// An identity profile.
    IdentityProfile IdentityProfileId "idp_" false;
    /// A tenant.
    Tenant TenantId "ten_" true;
}

/// Prefixes that no foreign id may begin with, so that the two namespaces cannot collide.
pub const RESERVED_PREFIXES: [&str; 12] =
    ["tok_", "fam_", "cli_", "acc_", "mem_", "grp_", "rol_", "idp_", "ten_", "jta_", "jtr_", "jcs_"];

/// The id of the built-in tenant [`TenantId::system`].
pub const SYSTEM: &str = "system";
/// The longest literal id.
const MAX_LITERAL: usize = 64;
/// Digits of 128 bits.
const RANDOM_DIGITS: usize = 22;

// === impl Id ===

impl<K: Tag> Id<K> {
    /// The id of 128 given bits.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self { repr: Repr::Random(bytes), kind: PhantomData }
    }

    /// The id of a moment and of the given bits after the first 48. Ids of which there are many begin with their time, so
    /// that what is made together stands together in an ordered store: a commit writes few pages, however many there are.
    pub fn from_time(now: Time, mut bytes: [u8; 16]) -> Self {
        let [_, _, millis @ ..] = now.as_millis().to_be_bytes();
        bytes[..6].copy_from_slice(&millis);
        Self::from_bytes(bytes)
    }

    /// The 128 bits, unless the id is a literal.
    pub const fn random_bytes(&self) -> Option<&[u8; 16]> {
        match &self.repr {
            Repr::Random(bytes) => Some(bytes),
            Repr::Literal(_) => None,
        }
    }

    /// The compact form inside secrets: a byte for the kind, then 16 bytes or the text of a literal.
    pub fn to_compact(&self) -> Vec<u8> {
        match &self.repr {
            Repr::Random(bytes) => [&[1], bytes.as_slice()].concat(),
            Repr::Literal(text) => [&[0], text.as_bytes()].concat(),
        }
    }

    /// Reads the compact form.
    pub fn from_compact(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [1, id @ ..] => Some(Self::from_bytes(id.try_into().ok()?)),
            [0, text @ ..] if K::LITERALS => {
                let text = std::str::from_utf8(text).ok().filter(|text| is_literal(text))?;
                Some(Self { repr: Repr::Literal(text.into()), kind: PhantomData })
            }
            _ => None,
        }
    }
}

impl TenantId {
    /// The tenant whose administrators reach all others, and whose directory holds what is no tenant's own.
    pub fn system() -> Self {
        Self { repr: Repr::Literal(SYSTEM.into()), kind: PhantomData }
    }
}

fn is_literal(text: &str) -> bool {
    (1..=MAX_LITERAL).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

impl<K: Tag> FromStr for Id<K> {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if let Some(digits) = text.strip_prefix(K::PREFIX) {
            if digits.len() != RANDOM_DIGITS {
                return Err(Malformed);
            }
            let bytes = base62::decode(digits.as_bytes()).ok_or(Malformed)?;
            return Ok(Self::from_bytes(bytes.try_into().map_err(|_| Malformed)?));
        }
        if K::LITERALS && is_literal(text) {
            return Ok(Self { repr: Repr::Literal(text.into()), kind: PhantomData });
        }
        Err(Malformed)
    }
}

impl<K: Tag> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repr {
            Repr::Random(bytes) => {
                let mut text = String::with_capacity(K::PREFIX.len() + RANDOM_DIGITS);
                text.push_str(K::PREFIX);
                base62::encode_into(bytes, &mut text);
                f.write_str(&text)
            }
            Repr::Literal(text) => f.write_str(text),
        }
    }
}

impl<K: Tag> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// Derives would ask the same of the kind, which is never a value.

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        Self { repr: self.repr.clone(), kind: PhantomData }
    }
}

impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.repr == other.repr
    }
}

impl<K> Eq for Id<K> {}

impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.repr.cmp(&other.repr)
    }
}

impl<K> hash::Hash for Id<K> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.repr.hash(state);
    }
}

impl<C, K: Tag> minicbor::Encode<C> for Id<K> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match &self.repr {
            Repr::Random(bytes) => e.bytes(bytes)?.ok(),
            Repr::Literal(text) => e.str(text)?.ok(),
        }
    }
}

impl<'b, C, K: Tag> minicbor::Decode<'b, C> for Id<K> {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.datatype()? == minicbor::data::Type::String {
            let text = d.str()?;
            return if K::LITERALS && is_literal(text) {
                Ok(Self { repr: Repr::Literal(text.into()), kind: PhantomData })
            } else {
                Err(minicbor::decode::Error::message("malformed literal id"))
            };
        }
        let bytes = d.bytes()?;
        let bytes = bytes.try_into().map_err(|_| minicbor::decode::Error::message("an id has 16 bytes"))?;
        Ok(Self::from_bytes(bytes))
    }
}

impl<C, K: Tag> minicbor::CborLen<C> for Id<K> {
    fn cbor_len(&self, ctx: &mut C) -> usize {
        match &self.repr {
            Repr::Random(bytes) => minicbor::bytes::ByteSlice::cbor_len(bytes.as_slice().into(), ctx),
            Repr::Literal(text) => text.as_ref().cbor_len(ctx),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed id")
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_text_and_compact_form() {
        let id = AccountId::from_bytes([7; 16]);
        assert_eq!(id.to_string().parse(), Ok(id.clone()));
        assert_eq!(id.to_string().len(), 26);
        assert_eq!(AccountId::from_compact(&id.to_compact()), Some(id));
        let literal: TenantId = "system".parse().unwrap();
        assert_eq!(TenantId::from_compact(&literal.to_compact()), Some(literal));
    }

    #[test]
    fn foreign_kinds_literals_and_damage_are_refused() {
        for text in [
            "",
            "acc_",
            "cli_0000000000000000000000",
            "system",
            "acc_!!!!!!!!!!!!!!!!!!!!!!",
            "acc_zzzzzzzzzzzzzzzzzzzzzz",
        ] {
            assert_eq!(text.parse::<AccountId>(), Err(Malformed), "{text}");
        }
        for text in ["tok_x", "a b", "ten_short", &"x".repeat(65)] {
            assert_eq!(text.parse::<TenantId>(), Err(Malformed), "{text}");
        }
    }
}

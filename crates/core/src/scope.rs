//! Scopes (RFC 6749 §3.3).

use std::{fmt, sync::Arc};

/// A set of scopes in the order given. Small: searched linearly.
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct Scopes(Arc<[Arc<str>]>);

/// Scopes that begin so give rights over jeton itself.
pub const MANAGEMENT_PREFIX: &str = "jeton.";

/// Management scopes that the code, not only the contract, asks for.
pub mod management {
    pub const ADMIN: &str = "jeton.admin";
    pub const TOKENS_ISSUE: &str = "jeton.tokens.issue";
    pub const TOKENS_REVOKE: &str = "jeton.tokens.revoke";
    pub const TOKENS_ETERNAL: &str = "jeton.tokens.eternal";
    pub const MEMBERS_READ: &str = "jeton.members.read";
    pub const MEMBERS_WRITE: &str = "jeton.members.write";
}

/// Every management scope: what the bootstrap client may do.
pub const ALL_MANAGEMENT: [&str; 19] = [
    "jeton.admin",
    "jeton.tokens.issue",
    "jeton.tokens.introspect",
    "jeton.tokens.read",
    "jeton.tokens.revoke",
    "jeton.tokens.eternal",
    "jeton.clients.read",
    "jeton.clients.write",
    "jeton.accounts.read",
    "jeton.accounts.write",
    "jeton.members.read",
    "jeton.members.write",
    "jeton.groups.read",
    "jeton.groups.write",
    "jeton.tenants.read",
    "jeton.tenants.write",
    "jeton.keys.read",
    "jeton.keys.write",
    "jeton.audit.read",
];

// === impl Scopes ===

impl Scopes {
    pub fn new(scopes: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self(scopes.into_iter().map(|scope| Arc::from(scope.as_ref())).collect())
    }

    pub fn contains(&self, scope: &str) -> bool {
        self.0.iter().any(|own| **own == *scope)
    }

    /// The first scope that `self` has and `other` has not.
    pub fn beyond<'a>(&'a self, other: &Self) -> Option<&'a str> {
        self.iter().find(|scope| !other.contains(scope))
    }

    /// The scopes that both have, in the order of `self`.
    pub fn intersection(&self, other: &Self) -> Self {
        Self::new(self.iter().filter(|scope| other.contains(scope)))
    }

    /// Without those that give rights over jeton itself and are not among `allowed`.
    pub fn kept_by(&self, allowed: &Self) -> Self {
        if self.iter().all(|scope| !is_management(scope) || allowed.contains(scope)) {
            return self.clone();
        }
        Self::new(self.iter().filter(|scope| !is_management(scope) || allowed.contains(scope)))
    }

    /// Those that give no rights over jeton itself.
    pub fn without_management(&self) -> Self {
        Self::new(self.iter().filter(|scope| !is_management(scope)))
    }

    /// Whether any scope gives rights over jeton itself.
    pub fn has_management(&self) -> bool {
        self.iter().any(is_management)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|scope| &**scope)
    }

    pub fn to_vec(&self) -> Vec<String> {
        self.iter().map(str::to_owned).collect()
    }

    /// The claim `scope`: separated by spaces.
    pub fn to_claim(&self) -> String {
        let mut claim = String::with_capacity(self.0.iter().map(|scope| scope.len() + 1).sum());
        for scope in self.iter() {
            if !claim.is_empty() {
                claim.push(' ');
            }
            claim.push_str(scope);
        }
        claim
    }

    /// Reads the claim `scope`.
    pub fn from_claim(claim: &str) -> Self {
        Self::new(claim.split(' ').filter(|scope| !scope.is_empty()))
    }
}

/// Whether a scope gives rights over jeton itself.
pub fn is_management(scope: &str) -> bool {
    scope.starts_with(MANAGEMENT_PREFIX)
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<C> minicbor::Encode<C> for Scopes {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.to_claim())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Scopes {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(Self::from_claim(d.str()?))
    }
}

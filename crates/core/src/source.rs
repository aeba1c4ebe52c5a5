//! What a token hangs on besides what it names itself.

use std::fmt;

use crate::{
    id::{FamilyId, TenantId, TokenId},
    ident::Ident,
};

/// What ends a token when it ends, besides what the token itself names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
pub enum Source {
    /// A token of the same tenant.
    #[n(0)]
    Token(#[n(0)] TokenId),
    /// A family of the same tenant.
    #[n(1)]
    Family(#[n(0)] FamilyId),
    /// Anything else that the revocation log can name; a client stands for its admission, too.
    #[n(2)]
    Named(#[cbor(n(0), with = "named")] Ident),
}

/// The most `src` of a token: what four delegations, each through a client of its own, hang on.
pub const MAX_SOURCES: usize = 16;

/// An identifier as the log writes it.
mod named {
    use super::Ident;

    pub fn encode<C, W: minicbor::encode::Write>(
        ident: &Ident,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&ident.to_string())?.ok()
    }

    pub fn decode<C>(d: &mut minicbor::Decoder<'_>, _: &mut C) -> Result<Ident, minicbor::decode::Error> {
        d.str()?.parse().map_err(|_| minicbor::decode::Error::message("malformed identifier"))
    }
}

// === impl Source ===

impl Source {
    /// What a token of `tenant` that hangs on a holder of `ident` must record; `None`: nothing.
    pub fn of(ident: &Ident, tenant: &TenantId) -> Option<Self> {
        match ident {
            Ident::Token(own, id) if own == tenant => Some(Self::Token(id.clone())),
            Ident::Family(own, id) if own == tenant => Some(Self::Family(id.clone())),
            // The client's own entry tells the first; the others are never revoked.
            Ident::Admission(..) | Ident::Entity(..) | Ident::Role(..) | Ident::IdentityProfile(..) => None,
            Ident::Token(..)
            | Ident::Family(..)
            | Ident::Session(..)
            | Ident::Client(_)
            | Ident::Account(..)
            | Ident::Subtree(..)
            | Ident::Member(..)
            | Ident::Membership(..)
            | Ident::Group(..)
            | Ident::GroupMember(..)
            | Ident::Tenant(_)
            | Ident::SigningKey(..) => Some(Self::Named(ident.clone())),
        }
    }

    /// Adds the identifiers by which the revocation log can name it for a token of `tenant`.
    pub(crate) fn name(&self, tenant: &TenantId, idents: &mut Vec<Ident>) {
        idents.push(match self {
            Self::Token(id) => Ident::Token(tenant.clone(), id.clone()),
            Self::Family(id) => Ident::Family(tenant.clone(), id.clone()),
            Self::Named(ident) => ident.clone(),
        });
        if let Self::Named(Ident::Client(client)) = self {
            idents.push(Ident::Admission(tenant.clone(), client.clone()));
        }
    }

    /// Reads what the claim `src` of a token of `tenant` says.
    pub fn parse(text: &str, tenant: &TenantId) -> Option<Self> {
        if let Ok(source) = text.parse().map(Self::Token).or_else(|_| text.parse().map(Self::Family)) {
            return Some(source);
        }
        // One text for each.
        Self::of(&text.parse().ok()?, tenant).filter(|source| matches!(source, Self::Named(_)))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => id.fmt(f),
            Self::Family(id) => id.fmt(f),
            Self::Named(ident) => ident.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClientId;

    #[test]
    fn a_source_reads_back_and_has_one_text() {
        let token = TokenId::from_bytes([1; 16]);
        let client = ClientId::from_bytes([2; 16]);
        let key = Ident::SigningKey("default".parse().unwrap(), "k1".parse().unwrap());
        let (own, other): (TenantId, TenantId) = ("default".parse().unwrap(), "other".parse().unwrap());
        let elsewhere = Source::Named(Ident::Token(other, token.clone()));
        for source in
            [Source::Token(token.clone()), elsewhere, Source::Named(Ident::Client(client.clone())), Source::Named(key)]
        {
            assert_eq!(Source::parse(&source.to_string(), &own), Some(source.clone()));
            assert_eq!(minicbor::decode::<Source>(&minicbor::to_vec(&source).unwrap()).unwrap(), source);
        }
        assert_eq!(Source::parse(&format!("t:default:{token}"), &own), None);
        assert_eq!(Source::parse(&format!("d:default:{client}"), &own), None, "the client stands for it");
        assert_eq!(Source::parse("x", &own), None);
    }
}

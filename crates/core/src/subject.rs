//! What a token acts as, and where in the tree of accounts.

use crate::{
    id::{AccountId, ClientId, GroupId, MemberId, TenantId},
    ident::Ident,
};

/// An account with its ancestors, nearest first. They never change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lineage {
    pub account: AccountId,
    pub ancestors: Vec<AccountId>,
}

/// What a token acts as.
#[derive(Clone, Debug, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
pub enum Subject {
    /// The client itself, in its tenant or within the account that confines it.
    #[n(0)]
    Client(#[n(0)] Option<Lineage>),
    /// An account and its descendants.
    #[n(1)]
    Account(#[n(0)] Lineage),
    /// A member, acting in one account.
    #[n(2)]
    Member(#[n(0)] Lineage, #[n(1)] MemberId),
    /// An entity group, or one of its members acting in it.
    #[n(3)]
    Group(#[n(0)] GroupId, #[n(1)] Option<MemberId>),
    /// Another client than the one that obtained the token by exchange; with the account that confines it.
    #[n(8)]
    OtherClient(#[n(0)] ClientId, #[n(1)] Option<Lineage>),
}

// === impl Lineage ===

impl Lineage {
    /// Whether the account is `root`, or below it.
    pub fn is_within(&self, root: &AccountId) -> bool {
        self.account == *root || self.ancestors.contains(root)
    }

    /// The account, then its ancestors.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        std::iter::once(&self.account).chain(&self.ancestors)
    }
}

/// One array of ids, the account first.
impl<C> minicbor::Encode<C> for Lineage {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let length = u64::try_from(self.ancestors.len()).unwrap_or(u64::MAX).saturating_add(1);
        e.array(length)?;
        self.accounts().try_for_each(|account| account.encode(e, ctx))
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Lineage {
    fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let mut accounts = d.array_iter_with(ctx)?;
        let account =
            accounts.next().ok_or_else(|| minicbor::decode::Error::message("a lineage begins with an account"))??;
        Ok(Self { account, ancestors: accounts.collect::<Result<_, _>>()? })
    }
}

// === impl Subject ===

impl Subject {
    /// The account that it is, that it acts in, or that confines it, with its ancestors.
    pub const fn lineage(&self) -> Option<&Lineage> {
        match self {
            Self::Client(lineage) | Self::OtherClient(_, lineage) => lineage.as_ref(),
            Self::Account(lineage) | Self::Member(lineage, _) => Some(lineage),
            Self::Group(..) => None,
        }
    }

    /// The account that it is, that it acts in, or that confines it.
    pub const fn account(&self) -> Option<&AccountId> {
        match self.lineage() {
            Some(lineage) => Some(&lineage.account),
            None => None,
        }
    }

    /// Whether it is `root`, acts in it or is confined to it, or to an account below.
    pub fn is_within(&self, root: &AccountId) -> bool {
        self.lineage().is_some_and(|lineage| lineage.is_within(root))
    }

    /// The member that it is.
    pub const fn member(&self) -> Option<&MemberId> {
        match self {
            Self::Member(_, member) => Some(member),
            Self::Group(_, member) => member.as_ref(),
            Self::Client(_) | Self::Account(_) | Self::OtherClient(..) => None,
        }
    }

    /// The entity group that it is, or that it acts in.
    pub const fn group(&self) -> Option<&GroupId> {
        match self {
            Self::Group(group, _) => Some(group),
            Self::Client(_) | Self::Account(_) | Self::Member(..) | Self::OtherClient(..) => None,
        }
    }

    /// Adds the identifiers by which the revocation log can name it in `tenant`.
    pub(crate) fn name(&self, tenant: &TenantId, idents: &mut Vec<Ident>) {
        if let Some(account) = self.account() {
            idents.push(Ident::Account(tenant.clone(), account.clone()));
        }
        if let Some(member) = self.member() {
            idents.push(Ident::Member(tenant.clone(), member.clone()));
        }
        match self {
            Self::Member(lineage, member) => {
                idents.push(Ident::Membership(tenant.clone(), lineage.account.clone(), member.clone()));
            }
            Self::Group(group, member) => {
                idents.push(Ident::Group(tenant.clone(), group.clone()));
                let place = |member: &MemberId| Ident::GroupMember(tenant.clone(), group.clone(), member.clone());
                idents.extend(member.as_ref().map(place));
            }
            Self::Client(_) | Self::Account(_) | Self::OtherClient(..) => {}
        }
        let line = self.lineage().into_iter().flat_map(Lineage::accounts);
        idents.extend(line.map(|account| Ident::Subtree(tenant.clone(), account.clone())));
    }
}

//! Members: people, and what platforms say of them.

use std::collections::BTreeMap;

use jeton_contract::reason::Reason;
use jeton_core::{Ident, IdentityProfileId, MemberId, TenantId, Time};

use super::{
    identity::{Identity, normalized},
    stored::{Kept, State, Stored, foreign_ids, stored},
};
use crate::{
    metrics::labels,
    store::{Kind, Name, Refusal, Unique},
};

/// A person.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Member {
    #[n(0)]
    pub id: MemberId,
    #[n(1)]
    pub tenant: TenantId,
    #[n(2)]
    pub state: State,
    #[n(3)]
    pub profile: Profile,
    #[n(4)]
    pub created: Time,
    #[n(5)]
    pub updated: Time,
    #[n(6)]
    pub deleted: Option<Time>,
    /// How it signs in; at most one for each profile.
    #[n(7)]
    pub identities: Option<Vec<Identity>>,
    /// Whether the e-mail address is known to be its own.
    #[n(8)]
    pub email_verified: Option<bool>,
    /// It stands for its e-mail address, by which it was invited, until somebody joins who has it.
    #[n(9)]
    pub invited: Option<bool>,
    #[cbor(skip)]
    pub version: u64,
}

/// What the platform says of a member.
#[derive(Clone, Debug, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Profile {
    #[n(0)]
    pub foreign_id: Option<String>,
    #[n(1)]
    pub display_name: String,
    #[n(2)]
    pub first_name: String,
    #[n(3)]
    pub last_name: String,
    #[n(4)]
    pub email: String,
    #[n(5)]
    pub phone: String,
    #[n(6)]
    pub title: String,
    #[n(7)]
    pub labels: BTreeMap<String, String>,
    #[n(8)]
    pub metadata: BTreeMap<String, String>,
}

/// E-mail addresses, each held by the member who stands for it until somebody proves to have it.
static INVITED: Name = Name {
    kind: Kind::Identity,
    field: "invited",
    taken: Refusal::new(Reason::IdentityTaken, "another member is invited by this e-mail address"),
};

stored! {
    Member Member "Member" |self| Ident::Member(self.tenant.clone(), self.id.clone());
}

impl Kept for Member {
    type Key = MemberId;
    const CACHE: labels::Cache = labels::Cache::Members;
    const KEEPS_ABSENCE: bool = false;

    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    fn outdated_by(ident: &Ident) -> Option<Self::Key> {
        let Ident::Member(_, id) = ident else { return None };
        Some(id.clone())
    }
}

// === impl Member ===

impl Member {
    /// The ids that platforms gave to members.
    pub(crate) const FOREIGN_IDS: &'static Name = &foreign_ids(Self::KIND, Self::NAME);

    pub fn identities(&self) -> &[Identity] {
        self.identities.as_deref().unwrap_or_default()
    }

    /// How it signs in through a profile.
    pub fn identity(&self, profile: &IdentityProfileId) -> Option<&Identity> {
        self.identities().iter().find(|identity| identity.profile == *profile)
    }
}

/// The name of the member who stands for an e-mail address.
pub(crate) fn invited(email: &str) -> Unique {
    Unique { name: &INVITED, value: normalized(email) }
}

//! Clients: machines, and what they prove themselves with.

use std::{collections::BTreeMap, time::Duration};

use jeton_contract::reason::Reason;
use jeton_core::{
    ClientId, GrantType, Ident, Lineage, Scopes, TenantId, Time, family::RenewalPolicy, secret::DerivationKeyId,
};

use super::stored::{Kept, State, Stored, stored};
use crate::{
    keys::jwk::Jwk,
    metrics::labels,
    store::{Kind, Name, Refusal, Unique},
};

/// A machine's credential.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Client {
    #[n(0)]
    pub id: ClientId,
    #[n(1)]
    pub tenant: TenantId,
    #[n(2)]
    pub display_name: String,
    #[n(3)]
    pub state: State,
    #[n(4)]
    pub allowed_grants: Vec<GrantType>,
    #[n(5)]
    pub allowed_scopes: Scopes,
    #[n(6)]
    pub default_scopes: Scopes,
    /// What it may ask for besides the tenant's default; "*" is any.
    #[n(7)]
    pub audiences: Vec<String>,
    /// Whose tokens it may ask about; "*" is all.
    #[n(8)]
    pub introspects: Vec<String>,
    /// The account whose subtree confines it, with that account's ancestors, which never change.
    #[n(9)]
    pub confinement: Option<Lineage>,
    #[n(10)]
    pub token_ttl: Option<Duration>,
    #[n(11)]
    pub refresh_idle_ttl: Option<Duration>,
    #[n(12)]
    pub refresh_absolute_ttl: Option<Duration>,
    #[n(13)]
    pub replay_window: Option<Duration>,
    #[n(14)]
    pub renewal_policy: RenewalPolicy,
    #[n(15)]
    pub labels: BTreeMap<String, String>,
    #[n(16)]
    pub secrets: Vec<Secret>,
    #[n(17)]
    pub created: Time,
    #[n(18)]
    pub updated: Time,
    /// Keys that check its assertions. Not together with `jwks_uri`.
    #[cbor(n(19), default)]
    pub jwks: Vec<Jwk>,
    #[n(20)]
    pub jwks_uri: Option<String>,
    #[cbor(n(21), default)]
    pub workload_identities: Vec<WorkloadIdentity>,
    /// Names of client certificates that prove it: `spiffe://…` and `dns:…`.
    #[cbor(n(22), default)]
    pub certificate_identities: Vec<String>,
    /// What it may hand on; `None`: what it holds itself.
    #[n(23)]
    pub grantable: Option<Grantable>,
    #[cbor(skip)]
    pub version: u64,
}

/// What a client may hand on, as its record says.
#[derive(Clone, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Grantable {
    /// "*" is every scope but `jeton.admin`; one of `jeton.` only as far as the caller holds it.
    #[n(0)]
    pub scopes: Scopes,
    /// "*" is any.
    #[n(1)]
    pub audiences: Vec<String>,
    /// "*" is all.
    #[n(2)]
    pub introspects: Vec<String>,
    #[n(3)]
    pub grants: Vec<GrantType>,
    /// The longest that may be given; `None`: what the tenant allows.
    #[n(4)]
    pub token_ttl: Option<Duration>,
    #[n(5)]
    pub refresh_idle_ttl: Option<Duration>,
    #[n(6)]
    pub refresh_absolute_ttl: Option<Duration>,
}

/// One of a client's secrets: its id and how to make it again, never itself.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Secret {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 8],
    #[n(1)]
    pub key: DerivationKeyId,
    #[n(2)]
    pub created: Time,
    /// When it stops or stopped working.
    #[n(3)]
    pub revokes: Option<Time>,
}

/// What another issuer calls a workload that may obtain tokens as the client.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct WorkloadIdentity {
    /// The `iss` of its tokens.
    #[n(0)]
    pub issuer: String,
    /// Their `sub`.
    #[n(1)]
    pub subject: String,
}

/// Workload identities; each stands for one client.
static WORKLOADS: Name = Name {
    kind: Kind::Client,
    field: "workload",
    taken: Refusal {
        reason: Reason::WorkloadTaken,
        message: "the workload identity stands for another client",
        resource: Some(WorkloadIdentity::NAME),
    },
};

stored! {
    Client Client "Client" |self| Ident::Client(self.id.clone());
}

impl Kept for Client {
    type Key = ClientId;
    const CACHE: labels::Cache = labels::Cache::Clients;
    const KEEPS_ABSENCE: bool = false;

    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    fn outdated_by(ident: &Ident) -> Option<Self::Key> {
        let Ident::Client(id) = ident else { return None };
        Some(id.clone())
    }
}

// === impl WorkloadIdentity ===

impl WorkloadIdentity {
    /// What it is called in errors, as its message in the contract.
    pub(crate) const NAME: &'static str = "WorkloadIdentity";

    pub(crate) fn unique(&self) -> Unique {
        // Neither has a space in it.
        Unique { name: &WORKLOADS, value: format!("{} {}", self.issuer, self.subject) }
    }
}

// === impl Secret ===

impl Secret {
    pub fn is_live(&self, now: Time) -> bool {
        self.revokes.is_none_or(|revokes| revokes > now)
    }

    /// The id as callers see it.
    pub fn id_text(&self) -> String {
        let mut text = "sec_".to_owned();
        jeton_core::base62::encode_into(&self.id, &mut text);
        text
    }
}

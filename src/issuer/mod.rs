//! The verbs: issue, renew, introspect, list, revoke. One file each.
//!
//! Promises: every verb judges by the log's head that its call read first, and by records read after that; whatever
//! overlaps a revocation may come out dead, whatever starts after it returned is judged by it.
//!
//! Invariant: knows neither the wire nor the kind of store. Start reading at [`verify`] (what makes a token active) and
//! `living` (what lives), then [`issue`] and [`renew`].

pub mod authenticate;
pub mod code;
pub mod credentials;
mod exchange;
pub mod federated;
pub mod foreign;
pub mod freshness;
mod grant;
mod granted;
pub mod introspect;
pub mod issue;
pub mod list;
mod living;
mod minting;
pub mod one_time;
pub mod passwords;
mod per_client;
mod reach;
mod records;
pub mod renew;
mod repeat;
pub mod request;
pub mod revoke;
mod session;
pub mod signin;
pub mod signin_request;
mod signin_tokens;
mod signing;
mod signup;
mod terms;
pub mod verified;
pub mod verify;
mod waiting;
pub mod workloads;

use std::{fmt, sync::Arc};

use jeton_core::{ClientId, Time, secret::SecretText};
use parking_lot::Mutex;

use self::{passwords::Passwords, per_client::PerClient, verified::Verified, waiting::Waiting, workloads::Workloads};
use crate::{
    core::Core, directory::Directory, federation::RelyingParty, metrics::Metrics, outbound::jwks::JwksCache,
    outbox::Outbox,
};

/// Issues and judges tokens.
pub struct Issuer {
    core: Arc<Core>,
    directory: Arc<Directory>,
    /// Their public keys.
    key_sets: Arc<JwksCache>,
    /// Sign-in with identity providers.
    relying_party: RelyingParty,
    /// Events for the platform.
    outbox: Arc<Outbox>,
    /// Tokens whose text was checked, by digest.
    verified: quick_cache::sync::Cache<[u8; 32], Arc<Verified>>,
    /// The client that the configuration names.
    bootstrap: Option<Bootstrap>,
    /// Whose workloads may call.
    workloads: Workloads,
    /// When the use of a secret was last written.
    uses: Mutex<std::collections::HashMap<[u8; 8], Time>>,
    /// Where members' passwords are hashed.
    passwords: Arc<Passwords>,
    failures: PerClient,
    /// How many one-time passwords are asked for through each client.
    codes: PerClient,
    /// Who waits for identity providers.
    waiting: Waiting,
    metrics: Arc<Metrics>,
}

/// What an issuer works with.
#[derive(Debug)]
pub struct Parts {
    pub core: Arc<Core>,
    pub passwords: Arc<Passwords>,
    pub directory: Arc<Directory>,
    pub bootstrap: Option<Bootstrap>,
    pub workloads: Workloads,
    pub key_sets: Arc<JwksCache>,
    pub relying_party: RelyingParty,
    pub outbox: Arc<Outbox>,
    pub metrics: Arc<Metrics>,
}

/// Credentials that stand in the configuration. Compared in memory, never stored.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    pub client: ClientId,
    pub secret: SecretText,
}

/// How often a change past the directory, of a family or of a one-time password, may lose a race.
const MAX_RACES: usize = 32;
/// How many checked tokens a replica remembers.
const VERIFIED_TOKENS: usize = 100_000;

// === impl Issuer ===

impl Issuer {
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { core, passwords, directory, bootstrap, workloads, key_sets, relying_party, outbox, metrics } =
            parts;
        Arc::new(Self {
            core,
            directory,
            key_sets,
            relying_party,
            outbox,
            verified: quick_cache::sync::Cache::new(VERIFIED_TOKENS),
            bootstrap,
            workloads,
            uses: Mutex::default(),
            passwords,
            failures: PerClient::failures(),
            codes: PerClient::codes(),
            waiting: Waiting::default(),
            metrics,
        })
    }

    pub fn now(&self) -> Time {
        self.core.now()
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("directory", &self.directory).finish_non_exhaustive()
    }
}

//! How often it was attempted to sign in as somebody, whether or not there is such a member.
//!
//! An attempt is counted before its password is looked at, by a compare-and-set: however many come at once, no more than
//! the limit are looked at.

use std::time::Duration;

use jeton_contract::reason::Reason;
use jeton_core::{IdentityProfileId, TenantId, Time};

use super::{Directory, commit::MAX_RACES, record::normalized};
use crate::{
    error::{Error, Result},
    keys::ring::digest_text,
    store::{Change, Kind, Put, RecordKey, Written},
};

/// What is stored of the attempts with one username.
#[derive(Clone, Copy, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
struct Attempts {
    /// When the first of them was made.
    #[n(0)]
    since: Time,
    #[n(1)]
    count: u32,
}

/// How many attempts with one username in one profile may fail before it has to wait.
pub const MAX_ATTEMPTS: u32 = 10;
/// How long attempts are counted together, from the first one on.
pub const ATTEMPT_WINDOW: Duration = Duration::from_secs(15 * 60);

// === impl Directory ===

impl Directory {
    /// Counts an attempt to sign in, or refuses it. Known and unknown usernames are treated alike.
    pub async fn count_attempt(&self, tenant: &TenantId, profile: &IdentityProfileId, username: &str) -> Result<()> {
        let key = place(tenant, profile, username);
        for _ in 0..MAX_RACES {
            let now = self.now();
            let record = self.core.store.read(std::slice::from_ref(&key)).await?.pop().flatten();
            let version = record.as_ref().map_or(0, |record| record.version);
            let attempts = match record {
                Some(record) => minicbor::decode(&record.body)
                    .map_err(|source| Error::internal("decode a count of attempts").with_source(source))?,
                None => Attempts { since: now, count: 0 },
            };
            let end = attempts.since.plus(ATTEMPT_WINDOW);
            let attempts = if now < end { attempts } else { Attempts { since: now, count: 0 } };
            if attempts.count >= MAX_ATTEMPTS {
                return Err(Error::new(Reason::AttemptLimit, "too many attempts to sign in as this member; wait")
                    .with_retry_after(end.since(now)));
            }
            let attempts = Attempts { count: attempts.count + 1, ..attempts };
            if self.put_attempts(&key, attempts, Some(version)).await? == Written::Done {
                return Ok(());
            }
        }
        Err(Error::new(Reason::ConcurrentUpdate, "too many concurrent attempts to sign in as this member"))
    }

    /// Forgets the attempts with a username after one that succeeded.
    pub async fn forget_attempts(&self, tenant: &TenantId, profile: &IdentityProfileId, username: &str) -> Result<()> {
        let none = Attempts { since: self.now(), count: 0 };
        self.put_attempts(&place(tenant, profile, username), none, None).await.map(|_| ())
    }

    /// Written past the log: nobody remembers counts of attempts.
    async fn put_attempts(&self, key: &RecordKey, attempts: Attempts, expected: Option<u64>) -> Result<Written> {
        let mut change = Change::new(key.tenant.clone(), self.now());
        change.puts.push(Put {
            kind: key.kind,
            id: key.id.clone(),
            expected,
            pending: Vec::new(),
            body: minicbor::to_vec(attempts).unwrap_or_default().into(),
            keep_until: attempts.since.plus(ATTEMPT_WINDOW),
        });
        Ok(self.core.store.write(&change).await?)
    }
}

/// Where the attempts with a username are counted. Digested: people type passwords where usernames belong.
fn place(tenant: &TenantId, profile: &IdentityProfileId, username: &str) -> RecordKey {
    let digest = digest_text(&[normalized(username).as_bytes()]);
    RecordKey { tenant: tenant.clone(), kind: Kind::Attempts, id: format!("{profile}:{digest}") }
}

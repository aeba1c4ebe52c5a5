//! One service replica: the verbs, over the production follower, state and cache.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use jeton::{
    ambient::Clock,
    metrics::labels,
    revocation::{
        cache::{Cache, Invalidate, Seen},
        follower::{BOUND, Follower},
        log::Log as _,
    },
    storage,
    store::{
        Change, Existing, FamilyMint, FamilyRecord, Kind, Mint, Put, Record, RecordKey, Records, SubjectKey, TokenMint,
        Tokens as _, Written,
    },
    worker,
};
use jeton_core::{
    AccessToken, ClientId, Family, FamilyId, Format, Ident, Position, TenantId, Time, TokenId,
    entry::{Effect, Entry},
};
use parking_lot::Mutex;
use tokio::{task::AbortHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    oracle::Oracle,
    rules::Rule,
    sim::Sim,
    store::{Connection, Landed, Shards},
};

/// One service replica, from its start to its end.
pub struct Replica {
    pub name: usize,
    pub clock: Clock,
    /// Fires when the process is killed.
    pub killed: CancellationToken,
    dozes: AtomicBool,
    sim: Arc<Sim>,
    oracle: Arc<Mutex<Oracle>>,
    store: Arc<Connection>,
    follower: Arc<Follower>,
    clients: Copies,
    heartbeat: Mutex<AbortHandle>,
    /// When a head was last heard of: what bounded answers must not count from.
    heard: Mutex<Option<Instant>>,
}

/// Whether a client may obtain and use tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Enabled,
    Disabled,
}

/// What introspection says, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Active,
    Expired,
    Missing,
    Disabled,
    Revoked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    Full,
    Bounded,
}

/// Why a call gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The outcome of a mutation is unknown.
    Unavailable,
    /// Answered, and nothing done.
    Refused,
}

pub type Result<T> = std::result::Result<T, Failure>;

enum Copies {
    True(Arc<Cache<ClientId, Standing>>),
    /// Caches every load, however late it comes back.
    Naive(Arc<Naive>),
}

#[derive(Default)]
struct Naive(Mutex<BTreeMap<ClientId, Standing>>);

/// How often a change is tried again when somebody else changed the record meanwhile.
const CONFLICTS: usize = 3;

// === impl Replica ===

impl Replica {
    pub fn start(name: usize, sim: &Arc<Sim>, oracle: &Arc<Mutex<Oracle>>, shards: &Shards, clock: Clock) -> Arc<Self> {
        let store = Arc::new(Connection::new(Arc::clone(sim), shards.clone()));
        let follower = Follower::new(store.clone(), clock.clone(), 2);
        let clients = if sim.keeps(Rule::SlowLoadsDropped) {
            Copies::True(Arc::new(Cache::new(64, Seen(Arc::default(), labels::Cache::Clients), client_named)))
        } else {
            Copies::Naive(Arc::default())
        };
        if sim.keeps(Rule::CopiesOutdated) {
            follower.keep_true(vec![clients.invalidate()]);
        }
        let heartbeat = Mutex::new(beat(&follower));
        Arc::new(Self {
            name,
            clock,
            killed: CancellationToken::new(),
            dozes: AtomicBool::new(false),
            sim: Arc::clone(sim),
            oracle: Arc::clone(oracle),
            store,
            follower,
            clients,
            heartbeat,
            heard: Mutex::default(),
        })
    }

    /// Stops asking for the head, as a process does that is not scheduled.
    pub fn doze(&self) {
        self.dozes.store(true, Ordering::Relaxed);
        self.heartbeat.lock().abort();
    }

    pub fn dozes(&self) -> bool {
        self.dozes.load(Ordering::Relaxed)
    }

    pub fn wake(&self) {
        self.dozes.store(false, Ordering::Relaxed);
        if !self.killed.is_cancelled() {
            *self.heartbeat.lock() = beat(&self.follower);
        }
    }

    pub fn slow_down(&self, until: Instant) {
        self.store.slow_down(until);
    }

    pub fn kill(&self) {
        self.heartbeat.lock().abort();
        self.killed.cancel();
    }

    // --- the verbs ---

    /// Issues `token`, whose `rev` is still to be filled in, with a family if there is one.
    pub async fn issue(&self, mut token: AccessToken, family: Option<&Family>) -> Result<(AccessToken, Position)> {
        let head = if self.sim.keeps(Rule::HeadFirst) {
            let head = self.head().await?;
            self.require_enabled(&token.client).await?;
            head
        } else {
            self.require_enabled(&token.client).await?;
            self.head().await?
        };
        token.rev = head;
        let family = family.map(|family| Family { rev: head, ..family.clone() });
        self.mint(&token, family.as_ref(), None).await?;
        Ok((token, head))
    }

    /// The next access token of a family.
    pub async fn renew(&self, family: &FamilyId, id: TokenId) -> Result<AccessToken> {
        let head = self.head().await?;
        let Some(there) = self.store.family(family).await? else { return Err(Failure::Refused) };
        let mut family: Family = minicbor::decode(&there.body).unwrap();
        self.require_enabled(&family.client).await?;
        if self.follower.revokes(&family.idents(), family.rev) {
            return Err(Failure::Refused);
        }
        if !self.sim.keeps(Rule::FamilyKeepsRev) {
            family.rev = self.head().await?;
        }
        family.minted.rev = head;
        family.minted.issued = self.clock.now().whole_secs();
        let token = family.access_token(id, &family.minted);
        self.mint(&token, Some(&family), Some(there.revision)).await?;
        Ok(token)
    }

    pub async fn introspect(&self, token: &AccessToken, consistency: Consistency) -> Result<Verdict> {
        match consistency {
            Consistency::Full => self.head().await?,
            Consistency::Bounded => self.bounded()?,
        };
        if token.format == Format::Opaque && self.store.token(&token.id).await?.is_none() {
            return Ok(Verdict::Missing);
        }
        let standing = self.standing(&token.client).await?;
        Ok(if token.expires() <= self.clock.now() {
            Verdict::Expired
        } else if standing == Standing::Disabled {
            Verdict::Disabled
        } else if self.follower.revokes(&token.idents(), token.rev) {
            Verdict::Revoked
        } else {
            Verdict::Active
        })
    }

    /// Revokes what an entry names: the append is the whole of it.
    pub async fn revoke(&self, entry: &Entry) -> Result<Position> {
        self.head().await?;
        if self.sim.keeps(Rule::EffectiveAcknowledged) {
            return Ok(self.follower.append(std::slice::from_ref(entry)).await?);
        }
        // Without the rule, a second try within the call keeps the position of the first, though nobody ever confirmed it.
        let mut entry = entry.clone();
        loop {
            let source = match self.store.append(std::slice::from_ref(&entry)).await {
                Ok(position) => return Ok(position),
                Err(storage::Error::Unavailable { source: Some(source), .. }) => source,
                // Perhaps still on its way: a second one would not be the last.
                Err(_) => return Err(Failure::Unavailable),
            };
            entry.effective = entry.effective.or(source.downcast::<Landed>().ok().map(|landed| landed.0));
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Appends an acknowledged entry once more, as one does who fears that a failover lost it.
    pub async fn append_again(&self, entry: &Entry, position: Position) -> Result<Position> {
        let effective = self.sim.keeps(Rule::EffectiveKept).then_some(position);
        Ok(self.follower.append(&[Entry { effective, ..entry.clone() }]).await?)
    }

    /// Enables or disables a client: the record first, then the log.
    pub async fn set_standing(self: &Arc<Self>, client: &ClientId, standing: Standing) -> Result<Position> {
        self.head().await?;
        let ident = Ident::Client(client.clone());
        let entry = match standing {
            Standing::Enabled => Entry::changed(ident),
            Standing::Disabled => Entry::revoke(ident),
        };
        for _ in 0..CONFLICTS {
            let record = self.load(client).await?;
            let early = match self.sim.keeps(Rule::RecordFirst) {
                true => None,
                false => Some(self.follower.append(std::slice::from_ref(&entry)).await?),
            };
            if !self.write(client, standing, record.version, &entry).await? {
                continue;
            }
            let position = match early {
                Some(position) => return Ok(position),
                None => self.follower.append(std::slice::from_ref(&entry)).await?,
            };
            // After the reply; whether it succeeds does not matter to anybody.
            let (replica, key) = (Arc::clone(self), record_key(client));
            tokio::spawn(async move { replica.store.settle(&key, record.version + 1).await });
            return Ok(position);
        }
        Err(Failure::Unavailable)
    }

    /// Creates a client's record.
    pub async fn create(&self, client: &ClientId) -> Result<()> {
        self.write(client, Standing::Enabled, 0, &Entry::changed(Ident::Client(client.clone()))).await?;
        Ok(())
    }

    // --- what they are made of ---

    async fn head(&self) -> Result<Position> {
        // Any of the workers may have taken the call.
        worker::enter(self.sim.chance.below(2));
        let head = self.follower.head().await?;
        *self.heard.lock() = Some(Instant::now());
        Ok(head)
    }

    fn bounded(&self) -> Result<Position> {
        if self.sim.keeps(Rule::BoundFromRequest) {
            return Ok(self.follower.bounded()?);
        }
        let heard = self.heard.lock().is_some_and(|heard| heard.elapsed() < BOUND);
        if heard { Ok(self.follower.state().applied()) } else { Err(Failure::Unavailable) }
    }

    async fn require_enabled(&self, client: &ClientId) -> Result<()> {
        match self.standing(client).await? {
            Standing::Enabled => Ok(()),
            Standing::Disabled => Err(Failure::Refused),
        }
    }

    async fn standing(&self, client: &ClientId) -> Result<Standing> {
        if let Some(standing) = self.clients.get(client) {
            self.sim.saw("cached records used");
            return Ok(standing);
        }
        let (ticket, began) = self.follower.ticket();
        let record = self.load(client).await?;
        let standing = if &*record.body == b"enabled" { Standing::Enabled } else { Standing::Disabled };
        match &self.clients {
            Copies::True(cache) => cache.fill(&self.follower.state(), ticket, began, client.clone(), standing),
            Copies::Naive(cache) => drop(cache.0.lock().insert(client.clone(), standing)),
        }
        Ok(standing)
    }

    async fn load(&self, client: &ClientId) -> Result<Record> {
        let began = self.sim.now();
        let key = record_key(client);
        let mut records = self.store.read(std::slice::from_ref(&key)).await?;
        let record = records.pop().flatten().ok_or(Failure::Unavailable)?;
        let owes_revocation = record.pending.iter().any(|entry| matches!(entry.effect, Effect::Revoke { .. }));
        if self.sim.keeps(Rule::PendingRepaired) && !record.pending.is_empty() {
            self.sim.saw("pending entries repaired");
            let tried = owes_revocation.then(|| self.oracle.lock().repair_begins(Ident::Client(client.clone()), began));
            repair(&*self.store, &self.follower, &key, &record).await?;
            if let Some(tried) = tried {
                self.oracle.lock().acknowledged(tried, self.sim.now(), None);
            }
        }
        Ok(record)
    }

    /// Writes a client's record, owing `entry` to the log; false if it has another version than expected.
    async fn write(&self, client: &ClientId, standing: Standing, expected: u64, entry: &Entry) -> Result<bool> {
        let pending = if self.sim.keeps(Rule::RecordFirst) { vec![entry.clone()] } else { Vec::new() };
        let key = record_key(client);
        let body = match standing {
            Standing::Enabled => Bytes::from_static(b"enabled"),
            Standing::Disabled => Bytes::from_static(b"disabled"),
        };
        let change = Change {
            require: Vec::new(),
            tenant: key.tenant,
            now: self.clock.now(),
            puts: vec![Put {
                kind: key.kind,
                id: key.id,
                expected: Some(expected),
                pending,
                body,
                keep_until: Time::NEVER,
            }],
            take: Vec::new(),
            free: Vec::new(),
            index: Vec::new(),
            unindex: Vec::new(),
            require_empty: Vec::new(),
            request: None,
        };
        Ok(self.store.write(&change).await? == Written::Done)
    }

    /// Stores what must be stored of a token. `revision`: the family's, if it is there already.
    async fn mint(&self, token: &AccessToken, family: Option<&Family>, revision: Option<u32>) -> Result<()> {
        let stored = (token.format == Format::Opaque).then(|| TokenMint {
            id: token.id.clone(),
            record: token.to_record().into(),
            expires: Time::NEVER,
            keep_until: Time::NEVER,
            subject: SubjectKey::Client(token.tenant.clone(), token.client.clone()),
            exists: Existing::Keep,
        });
        let family = family.map(|family| FamilyMint {
            id: family.id.clone(),
            record: FamilyRecord {
                revision: revision.map_or(1, |revision| revision + 1),
                body: family.to_record().into(),
            },
            expires: Time::NEVER,
            expected: revision,
        });
        if stored.is_none() && family.is_none() {
            return Ok(());
        }
        let mint = Mint { now: self.clock.now(), token: stored, family, session: None };
        // Somebody else renewed it meanwhile.
        if self.store.mint(&mint).await?.family.is_some() { Err(Failure::Refused) } else { Ok(()) }
    }
}

fn beat(follower: &Arc<Follower>) -> AbortHandle {
    tokio::spawn(Arc::clone(follower).heartbeat(CancellationToken::new())).abort_handle()
}

/// Appends what a record owes the log, before anybody acts on the record.
async fn repair(store: &dyn Records, follower: &Follower, key: &RecordKey, record: &Record) -> Result<()> {
    follower.append(&record.pending).await?;
    // Who loads the record next does this again if it fails.
    let _ = store.settle(key, record.version).await;
    Ok(())
}

pub fn tenant() -> TenantId {
    "default".parse().unwrap()
}

fn record_key(client: &ClientId) -> RecordKey {
    RecordKey { tenant: tenant(), kind: Kind::Client, id: client.to_string() }
}

fn client_named(ident: &Ident) -> Option<ClientId> {
    if let Ident::Client(client) = ident { Some(client.clone()) } else { None }
}

// === impl Copies ===

impl Copies {
    fn get(&self, client: &ClientId) -> Option<Standing> {
        match self {
            Self::True(cache) => cache.get(client),
            Self::Naive(cache) => cache.0.lock().get(client).copied(),
        }
    }

    fn invalidate(&self) -> Arc<dyn Invalidate> {
        match self {
            Self::True(cache) => cache.clone(),
            Self::Naive(cache) => cache.clone(),
        }
    }
}

impl Invalidate for Naive {
    fn outdate(&self, ident: &Ident) {
        if let Some(client) = client_named(ident) {
            self.0.lock().remove(&client);
        }
    }

    fn clear(&self) {
        self.0.lock().clear();
    }
}

// === impl Failure ===

impl From<jeton::error::Error> for Failure {
    fn from(_: jeton::error::Error) -> Self {
        Self::Unavailable
    }
}

impl From<storage::Error> for Failure {
    fn from(_: storage::Error) -> Self {
        Self::Unavailable
    }
}

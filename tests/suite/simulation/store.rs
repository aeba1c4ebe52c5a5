//! The store as one service replica reaches it: the port over the simulated shards.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use jeton::{
    revocation::log::{Log, StatePage, Tail},
    storage::{Error, Result},
    store::{
        Change, Ended, FamilyRecord, Health, Index, IndexEntry, Kind, Mint, Minted, Record, RecordKey, Records, Row,
        Session, SessionKey, SubjectKey, Tokens, Unique, Written,
    },
};
use jeton_core::{FamilyId, Position, TenantId, Time, TokenId, entry::Entry};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    cluster::{self, Script, Shard},
    data,
    rules::Rule,
    sim::Sim,
};

/// Both shards. They may be the same one.
#[derive(Debug, Clone)]
pub struct Shards {
    pub log: Arc<Mutex<Shard>>,
    pub records: Arc<Mutex<Shard>>,
}

/// One service replica's connections.
pub struct Connection {
    sim: Arc<Sim>,
    shards: Shards,
    log: Views,
    records: Views,
    /// Until when answers take long.
    slow_until: Mutex<Instant>,
}

/// Which node each of two connections takes for the primary: sentinels do not all know the same.
#[derive(Debug, Clone)]
struct Views(Arc<Mutex<[usize; 2]>>);

/// Whether an answer counts only when the replicas have what the script wrote.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Confirmed {
    Yes,
    No,
}

/// Where an append landed that was not acknowledged.
#[derive(Debug)]
pub struct Landed(pub Position);

/// How long a caller waits for the store.
const TIMEOUT: Duration = Duration::from_millis(800);

// === impl Connection ===

impl Connection {
    pub fn new(sim: Arc<Sim>, shards: Shards) -> Self {
        let views = |shard: &Mutex<Shard>| Views(Arc::new(Mutex::new([shard.lock().primary(); 2])));
        let (log, records) = (views(&shards.log), views(&shards.records));
        for connection in 0..2 {
            log.ask_again(&sim, &shards.log.lock(), connection);
            records.ask_again(&sim, &shards.records.lock(), connection);
        }
        Self { log, records, slow_until: Mutex::new(sim.began), sim, shards }
    }

    /// From now until then, what the store answers is long on its way.
    pub fn slow_down(&self, until: Instant) {
        *self.slow_until.lock() = until;
    }

    fn way_back(&self) -> Duration {
        let slow = Instant::now() < *self.slow_until.lock();
        if slow { self.sim.chance.millis(300, 1000) } else { self.sim.chance.travel() }
    }

    async fn on_log<T: Send + 'static>(
        &self,
        confirmed: Confirmed,
        script: impl FnOnce(&mut Script<'_>) -> T + Send + 'static,
    ) -> Result<T, Option<T>> {
        self.call(&self.shards.log, &self.log, confirmed, script).await
    }

    async fn on_records<T: Send + 'static>(
        &self,
        attempted: &'static str,
        confirmed: Confirmed,
        script: impl FnOnce(&mut Script<'_>) -> T + Send + 'static,
    ) -> Result<T> {
        let done = self.call(&self.shards.records, &self.records, confirmed, script).await;
        done.map_err(|_| Error::Unavailable { attempted, source: None })
    }

    /// Runs a script where this replica believes the primary to be, in a task of its own: who gives up waiting does not
    /// call back what was sent. The error tells what an unconfirmed script returned.
    async fn call<T: Send + 'static>(
        &self,
        shard: &Arc<Mutex<Shard>>,
        views: &Views,
        confirmed: Confirmed,
        script: impl FnOnce(&mut Script<'_>) -> T + Send + 'static,
    ) -> Result<T, Option<T>> {
        let (sim, shard, views) = (Arc::clone(&self.sim), Arc::clone(shard), views.clone());
        let connection = sim.chance.below(2);
        if sim.chance.one_in(40) {
            views.ask_again(&sim, &shard.lock(), connection);
        }
        let way_back = self.way_back();
        let again = (Arc::clone(&sim), Arc::clone(&shard), views.clone());
        let sent = tokio::spawn(async move {
            tokio::time::sleep(sim.chance.travel()).await;
            let node = views.0.lock()[connection];
            let ran = shard.lock().run(node, script);
            let Some((done, upto)) = ran else { return Err(None) };
            let confirmed = confirmed == Confirmed::No || cluster::wait(&shard, upto).await;
            tokio::time::sleep(way_back).await;
            if confirmed { Ok(done) } else { Err(Some(done)) }
        });
        let answer = match tokio::time::timeout(TIMEOUT, sent).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            Err(_) => Err(None),
        };
        if answer.is_err() {
            let (sim, shard, views) = again;
            sim.saw("store calls failed");
            sim.note(|| {
                format!(
                    "a call failed on connection {connection}, which took {} for the primary",
                    views.0.lock()[connection]
                )
            });
            views.ask_again(&sim, &shard.lock(), connection);
        }
        answer
    }

    fn confirmed_if(&self, rule: Rule) -> Confirmed {
        if self.sim.keeps(rule) { Confirmed::Yes } else { Confirmed::No }
    }
}

// === impl Views ===

impl Views {
    /// Most sentinels know the primary; who asks one that was cut off may be sent to the primary before.
    fn ask_again(&self, sim: &Sim, shard: &Shard, connection: usize) {
        let cut_off = !sim.calm() && sim.chance.one_in(3);
        let answer = if cut_off { *sim.chance.pick(&shard.believers()) } else { shard.primary() };
        self.0.lock()[connection] = answer;
    }
}

fn unavailable<T>(attempted: &'static str) -> Result<T> {
    Err(Error::Unavailable { attempted, source: None })
}

#[async_trait]
impl Log for Connection {
    async fn tail(&self, after: Position) -> Result<Tail> {
        let confirmed = self.confirmed_if(Rule::HeadsConfirmed);
        self.on_log(confirmed, move |script| data::tail(script, after)).await.or(unavailable("read the log"))
    }

    async fn append(&self, entries: &[Entry]) -> Result<Position> {
        let entries = entries.to_vec();
        let attempted = "append to the log";
        if !self.sim.keeps(Rule::RepeatsWait) {
            let entries = entries.clone();
            let known = self.on_log(Confirmed::No, move |script| data::knows(script, &entries)).await;
            if let Ok(Some(position)) = known {
                return Ok(position);
            }
        }
        let confirmed = self.confirmed_if(Rule::AppendsWait);
        let landed = self.on_log(confirmed, move |script| data::append(script, &entries)).await;
        landed.map_err(|landed| match landed {
            Some(position) => Error::unavailable(attempted, Landed(position)),
            None => Error::Unavailable { attempted, source: None },
        })
    }

    async fn state_page(&self, cursor: Option<String>) -> Result<StatePage> {
        let confirmed = self.confirmed_if(Rule::PagesConfirmed);
        self.on_log(confirmed, move |script| data::page(script, cursor)).await.or(unavailable("read the state map"))
    }
}

#[async_trait]
impl Records for Connection {
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        let keys = keys.to_vec();
        let confirmed = self.confirmed_if(Rule::RecordsConfirmed);
        self.on_records("read records", confirmed, move |script| data::read(script, &keys)).await
    }

    async fn write(&self, change: &Change) -> Result<Written> {
        let change = change.clone();
        self.on_records("write records", Confirmed::Yes, move |script| data::write(script, &change)).await
    }

    async fn remembered(&self, _: &TenantId, _: [u8; 16], _: Time) -> Result<Option<([u8; 16], String)>> {
        unavailable("look up a request")
    }

    async fn settle(&self, key: &RecordKey, version: u64) -> Result<()> {
        let key = key.clone();
        self.on_records("settle a record", Confirmed::No, move |script| data::settle(script, &key, version)).await
    }

    // What no operation of the simulation needs.

    async fn holders(&self, _: &TenantId, _: &[Unique]) -> Result<Vec<Option<String>>> {
        unavailable("find holders")
    }

    async fn list(&self, _: &Index, _: Option<&str>, _: usize) -> Result<Vec<String>> {
        unavailable("list records")
    }

    async fn rows(&self, _: &Index, _: Kind, _: Option<&str>, _: usize) -> Result<Vec<Row>> {
        unavailable("list records with their bodies")
    }
}

#[async_trait]
impl Tokens for Connection {
    async fn mint(&self, mint: &Mint) -> Result<Minted> {
        let mint = mint.clone();
        let confirmed = self.confirmed_if(Rule::MintsWait);
        self.on_records("store a token", confirmed, move |script| data::mint(script, &mint)).await
    }

    async fn token(&self, id: &TokenId) -> Result<Option<Bytes>> {
        let id = id.clone();
        self.on_records("read a token", Confirmed::Yes, move |script| data::token(script, &id)).await
    }

    async fn family(&self, id: &FamilyId) -> Result<Option<FamilyRecord>> {
        let id = id.clone();
        self.on_records("read a family", Confirmed::Yes, move |script| data::family(script, &id)).await
    }

    // What no operation of the simulation needs.

    async fn tokens(&self, _: &[TokenId]) -> Result<Vec<Option<Bytes>>> {
        unavailable("read tokens")
    }

    async fn sessions(&self, _: &[SessionKey]) -> Result<Vec<Option<Session>>> {
        unavailable("read sessions")
    }
    async fn end_sessions(&self, _: &[SessionKey]) -> Result<Vec<Option<Ended>>> {
        unavailable("end sessions")
    }

    async fn subject_page(&self, _: &SubjectKey, _: Option<&IndexEntry>, _: Time, _: usize) -> Result<Vec<IndexEntry>> {
        unavailable("list tokens")
    }
}

#[async_trait]
impl Health for Connection {
    async fn ping(&self) -> Result<()> {
        unavailable("ping")
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

// === impl Landed ===

impl fmt::Display for Landed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "landed at {} unacknowledged", self.0)
    }
}

impl std::error::Error for Landed {}

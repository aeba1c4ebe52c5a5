//! One run: a few service replicas, calls at random, faults at random.

use std::{future::Future, sync::Arc, time::Duration};

use jeton::{ambient::Clock, worker};
use jeton_core::{
    AccessToken, Audience, ClientId, Family, FamilyId, Format, Ident, Position, Scopes, SessionId, Subject, Time,
    TokenId,
    entry::{Effect, Entry},
    family::Minted,
    secret::DerivationKeyId,
};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::{
    cluster::{START_MICROS, Shard},
    oracle::{Oracle, Which},
    rules::Rule,
    service::{Consistency, Failure, Replica, Result, Standing, tenant},
    sim::{Counts, Sim},
    store::Shards,
};

/// What a run left behind.
#[derive(Debug)]
pub struct Report {
    pub violation: Option<String>,
    pub seen: Counts,
    /// Empty unless it was to be recorded.
    pub schedule: Vec<String>,
}

pub struct World {
    pub sim: Arc<Sim>,
    pub oracle: Arc<Mutex<Oracle>>,
    pub shards: Shards,
    replicas: Vec<Mutex<Arc<Replica>>>,
    clients: Vec<ClientId>,
    families: Mutex<Vec<(FamilyId, Which)>>,
}

/// Steps of a run, each a call or a fault.
const STEPS: usize = 200;
/// How long a caller waits.
const DEADLINE: Duration = Duration::from_secs(5);
/// Life of a short token.
const TTL_SECS: u64 = 6;
/// Life of the others: longer than any run.
const LONG_SECS: u64 = 1_000_000;
/// How long a token's slot outlives it: more than clocks may differ.
const MARGIN: Duration = Duration::from_secs(60);

/// Runs one seed in a runtime of its own, on paused time.
pub fn run(seed: u64, without: Option<Rule>, recorded: bool) -> Report {
    // Heartbeats use the gate of whichever worker was entered last: not one that an earlier run entered.
    worker::enter(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(seed, without, recorded);
        world.live().await;
        let sim = &world.sim;
        Report { violation: sim.violation(), seen: sim.seen(), schedule: sim.schedule() }
    })
}

// === impl World ===

impl World {
    fn new(seed: u64, without: Option<Rule>, recorded: bool) -> Arc<Self> {
        let sim = Arc::new(Sim::new(seed, without, recorded));
        let chance = &sim.chance;
        let shard = |name, nodes| Arc::new(Mutex::new(Shard::new(Arc::clone(&sim), name, nodes)));
        let nodes = *chance.pick(&[1, 1, 2, 3, 3]);
        let log = shard("L", nodes);
        let together = nodes == 1 || chance.one_in(2);
        let records = if together { Arc::clone(&log) } else { shard("R", *chance.pick(&[1, 2, 3])) };
        let shards = Shards { log, records };
        let oracle = Arc::default();
        let replica = |name| {
            let clock = Clock::manual(Time::from_millis(START_MICROS / 1000).minus(chance.millis(0, 4000)));
            Mutex::new(Replica::start(name, &sim, &oracle, &shards, clock))
        };
        let replicas = (0..2 + chance.below(2)).map(replica).collect();
        let clients = (0..2).map(|_| ClientId::from_bytes(chance.bytes())).collect();
        Arc::new(Self { oracle, shards, replicas, clients, families: Mutex::default(), sim })
    }

    async fn live(self: &Arc<Self>) {
        let clocks = tokio::spawn(Arc::clone(self).move_clocks()).abort_handle();
        for client in &self.clients {
            // As often as it takes: nothing fails yet but by chance.
            while self.replica(0).create(client).await.is_err() {}
        }
        let mut tasks: Vec<JoinHandle<()>> = Vec::new();
        for _ in 0..STEPS {
            tokio::time::sleep(self.sim.chance.millis(0, 200)).await;
            if self.sim.violated() {
                return;
            }
            tasks.push(tokio::spawn(Arc::clone(self).step()));
        }
        for task in tasks {
            task.await.unwrap();
        }
        self.settle().await;
        clocks.abort();
    }

    /// When nothing fails any more, everything must answer again, and every token is judged once more.
    async fn settle(self: &Arc<Self>) {
        self.sim.calm_down();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let tokens = self.oracle.lock().tokens();
        for which in 0..tokens {
            let mut answered = false;
            for _ in 0..20 {
                answered |= self.introspect(self.any_replica(), Which(which), Consistency::Full).await.is_ok();
                if answered || self.sim.violated() {
                    break;
                }
            }
            if !answered {
                self.sim.violate(|| "nothing fails any more, yet introspection does not answer".to_owned());
            }
        }
    }

    async fn move_clocks(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            for replica in &self.replicas {
                let jump = if self.sim.chance.one_in(200) { Duration::from_secs(2) } else { Duration::ZERO };
                replica.lock().clock.advance(Duration::from_millis(100) + jump);
            }
        }
    }

    fn replica(&self, index: usize) -> Arc<Replica> {
        Arc::clone(&self.replicas[index].lock())
    }

    /// A replica that takes calls.
    pub fn any_replica(&self) -> Arc<Replica> {
        let any = self.replica(self.sim.chance.below(self.replicas.len()));
        if !any.dozes() {
            return any;
        }
        let awake = (0..self.replicas.len()).map(|index| self.replica(index)).find(|replica| !replica.dozes());
        awake.unwrap_or(any)
    }

    // --- steps ---

    async fn step(self: Arc<Self>) {
        match self.sim.chance.below(100) {
            0..=19 => self.issue().await,
            20..=25 => self.renew().await,
            26..=45 => self.ask(Consistency::Full).await,
            46..=60 => self.ask(Consistency::Bounded).await,
            61..=64 => self.revoke_token().await,
            65..=68 => self.revoke_shared().await,
            69..=76 => self.revoke_all().await,
            77..=81 => self.set_standing(Standing::Disabled).await,
            82..=87 => self.set_standing(Standing::Enabled).await,
            88..=91 => self.append_again().await,
            _ => self.fault().await,
        }
    }

    async fn issue(&self) {
        let chance = &self.sim.chance;
        let client = chance.pick(&self.clients).clone();
        let session = chance.one_in(3).then(|| "shared".parse().unwrap());
        let format = if chance.one_in(3) { Format::Opaque } else { Format::Jwt };
        let ttl = Duration::from_secs(if chance.one_in(4) { TTL_SECS } else { LONG_SECS });
        let replica = self.any_replica();
        let issued = replica.clock.now().whole_secs();
        let minted =
            Minted { issued, ttl, rev: Position::START, scopes: None, signing_key: None, requested: None, kept: None };
        let family = family(FamilyId::from_bytes(chance.bytes()), client, session, format, minted);
        let mut token = family.access_token(TokenId::from_bytes(chance.bytes()), &family.minted);
        let has_family = chance.one_in(3);
        if !has_family {
            token.family = None;
        }
        let began = self.sim.now();
        let answer = self.call(&replica, "issue", replica.issue(token, has_family.then_some(&family))).await;
        if let Ok((token, _)) = answer {
            let which = self.hand_out(&replica, token, began, None);
            if has_family {
                self.families.lock().push((family.id, which));
            }
            let _ = self.introspect(self.any_replica(), which, Consistency::Full).await;
        }
    }

    async fn renew(&self) {
        let chance = &self.sim.chance;
        let chosen = {
            let families = self.families.lock();
            (!families.is_empty()).then(|| chance.pick(&families).clone())
        };
        let Some((family, first)) = chosen else { return };
        let replica = self.any_replica();
        let began = self.sim.now();
        let renewed = replica.renew(&family, TokenId::from_bytes(chance.bytes()));
        if let Ok(token) = self.call(&replica, "renew", renewed).await {
            self.hand_out(&replica, token, began, Some(first));
        }
    }

    fn hand_out(
        &self,
        replica: &Replica,
        token: AccessToken,
        began: super::sim::Moment,
        family_of: Option<Which>,
    ) -> Which {
        let rev = token.rev;
        let which = self.oracle.lock().issued(token, began, self.sim.now(), family_of);
        self.sim.note(|| format!("s{} issued {which:?} rev {rev}, family of {family_of:?}", replica.name));
        which
    }

    async fn ask(&self, consistency: Consistency) {
        if let Some(which) = self.any_token() {
            let _ = self.introspect(self.any_replica(), which, consistency).await;
        }
    }

    async fn introspect(&self, replica: Arc<Replica>, which: Which, consistency: Consistency) -> Result<()> {
        let token = self.oracle.lock().token(which);
        let began = self.sim.now();
        let what = match consistency {
            Consistency::Full => "introspect",
            Consistency::Bounded => "introspect, bounded",
        };
        let verdict = self.call(&replica, what, replica.introspect(&token, consistency)).await?;
        let ended = self.sim.now();
        self.sim.note(|| {
            format!("s{} says {which:?} is {verdict:?}, asked {consistency:?} at {:?}", replica.name, began.at)
        });
        self.oracle.lock().judge(&self.sim, which, (consistency, began), ended, verdict);
        Ok(())
    }

    async fn revoke_token(&self) {
        if let Some(which) = self.any_token() {
            let token = self.oracle.lock().token(which);
            self.revoke(Entry::revoke_until(
                Ident::Token(token.tenant.clone(), token.id.clone()),
                self.slot_until(&token),
            ))
            .await;
        }
    }

    /// Revokes a family or the session that some tokens share.
    async fn revoke_shared(&self) {
        let Some(which) = self.any_token() else { return };
        let token = self.oracle.lock().token(which);
        match &token.family {
            Some(family) => self.revoke(Entry::revoke(Ident::Family(tenant(), family.clone()))).await,
            None => self.revoke(Entry::revoke(Ident::Session(tenant(), "shared".parse().unwrap()))).await,
        }
    }

    /// Revokes all tokens of a client, or all but those of one holder.
    async fn revoke_all(&self) {
        let chance = &self.sim.chance;
        let client = chance.pick(&self.clients).clone();
        let except =
            self.any_token().filter(|_| chance.one_in(2)).map(|which| self.oracle.lock().token(which).except());
        let effect = Effect::Revoke { except, until: Time::NEVER };
        self.revoke(Entry { ident: Ident::Client(client), effect, effective: None }).await;
    }

    /// Revokes, now and then trying again like a client that heard nothing; each try is a call like any other.
    async fn revoke(&self, entry: Entry) {
        for _ in 0..=self.sim.chance.below(3) {
            let replica = self.any_replica();
            let tried = self.oracle.lock().begins(entry.clone(), self.sim.now());
            // Guarantee 2 is about renewals, too: those that are under way meanwhile.
            let renewed = async {
                if self.sim.chance.one_in(3) {
                    tokio::time::sleep(self.sim.chance.millis(0, 500)).await;
                    self.renew().await;
                }
            };
            let (answer, ()) = tokio::join!(self.call(&replica, "revoke", replica.revoke(&entry)), renewed);
            let now = self.sim.now();
            let Ok(position) = answer else {
                self.oracle.lock().given_up(tried, now);
                continue;
            };
            self.sim.note(|| format!("s{} acknowledges {} at {position}", replica.name, entry.to_text()));
            self.oracle.lock().acknowledged(tried, now, Some(position));
            return self.probe(&entry).await;
        }
    }

    async fn set_standing(&self, standing: Standing) {
        let client = self.sim.chance.pick(&self.clients).clone();
        let ident = Ident::Client(client.clone());
        for _ in 0..=self.sim.chance.below(3) {
            let replica = self.any_replica();
            let began = self.sim.now();
            let tried = (standing == Standing::Disabled)
                .then(|| self.oracle.lock().begins(Entry::revoke(ident.clone()), began));
            let answer = self.call(&replica, "set standing", replica.set_standing(&client, standing)).await;
            let now = self.sim.now();
            self.sim
                .note(|| format!("s{} made {client} {standing:?}: {answer:?}, asked at {:?}", replica.name, began.at));
            match (tried, answer) {
                (Some(tried), Ok(position)) => self.oracle.lock().acknowledged(tried, now, Some(position)),
                (Some(tried), Err(_)) => self.oracle.lock().unsettled(tried, now),
                (None, _) => {}
            }
            if answer.is_err() {
                continue;
            }
            self.oracle.lock().settled(&ident, began, now);
            return match standing {
                Standing::Disabled => self.probe(&Entry::revoke(ident)).await,
                Standing::Enabled => self.probe_dead().await,
            };
        }
    }

    /// Appends an acknowledged entry again, at its own position.
    async fn append_again(&self) {
        let entries = self.oracle.lock().acknowledged_entries();
        if entries.is_empty() {
            return;
        }
        let (entry, position) = self.sim.chance.pick(&entries).clone();
        let replica = self.any_replica();
        let _ = self.call(&replica, "append again", replica.append_again(&entry, position)).await;
    }

    // --- asking where it would hurt ---

    /// Asks about a token that an acknowledged entry names: at once, and bounded as soon as that must know.
    async fn probe(&self, entry: &Entry) {
        let dying = self.oracle.lock().dying(entry);
        if dying.is_empty() {
            return;
        }
        let which = *self.sim.chance.pick(&dying);
        if self.sim.chance.one_in(2) {
            let _ = self.introspect(self.any_replica(), which, Consistency::Full).await;
        }
        tokio::time::sleep(self.sim.chance.millis(1000, 1200)).await;
        let _ = self.introspect(self.any_replica(), which, Consistency::Bounded).await;
    }

    /// Asks about a token that was dead before.
    async fn probe_dead(&self) {
        let dead = self.oracle.lock().dead();
        if !dead.is_empty() {
            let which = *self.sim.chance.pick(&dead);
            let _ = self.introspect(self.any_replica(), which, Consistency::Full).await;
        }
    }

    /// Asks a replica that was away about tokens that were revoked meanwhile.
    pub async fn probe_dying(&self, replica: &Arc<Replica>) {
        let entries = self.oracle.lock().acknowledged_entries();
        for (entry, _) in entries.iter().rev().take(4) {
            let dying = self.oracle.lock().dying(entry);
            if let Some(which) = dying.last() {
                let _ = self.introspect(Arc::clone(replica), *which, Consistency::Full).await;
            }
        }
    }

    // --- what steps are made of ---

    /// Makes a call: until it answers, its caller gives up, or the replica is killed.
    async fn call<T>(&self, replica: &Replica, what: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = tokio::select! {
            // In this order: the runtime's own choice would not come from the seed.
            biased;
            () = replica.killed.cancelled() => Err(Failure::Unavailable),
            answer = tokio::time::timeout(DEADLINE, call) => answer.unwrap_or(Err(Failure::Unavailable)),
        };
        self.sim.saw(match (what, &answer) {
            (_, Err(Failure::Refused)) => "calls refused",
            ("introspect", Ok(_)) => "full introspections answered",
            ("introspect", Err(Failure::Unavailable)) => "full introspections unavailable",
            ("introspect, bounded", Ok(_)) => "bounded introspections answered",
            ("introspect, bounded", Err(Failure::Unavailable)) => "bounded introspections unavailable",
            ("issue" | "renew", Ok(_)) => "issues answered",
            ("issue" | "renew", Err(Failure::Unavailable)) => "issues unavailable",
            (_, Ok(_)) => "mutations answered",
            (_, Err(Failure::Unavailable)) => "mutations unavailable",
        });
        answer
    }

    /// A token that was handed out, rather a late one.
    fn any_token(&self) -> Option<Which> {
        let tokens = self.oracle.lock().tokens();
        if tokens == 0 {
            return None;
        }
        let recent = if self.sim.chance.one_in(2) { tokens.saturating_sub(6) } else { 0 };
        Some(Which(recent + self.sim.chance.below(tokens - recent)))
    }

    /// When the slot of a token may be forgotten.
    fn slot_until(&self, token: &AccessToken) -> Time {
        if self.sim.keeps(Rule::SlotsOutlive) { token.expires().plus(MARGIN) } else { token.expires() }
    }

    /// Kills a replica and starts it again, with nothing in memory.
    pub fn restart_replica(&self) {
        let index = self.sim.chance.below(self.replicas.len());
        let mut replica = self.replicas[index].lock();
        replica.kill();
        self.sim.note(|| format!("s{index} restarts"));
        self.sim.saw("replicas restarted");
        *replica = Replica::start(index, &self.sim, &self.oracle, &self.shards, replica.clock.clone());
    }
}

/// A family of which only the identifiers and times matter.
fn family(id: FamilyId, client: ClientId, session: Option<SessionId>, format: Format, minted: Minted) -> Family {
    Family {
        id,
        tenant: tenant(),
        client,
        home: None,
        subject: Subject::Client(None),
        scopes: Scopes::default(),
        audience: Audience::default(),
        format,
        rev: Position::START,
        token_ttl: minted.ttl,
        absolute_expiry: Time::NEVER,
        idle_expiry: Time::NEVER,
        generation: 0,
        rotated: Time::from_millis(0),
        minted,
        derivation_key: DerivationKeyId(0),
        closed: false,
        actor: None,
        session,
        sources: Vec::new(),
        options: None,
        claims: None,
        request: None,
        ends: Time::NEVER,
        granted: Time::from_millis(0),
        grant: None,
    }
}

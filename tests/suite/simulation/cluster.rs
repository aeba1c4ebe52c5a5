//! Shards: a primary, its replicas, and what goes wrong between them.

use std::{
    collections::VecDeque,
    ops::{Index, IndexMut},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    chance::Chance,
    data::{Data, Write},
    rules::Rule,
    sim::Sim,
};

/// The nodes that hold one part of the data.
#[derive(Debug)]
pub struct Shard {
    sim: Arc<Sim>,
    name: &'static str,
    nodes: Vec<Node>,
    /// Whom the sentinels promoted last. Others may still believe that they are primaries.
    primary: usize,
    /// How many replicas `WAIT` wants.
    wait_replicas: usize,
    /// One failover or restart at a time, so that every replica hears of each.
    failing: bool,
    /// How many writes and replication ids there have been.
    writes: u64,
    histories: u64,
}

#[derive(Debug)]
pub struct Node {
    alive: bool,
    role: Role,
    /// Its replication id.
    history: u64,
    data: Data,
    /// Numbers of all writes that made `data`; the length is the replication offset.
    applied: Vec<Arc<Numbered>>,
    /// What its primary has sent it.
    coming: VecDeque<(Instant, Arc<Numbered>)>,
    /// Nothing arrives before.
    cut_until: Instant,
    /// How far each node had acknowledged what this one sent.
    acknowledged: Vec<usize>,
    /// How far its clock is from the true time.
    skew_micros: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Primary,
    ReplicaOf(usize),
}

#[derive(Debug)]
pub struct Numbered {
    number: u64,
    write: Write,
}

/// A script in the middle of its run on one node: nothing else happens there meanwhile.
pub struct Script<'a> {
    pub sim: Arc<Sim>,
    shard: &'a mut Shard,
    node: usize,
}

/// Where a script's writes end, for those who wait for the replicas.
#[derive(Clone, Copy, Debug)]
pub struct Offset {
    node: usize,
    history: u64,
    offset: usize,
    /// How many replicas must have it, as set when the script was sent.
    wanted: usize,
}

/// How long `WAIT` waits.
const WAIT: Duration = Duration::from_millis(300);
/// The true time at the start of a run.
pub const START_MICROS: u64 = 1_800_000_000_000_000;

// === impl Shard ===

impl Shard {
    pub fn new(sim: Arc<Sim>, name: &'static str, nodes: usize) -> Self {
        let node = |index: usize| Node {
            alive: true,
            role: if index == 0 { Role::Primary } else { Role::ReplicaOf(0) },
            history: 1,
            data: Data::new(1),
            applied: Vec::new(),
            coming: VecDeque::new(),
            cut_until: sim.began,
            acknowledged: vec![0; nodes],
            skew_micros: i64::try_from(sim.chance.below(8_000_000)).unwrap() - 4_000_000,
        };
        let wait_replicas = nodes - 1;
        let nodes = (0..nodes).map(node).collect();
        Self { sim, name, nodes, primary: 0, wait_replicas, failing: false, writes: 0, histories: 1 }
    }

    pub fn primary(&self) -> usize {
        self.primary
    }

    /// The nodes that answer as primaries; the true one, if there is none.
    pub fn believers(&self) -> Vec<usize> {
        let mut believers: Vec<_> = (0..self.nodes.len()).filter(|node| self[*node].serves()).collect();
        if believers.is_empty() {
            believers.push(self.primary);
        }
        believers
    }

    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Runs a script on a node, if that is up and believes to be a primary.
    pub fn run<T>(&mut self, node: usize, script: impl FnOnce(&mut Script<'_>) -> T) -> Option<(T, Offset)> {
        self.deliver();
        if !self[node].serves() {
            return None;
        }
        let done = script(&mut Script { sim: Arc::clone(&self.sim), shard: self, node });
        let all = self.wait_replicas;
        let wanted = if self.sim.keeps(Rule::EveryReplicaAwaited) { all } else { all.saturating_sub(1) };
        Some((done, Offset { node, history: self[node].history, offset: self[node].applied.len(), wanted }))
    }

    /// Whether enough replicas have acknowledged `upto`; else when to ask again; `None` when they never will.
    fn waited(&mut self, upto: Offset) -> Option<Result<(), Instant>> {
        self.deliver();
        let node = &self[upto.node];
        // On a node that was demoted, or met again as another one, no answer means anything.
        if !node.serves() || node.history != upto.history {
            return None;
        }
        if node.acknowledged.iter().filter(|offset| **offset >= upto.offset).count() >= upto.wanted {
            return Some(Ok(()));
        }
        let next = self.nodes.iter().filter_map(|node| Some(node.coming.front()?.0.max(node.cut_until))).min();
        Some(Err(next.unwrap_or(Instant::now() + WAIT)))
    }

    /// Lets every message arrive that is due.
    fn deliver(&mut self) {
        let now = Instant::now();
        for index in 0..self.nodes.len() {
            let Role::ReplicaOf(primary) = self[index].role else { continue };
            if !self[index].alive || self[index].cut_until > now {
                continue;
            }
            while self[index].coming.front().is_some_and(|(due, _)| *due <= now) {
                let (_, numbered) = self[index].coming.pop_front().unwrap();
                self[index].apply(numbered);
            }
            let offset = self[index].applied.len();
            self[primary].acknowledged[index] = offset;
        }
    }

    fn commit(&mut self, node: usize, write: Write) {
        self.writes += 1;
        let numbered = Arc::new(Numbered { number: self.writes, write });
        self[node].apply(Arc::clone(&numbered));
        for index in 0..self.nodes.len() {
            if self[index].role == Role::ReplicaOf(node) {
                self.send(index, Arc::clone(&numbered));
            }
        }
    }

    fn send(&mut self, to: usize, numbered: Arc<Numbered>) {
        let soon = Instant::now() + self.sim.chance.travel() / 4;
        let due = self[to].coming.back().map_or(soon, |(last, _)| soon.max(*last));
        self[to].coming.push_back((due, numbered));
    }

    // --- faults ---

    /// Chooses whom to promote in place of the primary, and who else must follow.
    pub fn begin_failover(&mut self, chance: &Chance) -> Option<(usize, usize, Vec<usize>)> {
        if self.failing || self.nodes.len() == 1 {
            return None;
        }
        self.failing = true;
        let mut others: Vec<_> = (0..self.nodes.len()).filter(|node| *node != self.primary).collect();
        let new = others.swap_remove(chance.below(others.len()));
        Some((self.primary, new, others))
    }

    pub fn begin_restart(&mut self) -> bool {
        !std::mem::replace(&mut self.failing, true)
    }

    pub fn end_failover(&mut self) {
        self.failing = false;
    }

    /// The process stops.
    pub fn stop(&mut self, node: usize) {
        self.deliver();
        self[node].alive = false;
    }

    /// Makes a replica the primary. What it has not received is lost; the old one may go on believing in itself.
    pub fn promote(&mut self, node: usize) {
        self.deliver();
        self.histories += 1;
        let history = self.histories;
        let promoted = &mut self[node];
        (promoted.role, promoted.history) = (Role::Primary, history);
        promoted.coming.clear();
        promoted.acknowledged.fill(0);
        self.primary = node;
    }

    /// The operator gives up a node that will not come back soon. Only where a replica is left to wait for, and only when
    /// all others follow the new primary: else the old one could still gather enough answers.
    pub fn do_without(&mut self, nodes: usize) {
        self.wait_replicas = (self.nodes.len() - 1).saturating_sub(nodes).max(1);
    }

    /// How much the primary has written.
    pub fn offset(&self) -> usize {
        self[self.primary].applied.len()
    }

    /// Whether a node has received so much.
    pub fn has(&mut self, node: usize, offset: usize) -> bool {
        self.deliver();
        self[node].applied.len() >= offset
    }

    /// Makes a node a replica of the primary: it goes on where it stands if its past is that of the primary, else it takes
    /// over everything and forgets what it had.
    pub fn follow(&mut self, node: usize) {
        self.deliver();
        let primary = self.primary;
        let past = &self[primary].applied;
        let own = self[node].applied.len();
        let shares_past =
            own <= past.len() && self[node].applied.last().map(|w| w.number) == past[..own].last().map(|w| w.number);
        let missing = if shares_past { past[own..].to_vec() } else { Vec::new() };
        if !shares_past {
            let (data, applied) = (self[primary].data.clone(), self[primary].applied.clone());
            (self[node].data, self[node].applied) = (data, applied);
        }
        let history = self[primary].history;
        let follower = &mut self[node];
        (follower.alive, follower.role, follower.history) = (true, Role::ReplicaOf(primary), history);
        follower.coming.clear();
        for numbered in missing {
            self.send(node, numbered);
        }
    }

    /// A node starts again on its own data, under a new replication id.
    pub fn restart(&mut self, node: usize) {
        self.histories += 1;
        self[node].history = self.histories;
        self[node].alive = true;
    }

    pub fn copy(&self, node: usize) -> Data {
        self[node].data.clone()
    }

    /// Whether no line began since a copy was made. Else "one line above the copy's" would be a line that was used before,
    /// and who restores must raise it further.
    pub fn is_of_this_line(&self, node: usize, copy: &Data) -> bool {
        copy.history() == self[node].history
    }

    /// A node without replicas starts again on an older copy.
    pub fn restore(&mut self, node: usize, copy: Data) {
        self[node].data = copy;
        self.restart(node);
    }

    /// Nothing reaches a node until then.
    pub fn cut(&mut self, node: usize, until: Instant) {
        self.deliver();
        self[node].cut_until = until;
    }

    pub fn step_clock(&mut self, node: usize, micros: i64) {
        self[node].skew_micros += micros;
    }
}

impl Index<usize> for Shard {
    type Output = Node;

    fn index(&self, node: usize) -> &Node {
        &self.nodes[node]
    }
}

impl IndexMut<usize> for Shard {
    fn index_mut(&mut self, node: usize) -> &mut Node {
        &mut self.nodes[node]
    }
}

// === impl Node ===

impl Node {
    fn serves(&self) -> bool {
        self.alive && self.role == Role::Primary
    }

    fn apply(&mut self, numbered: Arc<Numbered>) {
        self.data.apply(&numbered.write);
        self.applied.push(numbered);
    }
}

// === impl Script ===

impl Script<'_> {
    pub fn data(&self) -> &Data {
        &self.shard[self.node].data
    }

    pub fn history(&self) -> u64 {
        self.shard[self.node].history
    }

    pub fn name(&self) -> String {
        format!("{}{}", self.shard.name, self.node)
    }

    /// The node's clock.
    pub fn clock(&self) -> u64 {
        (START_MICROS + self.sim.elapsed_micros()).saturating_add_signed(self.shard[self.node].skew_micros)
    }

    pub fn write(&mut self, write: Write) {
        self.shard.commit(self.node, write);
    }
}

// === WAIT ===

/// Waits until every replica has what was written up to `upto`; false if that takes too long.
pub async fn wait(shard: &Mutex<Shard>, upto: Offset) -> bool {
    let deadline = Instant::now() + WAIT;
    loop {
        let next = match shard.lock().waited(upto) {
            Some(Ok(())) => return true,
            Some(Err(next)) => next,
            None => return false,
        };
        if Instant::now() >= deadline {
            return false;
        }
        // A moment at least: who is cut off for long is due, but does not arrive.
        tokio::time::sleep_until(next.max(Instant::now() + Duration::from_millis(1)).min(deadline)).await;
    }
}

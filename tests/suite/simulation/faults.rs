//! What goes wrong: failovers that lose data, isolated primaries, lagging replicas, clocks, restarts, restores.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{cluster::Shard, world::World};

// === impl World ===

impl World {
    pub async fn fault(self: &Arc<Self>) {
        let chance = &self.sim.chance;
        let shard = if chance.one_in(2) { &self.shards.log } else { &self.shards.records };
        match chance.below(12) {
            0..=2 => self.fail_over(shard).await,
            3..=4 => self.lag(shard),
            5..=6 => self.step_clock(shard),
            7 => self.restart_replica(),
            8 => self.doze().await,
            9..=10 => self.any_replica().slow_down(Instant::now() + chance.millis(500, 4000)),
            _ => self.lose_store(shard).await,
        }
    }

    /// The primary is gone, or only out of sight of those who promote another; others follow when they hear of it.
    async fn fail_over(&self, shard: &Mutex<Shard>) {
        let chance = &self.sim.chance;
        let Some((old, new, others)) = shard.lock().begin_failover(chance) else { return };
        let isolated = chance.one_in(2);
        self.sim.note(|| format!("failover from {old} to {new}, isolated: {isolated}"));
        self.sim.saw(if isolated { "primaries isolated" } else { "primaries crashed" });
        if chance.one_in(2) {
            // The promoted one had fallen behind.
            shard.lock().cut(new, Instant::now() + chance.millis(100, 1500));
        }
        sleep(chance.millis(0, 1000)).await;
        if !isolated {
            shard.lock().stop(old);
        }
        sleep(chance.millis(0, 1000)).await;
        shard.lock().promote(new);
        self.sim.note(|| format!("{new} is promoted"));
        for other in others {
            sleep(chance.millis(0, 1000)).await;
            shard.lock().follow(other);
        }
        if chance.one_in(2) {
            shard.lock().do_without(1);
            sleep(chance.millis(0, 1000)).await;
            // A replica that starts now knows nothing, and may hear of either primary.
            self.restart_replica();
        }
        sleep(chance.millis(0, 3000)).await;
        shard.lock().follow(old);
        shard.lock().do_without(0);
        // Not to be promoted before it has what was acknowledged without it.
        let wanted = shard.lock().offset();
        while !shard.lock().has(old, wanted) {
            sleep(Duration::from_millis(10)).await;
        }
        self.sim.note(|| format!("{old} is back as a replica"));
        shard.lock().end_failover();
    }

    /// Some node hears nothing for a moment.
    fn lag(&self, shard: &Mutex<Shard>) {
        let chance = &self.sim.chance;
        let mut shard = shard.lock();
        let node = chance.below(shard.size());
        shard.cut(node, Instant::now() + chance.millis(50, 1500));
    }

    /// A node's clock steps, by up to five seconds either way.
    fn step_clock(&self, shard: &Mutex<Shard>) {
        let chance = &self.sim.chance;
        let mut shard = shard.lock();
        let node = chance.below(shard.size());
        let micros = i64::try_from(chance.below(10_000_000)).unwrap() - 5_000_000;
        self.sim.note(|| format!("a clock steps by {micros} µs on node {node}"));
        shard.step_clock(node, micros);
    }

    /// A replica is not scheduled for so long that the stream is trimmed meanwhile.
    async fn doze(&self) {
        let replica = self.any_replica();
        replica.doze();
        sleep(self.sim.chance.millis(2000, 7000)).await;
        replica.wake();
        self.probe_dying(&replica).await;
    }

    /// The primary starts again: on its own data, or, if it is alone, perhaps on an older copy.
    async fn lose_store(&self, shard: &Mutex<Shard>) {
        let chance = &self.sim.chance;
        if !shard.lock().begin_restart() {
            return;
        }
        let node = shard.lock().primary();
        let alone = self.shards.log.lock().size() == 1 && Arc::ptr_eq(&self.shards.log, &self.shards.records);
        if alone && chance.one_in(2) {
            let (copied, copy) = (self.sim.now(), shard.lock().copy(node));
            sleep(chance.millis(0, 4000)).await;
            shard.lock().stop(node);
            sleep(chance.millis(0, 500)).await;
            // A copy that is older than its line would begin that line anew; operators restore on a clock that moves on.
            if !shard.lock().is_of_this_line(node, &copy) {
                shard.lock().restart(node);
                return shard.lock().end_failover();
            }
            self.sim.note(|| format!("node {node} is restored to what it was at {:?}", copied.at));
            self.sim.saw("stores restored");
            let restored = self.sim.now();
            shard.lock().restore(node, copy);
            self.oracle.lock().restored(copied, restored);
        } else {
            shard.lock().stop(node);
            sleep(chance.millis(0, 500)).await;
            self.sim.note(|| format!("node {node} starts again"));
            shard.lock().restart(node);
        }
        shard.lock().end_failover();
    }
}

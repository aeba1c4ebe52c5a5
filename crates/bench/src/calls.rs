//! Each RPC against the echo: blocks of both take turns, so that whatever else the machine does weighs on both.

use std::{sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use jeton::api::wire::{self, ConsistencyLevel, TokenFormat};

use super::{
    Plan, Result,
    load::{self, Shape, Side, Until, Work},
    message::{Client, Message},
    number,
    process::{Extra, Process, Scratch, Store, start_echo},
    report::{Calls, Report},
    world::World,
};

/// An RPC to measure.
struct Case {
    name: &'static str,
    shapes: &'static [Shape],
    /// What is answered by one call: 1, or the tokens of a batch.
    items: u32,
    /// At most so much CPU, in echoes per item.
    wanted: Option<f64>,
}

/// A process that answers calls, and the connections to it.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) process: &'a Process,
    pub(super) clients: &'a [Client],
    pub(super) side: Side,
}

/// One side's blocks together.
pub(super) struct Seen {
    pub(super) calls: f64,
    elapsed: Duration,
    pub(super) cpu: Duration,
    latency: Histogram<u64>,
}

/// Tokens that are introspected in turn.
const WARM: usize = 1000;
/// Families that are renewed in turn.
const FAMILIES: usize = 256;
/// Tokens that one block revokes at most.
const REVOKED: usize = 3000;
const BATCH: u32 = 1000;

const BOTH: &[Shape] = &[Shape::WIDE, Shape::SINGLE];

/// Measures all that the plan wants on one store.
pub(super) async fn run(plan: &Plan, store: &Store, report: &mut Report) -> Result<()> {
    let redis = matches!(store, Store::Redis(_));
    let on_redis = |wanted: f64| redis.then_some(wanted);
    let cases = [
        Case { name: "introspect-jwt", shapes: BOTH, items: 1, wanted: Some(1.3) },
        Case { name: "introspect-opaque", shapes: BOTH, items: 1, wanted: Some(1.3) },
        Case { name: "introspect-bounded", shapes: BOTH, items: 1, wanted: None },
        Case { name: "introspect-member", shapes: BOTH, items: 1, wanted: Some(1.3) },
        Case { name: "introspect-group", shapes: BOTH, items: 1, wanted: Some(1.3) },
        Case { name: "issue-jwt", shapes: BOTH, items: 1, wanted: on_redis(2.2) },
        Case { name: "issue-opaque", shapes: BOTH, items: 1, wanted: None },
        Case { name: "renew", shapes: BOTH, items: 1, wanted: on_redis(2.8) },
        Case { name: "revoke", shapes: BOTH, items: 1, wanted: None },
        Case { name: "batch", shapes: &[Shape::BULKY], items: BATCH, wanted: Some(0.1) },
    ];
    if !cases.iter().any(|case| plan.wants(case.name)) {
        return Ok(());
    }
    let world = World::make(plan, store.clone(), Extra::None).await?;
    plan.say(&format!("{}: the service is process {}", report.store, world.service.process.id()));
    for case in cases.iter().filter(|case| plan.wants(case.name)) {
        for shape in case.shapes {
            let calls = measure(plan, &world, case, *shape).await?;
            report.add(calls);
        }
    }
    Ok(())
}

async fn measure(plan: &Plan, world: &World, case: &Case, shape: Shape) -> Result<Calls> {
    let work = work(world, case.name, plan, shape).await?;
    let replies = Scratch::new(plan.dir.as_deref())?;
    let mut service = shape.connect(&world.service.address).await?;
    // Batches are held against the introspection of one token.
    let measure = if case.items == 1 { Arc::clone(&work) } else { introspection(world, 1).await? };
    measure.record(service.first_mut().ok_or("no connection")?, replies.path()).await?;
    let (echo, address) = start_echo(replies.path())?;
    let echo_shape = if case.items == 1 { shape } else { Shape::WIDE };
    let echoes = echo_shape.connect(&address).await?;

    // Once without measuring: caches and allocators fill, connections find their worker.
    let warm = plan.block / 4;
    let (mut own, mut base) = (Seen::new()?, Seen::new()?);
    let baseline = Target { process: &echo, clients: &echoes, side: Side::Echo };
    let target = Target { process: &world.service.process, clients: &service, side: Side::Service };
    baseline.block(echo_shape.in_flight, &measure, warm).await?;
    target.block(shape.in_flight, &work, warm).await?;
    let redis = |world: &World| match &world.store {
        Store::Redis(address) => address.cpu().map(Some),
        Store::Embedded => Ok(None),
    };
    let mut redis_cpu = Duration::ZERO;
    let mut ratios = Vec::new();
    for _ in 0..plan.rounds {
        // Before the echo, which sends what the service is sent but does not use it up.
        refill(world, case.name, plan, shape, &work).await?;
        let echoed = baseline.block(echo_shape.in_flight, &measure, plan.block).await?;
        let before = redis(world)?;
        let served = target.block(shape.in_flight, &work, plan.block).await?;
        if let (Some(before), Some(after)) = (before, redis(world)?) {
            redis_cpu += after.saturating_sub(before);
        }
        ratios.push(served.micros() / echoed.micros() / f64::from(case.items));
        base.add(&echoed)?;
        own.add(&served)?;
    }
    ratios.sort_by(f64::total_cmp);
    Ok(Calls {
        name: case.name,
        shape: shape.to_string(),
        calls_per_s: own.calls / own.elapsed.as_secs_f64(),
        p50_us: number(own.latency.value_at_quantile(0.5)) / 1e3,
        p99_us: number(own.latency.value_at_quantile(0.99)) / 1e3,
        cpu_us: own.micros(),
        echo_us: base.micros(),
        ratio: own.micros() / base.micros() / f64::from(case.items),
        ratios,
        redis_us: matches!(world.store, Store::Redis(_)).then(|| redis_cpu.as_secs_f64() * 1e6 / own.calls),
        wanted: case.wanted.filter(|_| shape != Shape::SINGLE),
    })
}

// === impl Target ===

impl Target<'_> {
    /// A block of calls, so many at a time on each connection, with the CPU time that the process took for them.
    pub(super) async fn block(&self, in_flight: usize, work: &Arc<Work>, time: Duration) -> Result<Seen> {
        let before = self.process.cpu()?;
        let block = load::block(self.clients, in_flight, work, self.side, Until::Time(time)).await?;
        let cpu = self.process.cpu()?.saturating_sub(before);
        Ok(Seen { calls: number(block.latency.len()), elapsed: block.elapsed, cpu, latency: block.latency })
    }
}

async fn introspection(world: &World, count: usize) -> Result<Arc<Work>> {
    world.introspections(&world.issue_own(TokenFormat::Jwt), count, ConsistencyLevel::Full, "").await
}

async fn work(world: &World, name: &str, plan: &Plan, shape: Shape) -> Result<Arc<Work>> {
    let issue = |format| Work::cycle(None, vec![Message::Issue(world.issue_own(format).into())]);
    Ok(match name {
        "introspect-jwt" => introspection(world, WARM).await?,
        "introspect-opaque" => {
            world.introspections(&world.issue_own(TokenFormat::Opaque), WARM, ConsistencyLevel::Full, "").await?
        }
        "introspect-bounded" => {
            world.introspections(&world.issue_own(TokenFormat::Jwt), WARM, ConsistencyLevel::Bounded, "").await?
        }
        "introspect-member" => {
            world.introspections(&world.issue_for_member(), WARM, ConsistencyLevel::Full, "").await?
        }
        "introspect-group" => {
            let account = &world.account_id;
            world.introspections(&world.issue_for_group_member(), WARM, ConsistencyLevel::Full, account).await?
        }
        "issue-jwt" => issue(TokenFormat::Jwt),
        "issue-opaque" => issue(TokenFormat::Opaque),
        "renew" => world.renewals(world.issue_own(TokenFormat::Jwt), FAMILIES).await?,
        "revoke" => {
            let work = Work::once(Some(world.bearer.clone()), Vec::new());
            refill(world, name, plan, shape, &work).await?;
            work
        }
        "batch" => {
            let request = world.issue_own(TokenFormat::Jwt);
            let tokens = world.tokens(&request, usize::try_from(BATCH)?).await?;
            let tokens = tokens.into_iter().map(|(token, _)| token).collect();
            let batch = wire::BatchIntrospectTokensRequest { tokens, ..wire::BatchIntrospectTokensRequest::default() };
            Work::cycle(Some(world.bearer.clone()), vec![Message::Batch(batch)])
        }
        other => return Err(format!("{other} is not known").into()),
    })
}

/// Revocations use tokens up.
async fn refill(world: &World, name: &str, plan: &Plan, shape: Shape, work: &Work) -> Result<()> {
    let load::Source::Once(messages) = &work.source else { return Ok(()) };
    debug_assert_eq!(name, "revoke");
    let count = if shape == Shape::SINGLE { plan.tokens(REVOKED) / 3 } else { plan.tokens(REVOKED) };
    let count = count.saturating_sub(messages.lock().len());
    let tokens = world.tokens(&world.issue_own(TokenFormat::Jwt), count).await?;
    messages.lock().extend(tokens.into_iter().map(|(token, _)| {
        let target = wire::revoke_token_request::Target::Token(token);
        Message::Revoke(wire::RevokeTokenRequest { target: Some(target), ..wire::RevokeTokenRequest::default() })
    }));
    Ok(())
}

// === impl Seen ===

impl Seen {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { calls: 0.0, elapsed: Duration::ZERO, cpu: Duration::ZERO, latency: Histogram::new(3)? })
    }

    pub(super) fn add(&mut self, other: &Self) -> Result<()> {
        self.calls += other.calls;
        self.elapsed += other.elapsed;
        self.cpu += other.cpu;
        self.latency.add(&other.latency)?;
        Ok(())
    }

    /// CPU per call.
    pub(super) fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.calls.max(1.0)
    }
}

//! What is counted: each call by itself and many at a time, on both stores, and the echo beside them.

use std::fs;

use jeton_contract::wire::TokenFormat;

use super::{
    Options, Result,
    calls::{Bearer, Call, Shape, block},
    counts::Counted,
    profile::Counts,
    servers::{Redis, Server},
    world::World,
};

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    name: &'static str,
    /// How it is counted: one at a time, and with many in flight.
    shapes: [Blocks; 2],
}

/// Blocks of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Blocks {
    shape: Shape,
    blocks: usize,
    /// Calls of each block.
    calls: usize,
}

/// Tokens of a batch.
const BATCH: usize = 1000;

/// Short, so that what the service does by itself four times a second falls into few of them.
const fn single(calls: usize) -> Blocks {
    Blocks { shape: Shape::SINGLE, blocks: 10, calls }
}

const fn many(shape: Shape, calls: usize) -> Blocks {
    Blocks { shape, blocks: 5, calls }
}

const fn case(name: &'static str) -> Case {
    Case { name, shapes: [single(8), many(Shape::WIDE, 128)] }
}

const CASES: [Case; 8] = [
    case("introspect-jwt"),
    case("introspect-opaque"),
    case("issue-jwt"),
    case("issue-opaque"),
    case("renew"),
    case("revoke"),
    Case { name: "batch-1000", shapes: [single(1), many(Shape::BULKY, 4)] },
    Case { name: "list-clients", shapes: [single(4), many(Shape::WIDE, 64)] },
];

/// What is counted where.
struct Run<'a> {
    options: &'a Options,
    counted: Vec<Counted>,
}

/// Counts all that is wanted.
pub(super) async fn count_all(options: &Options) -> Result<Vec<Counted>> {
    if let Some(dir) = &options.profiles {
        fs::create_dir_all(dir)?;
    }
    let mut run = Run { options, counted: Vec::new() };
    let mut world = World::make(Server::service(None)?).await?;
    run.count_echo(&world).await?;
    run.count_store(&mut world, "embedded").await?;
    drop(world);
    if let Some(program) = &options.redis_server {
        let redis = Redis::start(program)?;
        let mut world = World::make(Server::service(Some(&redis))?).await?;
        run.count_store(&mut world, "redis").await?;
    }
    Ok(run.counted)
}

// === impl Run ===

impl Run<'_> {
    async fn count_echo(&mut self, world: &World) -> Result<()> {
        let case = case("echo");
        if !case.name.contains(&self.options.only) {
            return Ok(());
        }
        let mut echo = Server::echo(&world.introspection().await?)?;
        for blocks in case.shapes {
            let calls = world.introspections(TokenFormat::Jwt, blocks.all()).await?;
            self.count(&mut echo, ["none", case.name], blocks, (&calls, Some(&world.bearer))).await?;
        }
        Ok(())
    }

    async fn count_store(&mut self, world: &mut World, store: &'static str) -> Result<()> {
        for case in CASES.iter().filter(|case| case.name.contains(&self.options.only)) {
            for blocks in case.shapes {
                let calls = calls_of(world, case, blocks.all()).await?;
                let bearer = world.bearer.clone();
                // Those that prove themselves in the message.
                let bearer = (!matches!(calls.first(), Some(Call::Issue(_) | Call::Renew(_)))).then_some(&bearer);
                self.count(&mut world.server, [store, case.name], blocks, (&calls, bearer)).await?;
            }
        }
        Ok(())
    }

    /// Counts blocks of calls behind one that warms up, and takes the least: in the others the service did something else as
    /// well, or had fewer calls at hand to do together.
    async fn count(
        &mut self,
        server: &mut Server,
        [store, call]: [&'static str; 2],
        Blocks { shape, calls: size, .. }: Blocks,
        (calls, bearer): (&[Call], Option<&Bearer>),
    ) -> Result<()> {
        let connections = shape.connect(&server.address).await?;
        let (warming, calls) = calls.split_at(shape.calls());
        block(&connections, shape, warming, bearer).await?;
        server.counter.take(None)?;
        let keep = self.options.profiles.as_ref().map(|dir| dir.join(format!("{store}-{call}-{shape}.callgrind")));
        let mut blocks = Vec::new();
        for calls in calls.chunks(size) {
            block(&connections, shape, calls, bearer).await?;
            blocks.push(server.counter.take(keep.as_deref())?.of_each(calls.len())?);
        }
        let (counts, spread) = Counts::least(&blocks);
        let Counts { instructions, allocations } = counts;
        println!(
            "{store:9} {call:18} {shape:5} {instructions:>12} {allocations:>8}   other blocks: up to {spread:.1} % more"
        );
        self.counted.push(Counted { call: format!("{store}\t{call}\t{shape}"), counts });
        Ok(())
    }
}

// === impl Blocks ===

impl Blocks {
    /// Their calls, with those that are made first and not counted: connections, caches and tables of header fields fill.
    const fn all(self) -> usize {
        self.shape.calls() + self.blocks * self.calls
    }
}

async fn calls_of(world: &World, case: &Case, count: usize) -> Result<Vec<Call>> {
    Ok(match case.name {
        "introspect-jwt" => world.introspections(TokenFormat::Jwt, count).await?,
        "introspect-opaque" => world.introspections(TokenFormat::Opaque, count).await?,
        "issue-jwt" => world.issues(TokenFormat::Jwt, count),
        "issue-opaque" => world.issues(TokenFormat::Opaque, count),
        "renew" => world.renewals(count).await?,
        "revoke" => world.revocations(count).await?,
        "batch-1000" => world.batches(BATCH, count).await?,
        "list-clients" => World::lists(count),
        other => return Err(format!("{other} is not known").into()),
    })
}

//! Single figures: group commit of the embedded store, memory of Redis, idle memory and start-up of the service.

use std::{path::Path, sync::Arc, time::Duration};

use jeton::{
    ambient::{Clock, Fresh as _},
    api::{wire, wire::TokenFormat},
    store::{
        Tokens as _,
        embedded::{Embedded, Options},
    },
};
use jeton_core::{AccountId, ClientId};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    Plan, Result, flat, message, number,
    process::{Extra, Redis, Scratch, Service, Store},
    report::{Fact, Report, Wanted},
    world::World,
};

/// Issuers at a time in the comparison of group commit with batches of one.
const ISSUERS: usize = 16;
/// Tokens of each account whose memory is measured.
const PER_ACCOUNT: usize = 1000;
/// Starts whose median counts.
const STARTS: usize = 5;
/// How long a service rests before its idle memory is read.
const REST: Duration = Duration::from_secs(2);

/// Acknowledged writes a second of 16 issuers, against batches of one.
pub(super) async fn group_commit(plan: &Plan, report: &mut Report) -> Result<()> {
    if !plan.wants("group-commit") {
        return Ok(());
    }
    let mut per_second = [0.0; 2];
    let mut counts = [0.0; 2];
    for _ in 0..plan.rounds {
        for (i, max_batch) in [Options::default().max_batch, 1].into_iter().enumerate() {
            let (writes, elapsed) = issue_all(plan, max_batch).await?;
            counts[i] += writes;
            per_second[i] += elapsed.as_secs_f64();
        }
    }
    let rate = |i: usize| counts[i] / per_second[i];
    report.add_fact(Fact::new("group commit, 16 issuers: writes", rate(0), "1/s", None));
    report.add_fact(Fact::new("batches of one, 16 issuers: writes", rate(1), "1/s", None));
    report.add_fact(Fact::new("group commit / batches of one", rate(0) / rate(1), "×", Some(Wanted::AtLeast(5.0))));
    Ok(())
}

async fn issue_all(plan: &Plan, max_batch: usize) -> Result<(f64, Duration)> {
    let dir = Scratch::new(plan.dir.as_deref())?;
    let store = Embedded::open(&dir.path().join("store.redb"), Clock::default(), Options { max_batch })?;
    let (client, account) = (ClientId::random()?, AccountId::random()?);
    let started = Instant::now();
    let mut issuers = JoinSet::new();
    for _ in 0..ISSUERS {
        let (store, client, account, time) = (Arc::clone(&store), client.clone(), account.clone(), plan.block);
        issuers.spawn(async move {
            let mut writes = 0_u32;
            while started.elapsed() < time {
                store.mint(&flat::mint(&client, &account)?).await?;
                writes += 1;
            }
            Ok::<_, super::Failure>(writes)
        });
    }
    let mut writes = 0.0;
    while let Some(issuer) = issuers.join_next().await {
        writes += f64::from(issuer??);
    }
    Ok((writes, started.elapsed()))
}

/// Bytes of Redis for each token and family, indexes included.
pub(super) async fn memory(plan: &Plan, program: &Path, report: &mut Report) -> Result<()> {
    if !plan.wants("memory") {
        return Ok(());
    }
    let jwt = (TokenFormat::Jwt, false);
    let opaque = (TokenFormat::Opaque, false);
    for (name, (format, refresh), wanted) in [
        ("Redis memory per tracked JWT", jwt, 450.0),
        ("Redis memory per opaque token", opaque, 550.0),
        ("Redis memory per family and opaque token", (TokenFormat::Opaque, true), 900.0),
        ("Redis memory per family and JWT", (TokenFormat::Jwt, true), 900.0),
    ] {
        let redis = Redis::start(program, plan.dir.as_deref())?;
        let world = World::make(plan, Store::Redis(redis.address.clone()), Extra::None).await?;
        let accounts = world.accounts(plan.memory.div_ceil(PER_ACCOUNT)).await?;
        // Connections and scripts are there before and after.
        world.tokens(&world.issue_for(&world.account_id, format), PER_ACCOUNT).await?;
        let before = redis.address.used_memory()?;
        for account in &accounts {
            let request = world.issue_for(account, format);
            let request = wire::IssueTokenRequest { include_refresh_token: refresh, ..request };
            world.tokens(&request, PER_ACCOUNT).await?;
        }
        sleep(REST).await;
        let items = number(u64::try_from(accounts.len() * PER_ACCOUNT)?);
        let bytes = (redis.address.used_memory()? - before) / items;
        report.add_fact(Fact::new(name, bytes, "B", Some(Wanted::AtMost(wanted))));
    }
    Ok(())
}

/// Time from the start of the process to its first answered call, and memory at rest, on an empty embedded store.
pub(super) async fn start(plan: &Plan, report: &mut Report) -> Result<()> {
    if !plan.wants("start") {
        return Ok(());
    }
    let mut millis = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..STARTS {
        let dir = Scratch::new(plan.dir.as_deref())?;
        let service = Service::start(&plan.service, dir.path(), &Store::Embedded, &Extra::None)?;
        let mut client = message::connect(&service.address).await?;
        client.tokens.list_signing_keys(wire::ListSigningKeysRequest::default()).await?;
        millis.push(service.started.elapsed().as_secs_f64() * 1e3);
        drop(client);
        sleep(REST).await;
        resident.push(number(service.process.resident_kib()?) / 1024.0);
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let start = median(millis);
    report.add_fact(Fact::new("start to first answered call", start, "ms", Some(Wanted::AtMost(200.0))));
    report.add_fact(Fact::new("resident memory at rest", median(resident), "MiB", Some(Wanted::AtMost(40.0))));
    Ok(())
}

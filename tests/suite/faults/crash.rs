//! Processes and servers that are killed under load: what was acknowledged survives, what was not converges.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    calls::{BOUNDED, FULL, Link, Reply, Wanted, assert_reason, eventually, request_id},
    history::{Chance, Load, acknowledged, holders, settle_and_verify, unknown},
    process::{Jeton, Setup},
};
use crate::servers::{Aof, Server};

const HOLDERS: usize = 8;
const CYCLES: usize = 15;
/// A call is answered within a second even if the store is not; on a busy machine of tests give it a little more.
pub const ANSWERED: Duration = Duration::from_millis(1300);

/// Lets the load go on for a while, so that the fault hits somewhere else each time.
async fn a_while(chance: &mut Chance) {
    tokio::time::sleep(Duration::from_millis(40) + chance.micros(200_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_killed_with_its_embedded_store_loses_nothing_acknowledged() {
    let mut jeton = Setup::embedded().start();
    let mut holders = holders(&jeton, HOLDERS).await;
    let mut chance = Chance::new(10);
    let mut interrupted = 0;
    for _ in 0..CYCLES {
        let load = Load::start(holders, &[jeton.link()]);
        a_while(&mut chance).await;
        jeton.kill9();
        holders = load.stop().await;
        interrupted += unknown(&holders);
        jeton.restart();
        settle_and_verify(&mut holders, &[jeton.link()]).await;
    }
    assert!(interrupted > CYCLES, "{interrupted} steps were interrupted");
    assert!(acknowledged(&holders) > CYCLES * HOLDERS, "{} steps were acknowledged", acknowledged(&holders));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_loses_nothing_acknowledged_and_disturbs_no_other() {
    let server = Server::start(Aof::Off);
    let mut jetons = [Setup::redis(&server).start(), Setup::redis(&server).start()];
    let mut holders = holders(&jetons[0], HOLDERS).await;
    let mut chance = Chance::new(11);
    let mut interrupted = 0;
    for cycle in 0..CYCLES {
        let load = Load::start(holders, &links(&jetons));
        a_while(&mut chance).await;
        jetons[cycle % 2].kill9();
        holders = load.stop().await;
        assert!(unknown(&holders) <= HOLDERS / 2, "only the killed replica's calls fail");
        interrupted += unknown(&holders);
        jetons[cycle % 2].restart();
        settle_and_verify(&mut holders, &links(&jetons)).await;
    }
    assert!(interrupted > CYCLES, "{interrupted} steps were interrupted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_with_an_append_only_file_loses_nothing_acknowledged() {
    let mut server = Server::start(Aof::On);
    let jetons = [Setup::redis(&server).start(), Setup::redis(&server).start()];
    let mut holders = holders(&jetons[0], HOLDERS).await;
    let mut chance = Chance::new(12);
    let mut interrupted = 0;
    for _ in 0..CYCLES {
        let load = Load::start(holders, &links(&jetons));
        a_while(&mut chance).await;
        server.kill9();
        holders = load.stop().await;
        interrupted += unknown(&holders);
        server.restart();
        // The same processes: they find the server again by themselves.
        settle_and_verify(&mut holders, &links(&jetons)).await;
    }
    assert!(interrupted > CYCLES, "{interrupted} steps were interrupted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_every_call_says_so_in_time_and_health_tells() {
    let mut server = Server::start(Aof::On);
    let jeton = Setup::redis(&server).start();
    let link = jeton.link();
    let admin = link.admin().await;
    let client = link.new_client(&admin, Duration::from_secs(300)).await;
    let issued = link.issue(&client, &Wanted { refresh: true, ..Default::default() }).await.unwrap();
    // All that a bounded answer rests on is in memory now.
    assert!(link.is_active(&client, &issued.access_token, FULL).await.unwrap());
    eventually("it is ready", async || link.serves().await.filter(|serves| *serves)).await;

    server.kill9();
    let began = Instant::now();
    let wanted = Wanted { request_id: request_id(), ..Default::default() };
    for _ in 0..3 {
        let (issue, renew, revoke, introspect) = tokio::join!(
            timed(link.issue(&client, &wanted)),
            timed(link.renew(&client, &issued.refresh_token)),
            timed(link.revoke(&issued.refresh_token)),
            timed(link.is_active(&client, &issued.access_token, FULL)),
        );
        for (answered, status) in [failed(issue), failed(renew), failed(revoke), failed(introspect)] {
            assert!(answered < ANSWERED, "answered after {answered:?}");
            assert_unavailable(&status);
        }
    }
    // An answer from memory may be right for a second, and then it is none.
    let bounded = eventually("bounded answers end", async || {
        match link.is_active(&client, &issued.access_token, BOUNDED).await {
            Ok(active) => {
                assert!(active, "never a false inactive");
                assert!(began.elapsed() < Duration::from_secs(3), "bounded answers go on");
                None
            }
            Err(status) => Some(status),
        }
    });
    assert_reason(&bounded.await, Code::Unavailable, "STALE");
    eventually("health tells", async || link.serves().await.filter(|serves| !serves)).await;

    server.restart();
    eventually("it is ready again", async || link.serves().await.filter(|serves| *serves)).await;
    assert!(link.is_active(&client, &issued.access_token, FULL).await.unwrap());
    link.issue(&client, &wanted).await.unwrap();
    link.renew(&client, &issued.refresh_token).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_script_cache_fails_no_call() {
    let server = Arc::new(Server::start(Aof::Off));
    let jetons = [Setup::redis(&server).start(), Setup::redis(&server).start()];
    let holders = holders(&jetons[0], HOLDERS).await;
    let load = Load::start(holders, &links(&jetons));
    let stop = Arc::new(AtomicBool::new(false));
    let flushing = tokio::task::spawn_blocking({
        let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
        move || {
            let mut flushed = 0;
            while !stop.load(Ordering::Relaxed) {
                assert!(server.command(&["SCRIPT", "FLUSH"]).starts_with("+OK"));
                flushed += 1;
            }
            flushed
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut holders = load.stop().await;
    stop.store(true, Ordering::Relaxed);
    assert!(flushing.await.unwrap() > 50);
    assert_eq!(unknown(&holders), 0, "every call was answered");
    settle_and_verify(&mut holders, &links(&jetons)).await;
}

pub fn assert_unavailable(status: &Status) {
    assert_reason(status, Code::Unavailable, "STORE_UNAVAILABLE");
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
}

fn links(jetons: &[Jeton]) -> Vec<Link> {
    jetons.iter().map(Jeton::link).collect()
}

pub async fn timed<T>(call: impl Future<Output = Reply<T>>) -> (Duration, Reply<T>) {
    let began = Instant::now();
    let reply = call.await;
    (began.elapsed(), reply)
}

pub fn failed<T>((answered, reply): (Duration, Reply<T>)) -> (Duration, Status) {
    match reply {
        Ok(_) => panic!("it was answered without a store"),
        Err(status) => (answered, status),
    }
}

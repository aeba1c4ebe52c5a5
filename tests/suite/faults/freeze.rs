//! Processes and servers that stand still while their connections stay open: what they knew grows old.

use std::time::{Duration, Instant};

use tonic::Code;

use super::{
    calls::{BOUNDED, Client, FULL, Wanted, all, assert_reason, eventually, reason, request_id},
    crash::{ANSWERED, assert_unavailable, failed, timed},
    process::{Jeton, Setup},
};
use crate::servers::{Aof, Server};

/// A bounded answer is as of less than this ago.
const BOUND: Duration = Duration::from_secs(1);

async fn client_of(jeton: &Jeton) -> Client {
    let link = jeton.link();
    link.new_client(&link.admin().await, Duration::from_secs(300)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_makes_calls_fail_in_time_and_bounded_answers_end() {
    let server = Server::start(Aof::Off);
    let jeton = Setup::redis(&server).start();
    let client = client_of(&jeton).await;
    let link = jeton.link();
    let issued = link.issue(&client, &Wanted { refresh: true, ..Default::default() }).await.unwrap();
    assert!(link.is_active(&client, &issued.access_token, FULL).await.unwrap());
    assert!(link.is_active(&client, &issued.access_token, BOUNDED).await.unwrap());

    server.stop();
    let frozen = Instant::now();
    let wanted = Wanted { request_id: request_id(), ..Default::default() };
    // Calls that come while others wait already must not wait for those and then for themselves.
    let staggered = (0..10).map(|i| {
        let (link, client, token) = (link.clone(), client.clone(), issued.access_token.clone());
        async move {
            tokio::time::sleep(Duration::from_millis(60) * i).await;
            failed(timed(link.is_active(&client, &token, FULL)).await)
        }
    });
    let (issue, renew, revoke, introspections) = tokio::join!(
        timed(link.issue(&client, &wanted)),
        timed(link.renew(&client, &issued.refresh_token)),
        timed(link.revoke(&issued.refresh_token)),
        all(staggered),
    );
    for (answered, status) in [failed(issue), failed(renew), failed(revoke)].into_iter().chain(introspections) {
        assert_unavailable(&status);
        assert!(answered < ANSWERED, "answered after {answered:?}");
    }
    // Nothing was confirmed since the server froze. A little more, because it froze some time after the signal.
    let end = frozen + Duration::from_secs(2);
    while Instant::now() < end {
        let asked = Instant::now();
        match link.is_active(&client, &issued.access_token, BOUNDED).await {
            Ok(active) => {
                assert!(active, "never a false inactive");
                assert!(asked - frozen < BOUND + Duration::from_millis(50), "an answer as of {:?} ago", asked - frozen);
            }
            Err(status) => assert_reason(&status, Code::Unavailable, "STALE"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    server.cont();
    // The revocation may have been carried out after all, and the retry converges.
    eventually("revoked", async || link.revoke(&issued.refresh_token).await.ok()).await;
    assert!(!link.is_active(&client, &issued.access_token, FULL).await.unwrap());
    let once = link.issue(&client, &wanted).await.unwrap();
    let twice = link.issue(&client, &wanted).await.unwrap();
    assert_eq!(once.token_id, twice.token_id);
    eventually("bounded answers are back", async || link.is_active(&client, &once.access_token, BOUNDED).await.ok())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_frozen_never_says_active_of_what_was_revoked_meanwhile() {
    let server = Server::start(Aof::Off);
    let (awake, frozen) = (Setup::redis(&server).start(), Setup::redis(&server).start());
    let client = client_of(&awake).await;
    let (here, there) = (awake.link(), frozen.link());
    for opaque in [true, false, true, false] {
        let token = here.issue(&client, &Wanted { opaque, ..Default::default() }).await.unwrap().access_token;
        assert!(there.is_active(&client, &token, FULL).await.unwrap());
        let bounded = there.is_active(&client, &token, BOUNDED).await;
        assert!(bounded.is_ok_and(|active| active));

        frozen.stop();
        let stopped = Instant::now();
        here.revoke(&token).await.unwrap();
        // The calls wait in its sockets, so that they are the first that it sees.
        let mut calls = Vec::new();
        for level in [BOUNDED, FULL, BOUNDED, FULL] {
            let (link, client, token) = (there.clone(), client.clone(), token.clone());
            calls.push(tokio::spawn(async move { (level, link.is_active(&client, &token, level).await) }));
        }
        tokio::time::sleep_until((stopped + BOUND + Duration::from_millis(50)).into()).await;
        frozen.cont();
        for call in calls {
            match call.await.unwrap() {
                (FULL, reply) => assert!(!reply.unwrap(), "FULL says active"),
                (_, Ok(active)) => assert!(!active, "BOUNDED says active"),
                (_, Err(status)) => assert_eq!(reason(&status).as_deref(), Some("STALE"), "{status:?}"),
            }
        }
    }
}

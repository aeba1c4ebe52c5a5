//! SIGTERM under load.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Code;

use super::{
    calls::{Client, Link, Wanted, is_unknown, reason, request_id},
    process::{Jeton, Setup},
};
use crate::{
    servers::{Aof, Server, until},
    telemetry::receiver::Receiver,
};

/// The preface of an HTTP/2 client with an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// How long the tests let calls go on after the signal.
const DRAIN: Duration = Duration::from_secs(5);

/// A connection that announces HTTP/2, and nothing more.
async fn silent(jeton: &Jeton) -> TcpStream {
    let mut stream = TcpStream::connect(jeton.address()).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    // It was answered, so the process serves it.
    stream.read_exact(&mut [0; 9]).await.unwrap();
    stream
}

/// What a caller did until it was stopped.
#[derive(Debug, Default)]
struct Done {
    answered: usize,
    /// Failures after which the next replica was called.
    retried: Vec<String>,
}

/// Issues and renews without end; asks the other replica when one is gone.
async fn call_on(links: [Link; 2], client: Client, stop: Arc<AtomicBool>) -> Done {
    let mut done = Done::default();
    let mut current = 0;
    while !stop.load(Ordering::Relaxed) {
        let wanted = Wanted { refresh: true, request_id: request_id(), ..Default::default() };
        // Bounded: either replica serves.
        for attempt in 0.. {
            let link = &links[current % 2];
            let replies = async {
                let issued = link.issue(&client, &wanted).await?;
                link.renew(&client, &issued.refresh_token).await
            };
            match replies.await {
                Ok(_) => {
                    done.answered += 1;
                    break;
                }
                Err(status) => {
                    assert!(attempt < 3, "failed on both replicas: {status:?}");
                    assert!(is_unknown(&status), "{status:?}");
                    assert_ne!(status.code(), Code::DeadlineExceeded);
                    done.retried.push(reason(&status).unwrap_or_else(|| status.to_string()));
                    current += 1;
                }
            }
        }
    }
    done
}

/// Every sampled call that the log tells of has left its span, those of the last moment included.
fn assert_exported(log: &str, receiver: &Receiver) {
    let logged: BTreeSet<&str> = log.split("trace_id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(logged.len() > 5, "only {} calls were sampled", logged.len());
    until("all spans arrive", || {
        let spans = receiver.spans();
        let arrived: BTreeSet<&str> = spans.iter().map(|span| span.text("trace_id")).collect();
        logged.is_subset(&arrived)
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_terminated_under_load_fails_no_call_that_is_retried() {
    let server = Server::start(Aof::Off);
    let receiver = Receiver::start();
    let setup = Setup::redis(&server).env("JETON_DRAIN_TIMEOUT", "5s");
    let setup = setup.env("JETON_OTLP_ENDPOINT", &receiver.endpoint).env("JETON_OTLP_SAMPLE_RATIO", "0.05");
    let mut jetons = [Some(setup.start()), Some(setup.start())];
    let link = jetons[0].as_ref().unwrap().link();
    let client = link.new_client(&link.admin().await, Duration::from_secs(300)).await;
    for round in 0..4 {
        let links = [0, 1].map(|i: usize| jetons[(round + i) % 2].as_ref().unwrap().link());
        let stop = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> =
            (0..12).map(|_| tokio::spawn(call_on(links.clone(), client.clone(), Arc::clone(&stop)))).collect();
        let leaving = jetons[round % 2].take().unwrap();
        let silent = silent(&leaving).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let began = Instant::now();
        leaving.terminate();
        let ended = tokio::task::spawn_blocking(|| leaving.ended()).await.unwrap();
        assert!(ended.status.success(), "{:?}: {}", ended.status, ended.err);
        assert!(began.elapsed() < DRAIN, "a silent connection does not hold the drain: {:?}", began.elapsed());
        assert!(!ended.err.contains("cut short"), "{}", ended.err);
        assert!(ended.err.lines().last().is_some_and(|last| last.contains("stopped")), "{}", ended.err);
        assert_exported(&ended.err, &receiver);
        drop(silent);
        // The other one goes on to serve them all.
        tokio::time::sleep(Duration::from_millis(200)).await;
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            let done = caller.await.unwrap();
            assert!(done.answered > 5, "{done:?}");
            assert!(done.retried.len() <= 2, "at most one call met the end, once or twice: {done:?}");
        }
        jetons[round % 2] = Some(setup.start());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_the_process_at_once() {
    let jeton = Setup::embedded().env("JETON_DRAIN_DELAY", "60s").start();
    let link = jeton.link();
    assert!(link.serves().await.is_some());
    jeton.terminate();
    super::calls::eventually("it drains", async || jeton.err().contains("draining").then_some(())).await;
    assert!(link.serves().await.is_some(), "it still answers");
    let began = Instant::now();
    jeton.terminate();
    let ended = tokio::task::spawn_blocking(|| jeton.ended()).await.unwrap();
    assert!(began.elapsed() < DRAIN, "{:?}", began.elapsed());
    assert!(ended.status.success(), "{:?}: {}", ended.status, ended.err);
}

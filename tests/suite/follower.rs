#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must stop")]
//! The follower against a log whose answers come when the test lets them.

use std::sync::Arc;

use async_trait::async_trait;
use jeton::{
    ambient::Clock,
    revocation::{
        follower::Follower,
        log::{Log, StatePage, Tail},
    },
    storage::Result,
    worker,
};
use jeton_core::{
    Ident, Position,
    entry::{Entry, LogEntry},
    ident::Idents,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

/// Hands each read of the log to the test.
#[derive(Debug)]
struct Scripted(Mutex<mpsc::UnboundedSender<Query>>);

#[derive(Debug)]
enum Query {
    Tail(Position, oneshot::Sender<Tail>),
    Page(oneshot::Sender<StatePage>),
}

#[tokio::test]
async fn a_load_of_the_state_map_never_takes_back_what_another_worker_applied_meanwhile() {
    let (asks, mut asked) = mpsc::unbounded_channel();
    let follower = Follower::new(Arc::new(Scripted(Mutex::new(asks))), Clock::default(), 2);
    let head = |worker| {
        let follower = Arc::clone(&follower);
        tokio::spawn(async move {
            worker::enter(worker);
            follower.head().await
        })
    };
    let revoked = Ident::Client("late".parse().unwrap());

    let first = head(0);
    answer(&mut asked, Position::START, tail(10, Vec::new())).await;
    page(&mut asked).await.send(StatePage { slots: Vec::new(), next: None }).unwrap();
    answer(&mut asked, at(10), tail(10, Vec::new())).await;
    assert_eq!(first.await.unwrap().unwrap(), at(10));

    // Worker 1 asks before the stream is trimmed, worker 0 after it; worker 0 loads the map and is slow.
    let quick = head(1);
    let before_trim = take_tail(&mut asked, at(10)).await;
    let slow = head(0);
    answer(&mut asked, at(10), Tail { gap: true, ..tail(15, Vec::new()) }).await;
    answer(&mut asked, Position::START, tail(15, Vec::new())).await;
    let old_page = page(&mut asked).await;

    // Meanwhile worker 1 has its answer, and asks again after a revocation.
    before_trim.send(tail(15, vec![entry(15, Entry::changed(revoked.clone()))])).unwrap();
    assert_eq!(quick.await.unwrap().unwrap(), at(15));
    let shown = head(1);
    answer(&mut asked, at(15), tail(18, vec![entry(18, Entry::revoke(revoked.clone()))])).await;
    assert_eq!(shown.await.unwrap().unwrap(), at(18));

    old_page.send(StatePage { slots: Vec::new(), next: None }).unwrap();
    let again = take_tail(&mut asked, at(18)).await;
    assert!(follower.revokes(&Idents::new(vec![revoked], 0), at(12)), "what stands at 18 was given to a caller");
    again.send(tail(18, Vec::new())).unwrap();
    assert_eq!(slow.await.unwrap().unwrap(), at(18));
}

fn at(micros: u64) -> Position {
    Position::new(0, micros).unwrap()
}

fn entry(micros: u64, entry: Entry) -> LogEntry {
    LogEntry { position: at(micros), entry }
}

fn tail(head: u64, entries: Vec<LogEntry>) -> Tail {
    Tail { head: at(head), entries, more: false, gap: false }
}

async fn take_tail(asked: &mut mpsc::UnboundedReceiver<Query>, after: Position) -> oneshot::Sender<Tail> {
    match asked.recv().await.unwrap() {
        Query::Tail(from, answer) => {
            assert_eq!(from, after);
            answer
        }
        Query::Page(_) => panic!("asked for a page, not for the tail after {after}"),
    }
}

async fn answer(asked: &mut mpsc::UnboundedReceiver<Query>, after: Position, tail: Tail) {
    take_tail(asked, after).await.send(tail).unwrap();
}

async fn page(asked: &mut mpsc::UnboundedReceiver<Query>) -> oneshot::Sender<StatePage> {
    match asked.recv().await.unwrap() {
        Query::Page(answer) => answer,
        Query::Tail(after, _) => panic!("asked for the tail after {after}, not for a page"),
    }
}

#[async_trait]
impl Log for Scripted {
    async fn tail(&self, after: Position) -> Result<Tail> {
        let (answer, wait) = oneshot::channel();
        self.0.lock().send(Query::Tail(after, answer)).unwrap();
        Ok(wait.await.unwrap())
    }

    async fn state_page(&self, _: Option<String>) -> Result<StatePage> {
        let (answer, wait) = oneshot::channel();
        self.0.lock().send(Query::Page(answer)).unwrap();
        Ok(wait.await.unwrap())
    }

    // The follower appends only what it is given.
    async fn append(&self, _: &[Entry]) -> Result<Position> {
        unreachable!()
    }
}

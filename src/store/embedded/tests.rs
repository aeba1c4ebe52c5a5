//! What needs a disk that fails. Everything else is in the conformance suite, `tests/suite/store.rs`.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use jeton_core::{ClientId, Ident, entry::Entry};
use parking_lot::{Condvar, Mutex};
use redb::backends::InMemoryBackend;

use super::*;
use crate::{ambient::Fresh as _, revocation::log::Log as _};

/// A disk that fails its syncs, or lets them hang, on demand.
#[derive(Clone, Debug, Default)]
struct Disk {
    failing: Arc<AtomicBool>,
    hanging: Arc<(Mutex<bool>, Condvar)>,
}

impl Disk {
    fn hang(&self) {
        *self.hanging.0.lock() = true;
    }

    fn go_on(&self) {
        *self.hanging.0.lock() = false;
        self.hanging.1.notify_all();
    }
}

#[derive(Debug)]
struct Backend(InMemoryBackend, Disk);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let (hanging, released) = &*self.1.hanging;
        released.wait_while(&mut hanging.lock(), |hanging| *hanging);
        if self.1.failing.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is gone"));
        }
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

fn open(disk: &Disk) -> Embedded {
    let backend = Backend(InMemoryBackend::new(), disk.clone());
    Embedded::with_backend(Path::new("memory"), backend, Clock::default(), Options::default()).unwrap()
}

fn entry() -> Entry {
    Entry::revoke(Ident::Client(ClientId::random().unwrap()))
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_written_any_more() {
    let disk = Disk::default();
    let store = open(&disk);
    let before = store.append(&[entry()]).await.unwrap();
    disk.failing.store(true, Ordering::SeqCst);
    assert!(matches!(store.append(&[entry()]).await, Err(Error::Unavailable { .. })));
    assert_eq!(store.committed.head(), before, "what was not synced is not shown");
    // Later syncs may succeed, and say nothing about what the failed one lost.
    disk.failing.store(false, Ordering::SeqCst);
    assert!(matches!(store.append(&[entry()]).await, Err(Error::Unavailable { .. })));
    assert!(matches!(store.ping().await, Err(Error::Unavailable { .. })));
    assert_eq!(store.tail(before).await.unwrap().head, before);
}

#[tokio::test]
async fn all_callers_of_a_failed_batch_learn_of_it() {
    let disk = Disk::default();
    let store = Arc::new(open(&disk));
    disk.failing.store(true, Ordering::SeqCst);
    disk.hang();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.append(&[entry()]).await })
        })
        .collect();
    tokio::task::yield_now().await;
    disk.go_on();
    for call in calls {
        assert!(matches!(call.await.unwrap(), Err(Error::Unavailable { .. })));
    }
}

#[tokio::test]
async fn a_refused_operation_leaves_the_others_of_its_batch_alone() {
    let disk = Disk::default();
    let store = open(&disk);
    let start = store.committed.head();
    disk.hang();
    // While the first one hangs in its sync the others queue up, and so share a batch.
    let first = store.append(&[]);
    let good = entry();
    let refused = store.writer.submit::<(), _>("fail", |_| Err(Error::corrupt("on demand").into()));
    let second = store.append(std::slice::from_ref(&good));
    let release = async {
        tokio::task::yield_now().await;
        disk.go_on();
    };
    let (first, refused, second, ()) = tokio::join!(first, refused, second, release);
    first.unwrap();
    assert!(matches!(refused, Err(Error::Corrupt { .. })));
    let tail = store.tail(start).await.unwrap();
    assert_eq!(tail.head, second.unwrap());
    assert_eq!(tail.entries.into_iter().map(|at| at.entry).collect::<Vec<_>>(), [good]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_does_not_wait_for_a_disk_that_hangs() {
    let disk = Disk::default();
    let store = open(&disk);
    let before = store.committed.head();
    disk.hang();
    let started = tokio::time::Instant::now();
    assert!(matches!(store.append(&[entry()]).await, Err(Error::Unavailable { .. })));
    assert_eq!(started.elapsed(), std::time::Duration::from_secs(5));
    assert_eq!(store.tail(before).await.unwrap().head, before, "nor is it shown what has not reached the disk");
    disk.go_on();
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_its_operation() {
    let disk = Disk::default();
    let store = open(&disk);
    let before = store.committed.head();
    disk.hang();
    let only = [entry()];
    let mut call = store.append(&only);
    assert!(poll_once(&mut call).await, "it is queued and waits");
    drop(call);
    disk.go_on();
    store.ping().await.unwrap();
    assert_eq!(store.tail(before).await.unwrap().entries.len(), 1);
}

/// Polls a future once; whether it still waits.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending()))
        .await
}

//! Group commit: one thread that performs the operations of all callers.
//!
//! The thread takes everything that is queued, performs each operation inside one transaction, syncs, and only then
//! answers. Then it waits a moment for the callers that it has just answered: busy ones send their next operation at once,
//! which then shares the next commit instead of the one after. Operations check first and write last, so that a refused
//! one leaves nothing behind while the others of its batch go on. A failure of the file itself fails the whole batch and
//! the store: after a failed sync it is not known what the disk holds, and only a restart reads it again.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use jeton_core::Position;
use redb::{Database, Durability};
use tokio::{sync::oneshot, time::Instant};

use super::{
    failure::Failure,
    queue::Queue,
    tables::{self, Tables},
};
use crate::{
    ambient::Clock,
    storage::{Error, Result},
};

/// The calling side of the thread.
pub struct Writer {
    queue: Arc<Queue<Box<dyn Operation>>>,
    /// `None` only while it is dropped.
    thread: Option<JoinHandle<()>>,
    broken: Arc<AtomicBool>,
}

/// The head of the log as far as it is on disk.
pub struct Committed {
    /// Grows only when the file is opened.
    line: u32,
    micros: AtomicU64,
}

/// One caller's operation and, between its execution and the commit, its outcome.
trait Operation: Send {
    fn perform(&mut self, tables: &mut Tables<'_>) -> std::result::Result<(), redb::StorageError>;
    fn answer(self: Box<Self>, fate: Fate);
}

/// How a batch ended.
#[derive(Clone, Copy)]
enum Fate {
    Committed,
    Lost,
}

/// An operation with the channel on which its caller waits.
struct Submission<F, T> {
    attempted: &'static str,
    perform: Option<F>,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

/// The thread's side.
struct Thread {
    queue: Arc<Queue<Box<dyn Operation>>>,
    database: Arc<Database>,
    committed: Arc<Committed>,
    clock: Clock,
    broken: Arc<AtomicBool>,
}

/// How long the thread waits at most for the callers that it has just answered: this fraction of the last commit's time …
const PATIENCE: u32 = 8;
/// … and never longer than this.
const MAX_PATIENCE: Duration = Duration::from_millis(1);
/// How long a caller waits for the disk. A sync takes milliseconds; a disk that takes seconds counts as failed, and
/// callers have deadlines of their own.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

// === impl Writer ===

impl Writer {
    pub fn start(database: Arc<Database>, committed: Arc<Committed>, clock: Clock, max_batch: usize) -> Result<Self> {
        let queue = Arc::new(Queue::new());
        let broken = Arc::new(AtomicBool::new(false));
        let thread = Thread { queue: Arc::clone(&queue), database, committed, clock, broken: Arc::clone(&broken) };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || thread.run(max_batch.max(1)))
            .map_err(|error| Error::unavailable("start the store's writer", error))?;
        Ok(Self { queue, thread: Some(thread), broken })
    }

    /// Has an operation performed, and waits until it is durable.
    ///
    /// `perform` must make all its checks before its first write. A caller that goes away after its operation was queued
    /// does not stop it.
    pub async fn submit<T, F>(&self, attempted: &'static str, perform: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tables<'_>) -> std::result::Result<T, Failure> + Send + 'static,
    {
        if self.broken.load(Ordering::Acquire) {
            return Err(broken(attempted));
        }
        let (reply, answer) = oneshot::channel();
        let submission = Box::new(Submission { attempted, perform: Some(perform), outcome: None, reply });
        let performed = async {
            self.queue.put(submission).await.map_err(|_| stopped(attempted))?;
            answer.await.map_err(|_| stopped(attempted))?
        };
        match tokio::time::timeout(ANSWER_WITHIN, performed).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(Error::unavailable(attempted, elapsed)),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // At most one queue of batches long. Without it the file would still be locked when the store seems closed.
            if thread.join().is_err() {
                tracing::error!("the store's writer had panicked");
            }
        }
    }
}

// === impl Queue ===

// === impl Committed ===

impl Committed {
    pub fn new(head: Position) -> Self {
        Self { line: head.line(), micros: AtomicU64::new(head.micros()) }
    }

    pub fn head(&self) -> Position {
        // What was stored came out of a position, so it fits into one.
        Position::new(self.line, self.micros.load(Ordering::Acquire)).unwrap_or(Position::START)
    }

    fn advance(&self, head: Position) {
        self.micros.store(head.micros(), Ordering::Release);
    }
}

// === impl Thread ===

impl Thread {
    fn run(self, max_batch: usize) {
        let mut batch = Vec::new();
        let (mut expected, mut patience) = (1, Duration::ZERO);
        while self.queue.take(&mut batch, max_batch, expected, patience) {
            let begun = Instant::now();
            let fate = self.commit(&mut batch);
            patience = (begun.elapsed() / PATIENCE).min(MAX_PATIENCE);
            // As many callers as are active, so that a single caller never waits for others.
            expected = batch.len() + self.queue.len();
            for operation in batch.drain(..) {
                operation.answer(fate);
            }
        }
    }

    fn commit(&self, batch: &mut [Box<dyn Operation>]) -> Fate {
        if self.broken.load(Ordering::Acquire) {
            return Fate::Lost;
        }
        match self.transact(batch) {
            Ok(head) => {
                // Before any caller is answered: a head that is read after an append returned must not be below it.
                self.committed.advance(head);
                Fate::Committed
            }
            Err(error) => {
                self.broken.store(true, Ordering::Release);
                tracing::error!(
                    %error,
                    operations = batch.len(),
                    "the store's file could not be written; nothing more is written until a restart"
                );
                Fate::Lost
            }
        }
    }

    fn transact(&self, batch: &mut [Box<dyn Operation>]) -> std::result::Result<Position, Box<redb::Error>> {
        let boxed = |error: redb::Error| Box::new(error);
        let mut transaction = self.database.begin_write().map_err(|error| boxed(error.into()))?;
        transaction.set_durability(Durability::Immediate).map_err(|error| boxed(error.into()))?;
        let before = self.committed.head();
        let mut tables = Tables::open(&transaction, before, &self.clock).map_err(|error| boxed(error.into()))?;
        for operation in batch {
            operation.perform(&mut tables).map_err(|error| boxed(error.into()))?;
        }
        tables.sweep().map_err(|error| boxed(error.into()))?;
        let head = tables.head;
        if head != before {
            tables.meta.insert(tables::HEAD, head.to_string().as_str()).map_err(|error| boxed(error.into()))?;
        }
        drop(tables);
        transaction.commit().map_err(|error| boxed(error.into()))?;
        Ok(head)
    }
}

impl Drop for Thread {
    /// Also when the thread panics: no caller must wait for it.
    fn drop(&mut self) {
        self.queue.close();
        self.queue.clear();
    }
}

// === impl Submission ===

impl<F, T> Operation for Submission<F, T>
where
    T: Send,
    F: FnOnce(&mut Tables<'_>) -> std::result::Result<T, Failure> + Send,
{
    fn perform(&mut self, tables: &mut Tables<'_>) -> std::result::Result<(), redb::StorageError> {
        let Some(perform) = self.perform.take() else { return Ok(()) };
        self.outcome = match perform(tables) {
            Ok(outcome) => Some(Ok(outcome)),
            Err(Failure::Refused(error)) => Some(Err(error)),
            Err(Failure::Storage(error)) => return Err(error),
        };
        Ok(())
    }

    fn answer(self: Box<Self>, fate: Fate) {
        let outcome = match (fate, self.outcome) {
            (Fate::Committed, Some(outcome)) => outcome,
            (Fate::Committed | Fate::Lost, _) => Err(broken(self.attempted)),
        };
        // A caller that went away needs no answer.
        let _ = self.reply.send(outcome);
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("broken", &self.broken).finish_non_exhaustive()
    }
}

fn broken(attempted: &'static str) -> Error {
    Error::unavailable(attempted, "the store's file could not be written, and may be only after a restart")
}

fn stopped(attempted: &'static str) -> Error {
    Error::unavailable(attempted, "the store's writer has stopped")
}

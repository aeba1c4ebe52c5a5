//! The embedded store: one file, one process, nothing to install.
//!
//! Writes of all callers go to one thread that commits them in groups ([`writer`]); reads are snapshots, taken on the
//! calling thread. It promises what [`Store`] does: `Ok` means that the change has reached the disk, and a reader sees
//! nothing that has not.
//!
//! Invariant: the sweep of expired records ([`sweep`]) is garbage collection. No answer depends on whether it has run.
//!
//! Start reading at [`tables`] (what is stored), then [`writer`], then the operations: [`log`], [`directory`], [`mint`].

use std::{
    fmt,
    fs::{File, OpenOptions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase, StorageBackend, backends::FileBackend};

use self::{
    tables::{StoredFamily, StoredSession, StoredToken},
    writer::{Committed, Writer},
};
use super::{
    Change, Ended, Error, FamilyRecord, Index, IndexEntry, Kind, Mint, Minted, Record, RecordKey, Result, Row, Session,
    SessionKey, StatePage, Store, SubjectKey, Tail, Unique, Written,
};
use crate::{
    ambient::{Clock, Time},
    revocation::entry::Entry,
    token::{FamilyId, Position, TenantId, TokenId},
};

mod directory;
mod log;
mod mint;
mod queue;
mod sweep;
mod tables;
mod writer;

/// A store in one file.
pub struct Embedded {
    // Before the database, so that the writer's thread has let go of it when the file is closed.
    writer: Writer,
    database: Arc<Database>,
    committed: Arc<Committed>,
    warnings: Vec<String>,
}

/// How the store works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The most operations that share one commit.
    pub max_batch: usize,
}

/// Pages kept in memory. The library's own default, 1 GiB, is more than a small container has; the system's page cache
/// stands behind this one.
const CACHE_BYTES: usize = 128 << 20;
/// Enough that the cost of one sync disappears among the operations that share it, and few enough that one batch takes
/// milliseconds.
const MAX_BATCH: usize = 1024;

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { max_batch: MAX_BATCH }
    }
}

// === impl Embedded ===

impl Embedded {
    /// Opens the store in the file at `path`, or makes one there, and raises the log's line.
    ///
    /// Blocks, and for long after a crash with a big file, which is then checked as a whole. Only one process can have
    /// the file open: [`Error::Unsuitable`] to all others.
    pub fn open(path: &Path, clock: Clock, options: Options) -> Result<Arc<Self>> {
        let unsuitable = |error: std::io::Error| Error::Unsuitable { why: format!("open {}: {error}", path.display()) };
        if !path.exists() {
            make(path)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(unsuitable)?;
        let mode = file.metadata().map_err(unsuitable)?.permissions().mode();
        let backend = FileBackend::new(file).map_err(|error| refused(path, error))?;
        let mut store = Self::with_backend(path, backend, clock, options)?;
        if mode & 0o077 != 0 {
            store.warnings.push(format!(
                "{} can be read by others than its owner (mode {:03o}); it should be 600",
                path.display(),
                mode & 0o777
            ));
        }
        Ok(Arc::new(store))
    }

    /// `path` is for messages only.
    fn with_backend(path: &Path, backend: impl StorageBackend, clock: Clock, options: Options) -> Result<Self> {
        let shown = path.display().to_string();
        let database = redb::Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_repair_callback(move |repair| {
                tracing::warn!(
                    file = shown,
                    progress = repair.progress(),
                    "the store was not closed properly, checking the whole file"
                );
            })
            .create_with_backend(backend)
            .map_err(|error| refused(path, error))?;
        let head = log::raise_line(&database, &clock)?;
        let database = Arc::new(database);
        let committed = Arc::new(Committed::new(head));
        let writer = Writer::start(Arc::clone(&database), Arc::clone(&committed), clock, options.max_batch)?;
        Ok(Self { writer, database, committed, warnings: Vec::new() })
    }

    /// A snapshot of what is committed.
    fn snapshot(&self, attempted: &'static str) -> Result<ReadTransaction> {
        self.database.begin_read().map_err(|error| Error::unavailable(attempted, error))
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("head", &self.committed.head()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Embedded {
    async fn tail(&self, after: Position) -> Result<Tail> {
        // The common case of a follower that is up to date costs no transaction.
        let head = self.committed.head();
        if after == head {
            return Ok(Tail { head, entries: Vec::new(), more: false, gap: false });
        }
        let attempted = "read the revocation log";
        log::tail(&self.snapshot(attempted)?, after).map_err(|failure| failure.into_error(attempted))
    }

    async fn append(&self, entries: &[Entry]) -> Result<Position> {
        let entries = entries.to_vec();
        self.writer.submit("append to the revocation log", move |tables| tables.append(&entries)).await
    }

    async fn state_page(&self, cursor: Option<String>) -> Result<StatePage> {
        let attempted = "read the revocation state";
        log::state_page(&self.snapshot(attempted)?, cursor.as_deref()).map_err(|failure| failure.into_error(attempted))
    }

    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        let attempted = "read records";
        directory::read(&self.snapshot(attempted)?, keys).map_err(|failure| failure.into_error(attempted))
    }

    async fn holders(&self, tenant: &TenantId, names: &[Unique]) -> Result<Vec<Option<String>>> {
        let attempted = "look up unique names";
        directory::holders(&self.snapshot(attempted)?, tenant, names).map_err(|failure| failure.into_error(attempted))
    }

    async fn write(&self, change: &Change) -> Result<Written> {
        let change = change.clone();
        self.writer.submit("change the directory", move |tables| tables.write(&change)).await
    }

    async fn remembered(&self, tenant: &TenantId, request: [u8; 16], now: Time) -> Result<Option<([u8; 16], String)>> {
        let _: &TenantId = tenant; // A request's key is a digest that covers the tenant.
        let attempted = "look up a request";
        directory::remembered(&self.snapshot(attempted)?, request, now).map_err(|failure| failure.into_error(attempted))
    }

    async fn settle(&self, key: &RecordKey, version: u64) -> Result<()> {
        let key = key.clone();
        self.writer.submit("settle a record", move |tables| tables.settle(&key, version)).await
    }

    async fn list(&self, index: &Index, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let attempted = "list records";
        directory::list(&self.snapshot(attempted)?, index, after, limit)
            .map_err(|failure| failure.into_error(attempted))
    }

    async fn rows(&self, index: &Index, kind: Kind, after: Option<&str>, limit: usize) -> Result<Vec<Row>> {
        let attempted = "list records with their bodies";
        directory::rows(&self.snapshot(attempted)?, index, kind, after, limit)
            .map_err(|failure| failure.into_error(attempted))
    }

    async fn mint(&self, mint: &Mint) -> Result<Minted> {
        let mint = mint.clone();
        self.writer.submit("store a token", move |tables| tables.mint(&mint)).await
    }

    async fn token(&self, id: &TokenId) -> Result<Option<Bytes>> {
        Ok(self.tokens(std::slice::from_ref(id)).await?.pop().flatten())
    }

    async fn tokens(&self, ids: &[TokenId]) -> Result<Vec<Option<Bytes>>> {
        let attempted = "read tokens";
        mint::read(&self.snapshot(attempted)?, tables::TOKENS, ids.iter().map(tables::id_bytes), |stored| {
            let stored: StoredToken<'_> = tables::decode(stored)?;
            Ok(Bytes::copy_from_slice(stored.body))
        })
        .map_err(|failure| failure.into_error(attempted))
    }

    async fn family(&self, id: &FamilyId) -> Result<Option<FamilyRecord>> {
        let attempted = "read a family";
        mint::read(&self.snapshot(attempted)?, tables::FAMILIES, [tables::id_bytes(id)], |stored| {
            let stored: StoredFamily<'_> = tables::decode(stored)?;
            Ok(stored.record())
        })
        .map(|mut records| records.pop().flatten())
        .map_err(|failure| failure.into_error(attempted))
    }

    async fn sessions(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Session>>> {
        let attempted = "read sessions";
        let keys: Vec<_> = sessions.iter().map(tables::session_key).collect();
        mint::read(&self.snapshot(attempted)?, tables::SESSIONS, keys.iter().map(String::as_str), |stored| {
            let stored: StoredSession = tables::decode(stored)?;
            Ok(Session { alive_until: stored.alive_until, until: stored.until })
        })
        .map_err(|failure| failure.into_error(attempted))
    }

    async fn end_sessions(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Ended>>> {
        let sessions = sessions.to_vec();
        let end =
            move |tables: &mut tables::Tables<'_>| sessions.iter().map(|session| tables.end_session(session)).collect();
        self.writer.submit("end sessions", end).await
    }

    async fn subject_page(
        &self,
        subject: &SubjectKey,
        after: Option<&IndexEntry>,
        now: Time,
        limit: usize,
    ) -> Result<Vec<IndexEntry>> {
        let attempted = "list tokens";
        mint::subject_page(&self.snapshot(attempted)?, subject, after, now, limit)
            .map_err(|failure| failure.into_error(attempted))
    }

    async fn ping(&self) -> Result<()> {
        // An empty commit still syncs the file, so it tells whether the disk takes writes.
        self.writer.submit("reach the store", |_| Ok(())).await
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

/// Why a file was not opened.
/// Makes an empty store beside its place and moves it there: a process that is killed meanwhile must not leave half of one.
fn make(path: &Path) -> Result<()> {
    let unsuitable = |error: std::io::Error| Error::Unsuitable { why: format!("make {}: {error}", path.display()) };
    let aside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&aside).map_err(unsuitable)?;
    if file.try_lock().is_err() {
        return Err(Error::Unsuitable { why: format!("another process makes {}", path.display()) });
    }
    // Held until the move: whoever waits for it finds the store in its place.
    let _held = file.try_clone().map_err(unsuitable)?;
    if path.exists() {
        return Ok(());
    }
    file.set_len(0).map_err(unsuitable)?;
    let backend = FileBackend::new(file).map_err(|error| refused(path, error))?;
    let made = redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend);
    drop(made.map_err(|error| refused(path, error))?);
    std::fs::rename(&aside, path).map_err(unsuitable)?;
    // A new file is durable only when the directory that names it is.
    directory_of(path).and_then(|directory| directory.sync_all()).map_err(unsuitable)
}

fn refused(path: &Path, error: redb::DatabaseError) -> Error {
    let path = path.display();
    if let redb::DatabaseError::Storage(redb::StorageError::Corrupted(what)) = error {
        return Error::corrupt(format!("{path}: {what}"));
    }
    let why = if matches!(error, redb::DatabaseError::DatabaseAlreadyOpen) {
        format!(
            "{path} is open in another process; an embedded store belongs to one process, several replicas need Redis"
        )
    } else {
        format!("open {path}: {error}")
    };
    Error::Unsuitable { why }
}

fn directory_of(path: &Path) -> std::io::Result<File> {
    // The parent of a bare file name is the empty path, which cannot be opened.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests;

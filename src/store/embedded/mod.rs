//! The embedded store: one file, one process, nothing to install.
//!
//! Writes of all callers go to one thread that commits them in groups ([`writer`]); reads are snapshots, taken on the
//! calling thread. It promises what [`Store`](super::Store) does: `Ok` means that the change has reached the disk, and a reader sees
//! nothing that has not.
//!
//! Invariant: the sweep of expired records ([`sweep`]) is garbage collection. No answer depends on whether it has run.
//!
//! Start reading at [`tables`] (what is stored), then [`writer`], then the ports: [`log`], [`records`], [`tokens`].

use std::{
    fmt,
    fs::{File, OpenOptions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use redb::{Database, ReadTransaction, ReadableDatabase, StorageBackend, backends::FileBackend};

use self::{
    failure::Failure,
    writer::{Committed, Writer},
};
use super::Health;
use crate::{
    ambient::Clock,
    storage::{Error, Result},
};

mod expiring;
mod failure;
mod log;
mod queue;
mod records;
mod sweep;
mod tables;
mod tokens;
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

    /// Reads from a snapshot of what is committed.
    fn read_committed<T>(
        &self,
        attempted: &'static str,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Failure>,
    ) -> Result<T> {
        let snapshot = self.database.begin_read().map_err(|error| Error::unavailable(attempted, error))?;
        read(&snapshot).map_err(|failure| failure.into_error(attempted))
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("head", &self.committed.head()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Health for Embedded {
    async fn ping(&self) -> Result<()> {
        // An empty commit still syncs the file, so it tells whether the disk takes writes.
        self.writer.submit("reach the store", |_| Ok(())).await
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

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
    // Held until the move: a process that waits for it finds the store in its place.
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

/// Why a file was not opened.
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

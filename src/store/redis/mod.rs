//! The store on a Redis or Valkey server: what several replicas of the service share.
//!
//! Promises what the port does; a mutation is durable when the server has it in its append-only file and as many replicas
//! as are to be waited for have it, too. Every call ends within a second, and a server that comes back is used again
//! without a restart.
//!
//! Invariant: knows records as bytes. Each change is one Lua script on the keys of one hash tag; scripts of one call are
//! sent together. Nothing here reads a clock: the log's is the server's, all others are passed in.
//!
//! Start reading at [`scripts`] and the `.lua` files (what happens on the server), then [`connection`].

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use redis::Cmd;

use self::connection::{Confirm, Connections, Wait, pipeline};
use super::{
    Change, Ended, Error, FamilyRecord, Index, IndexEntry, Kind, Mint, Minted, Record, RecordKey, Result, Row, Session,
    SessionKey, StatePage, Store, SubjectKey, Tail, Unique, Written,
};
use crate::{
    ambient::Time,
    revocation::entry::Entry,
    token::{FamilyId, Position, TenantId, TokenId, secret::SecretText},
};

mod address;
mod answer;
mod connection;
mod directory;
mod keys;
mod log;
mod scripts;
mod setup;
mod tokens;

/// Where the server is, and when a write to it counts as durable.
#[derive(Clone, Debug)]
pub struct Options {
    /// `redis://[user:password@]host:port[/db]`, or `rediss://`.
    pub url: SecretText,
    /// How many workers there are; each has its own connection.
    pub workers: usize,
    /// How many replicas must have confirmed a write, or follow the primary that answers a read: every promotable one.
    /// 0 where there is nothing to fail over to.
    pub wait_replicas: u32,
    /// How long to wait for them, at most 600 ms.
    pub wait_timeout: Duration,
    /// For `rediss://`.
    pub tls: Tls,
}

/// What a server under TLS is checked and answered with, in PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// The authorities that are trusted in place of the system's.
    pub authorities: Option<Vec<u8>>,
    /// The client certificate with its chain, and its private key.
    pub identity: Option<(Vec<u8>, SecretText)>,
}

/// The store on a Redis server.
pub struct Redis {
    connections: Connections,
    warnings: Vec<String>,
}

// === impl Redis ===

impl Redis {
    /// Reaches the server and checks how it is set up.
    ///
    /// # Errors
    /// `Unsuitable` if the server could not keep the store's promises, `Unavailable` if it cannot be reached.
    pub async fn connect(options: &Options) -> Result<Arc<Self>> {
        // Connections of its own: this may run on a runtime that ends before the workers' do.
        let first = Connections::new(&options.url, &options.tls, 1, None)?;
        let mut info = Cmd::new();
        info.arg("INFO");
        let info = answer::text(first.ask("ask the Redis server how it is set up", info, Confirm::No).await?)?;
        if info.lines().any(|line| line.trim_end() == "loading:1") {
            return Err(Error::unavailable("reach the Redis server", "it is loading its data"));
        }
        let mut sync = Cmd::new();
        sync.arg("CONFIG").arg("GET").arg("appendfsync");
        // Hosted servers often forbid to ask; then nothing is said of it.
        let sync = first.ask("ask the Redis server how it syncs", sync, Confirm::No).await.ok();
        let sync = sync.and_then(|answer| answer::only_value(answer).ok());
        let warnings = setup::check(&info, sync.as_deref(), options.wait_replicas)?;
        let load = pipeline(scripts::ALL.iter().map(|script| script.load()));
        first.send("load the scripts into the Redis server", load, Confirm::No).await?;

        let wait = Wait::new(options.wait_replicas, options.wait_timeout);
        let connections = Connections::new(&options.url, &options.tls, options.workers, wait)?;
        Ok(Arc::new(Self { connections, warnings }))
    }
}

#[async_trait]
impl Store for Redis {
    async fn tail(&self, after: Position) -> Result<Tail> {
        self.log_tail(after).await
    }

    async fn append(&self, entries: &[Entry]) -> Result<Position> {
        self.log_append(entries).await
    }

    async fn state_page(&self, cursor: Option<String>) -> Result<StatePage> {
        self.log_state_page(cursor).await
    }

    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        self.directory_read(keys).await
    }

    async fn holders(&self, tenant: &TenantId, names: &[Unique]) -> Result<Vec<Option<String>>> {
        self.directory_holders(tenant, names).await
    }

    async fn write(&self, change: &Change) -> Result<Written> {
        self.directory_write(change).await
    }

    async fn remembered(&self, tenant: &TenantId, request: [u8; 16], now: Time) -> Result<Option<([u8; 16], String)>> {
        self.directory_remembered(tenant, request, now).await
    }

    async fn settle(&self, key: &RecordKey, version: u64) -> Result<()> {
        self.directory_settle(key, version).await
    }

    async fn list(&self, index: &Index, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        self.directory_list(index, after, limit).await
    }

    async fn rows(&self, index: &Index, kind: Kind, after: Option<&str>, limit: usize) -> Result<Vec<Row>> {
        self.directory_rows(index, kind, after, limit).await
    }

    async fn mint(&self, mint: &Mint) -> Result<Minted> {
        self.tokens_mint(mint).await
    }

    async fn token(&self, id: &TokenId) -> Result<Option<Bytes>> {
        let records = self.tokens_read(std::slice::from_ref(id)).await?;
        Ok(records.into_iter().next().flatten())
    }

    async fn tokens(&self, ids: &[TokenId]) -> Result<Vec<Option<Bytes>>> {
        self.tokens_read(ids).await
    }

    async fn family(&self, id: &FamilyId) -> Result<Option<FamilyRecord>> {
        self.tokens_family(id).await
    }

    async fn sessions(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Session>>> {
        self.tokens_sessions(sessions).await
    }

    async fn end_sessions(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Ended>>> {
        self.tokens_end_sessions(sessions).await
    }

    async fn subject_page(
        &self,
        subject: &SubjectKey,
        after: Option<&IndexEntry>,
        now: Time,
        limit: usize,
    ) -> Result<Vec<IndexEntry>> {
        self.tokens_of_subject(subject, after, now, limit).await
    }

    async fn ping(&self) -> Result<()> {
        self.connections.beat().await
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("connections", &self.connections).finish_non_exhaustive()
    }
}

/// When a script or command lets the server forget something: ms, or nothing for never.
fn expiry(time: Time) -> String {
    if time.is_never() { String::new() } else { time.as_millis().to_string() }
}

//! The store on a Redis or Valkey server: what several replicas of the service share.
//!
//! Promises what [`Store`](super::Store) does; a mutation is durable when the server has it in its append-only file and as many replicas
//! as are to be waited for have it, too. Every call ends within a second, and a server that comes back is used again
//! without a restart.
//!
//! Invariant: knows records as bytes. Each change is one Lua script on the keys of one hash tag; scripts of one call are
//! sent together. Nothing here reads a clock: the log's is the server's, all others are passed in.
//!
//! Start reading at [`scripts`] and the `.lua` files (what happens on the server), then [`connection`],
//! then the ports: [`log`], [`records`], [`tokens`].

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use jeton_core::{Time, secret::SecretText};
use redis::Cmd;

pub use self::address::Tls;
use self::connection::{Confirm, Connections, Wait, pipeline};
use super::Health;
use crate::storage::{Error, Result};

mod address;
mod answer;
mod connection;
mod keys;
mod log;
mod records;
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
impl Health for Redis {
    async fn ping(&self) -> Result<()> {
        self.connections.beat().await
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
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

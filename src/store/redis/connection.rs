//! Connections to the server: one per worker, one pipeline per call, a bound on every wait.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use jeton_core::secret::SecretText;
use parking_lot::Mutex;
use redis::{
    Client, Cmd, ErrorKind, Pipeline, RedisError, ServerError, ServerErrorKind, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::time::Instant;

use super::{
    address::{self, Tls},
    scripts,
};
use crate::{
    storage::{Error, Result},
    worker::PerWorker,
};

/// How long one call waits for the server in all: the call must be answered within a second, of which the rest is for its other work.
const DEADLINE: Duration = Duration::from_millis(850);
/// How long one attempt to connect may take. More than one fits into [`DEADLINE`].
const CONNECT: Duration = Duration::from_millis(400);
/// Attempts to connect after the first, about 50 and 100 ms apart: a restarting server is back by then, or it is down.
const RETRIES: usize = 2;
/// The longest that WAIT may block the connection, so that its answer arrives within [`DEADLINE`].
const LONGEST_WAIT: Duration = Duration::from_millis(600);
/// Calls that may queue for a connection's writer before they have to wait for a place.
const QUEUE: usize = 1024;
/// The key that a beat writes. It tests the node, so one key serves every tag of a standalone server.
const BEAT: &str = "j:{log}:beat";

/// The connections of all workers.
pub struct Connections {
    client: Client,
    /// A worker's connection lives on the worker's own runtime, so each makes its own when it first needs one.
    links: PerWorker<Mutex<Option<Link>>>,
    /// Tells one link from the next.
    generation: AtomicU64,
    wait: Option<Wait>,
}

/// For how many replicas a durable write waits, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    replicas: u32,
    timeout: Duration,
}

#[derive(Clone)]
struct Link {
    generation: u64,
    manager: ConnectionManager,
}

/// Whether an answer counts only when enough replicas have followed up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    Yes,
    No,
}

/// Why the server did not do what was asked. Its text never contains what was sent.
#[derive(Debug)]
enum Failure {
    /// No answer within [`DEADLINE`].
    Deadline,
    /// The connection could not be made, or broke.
    Connection(String),
    /// The server refused.
    Refused { code: String, detail: String },
    /// Too few replicas have it.
    Replicas { reached: i64, wanted: u32 },
    /// The server answered something else than was asked.
    Answer,
}

// === impl Connections ===

impl Connections {
    pub fn new(url: &SecretText, tls: &Tls, workers: usize, wait: Option<Wait>) -> Result<Self> {
        Ok(Self {
            client: address::client(url, tls)?,
            links: PerWorker::new(workers, |_| Mutex::default()),
            generation: AtomicU64::new(0),
            wait,
        })
    }

    /// Sends commands together and returns their answers. Any refusal is an error.
    ///
    /// Dropping the future does not take the commands back: each of them is complete by itself.
    pub async fn send(&self, attempted: &'static str, commands: Pipeline, confirm: Confirm) -> Result<Vec<Value>> {
        self.send_by(deadline(), attempted, commands, confirm).await
    }

    /// The same for a call that sends more than once: one deadline counts for all of it.
    pub async fn send_by(
        &self,
        deadline: Instant,
        attempted: &'static str,
        commands: Pipeline,
        confirm: Confirm,
    ) -> Result<Vec<Value>> {
        let link = self.link(attempted)?;
        let exchange = self.exchange(link.manager, commands, confirm);
        let failure = match tokio::time::timeout_at(deadline, exchange).await {
            Ok(Ok(answers)) => return Ok(answers),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Deadline,
        };
        if matches!(failure, Failure::Deadline | Failure::Connection(_)) {
            self.forget(link.generation);
        }
        Err(Error::unavailable(attempted, failure))
    }

    /// Sends one command and returns its answer.
    pub async fn ask(&self, attempted: &'static str, command: Cmd, confirm: Confirm) -> Result<Value> {
        let answers = self.send(attempted, pipeline([command]), confirm).await?;
        answers.into_iter().next().ok_or_else(|| Error::unavailable(attempted, Failure::Answer))
    }

    /// Tests whether the server can be reached and written, also while its memory is full. What it writes has no meaning.
    pub async fn beat(&self) -> Result<()> {
        self.ask("write to the Redis server", scripts::BEAT.on(&[BEAT]), Confirm::Yes).await?;
        Ok(())
    }

    async fn exchange(
        &self,
        mut manager: ConnectionManager,
        commands: Pipeline,
        confirm: Confirm,
    ) -> Result<Vec<Value>, Failure> {
        let wait = self.wait.filter(|_| confirm == Confirm::Yes);
        let count = commands.len();
        let mut sent = commands;
        let mut answers = roundtrip(&mut manager, &mut sent, wait).await?;

        // The cache of scripts is lost in a restart or failover. A script that is not there has done nothing.
        let lost: Vec<usize> = (0..answers.len()).filter(|i| answers.get(*i).is_some_and(is_unknown_script)).collect();
        if !lost.is_empty() {
            let calls: Vec<&Cmd> = sent.cmd_iter().collect();
            let again = lost.iter().filter_map(|i| calls.get(*i).and_then(|call| scripts::with_text(call)));
            let mut again = pipeline(again);
            // The first WAIT, if there was one, has waited for less than all.
            let mut texts = roundtrip(&mut manager, &mut again, wait).await?;
            for (i, answer) in lost.into_iter().zip(texts.drain(..)) {
                if let Some(place) = answers.get_mut(i) {
                    *place = answer;
                }
            }
        }
        let mut answers = answers.into_iter().map(accepted).collect::<Result<Vec<_>, _>>()?;
        answers.truncate(count);
        Ok(answers)
    }

    fn link(&self, attempted: &'static str) -> Result<Link> {
        let mut mine = self.links.mine().lock();
        if let Some(link) = &*mine {
            return Ok(link.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            // `send` bounds the whole call.
            .set_response_timeout(None)
            .set_number_of_retries(RETRIES)
            .set_min_delay(Duration::from_millis(50))
            .set_pipeline_buffer_size(QUEUE);
        let manager = ConnectionManager::new_lazy_with_config(self.client.clone(), config)
            .map_err(|error| Error::unavailable(attempted, Failure::from(error)))?;
        let link = Link { generation: self.generation.fetch_add(1, Ordering::Relaxed), manager };
        *mine = Some(link.clone());
        Ok(link)
    }

    /// The next call makes a new connection. The manager would mend most by itself, but not a link on which sent data is
    /// lost, nor a login that failed once. Calls in flight keep the old one to their end.
    fn forget(&self, generation: u64) {
        let mut mine = self.links.mine().lock();
        if mine.as_ref().is_some_and(|link| link.generation == generation) {
            *mine = None;
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("wait", &self.wait).finish_non_exhaustive()
    }
}

/// When a call that begins now must have its answer.
pub fn deadline() -> Instant {
    Instant::now() + DEADLINE
}

/// Commands to send together.
pub fn pipeline(commands: impl IntoIterator<Item = Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline
}

/// Sends `commands`, with a beat and WAIT behind them on the same connection if replicas are to be waited for. The
/// beat's answer is the last one.
async fn roundtrip(
    manager: &mut ConnectionManager,
    commands: &mut Pipeline,
    wait: Option<Wait>,
) -> Result<Vec<Value>, Failure> {
    if let Some(wait) = wait {
        // Also behind commands that write: one that finds its work done writes nothing, and WAIT counts only what this
        // connection has written.
        commands.add_command(scripts::BEAT.on(&[BEAT]));
        commands.cmd("WAIT").arg(wait.replicas).arg(u64::try_from(wait.timeout.as_millis()).unwrap_or(u64::MAX));
    }
    let count = commands.len();
    let mut answers = manager.send_packed_commands(commands, 0, count).await?;
    if answers.len() != count {
        return Err(Failure::Answer);
    }
    let Some(wait) = wait else {
        return Ok(answers);
    };
    let reached = answers.pop();
    if answers.iter().any(|answer| matches!(answer, Value::ServerError(_))) {
        // This error says more than a failed WAIT, and an unknown script is sent again with a WAIT of its own.
        return Ok(answers);
    }
    match reached {
        Some(Value::Int(reached)) if reached >= i64::from(wait.replicas) => Ok(answers),
        Some(Value::Int(reached)) => Err(Failure::Replicas { reached, wanted: wait.replicas }),
        Some(other) => Err(accepted(other).err().unwrap_or(Failure::Answer)),
        None => Err(Failure::Answer),
    }
}

fn is_unknown_script(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}

fn accepted(answer: Value) -> Result<Value, Failure> {
    if let Value::ServerError(error) = &answer { Err(error.into()) } else { Ok(answer) }
}

// === impl Wait ===

impl Wait {
    /// For so many replicas; none are not waited for.
    pub fn new(replicas: u32, timeout: Duration) -> Option<Self> {
        // A timeout of 0 would mean for ever.
        (replicas > 0).then(|| Self { replicas, timeout: timeout.clamp(Duration::from_millis(1), LONGEST_WAIT) })
    }
}

// === impl Failure ===

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        // Only the system's errors are sure to repeat nothing of what was sent or configured.
        let system = error.kind() == ErrorKind::Io;
        Self::Connection(if system { error.to_string() } else { error.category().to_owned() })
    }
}

impl From<&ServerError> for Failure {
    fn from(error: &ServerError) -> Self {
        // The one detail that repeats what was sent is that of an unknown (renamed, forbidden) command.
        let detail = error.details().unwrap_or_default();
        let detail = detail.split(", with args").next().unwrap_or_default();
        Self::Refused { code: error.code().to_owned(), detail: detail.to_owned() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline => f.write_str("no answer from Redis in time"),
            Self::Connection(why) => write!(f, "connection to Redis: {why}"),
            Self::Refused { code, detail } => write!(f, "Redis refused: {code} {detail}"),
            Self::Replicas { reached, wanted } => write!(f, "{reached} of {wanted} replicas have confirmed"),
            Self::Answer => f.write_str("Redis answered something else than was asked"),
        }
    }
}

impl std::error::Error for Failure {}

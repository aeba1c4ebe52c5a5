//! The load client: so many connections with so many calls in flight on each, in blocks that take turns.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use jeton::api::wire;
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::Instant};
use tonic::metadata::{Ascii, MetadataValue};

use super::{
    Result,
    message::{Client, Message, connect},
};

/// How many calls at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) connections: usize,
    pub(super) in_flight: usize,
}

/// What is sent in blocks.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) bearer: Option<MetadataValue<Ascii>>,
    pub(super) source: Source,
}

/// Where the next request comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// The same ones in turn, again and again.
    Cycle(Vec<Message>, AtomicUsize),
    /// Each one once, as long as there are any.
    Once(Mutex<Vec<Message>>),
    /// Refresh tokens, each replaced by its successor.
    Renewals { client: (String, String), tokens: Mutex<VecDeque<String>> },
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Service,
    /// Replies are none: nothing is used up and nothing is learnt.
    Echo,
}

/// When a block ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    Time(Duration),
    Calls(usize),
}

/// What a block has seen.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) elapsed: Duration,
    /// Nanoseconds per call.
    pub(super) latency: Histogram<u64>,
}

// === impl Shape ===

impl Shape {
    pub(super) const WIDE: Self = Self { connections: 4, in_flight: 16 };
    pub(super) const SINGLE: Self = Self { connections: 1, in_flight: 1 };
    /// For messages of half a megabyte.
    pub(super) const BULKY: Self = Self { connections: 4, in_flight: 2 };

    /// Clients on as many connections.
    pub(super) async fn connect(self, address: &str) -> Result<Vec<Client>> {
        let mut clients = Vec::new();
        for _ in 0..self.connections {
            clients.push(connect(address).await?);
        }
        Ok(clients)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×{}", self.connections, self.in_flight)
    }
}

// === impl Work ===

impl Work {
    pub(super) fn cycle(bearer: Option<MetadataValue<Ascii>>, messages: Vec<Message>) -> Arc<Self> {
        Arc::new(Self { bearer, source: Source::Cycle(messages, AtomicUsize::new(0)) })
    }

    pub(super) fn once(bearer: Option<MetadataValue<Ascii>>, messages: Vec<Message>) -> Arc<Self> {
        Arc::new(Self { bearer, source: Source::Once(Mutex::new(messages)) })
    }

    pub(super) fn renewals(client: (String, String), tokens: Vec<String>) -> Arc<Self> {
        Arc::new(Self { bearer: None, source: Source::Renewals { client, tokens: Mutex::new(tokens.into()) } })
    }

    fn next(&self, side: Side) -> Option<Message> {
        match &self.source {
            Source::Cycle(messages, at) => {
                messages.get(at.fetch_add(1, Ordering::Relaxed) % messages.len().max(1)).cloned()
            }
            Source::Once(messages) => match side {
                Side::Service => messages.lock().pop(),
                Side::Echo => messages.lock().first().cloned(),
            },
            Source::Renewals { client, tokens } => {
                let refresh_token = tokens.lock().pop_front()?;
                let (client_id, client_secret) = client.clone();
                Some(Message::Renew(wire::RenewTokenRequest {
                    client_id,
                    client_secret,
                    refresh_token,
                    ..Default::default()
                }))
            }
        }
    }

    async fn one(&self, client: &mut Client, side: Side) -> Result<bool> {
        let Some(message) = self.next(side) else { return Ok(false) };
        let presented =
            if let Message::Renew(message) = &message { message.refresh_token.clone() } else { String::new() };
        let renewed = message.fire(client, self.bearer.as_ref()).await?;
        if let (Source::Renewals { tokens, .. }, Some(renewed)) = (&self.source, renewed) {
            tokens.lock().push_back(if side == Side::Service { renewed } else { presented });
        }
        Ok(true)
    }

    /// Makes one call to the service, so that the echo has a reply to give: written into `dir`.
    pub(super) async fn record(&self, client: &mut Client, dir: &Path) -> Result<()> {
        let message = self.next(Side::Service).ok_or("there is nothing to send")?;
        let reply = message.send(client, self.bearer.as_ref()).await?;
        if let Source::Renewals { tokens, .. } = &self.source {
            tokens.lock().push_back(reply.refresh_token);
        }
        std::fs::write(dir.join(reply.method), reply.bytes)?;
        Ok(())
    }
}

// === blocks ===

/// Sends calls until the block is over.
pub(super) async fn block(
    clients: &[Client],
    in_flight: usize,
    work: &Arc<Work>,
    side: Side,
    until: Until,
) -> Result<Block> {
    let started = Instant::now();
    let left = Arc::new(AtomicUsize::new(match until {
        Until::Calls(calls) => calls,
        Until::Time(_) => usize::MAX,
    }));
    let mut lanes = JoinSet::new();
    for client in clients {
        for _ in 0..in_flight {
            let (mut client, work, left) = (client.clone(), Arc::clone(work), Arc::clone(&left));
            lanes.spawn(async move {
                let mut latency = Histogram::<u64>::new(3)?;
                loop {
                    let over = match until {
                        Until::Time(time) => started.elapsed() >= time,
                        Until::Calls(_) => {
                            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
                        }
                    };
                    if over {
                        return Ok::<_, super::Failure>(latency);
                    }
                    let sent = Instant::now();
                    if !work.one(&mut client, side).await? {
                        return Ok(latency);
                    }
                    latency.record(u64::try_from(sent.elapsed().as_nanos())?)?;
                }
            });
        }
    }
    let mut latency = Histogram::new(3)?;
    while let Some(lane) = lanes.join_next().await {
        latency.add(lane??)?;
    }
    Ok(Block { elapsed: started.elapsed(), latency })
}

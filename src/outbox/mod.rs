//! The outbox: events for the platform, delivered by webhook, at least once.
//!
//! An event is written in the same atomic change as what it is about, into the directory of `system`, so it is lost
//! only with the change itself. Every replica looks for events that are due; who moves an event's `due` first delivers
//! it, and if it dies meanwhile another one does once that time has come. Receivers know a repeat by its `webhook-id`.
//!
//! Invariant: knows neither members nor tokens; a code that an event carries is made when it is sent and never stored.
//! Start reading at [`Outbox::deliver_due`].

mod event;
pub mod webhook;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use jeton_core::TenantId;
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::event::{Event, What};
use self::{
    event::{index, read_row},
    webhook::{SigningSecret, sign},
};
use crate::{
    ambient::Clock,
    error::chain,
    keys::ring::Keyring,
    metrics::{Event as Counted, Metrics, labels::Delivery},
    outbound,
    outbound::{Outbound, Url},
    storage,
    store::{Change, Kind, RecordKey, Records, Written},
};

/// Delivers events.
pub struct Outbox {
    store: Arc<dyn Records>,
    ring: Arc<Keyring>,
    clock: Clock,
    sink: Sink,
    /// An event was written here.
    written: Notify,
    metrics: Arc<Metrics>,
    /// For how long the next event had been due when it was last looked for, in milliseconds.
    overdue_ms: AtomicU64,
}

/// Where events go.
#[derive(Debug)]
pub enum Sink {
    /// Nowhere: nothing that needs an event can be done.
    Closed,
    /// Into the log, codes and all. For development.
    Log,
    Webhook {
        to: Arc<Outbound>,
        url: Url,
        secrets: Vec<SigningSecret>,
    },
}

/// Why a delivery failed.
#[derive(Debug)]
enum Failed {
    /// The receiver answered with this status.
    Status(u16),
    Outbound(outbound::Error),
    /// The key that made the event's code is gone.
    CodeLost,
}

/// How often a replica looks for events that others have written, or failed to deliver.
const PERIOD: Duration = Duration::from_secs(1);
/// How long an attempt belongs to the replica that began it. Longer than a request may take.
const LEASE: Duration = Duration::from_secs(30);
/// How many events are delivered at a time.
const AT_ONCE: usize = 16;

// === impl Outbox ===

impl Outbox {
    pub fn new(
        store: Arc<dyn Records>,
        ring: Arc<Keyring>,
        clock: Clock,
        sink: Sink,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self { store, ring, clock, sink, written: Notify::new(), metrics, overdue_ms: AtomicU64::new(0) })
    }

    /// For how long the next event had been due when it was last looked for: deliveries fall behind if this grows.
    pub fn lag(&self) -> Duration {
        Duration::from_millis(self.overdue_ms.load(Ordering::Relaxed))
    }

    /// Whether events go anywhere.
    pub const fn is_open(&self) -> bool {
        !matches!(self.sink, Sink::Closed)
    }

    /// An event was written: deliver it now.
    pub fn written(&self) {
        self.written.notify_one();
    }

    /// Delivers until it is asked to stop. What is under way then is finished.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        if !self.is_open() {
            return;
        }
        loop {
            let pause = match self.deliver_due().await {
                Ok(more) if more => Duration::ZERO,
                Ok(_) => PERIOD,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "looking for events to deliver failed");
                    PERIOD
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.written.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Delivers what is due, as many as go at a time. Returns whether there may be more.
    pub async fn deliver_due(self: &Arc<Self>) -> storage::Result<bool> {
        let rows = self.store.list(&index(), None, AT_ONCE).await?;
        let now = self.clock.now();
        // The list is in the order of time.
        let overdue = rows.first().and_then(|row| read_row(row)).map_or(Duration::ZERO, |(due, _)| now.since(due));
        self.overdue_ms.store(u64::try_from(overdue.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let mut deliveries = JoinSet::new();
        for row in rows {
            match read_row(&row) {
                Some((due, _)) if due > now => break,
                Some((_, id)) => {
                    let (outbox, id) = (Arc::clone(self), id.to_owned());
                    deliveries.spawn(async move { outbox.attend(&row, &id).await });
                }
                None => return Err(storage::Error::corrupt("a row of the list of events")),
            }
        }
        let more = deliveries.len() == AT_ONCE;
        while let Some(done) = deliveries.join_next().await {
            // A delivery that panicked is tried again when its lease is over.
            if let Ok(done) = done {
                done?;
            }
        }
        Ok(more)
    }

    /// Makes one attempt at the event of a row, if nobody else does.
    async fn attend(&self, row: &str, id: &str) -> storage::Result<()> {
        let key = RecordKey { tenant: TenantId::system(), kind: Kind::Event, id: id.to_owned() };
        let record = self.store.read(&[key]).await?.pop().flatten();
        let now = self.clock.now();
        let mut change = Change::new(TenantId::system(), now);
        let Some(record) = record else {
            // The event was over before it could be delivered, and its record is gone.
            change.unindex.push((index(), row.to_owned()));
            self.store.write(&change).await?;
            self.metrics.count(Counted::Delivered(Delivery::Expired));
            tracing::warn!(event = id, "an event was not delivered in time");
            return Ok(());
        };
        let event: Event =
            minicbor::decode(&record.body).map_err(|error| storage::Error::corrupt(error.to_string()))?;
        if event.due > now {
            // Another replica has moved it on since the list was read.
            return Ok(());
        }
        if event.until <= now {
            event.remove(record.version, &mut change);
            if self.store.write(&change).await? == Written::Done {
                self.metrics.count(Counted::Delivered(Delivery::Expired));
                tracing::warn!(event = id, attempts = event.attempts, "an event was not delivered in time");
            }
            return Ok(());
        }
        let event = event.attempted().postpone(record.version, now.plus(LEASE), &mut change);
        if self.store.write(&change).await? != Written::Done {
            return Ok(());
        }
        let sent = self.send(&event).await;
        let now = self.clock.now();
        let mut change = Change::new(TenantId::system(), now);
        match sent {
            Ok(()) => {
                self.metrics.count(Counted::Delivered(Delivery::Delivered));
                event.remove(record.version + 1, &mut change);
            }
            Err(failed) => {
                self.metrics.count(Counted::Delivered(Delivery::Failed));
                let pause = event.pause();
                tracing::warn!(
                    event = id,
                    attempts = event.attempts,
                    pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                    error = chain(&failed),
                    "delivering an event failed"
                );
                event.postpone(record.version + 1, now.plus(pause), &mut change);
            }
        }
        // Another replica that took it over after the lease has the last word.
        self.store.write(&change).await?;
        Ok(())
    }

    async fn send(&self, event: &Event) -> Result<(), Failed> {
        let (id, timestamp) = (event.id(), self.clock.now().as_secs());
        let body = event.body(&*self.ring).ok_or(Failed::CodeLost)?;
        match &self.sink {
            Sink::Closed => Ok(()),
            Sink::Log => {
                let body = String::from_utf8_lossy(&body);
                tracing::warn!(event = id, %body, "an event for development, with its secrets");
                Ok(())
            }
            Sink::Webhook { to, url, secrets } => {
                let headers = headers(&id, timestamp, sign(secrets, &id, timestamp, &body));
                let answer = to.post(url, headers, body, to.deadline()).await.map_err(Failed::Outbound)?;
                if answer.status().is_success() { Ok(()) } else { Err(Failed::Status(answer.status().as_u16())) }
            }
        }
    }
}

/// The headers of a delivery.
fn headers(id: &str, timestamp: u64, signature: String) -> HeaderMap {
    let values =
        [("webhook-id", id.to_owned()), ("webhook-timestamp", timestamp.to_string()), ("webhook-signature", signature)];
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in values {
        // They are made of base62, base64 and digits.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    headers
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("sink", &self.sink).finish_non_exhaustive()
    }
}

// === impl Failed ===

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the receiver answered {status}"),
            Self::Outbound(_) => f.write_str("reach the receiver"),
            Self::CodeLost => f.write_str("the master key that made the event's code is not configured"),
        }
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Outbound(error) => Some(error),
            Self::Status(_) | Self::CodeLost => None,
        }
    }
}

//! Key sets of others, by URL, kept for a while.
//!
//! Promises: one fetch of a URL at a time; a stranger's tokens with made-up key ids cause no more than one fetch in
//! [`COOL_DOWN`]; a provider that is down costs nobody a wait as long as its last keys may be used.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{
    Error, MAX_BODY_BYTES, Outbound, Url, host,
    key_set::{Fault, KeySet},
};
use crate::{
    ambient::{Clock, Time},
    token::error::chain,
};

/// Remembers key sets.
pub struct JwksCache {
    outbound: Arc<Outbound>,
    clock: Clock,
    /// Fetches, which go on when those who wait for them have gone.
    tasks: TaskTracker,
    sources: quick_cache::sync::Cache<String, Arc<Source>>,
}

/// What came of a fetch. All who waited for it share it.
pub type Outcome = Result<Arc<KeySet>, Arc<Error>>;

/// How long a set is fresh if its source does not say.
pub const FRESH: Duration = Duration::from_secs(600);
/// The least and the most that a source may say.
pub const MIN_FRESH: Duration = Duration::from_secs(60);
pub const MAX_FRESH: Duration = Duration::from_secs(3600);
/// How long the last set is used while the source fails.
pub const MAX_STALE: Duration = Duration::from_secs(86_400);
/// How long after the begin of a fetch an unknown key, or a failure, causes no other one.
pub const COOL_DOWN: Duration = Duration::from_secs(30);
/// The same while there is no set at all, and every call fails.
pub const EMPTY_COOL_DOWN: Duration = Duration::from_secs(5);
/// Sources that are remembered; the ones that are used least go first.
pub const MAX_SOURCES: usize = 1000;

/// One URL.
#[derive(Debug, Default)]
struct Source(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// Why the last fetch failed, if it did.
    failure: Option<Arc<Error>>,
    /// When the last fetch began.
    began: Option<Time>,
    /// The fetch that is under way.
    flight: Option<Flight>,
}

#[derive(Debug)]
struct Held {
    keys: Arc<KeySet>,
    fetched: Time,
    fresh_until: Time,
}

type Flight = watch::Receiver<Option<Outcome>>;

/// What to do about a question.
enum Next {
    Answer(Outcome),
    Wait(Flight),
    Fetch(watch::Sender<Option<Outcome>>, Flight),
}

// === impl JwksCache ===

impl JwksCache {
    pub fn new(outbound: Arc<Outbound>, clock: Clock, tasks: TaskTracker) -> Self {
        Self { outbound, clock, tasks, sources: quick_cache::sync::Cache::new(MAX_SOURCES) }
    }

    /// The keys at `url`: fresh ones, and fetched anew if they have none called `kid`. It may still be missing.
    ///
    /// Waits for a fetch at most as long as one call may take; may be dropped at any time.
    ///
    /// # Errors
    /// Of the last fetch, if there are no keys of the last [`MAX_STALE`].
    pub async fn keys(&self, url: &Url, kid: Option<&str>) -> Outcome {
        let Ok(source) = self.sources.get_or_insert_with(url.as_str(), || Ok::<_, Infallible>(Arc::default()));
        let next = source.0.lock().next(self.clock.now(), kid);
        let mut flight = match next {
            Next::Answer(outcome) => return outcome,
            Next::Wait(flight) => flight,
            Next::Fetch(landed, flight) => {
                self.fetch(url.clone(), source, landed);
                flight
            }
        };
        match flight.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(broken_off(url))),
            Err(_) => Err(broken_off(url)),
        }
    }

    /// Fetches in a task of its own: a caller who goes away must not undo what others wait for, nor begin another fetch
    /// by coming again.
    fn fetch(&self, url: Url, source: Arc<Source>, landed: watch::Sender<Option<Outcome>>) {
        let (outbound, clock) = (Arc::clone(&self.outbound), self.clock.clone());
        self.tasks.spawn(async move {
            let fetched = outbound.get_json::<Value>(&url, MAX_BODY_BYTES, outbound.deadline()).await;
            let keys = fetched.and_then(|document| match KeySet::parse(document.value) {
                Ok(keys) => Ok((keys, document.max_age)),
                Err(fault) => Err(unreadable(&url, fault)),
            });
            let outcome = source.0.lock().land(clock.now(), keys);
            // Nobody may be waiting any more.
            let _ = landed.send(Some(outcome));
        });
    }
}

impl fmt::Debug for JwksCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksCache").field("sources", &self.sources.len()).finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    fn next(&mut self, now: Time, kid: Option<&str>) -> Next {
        let usable = self.held.as_ref().filter(|held| now.since(held.fetched) < MAX_STALE);
        if let Some(held) = usable
            && now < held.fresh_until
            && kid.is_none_or(|kid| held.keys.knows(kid))
        {
            return Next::Answer(Ok(Arc::clone(&held.keys)));
        }
        // One whose task is gone, as at the end of the process, will not land.
        if let Some(flight) = self.flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            return Next::Wait(flight.clone());
        }
        let cool_down = if usable.is_some() { COOL_DOWN } else { EMPTY_COOL_DOWN };
        if self.began.is_some_and(|began| now.since(began) < cool_down) {
            match (usable, &self.failure) {
                (Some(held), _) => return Next::Answer(Ok(Arc::clone(&held.keys))),
                (None, Some(failure)) => return Next::Answer(Err(Arc::clone(failure))),
                (None, None) => {}
            }
        }
        // Claimed before the fetch: who comes while it runs, or after it failed, does not begin another one.
        self.began = Some(now);
        let (landed, flight) = watch::channel(None);
        self.flight = Some(flight.clone());
        Next::Fetch(landed, flight)
    }

    /// Takes what was fetched, or keeps what there is.
    fn land(&mut self, now: Time, fetched: Result<(KeySet, Option<Duration>), Error>) -> Outcome {
        self.flight = None;
        match fetched {
            Ok((keys, max_age)) => {
                let keys = Arc::new(keys);
                let fresh = max_age.unwrap_or(FRESH).clamp(MIN_FRESH, MAX_FRESH);
                self.held = Some(Held { keys: Arc::clone(&keys), fetched: now, fresh_until: now.plus(fresh) });
                self.failure = None;
                Ok(keys)
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "fetching a key set failed");
                let error = Arc::new(error);
                self.failure = Some(Arc::clone(&error));
                match self.held.as_ref().filter(|held| now.since(held.fetched) < MAX_STALE) {
                    Some(held) => Ok(Arc::clone(&held.keys)),
                    None => Err(error),
                }
            }
        }
    }
}

fn unreadable(url: &Url, fault: Fault) -> Error {
    Error::Unreadable { host: host(url).to_owned(), why: fault.text(), source: None }
}

fn broken_off(url: &Url) -> Arc<Error> {
    let source = "the process ends".into();
    Arc::new(Error::Unreachable { host: host(url).to_owned(), source })
}

//! JSON documents of other services, cached by URL.
//!
//! Promises: one fetch of a URL at a time; lookups that a document cannot answer cause at most one fetch in [`COOL_DOWN`];
//! while a source is down, callers do not wait for it as long as its last document may be used.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use jeton_core::Time;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{Error, MAX_BODY_BYTES, Outbound, Url, host};
use crate::{ambient::Clock, error::chain};

/// A cache of documents of one type.
pub struct Documents<T> {
    document_type: DocumentType<T>,
    outbound: Arc<Outbound>,
    clock: Clock,
    /// Fetches, which continue when their waiters are gone.
    tasks: TaskTracker,
    sources: quick_cache::sync::Cache<String, Arc<Source<T>>>,
}

/// How documents of a type are parsed and kept.
#[derive(Debug)]
pub struct DocumentType<T> {
    /// The name in the log.
    pub name: &'static str,
    /// How long one is fresh if its source does not say.
    pub fresh: Duration,
    /// Parses it, or returns what is wrong with it.
    pub parse: fn(Value) -> Result<T, &'static str>,
}

/// The result of a fetch, shared by all who waited for it.
pub type Outcome<T> = Result<Arc<T>, Arc<Error>>;

/// The least and the most time that a source may call its document fresh.
pub const MIN_FRESH: Duration = Duration::from_secs(60);
pub const MAX_FRESH: Duration = Duration::from_secs(3600);
/// How long the last document is used while the source fails.
pub const MAX_STALE: Duration = Duration::from_secs(86_400);
/// For how long after the begin of a fetch neither a missing entry nor a failure causes another one.
pub const COOL_DOWN: Duration = Duration::from_secs(30);
/// The same while there is no document at all, and every call fails.
pub const EMPTY_COOL_DOWN: Duration = Duration::from_secs(5);
/// Sources of one type that are cached; the least used are evicted first.
pub const MAX_SOURCES: usize = 1000;

/// One URL.
struct Source<T>(Mutex<State<T>>);

struct State<T> {
    held: Option<Held<T>>,
    /// Why the last fetch failed, if it did.
    failure: Option<Arc<Error>>,
    /// When the last fetch began.
    began: Option<Time>,
    /// The fetch that is under way.
    flight: Option<Flight<T>>,
}

struct Held<T> {
    document: Arc<T>,
    fetched: Time,
    fresh_until: Time,
}

type Flight<T> = watch::Receiver<Option<Outcome<T>>>;
type Landing<T> = watch::Sender<Option<Outcome<T>>>;

/// What to do about a question.
enum Next<T> {
    Answer(Outcome<T>),
    Wait(Flight<T>),
    Fetch(Landing<T>, Flight<T>),
}

// === impl Documents ===

impl<T: Send + Sync + 'static> Documents<T> {
    pub fn new(document_type: DocumentType<T>, outbound: Arc<Outbound>, clock: Clock, tasks: TaskTracker) -> Self {
        Self { document_type, outbound, clock, tasks, sources: quick_cache::sync::Cache::new(MAX_SOURCES) }
    }

    /// The document at `url`: a fresh one, fetched anew if it does not suffice. Even then it may not.
    ///
    /// Waits for a fetch at most as long as one call may take; may be dropped at any time.
    ///
    /// # Errors
    /// Of the last fetch, if there is no document of the last [`MAX_STALE`].
    pub async fn get(&self, url: &Url, suffices: impl Fn(&T) -> bool) -> Outcome<T> {
        let Ok(source) = self.sources.get_or_insert_with(url.as_str(), || Ok::<_, Infallible>(Arc::default()));
        let next = source.0.lock().next(self.clock.now(), suffices);
        let mut flight = match next {
            Next::Answer(outcome) => return outcome,
            Next::Wait(flight) => flight,
            Next::Fetch(landing, flight) => {
                self.fetch(url.clone(), source, landing);
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
    fn fetch(&self, url: Url, source: Arc<Source<T>>, landing: Landing<T>) {
        let (outbound, clock) = (Arc::clone(&self.outbound), self.clock.clone());
        let DocumentType { name, fresh, parse } = self.document_type;
        self.tasks.spawn(async move {
            let fetched = outbound.get_json::<Value>(&url, MAX_BODY_BYTES, outbound.deadline()).await;
            let fetched = fetched.and_then(|json| match parse(json.value) {
                Ok(document) => Ok((document, json.max_age.unwrap_or(fresh))),
                Err(why) => Err(Error::Unreadable { host: host(&url).to_owned(), why, source: None }),
            });
            if let Err(error) = &fetched {
                tracing::warn!(error = chain(error), "fetching {name} failed");
            }
            let outcome = source.0.lock().land(clock.now(), fetched);
            // Nobody may be waiting any more.
            let _ = landing.send(Some(outcome));
        });
    }
}

impl<T> fmt::Debug for Documents<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents").field("kind", &self.document_type.name).finish_non_exhaustive()
    }
}

// === impl State ===

impl<T> State<T> {
    fn next(&mut self, now: Time, suffices: impl Fn(&T) -> bool) -> Next<T> {
        let usable = self.held.as_ref().filter(|held| now.since(held.fetched) < MAX_STALE);
        if let Some(held) = usable
            && now < held.fresh_until
            && suffices(&held.document)
        {
            return Next::Answer(Ok(Arc::clone(&held.document)));
        }
        // One whose task is gone, as at the end of the process, will not land.
        if let Some(flight) = self.flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            return Next::Wait(flight.clone());
        }
        let cool_down = if usable.is_some() { COOL_DOWN } else { EMPTY_COOL_DOWN };
        if self.began.is_some_and(|began| now.since(began) < cool_down) {
            match (usable, &self.failure) {
                (Some(held), _) => return Next::Answer(Ok(Arc::clone(&held.document))),
                (None, Some(failure)) => return Next::Answer(Err(Arc::clone(failure))),
                (None, None) => {}
            }
        }
        // Claimed before the fetch: who comes while it runs, or after it failed, does not begin another one.
        self.began = Some(now);
        let (landing, flight) = watch::channel(None);
        self.flight = Some(flight.clone());
        Next::Fetch(landing, flight)
    }

    /// Takes what was fetched, and for how long it said to be fresh; or keeps what there is.
    fn land(&mut self, now: Time, fetched: Result<(T, Duration), Error>) -> Outcome<T> {
        self.flight = None;
        match fetched {
            Ok((document, fresh)) => {
                let document = Arc::new(document);
                let fresh_until = now.plus(fresh.clamp(MIN_FRESH, MAX_FRESH));
                self.held = Some(Held { document: Arc::clone(&document), fetched: now, fresh_until });
                self.failure = None;
                Ok(document)
            }
            Err(error) => {
                let error = Arc::new(error);
                self.failure = Some(Arc::clone(&error));
                match self.held.as_ref().filter(|held| now.since(held.fetched) < MAX_STALE) {
                    Some(held) => Ok(Arc::clone(&held.document)),
                    None => Err(error),
                }
            }
        }
    }
}

impl<T> Default for Source<T> {
    fn default() -> Self {
        Self(Mutex::new(State { held: None, failure: None, began: None, flight: None }))
    }
}

fn broken_off(url: &Url) -> Arc<Error> {
    Arc::new(Error::Unreachable { host: host(url).to_owned(), source: "the process ends".into() })
}

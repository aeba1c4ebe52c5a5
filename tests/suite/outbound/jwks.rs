//! Key sets that are kept.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jeton::{
    ambient::Clock,
    outbound::{
        Error,
        documents::{COOL_DOWN, EMPTY_COOL_DOWN, MAX_FRESH, MAX_STALE, MIN_FRESH},
        jwks::{FRESH, JwksCache},
    },
};
use jeton_core::Time;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::remote::{Remote, Reply, outbound};

const SECOND: Duration = Duration::from_secs(1);

/// A cache and the one source it asks.
struct Fixture {
    cache: Arc<JwksCache>,
    clock: Clock,
    remote: Remote,
    /// Whether the source fails.
    broken: Arc<AtomicBool>,
}

fn key(kid: &str) -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    })
}

fn keys() -> Reply {
    Reply::json(json!({"keys": [key("1")]}))
}

// === impl Fixture ===

impl Fixture {
    async fn start(reply: Reply) -> Self {
        let broken = Arc::<AtomicBool>::default();
        let fails = Arc::clone(&broken);
        let answer = move |_: &_| if fails.load(Ordering::SeqCst) { Reply::status(500) } else { reply.clone() };
        let remote = Remote::start(answer).await;
        let clock = Clock::manual(Time::from_secs(1_000_000));
        let cache = Arc::new(JwksCache::new(outbound(), clock.clone(), TaskTracker::new()));
        Self { cache, clock, remote, broken }
    }

    fn fail(&self, fails: bool) {
        self.broken.store(fails, Ordering::SeqCst);
    }

    /// Whether it has this key, or any.
    async fn has(&self, kid: Option<&str>) -> Result<bool, Arc<Error>> {
        let keys = self.cache.keys(&self.remote.url("/keys"), kid).await?;
        Ok(kid.map_or_else(|| keys.iter().count() > 0, |kid| keys.knows(kid)))
    }

    fn fetches(&self) -> usize {
        self.remote.count("/keys")
    }
}

#[tokio::test]
async fn a_set_is_fetched_once_while_it_is_fresh() {
    for (said, fresh) in [
        (None, FRESH),
        (Some("max-age=120"), Duration::from_secs(120)),
        (Some("max-age=1"), MIN_FRESH),
        (Some("no-store"), MIN_FRESH),
        (Some("max-age=31536000"), MAX_FRESH),
    ] {
        let reply = said.map_or_else(keys, |said| keys().with("cache-control", said));
        let fixture = Fixture::start(reply).await;
        for after in [Duration::ZERO, Duration::ZERO, fresh - SECOND] {
            fixture.clock.advance(after);
            assert!(fixture.has(Some("1")).await.unwrap() && fixture.has(None).await.unwrap());
        }
        assert_eq!(fixture.fetches(), 1, "{said:?}");
        fixture.clock.advance(SECOND);
        assert!(fixture.has(Some("1")).await.unwrap());
        assert_eq!(fixture.fetches(), 2, "{said:?}");
    }
}

#[tokio::test]
async fn all_who_ask_at_once_share_one_fetch() {
    let gate = Arc::new(Semaphore::new(0));
    let fixture = Arc::new(Fixture::start(Reply::After(Arc::clone(&gate), Box::new(keys()))).await);
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move { fixture.has(Some("1")).await.unwrap() })
        })
        .collect();
    while fixture.fetches() == 0 {
        tokio::task::yield_now().await;
    }
    // Enough for each of them, were there so many fetches.
    gate.add_permits(50);
    for asks in asking {
        assert!(asks.await.unwrap());
    }
    assert_eq!(fixture.fetches(), 1);
}

#[tokio::test]
async fn unknown_keys_cause_one_fetch_in_a_cool_down_and_cost_the_known_ones_nothing() {
    let fixture = Fixture::start(keys()).await;
    for (after, fetches) in
        [(Duration::ZERO, 1), (COOL_DOWN - SECOND, 1), (SECOND, 2), (Duration::ZERO, 2), (COOL_DOWN - SECOND, 2)]
    {
        fixture.clock.advance(after);
        for made_up in ["2", "3"] {
            assert!(!fixture.has(Some(made_up)).await.unwrap());
        }
        assert!(fixture.has(Some("1")).await.unwrap());
        assert_eq!(fixture.fetches(), fetches);
    }
    // A fetch that fails counts like another one, and takes no key away.
    fixture.clock.advance(COOL_DOWN);
    fixture.fail(true);
    for _ in 0..3 {
        assert!(!fixture.has(Some("2")).await.unwrap() && fixture.has(Some("1")).await.unwrap());
    }
    assert_eq!(fixture.fetches(), 3);
}

#[tokio::test]
async fn callers_who_go_away_neither_begin_fetches_nor_end_them() {
    let gate = Arc::new(Semaphore::new(1));
    let fixture = Arc::new(Fixture::start(Reply::After(Arc::clone(&gate), Box::new(keys()))).await);
    assert!(fixture.has(None).await.unwrap());
    fixture.clock.advance(COOL_DOWN);
    for _ in 0..3 {
        let goes_away = Arc::clone(&fixture);
        let asks = tokio::spawn(async move { goes_away.has(Some("2")).await });
        while fixture.fetches() < 2 {
            tokio::task::yield_now().await;
        }
        asks.abort();
        assert!(asks.await.unwrap_err().is_cancelled());
    }
    assert_eq!(fixture.fetches(), 2);
    let asks = Arc::clone(&fixture);
    let asks = tokio::spawn(async move { asks.has(Some("2")).await });
    gate.add_permits(1);
    assert!(!asks.await.unwrap().unwrap());
    assert_eq!(fixture.fetches(), 2);
}

#[tokio::test]
async fn the_last_keys_are_used_for_a_day_while_their_source_fails() {
    let fixture = Fixture::start(keys()).await;
    assert!(fixture.has(None).await.unwrap());
    fixture.fail(true);
    fixture.clock.advance(MAX_STALE - SECOND);
    for _ in 0..3 {
        assert!(fixture.has(Some("1")).await.unwrap());
    }
    assert_eq!(fixture.fetches(), 2, "the next call does not wait for what just failed");
    fixture.clock.advance(SECOND);
    let error = fixture.has(Some("1")).await.unwrap_err();
    assert!(matches!(*error, Error::Refused { status: 500, .. }), "{error:?}");
    fixture.fail(false);
    fixture.clock.advance(EMPTY_COOL_DOWN);
    assert!(fixture.has(Some("1")).await.unwrap());
}

#[tokio::test]
async fn without_any_keys_a_failure_is_returned_until_its_cool_down_is_over() {
    let fixture = Fixture::start(keys()).await;
    fixture.fail(true);
    for _ in 0..3 {
        assert!(fixture.has(Some("1")).await.is_err());
    }
    assert_eq!(fixture.fetches(), 1);
    fixture.fail(false);
    fixture.clock.advance(EMPTY_COOL_DOWN);
    assert!(fixture.has(Some("1")).await.unwrap());
}

#[tokio::test]
async fn a_hostile_source_is_an_error_of_its_own() {
    let many: Vec<Value> = (0..101).map(|number| key(&number.to_string())).collect();
    for reply in [
        Reply::json(json!({ "keys": many })),
        Reply::json(json!({"keys": 5})),
        Reply::json(json!({"keys": [], "x": "x".repeat(64 * 1024)})),
        Reply::Endless,
        Reply::redirect("http://169.254.169.254/"),
    ] {
        let fixture = Fixture::start(reply.clone()).await;
        let good = Remote::start(|_| keys()).await;
        assert!(fixture.has(None).await.is_err(), "{reply:?}");
        assert!(fixture.cache.keys(&good.url("/keys"), Some("1")).await.unwrap().knows("1"));
    }
}

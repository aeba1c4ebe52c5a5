//! The embedded store: the suite, and what it promises beyond.

use std::{os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};

use jeton::{
    ambient::{Clock, Fresh as _},
    revocation::log::LOG_RETENTION,
    storage::Error,
    store::{
        Change, Existing, Mint, PRUNE_MARGIN, Put, Request, Store, Written,
        embedded::{Embedded, Options},
    },
};
use jeton_core::{FamilyId, Position, Time, entry::Entry};
use tempfile::TempDir;

use super::{
    Fresh, HOUR, MINUTE, account, body, change, conformance,
    directory::record,
    done, entry, family, index, key,
    log::{client, family as family_ident, follow, head, slots},
    name, now, put, request, session, session_key, tenant, token,
};

mod in_groups {
    use super::*;

    conformance!(fresh);

    async fn fresh() -> Fresh {
        super::fresh(Options::default())
    }
}

mod one_by_one {
    use super::*;

    conformance!(fresh);

    async fn fresh() -> Fresh {
        super::fresh(Options { max_batch: 1 })
    }
}

fn fresh(options: Options) -> Fresh {
    let place = Place::new();
    let store = Embedded::open(&place.file(), Clock::default(), options).unwrap();
    Fresh { store, keep: Box::new(place) }
}

/// Where a store lies while it is closed and opened again.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn open(&self, clock: &Clock) -> Arc<dyn Store> {
        Embedded::open(&self.file(), clock.clone(), Options::default()).unwrap()
    }

    fn refusal(&self) -> Error {
        Embedded::open(&self.file(), Clock::default(), Options::default()).unwrap_err()
    }
}

// === the file ===

#[tokio::test]
async fn opening_again_keeps_everything() {
    let (place, clock) = (Place::new(), Clock::default());
    let (tenant, subject, at, id) = (tenant(), account(), entry(now().plus(HOUR), 1), FamilyId::random().unwrap());
    let (session_key, first, ident) = (session_key("s"), now(), client());
    let store = place.open(&clock);
    let before = head(&store).await;
    let create = Change {
        puts: vec![put("a", Some(0), "text")],
        take: vec![(name("n"), "a".into())],
        index: vec![(index(&tenant, None), "a".into())],
        request: Some(request(1, "a")),
        ..change(&tenant)
    };
    done(&store, &create).await;
    let mint = Mint {
        token: token(&at, &subject, "text").token,
        family: family(&id, None, 1, "text").family,
        ..session(&session_key, first)
    };
    store.mint(&mint).await.unwrap();
    let position = store.append(&[Entry::revoke(ident.clone())]).await.unwrap();
    drop(store);

    let store = place.open(&clock);
    let record = store.read(&[key(&tenant, "a")]).await.unwrap().pop().unwrap().unwrap();
    assert_eq!((record.version, record.body), (1, body("text")));
    assert_eq!(store.holder(&tenant, &name("n")).await.unwrap().as_deref(), Some("a"));
    assert_eq!(store.list(&index(&tenant, None), None, 10).await.unwrap(), ["a"]);
    assert!(matches!(store.write(&create).await.unwrap(), Written::Repeated { .. }));
    assert_eq!(store.token(&at.token).await.unwrap(), Some(body("text")));
    assert_eq!(store.subject_page(&subject, None, first, 10).await.unwrap(), [at]);
    assert_eq!(store.family(&id).await.unwrap().unwrap().body, body("text"));
    assert_eq!(store.sessions(&[session_key]).await.unwrap()[0].unwrap().alive_until, first.plus(MINUTE));
    let entries = store.tail(before).await.unwrap().entries;
    assert_eq!(entries.iter().map(|at| at.position).collect::<Vec<_>>(), [position]);
    assert_eq!(slots(&store).await[&ident].position_for(&[]), Some(position));
}

#[tokio::test]
async fn opening_again_raises_the_line_whatever_the_clock_says() {
    let place = Place::new();
    let mut last = Position::START;
    // Each start finds an earlier clock than the one before.
    for secs in [3_000_000, 2_000_000, 1_000_000] {
        let store = place.open(&Clock::manual(Time::from_secs(secs)));
        let raised = head(&store).await;
        assert_eq!(raised, Position::new(last.line() + 1, secs * 1_000_000).unwrap());
        let tail = store.tail(last).await.unwrap();
        assert!(tail.head == raised && tail.entries.is_empty() && !tail.gap);
        last = store.append(&[Entry::revoke(client())]).await.unwrap();
        assert_eq!(last, Position::new(raised.line(), secs * 1_000_000 + 1).unwrap());
    }
}

#[tokio::test]
async fn positions_follow_the_clock_and_grow_while_it_stands() {
    let clock = Clock::manual(Time::from_secs(1000));
    let place = Place::new();
    let store = place.open(&clock);
    clock.advance(Duration::from_secs(1));
    let entries = [Entry::revoke(client()), Entry::revoke(client())];
    let position = store.append(&entries).await.unwrap();
    assert_eq!(position, Position::new(1, 1_001_000_001).unwrap());
    assert_eq!(store.append(&entries).await.unwrap(), Position::new(1, 1_001_000_003).unwrap());
}

#[tokio::test]
async fn a_second_open_is_refused_and_says_why() {
    let place = Place::new();
    let store = place.open(&Clock::default());
    let Error::Unsuitable { why } = place.refusal() else { panic!("refused for another reason") };
    assert!(why.contains("is open in another process"), "{why}");
    store.ping().await.unwrap();
    drop(store);
    place.open(&Clock::default());
}

#[tokio::test]
async fn a_file_of_something_else_is_refused_and_left_alone() {
    let place = Place::new();
    std::fs::write(place.file(), "something else").unwrap();
    assert!(matches!(place.refusal(), Error::Unsuitable { .. } | Error::Corrupt { .. }));
    assert_eq!(std::fs::read(place.file()).unwrap(), b"something else");
}

#[tokio::test]
async fn a_file_of_a_later_format_is_refused() {
    let place = Place::new();
    let database = redb::Database::create(place.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, &str>::new("meta");
    transaction.open_table(meta).unwrap().insert("format", "2").unwrap();
    transaction.commit().unwrap();
    drop(database);
    let Error::Unsuitable { why } = place.refusal() else { panic!("refused for another reason") };
    assert!(why.contains("format 2"), "{why}");
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let place = Place::new();
    let path = place.0.path().join("missing/store");
    let error = Embedded::open(&path, Clock::default(), Options::default()).unwrap_err();
    assert!(error.to_string().contains("missing/store"), "{error}");
}

#[tokio::test]
async fn only_the_owner_can_read_the_file() {
    let place = Place::new();
    let mode = || std::fs::metadata(place.file()).unwrap().permissions().mode() & 0o777;
    let store = place.open(&Clock::default());
    assert_eq!(mode(), 0o600);
    assert!(store.warnings().is_empty());
    drop(store);
    std::fs::set_permissions(place.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = place.open(&Clock::default()).warnings();
    assert!(matches!(&warnings[..], [warning] if warning.contains("644")), "{warnings:?}");
    assert_eq!(mode(), 0o644, "what an operator set is not undone");
}

// === garbage collection ===

/// Has the store sweep: every transaction does.
async fn sweep(store: &Arc<dyn Store>) {
    store.ping().await.unwrap();
}

#[tokio::test]
async fn entries_are_kept_for_the_retention_and_a_follower_learns_what_it_missed() {
    let clock = Clock::manual(now());
    let place = Place::new();
    let store = place.open(&clock);
    let start = head(&store).await;
    let idents = [client(), client(), client()];
    let mut positions = Vec::new();
    for ident in &idents {
        positions.push(store.append(&[Entry::revoke(ident.clone())]).await.unwrap());
        clock.advance(LOG_RETENTION / 2);
    }
    // By now the first entry is one and a half retentions old, the second exactly one, the third a half.
    sweep(&store).await;
    assert!(store.tail(start).await.unwrap().gap);
    assert_eq!(follow(&store, positions[0]).await.len(), 2);
    clock.advance(Duration::from_millis(1));
    sweep(&store).await;
    let gap = store.tail(positions[0]).await.unwrap();
    assert!(gap.gap && gap.head == positions[2]);
    assert_eq!(follow(&store, positions[1]).await.len(), 1);
    let slots = slots(&store).await;
    assert!(idents.iter().all(|ident| slots.contains_key(ident)), "the map outlives the entries");
    drop(store);
    assert!(place.open(&clock).tail(positions[0]).await.unwrap().gap, "also after a restart");
}

#[tokio::test]
async fn a_position_above_the_head_is_a_gap() {
    let place = Place::new();
    let store = place.open(&Clock::default());
    let head = head(&store).await;
    let tail = store.tail(Position::new(head.line() + 1, 0).unwrap()).await.unwrap();
    assert!(tail.gap && tail.entries.is_empty() && tail.head == head);
}

#[tokio::test]
async fn what_has_expired_is_swept_a_margin_later() {
    let clock = Clock::manual(now());
    let place = Place::new();
    let store = place.open(&clock);
    let (subject, at, id) = (account(), entry(clock.now().plus(HOUR), 1), FamilyId::random().unwrap());
    let (session_key, ident, tenant) = (session_key("s"), family_ident(), tenant());
    let mint = Mint {
        token: token(&at, &subject, "text").token,
        family: family(&id, None, 1, "text").family,
        ..session(&session_key, clock.now())
    };
    store.mint(&mint).await.unwrap();
    store.append(&[Entry::revoke_until(ident.clone(), clock.now().plus(HOUR))]).await.unwrap();
    let remembered = Change { request: Some(Request { until: at.expires, ..request(1, "a") }), ..change(&tenant) };
    done(&store, &remembered).await;
    let kept = Change { puts: vec![Put { keep_until: at.expires, ..put("a", Some(0), "x") }], ..change(&tenant) };
    done(&store, &kept).await;
    let there = || async {
        let family = store.family(&id).await.unwrap().is_some();
        let session = store.sessions(std::slice::from_ref(&session_key)).await.unwrap()[0].is_some();
        let listed = !store.subject_page(&subject, None, Time::default(), 10).await.unwrap().is_empty();
        let repeated = store.write(&remembered).await.unwrap() != Written::Done;
        let slot = slots(&store).await.contains_key(&ident);
        let kept = record(&store, &key(&tenant, "a")).await.is_some();
        [store.token(&at.token).await.unwrap().is_some(), listed, family, session, slot, repeated, kept]
    };
    clock.advance(HOUR + PRUNE_MARGIN - Duration::from_millis(1));
    sweep(&store).await;
    assert_eq!(there().await, [true; 7]);
    // The suite's own clock has moved on meanwhile, and family and session were stored by it.
    clock.advance(MINUTE);
    sweep(&store).await;
    assert_eq!(there().await, [false; 7]);
}

#[tokio::test]
async fn a_record_is_kept_as_long_as_its_last_write_says() {
    let clock = Clock::manual(now());
    let place = Place::new();
    let store = place.open(&clock);
    let tenant = tenant();
    let (hour, day) = (clock.now().plus(HOUR), clock.now().plus(HOUR * 24));
    for (id, first, last) in [("longer", hour, day), ("for ever", hour, Time::NEVER), ("shorter", day, hour)] {
        for (expected, keep_until) in [(0, first), (1, last)] {
            let puts = vec![Put { keep_until, ..put(id, Some(expected), "x") }];
            done(&store, &Change { puts, ..change(&tenant) }).await;
        }
    }
    let there = async |id| record(&store, &key(&tenant, id)).await.is_some();
    clock.advance(HOUR + MINUTE);
    sweep(&store).await;
    assert_eq!([there("longer").await, there("for ever").await, there("shorter").await], [true, true, false]);
    clock.advance(HOUR * 24);
    sweep(&store).await;
    assert_eq!([there("longer").await, there("for ever").await], [false, true]);
    // A record that was forgotten begins anew.
    done(&store, &Change { puts: vec![put("longer", Some(0), "x")], ..change(&tenant) }).await;
}

#[tokio::test]
async fn what_lives_on_is_not_swept_at_its_first_expiry() {
    let clock = Clock::manual(now());
    let place = Place::new();
    let store = place.open(&clock);
    let (subject, id, session_key, ident) = (account(), FamilyId::random().unwrap(), session_key("s"), family_ident());
    let mut at = entry(clock.now(), 1);
    for round in 0..5 {
        at.expires = clock.now().plus(HOUR);
        let mut mint = Mint {
            token: token(&at, &subject, "text").token,
            family: family(&id, (round > 0).then_some(round), round + 1, "text").family,
            ..session(&session_key, clock.now())
        };
        mint.token.as_mut().unwrap().exists = Existing::Replace;
        mint.family.as_mut().unwrap().expires = at.expires;
        let session = mint.session.as_mut().unwrap();
        (session.idle, session.until) = (HOUR, at.expires);
        assert_eq!(store.mint(&mint).await.unwrap(), super::tokens::CLEAN, "round {round}");
        store.append(&[Entry::revoke_until(ident.clone(), at.expires)]).await.unwrap();
        clock.advance(HOUR / 2 + PRUNE_MARGIN);
        sweep(&store).await;
    }
    assert!(store.token(&at.token).await.unwrap().is_some());
    assert_eq!(store.subject_page(&subject, None, Time::default(), 10).await.unwrap(), [at.clone()]);
    assert!(slots(&store).await.contains_key(&ident));
    clock.advance(HOUR);
    sweep(&store).await;
    assert_eq!(store.token(&at.token).await.unwrap(), None);
    assert!(store.subject_page(&subject, None, Time::default(), 10).await.unwrap().is_empty());
    assert_eq!(store.family(&id).await.unwrap(), None);
    assert_eq!(store.sessions(&[session_key]).await.unwrap(), [None]);
    assert!(!slots(&store).await.contains_key(&ident));
}

#[tokio::test]
async fn what_expires_sooner_than_it_did_is_swept_then() {
    let clock = Clock::manual(now());
    let place = Place::new();
    let store = place.open(&clock);
    let (subject, soon) = (account(), clock.now().plus(MINUTE));
    for (id, first) in [(1, Time::NEVER), (2, clock.now().plus(HOUR))] {
        for expires in [first, soon] {
            let mut mint = token(&entry(expires, id), &subject, "text");
            mint.token.as_mut().unwrap().exists = Existing::Replace;
            store.mint(&mint).await.unwrap();
        }
    }
    clock.advance(MINUTE + PRUNE_MARGIN);
    sweep(&store).await;
    assert_eq!(store.tokens(&[entry(soon, 1).token, entry(soon, 2).token]).await.unwrap(), [None, None]);
    clock.advance(HOUR);
    sweep(&store).await;
}

#[tokio::test]
async fn garbage_of_any_amount_is_swept_bit_by_bit() {
    let clock = Clock::manual(now());
    let place = Place::new();
    let store = place.open(&clock);
    let subject = account();
    let expires = clock.now().plus(MINUTE);
    for id in 0..200 {
        store.mint(&token(&entry(expires, id), &subject, "text")).await.unwrap();
    }
    let left = || async { store.subject_page(&subject, None, Time::default(), 1000).await.unwrap().len() };
    assert_eq!(left().await, 200);
    clock.advance(MINUTE + PRUNE_MARGIN);
    let mut last = 200;
    for _ in 0..200 {
        sweep(&store).await;
        let left = left().await;
        assert!(last - left <= 50, "one transaction does not pay for all");
        last = left;
    }
    assert_eq!(last, 0);
}

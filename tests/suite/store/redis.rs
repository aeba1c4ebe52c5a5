//! The store on Redis: the suite, and what only this adapter can get wrong: connections, restarts, memory, replicas.

use std::{
    collections::HashMap,
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant},
};

use jeton::{
    ambient::Fresh as _,
    revocation::log::{LOG_RETENTION, Log as _},
    storage::{Error, Result},
    store::{
        Change, Health as _, Mint, PRUNE_MARGIN, Put, Store,
        redis::{Options, Redis, Tls},
    },
};
use jeton_core::{
    FamilyId, Ident, Position, TenantId, Time, TokenId,
    entry::{Effect, Entry, Slot},
    secret::SecretText,
};

use super::{
    Fresh, HOUR, MINUTE, account, body, change, conformance, done, entry, family, index, key,
    log::{client, family as family_ident, follow, head, slots},
    name, now, put, session, session_key, tenant, token,
};
use crate::servers::{Aof, Server};

mod alone {
    use super::*;

    conformance!(fresh);

    async fn fresh() -> Fresh {
        let server = Server::start(Aof::Off);
        Fresh { store: connect(&server).await, keep: Box::new(server) }
    }
}

/// Every call waits for replicas in the same way, and replicas take their time to start: one or two of each kind.
mod with_a_replica {
    use super::*;

    conformance! { fresh;
        log:
            the_entries_of_one_append_stand_in_its_order
            a_long_tail_is_cut_and_goes_on_from_its_last_entry
            the_state_map_is_read_in_pages_each_slot_once;
        directory:
            records_are_read_in_the_order_of_their_keys
            settling_clears_what_is_pending_and_leaves_the_version
            a_name_has_one_holder
            an_index_lists_ids_in_order_page_by_page
            rows_of_an_index_come_with_the_records_that_they_name
            a_repeated_request_gets_what_the_first_one_did;
        tokens:
            tokens_are_read_in_the_order_of_their_ids
            a_kept_token_is_returned_and_stays
            a_subject_is_listed_page_by_page;
        families:
            a_family_is_created_and_moves_on_by_its_revision
            a_family_conflict_does_not_stop_the_other_parts;
        sessions:
            a_lapsed_session_is_not_touched_until_it_is_revived;
        parallel:
            of_many_renewals_of_one_family_exactly_one_wins
            a_head_read_after_an_append_has_reached_it;
        itself:
            a_store_that_works_can_be_reached;
    }

    async fn fresh() -> Fresh {
        let primary = Server::start(Aof::Off);
        let replica = primary.replica();
        let store = Redis::connect(&options(&primary.url(), 1)).await.unwrap();
        Fresh { store, keep: Box::new((primary, replica)) }
    }
}

// === when the server does not answer ===

#[tokio::test]
async fn a_dead_server_is_unavailable_within_a_second_and_works_again_when_it_is_back() {
    let mut server = Server::start(Aof::On);
    let store = connect(&server).await;
    store.ping().await.unwrap();

    server.kill9();
    let refused = Redis::connect(&options(&server.url(), 0)).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    all_unavailable(&store).await;

    server.restart();
    store.ping().await.unwrap();
    head(&store).await;
}

#[tokio::test]
async fn a_frozen_server_is_unavailable_within_a_second_and_works_again_when_it_thaws() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    store.ping().await.unwrap();

    server.stop();
    all_unavailable(&store).await;

    server.cont();
    store.ping().await.unwrap();
    store.append(&[Entry::revoke(client())]).await.unwrap();
}

#[tokio::test]
async fn many_calls_that_wait_for_a_frozen_server_all_end_and_later_ones_work() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    head(&store).await;
    server.stop();
    let asked = Instant::now();
    let calls: Vec<_> = (0..500)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.tail(Position::START).await })
        })
        .collect();
    for call in calls {
        assert!(matches!(call.await.unwrap(), Err(Error::Unavailable { .. })));
    }
    assert!(asked.elapsed() < BOUND, "{:?}", asked.elapsed());
    server.cont();
    head(&store).await;
}

#[tokio::test]
async fn a_login_that_failed_is_tried_again() {
    let server = Server::start(Aof::Off);
    let url = server.url().replace("127", "u:first@127");
    let refused = Redis::connect(&options(&url, 0)).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");

    server.command(&["ACL", "SETUSER", "u", "on", ">first", "~*", "+@all"]);
    let store = Redis::connect(&options(&url, 0)).await.unwrap();
    store.ping().await.unwrap();
    server.command(&["ACL", "SETUSER", "u", ">second", "<first"]);
    server.command(&["CLIENT", "KILL", "USER", "u"]);
    assert!(store.ping().await.is_err());
    assert!(store.ping().await.is_err());
    server.command(&["ACL", "SETUSER", "u", ">first"]);
    store.ping().await.unwrap();
}

// === what the server loses ===

#[tokio::test]
async fn a_server_that_forgot_its_scripts_gets_them_again() {
    let server = Server::start(Aof::Off);
    let replica = server.replica();
    for wait in [0, 1] {
        let store: Arc<dyn Store> = Redis::connect(&options(&server.url(), wait)).await.unwrap();
        let (tenant, subject, id, key) = (tenant(), account(), FamilyId::random().unwrap(), session_key("s"));
        for round in 1..4_u8 {
            server.command(&["SCRIPT", "FLUSH"]);
            let everything = Mint {
                token: token(&entry(now().plus(HOUR), round + 10 * u8::from(wait == 1)), &subject, "text").token,
                family: family(&id, (round > 1).then(|| u32::from(round) - 1), round.into(), "f").family,
                ..session(&key, now())
            };
            let minted = store.mint(&everything).await.unwrap();
            assert_eq!((minted.token, minted.family, minted.session), (None, None, None));
            server.command(&["SCRIPT", "FLUSH"]);
            let position = store.append(&[Entry::revoke(client())]).await.unwrap();
            server.command(&["SCRIPT", "FLUSH"]);
            assert_eq!(head(&store).await, position);
            server.command(&["SCRIPT", "FLUSH"]);
            done(&store, &Change { puts: vec![put("a", Some(u64::from(round) - 1), "x")], ..change(&tenant) }).await;
            server.command(&["SCRIPT", "FLUSH"]);
            store.settle(&super::key(&tenant, "a"), round.into()).await.unwrap();
            server.command(&["SCRIPT", "FLUSH"]);
            store.ping().await.unwrap();
        }
        assert_eq!(store.family(&id).await.unwrap().unwrap().revision, 3);
    }
    drop(replica);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_and_the_line_grows() {
    let mut server = Server::start(Aof::On);
    let store = connect(&server).await;
    let (tenant, at, subject) = (tenant(), entry(now().plus(HOUR), 1), account());
    let first = head(&store).await;
    let appended = store.append(&[Entry::revoke(client()), Entry::revoke(client())]).await.unwrap();
    done(&store, &Change { puts: vec![put("a", Some(0), "body")], ..change(&tenant) }).await;
    store.mint(&token(&at, &subject, "text")).await.unwrap();

    server.kill9();
    server.restart();
    notice_the_restart(&store).await;

    let tail = store.tail(first).await.unwrap();
    assert!(tail.head.line() > appended.line());
    assert_eq!((tail.entries.len(), tail.gap), (2, false));
    assert_eq!(tail.entries.last().map(|at| at.position), Some(appended));
    assert_eq!(slots(&store).await.len(), 2);
    let record = store.read(&[key(&tenant, "a")]).await.unwrap().remove(0).unwrap();
    assert_eq!((record.version, record.body), (1, body("body")));
    assert_eq!(store.token(&at.token).await.unwrap(), Some(body("text")));
    assert_eq!(store.subject_page(&subject, None, now(), 10).await.unwrap(), [at]);

    assert_eq!(store.tail(tail.head).await.unwrap().head, tail.head, "the line grows once");
    let later = store.append(&[Entry::changed(client())]).await.unwrap();
    assert_eq!(later.line(), tail.head.line());
    assert!(later > tail.head);
}

#[tokio::test]
async fn an_append_after_a_restart_raises_the_line_by_itself() {
    let mut server = Server::start(Aof::On);
    let store = connect(&server).await;
    let before = store.append(&[Entry::revoke(client())]).await.unwrap();
    server.kill9();
    server.restart();
    notice_the_restart(&store).await;
    let after = store.append(&[Entry::revoke(client())]).await.unwrap();
    assert!(after.line() > before.line());
    assert_eq!(store.tail(before).await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn a_reader_that_is_ahead_of_a_server_that_lost_its_data_finds_a_gap_and_a_higher_line() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    let known = store.append(&[Entry::revoke(client())]).await.unwrap();
    server.command(&["FLUSHALL"]);
    let tail = store.tail(known).await.unwrap();
    assert!(tail.gap);
    assert!(tail.head.line() > known.line());

    // Somebody who knew nothing has started a new log before a reader comes who has seen more lines than that.
    let known = Position::new(tail.head.line() + 7, known.micros()).unwrap();
    let tail = store.tail(known).await.unwrap();
    assert!(tail.gap);
    assert!(tail.head.line() > known.line());
    assert!(store.append(&[Entry::revoke(client())]).await.unwrap() > tail.head);
}

#[tokio::test]
async fn old_entries_are_trimmed_and_a_reader_from_before_them_finds_a_gap() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    let first = store.append(&[Entry::revoke(client())]).await.unwrap();
    // What time would do: old entries stand in front. They are written past the store.
    let retention = u64::try_from(LOG_RETENTION.as_micros()).unwrap();
    let old: Vec<_> =
        (0..3).map(|n| Position::new(first.line(), first.micros() - retention - 1_000 + n).unwrap()).collect();
    server.command(&["DEL", "j:{log}:stream"]);
    for at in &old {
        let id = format!("{}-{}", at.line(), at.micros());
        server.command(&["XADD", "j:{log}:stream", &id, "e", &Entry::changed(client()).to_text()]);
    }
    assert_eq!(store.tail(old[0]).await.unwrap().entries.len(), 2);

    let last = store.append(&[Entry::revoke(client())]).await.unwrap();
    for at in &old[..2] {
        let tail = store.tail(*at).await.unwrap();
        assert!(tail.gap && tail.entries.is_empty());
    }
    let kept = store.tail(old[2]).await.unwrap();
    assert!(!kept.gap, "nothing after this one was trimmed");
    assert_eq!(kept.entries.iter().map(|at| at.position).collect::<Vec<_>>(), [last]);
    assert_eq!(slots(&store).await.len(), 2, "the map forgets nothing");
}

#[tokio::test]
async fn slots_are_forgotten_when_their_time_has_come_and_not_when_it_was_extended() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    let (past, extended) = (now().minus(MINUTE), client());
    let expired: Vec<_> = (0..20).map(|_| Entry::revoke_until(client(), past)).collect();
    store.append(&expired).await.unwrap();
    store.append(&[Entry::revoke_until(extended.clone(), past), Entry::revoke(extended.clone())]).await.unwrap();
    let mut left = Vec::new();
    for _ in 0..4 {
        store.append(&[Entry::revoke(client())]).await.unwrap();
        left.push(slots(&store).await.len());
    }
    assert_eq!(left.last(), Some(&5), "{left:?}");
    assert!(slots(&store).await.contains_key(&extended));
}

/// Every sequence of three entries out of all kinds that there are, ties included.
#[tokio::test]
async fn slots_merge_on_the_server_as_they_do_in_memory() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    let before = head(&store).await;
    let (token, family) = (|n| TokenId::from_bytes([n; 16]), |n| FamilyId::from_bytes([n; 16]));
    // Literal tenants of which one is the beginning of another, and a random one: their order is not that of their texts.
    let [short, long]: [TenantId; 2] = ["def", "def-x"].map(|id| id.parse().unwrap());
    let exceptions = [
        None,
        Some(Ident::Token(short.clone(), token(1))),
        Some(Ident::Token(short.clone(), token(255))),
        Some(Ident::Token(long, token(1))),
        Some(Ident::Token(TenantId::from_bytes([255; 16]), token(1))),
        Some(Ident::Family(short, family(1))),
    ];
    let positions = [None, Position::new(0, 5), Position::new(0, u64::MAX >> 8)];
    let lives = [now().plus(MINUTE), Time::NEVER, now().plus(HOUR)];
    let mut kinds = Vec::new();
    for (except, effective) in exceptions.iter().flat_map(|except| positions.map(|at| (except.clone(), at))) {
        kinds.push((except, effective, lives[kinds.len() % lives.len()]));
    }
    let sequences = kinds.len().pow(3);
    let idents: Vec<_> = (0..sequences).map(|_| client()).collect();
    for step in 0..3 {
        let entries = idents.iter().enumerate().map(|(sequence, ident)| {
            let (except, effective, until) = kinds[sequence / kinds.len().pow(step) % kinds.len()].clone();
            Entry { ident: ident.clone(), effect: Effect::Revoke { except, until }, effective }
        });
        store.append(&entries.collect::<Vec<_>>()).await.unwrap();
    }

    let mut expected: HashMap<Ident, Slot> = HashMap::new();
    for at in follow(&store, before).await {
        let slot = at.entry.slot(at.position).unwrap();
        expected.entry(at.entry.ident).and_modify(|known| known.merge(&slot)).or_insert(slot);
    }
    let merged = slots(&store).await;
    assert_eq!(merged.len(), sequences);
    for (ident, slot) in merged {
        assert_eq!(Some(&slot), expected.get(&ident));
    }
}

#[tokio::test]
async fn a_record_is_kept_as_long_as_its_last_write_says() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    let (tenant, hour) = (tenant(), now().plus(HOUR));
    let at = format!("j:{{{tenant}}}:client:a");
    let lives_until = || server.number(&["PEXPIRETIME", &at]);
    let owed = vec![Entry::revoke(family_ident())];
    let mut version = 0;
    for keep_until in [hour, Time::NEVER, now().plus(MINUTE), hour] {
        let puts = vec![Put { keep_until, pending: owed.clone(), ..put("a", Some(version), "x") }];
        done(&store, &Change { puts, ..change(&tenant) }).await;
        version += 1;
        let expected = if keep_until.is_never() { -1 } else { i64::try_from(keep_until.as_millis()).unwrap() };
        assert_eq!(lives_until(), expected);
        store.settle(&key(&tenant, "a"), version).await.unwrap();
        assert_eq!(lives_until(), expected, "settling changes nothing for readers");
    }
}

#[tokio::test]
async fn a_list_of_tokens_lives_as_long_as_its_longest_and_drops_the_expired() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    let subject = account();
    let list = format!("j:x:{{{subject}}}");
    let lives_until = || server.number(&["PEXPIRETIME", &list]);
    let millis = |time: Time| i64::try_from(time.as_millis()).unwrap();
    let (hour, minute) = (now().plus(HOUR), now().plus(MINUTE));
    for (at, expected) in [(entry(minute, 1), minute), (entry(hour, 2), hour), (entry(minute, 3), hour)] {
        store.mint(&token(&at, &subject, "t")).await.unwrap();
        assert_eq!(lives_until(), millis(expected));
    }

    // What has expired for longer than the margin goes with the next write; what has not is only not listed.
    for (at, expected) in [(now().minus(PRUNE_MARGIN * 2), 4), (now().minus(PRUNE_MARGIN / 5), 6)] {
        let member: String = entry(at, 9).to_bytes().iter().map(|byte| format!("\\{byte:03}")).collect();
        server.command(&["EVAL", &format!("return redis.call('ZADD', KEYS[1], 0, '{member}')"), "1", &list]);
        let id = u8::try_from(expected).unwrap();
        store.mint(&token(&entry(minute, id), &subject, "t")).await.unwrap();
        assert_eq!(server.number(&["ZCARD", &list]), expected);
    }
    assert_eq!(store.subject_page(&subject, None, now(), 10).await.unwrap().len(), 5);

    for at in [entry(Time::NEVER, 7), entry(hour, 8)] {
        store.mint(&token(&at, &subject, "t")).await.unwrap();
        assert_eq!(lives_until(), -1, "an eternal token keeps its list for ever");
    }
}

// === how the server is set up ===

#[tokio::test]
async fn a_server_that_evicts_is_refused_and_one_without_a_file_is_warned_about() {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let server = Server::start_with(Aof::On, &["--maxmemory-policy", policy]);
        let refused = Redis::connect(&options(&server.url(), 0)).await;
        assert!(matches!(&refused, Err(Error::Unsuitable { why }) if why.contains(policy)), "{refused:?}");
    }
    let kept = Server::start(Aof::On);
    assert_eq!(connect(&kept).await.warnings(), Vec::<String>::new());
    let lost = Server::start(Aof::Off);
    assert!(connect(&lost).await.warnings().concat().contains("append-only"));
}

#[tokio::test]
async fn a_full_server_refuses_tokens_and_takes_revocations() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1mb"]);
    let refused = store.mint(&token(&entry(now().plus(HOUR), 1), &account(), "t")).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    let refused = store.write(&Change { puts: vec![put("a", None, "x")], ..change(&tenant()) }).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");

    let before = head(&store).await;
    let revoked = store.append(&[Entry::revoke(client())]).await.unwrap();
    assert_eq!(store.tail(before).await.unwrap().head, revoked);
    store.ping().await.unwrap();
}

#[tokio::test]
async fn neither_errors_nor_debug_tell_the_password() -> Result<()> {
    let server = Server::start_with(Aof::Off, &["--requirepass", "hunter2hunter2"]);
    let right = options(&server.url().replace("127", ":hunter2hunter2@127"), 0);
    let mut answer = format!("{right:?} {:?}", Redis::connect(&right).await?);
    for url in [
        server.url().replace("127", ":hunter2hunter2x@127"),
        "redis://:hunter2hunter2@127.0.0.1:1".to_owned(),
        "rediss://:hunter2hunter2@127.0.0.1:1".to_owned(),
        "hunter2hunter2".to_owned(),
    ] {
        let error = Redis::connect(&options(&url, 0)).await.unwrap_err();
        answer += &format!(" {error} {error:?} {:?}", error.source());
    }
    assert!(!answer.contains("hunter2"), "{answer}");
    Ok(())
}

// === replicas ===

#[tokio::test]
async fn without_its_replica_a_primary_confirms_nothing() {
    let primary = Server::start(Aof::Off);
    let replica = primary.replica();
    let store: Arc<dyn Store> = Redis::connect(&options(&primary.url(), 1)).await.unwrap();
    let (before, tenant, family) = (head(&store).await, tenant(), FamilyId::random().unwrap());
    store.append(&[Entry::revoke(client())]).await.unwrap();

    replica.stop();
    for refused in [
        store.append(&[Entry::revoke(client())]).await.err(),
        store.tail(before).await.err(),
        store.read(&[key(&tenant, "a")]).await.err(),
        store.family(&family).await.err(),
        store.mint(&token(&entry(Time::NEVER, 1), &account(), "t")).await.err(),
        store.ping().await.err(),
    ] {
        assert!(matches!(refused, Some(Error::Unavailable { .. })), "{refused:?}");
    }

    replica.cont();
    primary.wait_for_replica();
    store.append(&[Entry::revoke(client())]).await.unwrap();
}

#[tokio::test]
async fn a_promoted_replica_has_what_was_acknowledged_on_a_higher_line_and_the_old_primary_confirms_nothing() {
    let primary = Server::start(Aof::Off);
    let replica = primary.replica();
    let before = Redis::connect(&options(&primary.url(), 1)).await.unwrap();
    let acknowledged = before.append(&[Entry::revoke(client())]).await.unwrap();
    let refused = Redis::connect(&options(&replica.url(), 0)).await;
    assert!(matches!(refused, Err(Error::Unsuitable { .. })), "{refused:?}");

    replica.command(&["REPLICAOF", "NO", "ONE"]);
    let after = connect(&replica).await;
    let tail = after.tail(Position::START).await.unwrap();
    assert!(tail.head.line() > acknowledged.line());
    assert_eq!(tail.entries.iter().map(|at| at.position).collect::<Vec<_>>(), [acknowledged]);
    assert!(before.tail(Position::START).await.is_err());
}

#[tokio::test]
async fn a_demoted_primary_answers_nothing() {
    let other = Server::start(Aof::Off);
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    head(&store).await;
    server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    assert!(matches!(store.tail(Position::START).await, Err(Error::Unavailable { .. })));
    assert!(matches!(store.ping().await, Err(Error::Unavailable { .. })));
}

// === what these tests are written with ===

/// A call that is not answered any more takes this long at most.
const BOUND: Duration = Duration::from_secs(1);

fn options(url: &str, wait_replicas: u32) -> Options {
    let url = SecretText::new(url.to_owned());
    Options { url, workers: 2, wait_replicas, wait_timeout: Duration::from_millis(500), tls: Tls::default() }
}

async fn connect(server: &Server) -> Arc<dyn Store> {
    Redis::connect(&options(&server.url(), 0)).await.unwrap()
}

/// A call that finds its connection broken fails: nobody can tell whether it was carried out. The next one works.
async fn notice_the_restart(store: &Arc<dyn Store>) {
    if let Err(error) = store.ping().await {
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        store.ping().await.unwrap();
    }
}

/// Every call of the port fails as unavailable, each within the bound, and so does the next one.
async fn all_unavailable(store: &Arc<dyn Store>) {
    let (tenant, subject, at, session) = (tenant(), account(), entry(Time::NEVER, 1), [session_key("s")]);
    let (key, family) = ([key(&tenant, "a")], FamilyId::random().unwrap());
    let (ids, entries): ([TokenId; 2], _) = ([1, 2].map(|n| TokenId::from_bytes([n; 16])), [Entry::revoke(client())]);
    let change = Change { puts: vec![put("a", None, "x")], ..change(&tenant) };
    let (mint, name, index) = (token(&at, &subject, "t"), name("n"), index(&tenant, None));
    macro_rules! together {
        ($($call:expr),* $(,)?) => { tokio::join!($(async {
            let asked = Instant::now();
            let answer = $call.await;
            assert!(matches!(answer, Err(Error::Unavailable { .. })), "{}: {answer:?}", stringify!($call));
            assert!(asked.elapsed() < BOUND, "{}: {:?}", stringify!($call), asked.elapsed());
        }),*) };
    }
    together!(
        store.tail(Position::START),
        store.append(&entries),
        store.state_page(None),
        store.read(&key),
        store.holder(&tenant, &name),
        store.write(&change),
        store.settle(&key[0], 1),
        store.list(&index, None, 1),
        store.mint(&mint),
        store.token(&at.token),
        store.tokens(&ids),
        store.family(&family),
        store.sessions(&session),
        store.subject_page(&subject, None, now(), 1),
    );
    together!(store.ping());
}

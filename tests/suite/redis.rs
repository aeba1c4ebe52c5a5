//! What only the Redis adapter can get wrong: connections, restarts, memory, replicas. The rest is in `store.rs`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jeton::{
    ambient::{Clock, Time},
    revocation::entry::Entry,
    store::{
        Change, Error, Existing, FamilyMint, FamilyRecord, Index, IndexEntry, Kind, Mint, Put, RecordKey, Result,
        SessionKey, SessionMint, Store, SubjectKey, TAIL_LIMIT, TokenMint, Unique, Written,
        redis::{Options, Redis},
    },
    token::{AccountId, ClientId, FamilyId, Ident, Position, TokenId, access::SessionId, secret::SecretText},
};

use crate::servers::{Aof, Server, until};

/// A call that is not answered any more takes this long at most.
const BOUND: Duration = Duration::from_secs(1);

fn options(url: &str, wait_replicas: u32) -> Options {
    Options {
        url: SecretText::new(url.to_owned()),
        workers: 2,
        wait_replicas,
        wait_timeout: Duration::from_millis(300),
    }
}

async fn connect(server: &Server) -> Arc<Redis> {
    Redis::connect(&options(&server.url(), 0)).await.expect("connect")
}

fn now() -> Time {
    Clock::default().now()
}

fn client(n: u8) -> Ident {
    Ident::Client(ClientId::from_bytes([n; 16]))
}

fn token_mint(n: u8, expires: Time) -> TokenMint {
    TokenMint {
        id: TokenId::from_bytes([n; 16]),
        record: vec![0, n, 255].into(),
        expires,
        subject: SubjectKey::Account(AccountId::from_bytes([1; 16])),
        exists: Existing::Keep,
    }
}

fn mint(token: TokenMint) -> Mint {
    Mint { now: now(), token: Some(token), family: None, session: None }
}

fn put(id: &str, expected: Option<u64>, body: &[u8]) -> Change {
    Change {
        tenant: "default".parse().unwrap(),
        now: now(),
        puts: vec![Put { kind: Kind::Client, id: id.into(), expected, pending: vec![], body: body.to_vec().into() }],
        take: vec![],
        free: vec![],
        index: vec![],
        unindex: vec![],
        require_empty: vec![],
        request: None,
    }
}

fn key(id: &str) -> RecordKey {
    RecordKey { tenant: "default".parse().unwrap(), kind: Kind::Client, id: id.into() }
}

/// Every call of the port fails as unavailable, each within the bound, and so does the next one.
async fn all_unavailable(store: &Redis) {
    let session = [SessionKey { tenant: "default".parse().unwrap(), session: SessionId::new("s") }];
    let index = Index { tenant: "default".parse().unwrap(), kind: Kind::Client, parent: None };
    let subject = SubjectKey::Account(AccountId::from_bytes([1; 16]));
    let name = Unique { kind: Kind::Account, field: "foreign_id", value: "x".into() };
    let (key, token, family) = ([key("a")], TokenId::from_bytes([1; 16]), FamilyId::from_bytes([1; 16]));
    let (entries, change, minting) = ([Entry::revoke(client(1))], put("a", None, b"x"), mint(token_mint(1, Time::NEVER)));
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
        store.holder(&index.tenant, &name),
        store.write(&change),
        store.settle(&key[0], 1),
        store.list(&index, None, 1),
        store.mint(&minting),
        store.token(&token),
        store.family(&family),
        store.sessions(&session),
        store.subject_page(&subject, None, now(), 1),
    );
    together!(store.ping());
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable_within_a_second_and_works_again_when_it_is_back() {
    let mut server = Server::start(Aof::On);
    let store = connect(&server).await;
    store.ping().await.unwrap();

    server.kill9();
    let refused = Redis::connect(&options(&server.url(), 0)).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    all_unavailable(&store).await;

    server.restart();
    store.ping().await.unwrap();
    store.tail(Position::START).await.unwrap();
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
    store.append(&[Entry::revoke(client(1))]).await.unwrap();
}

#[tokio::test]
async fn many_calls_that_wait_for_a_frozen_server_all_end_and_all_later_ones_work() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
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
    store.tail(Position::START).await.unwrap();
}

#[tokio::test]
async fn a_server_that_forgot_its_scripts_gets_them_again() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    for round in 1..4_u8 {
        server.command(&["SCRIPT", "FLUSH"]);
        let expires = now().plus(Duration::from_secs(60));
        let everything = Mint {
            now: now(),
            token: Some(token_mint(round, expires)),
            family: Some(FamilyMint {
                id: FamilyId::from_bytes([1; 16]),
                record: FamilyRecord { revision: round.into(), body: vec![round].into() },
                expires,
                expected: (round > 1).then(|| u32::from(round) - 1),
            }),
            session: Some(SessionMint {
                key: SessionKey { tenant: "default".parse().unwrap(), session: SessionId::new("s") },
                now: now(),
                idle: Duration::from_secs(3600),
                until: expires,
                revive: false,
            }),
        };
        let minted = store.mint(&everything).await.unwrap();
        assert_eq!((minted.token, minted.family, minted.session_lapsed), (None, None, false));
        server.command(&["SCRIPT", "FLUSH"]);
        store.append(&[Entry::revoke(client(round))]).await.unwrap();
        store.tail(Position::START).await.unwrap();
        assert_eq!(store.write(&put("a", Some(u64::from(round) - 1), b"x")).await.unwrap(), Written::Done);
        server.command(&["SCRIPT", "FLUSH"]);
        store.settle(&key("a"), round.into()).await.unwrap();
        store.ping().await.unwrap();
    }
    assert_eq!(store.family(&FamilyId::from_bytes([1; 16])).await.unwrap().unwrap().revision, 3);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_and_the_line_grows() {
    let mut server = Server::start(Aof::On);
    let store = connect(&server).await;
    let expires = now().plus(Duration::from_secs(600));
    let first = store.tail(Position::START).await.unwrap().head;
    let appended = store.append(&[Entry::revoke(client(1)), Entry::revoke(client(2))]).await.unwrap();
    store.write(&put("a", Some(0), b"body")).await.unwrap();
    store.mint(&mint(token_mint(1, expires))).await.unwrap();

    server.kill9();
    server.restart();

    // The first call may find the old connection, and nothing else may fail.
    let _ = store.ping().await;
    let tail = store.tail(first).await.unwrap();
    assert_eq!(tail.head.line(), appended.line() + 1);
    assert_eq!(tail.entries.last().map(|at| at.position), Some(appended));
    assert!(!tail.gap);
    assert_eq!(tail.entries.len(), 2);
    assert_eq!(store.state_page(None).await.unwrap().slots.len(), 2);
    let record = store.read(&[key("a")]).await.unwrap().remove(0).unwrap();
    assert_eq!((record.version, &*record.body), (1, b"body".as_slice()));
    assert_eq!(store.token(&TokenId::from_bytes([1; 16])).await.unwrap().unwrap(), vec![0, 1, 255]);
    assert_eq!(store.tail(tail.head).await.unwrap().head, tail.head);

    let later = store.append(&[Entry::changed(client(3))]).await.unwrap();
    assert_eq!(later.line(), tail.head.line());
    assert!(later > tail.head);
}

#[tokio::test]
async fn an_append_after_a_restart_raises_the_line_by_itself() {
    let mut server = Server::start(Aof::On);
    let store = connect(&server).await;
    let before = store.append(&[Entry::revoke(client(1))]).await.unwrap();
    server.kill9();
    server.restart();
    let _ = store.ping().await;
    let after = store.append(&[Entry::revoke(client(2))]).await.unwrap();
    assert_eq!(after.line(), before.line() + 1);
    assert_eq!(store.tail(before).await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn a_reader_that_is_ahead_of_a_store_that_lost_its_data_finds_a_gap_and_a_higher_line() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    let known = store.append(&[Entry::revoke(client(1))]).await.unwrap();
    server.command(&["FLUSHALL"]);
    let tail = store.tail(known).await.unwrap();
    assert!(tail.gap);
    assert!(tail.head.line() > known.line());

    // Somebody who knows nothing has started a new log before a reader comes who has seen more lines than that.
    let known = Position::new(7, known.micros()).unwrap();
    let tail = store.tail(known).await.unwrap();
    assert!(tail.gap);
    assert!(tail.head.line() > known.line());
    assert!(store.append(&[Entry::revoke(client(2))]).await.unwrap() > tail.head);
}

#[tokio::test]
async fn entries_older_than_an_hour_are_trimmed_and_a_reader_from_before_finds_a_gap() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    let first = store.append(&[Entry::revoke(client(1))]).await.unwrap();
    // What an hour would do: an old entry in front, written past the store.
    let micros = first.micros() - 3_601_000_000;
    server.command(&["DEL", "j:{log}:stream"]);
    for n in 0..3 {
        let id = format!("{}-{}", first.line(), micros + n);
        server.command(&["XADD", "j:{log}:stream", &id, "e", &Entry::changed(client(9)).to_text()]);
    }
    let old = Position::new(first.line(), micros).unwrap();
    assert_eq!(store.tail(old).await.unwrap().entries.len(), 2);

    let last = store.append(&[Entry::revoke(client(2))]).await.unwrap();
    let tail = store.tail(old).await.unwrap();
    assert!(tail.gap && tail.entries.is_empty());
    let kept = store.tail(Position::new(first.line(), micros + 2).unwrap()).await.unwrap();
    assert!(!kept.gap);
    assert_eq!(kept.entries.iter().map(|at| at.position).collect::<Vec<_>>(), [last]);
    // Trimmed entries live on in the map.
    assert_eq!(store.state_page(None).await.unwrap().slots.len(), 2);
}

#[tokio::test]
async fn a_long_tail_comes_in_pieces() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    let entries: Vec<_> = (0..=TAIL_LIMIT).map(|_| Entry::changed(client(1))).collect();
    let head = store.append(&entries).await.unwrap();
    let first = store.tail(Position::START).await.unwrap();
    assert_eq!((first.head, first.more, first.entries.len()), (head, true, TAIL_LIMIT));
    let rest = store.tail(first.entries.last().unwrap().position).await.unwrap();
    assert_eq!((rest.head, rest.more, rest.entries.len()), (head, false, 1));
}

#[tokio::test]
async fn slots_are_forgotten_when_their_time_has_come() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    let past = now().minus(Duration::from_secs(1));
    let short: Vec<_> = (0..20).map(|n| Entry::revoke_until(client(n), past)).collect();
    store.append(&short).await.unwrap();
    for n in 100..104 {
        store.append(&[Entry::revoke(client(n))]).await.unwrap();
    }
    let left = store.state_page(None).await.unwrap().slots;
    assert_eq!(left.len(), 4, "{left:?}");
    // What was extended stays.
    store.append(&[Entry::revoke_until(client(1), past)]).await.unwrap();
    store.append(&[Entry::revoke(client(1))]).await.unwrap();
    store.append(&[Entry::revoke(client(2))]).await.unwrap();
    assert_eq!(store.state_page(None).await.unwrap().slots.len(), 6);
}

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
    let expires = now().plus(Duration::from_secs(600));
    let refused = store.mint(&mint(token_mint(1, expires))).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    assert!(store.write(&put("a", None, b"x")).await.is_err());

    let head = store.tail(Position::START).await.unwrap().head;
    let revoked = store.append(&[Entry::revoke(client(1))]).await.unwrap();
    assert_eq!(store.tail(head).await.unwrap().head, revoked);
    store.ping().await.unwrap();
}

#[tokio::test]
async fn replicas_are_waited_for() {
    let primary = Server::start(Aof::Off);
    let replica = primary.replica();
    let store = Redis::connect(&options(&primary.url(), 1)).await.unwrap();
    let head = store.tail(Position::START).await.unwrap().head;
    store.append(&[Entry::revoke(client(1))]).await.unwrap();
    store.write(&put("a", None, b"x")).await.unwrap();
    assert!(store.read(&[key("a")]).await.unwrap()[0].is_some());

    replica.stop();
    let asked = Instant::now();
    for refused in [
        store.append(&[Entry::revoke(client(2))]).await.map(|_| ()),
        store.tail(head).await.map(|_| ()),
        store.read(&[key("a")]).await.map(|_| ()),
        store.mint(&mint(token_mint(1, Time::NEVER))).await.map(|_| ()),
    ] {
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    }
    assert!(asked.elapsed() < 4 * BOUND);

    replica.cont();
    until("the replica follows again", || primary.command(&["WAIT", "1", "100"]).starts_with(":1"));
    store.append(&[Entry::revoke(client(3))]).await.unwrap();
}

#[tokio::test]
async fn a_promoted_replica_has_what_was_acknowledged_on_a_higher_line_and_the_old_primary_is_refused() {
    let primary = Server::start(Aof::Off);
    let replica = primary.replica();
    let before = Redis::connect(&options(&primary.url(), 1)).await.unwrap();
    let acknowledged = before.append(&[Entry::revoke(client(1))]).await.unwrap();

    let refused = Redis::connect(&options(&replica.url(), 0)).await;
    assert!(matches!(refused, Err(Error::Unsuitable { .. })), "{refused:?}");

    replica.command(&["REPLICAOF", "NO", "ONE"]);
    let after = Redis::connect(&options(&replica.url(), 0)).await.unwrap();
    let tail = after.tail(Position::START).await.unwrap();
    assert_eq!(tail.head.line(), acknowledged.line() + 1);
    assert_eq!(tail.entries.iter().map(|at| at.position).collect::<Vec<_>>(), [acknowledged]);

    until("the replica is gone", || primary.command(&["INFO", "replication"]).contains("connected_slaves:0"));
    assert!(before.tail(Position::START).await.is_err(), "an isolated primary must not confirm a head");
}

#[tokio::test]
async fn a_demoted_primary_answers_nothing() {
    let other = Server::start(Aof::Off);
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    store.tail(Position::START).await.unwrap();
    let port = other.url().trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    server.command(&["REPLICAOF", "127.0.0.1", &port]);
    assert!(matches!(store.tail(Position::START).await, Err(Error::Unavailable { .. })));
    assert!(matches!(store.ping().await, Err(Error::Unavailable { .. })));
}

#[tokio::test]
async fn a_list_of_tokens_lives_as_long_as_its_longest_and_drops_the_expired() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    let subject = SubjectKey::Account(AccountId::from_bytes([1; 16]));
    let list = format!("j:x:{{{subject}}}");
    let hour = now().plus(Duration::from_secs(3600));
    let minute = now().plus(Duration::from_secs(60));
    store.mint(&mint(token_mint(1, hour))).await.unwrap();
    store.mint(&mint(token_mint(2, minute))).await.unwrap();
    let lives_until = |time: Time| assert_eq!(server.command(&["PEXPIRETIME", &list]), format!(":{}\r\n+OK\r\n", time.as_millis()));
    lives_until(hour);

    // Expired for longer than the margin: gone with the next write. For less: still there.
    for (n, ago) in [(3, 60), (4, 1)] {
        let expired = IndexEntry { expires: now().minus(Duration::from_secs(ago)), token: TokenId::from_bytes([n; 16]) };
        let member: String = expired.to_bytes().iter().map(|byte| format!("\\{byte}")).collect();
        server.command(&["EVAL", &format!("return redis.call('ZADD', KEYS[1], 0, '{member}')"), "1", &list]);
    }
    store.mint(&mint(token_mint(5, minute))).await.unwrap();
    assert_eq!(server.command(&["ZCARD", &list]), ":4\r\n+OK\r\n");
    let listed = store.subject_page(&subject, None, now(), 10).await.unwrap();
    assert_eq!(listed.len(), 3);
    assert!(listed.is_sorted());

    store.mint(&mint(token_mint(6, Time::NEVER))).await.unwrap();
    assert_eq!(server.command(&["PEXPIRETIME", &list]), ":-1\r\n+OK\r\n");
    store.mint(&mint(token_mint(7, hour))).await.unwrap();
    assert_eq!(server.command(&["PEXPIRETIME", &list]), ":-1\r\n+OK\r\n");
}

#[tokio::test]
async fn a_token_that_was_there_already_is_listed_once() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    let subject = SubjectKey::Account(AccountId::from_bytes([1; 16]));
    let (minute, hour) = (now().plus(Duration::from_secs(60)), now().plus(Duration::from_secs(3600)));
    store.mint(&mint(token_mint(1, minute))).await.unwrap();
    let kept = store.mint(&mint(token_mint(1, hour))).await.unwrap();
    assert_eq!(kept.token.unwrap(), vec![0, 1, 255]);
    let listed = store.subject_page(&subject, None, now(), 10).await.unwrap();
    assert_eq!(listed.iter().map(|entry| entry.expires).collect::<Vec<_>>(), [minute]);

    let replaced = TokenMint { exists: Existing::Replace, record: vec![7].into(), ..token_mint(1, hour) };
    assert_eq!(store.mint(&mint(replaced)).await.unwrap().token, None);
    let listed = store.subject_page(&subject, None, now(), 10).await.unwrap();
    assert_eq!(listed.iter().map(|entry| entry.expires).collect::<Vec<_>>(), [hour]);
    assert_eq!(store.token(&TokenId::from_bytes([1; 16])).await.unwrap().unwrap(), vec![7]);
}

#[tokio::test]
async fn an_entry_that_could_not_be_read_again_is_not_appended() {
    let server = Server::start(Aof::Off);
    let store = connect(&server).await;
    for session in ["a b", "a\nb"] {
        let entry = Entry::revoke(Ident::Session("default".parse().unwrap(), session.into()));
        let refused = store.append(&[entry]).await;
        assert!(refused.is_err(), "{session:?}: {refused:?}");
    }
    assert!(store.tail(Position::START).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn neither_errors_nor_debug_tell_the_password() -> Result<()> {
    let server = Server::start_with(Aof::Off, &["--requirepass", "hunter2hunter2"]);
    let port = server.url().trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let right = options(&format!("redis://:hunter2hunter2@127.0.0.1:{port}"), 0);
    let store = Redis::connect(&right).await?;
    let mut told = format!("{right:?} {store:?}");
    for url in [
        format!("redis://:hunter2hunter2x@127.0.0.1:{port}"),
        "redis://:hunter2hunter2@127.0.0.1:1".to_owned(),
        "rediss://:hunter2hunter2@127.0.0.1:1".to_owned(),
        "hunter2hunter2".to_owned(),
    ] {
        let error = Redis::connect(&options(&url, 0)).await.unwrap_err();
        told += &format!(" {error} {error:?} {:?}", std::error::Error::source(&error));
    }
    assert!(!told.contains("hunter2"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_login_that_failed_is_tried_again() {
    let server = Server::start(Aof::Off);
    let port = server.url().trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let store = Redis::connect(&options(&format!("redis://u:p@127.0.0.1:{port}"), 0)).await;
    assert!(store.is_err());
    server.command(&["ACL", "SETUSER", "u", "on", ">p", "~*", "+@all"]);
    let store = Redis::connect(&options(&format!("redis://u:p@127.0.0.1:{port}"), 0)).await.unwrap();
    store.ping().await.unwrap();
    server.command(&["ACL", "SETUSER", "u", ">q", "<p"]);
    server.command(&["CLIENT", "KILL", "USER", "u"]);
    until("the password is wrong", || server.command(&["CLIENT", "LIST"]).matches("user=u").count() == 0);
    while store.ping().await.is_ok() {}
    assert!(store.ping().await.is_err());
    server.command(&["ACL", "SETUSER", "u", ">p"]);
    store.ping().await.unwrap();
}

//! Starts that must fail, and say why; and first starts that are killed.

use std::{fs, net::TcpListener, time::Duration};

use super::{
    calls::{Client, eventually, issue_request},
    history::Chance,
    process::{Ended, Jeton, MASTER_KEY, Setup},
};
use crate::servers::{Aof, Server};

/// Another one than [`MASTER_KEY`].
const OTHER_KEY: &str = "00112233445566778899aabbccddeeff8f1d2c3b4a5968778695a4b3c2d1e0f1";

#[track_caller]
fn assert_refused(ended: &Ended, code: i32, said: &[&str]) {
    assert_eq!(ended.status.code(), Some(code), "{}", ended.err);
    for said in said {
        assert!(ended.err.contains(said), "{said} is not said: {}", ended.err);
    }
    assert!(!ended.out.contains("listens"), "{}", ended.out);
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
}

/// One error, in one line of the log.
#[track_caller]
fn assert_fails(ended: &Ended, said: &[&str]) {
    assert_refused(ended, 1, said);
    assert_eq!(ended.err.lines().filter(|line| line.contains("ERROR")).count(), 1, "{}", ended.err);
}

#[test]
fn all_mistakes_of_the_configuration_are_reported_at_once() {
    let setup = Setup::bare();
    let file = setup.dir().join("jeton.toml");
    fs::write(&file, "nonsense = 1\nworkers = \"many\"\n[drain]\ndelay = 5\n").unwrap();
    let setup = setup
        .env("JETON_CONFIG", &file.display().to_string())
        .env("JETON_LISTN", "nowhere")
        .env("JETON_LIMITS_MAX_IN_FLIGHT", "-1")
        .env("JETON_MASTER_KEY", "not-a-key-but-a-secret")
        .arg("--connection-age=never")
        .arg("--store=redis");
    let ended = setup.run();
    let mistakes = [
        "`nonsense` is no known key",
        "`workers` must be",
        "`drain.delay` must be",
        "JETON_LISTN: is no known variable; did you mean `JETON_LISTEN`?",
        "JETON_LIMITS_MAX_IN_FLIGHT: -1 is out of range",
        "JETON_MASTER_KEY: key 1 is not 32 bytes",
        "--connection-age: `never` is no duration",
        "the store `redis` requires `redis.url`",
    ];
    assert_refused(&ended, 2, &mistakes);
    assert!(!ended.err.contains("not-a-key-but-a-secret"), "{}", ended.err);
    assert!(!setup.data_dir().exists(), "nothing is made");
}

#[test]
fn an_unknown_flag_is_refused() {
    assert_refused(&Setup::bare().arg("--no-such-flag").run(), 2, &["--no-such-flag"]);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let setup = Setup::bare().env("JETON_LISTEN", &address);
    assert_fails(&setup.run(), &[&address, "in use"]);
}

#[test]
fn a_data_directory_that_another_process_uses_is_refused() {
    let setup = Setup::bare();
    let running = setup.start();
    assert_fails(&setup.run(), &["jeton.redb is open in another process"]);
    drop(running);
    // A killed process holds nothing.
    setup.start();
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let setup = Setup::bare();
    let file = setup.dir().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("data").display().to_string();
    assert_fails(&setup.env("JETON_DATA_DIR", &below).run(), &[&below]);
}

#[test]
fn a_redis_that_evicts_is_refused() {
    let server = Server::start_with(Aof::On, &["--maxmemory-policy", "allkeys-lru"]);
    assert_fails(&Setup::redis(&server).run(), &["maxmemory-policy", "allkeys-lru", "noeviction"]);
}

#[test]
fn an_empty_redis_wants_credentials_and_nothing_is_left_behind() {
    let server = Server::start(Aof::On);
    let setup = Setup::redis(&server);
    let without = setup.clone().without("JETON_BOOTSTRAP_CLIENT_ID").without("JETON_BOOTSTRAP_CLIENT_SECRET");
    for _ in 0..2 {
        assert_fails(&without.run(), &["JETON_BOOTSTRAP_CLIENT_ID", "JETON_BOOTSTRAP_CLIENT_SECRET"]);
    }
    setup.start();
    // Only the first start wants them.
    without.start();
}

#[test]
fn a_redis_that_may_lose_something_in_a_crash_is_reported() {
    // The log is complete when the process has ended.
    let log = |server: &Server| {
        let jeton = Setup::redis(server).start();
        jeton.terminate();
        jeton.ended().err
    };
    let answer = log(&Server::start(Aof::Off));
    assert!(answer.contains("append-only file"), "{answer}");
    let answer = log(&Server::start_with(Aof::On, &["--appendfsync", "everysec"]));
    assert!(answer.contains("appendfsync always"), "{answer}");
    let answer = log(&Server::start(Aof::On));
    assert!(!answer.contains("WARN"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_not_there_yet_is_waited_for() {
    let mut server = Server::start(Aof::On);
    server.kill9();
    let jeton = Setup::redis(&server).start_unwatched();
    eventually("it waits", async || jeton.err().contains("trying again").then_some(())).await;
    // It can give up, too.
    let other = Setup::redis(&server).start_unwatched();
    eventually("the other one waits", async || other.err().contains("trying again").then_some(())).await;
    other.terminate();
    assert!(tokio::task::spawn_blocking(|| other.ended()).await.unwrap().status.success());
    server.restart();
    eventually("it listens", async || jeton.out().contains("jeton listens on ").then_some(())).await;
}

#[test]
fn another_master_key_than_the_one_that_made_the_store_is_refused() {
    let server = Server::start(Aof::On);
    for setup in [Setup::redis(&server), Setup::embedded().env("JETON_MASTER_KEY", MASTER_KEY)] {
        setup.start();
        let other = setup.clone().env("JETON_MASTER_KEY", OTHER_KEY);
        assert_fails(&other.run(), &["master key", "not configured"]);
        // Both: the new one makes, the old one reads.
        setup.clone().env("JETON_MASTER_KEY", &format!("{OTHER_KEY},{MASTER_KEY}")).start();
        assert_fails(&other.run(), &["master key", "not configured"]);
    }
}

#[test]
fn a_store_whose_master_key_was_lost_is_refused_and_no_other_key_is_made() {
    let setup = Setup::bare();
    setup.start();
    let key = setup.data_dir().join("master.key");
    let aside = setup.data_dir().join("master.key.aside");
    fs::rename(&key, &aside).unwrap();
    for _ in 0..2 {
        assert_fails(&setup.run(), &["master.key"]);
        assert!(!key.exists(), "a key that opens nothing would only hide that the right one is gone");
    }
    fs::rename(&aside, &key).unwrap();
    setup.start();
    fs::write(&key, "broken\n").unwrap();
    assert_fails(&setup.run(), &["master key", "not 32 bytes"]);
}

/// What `bootstrap.json` says.
fn credentials(setup: &Setup) -> Client {
    let text = fs::read_to_string(setup.data_dir().join("bootstrap.json")).unwrap();
    let credentials: serde_json::Value = serde_json::from_str(&text).unwrap();
    let text = |name: &str| credentials[name].as_str().unwrap().to_owned();
    Client { id: text("client_id"), secret: text("client_secret") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_is_killed_at_any_moment_can_be_repeated() {
    let mut chance = Chance::new(12);
    let mut killed_before_it_listened = 0;
    for _ in 0..15 {
        let setup = Setup::bare();
        let mut first = setup.start_unwatched();
        tokio::time::sleep(chance.micros(120_000)).await;
        first.kill9();
        killed_before_it_listened += usize::from(!first.out().contains("listens"));
        let second = setup.start();
        let mut request = issue_request(&credentials(&setup), &Default::default());
        request.scopes.clear();
        second.link().tokens().issue_token(request).await.unwrap();
    }
    assert!(killed_before_it_listened > 2, "{killed_before_it_listened} starts were killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_on_an_empty_redis_agree() {
    let server = Server::start(Aof::Off);
    let setup = Setup::redis(&server);
    let starting: Vec<Jeton> = (0..4).map(|_| setup.start_unwatched()).collect();
    for jeton in &starting {
        eventually("it listens", async || jeton.out().contains("jeton listens on ").then_some(())).await;
    }
    let address = |jeton: &Jeton| jeton.out().lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    let links: Vec<_> = starting.iter().map(|jeton| super::calls::Link::new(&address(jeton))).collect();
    let admin = links[0].admin().await;
    let client = links[1].new_client(&admin, Duration::from_secs(10)).await;
    // One set of keys: what one signs, all others know.
    let token = links[2].issue(&client, &Default::default()).await.unwrap().access_token;
    for link in &links {
        assert!(link.is_active(&client, &token, super::calls::FULL).await.unwrap());
    }
}

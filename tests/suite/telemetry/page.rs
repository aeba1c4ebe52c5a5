//! The page for Prometheus, and the log's level, on the real binary.

use std::{process::Command, time::Duration};

use tonic::Code;

use crate::{
    faults::{
        calls::{Client, FULL, Wanted},
        process::{ADMIN, ADMIN_SECRET, Jeton, Setup},
    },
    http::admin::admin_of,
    servers::{Aof, Server, until},
};

/// What a client that nobody here wrote is answered: the status, and the body.
pub fn curl(args: &[&str]) -> (String, String) {
    let asked = Command::new("curl").args(["-s", "-w", "\n%{http_code}"]).args(args).output().unwrap();
    let text = String::from_utf8(asked.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

/// All metrics of a process.
pub fn metrics(jeton: &Jeton) -> String {
    let (status, page) = curl(&[&format!("{}/metrics", admin_of(jeton))]);
    assert_eq!(status, "200");
    page
}

#[track_caller]
fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is not in:\n{page}")).parse().unwrap()
}

pub fn setup() -> Setup {
    watched(Setup::embedded())
}

/// With a page for Prometheus.
fn watched(setup: Setup) -> Setup {
    setup.env("JETON_ADMIN_LISTEN", "127.0.0.1:0")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_counts_what_happens_to_tokens() {
    let jeton = setup().start();
    let link = jeton.link();
    let admin = link.admin().await;
    let client = link.new_client(&admin, Duration::from_secs(10)).await;
    let strict = link.new_client(&admin, Duration::ZERO).await;
    let wanted = Wanted { refresh: true, ..Default::default() };
    let first = link.issue(&client, &wanted).await.unwrap();
    let second = link.renew(&client, &first.refresh_token).await.unwrap();
    link.renew(&client, &first.refresh_token).await.unwrap();
    let stolen = link.issue(&strict, &wanted).await.unwrap();
    link.renew(&strict, &stolen.refresh_token).await.unwrap();
    link.renew(&strict, &stolen.refresh_token).await.unwrap_err();
    link.revoke(&second.access_token).await.unwrap();
    for token in [&first.access_token, &second.access_token, "nonsense"] {
        link.is_active(&client, token, FULL).await.unwrap();
    }
    let page = metrics(&jeton);
    let issue = "grpc_type=\"unary\",grpc_service=\"jeton.v1.TokenService\",grpc_method=\"IssueToken\"";
    let renew = issue.replace("Issue", "Renew");
    for (series, wanted) in [
        ("jeton_tokens_issued_total{grant=\"client_credentials\"}".to_owned(), 3.0),
        ("jeton_tokens_issued_total{grant=\"member\"}".to_owned(), 0.0),
        ("jeton_tokens_renewed_total".to_owned(), 2.0),
        ("jeton_renewals_replayed_total".to_owned(), 1.0),
        ("jeton_reuse_detected_total".to_owned(), 1.0),
        ("jeton_revocations_total{kind=\"token\"}".to_owned(), 1.0),
        ("jeton_revocations_total{kind=\"family\"}".to_owned(), 1.0),
        ("jeton_introspections_total{active=\"true\"}".to_owned(), 1.0),
        ("jeton_introspections_total{active=\"false\"}".to_owned(), 2.0),
        ("jeton_failures_total{reason=\"REFRESH_REUSED\"}".to_owned(), 1.0),
        ("jeton_calls_in_flight{lane=\"ordinary\"}".to_owned(), 0.0),
        ("jeton_connections_open".to_owned(), 1.0),
        (format!("grpc_server_started_total{{{issue}}}"), 3.0),
        (format!("grpc_server_handled_total{{{issue},grpc_code=\"OK\"}}"), 3.0),
        (format!("grpc_server_handled_total{{{renew},grpc_code=\"Unauthenticated\"}}"), 1.0),
        (format!("grpc_server_handling_seconds_count{{{renew}}}"), 4.0),
    ] {
        assert_eq!(value(&page, &series), wanted, "{series}");
    }
    assert!(value(&page, "jeton_store_duration_seconds_count{operation=\"mint\"}") >= 5.0);
    assert!(value(&page, "jeton_follower_lag_seconds") < 60.0);
    assert!(value(&page, "jeton_cache_hits_total{cache=\"clients\"}") > 0.0);
    assert!(value(&page, &format!("jeton_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))) > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_find_no_place_are_counted_by_lane() {
    let server = Server::start(Aof::Off);
    let setup = watched(Setup::redis(&server)).env("JETON_WORKERS", "1").env("JETON_LIMITS_MAX_IN_FLIGHT", "1");
    let jeton = setup.start();
    let link = jeton.link();
    link.admin().await;
    // The first one waits for the store, and the others for nothing.
    server.stop();
    let admin = Client { id: ADMIN.to_owned(), secret: ADMIN_SECRET.to_owned() };
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (link, admin) = (link.clone(), admin.clone());
            tokio::spawn(async move { link.is_active(&admin, "nonsense", FULL).await.unwrap_err() })
        })
        .collect();
    let mut shed = 0.0;
    for call in calls {
        if call.await.unwrap().code() == Code::ResourceExhausted {
            shed += 1.0;
        }
    }
    server.cont();
    let page = metrics(&jeton);
    assert!(shed > 0.0);
    assert_eq!(value(&page, "jeton_calls_shed_total{lane=\"ordinary\"}"), shed);
    assert_eq!(value(&page, "jeton_failures_total{reason=\"OVERLOADED\"}"), shed);
    assert_eq!(value(&page, "jeton_calls_shed_total{lane=\"revocation\"}"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_caller_goes_away_has_ended_too() {
    let server = Server::start(Aof::Off);
    let jeton = watched(Setup::redis(&server)).start();
    let link = jeton.link();
    link.admin().await;
    server.stop();
    let admin = Client { id: ADMIN.to_owned(), secret: ADMIN_SECRET.to_owned() };
    let method = "grpc_type=\"unary\",grpc_service=\"jeton.v1.TokenService\",grpc_method=\"IntrospectToken\"";
    let cancelled = format!("grpc_server_handled_total{{{method},grpc_code=\"Canceled\"}}");
    // A call that is given up before it was sent never began; among so many, one has.
    for _ in 0..50 {
        let asked = tokio::time::timeout(Duration::from_millis(50), link.is_active(&admin, "nonsense", FULL)).await;
        assert!(asked.is_err() || asked.unwrap().is_err());
        if metrics(&jeton).contains(&cancelled) {
            break;
        }
    }
    until("one was cancelled", || metrics(&jeton).contains(&cancelled));
    server.cont();
    until("nothing is in flight", || value(&metrics(&jeton), "jeton_calls_in_flight{lane=\"ordinary\"}") == 0.0);
}

#[test]
fn a_store_that_is_gone_shows() {
    let mut server = Server::start(Aof::Off);
    let jeton = watched(Setup::redis(&server)).start();
    assert_eq!(value(&metrics(&jeton), "jeton_store_errors_total{operation=\"ping\"}"), 0.0);
    server.kill9();
    until("its errors are counted and its lag grows", || {
        let page = metrics(&jeton);
        let failed = |operation: &str| value(&page, &format!("jeton_store_errors_total{{operation=\"{operation}\"}}"));
        failed("ping") > 0.0 && failed("tail") > 0.0 && value(&page, "jeton_follower_lag_seconds") > 2.0
    });
    server.restart();
    until("it follows again", || value(&metrics(&jeton), "jeton_follower_lag_seconds") < 1.0);
}

#[test]
fn prometheus_learns_what_it_reads() {
    let jeton = setup().start();
    let (_, head) = curl(&["-I", "-X", "GET", &format!("{}/metrics", admin_of(&jeton))]);
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.lines().any(|line| line.trim_end() == kind), "{head}");
    assert!(metrics(&jeton).ends_with("# EOF\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_level_of_the_log_changes_while_it_runs() {
    let jeton = setup().start();
    let link = jeton.link();
    let admin = Client { id: ADMIN.to_owned(), secret: ADMIN_SECRET.to_owned() };
    let log = format!("{}/log", admin_of(&jeton));
    let put = |directives: &str| curl(&["-X", "PUT", "--data-binary", directives, &log]);
    assert_eq!(curl(&[&log]), ("200".to_owned(), "info\n".to_owned()));
    let succeeded = "jeton.v1.TokenService/IntrospectToken succeeded";
    // A read that succeeds is logged at `debug` only; the change stands behind it.
    link.is_active(&admin, "nonsense", FULL).await.unwrap();
    assert_eq!(put("info,jeton::call=debug\n"), ("200".to_owned(), "info,jeton::call=debug\n".to_owned()));
    jeton.err_with("the log's level was changed");
    assert!(!jeton.err().contains(succeeded), "{}", jeton.err());
    link.is_active(&admin, "nonsense", FULL).await.unwrap();
    until("the read is logged", || jeton.err().contains(succeeded));
    // What the configuration would refuse is refused, and nothing changes.
    let (status, why) = put("info,jeton=loud");
    assert!(status == "400" && why.contains("is no log filter"), "{status} {why}");
    assert_eq!(put("").0, "400");
    assert_eq!(put(&"a".repeat(5000)).0, "413");
    assert_eq!(curl(&[&log]).1, "info,jeton::call=debug\n");
}

//! The limits of calls hold over HTTP, too, and its calls stand in the log as others do.

use std::process::Command;

use super::client::encoded;
use crate::{
    faults::process::{ADMIN, ADMIN_SECRET, Setup},
    servers::until,
};

/// The reply to a form, with its status behind it.
fn post(url: &str, form: &[(&str, &str)], more: &[&str]) -> String {
    let body = encoded(form);
    let asked = Command::new("curl").args(["-s", "-w", " %{http_code}", "-d", &body, url]).args(more).output();
    String::from_utf8(asked.unwrap().stdout).unwrap()
}

#[test]
fn calls_are_logged_once_by_their_methods_and_without_secrets() {
    let jeton = Setup::embedded().env("JETON_HTTP_LISTEN", "127.0.0.1:0").arg("--log-level=trace").start();
    let http = format!("http://{}/t/system/oauth2", jeton.http());
    let own = [("grant_type", "client_credentials"), ("client_id", ADMIN), ("client_secret", ADMIN_SECRET)];
    let reply = post(&format!("{http}/token"), &own, &["-H", "x-request-id: first"]);
    assert!(reply.ends_with(" 200"), "{reply}");
    let token = reply.split('"').nth(3).unwrap().to_owned();
    let basic = format!("{ADMIN}:{ADMIN_SECRET}");
    let reply =
        post(&format!("{http}/introspect"), &[("token", &token)], &["-u", &basic, "-H", "x-request-id: second"]);
    assert!(reply.ends_with(" 200"), "{reply}");
    let reply = post(&format!("{http}/revoke"), &[("token", &token)], &["--http2-prior-knowledge"]);
    assert!(reply.ends_with(" 200"), "{reply}");
    let twice = [own[0], own[0], own[2]];
    let reply = post(&format!("{http}/token"), &twice, &["-H", "x-request-id: third"]);
    assert!(reply.ends_with(" 400"), "{reply}");
    let wrong = [own[0], own[1], ("client_secret", "another-secret-of-somebody")];
    assert!(post(&format!("{http}/token"), &wrong, &["-H", "x-request-id: fourth"]).ends_with(" 401"));

    jeton.terminate();
    let log = jeton.ended().err;
    let line = |id: &str| {
        let mut lines = log.lines().filter(|line| line.contains(&format!("request_id=\"{id}\"")));
        let line = lines.next().unwrap_or_else(|| panic!("{id} is not in the log: {log}"));
        assert_eq!(lines.next(), None, "{id}");
        line
    };
    assert!(line("first").contains("jeton.v1.TokenService/IssueToken succeeded"));
    assert!(line("second").contains("jeton.v1.TokenService/IntrospectToken succeeded"));
    assert!(line("third").contains("oauth2/token failed: INVALID_FIELD"));
    assert!(line("fourth").contains("jeton.v1.TokenService/IssueToken failed: INVALID_CLIENT"));
    assert!(log.contains("jeton.v1.TokenService/RevokeToken succeeded"));
    let signature = token.rsplit('.').next().unwrap();
    for secret in [ADMIN_SECRET, signature, "another-secret-of-somebody"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn a_call_over_http_takes_a_place_as_any_other() {
    let jeton = Setup::embedded()
        .env("JETON_HTTP_LISTEN", "127.0.0.1:0")
        .env("JETON_WORKERS", "1")
        .env("JETON_LIMITS_MAX_IN_FLIGHT", "1")
        .start();
    let address = jeton.http();
    let head = "POST /t/system/oauth2/token HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\
                content-type: application/x-www-form-urlencoded\r\n\r\n";
    // A form that never ends holds the only place.
    let mut slow = std::net::TcpStream::connect(&address).unwrap();
    std::io::Write::write_all(&mut slow, head.as_bytes()).unwrap();
    let url = format!("http://{address}/t/system/oauth2/token");
    let own = [("grant_type", "client_credentials"), ("client_id", ADMIN), ("client_secret", ADMIN_SECRET)];
    until("the place is taken", || post(&url, &own, &["-i"]).contains("temporarily_unavailable"));
    let refused = post(&url, &own, &["-i"]);
    assert!(refused.contains("retry-after: 1") && refused.ends_with(" 503"), "{refused}");
    // Revocations have places of their own.
    assert!(post(&url.replace("token", "revoke"), &[("token", "x")], &[]).ends_with(" 200"));
    drop(slow);
    until("the place is free", || post(&url, &own, &[]).ends_with(" 200"));
}

#[test]
fn a_store_that_does_not_answer_is_reported_within_a_second() {
    let server = crate::servers::Server::start(crate::servers::Aof::Off);
    let jeton = Setup::redis(&server).env("JETON_HTTP_LISTEN", "127.0.0.1:0").start();
    let url = format!("http://{}/t/system/oauth2/token", jeton.http());
    let own = [("grant_type", "client_credentials"), ("client_id", ADMIN), ("client_secret", ADMIN_SECRET)];
    assert!(post(&url, &own, &[]).ends_with(" 200"));
    server.stop();
    let refused = post(&url, &own, &["-i"]);
    server.cont();
    assert!(refused.contains("STORE_UNAVAILABLE") && refused.contains("retry-after: 1"), "{refused}");
    assert!(refused.ends_with(" 503"), "{refused}");
}

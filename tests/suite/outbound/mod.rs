//! Calls to other services, over real sockets.

mod jwks;
mod tls;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use jeton::{
    error::chain,
    outbound::{Document, Error, Options, Outbound, Url},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::remote::{Received, Remote, Reply, outbound};

/// Small, so that a test sees what comes beyond it.
const LIMIT: usize = 1024;

async fn get(url: &Url) -> Result<Document<Value>, Error> {
    let outbound = outbound();
    outbound.get_json(url, LIMIT, outbound.deadline()).await
}

/// What comes of asking a service that answers so.
async fn got(reply: Reply) -> Result<Document<Value>, Error> {
    let remote = Remote::start(move |_| reply.clone()).await;
    get(&remote.url("/secret-path?secret-query")).await
}

fn text(body: &str) -> Reply {
    Reply::Message { status: 200, headers: Vec::new(), body: body.to_owned() }
}

#[tokio::test]
async fn a_document_is_read_with_its_age() {
    let document = got(Reply::json(json!({"a": 1})).with("cache-control", "max-age=90")).await.unwrap();
    assert_eq!((document.value, document.max_age), (json!({"a": 1}), Some(Duration::from_secs(90))));
    let key_set = text("{}").with("content-type", "Application/JWK-Set+JSON; charset=utf-8");
    assert_eq!(got(key_set).await.unwrap().max_age, None);
}

#[tokio::test]
async fn a_body_is_read_to_its_limit_and_no_further() {
    let of = |length: usize| Reply::json(format!("\"{}\"", "x".repeat(length - 2)));
    assert!(got(of(LIMIT)).await.is_ok());
    assert!(matches!(got(of(LIMIT + 1)).await, Err(Error::TooLarge { limit: LIMIT, .. })));
    assert!(matches!(got(Reply::Endless).await, Err(Error::TooLarge { limit: LIMIT, .. })));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_leads_nowhere() {
    let private = Remote::start(|_| Reply::json("{}")).await;
    for to in [private.url("/keys").as_str(), "http://169.254.169.254/latest/meta-data/"] {
        assert!(matches!(got(Reply::redirect(to)).await, Err(Error::Refused { status: 302, .. })), "{to}");
    }
    assert_eq!(private.connections(), 0);
}

#[tokio::test]
async fn who_is_too_slow_is_left_at_the_deadline() {
    for reply in [Reply::Silence, Reply::Stuck] {
        let remote = Remote::start(move |_| reply.clone()).await;
        let soon = Instant::now() + Duration::from_millis(50);
        let answer = outbound().get_json::<Value>(&remote.url("/"), LIMIT, soon).await;
        assert!(matches!(answer, Err(Error::TimedOut { .. })), "{answer:?}");
        // Without a deadline of the caller's the configured timeout holds.
        let allow = vec!["127.0.0.1".parse().unwrap()];
        let hasty = Outbound::new(Options { allow, timeout: Duration::from_millis(50), ..Options::default() }).unwrap();
        let late = Instant::now() + Duration::from_secs(3600);
        let answer = hasty.get_json::<Value>(&remote.url("/"), LIMIT, late).await;
        assert!(matches!(answer, Err(Error::TimedOut { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_no_json_or_broken_off_is_no_document() {
    for reply in [
        text("{}"),
        text("{}").with("content-type", "text/html"),
        text("{}").with("content-type", "text/plain+json"),
        Reply::json("{"),
        Reply::json(""),
        Reply::json("[".repeat(LIMIT)),
    ] {
        let answer = got(reply.clone()).await;
        assert!(matches!(answer, Err(Error::Unreadable { .. })), "{reply:?}: {answer:?}");
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    for raw in ["", "SSH-2.0-x\r\n", head, &format!("{head}content-length: 9\r\n\r\n{{}}")] {
        let answer = got(Reply::Raw(raw.as_bytes().to_vec())).await;
        assert!(matches!(answer, Err(Error::Unreachable { .. })), "{raw}: {answer:?}");
    }
    assert!(matches!(got(Reply::status(500)).await, Err(Error::Refused { status: 500, .. })));
    let created = Reply::status(201).with("content-type", "application/json");
    assert!(matches!(got(created).await, Err(Error::Refused { status: 201, .. })));
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_not_called() {
    let remote = Remote::start(|_| Reply::json("{}")).await;
    let strict = Outbound::new(Options::default()).unwrap();
    let named = Outbound::new(Options { allow: vec!["localhost".parse().unwrap()], ..Options::default() }).unwrap();
    for url in [format!("https://localhost:{}", remote.port()), format!("https://127.0.0.1:{}", remote.port())] {
        let answer = strict.get_json::<Value>(&url.parse().unwrap(), LIMIT, strict.deadline()).await;
        assert!(matches!(answer, Err(Error::Forbidden { why: "its address is not public", .. })), "{answer:?}");
    }
    assert_eq!(remote.connections(), 0, "nothing was sent");
    let url = format!("http://localhost:{}", remote.port()).parse().unwrap();
    assert!(named.get_json::<Value>(&url, LIMIT, named.deadline()).await.is_ok());
}

#[tokio::test]
async fn a_post_arrives_as_it_was_given_and_every_status_is_an_answer() {
    let remote = Remote::start(|_| Reply::status(503).with("retry-after", "7")).await;
    let outbound = outbound();
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x"))]);
    let answer = outbound.post(&remote.url("/hook?a=b"), headers, b"body".to_vec(), outbound.deadline()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].as_bytes()), (503, b"7".as_slice()));
    let requests = remote.requests();
    let [Received { method, path, body, .. }] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((method.as_str(), path.as_str(), body.as_str()), ("POST", "/hook?a=b", "body"));
    assert_eq!(requests[0].header("content-type"), Some("application/x"));
    assert_eq!((requests[0].header("cookie"), requests[0].header("referer")), (None, None));
}

#[tokio::test]
async fn errors_name_the_host_and_nothing_else() {
    let closed = Remote::start(|_| Reply::Silence).await.url("/secret-path?secret-query");
    for answer in [
        get(&closed).await,
        got(Reply::Raw(Vec::new())).await,
        got(Reply::Endless).await,
        got(Reply::status(418)).await,
        got(Reply::json("secret-body")).await,
        get(&"https://user:secret@127.0.0.1/".parse().unwrap()).await,
    ] {
        let error = answer.unwrap_err();
        let shown = format!("{} {error:?}", chain(&error));
        assert!(shown.contains("127.0.0.1") && !shown.contains("secret"), "{shown}");
    }
}

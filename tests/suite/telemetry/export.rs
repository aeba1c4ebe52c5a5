//! What arrives at a real OTLP receiver, and what does not suffer if it does not.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use jeton::api::wire;
use serde_json::Value;
use tonic::{Request, metadata::MetadataValue};

use super::{
    page,
    receiver::{Receiver, Span, attribute},
};
use crate::{
    faults::{
        calls::{Client, FULL, Link, Wanted, issue_request},
        process::{ADMIN, ADMIN_SECRET, Ended, Jeton, Setup},
    },
    servers::{Aof, Server},
};

/// The longest that the end may take with a receiver that is of no use: nothing is in flight, so the drain is over at once.
const BOUND: Duration = Duration::from_secs(10);
/// The span of a caller.
const CALLER: &str = "00f067aa0ba902b7";

fn admin() -> Client {
    Client { id: ADMIN.to_owned(), secret: ADMIN_SECRET.to_owned() }
}

/// A token for the administrator with all of its default scopes.
fn request() -> wire::IssueTokenRequest {
    wire::IssueTokenRequest { scopes: Vec::new(), ..issue_request(&admin(), &Wanted::default()) }
}

async fn issue(link: &Link) -> wire::IssuedToken {
    link.tokens().issue_token(request()).await.unwrap().into_inner().token.unwrap()
}

/// With traces of those calls only whose callers want it.
fn exporting(setup: Setup, receiver: &Receiver) -> Setup {
    setup.env("JETON_OTLP_ENDPOINT", &receiver.endpoint).env("JETON_OTLP_SAMPLE_RATIO", "0")
}

/// Issues a token within a trace of the caller's.
async fn issue_in(link: &Link, trace: &str, flags: &str) -> wire::IssuedToken {
    let mut request = Request::new(request());
    let parent = format!("00-{trace}-{CALLER}-{flags}");
    request.metadata_mut().insert("traceparent", MetadataValue::try_from(parent).unwrap());
    link.tokens().issue_token(request).await.unwrap().into_inner().token.unwrap()
}

async fn stopped(jeton: Jeton) -> Ended {
    jeton.terminate();
    tokio::task::spawn_blocking(|| jeton.ended()).await.unwrap()
}

#[track_caller]
fn the_one<'a>(spans: &'a [Span], kind: &str) -> &'a Span {
    let found: Vec<&Span> = spans.iter().filter(|span| span.text("kind") == kind).collect();
    assert_eq!(found.len(), 1, "{spans:?}");
    found[0]
}

/// What the receiver got to know of the process.
fn resource(message: &Value, signal: &str) -> Value {
    message["message"][format!("resource_{signal}")][0]["resource"]["attributes"].clone()
}

async fn a_sampled_call_and_its_store(setup: Setup, system: &str) {
    let receiver = Receiver::start();
    let jeton = exporting(setup, &receiver).env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test").start();
    let link = jeton.link();
    // A call whose caller does not want it traced, and one that says nothing.
    let unwanted = "11111111111111111111111111111111";
    issue_in(&link, unwanted, "00").await;
    issue(&link).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    issue_in(&link, trace, "01").await;

    let spans = receiver.spans_of(trace, 3);
    let server = the_one(&spans, "SPAN_KIND_SERVER");
    assert_eq!((server.text("name"), server.text("parent_span_id")), ("jeton.v1.TokenService/IssueToken", CALLER));
    for (name, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", "jeton.v1.TokenService/IssueToken"),
        ("rpc.response.status_code", "OK"),
    ] {
        assert_eq!(server.attribute(name), Some(value), "{server:?}");
    }
    assert_eq!((server.attribute("error.type"), &server.0["status"]["code"]), (None, &Value::Null), "{server:?}");
    let children: Vec<&Span> = spans.iter().filter(|span| span.text("kind") == "SPAN_KIND_CLIENT").collect();
    for child in &children {
        assert_eq!(child.text("parent_span_id"), server.text("span_id"), "{child:?}");
        assert_eq!(child.attribute("db.system.name"), Some(system), "{child:?}");
        assert_eq!(child.attribute("db.operation.name"), Some(child.text("name")), "{child:?}");
    }
    for operation in ["tail", "mint"] {
        assert!(children.iter().any(|child| child.text("name") == operation), "{operation}: {children:?}");
    }
    let all = receiver.spans();
    assert!(all.iter().all(|span| span.text("trace_id") == trace), "{all:?}");
    let answer = receiver.wait_for_any("traces");
    let resource = resource(&answer, "spans");
    assert_eq!(attribute(&resource, "service.name"), Some("jeton"));
    assert_eq!(attribute(&resource, "service.version"), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(attribute(&resource, "deployment.environment.name"), Some("test"));
    assert_eq!(attribute(&resource, "service.instance.id").map(str::len), Some(32));
    let ended = stopped(jeton).await;
    assert!(ended.err.contains(&format!("trace_id=\"{trace}\"")), "{}", ended.err);
    assert!(!ended.err.contains(unwanted), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_over_http_is_traced_and_counted_as_the_method_that_it_is() {
    let receiver = Receiver::start();
    let setup = exporting(page::setup(), &receiver).env("JETON_HTTP_LISTEN", "127.0.0.1:0");
    let jeton = setup.start();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let ask = |grant: &str| {
        let url = format!("http://{}/t/system/oauth2/token", jeton.http());
        let (user, form) = (format!("{ADMIN}:{ADMIN_SECRET}"), format!("grant_type={grant}"));
        let parent = format!("traceparent: 00-{trace}-{CALLER}-01");
        page::curl(&[&url, "-u", &user, "-d", &form, "-H", &parent]).0
    };
    assert_eq!(ask("client_credentials"), "200");
    assert_eq!(ask("password"), "400");
    let spans = receiver.spans_of(trace, 3);
    let server = the_one(&spans, "SPAN_KIND_SERVER");
    assert_eq!((server.text("name"), server.text("parent_span_id")), ("jeton.v1.TokenService/IssueToken", CALLER));
    assert_eq!(server.attribute("network.protocol.name"), Some("http"));
    assert_eq!(server.attribute("rpc.system.name"), None, "{server:?}");
    let answer = page::metrics(&jeton);
    for (service, method, code) in
        [("jeton.v1.TokenService", "IssueToken", "OK"), ("unknown", "unknown", "Unimplemented")]
    {
        let series = format!(
            "grpc_server_handled_total{{grpc_type=\"unary\",grpc_service=\"{service}\",grpc_method=\"{method}\",\
             grpc_code=\"{code}\"}} 1.0"
        );
        assert!(answer.contains(&series), "{series} is not in:\n{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sampled_call_is_a_span_with_what_it_asked_of_the_embedded_store() {
    a_sampled_call_and_its_store(Setup::embedded(), "embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sampled_call_is_a_span_with_what_it_asked_of_redis() {
    let server = Server::start(Aof::Off);
    a_sampled_call_and_its_store(Setup::redis(&server), "redis").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_ours_is_an_error_and_one_of_the_callers_is_none() {
    let receiver = Receiver::start();
    let server = Server::start(Aof::Off);
    let jeton = exporting(Setup::redis(&server), &receiver).env("JETON_OTLP_SAMPLE_RATIO", "1").start();
    let link = jeton.link();
    let wrong = Client { id: ADMIN.to_owned(), secret: "jcs_wrong".to_owned() };
    link.issue(&wrong, &Wanted::default()).await.unwrap_err();
    server.stop();
    link.tokens().issue_token(request()).await.unwrap_err();
    server.cont();
    let of = |code: &'static str| {
        receiver.wait("traces", |request| {
            let spans = request["resource_spans"][0]["scope_spans"][0]["spans"].as_array()?.clone();
            spans.into_iter().map(Span).find(|span| span.attribute("rpc.response.status_code") == Some(code))
        })
    };
    let refused = of("UNAUTHENTICATED");
    assert_eq!((refused.attribute("error.type"), &refused.0["status"]["code"]), (None, &Value::Null), "{refused:?}");
    assert_eq!(refused.attribute("jeton.error.reason"), Some("INVALID_CLIENT"));
    let failed = of("UNAVAILABLE");
    assert_eq!(failed.attribute("error.type"), Some("UNAVAILABLE"), "{failed:?}");
    assert_eq!(failed.0["status"]["code"], "STATUS_CODE_ERROR", "{failed:?}");
    assert_eq!(failed.attribute("jeton.error.reason"), Some("STORE_UNAVAILABLE"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_arrive_with_the_conventions_names_and_ours() {
    let receiver = Receiver::start();
    let jeton = exporting(Setup::embedded(), &receiver).env("JETON_OTLP_INTERVAL", "1s").start();
    issue(&jeton.link()).await;
    let metric = |request: &Value, name: &str| {
        let metrics = request["resource_metrics"][0]["scope_metrics"][0]["metrics"].as_array()?.clone();
        metrics.into_iter().find(|metric| metric["name"] == name)
    };
    let duration = receiver.wait("metrics", |request| {
        metric(request, "rpc.server.call.duration").filter(|found| found["histogram"]["data_points"].is_array())
    });
    assert_eq!(duration["unit"], "s");
    let histogram = &duration["histogram"];
    assert_eq!(histogram["aggregation_temporality"], "AGGREGATION_TEMPORALITY_CUMULATIVE");
    let points = histogram["data_points"].as_array().unwrap();
    let issue =
        |point: &&Value| attribute(&point["attributes"], "rpc.method") == Some("jeton.v1.TokenService/IssueToken");
    let point = points.iter().find(issue).unwrap();
    assert_eq!(attribute(&point["attributes"], "rpc.system.name"), Some("grpc"));
    assert_eq!(attribute(&point["attributes"], "rpc.response.status_code"), Some("OK"));
    assert_eq!(point["count"], "1");
    assert_eq!(
        point["bucket_counts"].as_array().unwrap().len(),
        point["explicit_bounds"].as_array().unwrap().len() + 1
    );
    let issued = receiver.wait("metrics", |request| {
        let points = metric(request, "jeton.tokens.issued")?["sum"]["data_points"].as_array()?.clone();
        let own = |point: &Value| attribute(&point["attributes"], "grant") == Some("client_credentials");
        points.into_iter().find(own).filter(|point| point["as_double"] == 1.0)
    });
    assert!(issued["start_time_unix_nano"].as_str() < issued["time_unix_nano"].as_str(), "{issued}");
    let stored = receiver.wait("metrics", |request| {
        let points = metric(request, "jeton.store.duration")?["histogram"]["data_points"].as_array()?.clone();
        points.into_iter().find(|point| attribute(&point["attributes"], "operation") == Some("mint"))
    });
    assert_eq!(stored["explicit_bounds"], point["explicit_bounds"]);
    let build = receiver.wait("metrics", |request| metric(request, "jeton.build.info"));
    assert_eq!((&build["gauge"]["data_points"][0]["as_double"], &build["unit"]), (&1.0.into(), &"1".into()), "{build}");
    let answer = receiver.wait_for_any("metrics");
    assert_eq!(attribute(&resource(&answer, "metrics"), "service.name"), Some("jeton"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_spans_and_metrics_leave_before_the_process_ends() {
    let receiver = Receiver::start();
    let jeton = exporting(Setup::embedded(), &receiver).env("JETON_OTLP_INTERVAL", "1h").start();
    let trace = "5bf92f3577b34da6a3ce929d0e0e4736";
    issue_in(&jeton.link(), trace, "01").await;
    assert!(stopped(jeton).await.status.success());
    // The process is gone: what is to come is on its way.
    let spans = receiver.spans_of(trace, 1);
    assert!(spans.iter().any(|span| span.text("kind") == "SPAN_KIND_SERVER"), "{spans:?}");
    receiver.wait("metrics", |request| request["resource_metrics"].is_array().then_some(()));
}

/// Whatever the receiver does, calls, start and end are as ever.
async fn unharmed(endpoint: &str, logged: &str) {
    let setup = Setup::embedded().env("JETON_OTLP_ENDPOINT", endpoint).env("JETON_OTLP_SAMPLE_RATIO", "1");
    // Longer than the end may take.
    let jeton = setup.env("JETON_OTLP_INTERVAL", "1s").env("JETON_OTLP_TIMEOUT", "60s").start();
    let link = jeton.link();
    let client = admin();
    let issued = issue(&link).await;
    for _ in 0..200 {
        assert!(link.is_active(&client, &issued.access_token, FULL).await.unwrap());
    }
    let asked = Instant::now();
    let ended = stopped(jeton).await;
    assert!(asked.elapsed() < BOUND, "the end took {:?}", asked.elapsed());
    assert!(ended.status.success() && ended.err.contains("stopped"), "{}", ended.err);
    assert!(ended.err.contains(logged), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_down_harms_nobody() {
    // Nobody listens on a port that was free a moment ago and is held without listening on it.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    unharmed(&format!("http://127.0.0.1:{port}"), "an export by OTLP failed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_never_answers_harms_nobody() {
    let receiver = Receiver::that_hangs();
    unharmed(&receiver.endpoint, "the last export by OTLP was cut short").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_does_not_wait_for_the_receiver() {
    let receiver = Receiver::that_hangs();
    let jeton = exporting(Setup::embedded(), &receiver).start();
    jeton.terminate();
    // Between here and the end there is only the last export.
    jeton.err_with("draining");
    jeton.terminate();
    let ended = tokio::task::spawn_blocking(|| jeton.ended()).await.unwrap();
    assert!(ended.status.success() && !ended.err.contains("export by OTLP was cut short"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_receiver_is_authenticated_and_so_are_we() {
    let receiver = Receiver::with_tls();
    let secret = "otlp-secret-that-nobody-may-see-4711";
    let setup = exporting(Setup::embedded(), &receiver).env("JETON_OTLP_HEADERS", &format!("x-api-key={secret}"));
    let setup = setup.arg("--log-level=trace").env("JETON_OTLP_INTERVAL", "1s");
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/outbound/authority.pem");
    let jeton = setup.clone().env("JETON_OTLP_CA_FILE", authority).start();
    assert_eq!(receiver.metadata("metrics")["x-api-key"], secret);
    let ended = stopped(jeton).await;
    assert!(!ended.err.contains(secret) && !ended.out.contains(secret), "{}", ended.err);

    // An authority that this machine does not know certifies nobody.
    let jeton = setup.start();
    jeton.err_with("an export by OTLP failed");
    assert!(!stopped(jeton).await.err.contains(secret));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_caller_sends_is_in_spans_or_metrics() {
    const CANARY: &str = "canary0815canary0815";
    let receiver = Receiver::start();
    let jeton = exporting(Setup::embedded(), &receiver).env("JETON_OTLP_SAMPLE_RATIO", "1").start();
    let link = jeton.link();
    let mut wrong = issue_request(&Client { id: CANARY.into(), secret: CANARY.into() }, &Wanted::default());
    wrong.session_id = CANARY.into();
    let metadata = [
        ("traceparent", format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{CALLER}-01")),
        ("tracestate", format!("vendor={CANARY}")),
        ("baggage", format!("user={CANARY}")),
        ("x-request-id", CANARY.to_owned()),
        ("authorization", format!("Bearer {CANARY}")),
    ];
    for (name, value) in metadata {
        let mut request = Request::new(wrong.clone());
        request.metadata_mut().insert(name, MetadataValue::try_from(value).unwrap());
        link.tokens().issue_token(request).await.unwrap_err();
    }
    let mut unknown = tonic::client::Grpc::new(link.0.clone());
    unknown.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/jeton.v1.canary0815canary0815/canary0815canary0815");
    let codec = tonic_prost::ProstCodec::<wire::GetCallerRequest, wire::GetCallerResponse>::default();
    unknown.unary(Request::new(wire::GetCallerRequest::default()), path, codec).await.unwrap_err();
    let ended = stopped(jeton).await;
    receiver.wait("metrics", |request| request["resource_metrics"].is_array().then_some(()));
    let spans = receiver.spans();
    assert!(spans.iter().filter(|span| span.text("kind") == "SPAN_KIND_SERVER").count() >= 6, "{spans:?}");
    assert!(spans.iter().any(|span| span.text("name") == "_OTHER"), "{spans:?}");
    let text = receiver.text();
    assert!(!text.contains(CANARY), "{text}");
    drop(ended);
}

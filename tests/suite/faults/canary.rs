//! No secret leaves the process but in the reply that it is made for (I26): not in logs at their loudest, nor in traces and
//! metrics, nor on the way to Redis, nor at rest.

use std::{
    collections::HashSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jeton::api::wire;
use tonic::{Code, Status};

use super::{
    calls::{BOUNDED, Client, FULL, Wanted, bearing, issue_request},
    process::{ADMIN, ADMIN_SECRET, Jeton, MASTER_KEY, SOON, Setup},
};
use crate::{
    servers::{Aof, Server},
    telemetry::{page::metrics, receiver::Receiver},
};

const REDIS_PASSWORD: &str = "open-sesame-0815-open-sesame";
/// What the receiver of traces and metrics gets.
const EXPORT_PASSWORD: &str = "swordfish-4711-swordfish-4711";
/// What signs events.
const EVENT_SECRET: &str = "d2hhdC1zaWducy1ldmVudHMtaXMtbm9ib2R5cw==";
/// Any window of so many bytes counts as the secret.
const WINDOW: usize = 16;

/// Secrets, with what they look like in other clothes.
struct Canaries {
    forms: Vec<(String, Vec<u8>)>,
}

// === impl Canaries ===

impl Canaries {
    fn new() -> Self {
        let mut canaries = Self { forms: Vec::new() };
        canaries.add("the administrator's secret", ADMIN_SECRET.as_bytes());
        canaries.add("the master key", MASTER_KEY.as_bytes());
        canaries.add("the master key's bytes", &unhex(MASTER_KEY));
        canaries.add("the password of Redis", REDIS_PASSWORD.as_bytes());
        canaries.add("the secret of events", EVENT_SECRET.as_bytes());
        canaries
    }

    fn add(&mut self, name: &str, secret: &[u8]) {
        assert!(secret.len() >= WINDOW, "{name} is too short");
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let clothes = [
            ("", secret.to_vec()),
            (" in hex", hex.clone().into_bytes()),
            (" in HEX", hex.to_uppercase().into_bytes()),
            (" in base64", STANDARD.encode(secret).into_bytes()),
            (" as a list", format!("{secret:?}").into_bytes()),
        ];
        self.forms.extend(clothes.map(|(form, bytes)| (format!("{name}{form}"), bytes)));
    }

    fn add_issued(&mut self, name: &str, issued: &wire::IssuedToken) {
        // A JWT begins with its header and claims, which are no secrets: its signature is what makes it a token.
        let access = issued.access_token.rsplit('.').next().unwrap();
        self.add(&format!("the access token of {name}"), access.as_bytes());
        if !issued.refresh_token.is_empty() {
            self.add(&format!("the refresh token of {name}"), issued.refresh_token.as_bytes());
        }
    }

    #[track_caller]
    fn assert_absent(&self, place: &str, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "{place} is empty");
        let present: HashSet<&[u8]> = bytes.windows(WINDOW).collect();
        for (name, form) in &self.forms {
            for window in form.windows(WINDOW) {
                assert!(!present.contains(window), "{name} is in {place}: {:?}", String::from_utf8_lossy(window));
            }
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// Makes every call that takes or gives a secret, right and wrong ones, over gRPC and over HTTP. Returns what failures say.
async fn use_secrets(jeton: &Jeton, canaries: &mut Canaries) -> String {
    let link = &jeton.link();
    let http = format!("http://{}", jeton.http());
    let mut failures = String::new();
    let admin = link.admin().await;
    canaries.add("the administrator's token", admin.rsplit('.').next().unwrap().as_bytes());
    let client = link.new_client(&admin, Duration::from_secs(10)).await;
    canaries.add("a client's secret", client.secret.as_bytes());
    for opaque in [true, false] {
        let name = if opaque { "opaque form" } else { "JWT form" };
        let wanted = Wanted { refresh: true, opaque, ..Default::default() };
        let first = link.issue(&client, &wanted).await.unwrap();
        canaries.add_issued(name, &first);
        let second = link.renew(&client, &first.refresh_token).await.unwrap();
        canaries.add_issued(&format!("the renewed {name}"), &second);
        link.renew(&client, &first.refresh_token).await.unwrap();
        for text in [&second.access_token, &second.refresh_token, &first.refresh_token] {
            link.is_active(&client, text, FULL).await.unwrap();
            link.is_active(&client, text, BOUNDED).await.unwrap();
        }
        // As a bearer where it may not be one, and where the message is wrong.
        let request = bearing(&first.access_token, wire::GetCallerRequest {});
        failures += &shown(&link.tokens().get_caller(request).await.unwrap_err());
        let mut wrong = issue_request(&client, &wanted);
        wrong.request_id.clone_from(&second.refresh_token);
        let status = link.tokens().issue_token(wrong).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        failures += &shown(&status);
        let other = Client { id: ADMIN.to_owned(), secret: client.secret.clone() };
        failures += &shown(&link.renew(&other, &second.refresh_token).await.unwrap_err());
        // The same secrets in forms and headers, some of them where they do not belong.
        let (id, secret, access) = (client.id.as_str(), client.secret.as_str(), second.access_token.as_str());
        for (path, user, form) in [
            ("introspect", Some((id, secret)), vec![("token", access)]),
            ("token", Some((ADMIN, secret)), vec![("grant_type", "client_credentials")]),
            (
                "token",
                None,
                vec![
                    ("grant_type", "refresh_token"),
                    ("refresh_token", access),
                    ("client_id", id),
                    ("client_secret", secret),
                ],
            ),
            ("token", Some((id, secret)), vec![("grant_type", secret), ("scope", &second.refresh_token)]),
            ("token", Some((id, secret)), vec![("grant_type", "client_credentials"), ("client_secret", secret)]),
            ("introspect", Some((id, ADMIN_SECRET)), vec![(secret, secret), (secret, access)]),
            ("revoke", Some((id, secret)), vec![("token", access), ("token_type_hint", secret)]),
        ] {
            let url = format!("{http}/t/default/oauth2/{path}");
            let request = reqwest::Client::new().post(url).header("content-type", "application/x-www-form-urlencoded");
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
            let request = match user {
                Some((id, secret)) => request.basic_auth(id, Some(secret)),
                None => request,
            };
            let answer = request.body(body).send().await.unwrap();
            if !answer.status().is_success() {
                failures += &format!("{:?}", answer.headers());
                failures += &answer.text().await.unwrap();
            }
        }
        link.revoke(&second.access_token).await.unwrap();
        link.revoke(&second.refresh_token).await.unwrap();
        failures += &shown(&link.renew(&client, &second.refresh_token).await.unwrap_err());
        let both = wire::InvalidateTokensRequest {
            access_token: first.access_token.clone(),
            refresh_token: first.refresh_token.clone(),
            ..Default::default()
        };
        link.tokens().invalidate_tokens(both).await.unwrap();
    }
    failures
}

/// All that a caller can see of a failure.
fn shown(status: &Status) -> String {
    format!("{status:?}{}", String::from_utf8_lossy(status.details()))
}

/// A connection to Redis that has sent some commands.
fn redis(server: &Server, commands: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(format!("AUTH {REDIS_PASSWORD}\r\n{commands}\r\n").as_bytes()).unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+OK\r\n+OK\r\n", "{:?}", String::from_utf8_lossy(&answer));
    stream
}

/// Watched as closely as can be: every call traced, every metric read.
fn watched(setup: Setup, receiver: &Receiver) -> Setup {
    let setup = setup.arg("--log-level=trace").env("JETON_ADMIN_LISTEN", "127.0.0.1:0");
    setup
        .env("JETON_HTTP_LISTEN", "127.0.0.1:0")
        .env("JETON_OTLP_ENDPOINT", &receiver.endpoint)
        .env("JETON_OTLP_SAMPLE_RATIO", "1")
        .env("JETON_OTLP_HEADERS", &format!("x-password={EXPORT_PASSWORD}"))
        .env("JETON_WEBHOOK_URL", "https://events.example.com/")
        .env("JETON_WEBHOOK_SECRET", &format!("whsec_{EVENT_SECRET}"))
}

/// What was exported until the process ended. Metrics come but once, behind the last spans.
fn exported(receiver: &Receiver) -> String {
    receiver.wait_for_any("metrics");
    let spans = receiver.spans().len();
    assert!(spans > 50, "only {spans} spans arrived");
    receiver.text()
}

async fn stopped(jeton: Jeton) -> (String, String) {
    jeton.terminate();
    let ended = tokio::task::spawn_blocking(|| jeton.ended()).await.unwrap();
    assert!(ended.status.success());
    (ended.out, ended.err)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_logged_or_sent_to_redis() {
    let server = Server::start_with(Aof::On, &["--requirepass", REDIS_PASSWORD]);
    let mut monitor = redis(&server, "MONITOR");
    let url = format!("redis://:{REDIS_PASSWORD}@127.0.0.1:{}/", server.port());
    let receiver = Receiver::start();
    let jeton = watched(Setup::redis_at(&url), &receiver).start();
    let mut canaries = Canaries::new();
    let failures = use_secrets(&jeton, &mut canaries).await;
    canaries.assert_absent("failures", failures.as_bytes());
    // Without the store there are other failures to tell.
    server.stop();
    let anybody = Client { id: ADMIN.to_owned(), secret: ADMIN_SECRET.to_owned() };
    jeton.link().issue(&anybody, &Wanted::default()).await.unwrap_err();
    server.cont();
    let page = metrics(&jeton);
    let (out, err) = stopped(jeton).await;
    canaries.assert_absent("what is exported", exported(&receiver).as_bytes());
    // The receiver alone gets it.
    canaries.add("the password of the receiver", EXPORT_PASSWORD.as_bytes());
    canaries.assert_absent("metrics", page.as_bytes());
    canaries.assert_absent("standard output", out.as_bytes());
    canaries.assert_absent("the log", err.as_bytes());
    assert!(err.contains("TRACE") || err.contains("DEBUG"), "the log is not at its loudest");

    // Everything up to a mark of our own.
    drop(redis(&server, "SET last-mark 1"));
    let mut seen = Vec::new();
    let mut buffer = [0; 65536];
    while !String::from_utf8_lossy(&seen).contains("last-mark") {
        let read = monitor.read(&mut buffer).unwrap();
        assert!(read > 0, "MONITOR ended");
        seen.extend_from_slice(&buffer[..read]);
    }
    assert!(seen.len() > 10_000, "MONITOR saw {} bytes", seen.len());
    canaries.assert_absent("MONITOR", &seen);
    let mut aof = Vec::new();
    for file in server.files() {
        if file.to_string_lossy().contains("appendonly") {
            aof.extend(std::fs::read(file).unwrap());
        }
    }
    canaries.assert_absent("the append-only file", &aof);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_logged_or_kept_in_the_embedded_store() {
    let receiver = Receiver::start();
    let setup = Setup::embedded().env("JETON_MASTER_KEY", MASTER_KEY).arg("--log-format=json");
    let setup = watched(setup, &receiver);
    let jeton = setup.start();
    let mut canaries = Canaries::new();
    let failures = use_secrets(&jeton, &mut canaries).await;
    canaries.assert_absent("failures", failures.as_bytes());
    let page = metrics(&jeton);
    let (out, err) = stopped(jeton).await;
    canaries.assert_absent("what is exported", exported(&receiver).as_bytes());
    // The receiver alone gets it.
    canaries.add("the password of the receiver", EXPORT_PASSWORD.as_bytes());
    canaries.assert_absent("metrics", page.as_bytes());
    canaries.assert_absent("standard output", out.as_bytes());
    canaries.assert_absent("the log", err.as_bytes());
    for file in std::fs::read_dir(setup.data_dir()).unwrap() {
        let file = file.unwrap().path();
        canaries.assert_absent(&file.display().to_string(), &std::fs::read(&file).unwrap());
    }
}

//! Who gets a connection and who does not.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpStream},
    sync::Arc,
    time::Duration,
};

use jeton::{
    ambient::Clock,
    api::{health::Health, policy::Policy, wire},
    http::{Http, admin},
    serve::{
        self, Options, Protocol,
        listen::{self, Listener},
        serve,
        tls::{ClientAuth, Tls},
    },
};
use tempfile::TempDir;
use tokio_util::sync::DropGuard;

use super::{SOON, files, until};
use crate::{
    certificates::{Authority, Certified, Mount, self_signed},
    service::harness::{Backend, Service},
};

/// A service under TLS.
struct Secured {
    service: Service,
    tls: Arc<Tls>,
    clients: Authority,
    _files: TempDir,
}

impl Secured {
    async fn start(auth: ClientAuth) -> Self {
        let (authority, clients) = (Arc::new(Authority::new("servers")), Authority::new("clients"));
        let dir = tempfile::tempdir().unwrap();
        let mount = Mount::new(&dir.path().join("mount"), &authority.server());
        let tls = Tls::load(files(&mount, dir.path(), Some((&clients, auth))), Clock::default()).unwrap();
        let service = Service::start(Backend::Embedded).await;
        let service = service.secured(tls.for_callers(), authority).await;
        Self { service, tls, clients, _files: dir }
    }

    /// Whether a call comes through over a connection of its own that shows this.
    async fn answers(&self, shown: Option<&Certified>) -> bool {
        // Under TLS 1.3 a client learns that its certificate was refused when it calls.
        match self.service.try_showing(shown).await {
            Ok(caller) => caller.list_signing_keys(wire::ListSigningKeysRequest::default()).await.is_ok(),
            Err(_) => false,
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_shown_must_be_valid() {
    let secured = Secured::start(ClientAuth::Optional).await;
    let name = ["spiffe://example.org/billing"];
    assert!(secured.answers(None).await);
    assert!(secured.answers(Some(&secured.clients.client(&name))).await);
    let other = Authority::new("clients");
    let wrong =
        [secured.clients.expired_client(&name), self_signed(&name), other.client(&name), secured.clients.server()];
    // The last one has no purpose in it, so it is good for all of them.
    for (shown, good) in wrong.iter().zip([false, false, false, true]) {
        let before = secured.tls.handshake_failures();
        assert_eq!(secured.answers(Some(shown)).await, good);
        if !good {
            until("the failure is counted", || secured.tls.handshake_failures() > before).await;
        }
    }
}

#[tokio::test]
async fn no_connection_outlives_the_certificate_that_it_was_made_with() {
    let secured = Secured::start(ClientAuth::Optional).await;
    let brief = secured.clients.brief_client(&["dns:a.example"], Duration::from_secs(2));
    // A slow machine has not even got this far in time.
    let Ok(caller) = secured.service.try_showing(Some(&brief)).await else { return };
    // The client connects again, and is refused.
    let deadline = tokio::time::Instant::now() + SOON;
    while caller.list_signing_keys(wire::ListSigningKeysRequest::default()).await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "the connection goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn where_certificates_are_required_nobody_connects_without() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let dir = tempfile::tempdir().unwrap();
    let mount = Mount::new(&dir.path().join("mount"), &authority.server());
    let files = files(&mount, dir.path(), Some((&clients, ClientAuth::Required)));
    let tls = Tls::load(files, Clock::default()).unwrap();
    let callers = Plain::start(|listener| listener.secured(&tls.for_callers())).await;
    let operators = Plain::start(|listener| listener.secured(&tls.for_operators())).await;
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let (cert, key) = clients.client(&["dns:a.example"]).write(dir.path(), "client");
    let ca = ca.display().to_string();
    let own = ["--cert", &cert, "--key", &key];
    assert_eq!(callers.status(&ca, &own).await, "200");
    assert_eq!(callers.status(&ca, &[]).await, "000");
    assert_eq!(operators.status(&ca, &[]).await, "200");
    // Both versions of HTTP are agreed upon within the handshake.
    assert_eq!(operators.status(&ca, &["--http1.1"]).await, "200");
    assert_eq!(operators.status(&ca, &["--http2"]).await, "200");
    // And both of TLS that are any good.
    assert_eq!(operators.status(&ca, &["--tls-max", "1.2"]).await, "200");
    assert_eq!(operators.status(&ca, &["--tlsv1.3"]).await, "200");
}

#[tokio::test]
async fn what_is_no_handshake_of_this_century_is_closed() {
    let secured = Secured::start(ClientAuth::Optional).await;
    let port = secured.service.port();
    // A client of plain HTTP/2.
    let plain = tonic::transport::Endpoint::try_from(format!("http://127.0.0.1:{port}")).unwrap();
    if let Ok(channel) = plain.connect().await {
        let mut tokens = wire::token_service_client::TokenServiceClient::new(channel);
        tokens.list_signing_keys(wire::ListSigningKeysRequest::default()).await.unwrap_err();
    }
    until("the failure is counted", || secured.tls.handshake_failures() == 1).await;
    // The ClientHello of TLS 1.2 with what the service wants in it, and the same of 1.1.
    let said = async |version: u8| {
        let begun = begin(port, &hello([3, version]));
        // Nothing more will come.
        begun.shutdown(Shutdown::Write).unwrap();
        tokio::task::spawn_blocking(move || answer(begun)).await.unwrap()
    };
    let (good, old) = (said(3).await, said(2).await);
    // A handshake goes on with the one; a fatal alert for the other: protocol_version (RFC 5246 §7.2.2).
    assert_eq!(good[0], 22);
    assert_eq!((old[0], &old[5..]), (21, &[2, 70][..]), "{old:?}");
    until("the failure is counted", || secured.tls.handshake_failures() == 3).await;
    assert!(secured.answers(None).await);
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_closed() {
    let authority = Authority::new("servers");
    let dir = tempfile::tempdir().unwrap();
    let mount = Mount::new(&dir.path().join("mount"), &authority.server());
    let tls = Tls::load(files(&mount, dir.path(), None), Clock::default()).unwrap();
    let server = Plain::start(|listener| listener.secured(&tls.for_callers())).await;
    for begun in [&b""[..], &[22, 3, 1, 2, 0, 1]] {
        let begun = begin(server.port, begun);
        // Returns at the end of the connection.
        let answer = tokio::task::spawn_blocking(move || answer(begun)).await.unwrap();
        assert_eq!(answer, b"");
    }
    until("the failures are counted", || tls.handshake_failures() == 2).await;
}

/// A ClientHello (RFC 5246 §7.4.1.2) of that version, which ends in the middle of a handshake.
fn hello(version: [u8; 2]) -> Vec<u8> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    // ECDSA with P-256 and SHA-256; P-256; TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256.
    let extensions = [&[0, 13, 0, 4, 0, 2, 4, 3][..], &[0, 10, 0, 4, 0, 2, 0, 23]].concat();
    let hello = [&version[..], &[7; 32], &[0, 0, 2, 0xc0, 0x2b, 1, 0], &length(&extensions), &extensions].concat();
    let handshake = [&[1, 0][..], &length(&hello), &hello].concat();
    [&[22, 3, 1][..], &length(&handshake), &handshake].concat()
}

/// A connection on which this was sent.
fn begin(port: u16, sent: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(sent).unwrap();
    stream
}

/// Everything that comes back before the other side closes.
fn answer(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// A server of the admin listener's pages that gives handshakes little time.
struct Plain {
    port: u16,
    _stop: DropGuard,
}

impl Plain {
    async fn start(secure: impl FnOnce(Listener) -> Listener) -> Self {
        let health = Health::new(&Policy::load().unwrap()).await;
        health.ready().await;
        let mut listeners = listen::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        let protocol: Arc<dyn Protocol> = Arc::new(Http::new(admin::routes(health, Arc::default(), None), |_| ()));
        let listener = secure(listeners.pop().unwrap());
        let options = Options {
            workers: 1,
            handshake_timeout: Duration::from_millis(300),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::ZERO,
            ..Options::default()
        };
        let (shutdown, stop) = (serve::Shutdown::new(), tokio_util::sync::CancellationToken::new());
        let (stopping, asked) = (shutdown.clone(), stop.clone());
        tokio::spawn(async move {
            asked.cancelled().await;
            stopping.request();
        });
        tokio::spawn(serve(options, vec![(listener, protocol)], shutdown, std::future::ready(())));
        Self { port, _stop: stop.drop_guard() }
    }

    /// The status of `/readyz`, by a client that nobody here wrote.
    async fn status(&self, ca: &str, arguments: &[&str]) -> String {
        let asked = tokio::process::Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", ca])
            .args(arguments)
            .arg(format!("https://localhost:{}/readyz", self.port))
            .output();
        String::from_utf8(asked.await.unwrap().stdout).unwrap()
    }
}

//! Certificates that are replaced while the service is called.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use jeton::{
    ambient::Clock,
    serve::tls::{ClientAuth, Tls},
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio_rustls::rustls::HandshakeKind;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{files, until};
use crate::{
    certificates::{Authority, Mount},
    service::{
        calls::{Caller, Credentials},
        harness::{Backend, Service},
    },
};

/// So often the files are looked at here.
const OFTEN: Duration = Duration::from_millis(1);
/// How often the certificate is replaced.
const SWAPS: u64 = 200;

/// A service whose certificates are watched.
struct Watched {
    service: Service,
    tls: Arc<Tls>,
    authority: Arc<Authority>,
    clients: Authority,
    mount: Mount,
    dir: TempDir,
    _stop: DropGuard,
}

impl Watched {
    async fn start() -> Self {
        let (authority, clients) = (Arc::new(Authority::new("servers")), Authority::new("clients"));
        let dir = tempfile::tempdir().unwrap();
        let mount = Mount::new(&dir.path().join("mount"), &authority.server());
        let files = files(&mount, dir.path(), Some((&clients, ClientAuth::Optional)));
        let tls = Tls::load(files, Clock::default()).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&tls).watch(OFTEN, stop.clone()));
        let service = Service::start(Backend::Embedded).await;
        let service = service.secured(tls.for_callers(), Arc::clone(&authority)).await;
        Self { service, tls, authority, clients, mount, dir, _stop: stop.drop_guard() }
    }
}

#[tokio::test]
async fn certificates_are_replaced_under_load_without_a_failed_call() {
    let mut watched = Watched::start().await;
    let client = watched.service.client().await;
    let token = watched.service.anonymous().issue(client.client_credentials()).await.access_token;
    let watched_service = Arc::new(watched.service);
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new([const { AtomicUsize::new(0) }; 2]));
    let mut callers = tokio::task::JoinSet::new();
    for lane in 0..6 {
        let (service, stop, made) = (Arc::clone(&watched_service), Arc::clone(&stop), Arc::clone(&made));
        let (client, token) = (client.clone(), token.clone());
        callers.spawn(async move {
            let kept = service.showing(None).await;
            while !stop.load(Ordering::Relaxed) {
                let fresh = lane % 2;
                // Half of them connect for every call.
                let caller = if fresh == 1 { service.showing(None).await } else { kept.clone() };
                call(&caller, &client, &token).await;
                made[fresh].fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut last = watched.authority.server();
    for swap in 1..=SWAPS {
        last = watched.authority.server();
        watched.mount.swap(&last.cert, &last.key);
        until("the new certificate is in use", || watched.tls.generation() == swap).await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(caller) = callers.join_next().await {
        // A call that failed has ended its task.
        caller.unwrap();
    }
    assert_eq!(watched.authority.shown_by(watched_service.port()).await, last.der());
    assert_eq!((watched.tls.failures(), watched.tls.handshake_failures()), (0, 0));
    let [kept, fresh] = [0, 1].map(|i| made[i].load(Ordering::Relaxed));
    assert!(kept > 0 && fresh > 0, "{kept} calls on kept connections, {fresh} on new ones");
}

async fn call(caller: &Caller, client: &Credentials, token: &str) {
    assert_eq!(caller.introspect(client.introspect(token)).await.active, Some(true));
    caller.issue(client.client_credentials()).await;
}

#[tokio::test]
async fn what_cannot_be_used_leaves_what_was_there() {
    let mut watched = Watched::start().await;
    let first = watched.authority.shown_by(watched.service.port()).await;
    let other = watched.authority.server();
    let mut failures = 0;
    for (cert, key) in [
        ("nonsense", other.key.as_str()),
        (&other.cert, "nonsense"),
        (&other.cert, ""),
        // The key of another certificate.
        (&other.cert, &watched.authority.server().key),
    ] {
        watched.mount.swap(cert, key);
        failures += 1;
        until("the failure is counted", || watched.tls.failures() == failures).await;
        assert_eq!(watched.authority.shown_by(watched.service.port()).await, first);
    }
    // Files that are gone are no certificates either.
    std::fs::remove_file(watched.mount.cert()).unwrap();
    until("the failure is counted", || watched.tls.failures() == failures + 1).await;
    assert_eq!(watched.authority.shown_by(watched.service.port()).await, first);
    std::os::unix::fs::symlink("..data/tls.crt", watched.mount.cert()).unwrap();
    watched.mount.swap(&other.cert, &other.key);
    until("the new certificate is in use", || watched.tls.generation() == 1).await;
    assert_eq!(watched.authority.shown_by(watched.service.port()).await, other.der());
    assert!(watched.tls.not_after() > Clock::default().now());
}

#[tokio::test]
async fn authorities_of_clients_are_replaced_as_well() {
    let watched = Watched::start().await;
    let own = watched.clients.client(&["dns:a.example"]);
    let answers = async |shown| match watched.service.try_showing(Some(shown)).await {
        Ok(caller) => caller.list_signing_keys(Default::default()).await.is_ok(),
        Err(_) => false,
    };
    assert!(answers(&own).await);
    let (port, config) = (watched.service.port(), watched.authority.config(Some(&own)));
    // What the service says first; tickets, if there were any, have come before it.
    let first = async || {
        let mut stream = watched.authority.connect(port, Arc::clone(&config)).await?;
        stream.read_u8().await?;
        std::io::Result::Ok(stream.get_ref().1.handshake_kind())
    };
    // A session that is resumed would bring its certificate along unseen, whatever has become of it.
    assert_eq!([first().await.unwrap(), first().await.unwrap()], [Some(HandshakeKind::Full); 2]);
    let others = Authority::new("others");
    std::fs::write(watched.dir.path().join("clients.pem"), &others.pem).unwrap();
    until("the new authority is in use", || watched.tls.generation() == 1).await;
    assert!(!answers(&own).await);
    assert!(first().await.is_err());
    assert!(answers(&others.client(&["dns:a.example"])).await);
}

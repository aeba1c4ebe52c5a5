//! Delivery of events to a receiver over HTTP.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jeton::{
    ambient::Clock,
    keys::{code::OneTimeCode, master::MasterKey, ring::Keyring},
    outbox::{
        Event, Outbox, Sink, What,
        webhook::{SigningSecret, sign},
    },
    store::{Change, Kind, RecordKey, Store, embedded, embedded::Embedded, redis},
};
use jeton_core::{
    TenantId,
    secret::{Mac as _, SecretText},
};
use tempfile::TempDir;

use crate::{
    remote::{self, Received, Remote, Reply},
    servers::{Aof, Server},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const MINUTE: Duration = Duration::from_secs(60);
/// Longer than an attempt belongs to who began it.
const LEASE_OVER: Duration = Duration::from_secs(31);

/// An outbox on a store of its own.
struct Place {
    clock: Clock,
    ring: Arc<Keyring>,
    store: Arc<dyn Store>,
    _dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Clock::default().now());
        let path = dir.path().join("jeton.redb");
        let store = Embedded::open(&path, clock.clone(), embedded::Options::default()).unwrap();
        Self { clock, ring: ring(), store, _dir: dir }
    }

    fn outbox(&self, receiver: &Remote) -> Arc<Outbox> {
        Outbox::new(self.store.clone(), Arc::clone(&self.ring), self.clock.clone(), sink(receiver), Arc::default())
    }

    /// An event that says `number`, with a code.
    fn event(&self, number: u8) -> Event {
        let now = self.clock.now();
        let data = [("number", number.to_string())];
        let tenant = "default".parse().unwrap();
        let event = Event::new(tenant, What::OneTimePasswordRequested, now, now.plus(10 * MINUTE), data).unwrap();
        event.with_code(OneTimeCode { nonce: [number; 16], key: self.ring.current() })
    }

    async fn write(&self, event: &Event) {
        write(&*self.store, &self.clock, event).await;
    }

    /// What is stored of an event, if it is not over.
    async fn stored(&self, event: &Event) -> Option<Vec<u8>> {
        let key = RecordKey { tenant: TenantId::system(), kind: Kind::Event, id: event.id() };
        let record = self.store.read(&[key]).await.unwrap().pop().unwrap();
        record.map(|record| record.body.to_vec())
    }
}

fn ring() -> Arc<Keyring> {
    Arc::new(Keyring::new(&[MasterKey::new([7; 32])]).unwrap())
}

fn sink(receiver: &Remote) -> Sink {
    let secrets = vec![SigningSecret::parse(SECRET).unwrap()];
    Sink::Webhook { to: remote::outbound(), url: receiver.url("/events"), secrets }
}

async fn write(store: &dyn Store, clock: &Clock, event: &Event) {
    let mut change = Change::new(TenantId::system(), clock.now());
    event.add_to(&mut change);
    assert_eq!(store.write(&change).await.unwrap(), jeton::store::Written::Done);
}

fn id(asked: &Received) -> String {
    asked.header("webhook-id").unwrap().to_owned()
}

#[tokio::test]
async fn an_event_is_delivered_once_signed_and_forgotten() {
    let place = Place::new();
    let receiver = Remote::start(|_| Reply::status(204)).await;
    let (outbox, event) = (place.outbox(&receiver), place.event(3));
    let code = OneTimeCode { nonce: [3; 16], key: place.ring.current() }.text(&*place.ring).unwrap();
    place.write(&event).await;
    let stored = place.stored(&event).await.unwrap();
    assert!(!String::from_utf8_lossy(&stored).contains(code.expose()), "the store holds no code");
    outbox.deliver_due().await.unwrap();
    outbox.deliver_due().await.unwrap();
    let [asked] = &receiver.requests()[..] else { panic!("{:?}", receiver.requests()) };
    let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(body["type"], "one_time_password.requested");
    let data = serde_json::json!({"tenant_id": "default", "number": "3", "code": code.expose()});
    assert_eq!(body["data"], data);
    assert_eq!((asked.method.as_str(), asked.header("content-type")), ("POST", Some("application/json")));
    assert_eq!(id(asked), event.id());
    let timestamp = asked.header("webhook-timestamp").unwrap().parse().unwrap();
    assert_eq!(timestamp, place.clock.now().as_secs());
    let secret = [SigningSecret::parse(SECRET).unwrap()];
    let signature = sign(&secret, &event.id(), timestamp, asked.body.as_bytes());
    assert_eq!(asked.header("webhook-signature"), Some(signature.as_str()));
}

#[tokio::test]
async fn what_a_receiver_refuses_is_delivered_again_ever_later_under_the_same_id() {
    let place = Place::new();
    let answers = AtomicUsize::new(0);
    let replies = [Reply::status(500), Reply::redirect("/elsewhere"), Reply::Raw(Vec::new()), Reply::status(200)];
    let receiver = Remote::start(move |_| replies[answers.fetch_add(1, Ordering::SeqCst)].clone()).await;
    let (outbox, event) = (place.outbox(&receiver), place.event(1));
    place.write(&event).await;
    outbox.deliver_due().await.unwrap();
    for (attempts, pause) in [(1, 1), (2, 2), (3, 4)] {
        assert_eq!(receiver.requests().len(), attempts);
        place.clock.advance(Duration::from_secs(pause) - Duration::from_millis(1));
        outbox.deliver_due().await.unwrap();
        assert_eq!(receiver.requests().len(), attempts, "not before its time");
        place.clock.advance(Duration::from_millis(1));
        outbox.deliver_due().await.unwrap();
    }
    assert_eq!(receiver.requests().iter().map(id).collect::<Vec<_>>(), vec![event.id(); 4]);
    place.clock.advance(MINUTE);
    outbox.deliver_due().await.unwrap();
    assert_eq!(receiver.requests().len(), 4, "what was taken is over");
}

#[tokio::test]
async fn what_was_under_way_when_a_replica_died_is_delivered_by_another() {
    let place = Place::new();
    let silent = Remote::start(|_| Reply::Silence).await;
    let (dying, event) = (place.outbox(&silent), place.event(1));
    place.write(&event).await;
    let attempt = tokio::spawn(async move { dying.deliver_due().await });
    while silent.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    attempt.abort();
    let _ = attempt.await;
    let receiver = Remote::start(|_| Reply::status(200)).await;
    let other = place.outbox(&receiver);
    other.deliver_due().await.unwrap();
    assert!(receiver.requests().is_empty(), "the attempt may still be under way");
    place.clock.advance(LEASE_OVER);
    other.deliver_due().await.unwrap();
    assert_eq!(receiver.requests().iter().map(id).collect::<Vec<_>>(), [event.id()]);
}

#[tokio::test]
async fn what_nobody_wants_to_know_any_more_is_not_delivered() {
    let place = Place::new();
    let receiver = Remote::start(|_| Reply::status(200)).await;
    let (outbox, late, unsent) = (place.outbox(&receiver), place.event(1), place.event(2));
    place.write(&late).await;
    let mut change = Change::new(TenantId::system(), place.clock.now());
    unsent.add_unsent_to(&mut change);
    place.store.write(&change).await.unwrap();
    place.clock.advance(10 * MINUTE);
    outbox.deliver_due().await.unwrap();
    assert!(receiver.requests().is_empty());
    assert!(!outbox.deliver_due().await.unwrap(), "nothing is left to look at");
    place.clock.advance(MINUTE);
    place.store.ping().await.unwrap();
    for event in [late, unsent] {
        assert_eq!(place.stored(&event).await, None);
    }
}

#[tokio::test]
async fn several_replicas_deliver_each_event_once() {
    const EVENTS: u8 = 60;
    let server = Server::start(Aof::Off);
    let receiver = Remote::start(|_| Reply::status(200)).await;
    let clock = Clock::default();
    let mut outboxes = Vec::new();
    let mut expected = BTreeMap::new();
    for replica in 0..3 {
        let options = redis::Options {
            tls: redis::Tls::default(),
            url: SecretText::new(server.url()),
            workers: 1,
            wait_replicas: 0,
            wait_timeout: Duration::from_millis(200),
        };
        let store: Arc<dyn Store> = redis::Redis::connect(&options).await.unwrap();
        if replica == 0 {
            for number in 0..EVENTS {
                let until = clock.now().plus(MINUTE);
                let data = [("number", number.to_string())];
                let tenant = "default".parse().unwrap();
                let what = What::OneTimePasswordRequested;
                let event = Event::new(tenant, what, clock.now(), until, data).unwrap();
                write(&*store, &clock, &event).await;
                expected.insert(event.id(), 1);
            }
        }
        outboxes.push(Outbox::new(store, ring(), clock.clone(), sink(&receiver), Arc::default()));
    }
    let deliveries = outboxes.iter().map(|outbox| {
        let outbox = Arc::clone(outbox);
        tokio::spawn(async move { while outbox.deliver_due().await.unwrap() {} })
    });
    for delivery in deliveries.collect::<Vec<_>>() {
        delivery.await.unwrap();
    }
    let mut delivered = BTreeMap::new();
    for asked in receiver.requests() {
        *delivered.entry(id(&asked)).or_insert(0) += 1;
    }
    assert_eq!(delivered, expected);
}

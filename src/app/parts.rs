//! The parts that answer calls, wired together on a store. The service, its tests and its bench make them in the same way.

use std::sync::Arc;

use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::{
    ambient::Clock,
    api::{
        Services,
        edge::{Authenticate, Edge},
        health,
        health::Health,
    },
    core::Core,
    directory::Directory,
    error,
    failure::{Failure, failed},
    federation::RelyingParty,
    http,
    http::Http,
    issuer,
    issuer::{Bootstrap, Issuer, authenticate::Recognized, passwords::Passwords, workloads::Workloads},
    keys::ring::Keyring,
    metrics::Metrics,
    outbound::{Outbound, jwks::JwksCache},
    outbox::{Outbox, Sink},
    revocation::follower::Follower,
    serve::Protocol,
    store::Store,
};

/// The parts that answer calls, without their server.
#[derive(Debug)]
pub struct App {
    pub directory: Arc<Directory>,
    pub issuer: Arc<Issuer>,
    /// Where the passwords of members are hashed.
    pub passwords: Arc<Passwords>,
    pub follower: Arc<Follower>,
    pub outbox: Arc<Outbox>,
    pub store: Arc<dyn Store>,
    /// Work that goes on after a reply.
    pub tasks: TaskTracker,
}

/// The inputs of the parts besides their store.
#[derive(Debug)]
pub struct Setup {
    pub ring: Arc<Keyring>,
    pub clock: Clock,
    /// The threads that call the store: workers and the one beside them.
    pub places: usize,
    /// The `{base}` of issuers.
    pub public_url: String,
    pub bootstrap: Option<Bootstrap>,
    pub workloads: Workloads,
    pub outbound: Arc<Outbound>,
    /// Where events go.
    pub sink: Sink,
    pub metrics: Arc<Metrics>,
}

/// Recognizes bearers at the edge.
#[derive(Clone, Debug)]
pub struct Bearer(pub Arc<Issuer>);

/// The services of each worker.
pub fn routes(
    app: &App,
    health: &Health,
    reflection: bool,
) -> Result<impl Fn() -> Routes + Send + Sync + 'static, Failure> {
    let mut builder = health::routes(health, reflection).map_err(failed("read the descriptors for reflection"))?;
    app.services().add_to(&mut builder);
    let routes = builder.routes();
    Ok(move || routes.clone())
}

/// OAuth 2 with the same limits, authentication and handlers as gRPC. `certificates`: whether its listeners accept those of
/// clients.
pub fn oauth(app: &App, edge: Arc<Edge<Bearer>>, certificates: bool) -> Arc<dyn Protocol> {
    let routes = http::oauth::routes::<Bearer>(app.services(), certificates);
    Arc::new(Http::new(routes, move |peer| Arc::new(edge.direct(peer))))
}

// === impl App ===

impl App {
    /// Wires the parts on a store.
    pub fn new(store: Arc<dyn Store>, setup: Setup) -> Self {
        let Setup { ring, clock, places, public_url, bootstrap, workloads, outbound, sink, metrics } = setup;
        let follower = Follower::new(store.clone(), clock.clone(), places);
        let tasks = TaskTracker::new();
        let core = Arc::new(Core {
            store: Arc::clone(&store),
            log: Arc::clone(&follower),
            ring: Arc::clone(&ring),
            clock: clock.clone(),
            tasks: tasks.clone(),
        });
        let directory = Directory::new(Arc::clone(&core), &public_url, &metrics);
        follower.keep_true(directory.caches());
        let outbox = Outbox::new(store.clone(), ring, clock.clone(), sink, Arc::clone(&metrics));
        let key_sets = Arc::new(JwksCache::new(Arc::clone(&outbound), clock.clone(), tasks.clone()));
        let relying_party = RelyingParty::new(Arc::clone(&outbound), Arc::clone(&key_sets), clock, tasks.clone());
        let passwords = Arc::new(Passwords::for_this_machine());
        let issuer = Issuer::new(issuer::Parts {
            core,
            passwords: Arc::clone(&passwords),
            directory: Arc::clone(&directory),
            bootstrap,
            workloads,
            key_sets,
            relying_party,
            outbox: Arc::clone(&outbox),
            metrics,
        });
        Self { directory, issuer, passwords, follower, outbox, store, tasks }
    }

    fn services(&self) -> Services {
        Services::new(Arc::clone(&self.directory), Arc::clone(&self.issuer))
    }
}

// === impl Bearer ===

impl Authenticate for Bearer {
    type Caller = Recognized;

    async fn authenticate(&self, bearer: &str) -> error::Result<Recognized> {
        self.0.recognize(bearer).await
    }

    fn has_scope(caller: &Recognized, scope: &str) -> bool {
        caller.caller.holds(scope)
    }
}

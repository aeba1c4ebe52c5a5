//! The composition root: makes everything, starts it, stops it.

mod settings;
mod watch;

use std::{
    env,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    iter,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use crate::{
    ambient::Clock,
    api::{
        Services,
        edge::{Authenticate, Edge, Watch},
        health::{self, Health},
        policy::Policy,
        protocol::Grpc,
    },
    config::{self, Config},
    directory::{Directory, Parts, clients::ShownSecret, record::Client},
    failure::{Failure, failed},
    federation::RelyingParty,
    http::{self, Http},
    issuer::{self, Bootstrap, Issuer, authenticate::Recognized, foreign::Workloads},
    keys::{master::MasterKey, ring::Keyring},
    metrics::Metrics,
    outbound::{Outbound, jwks::JwksCache},
    outbox::{Outbox, Sink},
    revocation::follower::Follower,
    serve::{
        Protocol, Shutdown,
        listen::{self, Address, Listener},
        serve as serve_all,
        tls::{self, ClientAuth, Security, Tls},
    },
    store::{self, Store, embedded::Embedded, redis::Redis},
    telemetry,
    token::{self, error::chain},
    worker,
};

/// The parts that answer calls, without their server. Tests and the bench make one, too.
#[derive(Debug)]
pub struct App {
    pub issuer: Arc<Issuer>,
    pub follower: Arc<Follower>,
    pub outbox: Arc<Outbox>,
    pub store: Arc<dyn Store>,
    /// Work that goes on after a reply.
    pub tasks: TaskTracker,
}

/// What the parts are made of besides their store.
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

/// The file of the embedded store within the data directory.
const STORE_FILE: &str = "jeton.redb";
/// The file of the master key that the embedded store makes.
const MASTER_KEY_FILE: &str = "master.key";
/// The file of the first administrator's credentials. A valid body of IssueToken.
const BOOTSTRAP_FILE: &str = "bootstrap.json";
/// How often readiness looks at the store.
const READINESS_PERIOD: Duration = Duration::from_secs(2);
/// Pauses between attempts to reach the store at start.
const MAX_START_PAUSE: Duration = Duration::from_secs(5);
/// How long work that goes on after replies may take at the end.
const TASKS_END: Duration = Duration::from_secs(2);

/// Runs the service until it is told to stop. `log` is what logs meanwhile.
///
/// # Errors
/// If it cannot start, or ends before it was told to.
pub fn serve(config: &Config, log: Option<&telemetry::Guard>) -> Result<(), Failure> {
    install_crypto();
    let workers = config.workers.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
    // What runs beside the workers has a place of its own behind theirs. Without it the heartbeat would sometimes read
    // the head, and hold the connection, of the first worker, whose calls would then wait for another thread.
    worker::enter(workers);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(move || worker::enter(workers))
        .enable_all()
        .build()
        .map_err(failed("start the runtime"))?;
    runtime.block_on(run(config, workers, log))
}

/// jsonwebtoken panics at first use without a provider, and a dependency's feature could leave it undecided.
pub fn install_crypto() {
    // A second call finds the same provider installed.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

async fn run(config: &Config, workers: usize, log: Option<&telemetry::Guard>) -> Result<(), Failure> {
    let tls = config.tls.clone().map(|files| Tls::load(files, Clock::default())).transpose();
    let tls = tls.map_err(failed("secure the listeners by the files of `tls`"))?;
    let for_operators = tls.as_ref().filter(|_| config.admin_tls).map(Tls::for_operators);
    let listeners = bind(&config.listen, tls.as_ref().map(Tls::for_callers))?;
    let http = bind(&config.http_listen, tls.as_ref().map(Tls::for_callers))?;
    let admin = bind(&config.admin_listen, for_operators)?;
    let shutdown = Shutdown::new();
    let signals = shutdown.clone();
    tokio::spawn(async move { signals.request_on_signals().await });

    let masters = master_keys(config)?;
    let ring = Keyring::new(&masters).map_err(failed("derive keys from the master keys"))?;
    let outbound = Arc::new(settings::outbound(config)?);
    let workloads = Workloads::new(config.workload_issuers.clone());
    workloads.check().map_err(failed("read the keys of the workload issuers"))?;
    let Some(store) = open_store(config, workers + 1, &shutdown).await? else {
        return Ok(());
    };
    for warning in store.warnings() {
        tracing::warn!("{warning}");
    }
    let policy = Policy::load().map_err(failed("read the access policy of the contract"))?;
    let metrics = Arc::new(Metrics::new(workers + 1, policy.measured()));
    let store = watch::observed(store, config, &metrics);
    let bootstrap = config
        .bootstrap
        .as_ref()
        .map(|bootstrap| Bootstrap { client: bootstrap.client_id.clone(), secret: bootstrap.client_secret.clone() });
    let app = App::new(
        store,
        Setup {
            ring: Arc::new(ring),
            clock: Clock::default(),
            places: workers + 1,
            public_url: config.public_url.clone(),
            bootstrap: bootstrap.clone(),
            workloads,
            sink: settings::sink(config, &outbound),
            outbound,
            metrics: Arc::clone(&metrics),
        },
    );
    start(&app, config, bootstrap).await?;

    let stop = CancellationToken::new();
    let heartbeat = tokio::spawn(Arc::clone(&app.follower).heartbeat(stop.clone()));
    let deliveries = tokio::spawn(Arc::clone(&app.outbox).run(stop.clone()));
    watch::observe(&metrics, &app, tls.as_ref(), log);
    let (tracer, otlp) = watch::export(config, &metrics)?.unzip();
    if let Some(tls) = tls {
        tokio::spawn(tls.watch(tls::INTERVAL, stop.clone()));
    }
    let health = Health::new(&policy).await;
    let readiness = tokio::spawn(watch_store(Arc::clone(&app.store), health.clone(), shutdown.clone()));
    announce(&listeners, &http, &admin, config);
    let watch = Watch { metrics: Arc::clone(&metrics), tracer };
    let limits = settings::limits(config);
    let takes_certificates = config.tls.as_ref().is_some_and(|tls| tls.client_auth != ClientAuth::Off);
    let edge = Arc::new(Edge::new(policy, Bearer(Arc::clone(&app.issuer)), limits, workers, watch));
    let routes = routes(&app, &health, config.reflection)?;
    let oauth = oauth(&app, Arc::clone(&edge), takes_certificates);
    let grpc: Arc<dyn Protocol> = Arc::new(Grpc::new(edge, routes, workers));
    let admin_routes = http::admin::routes(health.clone(), metrics, log.map(telemetry::Guard::levels));
    let operators: Arc<dyn Protocol> = Arc::new(Http::new(admin_routes, |_| ()));
    let serving = |listeners: Vec<Listener>, protocol: &Arc<dyn Protocol>| {
        listeners.into_iter().zip(iter::repeat(Arc::clone(protocol))).collect::<Vec<_>>()
    };
    let protocols =
        [serving(listeners, &grpc), serving(http, &oauth), serving(admin, &operators)].into_iter().flatten().collect();
    let served = serve_all(settings::options(config, workers), protocols, shutdown.clone(), health.not_ready()).await;

    stop.cancel();
    readiness.abort();
    let _ = heartbeat.await;
    // A delivery that is cut short is made again, by whoever comes next.
    let _ = tokio::time::timeout(TASKS_END, deliveries).await;
    app.tasks.close();
    if tokio::time::timeout(TASKS_END, app.tasks.wait()).await.is_err() {
        tracing::warn!("work after replies was cut short");
    }
    if let Some(otlp) = otlp {
        // Whoever asked to stop at once does not wait for somebody else's receiver.
        let _ = shutdown.unless_now(otlp.stop()).await;
    }
    tracing::info!("stopped");
    served.map_err(failed("serve"))
}

// === impl App ===

impl App {
    /// Wires the parts on a store.
    pub fn new(store: Arc<dyn Store>, setup: Setup) -> Self {
        let Setup { ring, clock, places, public_url, bootstrap, workloads, outbound, sink, metrics } = setup;
        let follower = Follower::new(Arc::clone(&store), clock.clone(), places);
        let tasks = TaskTracker::new();
        let directory = Directory::new(Parts {
            store: Arc::clone(&store),
            follower: Arc::clone(&follower),
            ring: Arc::clone(&ring),
            clock: clock.clone(),
            tasks: tasks.clone(),
            public_url,
            metrics: Arc::clone(&metrics),
        });
        follower.keep_true(directory.caches());
        let outbox = Outbox::new(Arc::clone(&store), ring, clock.clone(), sink, Arc::clone(&metrics));
        let key_sets = Arc::new(JwksCache::new(Arc::clone(&outbound), clock.clone(), tasks.clone()));
        let relying_party = RelyingParty::new(Arc::clone(&outbound), Arc::clone(&key_sets), clock, tasks.clone());
        let issuer = Issuer::new(issuer::Parts {
            directory,
            bootstrap,
            workloads,
            outbound,
            key_sets,
            relying_party,
            outbox: Arc::clone(&outbox),
            metrics,
        });
        Self { issuer, follower, outbox, store, tasks }
    }
}

/// Recognizes bearers at the edge.
#[derive(Clone, Debug)]
pub struct Bearer(pub Arc<Issuer>);

impl Authenticate for Bearer {
    type Caller = Recognized;

    async fn authenticate(&self, bearer: &str) -> token::Result<Recognized> {
        self.0.recognize(bearer).await
    }

    fn has_scope(caller: &Recognized, scope: &str) -> bool {
        caller.caller.holds(scope)
    }
}

/// The services of each worker.
pub fn routes(
    app: &App,
    health: &Health,
    reflection: bool,
) -> Result<impl Fn() -> Routes + Send + Sync + 'static, Failure> {
    let mut builder = health::routes(health, reflection).map_err(failed("read the descriptors for reflection"))?;
    Services::new(Arc::clone(&app.issuer)).add_to(&mut builder);
    let routes = builder.routes();
    Ok(move || routes.clone())
}

/// OAuth 2 on the same limits, proofs and handlers as gRPC. `certificates`: whether its listeners take those of clients.
pub fn oauth(app: &App, edge: Arc<Edge<Bearer>>, certificates: bool) -> Arc<dyn Protocol> {
    let routes = http::oauth::routes::<Bearer>(Services::new(Arc::clone(&app.issuer)), certificates);
    Arc::new(Http::new(routes, move |peer| Arc::new(edge.direct(peer))))
}

/// Makes what every start needs, and tells the first administrator where the credentials are.
async fn start(app: &App, config: &Config, bootstrap: Option<Bootstrap>) -> Result<(), Failure> {
    let directory = &app.issuer.directory;
    directory.check_master_keys().await.map_err(failed("check the master keys"))?;
    if directory.ring.has_old_keys() {
        let directory = Arc::clone(directory);
        app.tasks.spawn(async move {
            if let Err(error) = directory.retire_master_keys().await {
                tracing::warn!(error = chain(&error), "looking for uses of old master keys failed");
            }
        });
    }
    let configured = bootstrap.is_some();
    let made = directory.prepare_bootstrap(bootstrap.map(|bootstrap| bootstrap.client));
    let Some((client, shown)) = made.await.map_err(failed("make the built-in tenants"))? else {
        return Ok(());
    };
    match config.store {
        _ if configured => {}
        config::Store::Embedded => write_bootstrap(&config.data_dir, &client, &shown)?,
        // Nobody could read a file of a container, and the secret must not be logged.
        config::Store::Redis(_) => {
            return Err(failed("start on an empty Redis")(
                "JETON_BOOTSTRAP_CLIENT_ID and JETON_BOOTSTRAP_CLIENT_SECRET[_FILE] are required for the first start",
            ));
        }
    }
    directory.insert_bootstrap(client).await.map_err(failed("make the first client"))?;
    Ok(())
}

fn write_bootstrap(dir: &Path, client: &Client, shown: &ShownSecret) -> Result<(), Failure> {
    let path = dir.join(BOOTSTRAP_FILE);
    let body = serde_json::json!({
        "client_id": client.id.to_string(),
        "client_secret": shown.text.expose(),
        "client_credentials": {},
    });
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        writeln!(file, "{body:#}")?;
        file.sync_all()?;
        // A new file is durable only when the directory that names it is.
        fs::File::open(dir)?.sync_all()
    };
    write().map_err(failed(&format!("write {}", path.display())))
}

/// Tells on standard output where the service is and how to try it.
fn announce(listeners: &[Listener], http: &[Listener], admin: &[Listener], config: &Config) {
    let mut text = String::new();
    for listener in listeners {
        let _ = writeln!(text, "jeton listens on {}", listener.address());
    }
    for listener in http {
        let _ = writeln!(text, "OAuth 2 listens on {}", listener.address());
    }
    for listener in admin {
        let _ = writeln!(text, "admin listens on {}", listener.address());
    }
    let credentials = config.data_dir.join(BOOTSTRAP_FILE);
    if config.bootstrap.is_none()
        && matches!(config.store, config::Store::Embedded)
        && credentials.exists()
        && let Some(listener) = listeners.first()
    {
        let (server, credentials) = (listener.address().to_string(), credentials.display().to_string());
        // grpcurl wants a socket's bare path, and would use it as the authority, which HTTP/2 does not allow.
        let (target, how) = match server.strip_prefix("unix:") {
            Some(path) => (path, "-plaintext -unix -authority localhost"),
            None if listener.is_secured() => (server.as_str(), "-cacert \"$CA_FILE\""),
            None => (server.as_str(), "-plaintext"),
        };
        // Who certified the server, only its operator knows.
        let (hint, scheme, trust) = match &config.tls {
            Some(files) if listener.is_secured() => (
                format!(" CA_FILE is the certificate of the authority of {}.", files.cert.display()),
                "https://",
                " --ca-file \"$CA_FILE\"",
            ),
            Some(_) | None => (String::new(), "", ""),
        };
        // As it was called: `cargo run` puts nothing into the path.
        let program = env::args().next().unwrap_or_else(|| "jeton".to_owned());
        let _ = write!(
            text,
            "\nThe administrator's credentials are in {credentials}. Get a token, and ask who you are.{hint}\n\n  \
             export TOKEN=$(grpcurl {how} -d @ {target} jeton.v1.TokenService/IssueToken < {credentials} | sed -n 's/.*\"accessToken\": \"\\(.*\\)\".*/\\1/p')\n  \
             grpcurl {how} -expand-headers -H 'authorization: Bearer ${{TOKEN}}' {target} jeton.v1.TokenService/GetCaller\n\n\
             Or: {program} token whoami --server {scheme}{server} --credentials {credentials}{trust}\n"
        );
    }
    // A closed standard output is no reason not to serve.
    let _ = io::stdout().write_all(text.as_bytes());
    tracing::info!(listeners = listeners.len(), "serving");
}

/// Opens the configured store; `None`: told to stop before it could be reached.
async fn open_store(config: &Config, places: usize, shutdown: &Shutdown) -> Result<Option<Arc<dyn Store>>, Failure> {
    let redis = match &config.store {
        config::Store::Embedded => {
            let path = config.data_dir.join(STORE_FILE);
            let store = Embedded::open(&path, Clock::default(), store::embedded::Options::default());
            return Ok(Some(store.map_err(failed("open the embedded store"))?));
        }
        config::Store::Redis(redis) => redis,
    };
    let options = store::redis::Options {
        url: redis.url.clone(),
        workers: places,
        wait_replicas: u32::try_from(redis.wait_replicas).unwrap_or(u32::MAX),
        wait_timeout: redis.wait_timeout,
        tls: settings::redis_tls(&redis.tls)?,
    };
    let mut pause = Duration::from_millis(100);
    loop {
        match Redis::connect(&options).await {
            Ok(store) => return Ok(Some(store)),
            Err(error @ store::Error::Unavailable { .. }) => {
                tracing::warn!(error = chain(&error), "the store is not reached yet, trying again");
            }
            Err(error) => return Err(failed("open the Redis store")(error)),
        }
        tokio::select! {
            () = shutdown.requested() => return Ok(None),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(MAX_START_PAUSE);
    }
}

/// Says SERVING while the store answers.
async fn watch_store(store: Arc<dyn Store>, health: Health, shutdown: Shutdown) {
    let mut ready = false;
    loop {
        let answers = store.ping().await;
        if let (true, Err(error)) = (ready, &answers) {
            tracing::warn!(error = chain(error), "not ready: the store does not answer");
        }
        if answers.is_ok() != ready {
            ready = answers.is_ok();
            if ready { health.ready().await } else { health.not_ready().await }
        }
        tokio::select! {
            () = shutdown.requested() => return,
            () = tokio::time::sleep(READINESS_PERIOD) => {}
        }
    }
}

/// The master keys, newest first. The embedded store makes one where there is none.
fn master_keys(config: &Config) -> Result<Vec<MasterKey>, Failure> {
    if matches!(config.store, config::Store::Embedded) {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.data_dir);
        made.map_err(failed(&format!("make the data directory {}", config.data_dir.display())))?;
    }
    if !config.master_keys.is_empty() {
        return Ok(config.master_keys.clone());
    }
    let (key, store) = (config.data_dir.join(MASTER_KEY_FILE), config.data_dir.join(STORE_FILE));
    if store.exists() && !key.exists() {
        // A new one opens nothing, and would only hide that the right one is gone.
        let why = format!(
            "{} is missing; it, or JETON_MASTER_KEY, must be the one that made {}",
            key.display(),
            store.display()
        );
        return Err(failed("get the master key")(why));
    }
    MasterKey::load_or_create(&key).map_err(failed("get a master key"))
}

fn bind(addresses: &[config::Listen], security: Option<Security>) -> Result<Vec<Listener>, Failure> {
    let address = |listen: &config::Listen| {
        let text = listen.to_string();
        text.parse::<Address>().map_err(failed(&format!("read the address {text}")))
    };
    let addresses: Vec<Address> = addresses.iter().map(address).collect::<Result<_, _>>()?;
    let listeners = listen::bind(&addresses).map_err(failed("bind the listeners"))?;
    Ok(match security {
        Some(security) => listeners.into_iter().map(|listener| listener.secured(&security)).collect(),
        None => listeners,
    })
}

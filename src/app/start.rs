//! What must be there before the service serves: the master keys, the store, the built-in tenants and the first
//! administrator.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use super::{
    parts::{App, Setup},
    settings, watch,
};
use crate::{
    ambient::Clock,
    config,
    config::Config,
    directory::{client_secrets::ShownSecret, record::Client},
    error::chain,
    failure::{Failure, failed},
    issuer::{Bootstrap, workloads::Workloads},
    keys::{master::MasterKey, ring::Keyring},
    metrics::Metrics,
    serve::Shutdown,
    storage, store,
    store::{Store, embedded::Embedded, redis::Redis},
};

/// The file of the embedded store within the data directory.
const STORE_FILE: &str = "jeton.redb";
/// The file of the master key that the embedded store makes.
const MASTER_KEY_FILE: &str = "master.key";
/// The file of the first administrator's credentials. A valid body of IssueToken.
pub(super) const BOOTSTRAP_FILE: &str = "bootstrap.json";
/// Pauses between attempts to reach the store at start.
const MAX_START_PAUSE: Duration = Duration::from_secs(5);

/// Makes the parts on the configured store, and in it what every start needs; `None`: a stop was requested before the
/// store could be reached. `places`: as in [`Setup`].
pub(super) async fn start(
    config: &Config,
    places: usize,
    metrics: &Arc<Metrics>,
    shutdown: &Shutdown,
) -> Result<Option<App>, Failure> {
    let masters = master_keys(config)?;
    let ring = Keyring::new(&masters).map_err(failed("derive keys from the master keys"))?;
    let outbound = Arc::new(settings::outbound(config)?);
    let workloads = Workloads::new(config.workload_issuers.clone());
    workloads.check().map_err(failed("read the keys of the workload issuers"))?;
    let Some(store) = open_store(config, places, shutdown).await? else {
        return Ok(None);
    };
    for warning in store.warnings() {
        tracing::warn!("{warning}");
    }
    let bootstrap = config
        .bootstrap
        .as_ref()
        .map(|bootstrap| Bootstrap { client: bootstrap.client_id.clone(), secret: bootstrap.client_secret.clone() });
    let app = App::new(
        watch::observed(store, config, metrics),
        Setup {
            ring: Arc::new(ring),
            clock: Clock::default(),
            places,
            public_url: config.public_url.clone(),
            bootstrap: bootstrap.clone(),
            workloads,
            sink: settings::sink(config, &outbound),
            outbound,
            metrics: Arc::clone(metrics),
        },
    );
    prepare(&app, config, bootstrap).await?;
    Ok(Some(app))
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

/// Opens the configured store; `None`: a stop was requested before it could be reached.
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
            Err(error @ storage::Error::Unavailable { .. }) => {
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

/// Makes what every start needs in the store, and writes the credentials of the first administrator.
async fn prepare(app: &App, config: &Config, bootstrap: Option<Bootstrap>) -> Result<(), Failure> {
    let directory = &app.directory;
    directory.check_master_keys().await.map_err(failed("check the master keys"))?;
    let retiring = Arc::clone(directory);
    app.tasks.spawn(async move {
        if let Err(error) = retiring.retire_master_keys().await {
            tracing::warn!(error = chain(&error), "the search for uses of old master keys failed");
        }
    });
    let configured = bootstrap.is_some();
    let made = directory.prepare_bootstrap(bootstrap.map(|bootstrap| bootstrap.client));
    let Some((client, shown)) = made.await.map_err(failed("make the built-in tenants"))? else {
        return Ok(());
    };
    match config.store {
        _ if configured => {}
        config::Store::Embedded => write_bootstrap(&config.data_dir, &client, &shown)?,
        // A file in a container could not be read, and the secret must not be logged.
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

//! The composition root: makes all parts, starts them and stops them. Start reading at `run`.

mod background;
mod listeners;
mod parts;
mod settings;
mod start;
mod watch;

use std::{sync::Arc, thread};

pub use self::parts::{App, Bearer, Setup, oauth, routes};
use self::{
    background::Background,
    listeners::{Listeners, Protocols},
};
use crate::{
    api::{
        edge::{Edge, Watch},
        health::Health,
        policy::Policy,
        protocol::Grpc,
    },
    config::Config,
    failure::{Failure, failed},
    http::{self, Http},
    metrics::Metrics,
    serve::{Shutdown, serve as serve_all, tls::ClientAuth},
    telemetry, worker,
};

/// Runs the service until a stop is requested. `log`: the running log.
///
/// # Errors
/// If it cannot start, or ends before that.
pub fn serve(config: &Config, log: Option<&telemetry::Guard>) -> Result<(), Failure> {
    install_crypto();
    let workers = config.workers.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
    // The thread beside the workers has a place of its own behind theirs. Without it the heartbeat would sometimes use the
    // connection of the first worker, whose calls would then wait for another thread.
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
    let listeners = Listeners::bind(config)?;
    let shutdown = Shutdown::new();
    let signals = shutdown.clone();
    tokio::spawn(async move { signals.request_on_signals().await });

    let policy = Policy::load().map_err(failed("read the access policy of the contract"))?;
    let metrics = Arc::new(Metrics::new(workers + 1, policy.measured()));
    let Some(app) = start::start(config, workers + 1, &metrics, &shutdown).await? else {
        return Ok(());
    };

    watch::observe(&metrics, &app, listeners.tls.as_ref(), log);
    let (tracer, otlp) = watch::export(config, &metrics)?.unzip();
    let health = Health::new(&policy).await;
    let background = Background::start(&app, listeners.tls.as_ref(), &health, &shutdown);
    listeners.announce(config);
    let watch = Watch { metrics: Arc::clone(&metrics), tracer };
    let limits = settings::limits(config);
    let edge = Arc::new(Edge::new(policy, Bearer(Arc::clone(&app.issuer)), limits, workers, watch));
    let routes = routes(&app, &health, config.reflection)?;
    let takes_certificates = config.tls.as_ref().is_some_and(|tls| tls.client_auth != ClientAuth::Off);
    let admin_routes = http::admin::routes(health.clone(), metrics, log.map(telemetry::Guard::levels));
    let protocols = Protocols {
        http: oauth(&app, Arc::clone(&edge), takes_certificates),
        grpc: Arc::new(Grpc::new(edge, routes, workers)),
        admin: Arc::new(Http::new(admin_routes, |_| ())),
    };
    let options = settings::options(config, workers);
    let served = serve_all(options, listeners.with(&protocols), shutdown.clone(), health.not_ready()).await;

    background.end(&app).await;
    if let Some(otlp) = otlp {
        // An immediate stop does not wait for the receiver.
        let _ = shutdown.unless_now(otlp.stop()).await;
    }
    tracing::info!("stopped");
    served.map_err(failed("serve"))
}

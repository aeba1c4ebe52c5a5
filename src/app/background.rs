//! Tasks that run beside the calls: the heartbeat, deliveries, and the watch on the store.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::parts::App;
use crate::{
    api::health::Health,
    error::chain,
    serve::{Shutdown, tls, tls::Tls},
    store,
};

/// The tasks while they run.
#[derive(Debug)]
pub(super) struct Background {
    stop: CancellationToken,
    heartbeat: JoinHandle<()>,
    deliveries: JoinHandle<()>,
    readiness: JoinHandle<()>,
}

/// How often readiness checks the store.
const READINESS_PERIOD: Duration = Duration::from_secs(2);
/// How long work that goes on after replies may take at the end.
const TASKS_END: Duration = Duration::from_secs(2);

// === impl Background ===

impl Background {
    pub(super) fn start(app: &App, tls: Option<&Arc<Tls>>, health: &Health, shutdown: &Shutdown) -> Self {
        let stop = CancellationToken::new();
        if let Some(tls) = tls {
            tokio::spawn(Arc::clone(tls).watch(tls::INTERVAL, stop.clone()));
        }
        Self {
            heartbeat: tokio::spawn(Arc::clone(&app.follower).heartbeat(stop.clone())),
            deliveries: tokio::spawn(Arc::clone(&app.outbox).run(stop.clone())),
            readiness: tokio::spawn(watch_store(app.store.clone(), health.clone(), shutdown.clone())),
            stop,
        }
    }

    /// Ends the tasks, and the work that goes on after replies.
    pub(super) async fn end(self, app: &App) {
        self.stop.cancel();
        self.readiness.abort();
        let _ = self.heartbeat.await;
        // A delivery that is cut short is repeated after the next start or by another replica.
        let _ = timeout(TASKS_END, self.deliveries).await;
        app.tasks.close();
        if timeout(TASKS_END, app.tasks.wait()).await.is_err() {
            tracing::warn!("work after replies was cut short");
        }
    }
}

/// Reports SERVING while the store answers.
async fn watch_store(store: Arc<dyn store::Health>, health: Health, shutdown: Shutdown) {
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

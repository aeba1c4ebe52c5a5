//! What watches the service from outside: gauges, the store's observer, and what leaves by OTLP.

use std::sync::Arc;

use super::parts::App;
use crate::{
    config::{self, Config},
    failure::{Failure, failed},
    metrics::{Counts, Instrument, Labels, Metrics, Observed, Point, Unit, number},
    serve::tls::Tls,
    store::{self, Store},
    telemetry::{self, otlp::Otlp, process},
    trace::Tracer,
};

/// The store with somebody who looks on, if somebody wants to know.
pub(super) fn observed(store: Arc<dyn Store>, config: &Config, metrics: &Arc<Metrics>) -> Arc<dyn Store> {
    if config.otlp.is_none() && config.admin_listen.is_empty() {
        return store;
    }
    let system = match config.store {
        config::Store::Embedded => "embedded",
        config::Store::Redis(_) => "redis",
    };
    store::observed::observe(store, Arc::clone(metrics), system)
}

/// Begins to export by OTLP what is observed by now, if the configuration says where to.
pub(super) fn export(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<(Tracer, Otlp)>, Failure> {
    let Some(config) = &config.otlp else { return Ok(None) };
    Otlp::start(config, metrics).map(Some).map_err(failed("start the export by OTLP"))
}

/// Has the state of the parts, of the certificates, of the log and of the process read with `metrics`.
pub(super) fn observe(metrics: &Arc<Metrics>, app: &App, tls: Option<&Arc<Tls>>, log: Option<&telemetry::Guard>) {
    // Weak: what is measured holds the metrics, and the store closes its file when the last of them is gone.
    let follower = Arc::downgrade(&app.follower);
    metrics.observe(Observed::one(
        Instrument::Gauge,
        "jeton.follower.lag",
        Unit::Seconds,
        "How long ago the newest head of the revocation log was asked for that this replica has reached.",
        move || follower.upgrade().map_or(0.0, |follower| follower.lag().as_secs_f64()),
    ));
    let follower = Arc::downgrade(&app.follower);
    metrics.observe(Observed::one(
        Instrument::Gauge,
        "jeton.log.head.age",
        Unit::Seconds,
        "How old the newest entry of the revocation log is that this replica has reached.",
        move || follower.upgrade().map_or(0.0, |follower| follower.head_age().as_secs_f64()),
    ));
    let slots = |name: &'static str, help: &'static str, count: fn((usize, usize)) -> usize| {
        let follower = Arc::downgrade(&app.follower);
        let read = move || follower.upgrade().map_or(0, |follower| count(follower.slots()));
        let read = move || number(u64::try_from(read()).unwrap_or(u64::MAX));
        metrics.observe(Observed::one(Instrument::Gauge, name, Unit::None, help, read));
    };
    slots("jeton.log.slots", "What the revocation log has revoked and not forgotten.", |(all, _)| all);
    slots("jeton.log.slots.permanent", "Those of them that are never forgotten.", |(_, permanent)| permanent);
    let outbox = Arc::downgrade(&app.outbox);
    metrics.observe(Observed::one(
        Instrument::Gauge,
        "jeton.outbox.lag",
        Unit::Seconds,
        "For how long the next event had been due when it was last looked for.",
        move || outbox.upgrade().map_or(0.0, |outbox| outbox.lag().as_secs_f64()),
    ));
    if let Some(log) = log {
        let dropped = log.dropped();
        metrics.observe(Observed::one(
            Instrument::Counter,
            "jeton.log.lines.dropped",
            Unit::None,
            "Log lines that were dropped because they were not written in time.",
            move || number(u64::try_from(dropped.lines()).unwrap_or(u64::MAX)),
        ));
    }
    observe_certificates(metrics, tls);
    process::observe(metrics);
}

/// Without TLS these metrics have no values.
fn observe_certificates(metrics: &Metrics, tls: Option<&Arc<Tls>>) {
    let observe =
        |instrument: Instrument, name: &'static str, unit: Unit, help: &'static str, read: fn(&Tls) -> f64| {
            let tls = tls.cloned();
            let value = move |tls: &Arc<Tls>| Point { labels: Labels::new(), value: read(tls) };
            let read = Box::new(move |_: &Counts| tls.iter().map(value).collect());
            metrics.observe(Observed { name, help, unit, instrument, read });
        };
    observe(
        Instrument::Gauge,
        "jeton.tls.certificate.not_after",
        Unit::Seconds,
        "When the first certificate of the chain in use expires, in seconds since the Unix epoch.",
        |tls| number(tls.not_after().as_secs()),
    );
    observe(
        Instrument::Counter,
        "jeton.tls.reloads",
        Unit::None,
        "How often the certificates were replaced by others that are in use.",
        |tls| number(tls.generation()),
    );
    observe(
        Instrument::Counter,
        "jeton.tls.reload.failures",
        Unit::None,
        "How often the certificates were replaced by others that could not be used.",
        |tls| number(tls.failures()),
    );
    observe(
        Instrument::Counter,
        "jeton.tls.handshake.failures",
        Unit::None,
        "Connections that ended before they were secured.",
        |tls| number(tls.handshake_failures()),
    );
}

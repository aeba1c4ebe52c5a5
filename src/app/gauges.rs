//! What is read only when metrics are.

use std::sync::Arc;

use super::App;
use crate::{
    metrics::{Kind, Metrics, Observed, Unit, number},
    telemetry::{self, process},
};

/// Has the state of the parts, of the log and of the process read with `metrics`.
pub(super) fn observe(metrics: &Arc<Metrics>, app: &App, log: Option<&telemetry::Guard>) {
    let follower = Arc::clone(&app.follower);
    metrics.observe(Observed::one(
        Kind::Gauge,
        "jeton.follower.lag",
        Unit::Seconds,
        "How long ago the newest head of the revocation log was asked for that this replica has reached.",
        move || follower.lag().as_secs_f64(),
    ));
    let follower = Arc::clone(&app.follower);
    metrics.observe(Observed::one(
        Kind::Gauge,
        "jeton.log.head.age",
        Unit::Seconds,
        "How old the newest entry of the revocation log is that this replica has reached.",
        move || follower.head_age().as_secs_f64(),
    ));
    let outbox = Arc::clone(&app.outbox);
    metrics.observe(Observed::one(
        Kind::Gauge,
        "jeton.outbox.lag",
        Unit::Seconds,
        "For how long the next event had been due when it was last looked for.",
        move || outbox.lag().as_secs_f64(),
    ));
    if let Some(log) = log {
        let dropped = log.dropped();
        metrics.observe(Observed::one(
            Kind::Counter,
            "jeton.log.lines.dropped",
            Unit::None,
            "Log lines that were dropped because they were not written in time.",
            move || number(u64::try_from(dropped.lines()).unwrap_or(u64::MAX)),
        ));
    }
    process::observe(metrics);
}

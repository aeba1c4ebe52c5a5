//! The admin listener: for those who run the service, never for its callers.

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{
    api::health::Health,
    metrics::{Metrics, text},
    telemetry::Levels,
};

/// The longest directives of the log, in bytes: more would be no level any more.
const MAX_DIRECTIVES: usize = 4096;

/// `/livez`: the process serves. `/readyz`: it is ready for calls, because its store answers and it is not stopping.
/// `/metrics`: for Prometheus. `/log`: what is logged, to read and to change; 404 where this process has no log.
pub fn routes(health: Health, metrics: Arc<Metrics>, levels: Option<Levels>) -> Router {
    let probes =
        Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(ready)).with_state(health);
    let metrics = Router::new().route("/metrics", get(page)).with_state(metrics);
    let log = match levels {
        Some(levels) => Router::new().route("/log", get(directives).put(set_directives)).with_state(levels),
        None => Router::new(),
    };
    probes.merge(metrics).merge(log.layer(DefaultBodyLimit::max(MAX_DIRECTIVES)))
}

async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.is_ready() { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}

async fn page(State(metrics): State<Arc<Metrics>>) -> Result<Response, StatusCode> {
    let page = text::page(&metrics).map_err(|fmt::Error| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(CONTENT_TYPE, text::CONTENT_TYPE)], page).into_response())
}

async fn directives(State(levels): State<Levels>) -> String {
    levels.current() + "\n"
}

/// The body is what `log.level` takes.
async fn set_directives(State(levels): State<Levels>, body: String) -> Result<String, (StatusCode, String)> {
    levels.set(&body).map_err(|wrong| (StatusCode::BAD_REQUEST, wrong + "\n"))?;
    Ok(levels.current() + "\n")
}

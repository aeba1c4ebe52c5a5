//! The admin listener: for those who run the service, never for its callers.

use axum::{Router, extract::State, http::StatusCode, routing::get};

use crate::api::health::Health;

/// `/livez`: the process serves. `/readyz`: it wants calls, because its store answers and it is not about to stop.
pub fn routes(health: Health) -> Router {
    Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(ready)).with_state(health)
}

async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.is_ready() { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}

//! The admin port: plain HTTP on loopback with `/metrics`, `/livez` and `/readyz`.
//!
//! It answers from the moment the ports are bound, so that a slow start can be watched, until the last task has
//! ended. It changes nothing.

use std::io;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    health::{About, Health},
    metrics::Metrics,
};

/// What the admin port tells about.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) about: About,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
}

impl Admin {
    /// Answers until `stopping`.
    pub(crate) async fn serve(self, listener: TcpListener, stopping: CancellationToken) -> io::Result<()> {
        let routes = Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .with_state(self);
        axum::serve(listener, routes).with_graceful_shutdown(stopping.cancelled_owned()).await
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// That this is answered at all shows that the process schedules its tasks; there is nothing else to ask.
async fn livez(State(admin): State<Admin>) -> Response {
    json_response(StatusCode::OK, &json!({ "live": true, "service": admin.about.service }))
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let readiness = admin.health.readiness();
    let code = match readiness.is_ready() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    json_response(code, &admin.about.report(&readiness))
}

fn json_response(code: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => (code, [(CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

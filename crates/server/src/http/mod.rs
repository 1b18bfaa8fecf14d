//! The HTTP door: one port for devices (joining, ObjectMQ, chunks) and for whoever watches the service (health, metrics).
//!
//! Every error is an `HttpProblem`. Secrets (tokens, codes, tickets) are never logged; addresses with tickets in them neither.

mod attempts;
mod batch;
mod chunks;
mod health;
mod join;
pub mod listen;
mod objectmq;
mod problem;
mod stall;
#[cfg(test)]
mod tests;
mod upload;

pub use problem::Problem;

use crate::config::HttpLimits;
use crate::metrics::{Metrics, Route};
use crate::service::{Connected, Context};
use ::objectmq::{Stats, websocket};
use attempts::Attempts;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post, put};
use stacksync_protocol::join::{JOIN_PATH, OBJECTMQ_PATH};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use upload::Uploads;

/// What the routes work with.
pub struct Door {
    /// The service behind it.
    pub service: Arc<Context>,
    /// Counters of the transport.
    pub objectmq: Arc<Stats>,
    /// The sessions of devices.
    pub sessions: websocket::Door,
    /// Which devices have one.
    pub connected: Arc<Connected>,
    attempts: Mutex<Attempts>,
    uploads: Uploads,
}

impl Door {
    /// A door to this service.
    pub fn new(
        service: Arc<Context>,
        objectmq: Arc<Stats>,
        sessions: websocket::Door,
        connected: Arc<Connected>,
        limits: &HttpLimits,
    ) -> Self {
        Self {
            service,
            objectmq,
            sessions,
            connected,
            attempts: Mutex::new(Attempts::new(Instant::now())),
            uploads: Uploads::new(limits),
        }
    }
}

/// The routes.
pub fn router(door: Arc<Door>) -> Router {
    let metrics = Arc::clone(&door.service.metrics);
    let counted =
        |route: Route, methods: MethodRouter<Arc<Door>>| methods.layer(from_fn_with_state((Arc::clone(&metrics), route), count));
    let not_so =
        || async { Problem::new(StatusCode::METHOD_NOT_ALLOWED, "methodNotAllowed", "This address takes another method.") };
    let nothing_here = || async { Problem::new(StatusCode::NOT_FOUND, "notFound", "There is nothing at this address.") };
    Router::new()
        .route(JOIN_PATH, counted(Route::Join, post(join::join)))
        .route(OBJECTMQ_PATH, counted(Route::ObjectMq, get(objectmq::connect)))
        .route("/v1/chunks/{container}/put", counted(Route::BatchPut, post(batch::put)))
        .route("/v1/chunks/{container}/get", counted(Route::BatchGet, post(batch::get)))
        .route(
            "/v1/chunks/{container}/{name}",
            counted(Route::ChunkGet, get(chunks::get)).merge(counted(Route::ChunkPut, put(chunks::put))),
        )
        .route("/healthz", counted(Route::Watch, get(health::health)))
        .route("/readyz", counted(Route::Watch, get(health::ready)))
        .route("/metrics", counted(Route::Watch, get(health::metrics)))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .with_state(door)
}

/// Counts a request and how long it took.
async fn count(State((metrics, route)): State<(Arc<Metrics>, Route)>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let response = next.run(request).await;
    metrics.request(route, response.status().as_u16(), started.elapsed());
    response
}

/// A failure of ours: counted and logged, and to the outside only that it was one.
fn failed(metrics: &Metrics, what: &str, error: &dyn std::fmt::Display) -> Problem {
    metrics.errors.one();
    tracing::error!(%error, "{what} failed");
    Problem::internal()
}

/// A result that is a response either way.
fn respond(result: Result<impl IntoResponse, Problem>) -> Response {
    result.map_or_else(IntoResponse::into_response, IntoResponse::into_response)
}

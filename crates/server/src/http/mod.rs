//! The HTTP door: one port for devices (joining, ObjectMQ, chunks) and for whoever watches the service (health, metrics).
//!
//! Every error is an `HttpProblem`. Secrets (tokens, codes, tickets) are never logged; addresses with tickets in them neither.

mod attempts;
mod batch;
mod chunks;
mod health;
#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
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
use ::objectmq::amqp::Amqp;
use ::objectmq::{Stats, websocket};
use attempts::Attempts;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
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
    /// The message broker, if there is one.
    pub broker: Option<Amqp>,
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
            broker: None,
            sessions,
            connected,
            attempts: Mutex::new(Attempts::new(Instant::now())),
            uploads: Uploads::new(limits),
        }
    }

    /// The same, with a message broker to tell of.
    pub fn with_broker(self, broker: Option<Amqp>) -> Self {
        Self { broker, ..self }
    }
}

/// What the door does at one address.
pub struct Served {
    /// How it is asked.
    pub method: Method,
    /// Where; `{...}` stands for one part of the path.
    pub path: &'static str,
    route: Route,
    handler: MethodRouter<Arc<Door>>,
}

/// Everything that the door does; the test of who may do what has a row for each.
pub fn served() -> Vec<Served> {
    const BATCH_PUT: &str = "/v1/chunks/{container}/put";
    const BATCH_GET: &str = "/v1/chunks/{container}/get";
    const CHUNK: &str = "/v1/chunks/{container}/{name}";
    let served = |route, method, path, handler| Served { method, path, route, handler };
    vec![
        served(Route::Join, Method::POST, JOIN_PATH, post(join::join)),
        served(Route::ObjectMq, Method::GET, OBJECTMQ_PATH, get(objectmq::connect)),
        served(Route::BatchPut, Method::POST, BATCH_PUT, post(batch::put)),
        served(Route::BatchGet, Method::POST, BATCH_GET, post(batch::get)),
        served(Route::ChunkGet, Method::GET, CHUNK, get(chunks::get)),
        served(Route::ChunkPut, Method::PUT, CHUNK, put(chunks::put)),
        served(Route::Watch, Method::GET, "/healthz", get(health::health)),
        served(Route::Watch, Method::GET, "/readyz", get(health::ready)),
        served(Route::Watch, Method::GET, "/metrics", get(health::metrics)),
    ]
}

/// The routes.
pub fn router(door: Arc<Door>) -> Router {
    let metrics = &door.service.metrics;
    let not_so =
        || async { Problem::new(StatusCode::METHOD_NOT_ALLOWED, "methodNotAllowed", "This address takes another method.") };
    let nothing_here = || async { Problem::new(StatusCode::NOT_FOUND, "notFound", "There is nothing at this address.") };
    let router = served().into_iter().fold(Router::new(), |router, served| {
        let counted = from_fn_with_state((Arc::clone(metrics), served.route), count);
        router.route(served.path, served.handler.layer(counted))
    });
    router.fallback(nothing_here).method_not_allowed_fallback(not_so).with_state(door)
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

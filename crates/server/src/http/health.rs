//! `/healthz` (the process runs), `/readyz` (it can do its work), `/metrics` (for Prometheus).

use super::{Door, Problem};
use crate::data_dir::DataDir;
use crate::metrics::BrokerNow;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use objectmq::{ConnectionState, Transport};
use stacksync_core::values::WorkspaceId;
use std::sync::Arc;
use uuid::Uuid;

/// What a probe writes, in bytes: more than fits beside a file's name.
const PROBE_BYTES: usize = 8_192;

pub async fn health() -> &'static str {
    "ok\n"
}

pub async fn ready(State(door): State<Arc<Door>>) -> Result<&'static str, Problem> {
    let service = &door.service;
    if let Err(error) = service.db.check().await {
        tracing::warn!(%error, "not ready: the metadata store does not answer");
        return Err(Problem::unavailable("The metadata store does not answer."));
    }
    // Of no container at all: whether the storage answers.
    if let Err(error) = service.store.usage(WorkspaceId(Uuid::nil())).await {
        tracing::warn!(%error, "not ready: the chunk storage does not answer");
        return Err(Problem::unavailable("The chunk storage does not answer."));
    }
    if let Err(error) = try_to_write(&service.data).await {
        tracing::warn!(%error, "not ready: the data directory cannot be written");
        return Err(Problem::unavailable("The data directory cannot be written."));
    }
    Ok("ready\n")
}

/// Whether there is room, and the file system takes writes.
async fn try_to_write(data: &DataDir) -> std::io::Result<()> {
    // A name of its own for each probe: several may ask at once.
    let probe = data.path().join(format!("ready-{}.tmp", Uuid::new_v4()));
    let written = tokio::fs::write(&probe, [0; PROBE_BYTES]).await;
    let removed = tokio::fs::remove_file(&probe).await;
    written.and(removed)
}

pub async fn metrics(State(door): State<Arc<Door>>) -> impl IntoResponse {
    let service = &door.service;
    let broker = door.broker.as_ref().map(|broker| BrokerNow {
        counters: broker.stats().snapshot(),
        connected: *broker.state().borrow() == ConnectionState::Connected,
        blocked: broker.blocked().is_some(),
    });
    let page = service.metrics.render(&service.db.stats(), &door.objectmq.snapshot(), broker.as_ref());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page)
}

//! `/healthz` (the process runs), `/readyz` (it can do its work), `/metrics` (for Prometheus).

use super::{Door, Problem};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use stacksync_core::values::WorkspaceId;
use std::sync::Arc;
use uuid::Uuid;

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
    Ok("ready\n")
}

pub async fn metrics(State(door): State<Arc<Door>>) -> impl IntoResponse {
    let service = &door.service;
    let page = service.metrics.render(&service.db.stats(), &door.objectmq.snapshot());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page)
}

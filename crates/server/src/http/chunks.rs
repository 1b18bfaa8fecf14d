//! `GET` and `PUT /v1/chunks/{container}/{name}?ticket=...`: one chunk, for whoever has a ticket for it.

use super::{Door, Problem, failed, respond};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use stacksync_chunks::pack::PACKED_BYTES_MAX;
use stacksync_chunks::store::{Health, StoreError};
use stacksync_chunks::ticket::{Op, Subject, TicketError};
use stacksync_core::values::{ChunkName, WorkspaceId};
use stacksync_protocol::chunk_service::CHECK_HEADER;
use std::sync::Arc;

/// The query of an address.
#[derive(Deserialize)]
pub struct Signed {
    #[serde(default)]
    ticket: String,
}

impl Door {
    /// Lets a request through if its ticket is for it, and if the device that got the ticket may still work with the workspace.
    pub(super) async fn admit(
        &self,
        op: Op,
        container: WorkspaceId,
        chunk: Option<ChunkName>,
        signed: &Signed,
    ) -> Result<(), Problem> {
        let now = self.service.now_s();
        let grant = self.service.tickets.verify(&signed.ticket, &Subject { op, container, chunk }, now).map_err(|error| {
            let code = if error == TicketError::Expired { "ticketExpired" } else { "badTicket" };
            Problem::new(StatusCode::FORBIDDEN, code, format!("{error}. Ask for another."))
        })?;
        let gate = &self.service.gate;
        let admitted = async {
            let caller = gate.device(grant.device).await?;
            gate.workspace(&caller, container).await.map(|_| ())
        };
        admitted.await.map_err(|fault| {
            if fault.is_ours() {
                return failed(&self.service.metrics, "looking a device up", &fault);
            }
            Problem::new(StatusCode::FORBIDDEN, "accessDenied", "The device that got this ticket may not use it any more.")
        })
    }

    /// What an error of the storage is to a device.
    pub(super) fn store_problem(&self, error: &StoreError) -> Problem {
        match error {
            StoreError::Refused { .. } => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "badChunk", format!("{error}.")),
            StoreError::Full { .. } => {
                tracing::error!(%error, "a chunk was not stored");
                self.service.metrics.errors.one();
                Problem::new(StatusCode::INSUFFICIENT_STORAGE, "storageFull", "The chunk storage is full. Nothing was lost.")
            }
            StoreError::Denied { .. } | StoreError::Unavailable(_) => {
                tracing::error!(%error, "the chunk storage cannot be used");
                self.service.metrics.errors.one();
                Problem::unavailable("The chunk storage does not answer the service. Nothing is lost.")
            }
            StoreError::Io { .. } => failed(&self.service.metrics, "the chunk storage", error),
        }
    }
}

/// The container and the chunk of an address.
pub(super) fn parse_container(text: &str) -> Result<WorkspaceId, Problem> {
    text.parse().map_err(|_| Problem::bad_request("The container is not a workspace's id."))
}

fn parse((container, name): (String, String)) -> Result<(WorkspaceId, ChunkName), Problem> {
    let name = name.parse().map_err(|error| Problem::bad_request(format!("{error}.")))?;
    Ok((parse_container(&container)?, name))
}

pub async fn get(
    State(door): State<Arc<Door>>,
    Path(address): Path<(String, String)>,
    Query(signed): Query<Signed>,
    headers: HeaderMap,
) -> Response {
    respond(read(&door, address, &signed, &headers).await)
}

async fn read(door: &Door, address: (String, String), signed: &Signed, headers: &HeaderMap) -> Result<Response, Problem> {
    let (container, name) = parse(address)?;
    door.admit(Op::Get, container, Some(name), signed).await?;
    if headers.contains_key(CHECK_HEADER) {
        let health = door.service.store.check(container, name).await.map_err(|error| door.store_problem(&error))?;
        if health == Health::Damaged {
            tracing::error!(%container, %name, "a chunk was damaged and is set aside; it comes back from a device that has it");
        }
    }
    let found = door.service.store.get(container, name).await.map_err(|error| door.store_problem(&error))?;
    let packed = found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "chunkMissing", "The storage lacks this chunk."))?;
    door.service.metrics.chunks_out.one();
    door.service.metrics.chunk_bytes_out.add(packed.len() as u64);
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], packed).into_response())
}

pub async fn put(
    State(door): State<Arc<Door>>,
    Path(address): Path<(String, String)>,
    Query(signed): Query<Signed>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(write(&door, address, &signed, &headers, body).await)
}

async fn write(
    door: &Door,
    address: (String, String),
    signed: &Signed,
    headers: &HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let (container, name) = parse(address)?;
    door.admit(Op::Put, container, Some(name), signed).await?;
    let packed = door.uploads.receive(headers, body, PACKED_BYTES_MAX, PACKED_BYTES_MAX).await?.rest().await?;
    let bytes = packed.len() as u64;
    door.service.store.put_batch(container, vec![(name, packed)]).await.map_err(|error| door.store_problem(&error))?;
    door.service.chunks_there.note(container, name);
    door.service.metrics.chunks_in.one();
    door.service.metrics.chunk_bytes_in.add(bytes);
    Ok(StatusCode::NO_CONTENT)
}

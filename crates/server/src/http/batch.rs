//! `POST /v1/chunks/{container}/put` and `/get`: many small chunks in one request. The form of the bodies is the protocol's.
//!
//! Neither a request nor an answer is ever in memory as a whole.

use super::chunks::{Signed, parse_container};
use super::upload::Upload;
use super::{Door, Problem, respond};
use crate::metrics::Metrics;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use stacksync_chunks::crash_point;
use stacksync_chunks::pack::PACKED_BYTES_MAX;
use stacksync_chunks::store::StoreError;
use stacksync_chunks::ticket::Op;
use stacksync_core::values::{ChunkName, WorkspaceId};
use stacksync_protocol::chunk_service::{BATCH_BYTES_MAX, TICKET_CHUNKS_MAX};
use std::sync::Arc;

const NAME_BYTES: usize = 32;
const RECORD_HEAD_BYTES: usize = NAME_BYTES + 4;
/// Bytes that are gathered before they are stored: they share one round of making durable.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Chunks of an answer that are read at a time, and groups that are read ahead.
const READ_GROUP: usize = 32;
const READ_AHEAD: usize = 2;

pub async fn put(
    State(door): State<Arc<Door>>,
    Path(container): Path<String>,
    Query(signed): Query<Signed>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(store(&door, &container, &signed, &headers, body).await)
}

async fn store(door: &Door, container: &str, signed: &Signed, headers: &HeaderMap, body: Body) -> Result<StatusCode, Problem> {
    let container = parse_container(container)?;
    door.admit(Op::PutBatch, container, None, signed).await?;
    let mut upload = door.uploads.receive(headers, body, BATCH_BYTES_MAX, GROUP_BYTES_MAX + PACKED_BYTES_MAX).await?;
    let mut group = Vec::new();
    let mut bytes = 0;
    while let Some((name, packed)) = next_record(&mut upload).await? {
        bytes += packed.len();
        group.push((name, packed));
        if bytes >= GROUP_BYTES_MAX {
            store_group(door, container, std::mem::take(&mut group), std::mem::take(&mut bytes)).await?;
        }
    }
    store_group(door, container, group, bytes).await?;
    crash_point!("chunk-put.before-answer");
    Ok(StatusCode::NO_CONTENT)
}

/// The next record of a body, or `None` if it ends here.
pub(super) async fn next_record(upload: &mut Upload) -> Result<Option<(ChunkName, Bytes)>, Problem> {
    let Some(head) = upload.take(RECORD_HEAD_BYTES).await? else { return Ok(None) };
    let (name, length) = parse_head(&head)?;
    let packed = upload.take(length).await?.ok_or_else(|| Problem::bad_request("The body ends too early."))?;
    Ok(Some((name, packed)))
}

fn parse_head(head: &[u8]) -> Result<(ChunkName, usize), Problem> {
    let broken = || Problem::bad_request(format!("A record holds 1 to {PACKED_BYTES_MAX} bytes."));
    let (name, length) = head.split_first_chunk::<NAME_BYTES>().ok_or_else(broken)?;
    let length: [u8; 4] = length.try_into().map_err(|_| broken())?;
    let length = u32::from_be_bytes(length) as usize;
    if (1..=PACKED_BYTES_MAX).contains(&length) { Ok((ChunkName::from_bytes(*name), length)) } else { Err(broken()) }
}

async fn store_group(door: &Door, container: WorkspaceId, group: Vec<(ChunkName, Bytes)>, bytes: usize) -> Result<(), Problem> {
    if group.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = group.iter().map(|(name, _)| *name).collect();
    door.service.store.put_batch(container, group).await.map_err(|error| door.store_problem(&error))?;
    names.iter().for_each(|name| door.service.chunks_there.note(container, *name));
    door.service.metrics.chunks_in.add(names.len() as u64);
    door.service.metrics.chunk_bytes_in.add(bytes as u64);
    Ok(())
}

pub async fn get(
    State(door): State<Arc<Door>>,
    Path(container): Path<String>,
    Query(signed): Query<Signed>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(read(door, &container, &signed, &headers, body).await)
}

async fn read(door: Arc<Door>, container: &str, signed: &Signed, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
    let container = parse_container(container)?;
    door.admit(Op::GetBatch, container, None, signed).await?;
    let body_max = TICKET_CHUNKS_MAX * NAME_BYTES;
    let asked = door.uploads.receive(headers, body, body_max, body_max).await?.rest().await?;
    let (names, rest) = asked.as_chunks::<NAME_BYTES>();
    if names.is_empty() || !rest.is_empty() {
        return Err(Problem::bad_request(format!("The body is one or more names of {NAME_BYTES} bytes each.")));
    }
    let names: Vec<ChunkName> = names.iter().map(|name| ChunkName::from_bytes(*name)).collect();
    let groups: Vec<Vec<ChunkName>> = names.chunks(READ_GROUP).map(<[_]>::to_vec).collect();
    let records = stream::iter(groups).map(move |group| read_group(Arc::clone(&door), container, group)).buffered(READ_AHEAD);
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(records)).into_response())
}

/// The records of some chunks. An error breaks the answer off: its head has been sent.
async fn read_group(door: Arc<Door>, container: WorkspaceId, group: Vec<ChunkName>) -> Result<Bytes, StoreError> {
    let found = door.service.store.get_batch(container, group.clone()).await.inspect_err(|error| {
        door.store_problem(error);
    })?;
    Ok(records(&door.service.metrics, &group, &found))
}

fn records(metrics: &Metrics, names: &[ChunkName], found: &[Option<Bytes>]) -> Bytes {
    let bytes: usize = found.iter().flatten().map(Bytes::len).sum();
    let mut records = BytesMut::with_capacity(bytes + names.len() * RECORD_HEAD_BYTES);
    for (name, packed) in names.iter().zip(found) {
        let packed = packed.as_deref().unwrap_or_default();
        records.put_slice(name.as_bytes());
        records.put_u32(u32::try_from(packed.len()).unwrap_or(0));
        records.put_slice(packed);
    }
    metrics.chunks_out.add(found.iter().flatten().count() as u64);
    metrics.chunk_bytes_out.add(bytes as u64);
    records.freeze()
}

//! Values as columns, the same in every store.
//!
//! A chunk list is one blob of 36 bytes per chunk: name (32), plain length (4, big-endian).

use stacksync_core::values::{Body, ChunkName, ChunkRef, FileBody, ItemId, Kind, Status};
use std::sync::Arc;

/// Bytes of one chunk in a packed list.
const CHUNK_BYTES: usize = 36;

/// For a column; what the store counts stays far below 2^63.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The number that stands for a folder.
pub(super) fn parent_number(parent: Option<ItemId>) -> i64 {
    parent.map_or(0, ItemId::get)
}

pub(super) const fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::File => 0,
        Kind::Folder => 1,
        Kind::Link => 2,
    }
}

pub(super) const fn status_number(status: Status) -> u8 {
    match status {
        Status::New => 0,
        Status::Changed => 1,
        Status::Renamed => 2,
        Status::Deleted => 3,
    }
}

pub(super) const fn status_of(number: u8) -> Option<Status> {
    match number {
        0 => Some(Status::New),
        1 => Some(Status::Changed),
        2 => Some(Status::Renamed),
        3 => Some(Status::Deleted),
        _ => None,
    }
}

/// The `body` column.
pub(super) fn pack_body(body: &Body) -> Vec<u8> {
    match body {
        Body::Folder => Vec::new(),
        Body::Link(target) => target.as_bytes().to_vec(),
        Body::File(file) => {
            let mut packed = Vec::with_capacity(file.chunks.len() * CHUNK_BYTES);
            for chunk in file.chunks.iter() {
                packed.extend_from_slice(chunk.name.as_bytes());
                packed.extend_from_slice(&chunk.len.to_be_bytes());
            }
            packed
        }
    }
}

/// The reverse of [`pack_body`]; `None` if the bytes are none of that kind.
pub(super) fn unpack_body(kind: u8, adler32: u32, executable: bool, packed: &[u8]) -> Option<Body> {
    match kind {
        1 if packed.is_empty() => Some(Body::Folder),
        2 => std::str::from_utf8(packed).ok().map(|target| Body::Link(target.into())),
        0 => {
            let (entries, rest) = packed.as_chunks::<CHUNK_BYTES>();
            let chunks: Arc<[ChunkRef]> = entries.iter().map(unpack_chunk).collect::<Option<_>>()?;
            let size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
            rest.is_empty().then_some(Body::File(FileBody { size, chunks, adler32, executable }))
        }
        _ => None,
    }
}

/// The names in the `body` column of a file; `None` if it is no chunk list.
pub(super) fn chunk_names(packed: &[u8]) -> Option<impl Iterator<Item = ChunkName>> {
    let (entries, rest) = packed.as_chunks::<CHUNK_BYTES>();
    rest.is_empty().then(|| entries.iter().filter_map(|entry| Some(ChunkName::from_bytes(*entry.first_chunk()?))))
}

fn unpack_chunk(entry: &[u8; CHUNK_BYTES]) -> Option<ChunkRef> {
    let name = ChunkName::from_bytes(*entry.first_chunk()?);
    let len = u32::from_be_bytes(*entry.last_chunk()?);
    Some(ChunkRef { name, len })
}

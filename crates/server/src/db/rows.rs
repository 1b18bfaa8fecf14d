//! Values as columns and back.
//!
//! A chunk list is one blob of 36 bytes per chunk: name (32), plain length (4, big-endian). A column that does not hold what this
//! program writes is damage, reported and never guessed around.

use super::{ChangedItem, DbError};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Params, Row};
use stacksync_core::values::{
    Body, ChunkName, ChunkRef, DeviceId, FileBody, ItemId, Kind, ModifiedAt, Name, Place, RemoteItem, Revision, Status, Version,
};
use std::sync::Arc;
use uuid::Uuid;

/// Bytes of one chunk in a packed list.
const CHUNK_BYTES: usize = 36;

/// The columns that [`item`] reads, in its order.
macro_rules! item_columns {
    () => {
        "id, version, revision, status, kind, parent, name, modified, adler32, executable, device, body"
    };
}
pub(super) use item_columns;

fn damaged(column: usize, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, what.into())
}

pub(super) fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    Uuid::from_slice(row.get_ref(column)?.as_blob()?).map_err(|_| damaged(column, "not 16 bytes"))
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| damaged(column, "negative"))
}

/// For a column; what the store counts stays far below 2^63.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<Name> {
    Name::new(row.get_ref(column)?.as_str()?).map_err(|_| damaged(column, "not a name"))
}

/// A folder, where 0 or null is the top.
pub(super) fn parent(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<ItemId>> {
    Ok(row.get::<_, Option<i64>>(column)?.and_then(ItemId::new))
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

fn unpack_chunk(entry: &[u8; CHUNK_BYTES]) -> Option<ChunkRef> {
    let name = ChunkName::from_bytes(*entry.first_chunk()?);
    let len = u32::from_be_bytes(*entry.last_chunk()?);
    Some(ChunkRef { name, len })
}

/// Reads the columns of [`item_columns`].
pub(super) fn item(row: &Row<'_>) -> rusqlite::Result<ChangedItem> {
    let id = ItemId::new(row.get(0)?).ok_or_else(|| damaged(0, "not an item id"))?;
    let version = Version::new(unsigned(row, 1)?).ok_or_else(|| damaged(1, "not a version"))?;
    let status = status_of(row.get(3)?).ok_or_else(|| damaged(3, "not a status"))?;
    let body = unpack_body(row.get(4)?, row.get(8)?, row.get(9)?, row.get_ref(11)?.as_blob()?);
    let item = RemoteItem {
        id,
        version,
        revision: Revision(unsigned(row, 2)?),
        deleted: status == Status::Deleted,
        place: Place { parent: parent(row, 5)?, name: name(row, 6)? },
        body: body.ok_or_else(|| damaged(11, "not what an item holds"))?,
        modified: ModifiedAt(row.get(7)?),
    };
    Ok(ChangedItem { item, status, device: DeviceId(uuid(row, 10)?) })
}

/// The first row of a query, if there is one. The statement stays prepared.
pub(super) fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, DbError> {
    Ok(connection.prepare_cached(sql)?.query_row(params, read).optional()?)
}

/// All rows of a query.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, DbError> {
    Ok(connection.prepare_cached(sql)?.query_map(params, read)?.collect::<rusqlite::Result<_>>()?)
}

/// Runs a statement that changes rows; returns how many. The statement stays prepared.
pub(super) fn run(connection: &Connection, sql: &str, params: impl Params) -> Result<usize, DbError> {
    Ok(connection.prepare_cached(sql)?.execute(params)?)
}

//! Rows of SQLite as values. A column that does not hold what this program writes is damage, reported and never guessed around.

use super::super::columns::{status_of, unpack_body};
use super::{ChangedItem, DbError};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Params, Row};
use stacksync_core::values::{DeviceId, ItemId, ModifiedAt, Name, Place, RemoteItem, Revision, Status, Version};
use uuid::Uuid;

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

pub(super) fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<Name> {
    Name::new(row.get_ref(column)?.as_str()?).map_err(|_| damaged(column, "not a name"))
}

/// A folder, where 0 or null is the top.
pub(super) fn parent(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<ItemId>> {
    Ok(row.get::<_, Option<i64>>(column)?.and_then(ItemId::new))
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

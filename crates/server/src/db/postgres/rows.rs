//! Rows of PostgreSQL as values. A column that does not hold what this program writes is damage, reported and never guessed around.

use super::super::columns::{status_of, unpack_body};
use crate::db::{Access, ChangedItem, DbError, Device, UnixMs, User};
use stacksync_core::values::{DeviceId, ItemId, ModifiedAt, Name, Place, RemoteItem, Revision, UserId, Version};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

/// The columns that [`item`] reads, in its order.
macro_rules! item_columns {
    ($table:literal) => {
        concat!(
            $table,
            ".id, ",
            $table,
            ".version, ",
            $table,
            ".revision, ",
            $table,
            ".status, ",
            $table,
            ".kind, ",
            $table,
            ".parent, ",
            $table,
            ".name, ",
            $table,
            ".modified, ",
            $table,
            ".adler32, ",
            $table,
            ".executable, ",
            $table,
            ".device, ",
            $table,
            ".body"
        )
    };
}
pub(super) use item_columns;

/// How many columns that are.
pub(super) const ITEM_COLUMNS: usize = 12;

/// Columns that [`user`] reads, and after them those that [`device`] reads.
pub(super) const USER_COLUMNS: usize = 8;

pub(in crate::db) fn damaged(what: &str) -> DbError {
    DbError::Damaged(what.to_owned())
}

pub(in crate::db) fn column<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, DbError> {
    row.try_get(at).map_err(|error| damaged(&error.to_string()))
}

pub(in crate::db) fn unsigned(row: &Row, at: usize) -> Result<u64, DbError> {
    u64::try_from(column::<i64>(row, at)?).map_err(|_| damaged("a negative number"))
}

pub(super) fn name(row: &Row, at: usize) -> Result<Name, DbError> {
    Name::new(column::<&str>(row, at)?).map_err(|_| damaged("not a name"))
}

/// A folder, where 0 or null is the top.
pub(super) fn parent(row: &Row, at: usize) -> Result<Option<ItemId>, DbError> {
    Ok(column::<Option<i64>>(row, at)?.and_then(ItemId::new))
}

pub(super) fn small(row: &Row, at: usize) -> Result<u8, DbError> {
    u8::try_from(column::<i16>(row, at)?).map_err(|_| damaged("not a small number"))
}

/// Reads the columns of [`item_columns`], which begin at `from`.
pub(super) fn item(row: &Row, from: usize) -> Result<ChangedItem, DbError> {
    let id = ItemId::new(column(row, from)?).ok_or_else(|| damaged("not an item id"))?;
    let version = Version::new(unsigned(row, from + 1)?).ok_or_else(|| damaged("not a version"))?;
    let status = status_of(small(row, from + 3)?).ok_or_else(|| damaged("not a status"))?;
    let adler32 = u32::try_from(column::<i64>(row, from + 8)?).map_err(|_| damaged("not a checksum"))?;
    let body = unpack_body(small(row, from + 4)?, adler32, column(row, from + 9)?, column(row, from + 11)?);
    let item = RemoteItem {
        id,
        version,
        revision: Revision(unsigned(row, from + 2)?),
        deleted: status == stacksync_core::values::Status::Deleted,
        place: Place { parent: parent(row, from + 5)?, name: name(row, from + 6)? },
        body: body.ok_or_else(|| damaged("not what an item holds"))?,
        modified: ModifiedAt(column(row, from + 7)?),
    };
    Ok(ChangedItem { item, status, device: DeviceId(column(row, from + 10)?) })
}

/// Reads `id, name, email, quota_limit, quota_used, password, disabled, created_at`.
pub(super) fn user(row: &Row) -> Result<User, DbError> {
    let disabled: bool = column(row, 6)?;
    Ok(User {
        id: UserId(column(row, 0)?),
        name: column(row, 1)?,
        email: column(row, 2)?,
        quota_limit: unsigned(row, 3)?,
        quota_used: unsigned(row, 4)?,
        password_phc: column(row, 5)?,
        access: if disabled { Access::Disabled } else { Access::Allowed },
        created_at: UnixMs(column(row, 7)?),
    })
}

/// Reads `id, name, os, app_version, ip, created_at, seen_at, revoked`, which begin at `from`.
pub(super) fn device(row: &Row, from: usize, user: UserId) -> Result<Device, DbError> {
    Ok(Device {
        id: DeviceId(column(row, from)?),
        user,
        name: column(row, from + 1)?,
        os: column(row, from + 2)?,
        app_version: column(row, from + 3)?,
        ip: column(row, from + 4)?,
        created_at: UnixMs(column(row, from + 5)?),
        seen_at: UnixMs(column(row, from + 6)?),
        revoked: column(row, from + 7)?,
    })
}

/// Text for a column: PostgreSQL cannot hold NUL.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

//! Bundles in SQLite.

use super::super::bundles::{chunk_name, length, time};
use super::rows::{all, first, run, unsigned};
use super::{DbError, Sqlite, UnixMs};
use crate::db::bundles::Bundles;
use crate::db::store::Answer;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};
use stacksync_chunks::bundle::{Part, Table};
use stacksync_chunks::store::Stored;
use stacksync_core::values::{ChunkName, WorkspaceId};
use stacksync_storage::bundled::index::{Added, Found, Known};

/// Of a workspace that is not there nothing is known.
fn known_number(connection: &Connection, workspace: WorkspaceId) -> Result<Option<i64>, DbError> {
    first(connection, "SELECT number FROM workspaces WHERE id = ?1", [workspace.0.as_bytes()], |row| row.get(0))
}

fn workspace_number(connection: &Connection, workspace: WorkspaceId) -> Result<i64, DbError> {
    known_number(connection, workspace)?.ok_or(DbError::NoAccess)
}

fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<ChunkName> {
    chunk_name(row.get_ref(column)?.as_blob()?)
        .ok_or_else(|| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, "not a name".into()))
}

fn small(row: &Row<'_>, column: usize) -> rusqlite::Result<u32> {
    row.get(column)
}

/// The number of a bundle, and whether it is live.
fn bundle(connection: &Connection, workspace: i64, name: &ChunkName) -> Result<Option<(i64, bool)>, DbError> {
    let sql = "SELECT number, retired_at IS NULL FROM bundles WHERE workspace = ?1 AND name = ?2";
    first(connection, sql, params![workspace, name.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
}

fn insert(connection: &Connection, workspace: i64, table: &Table, at: UnixMs) -> Result<(), DbError> {
    let sql = "INSERT INTO bundles (workspace, name, bytes, made_at) VALUES (?1, ?2, ?3, ?4)";
    run(connection, sql, params![workspace, table.name.as_bytes(), length(table.bytes), at.0])?;
    let number = connection.last_insert_rowid();
    let sql = "INSERT INTO bundled (workspace, chunk, bundle, start, bytes) VALUES (?1, ?2, ?3, ?4, ?5)";
    for part in &table.parts {
        run(connection, sql, params![workspace, part.name.as_bytes(), number, part.start, part.length])?;
    }
    Ok(())
}

fn add(connection: &Connection, workspace: WorkspaceId, table: &Table, at: UnixMs) -> Result<Added, DbError> {
    let workspace = workspace_number(connection, workspace)?;
    match bundle(connection, workspace, &table.name)? {
        Some((_, true)) => Ok(Added::WasLive),
        Some((_, false)) => Ok(Added::Retired),
        None => insert(connection, workspace, table, at).map(|()| Added::New),
    }
}

fn find(connection: &Connection, workspace: WorkspaceId, names: &[ChunkName]) -> Result<Vec<Found>, DbError> {
    let Some(workspace) = known_number(connection, workspace)? else { return Ok(Vec::new()) };
    let sql = "SELECT p.start, p.bytes, b.name, b.bytes FROM bundled p JOIN bundles b ON b.number = p.bundle \
               WHERE p.workspace = ?1 AND p.chunk = ?2 AND b.retired_at IS NULL ORDER BY p.bundle DESC";
    let mut found = Vec::new();
    for chunk in names {
        found.extend(all(connection, sql, params![workspace, chunk.as_bytes()], |row| {
            let part = Part { name: *chunk, start: small(row, 0)?, length: small(row, 1)? };
            Ok(Found { part, bundle: name(row, 2)?, bundle_bytes: unsigned(row, 3)? })
        })?);
    }
    Ok(found)
}

fn list(connection: &Connection, workspace: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Result<Vec<Stored>, DbError> {
    let Some(workspace) = known_number(connection, workspace)? else { return Ok(Vec::new()) };
    let sql = "SELECT p.chunk, max(p.bytes), max(b.made_at) FROM bundled p JOIN bundles b ON b.number = p.bundle \
               WHERE p.workspace = ?1 AND p.chunk > ?2 AND b.retired_at IS NULL GROUP BY p.chunk ORDER BY p.chunk LIMIT ?3";
    let after = after.map(|after| after.as_bytes().to_vec()).unwrap_or_default();
    all(connection, sql, params![workspace, after, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok(Stored { name: name(row, 0)?, bytes: unsigned(row, 1)?, modified: time(row.get(2)?) })
    })
}

fn bundles(connection: &Connection, workspace: WorkspaceId) -> Result<Vec<Known>, DbError> {
    let Some(workspace) = known_number(connection, workspace)? else { return Ok(Vec::new()) };
    all(connection, "SELECT name, bytes, retired_at FROM bundles WHERE workspace = ?1", [workspace], |row| {
        let retired = row.get::<_, Option<i64>>(2)?.map(time);
        Ok(Known { name: name(row, 0)?, bytes: unsigned(row, 1)?, retired })
    })
}

fn parts(connection: &Connection, workspace: WorkspaceId) -> Result<Vec<(ChunkName, Part)>, DbError> {
    let Some(workspace) = known_number(connection, workspace)? else { return Ok(Vec::new()) };
    let sql =
        "SELECT b.name, p.chunk, p.start, p.bytes FROM bundled p JOIN bundles b ON b.number = p.bundle WHERE p.workspace = ?1";
    all(connection, sql, [workspace], |row| {
        Ok((name(row, 0)?, Part { name: name(row, 1)?, start: small(row, 2)?, length: small(row, 3)? }))
    })
}

fn note(connection: &Connection, workspace: WorkspaceId, name: &ChunkName, bytes: u64, since: UnixMs) -> Result<bool, DbError> {
    let workspace = workspace_number(connection, workspace)?;
    let sql =
        "INSERT INTO bundles (workspace, name, bytes, made_at, retired_at) VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING";
    Ok(run(connection, sql, params![workspace, name.as_bytes(), length(bytes), since.0])? > 0)
}

fn replace(
    connection: &Connection,
    workspace: WorkspaceId,
    old: &[ChunkName],
    new: Option<&Table>,
    since: UnixMs,
) -> Result<bool, DbError> {
    let workspace = workspace_number(connection, workspace)?;
    if let Some(table) = new
        && bundle(connection, workspace, &table.name)?.is_some()
    {
        return Ok(false);
    }
    let mut numbers = Vec::with_capacity(old.len());
    for name in old {
        match bundle(connection, workspace, name)? {
            Some((number, true)) => numbers.push(number),
            _ => return Ok(false),
        }
    }
    for number in numbers {
        run(connection, "UPDATE bundles SET retired_at = ?2 WHERE number = ?1", params![number, since.0])?;
    }
    new.map(|table| insert(connection, workspace, table, since)).transpose()?;
    Ok(true)
}

fn restore(connection: &Connection, workspace: WorkspaceId, names: &[ChunkName]) -> Result<(), DbError> {
    let workspace = workspace_number(connection, workspace)?;
    for name in names {
        let sql = "UPDATE bundles SET retired_at = NULL WHERE workspace = ?1 AND name = ?2";
        run(connection, sql, params![workspace, name.as_bytes()])?;
    }
    Ok(())
}

fn forget(connection: &Connection, workspace: WorkspaceId, name: &ChunkName, chunks: &[ChunkName]) -> Result<(), DbError> {
    let workspace = workspace_number(connection, workspace)?;
    let Some((number, false)) = bundle(connection, workspace, name)? else { return Ok(()) };
    for chunk in chunks {
        let sql = "DELETE FROM bundled WHERE workspace = ?1 AND chunk = ?2 AND bundle = ?3";
        run(connection, sql, params![workspace, chunk.as_bytes(), number])?;
    }
    run(connection, "DELETE FROM bundles WHERE number = ?1", [number])?;
    Ok(())
}

fn forget_parts(connection: &Connection, workspace: WorkspaceId, places: &[(ChunkName, ChunkName)]) -> Result<(), DbError> {
    let workspace = workspace_number(connection, workspace)?;
    for (chunk, name) in places {
        let sql = "DELETE FROM bundled WHERE workspace = ?1 AND chunk = ?2 \
                   AND bundle = (SELECT number FROM bundles WHERE workspace = ?1 AND name = ?3)";
        run(connection, sql, params![workspace, chunk.as_bytes(), name.as_bytes()])?;
    }
    Ok(())
}

impl Bundles for Sqlite {
    fn add_bundle(&self, workspace: WorkspaceId, table: Table, at: UnixMs) -> Answer<'_, Added> {
        self.write(move |connection| add(connection, workspace, &table, at))
    }

    fn find_bundled(&self, workspace: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<Found>> {
        self.read(move |connection| find(connection, workspace, &names))
    }

    fn list_bundled(&self, workspace: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Answer<'_, Vec<Stored>> {
        self.read(move |connection| list(connection, workspace, after, limit))
    }

    fn bundles(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Known>> {
        self.read(move |connection| bundles(connection, workspace))
    }

    fn bundle_parts(&self, workspace: WorkspaceId) -> Answer<'_, Vec<(ChunkName, Part)>> {
        self.read(move |connection| parts(connection, workspace))
    }

    fn note_bundle(&self, workspace: WorkspaceId, name: ChunkName, bytes: u64, since: UnixMs) -> Answer<'_, bool> {
        self.write(move |connection| note(connection, workspace, &name, bytes, since))
    }

    fn replace_bundles(&self, workspace: WorkspaceId, old: Vec<ChunkName>, new: Option<Table>, since: UnixMs) -> Answer<'_, bool> {
        self.write(move |connection| replace(connection, workspace, &old, new.as_ref(), since))
    }

    fn restore_bundles(&self, workspace: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, ()> {
        self.write(move |connection| restore(connection, workspace, &names))
    }

    fn forget_bundle(&self, workspace: WorkspaceId, name: ChunkName, chunks: Vec<ChunkName>) -> Answer<'_, ()> {
        self.write(move |connection| forget(connection, workspace, &name, &chunks))
    }

    fn forget_bundled(&self, workspace: WorkspaceId, places: Vec<(ChunkName, ChunkName)>) -> Answer<'_, ()> {
        self.write(move |connection| forget_parts(connection, workspace, &places))
    }
}

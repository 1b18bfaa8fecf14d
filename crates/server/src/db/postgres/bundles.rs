//! Bundles in PostgreSQL.
//!
//! What adds, retires or restores a bundle locks its row, or makes it: of two who come at once one comes first.

use super::Postgres;
use super::link::{Link, Query, Stop, query};
use super::rows::{column, damaged, unsigned};
use crate::db::bundles::{Bundles, chunk_name, length, time};
use crate::db::store::Answer;
use crate::db::{DbError, UnixMs};
use stacksync_chunks::bundle::{Part, Table};
use stacksync_chunks::store::Stored;
use stacksync_core::values::{ChunkName, WorkspaceId};
use stacksync_storage::bundled::index::{Added, Found, Known};
use tokio_postgres::Row;

const FIND: Query = query!(
    "SELECT q.chunk, f.start, f.part, f.name, f.bytes FROM workspaces w, unnest($2) q (chunk), \
     LATERAL (SELECT p.start, p.bytes AS part, b.number, b.name, b.bytes FROM \
       (SELECT * FROM bundled WHERE workspace = w.number AND chunk = q.chunk OFFSET 0) p, \
       LATERAL (SELECT * FROM bundles WHERE number = p.bundle AND retired_at IS NULL OFFSET 0) b OFFSET 0) f \
     WHERE w.id = $1 ORDER BY f.number DESC",
    UUID,
    BYTEA_ARRAY
);
const LIST: Query = query!(
    "SELECT p.chunk, max(p.bytes), max(b.made_at) FROM bundled p JOIN bundles b ON b.number = p.bundle \
     WHERE p.workspace = (SELECT number FROM workspaces WHERE id = $1) AND p.chunk > $2 AND b.retired_at IS NULL \
     GROUP BY p.chunk ORDER BY p.chunk LIMIT $3",
    UUID,
    BYTEA,
    INT8
);
const BUNDLES: Query =
    query!("SELECT name, bytes, retired_at FROM bundles WHERE workspace = (SELECT number FROM workspaces WHERE id = $1)", UUID);
const PARTS: Query = query!(
    "SELECT b.name, p.chunk, p.start, p.bytes FROM bundled p JOIN bundles b ON b.number = p.bundle \
     WHERE p.workspace = (SELECT number FROM workspaces WHERE id = $1)",
    UUID
);
const NEW: Query = query!(
    "INSERT INTO bundles (workspace, name, bytes, made_at, retired_at) SELECT number, $2, $3, $4, $5 FROM workspaces WHERE id = $1 \
     ON CONFLICT (workspace, name) DO NOTHING RETURNING number, workspace",
    UUID,
    BYTEA,
    INT8,
    INT8,
    INT8
);
const NEW_PARTS: Query = query!(
    "INSERT INTO bundled (workspace, bundle, chunk, start, bytes) SELECT $1, $2, * FROM unnest($3, $4, $5)",
    INT8,
    INT8,
    BYTEA_ARRAY,
    INT8_ARRAY,
    INT8_ARRAY
);
/// The row is locked.
const BUNDLE: Query = query!(
    "SELECT b.number, b.workspace, b.retired_at IS NULL FROM bundles b \
     WHERE b.workspace = (SELECT number FROM workspaces WHERE id = $1) AND b.name = $2 FOR UPDATE",
    UUID,
    BYTEA
);

/// A bundle that is known: its numbers, and whether it is live.
struct Numbers {
    number: i64,
    workspace: i64,
    is_live: bool,
}

fn name(row: &Row, at: usize) -> Result<ChunkName, DbError> {
    chunk_name(column(row, at)?).ok_or_else(|| damaged("not a name"))
}

fn small(row: &Row, at: usize) -> Result<u32, DbError> {
    u32::try_from(column::<i64>(row, at)?).map_err(|_| damaged("not a place in a bundle"))
}

async fn bundle(link: &Link, workspace: WorkspaceId, name: &ChunkName) -> Result<Option<Numbers>, Stop<DbError>> {
    let row = link.first(&BUNDLE, &[&workspace.0, &name.as_bytes().as_slice()]).await?;
    let read = |row: &Row| -> Result<Numbers, DbError> {
        Ok(Numbers { number: column(row, 0)?, workspace: column(row, 1)?, is_live: column(row, 2)? })
    };
    Ok(row.as_ref().map(read).transpose()?)
}

/// `false`: it is known already.
async fn insert(link: &Link, workspace: WorkspaceId, table: &Table, at: UnixMs) -> Result<bool, Stop<DbError>> {
    let retired: Option<i64> = None;
    let row = link.first(&NEW, &[&workspace.0, &table.name.as_bytes().as_slice(), &length(table.bytes), &at.0, &retired]).await?;
    let Some(row) = row else { return Ok(false) };
    let (number, workspace) = (column::<i64>(&row, 0)?, column::<i64>(&row, 1)?);
    let chunks: Vec<&[u8]> = table.parts.iter().map(|part| part.name.as_bytes().as_slice()).collect();
    let starts: Vec<i64> = table.parts.iter().map(|part| part.start.into()).collect();
    let lengths: Vec<i64> = table.parts.iter().map(|part| part.length.into()).collect();
    link.run(&NEW_PARTS, &[&workspace, &number, &chunks, &starts, &lengths]).await?;
    Ok(true)
}

async fn add(link: &Link, workspace: WorkspaceId, table: &Table, at: UnixMs) -> Result<Added, Stop<DbError>> {
    if insert(link, workspace, table, at).await? {
        return Ok(Added::New);
    }
    match bundle(link, workspace, &table.name).await? {
        Some(found) if found.is_live => Ok(Added::WasLive),
        Some(_) => Ok(Added::Retired),
        None => Err(DbError::NoAccess.into()),
    }
}

async fn replace(
    link: &Link,
    workspace: WorkspaceId,
    old: &[ChunkName],
    new: Option<&Table>,
    since: UnixMs,
) -> Result<Option<()>, Stop<DbError>> {
    // In one order for all, so that two do not wait for each other.
    let mut old = old.to_vec();
    old.sort_unstable();
    let mut numbers = Vec::with_capacity(old.len());
    for name in &old {
        match bundle(link, workspace, name).await? {
            Some(found) if found.is_live => numbers.push(found.number),
            _ => return Ok(None),
        }
    }
    if let Some(table) = new
        && !insert(link, workspace, table, since).await?
    {
        return Ok(None);
    }
    let sql = query!("UPDATE bundles SET retired_at = $2 WHERE number = ANY($1)", INT8_ARRAY, INT8);
    link.run(&sql, &[&numbers, &since.0]).await?;
    Ok(Some(()))
}

async fn restore(link: &Link, workspace: WorkspaceId, names: &[ChunkName]) -> Result<(), Stop<DbError>> {
    let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes().as_slice()).collect();
    let sql = query!(
        "UPDATE bundles SET retired_at = NULL WHERE workspace = (SELECT number FROM workspaces WHERE id = $1) AND name = ANY($2)",
        UUID,
        BYTEA_ARRAY
    );
    link.run(&sql, &[&workspace.0, &names]).await?;
    Ok(())
}

async fn forget(link: &Link, workspace: WorkspaceId, name: &ChunkName, chunks: &[ChunkName]) -> Result<(), Stop<DbError>> {
    let Some(Numbers { number, workspace, is_live: false }) = bundle(link, workspace, name).await? else { return Ok(()) };
    let chunks: Vec<&[u8]> = chunks.iter().map(|name| name.as_bytes().as_slice()).collect();
    let sql = query!("DELETE FROM bundled WHERE workspace = $1 AND chunk = ANY($2) AND bundle = $3", INT8, BYTEA_ARRAY, INT8);
    link.run(&sql, &[&workspace, &chunks, &number]).await?;
    link.run(&query!("DELETE FROM bundles WHERE number = $1", INT8), &[&number]).await?;
    Ok(())
}

async fn forget_parts(link: &Link, workspace: WorkspaceId, places: &[(ChunkName, ChunkName)]) -> Result<(), Stop<DbError>> {
    for (chunk, name) in places {
        if let Some(found) = bundle(link, workspace, name).await? {
            let sql = query!("DELETE FROM bundled WHERE workspace = $1 AND chunk = $2 AND bundle = $3", INT8, BYTEA, INT8);
            link.run(&sql, &[&found.workspace, &chunk.as_bytes().as_slice(), &found.number]).await?;
        }
    }
    Ok(())
}

impl Bundles for Postgres {
    fn add_bundle(&self, workspace: WorkspaceId, table: Table, at: UnixMs) -> Answer<'_, Added> {
        Box::pin(async move {
            let added = self.links.write(|link| {
                let table = table.clone();
                Box::pin(async move { add(link, workspace, &table, at).await })
            });
            added.await
        })
    }

    fn find_bundled(&self, workspace: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<Found>> {
        Box::pin(async move {
            let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes().as_slice()).collect();
            let rows = self.links.read(&FIND, &[&workspace.0, &names]).await?;
            let found = |row: &Row| -> Result<Found, DbError> {
                let part = Part { name: name(row, 0)?, start: small(row, 1)?, length: small(row, 2)? };
                Ok(Found { part, bundle: name(row, 3)?, bundle_bytes: unsigned(row, 4)? })
            };
            rows.iter().map(found).collect()
        })
    }

    fn list_bundled(&self, workspace: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Answer<'_, Vec<Stored>> {
        Box::pin(async move {
            let after = after.map(|after| after.as_bytes().to_vec()).unwrap_or_default();
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = self.links.read(&LIST, &[&workspace.0, &after, &limit]).await?;
            let stored = |row: &Row| -> Result<Stored, DbError> {
                Ok(Stored { name: name(row, 0)?, bytes: unsigned(row, 1)?, modified: time(column(row, 2)?) })
            };
            rows.iter().map(stored).collect()
        })
    }

    fn bundles(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Known>> {
        Box::pin(async move {
            let rows = self.links.read(&BUNDLES, &[&workspace.0]).await?;
            let known = |row: &Row| -> Result<Known, DbError> {
                let retired = column::<Option<i64>>(row, 2)?.map(time);
                Ok(Known { name: name(row, 0)?, bytes: unsigned(row, 1)?, retired })
            };
            rows.iter().map(known).collect()
        })
    }

    fn bundle_parts(&self, workspace: WorkspaceId) -> Answer<'_, Vec<(ChunkName, Part)>> {
        Box::pin(async move {
            let rows = self.links.read(&PARTS, &[&workspace.0]).await?;
            let part = |row: &Row| -> Result<(ChunkName, Part), DbError> {
                Ok((name(row, 0)?, Part { name: name(row, 1)?, start: small(row, 2)?, length: small(row, 3)? }))
            };
            rows.iter().map(part).collect()
        })
    }

    fn note_bundle(&self, workspace: WorkspaceId, name: ChunkName, bytes: u64, since: UnixMs) -> Answer<'_, bool> {
        Box::pin(async move {
            let noted = self.links.write(|link| {
                Box::pin(async move {
                    let retired = Some(since.0);
                    let name = name.as_bytes().as_slice();
                    let row = link.first(&NEW, &[&workspace.0, &name, &length(bytes), &since.0, &retired]).await?;
                    Ok::<_, Stop<DbError>>(row.is_some())
                })
            });
            noted.await
        })
    }

    fn replace_bundles(&self, workspace: WorkspaceId, old: Vec<ChunkName>, new: Option<Table>, since: UnixMs) -> Answer<'_, bool> {
        Box::pin(async move {
            let replaced = self.links.write(|link| {
                let (old, new) = (old.clone(), new.clone());
                Box::pin(async move { replace(link, workspace, &old, new.as_ref(), since).await })
            });
            Ok(replaced.await?.is_some())
        })
    }

    fn restore_bundles(&self, workspace: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, ()> {
        Box::pin(async move {
            let restored = self.links.write(|link| {
                let names = names.clone();
                Box::pin(async move { restore(link, workspace, &names).await })
            });
            restored.await
        })
    }

    fn forget_bundle(&self, workspace: WorkspaceId, name: ChunkName, chunks: Vec<ChunkName>) -> Answer<'_, ()> {
        Box::pin(async move {
            let forgotten = self.links.write(|link| {
                let chunks = chunks.clone();
                Box::pin(async move { forget(link, workspace, &name, &chunks).await })
            });
            forgotten.await
        })
    }

    fn forget_bundled(&self, workspace: WorkspaceId, places: Vec<(ChunkName, ChunkName)>) -> Answer<'_, ()> {
        Box::pin(async move {
            let forgotten = self.links.write(|link| {
                let places = places.clone();
                Box::pin(async move { forget_parts(link, workspace, &places).await })
            });
            forgotten.await
        })
    }
}

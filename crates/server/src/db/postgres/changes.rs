//! What changed in a workspace, and what it holds. Each is one statement, so that all of it is seen at one moment.

use super::super::columns::signed;
use super::super::tree::depth_first;
use super::link::{Links, query};
use super::rows::{self, column, item_columns, unsigned};
use crate::db::{ChangedItem, Changes, DbError, TreeItem};
use stacksync_core::values::{ItemId, Revision, WorkspaceId};

/// A page of changes.
pub(super) async fn changes(links: &Links, workspace: WorkspaceId, since: Revision, limit: u32) -> Result<Changes, DbError> {
    let sql = query!(
        concat!(
            "SELECT w.revision, m.epoch, ",
            item_columns!("i"),
            " FROM meta m CROSS JOIN workspaces w LEFT JOIN LATERAL (SELECT * FROM items x WHERE x.workspace = w.number \
             AND x.revision > $2 ORDER BY x.revision LIMIT $3) i ON true WHERE w.id = $1 ORDER BY i.revision"
        ),
        UUID,
        INT8,
        INT8
    );
    let found = links.read(&sql, &[&workspace.0, &signed(since.0), &i64::from(limit)]).await?;
    let first = found.first().ok_or(DbError::NoAccess)?;
    let (head, epoch) = (Revision(unsigned(first, 0)?), column(first, 1)?);
    let none = column::<Option<i64>>(first, 2)?.is_none();
    let items: Vec<ChangedItem> =
        if none { Vec::new() } else { found.iter().map(|row| rows::item(row, 2)).collect::<Result<_, _>>()? };
    // A full page may have left changes out: it reaches as far as its last item. Any other page holds all there is.
    let to = match items.last() {
        Some(last) if items.len() >= limit as usize => last.item.revision,
        _ => head,
    };
    Ok(Changes { epoch, to, head, items })
}

/// The whole tree.
pub(super) async fn tree(links: &Links, workspace: WorkspaceId) -> Result<Vec<TreeItem>, DbError> {
    let sql = query!(
        concat!(
            "SELECT ",
            item_columns!("i"),
            " FROM workspaces w LEFT JOIN items i ON i.workspace = w.number WHERE w.id = $1 ORDER BY i.id DESC"
        ),
        UUID
    );
    let found = links.read(&sql, &[&workspace.0]).await?;
    let first = found.first().ok_or(DbError::NoAccess)?;
    if column::<Option<i64>>(first, 0)?.is_none() {
        return Ok(Vec::new());
    }
    Ok(depth_first(found.iter().map(|row| rows::item(row, 0)).collect::<Result<Vec<_>, _>>()?))
}

/// The chunk lists of all versions of files, in one statement and so of one moment.
pub(super) async fn bodies(links: &Links, workspace: WorkspaceId) -> Result<Vec<Vec<u8>>, DbError> {
    let sql = query!(
        "SELECT i.body FROM items i JOIN workspaces w ON w.number = i.workspace WHERE w.id = $1 AND i.kind = 0
        UNION ALL SELECT p.body FROM past_versions p JOIN items i ON i.id = p.id JOIN workspaces w ON w.number = i.workspace
        WHERE w.id = $1 AND p.kind = 0",
        UUID
    );
    links.read(&sql, &[&workspace.0]).await?.iter().map(|row| column(row, 0)).collect()
}

/// The latest version of one item of a workspace.
pub(super) async fn item(links: &Links, workspace: WorkspaceId, id: ItemId) -> Result<Option<ChangedItem>, DbError> {
    let sql = query!(
        concat!(
            "SELECT ",
            item_columns!("i"),
            " FROM items i JOIN workspaces w ON w.number = i.workspace WHERE i.id = $1 AND w.id = $2"
        ),
        INT8,
        UUID
    );
    links.read(&sql, &[&id.get(), &workspace.0]).await?.first().map(|row| rows::item(row, 0)).transpose()
}

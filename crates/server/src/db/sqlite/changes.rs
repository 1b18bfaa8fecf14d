//! What changed in a workspace, and what it holds.

use super::super::columns::signed;
use super::super::tree::depth_first;
use super::rows::{self, all, first, item_columns, unsigned, uuid};
use super::{ChangedItem, Changes, DbError, TreeItem};
use rusqlite::{Connection, params};
use stacksync_core::planted;
use stacksync_core::values::{ItemId, Revision, WorkspaceId};

/// The latest version of one item of a workspace.
pub(super) fn item(connection: &Connection, workspace: WorkspaceId, id: ItemId) -> Result<Option<ChangedItem>, DbError> {
    let sql = concat!(
        "SELECT ",
        item_columns!(),
        " FROM items WHERE id = ?1 AND workspace = (SELECT number FROM workspaces w WHERE w.id = ?2)"
    );
    first(connection, sql, params![id.get(), workspace.0.as_bytes()], rows::item)
}

fn head(connection: &Connection, workspace: WorkspaceId) -> Result<(i64, Revision), DbError> {
    let sql = "SELECT number, revision FROM workspaces WHERE id = ?1";
    let found = first(connection, sql, [workspace.0.as_bytes()], |row| Ok((row.get(0)?, Revision(unsigned(row, 1)?))))?;
    found.ok_or(DbError::NoAccess)
}

/// A page of changes.
pub(super) fn changes(connection: &Connection, workspace: WorkspaceId, since: Revision, limit: u32) -> Result<Changes, DbError> {
    let (number, head) = head(connection, workspace)?;
    let epoch = connection.prepare_cached("SELECT epoch FROM meta")?.query_row([], |row| uuid(row, 0))?;
    let sql = concat!("SELECT ", item_columns!(), " FROM items WHERE workspace = ?1 AND revision > ?2 ORDER BY revision LIMIT ?3");
    let mut items = all(connection, sql, params![number, signed(since.0), limit], rows::item)?;
    // A full page may have left changes out: it reaches as far as its last item. Any other page holds all there is.
    let to = match items.last() {
        Some(last) if items.len() >= limit as usize && !planted!(PageSkips) => last.item.revision,
        _ => head,
    };
    if planted!(TombstoneForgotten) {
        items.retain(|entry| !entry.item.deleted);
    }
    Ok(Changes { epoch, to, head, items })
}

/// The chunk lists of all versions of files, in one statement and so of one moment.
pub(super) fn bodies(connection: &Connection, workspace: WorkspaceId) -> Result<Vec<Vec<u8>>, DbError> {
    let sql = "SELECT body FROM items WHERE kind = 0 AND workspace = (SELECT number FROM workspaces w WHERE w.id = ?1)
        UNION ALL SELECT p.body FROM past_versions p JOIN items i ON i.id = p.id
        WHERE p.kind = 0 AND i.workspace = (SELECT number FROM workspaces w WHERE w.id = ?1)";
    all(connection, sql, [workspace.0.as_bytes()], |row| row.get(0))
}

/// The whole tree.
pub(super) fn tree(connection: &Connection, workspace: WorkspaceId) -> Result<Vec<TreeItem>, DbError> {
    let (number, _) = head(connection, workspace)?;
    let sql = concat!("SELECT ", item_columns!(), " FROM items WHERE workspace = ?1 ORDER BY id DESC");
    Ok(depth_first(all(connection, sql, [number], rows::item)?))
}

//! What changed in a workspace, and what it holds.

use super::rows::{self, all, first, item_columns, signed, unsigned, uuid};
use super::{ChangedItem, Changes, Db, DbError, TreeItem};
use rusqlite::{Connection, params};
use stacksync_core::planted;
use stacksync_core::values::{ItemId, Revision, WorkspaceId};
use stacksync_protocol::sync_service::CHANGES_PAGE_MAX;
use std::collections::HashMap;

impl Db {
    /// The latest version of every item that changed after `since`, oldest change first, at most `limit` of them (and at most
    /// [`CHANGES_PAGE_MAX`]). The cost grows with the page, not with the workspace.
    ///
    /// # Errors
    /// [`DbError::NoAccess`] if there is no such workspace, or the store failed.
    pub async fn changes(&self, workspace: WorkspaceId, since: Revision, limit: u32) -> Result<Changes, DbError> {
        self.read(move |connection| changes(connection, workspace, since, limit.clamp(1, CHANGES_PAGE_MAX))).await
    }

    /// Every item at its latest version, deleted ones too, in the order of the original: each folder before what is in it, siblings
    /// by id.
    ///
    /// # Errors
    /// [`DbError::NoAccess`] if there is no such workspace, or the store failed.
    pub async fn tree(&self, workspace: WorkspaceId) -> Result<Vec<TreeItem>, DbError> {
        self.read(move |connection| tree(connection, workspace)).await
    }

    /// The latest version of one item of a workspace.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn item(&self, workspace: WorkspaceId, id: ItemId) -> Result<Option<ChangedItem>, DbError> {
        let read = move |connection: &Connection| {
            let sql = concat!(
                "SELECT ",
                item_columns!(),
                " FROM items WHERE id = ?1 AND workspace = (SELECT number FROM workspaces w WHERE w.id = ?2)"
            );
            first(connection, sql, params![id.get(), workspace.0.as_bytes()], rows::item)
        };
        self.read(read).await
    }
}

fn head(connection: &Connection, workspace: WorkspaceId) -> Result<(i64, Revision), DbError> {
    let sql = "SELECT number, revision FROM workspaces WHERE id = ?1";
    let found = first(connection, sql, [workspace.0.as_bytes()], |row| Ok((row.get(0)?, Revision(unsigned(row, 1)?))))?;
    found.ok_or(DbError::NoAccess)
}

fn changes(connection: &Connection, workspace: WorkspaceId, since: Revision, limit: u32) -> Result<Changes, DbError> {
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

fn tree(connection: &Connection, workspace: WorkspaceId) -> Result<Vec<TreeItem>, DbError> {
    let (number, _) = head(connection, workspace)?;
    let sql = concat!("SELECT ", item_columns!(), " FROM items WHERE workspace = ?1 ORDER BY id DESC");
    let mut children: HashMap<Option<ItemId>, Vec<ChangedItem>> = HashMap::new();
    for entry in all(connection, sql, [number], rows::item)? {
        children.entry(entry.item.place.parent).or_default().push(entry);
    }
    Ok(depth_first(children))
}

/// Siblings come by descending id, so that the stack gives them back by ascending id.
fn depth_first(mut children: HashMap<Option<ItemId>, Vec<ChangedItem>>) -> Vec<TreeItem> {
    let mut ordered = Vec::new();
    let mut stack: Vec<_> = children.remove(&None).into_iter().flatten().map(|entry| (1, entry)).collect();
    while let Some((level, entry)) = stack.pop() {
        let below = children.remove(&Some(entry.item.id)).into_iter().flatten();
        stack.extend(below.map(|child| (level + 1, child)));
        ordered.push(TreeItem { entry, level });
    }
    ordered
}

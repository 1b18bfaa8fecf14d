//! What the commit rule may see of a workspace: core's `View` over the writer's transaction.

use super::super::columns::{kind_number, parent_number, signed};
use super::rows::{self, first, item_columns, parent};
use super::{ChangedItem, DbError, Made};
use rusqlite::{Connection, params};
use stacksync_core::decide::{FolderState, Latest, Quota, View};
use stacksync_core::values::{ItemId, Kind, NameKey, RemoteItem, Version};

/// One workspace at this moment of the transaction.
pub(super) struct TransactionView<'a> {
    pub connection: &'a Connection,
    /// The workspace's number.
    pub workspace: i64,
    /// Its owner's quota.
    pub quota: Quota,
    /// What made the version that [`View::latest`] gave last.
    pub made: Option<Made>,
}

impl View for TransactionView<'_> {
    type Error = DbError;

    fn latest(&mut self, id: ItemId) -> Result<Latest, DbError> {
        let sql = concat!("SELECT ", item_columns!(), ", workspace FROM items WHERE id = ?1");
        let found = first(self.connection, sql, [id.get()], |row| Ok((rows::item(row)?, row.get::<_, i64>(12)?)))?;
        self.made = None;
        Ok(match found {
            None => Latest::Unknown,
            Some((_, workspace)) if workspace != self.workspace => Latest::Elsewhere,
            Some((ChangedItem { item, status, device }, _)) => {
                self.made = Some(Made { status, device });
                Latest::Here(item)
            }
        })
    }

    fn past(&mut self, id: ItemId, version: Version) -> Result<Option<RemoteItem>, DbError> {
        let sql = concat!("SELECT ", item_columns!(), " FROM past_versions WHERE id = ?1 AND version = ?2");
        first(self.connection, sql, params![id.get(), signed(version.get())], |row| Ok(rows::item(row)?.item))
    }

    fn folder(&mut self, id: ItemId) -> Result<FolderState, DbError> {
        let sql = "SELECT kind, name_key IS NOT NULL, parent FROM items WHERE id = ?1 AND workspace = ?2";
        let state = first(self.connection, sql, [id.get(), self.workspace], |row| {
            let (kind, live): (u8, bool) = (row.get(0)?, row.get(1)?);
            Ok(match (kind == kind_number(Kind::Folder), live) {
                (false, _) => FolderState::NotFolder,
                (true, false) => FolderState::Deleted,
                (true, true) => FolderState::Live { parent: parent(row, 2)? },
            })
        })?;
        Ok(state.unwrap_or(FolderState::Unknown))
    }

    fn live_child(&mut self, folder: Option<ItemId>, key: &NameKey) -> Result<Option<ItemId>, DbError> {
        let sql = "SELECT id FROM items WHERE workspace = ?1 AND parent = ?2 AND name_key = ?3";
        let params = params![self.workspace, parent_number(folder), key.as_str()];
        Ok(first(self.connection, sql, params, |row| row.get(0))?.and_then(ItemId::new))
    }

    fn has_live_child(&mut self, folder: ItemId) -> Result<bool, DbError> {
        let sql = "SELECT 1 FROM items WHERE workspace = ?1 AND parent = ?2 AND name_key IS NOT NULL LIMIT 1";
        Ok(first(self.connection, sql, [self.workspace, folder.get()], |_| Ok(()))?.is_some())
    }

    fn levels_below(&mut self, folder: ItemId, limit: usize) -> Result<usize, DbError> {
        let sql = "WITH RECURSIVE below (id, level) AS (VALUES (?1, 0) UNION ALL \
                   SELECT i.id, b.level + 1 FROM below b JOIN items i ON i.parent = b.id AND i.kind = 1 AND i.name_key IS NOT NULL \
                   WHERE b.level <= ?2) SELECT max(level) FROM below";
        let levels = first(self.connection, sql, params![folder.get(), signed(limit as u64)], |row| row.get::<_, i64>(0))?;
        Ok(levels.and_then(|levels| usize::try_from(levels).ok()).unwrap_or(0))
    }

    fn quota(&mut self) -> Result<Quota, DbError> {
        Ok(self.quota)
    }
}

//! Which chunk lies in which bundle: [`BundleIndex`] in the metadata store. What the index means is told there.

use super::columns::signed;
use super::store::Answer;
use super::{Db, DbError, UnixMs};
use stacksync_chunks::bundle::{Part, Table};
use stacksync_chunks::store::{Answer as Stored, StoreError, Stored as Chunk};
use stacksync_core::values::{ChunkName, WorkspaceId};
use stacksync_storage::bundled::index::{Added, BundleIndex, Found, Known};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a store does for the index: its verbs, in transactions of the store.
pub(super) trait Bundles: Send + Sync {
    fn add_bundle(&self, workspace: WorkspaceId, table: Table, at: UnixMs) -> Answer<'_, Added>;
    fn find_bundled(&self, workspace: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<Found>>;
    fn list_bundled(&self, workspace: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Answer<'_, Vec<Chunk>>;
    fn bundles(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Known>>;
    fn bundle_parts(&self, workspace: WorkspaceId) -> Answer<'_, Vec<(ChunkName, Part)>>;
    fn note_bundle(&self, workspace: WorkspaceId, name: ChunkName, bytes: u64, since: UnixMs) -> Answer<'_, bool>;
    fn replace_bundles(&self, workspace: WorkspaceId, old: Vec<ChunkName>, new: Option<Table>, since: UnixMs) -> Answer<'_, bool>;
    fn restore_bundles(&self, workspace: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, ()>;
    fn forget_bundle(&self, workspace: WorkspaceId, name: ChunkName, chunks: Vec<ChunkName>) -> Answer<'_, ()>;
    fn forget_bundled(&self, workspace: WorkspaceId, places: Vec<(ChunkName, ChunkName)>) -> Answer<'_, ()>;
}

/// The index of the bundles whose workspaces this store knows.
#[derive(Clone)]
pub struct BundleRows(pub Db);

fn failed(error: DbError) -> StoreError {
    StoreError::Unavailable(format!("the metadata store: {error}"))
}

fn moment(time: SystemTime) -> UnixMs {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A moment of a column.
pub(super) fn time(moment_ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(moment_ms).unwrap_or(0))
}

/// A name of a column.
pub(super) fn chunk_name(bytes: &[u8]) -> Option<ChunkName> {
    bytes.try_into().ok().map(ChunkName::from_bytes)
}

/// For a column.
pub(super) fn length(bytes: u64) -> i64 {
    signed(bytes)
}

macro_rules! told {
    ($call:expr) => {
        Box::pin(async move { $call.await.map_err(failed) })
    };
}

impl BundleIndex for BundleRows {
    fn add(&self, workspace: WorkspaceId, table: Table, at: SystemTime) -> Stored<'_, Added> {
        told!(self.0.store.add_bundle(workspace, table, moment(at)))
    }

    fn find(&self, workspace: WorkspaceId, names: Vec<ChunkName>) -> Stored<'_, Vec<Found>> {
        told!(self.0.store.find_bundled(workspace, names))
    }

    fn list(&self, workspace: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Stored<'_, Vec<Chunk>> {
        told!(self.0.store.list_bundled(workspace, after, limit))
    }

    fn bundles(&self, workspace: WorkspaceId) -> Stored<'_, Vec<Known>> {
        told!(self.0.store.bundles(workspace))
    }

    fn parts(&self, workspace: WorkspaceId) -> Stored<'_, Vec<(ChunkName, Part)>> {
        told!(self.0.store.bundle_parts(workspace))
    }

    fn note(&self, workspace: WorkspaceId, name: ChunkName, bytes: u64, since: SystemTime) -> Stored<'_, bool> {
        told!(self.0.store.note_bundle(workspace, name, bytes, moment(since)))
    }

    fn replace(&self, workspace: WorkspaceId, old: Vec<ChunkName>, new: Option<Table>, since: SystemTime) -> Stored<'_, bool> {
        told!(self.0.store.replace_bundles(workspace, old, new, moment(since)))
    }

    fn restore(&self, workspace: WorkspaceId, names: Vec<ChunkName>) -> Stored<'_, ()> {
        told!(self.0.store.restore_bundles(workspace, names))
    }

    fn forget(&self, workspace: WorkspaceId, name: ChunkName, chunks: Vec<ChunkName>) -> Stored<'_, ()> {
        told!(self.0.store.forget_bundle(workspace, name, chunks))
    }

    fn forget_parts(&self, workspace: WorkspaceId, places: Vec<(ChunkName, ChunkName)>) -> Stored<'_, ()> {
        told!(self.0.store.forget_bundled(workspace, places))
    }
}

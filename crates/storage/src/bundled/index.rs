//! Where it is remembered which chunk lies in which bundle: the seam to the metadata, which all instances of the service share.
//!
//! A bundle is *live* or *retired*. Chunks are found in live ones only. What retires one and what adds one are transactions of the same
//! store, so that of a device that brings a bundle and a cleaner that takes it for garbage one comes first, and the other hears of it.

use stacksync_chunks::bundle::{Part, Table};
use stacksync_chunks::store::{Answer, Stored};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::time::SystemTime;

/// The index. All verbs are atomic and durable when they answer, and may be repeated. What the index says is looked up at the
/// storage before a commit relies on it.
pub trait BundleIndex: Send + Sync + 'static {
    /// Adds a bundle and its chunks, live.
    fn add(&self, workspace: WorkspaceId, table: Table, at: SystemTime) -> Answer<'_, Added>;

    /// Where these chunks are, in live bundles; of several places of one chunk the newest first.
    fn find(&self, workspace: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<Found>>;

    /// Up to `limit` chunks in live bundles, each once, in the order of their names, those after `after`.
    fn list(&self, workspace: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Answer<'_, Vec<Stored>>;

    /// All bundles of a workspace, in any order.
    fn bundles(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Known>>;

    /// All chunks in bundles of a workspace, live or not, with the bundle's name.
    fn parts(&self, workspace: WorkspaceId) -> Answer<'_, Vec<(ChunkName, Part)>>;

    /// Notes a bundle that is not known as retired since then. `false`: it is known, and stays as it is.
    fn note(&self, workspace: WorkspaceId, name: ChunkName, bytes: u64, since: SystemTime) -> Answer<'_, bool>;

    /// Retires live bundles and adds what takes their place, in one step. `false`, and nothing is changed: one of the old ones is not
    /// live any more, or the new one is known already.
    fn replace(&self, workspace: WorkspaceId, old: Vec<ChunkName>, new: Option<Table>, since: SystemTime) -> Answer<'_, bool>;

    /// Makes retired bundles live again; others are no error.
    fn restore(&self, workspace: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, ()>;

    /// Forgets a retired bundle, which had these chunks; another one is no error, and stays.
    fn forget(&self, workspace: WorkspaceId, name: ChunkName, chunks: Vec<ChunkName>) -> Answer<'_, ()>;

    /// Forgets places (chunk, bundle) where a chunk is damaged.
    fn forget_parts(&self, workspace: WorkspaceId, places: Vec<(ChunkName, ChunkName)>) -> Answer<'_, ()>;
}

/// What became of a bundle that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is new, with all its chunks.
    New,
    /// It was live already; some of its chunks may have been forgotten since.
    WasLive,
    /// It is retired, and nobody may rely on it.
    Retired,
}

/// Where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The chunk, and its place in the bundle.
    pub part: Part,
    /// The bundle.
    pub bundle: ChunkName,
    /// The bundle's length.
    pub bundle_bytes: u64,
}

/// A bundle that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: ChunkName,
    /// Its length.
    pub bytes: u64,
    /// Since when it is retired; `None`: it is live.
    pub retired: Option<SystemTime>,
}

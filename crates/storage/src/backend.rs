//! What a storage must be able to do to keep chunks, and how it fails.
//!
//! A chunk is immutable and named by its hash, so every verb may be repeated, and nobody ever needs to lock anything.

use bytes::Bytes;
use stacksync_chunks::store::{Direct, DirectOp, StoreError, Stored};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

/// An answer of a storage that is still to come.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T, Trouble>> + Send + 'a>>;

/// Where chunks are kept, in its own words. Every verb is one attempt: [`crate::RemoteStore`] repeats it where that helps.
pub trait Backend: Send + Sync + 'static {
    /// Which storage this is, for people. No secrets.
    fn name(&self) -> String;

    /// Whether it can be used: logs in, finds or makes what all containers share. Asked once, at the start.
    fn prepare(&self) -> Work<'_, ()>;

    /// Makes a container; no error if it is there.
    fn make_container(&self, container: WorkspaceId) -> Work<'_, ()>;

    /// Removes an empty container; no error if it is not there.
    fn remove_container(&self, container: WorkspaceId) -> Work<'_, ()>;

    /// All containers.
    fn containers(&self) -> Work<'_, Vec<WorkspaceId>>;

    /// The length of a chunk at rest, `None` if it is not there.
    fn length(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, Option<u64>>;

    /// Stores a packed chunk: whole under its name, or not at all.
    fn put(&self, container: WorkspaceId, name: ChunkName, packed: Bytes, when: When) -> Work<'_, Put>;

    /// Reads a packed chunk, `None` if it is not there.
    fn get(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, Option<Bytes>>;

    /// Reads a part of an object, `None` if the object is not there. Of storages that keep bundles only.
    fn get_part(&self, container: WorkspaceId, name: ChunkName, start: u64, length: u64) -> Work<'_, Option<PartRead>> {
        let _ = (container, name, start, length);
        Box::pin(std::future::ready(Err(Trouble::Failed("this storage reads whole chunks only".to_owned()))))
    }

    /// Removes a chunk; no error if it is not there.
    fn remove(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, ()>;

    /// Up to `limit` chunks in the order of their names, those after `after`. An empty answer is the end.
    fn list(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Work<'_, Vec<Stored>>;

    /// A request that a device may make itself for so long, `None` if devices cannot come here.
    fn direct(&self, container: WorkspaceId, op: DirectOp, name: ChunkName, lifetime: Duration) -> Work<'_, Option<Direct>>;
}

/// When a put takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Only if nothing has this name. Where the storage cannot promise that, two who put at the same time may both be told
    /// [`Put::Stored`]; they bring the same bytes.
    Absent,
    /// In any case: what is there is damaged.
    Always,
}

/// A part of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRead {
    /// Its bytes; fewer than asked for where the object ends.
    pub bytes: Bytes,
    /// The length of the whole object.
    pub total: u64,
}

/// What a put did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    Stored,
    /// Something had this name, and stays as it is.
    WasThere,
}

/// Why a storage did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Not now: no connection, overload, an error of its own. Worth another try.
    #[error("{reason}")]
    Later {
        /// What happened.
        reason: String,
        /// When the storage wants to be asked again.
        after: Option<Duration>,
    },
    /// It does not let us: keys, rights, the clock.
    #[error("{0}")]
    Denied(String),
    /// No room, or a quota is used up.
    #[error("{0}")]
    Full(String),
    /// There is no such container (any more).
    #[error("there is no container")]
    NoContainer,
    /// Whatever it is, it will be the same next time.
    #[error("{0}")]
    Failed(String),
}

impl Trouble {
    /// Not now, without a word on when.
    pub fn later(reason: impl Into<String>) -> Self {
        Self::Later { reason: reason.into(), after: None }
    }

    /// What the service is told; `place` names the storage.
    pub fn into_store_error(self, place: &str) -> StoreError {
        match self {
            Self::Full(_) => StoreError::Full { path: PathBuf::from(place) },
            Self::Denied(reason) => StoreError::Denied { place: place.to_owned(), reason },
            Self::Later { .. } | Self::NoContainer | Self::Failed(_) => StoreError::Unavailable(format!("{place}: {self}")),
        }
    }
}

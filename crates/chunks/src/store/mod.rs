//! Where packed chunks are kept: one container per workspace, chunks by name.
//!
//! A chunk is never overwritten by different bytes, and what [`ChunkStore::put_batch`] has answered survives a power cut: the
//! commit that names the chunk relies on it (steps 6 and 10 of the path of a commit). A storage is what passes the suite in
//! `conformance`.

mod folder;
mod memory;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

pub use folder::FolderStore;
pub use memory::{Fault, MemoryStore};

use crate::pack::{self, Damage};
use bytes::Bytes;
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

/// An answer of a storage that is still to come.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A storage of packed chunks. Every method may be called any number of times at once; a repeated call gives the same result.
pub trait ChunkStore: Send + Sync {
    /// Which of these chunks are there, in order. Only chunks that would survive a power cut are.
    fn present(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<bool>>;

    /// Stores packed chunks; they are durable when it answers. Makes the container if need be.
    ///
    /// Each must unpack to what its name promises, else [`StoreError::Refused`] and none of the batch is stored. A chunk that is
    /// there already stays as it is, unless it is damaged: then it is replaced. After another error some of the batch may be
    /// stored.
    fn put_batch(&self, container: WorkspaceId, chunks: Vec<(ChunkName, Bytes)>) -> Answer<'_, ()>;

    /// Reads one packed chunk, `None` if it is not there. Not verified: whoever unpacks it does that.
    fn get(&self, container: WorkspaceId, name: ChunkName) -> Answer<'_, Option<Bytes>>;

    /// Reads many, in order. They are all in memory at once: the caller limits how many it asks for.
    fn get_batch(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<Option<Bytes>>>;

    /// Reads a chunk and verifies it. A damaged one is set aside, so that it counts as missing and the next put brings it back.
    fn check(&self, container: WorkspaceId, name: ChunkName) -> Answer<'_, Health>;

    /// Removes chunks; those that are not there are no error.
    fn remove(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, ()>;

    /// Removes a container with all its chunks; no error if there is none.
    fn remove_container(&self, container: WorkspaceId) -> Answer<'_, ()>;

    /// Up to `limit` chunks in the order of their names, those after `after`. An empty answer is the end.
    fn list(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Answer<'_, Vec<Stored>>;

    /// All containers, in any order.
    fn containers(&self) -> Answer<'_, Vec<WorkspaceId>>;

    /// What a container holds. Walks through it.
    fn usage(&self, container: WorkspaceId) -> Answer<'_, Usage>;

    /// Requests that a device may make at the storage itself for so long, one for each chunk, in order. `None`: devices cannot go
    /// there, and their bytes pass through the service. Makes the container if something is to be put.
    ///
    /// What a device puts there is proven by nobody but those who read it; [`ChunkStore::present`] looks at its length.
    fn direct(
        &self,
        container: WorkspaceId,
        op: DirectOp,
        names: Vec<ChunkName>,
        lifetime: Duration,
    ) -> Answer<'_, Option<Vec<Direct>>> {
        let _ = (container, op, names, lifetime);
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// What a device does at the storage itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectOp {
    /// Reads one chunk.
    Get,
    /// Stores one chunk.
    Put,
}

/// A signed request to the storage. Whoever has it can make it: it is not logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Direct {
    /// HTTP method.
    pub method: &'static str,
    /// Whole address.
    pub url: String,
    /// Headers that must be sent.
    pub headers: Vec<(String, String)>,
    /// How the sender lets the storage find damage on the way.
    pub checksum: Option<BodyChecksum>,
}

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = self.url.split_once('?').map_or(&*self.url, |(address, _)| address);
        write!(f, "{} {address}", self.method)
    }
}

/// A hash of the body that a storage compares with what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyChecksum {
    /// `Content-MD5`, base64.
    ContentMd5,
    /// `ETag`, hexadecimal MD5.
    EtagMd5,
}

/// A chunk in a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which.
    pub name: ChunkName,
    /// Its packed length.
    pub bytes: u64,
    /// When it was stored.
    pub modified: SystemTime,
}

/// What a container holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of chunks.
    pub chunks: u64,
    /// Their packed lengths together.
    pub bytes: u64,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The chunk is there and gives what its name promises.
    Good,
    /// It is not there.
    Missing,
    /// It was damaged, and is not there any more.
    Damaged,
}

/// Why a storage did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A chunk that was to be stored is not what its name promises: the sender's fault.
    #[error("chunk {name} was not stored: {damage}")]
    Refused {
        /// Which.
        name: ChunkName,
        /// What is wrong with it.
        damage: Damage,
    },
    /// No room. Nothing that was stored before is lost; it works again when there is room.
    #[error("the chunk storage is full ({path})")]
    Full {
        /// Where.
        path: PathBuf,
    },
    /// The disk failed or denied it.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// The verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The storage does not let the service do it: keys, rights, the clock.
    #[error("the chunk storage refuses the service ({place}): {reason}")]
    Denied {
        /// Which storage.
        place: String,
        /// What it says.
        reason: String,
    },
    /// The storage does not answer, or is being closed.
    #[error("the chunk storage is not available: {0}")]
    Unavailable(String),
}

/// The proof that a chunk is what its name promises, as every storage asks for it before it takes one.
fn verify(name: &ChunkName, packed: &Bytes) -> Result<(), StoreError> {
    match pack::unpack(name, packed) {
        Ok(_) => Ok(()),
        Err(damage) => Err(StoreError::Refused { name: *name, damage }),
    }
}

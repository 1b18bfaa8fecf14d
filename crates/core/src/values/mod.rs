//! The values that both sides speak of. Each one is valid once it exists: parsing happens at the border, once.

mod chunk;
mod id;
mod item;
mod name;
mod stat;

pub use chunk::{ChunkName, ChunkRef};
pub use id::{CommitId, DeviceId, ItemId, Revision, UserId, Version, WorkspaceId};
pub use item::{Body, FileBody, Kind, ModifiedAt, Place, RemoteItem, Status};
pub use name::{ItemPath, NAME_BYTES_MAX, Name, NameError, NameKey};
pub use stat::{FileId, Stat};

/// Chunks that one file may consist of: 1 TiB at the mean chunk size.
pub const FILE_CHUNKS_MAX: usize = 2 * 1024 * 1024;
/// Longest target of a symbolic link, in bytes (PATH_MAX of Linux).
pub const LINK_TARGET_BYTES_MAX: usize = 4095;

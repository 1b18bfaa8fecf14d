//! Items: what a file, a folder or a link is at one version.

use super::{ChunkRef, ItemId, Name, Revision, Version};
use std::sync::Arc;

/// What an item is. Fixed for its whole life: a file that becomes a folder is another item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, kept as a link and never followed.
    Link,
}

/// Modification time in nanoseconds since 1970, UTC. What the user's file system says; never used to order versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModifiedAt(pub i64);

/// Where an item is: its folder (`None` is the top of the workspace) and its name there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The folder, `None` for the top of the workspace.
    pub parent: Option<ItemId>,
    /// The name in that folder.
    pub name: Name,
}

/// What an item holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A folder holds nothing of its own.
    Folder,
    /// The bytes of a file.
    File(FileBody),
    /// The target of a symbolic link, as its text; at most `LINK_TARGET_BYTES_MAX` bytes.
    Link(Arc<str>),
}

impl Body {
    /// What kind of item holds this.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Folder => Kind::Folder,
            Self::File(_) => Kind::File,
            Self::Link(_) => Kind::Link,
        }
    }

    /// Plain size in bytes, as the quota counts it: zero for folders and links.
    pub const fn size(&self) -> u64 {
        match self {
            Self::File(file) => file.size,
            Self::Folder | Self::Link(_) => 0,
        }
    }

    /// The chunks in order; none for folders and links.
    pub fn chunks(&self) -> &[ChunkRef] {
        match self {
            Self::File(file) => &file.chunks,
            Self::Folder | Self::Link(_) => &[],
        }
    }

    /// Whether both hold the same bytes, whatever the executable bit says.
    pub fn same_bytes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(a), Self::File(b)) => a.same_bytes(b),
            _ => self == other,
        }
    }
}

/// The bytes of a file as chunks, and its executable bit.
///
/// Chunks are cut by one algorithm with one set of parameters, so equal bytes are equal chunk lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileBody {
    /// Plain size in bytes: the sum of the chunks' lengths.
    pub size: u64,
    /// The chunks in order; none for an empty file.
    pub chunks: Arc<[ChunkRef]>,
    /// Adler-32 of the plain bytes, kept for clients of the original; 1 for an empty file.
    pub adler32: u32,
    /// Whether the file may be executed by its owner.
    pub executable: bool,
}

impl FileBody {
    /// Whether both files hold the same bytes, whatever the executable bit says.
    pub fn same_bytes(&self, other: &Self) -> bool {
        self.size == other.size && self.chunks == other.chunks
    }
}

/// What a version did, in the words of the original protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// First version.
    New,
    /// Content, executable bit or modification time changed; also a deleted item that came back.
    Changed,
    /// Name or folder changed (and perhaps the content too).
    Renamed,
    /// Deleted; the history stays.
    Deleted,
}

/// An item as the service has it: its latest version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteItem {
    /// Which item.
    pub id: ItemId,
    /// Its latest version.
    pub version: Version,
    /// The workspace's revision that this version took.
    pub revision: Revision,
    /// Whether the latest version is a deletion. Place and body are then those before it.
    pub deleted: bool,
    /// Where it is.
    pub place: Place,
    /// What it holds.
    pub body: Body,
    /// Modification time of the file.
    pub modified: ModifiedAt,
}

//! What one look at a file tells, without opening it.

use super::{Kind, ModifiedAt};
use crate::planted;
use std::sync::Arc;

/// What makes a file on disk the same file under another name: inode and, where the file system tells, birth time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// Inode number.
    pub inode: u64,
    /// Birth time in nanoseconds since 1970; 0 where unknown. Tells a reused inode from the old one.
    pub born_ns: i64,
}

/// What one look at a file without opening it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// File, folder or link.
    pub kind: Kind,
    /// Identity on this disk.
    pub file: FileId,
    /// Bytes; 0 for folders and links.
    pub size: u64,
    /// Modification time.
    pub modified: ModifiedAt,
    /// Time of the last change of the inode, in nanoseconds since 1970; 0 where unknown.
    pub changed_ns: i64,
    /// Owner's executable bit; false for folders and links.
    pub executable: bool,
    /// Target of a link.
    pub target: Option<Arc<str>>,
}

impl Stat {
    /// Whether the bytes must be the same as when `earlier` was seen: same file, size and modification time.
    pub fn same_content(&self, earlier: &Self) -> bool {
        self.kind == earlier.kind
            && (self.file == earlier.file || planted!(SameSizeIsSame))
            && self.size == earlier.size
            && self.modified == earlier.modified
            && self.target == earlier.target
    }
}

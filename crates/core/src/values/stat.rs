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

/// What file systems make of a time that is set, in nanoseconds: they cut it to a multiple of one of these.
const GRAINS_NS: [i64; 5] = [100, 1_000, 1_000_000, 1_000_000_000, 2_000_000_000];

impl ModifiedAt {
    /// Whether a file system may show this for a time that was set to `set`. If not, somebody set another one since then.
    pub fn may_be_kept_of(self, set: Self) -> bool {
        let gap = self.0.abs_diff(set.0);
        gap == 0 || GRAINS_NS.iter().any(|&grain| gap < grain.unsigned_abs() && self.0 % grain == 0)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coarser_time_is_kept_and_another_one_is_not() {
        let set = ModifiedAt(1_420_167_845_308_123_456);
        let seconds = 1_420_167_845_000_000_000;
        for kept in
            [set.0, 1_420_167_845_308_123_400, 1_420_167_845_308_000_000, seconds, seconds - 1_000_000_000, seconds + 1_000_000_000]
        {
            assert!(ModifiedAt(kept).may_be_kept_of(set), "{kept}");
        }
        for another in [set.0 + 1, seconds - 2_000_000_000, seconds + 500_000_000, 1_000_000_565_766_697_295] {
            assert!(!ModifiedAt(another).may_be_kept_of(set), "{another}");
        }
        assert!(ModifiedAt(-2_000_000_000).may_be_kept_of(ModifiedAt(-1_500_000_000)));
    }
}

//! What the engine wants done. The driver carries effects out in any order and answers each one once.

use super::{Cursor, FileId, Stat};
use crate::commit::ItemCommit;
use crate::trees::Synced;
use crate::values::{CommitId, FileBody, ItemId, ItemPath, ModifiedAt, Name, RemoteItem, Revision};
use std::sync::Arc;

/// Pairs an effect with its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// What is remembered of one item: two of its three trees. The third, the local one, is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What the service has.
    pub remote: Option<RemoteItem>,
    /// What both sides agreed on.
    pub synced: Option<Synced>,
}

/// One step of the remembered state; saved whole or not at all, in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDelta {
    /// New rows; `None` forgets the item.
    pub rows: Vec<(ItemId, Option<Row>)>,
    /// Moves the cursor.
    pub cursor: Option<Cursor>,
}

/// An action on the user's disk. Each looks at the disk again, as late as it can, and does nothing
/// ([`super::ApplyError::Changed`]) if it is not as described: a path alone may mean another folder by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskAction {
    /// Makes a folder at a path where nothing is.
    MakeFolder {
        /// Where.
        path: ItemPath,
        /// The folder that shall hold it, as it was last seen; `None`: the top, or whatever is there.
        into: Option<FileId>,
    },
    /// Puts a file at the path, complete and durable, by one rename.
    Write {
        /// Where.
        path: ItemPath,
        /// The folder that shall hold it, as it was last seen; `None`: the top, or whatever is there.
        into: Option<FileId>,
        /// What it shall hold.
        body: FileBody,
        /// Its modification time.
        modified: ModifiedAt,
        /// What is at the path now and may be replaced (it goes to the trash); `None`: nothing is there.
        replaces: Option<Stat>,
        /// Files of this workspace that may hold some of the chunks, with what they held when last seen.
        sources: Vec<(ItemPath, Arc<FileBody>)>,
    },
    /// Puts a symbolic link at the path.
    MakeLink {
        /// Where.
        path: ItemPath,
        /// The folder that shall hold it, as it was last seen; `None`: the top, or whatever is there.
        into: Option<FileId>,
        /// Where it points.
        target: Arc<str>,
        /// What is at the path now and may be replaced.
        replaces: Option<Stat>,
    },
    /// Renames or moves, never onto something.
    Move {
        /// From where.
        from: ItemPath,
        /// What is there; of a folder only kind and identity are compared.
        expect: Stat,
        /// To where; nothing may be there (but the same file under another case).
        to: ItemPath,
        /// The folder that shall hold it, as it was last seen; `None`: the top, or whatever is there.
        into: Option<FileId>,
    },
    /// Sets modification time and executable bit of a file.
    SetMeta {
        /// Which file.
        path: ItemPath,
        /// What is there.
        expect: Stat,
        /// The time it shall have.
        modified: ModifiedAt,
        /// The bit it shall have.
        executable: bool,
    },
    /// Moves a file or link to the trash.
    Trash {
        /// Which.
        path: ItemPath,
        /// What is there.
        expect: Stat,
    },
    /// Removes a folder that holds nothing but ignored files and the rules that say so (which go to the trash with it).
    RemoveFolder {
        /// Which.
        path: ItemPath,
        /// What is there; only kind and identity are compared.
        expect: Stat,
        /// The ignore rules in it, if they go with it; other ones keep the folder.
        rules: Option<Stat>,
    },
}

impl DiskAction {
    /// The path that holds the result.
    pub const fn path(&self) -> &ItemPath {
        match self {
            Self::MakeFolder { path, .. }
            | Self::Write { path, .. }
            | Self::MakeLink { path, .. }
            | Self::SetMeta { path, .. }
            | Self::Trash { path, .. }
            | Self::RemoveFolder { path, .. } => path,
            Self::Move { to, .. } => to,
        }
    }
}

/// Something that happened to an item, for `log` and for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Which path.
    pub path: ItemPath,
    /// One stable word: `uploaded`, `downloaded`, `conflict`, ...
    pub verb: &'static str,
    /// More, for people; may be empty.
    pub detail: String,
}

/// Everything the engine can ask for.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Look at a folder (not at what is below its folders), or only at some names in it.
    Scan {
        /// Which folder; `None` is the top.
        folder: Option<ItemId>,
        /// Where it is.
        path: ItemPath,
        /// Only these names; `None`: all.
        names: Option<Vec<Name>>,
    },
    /// Read a file, cut it, put the chunks that the storage lacks.
    Upload {
        /// Pairs with the outcome.
        op: OpId,
        /// Where it is.
        path: ItemPath,
        /// What is there.
        expect: Stat,
    },
    /// Commit, in order. A retry carries the same id and the same items.
    Commit {
        /// Pairs with the outcome.
        id: CommitId,
        /// What to commit.
        items: Arc<[ItemCommit]>,
    },
    /// Ask for the changes since a revision; `Revision::ZERO`: for everything.
    AskChanges {
        /// From where.
        since: Revision,
    },
    /// Change the disk.
    Apply {
        /// Pairs with the outcome.
        op: OpId,
        /// How.
        action: DiskAction,
    },
    /// Save this. No outcome; later deltas come later in the state.
    Remember(StateDelta),
    /// Tell whoever is interested. No outcome.
    Log(LogEntry),
}

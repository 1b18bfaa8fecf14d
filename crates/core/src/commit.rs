//! A commit and its answer, as both the client's engine and the service's rule see them.

use crate::values::{Body, ChunkName, ItemId, ModifiedAt, Place, RemoteItem, Revision, Status, Version};

/// Items that one commit may carry.
pub const COMMIT_ITEMS_MAX: usize = 1_000;
/// Chunk references that one commit may carry over all its items.
pub const COMMIT_CHUNKS_MAX: usize = crate::values::FILE_CHUNKS_MAX;
/// How deep folders may nest.
pub const FOLDER_DEPTH_MAX: usize = 1_000;

/// One proposed version of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemCommit {
    /// Which item; an id that the service does not know is a new item.
    pub id: ItemId,
    /// The version it would be: the latest one plus one.
    pub version: Version,
    /// What changed.
    pub status: Status,
    /// Where the item is from now on. For [`Status::Changed`] by an original client the service keeps the place it has.
    pub place: Place,
    /// What it holds from now on. Of a deletion: what it held.
    pub body: Body,
    /// Modification time of the file.
    pub modified: ModifiedAt,
}

/// What the service said of one item of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Saved; this is the item now.
    Accepted(RemoteItem),
    /// This very version was there before; this is the item's latest version.
    Existing(RemoteItem),
    /// Not saved.
    Refused {
        /// Why.
        reason: Refusal,
        /// The item's latest version, where the service has one in this workspace.
        current: Option<RemoteItem>,
    },
}

/// Why an item of a commit was not saved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The version is not the latest plus one.
    #[error("the item has changed on the service")]
    WrongVersion,
    /// A version above 1 of an item that this workspace does not have.
    #[error("the workspace has no such item")]
    UnknownItem,
    /// The item id is taken in another workspace.
    #[error("the item belongs elsewhere")]
    Foreign,
    /// A file cannot become a folder or a link, nor the other way round.
    #[error("an item keeps its kind for life")]
    KindChanged,
    /// The folder is not in this workspace.
    #[error("the folder does not exist")]
    ParentUnknown,
    /// The folder is deleted.
    #[error("the folder is deleted")]
    ParentDeleted,
    /// The parent is a file or a link.
    #[error("the parent is not a folder")]
    ParentNotFolder,
    /// The folder would be inside itself.
    #[error("a folder cannot be moved into itself")]
    Cycle,
    /// Folders would nest deeper than [`FOLDER_DEPTH_MAX`].
    #[error("folders are nested too deeply")]
    TooDeep,
    /// A live sibling has the same name, or one that differs only in case or Unicode form.
    #[error("the name is taken by item {by}")]
    NameTaken {
        /// The sibling.
        by: ItemId,
    },
    /// A folder with live items in it cannot be deleted.
    #[error("the folder is not empty")]
    NotEmpty,
    /// The storage does not hold these chunks (not all of them need be named).
    #[error("the storage took it, but {} or more of its chunks are not there; it is sent again", .0.len())]
    ChunksMissing(Vec<ChunkName>),
    /// The workspace's owner has no room for it.
    #[error("over quota: {used} of {limit} bytes used, {needed} more needed")]
    QuotaExceeded {
        /// What the owner may use, in bytes.
        limit: u64,
        /// What the owner uses, in bytes.
        used: u64,
        /// What this version would add, in bytes.
        needed: u64,
    },
    /// The item breaks a rule of its own: sizes that do not add up, a deletion as first version.
    #[error("invalid item: {0}")]
    Invalid(String),
}

/// The answer to a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitAnswer {
    /// One per item, in order.
    pub verdicts: Vec<Verdict>,
    /// The workspace's revision before and after this commit; equal if nothing was accepted.
    pub from: Revision,
    /// See `from`. The versions accepted here took the revisions `from + 1 ..= to`, and nothing else did.
    pub to: Revision,
}

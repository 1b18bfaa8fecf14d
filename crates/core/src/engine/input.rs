//! What the engine is told: observations of the disk, of the service, of time.

use super::OpId;
use crate::commit::CommitAnswer;
use crate::values::{ChunkName, CommitId, FileBody, ItemId, ItemPath, Name, RemoteItem, Revision, Stat};

/// The moment of a call, given by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Monotonic, in milliseconds, from any start.
    pub ms: u64,
    /// Wall clock in nanoseconds since 1970, UTC; only ever shown to people.
    pub unix_ns: i64,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// What a look at it told.
    pub stat: Stat,
    /// Whether an ignore rule matches. Decides only about items that are not synced yet.
    pub ignored: bool,
}

/// An entry that cannot be synced: a device, a socket, a name that is not UTF-8, something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The name, with replacement characters if it is not UTF-8.
    pub name: String,
    /// The reason, for people.
    pub reason: String,
}

/// What a folder holds, or which of the asked names it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// What is there.
    pub entries: Vec<Entry>,
    /// What is there but cannot be synced. A known item under such a name counts as present and unchanged.
    pub skipped: Vec<Skipped>,
}

/// Why a folder could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// There is no folder at the path any more.
    #[error("the folder is gone")]
    Gone,
    /// The workspace's own folder is missing, is on another file system or is another folder than before.
    #[error("{0}")]
    RootLost(String),
    /// It is there but cannot be read; what it holds is unknown, not gone.
    #[error("{0}")]
    Unreadable(String),
}

/// How far a device has followed a workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The service's epoch: changes when its metadata was replaced by other metadata. 0 before the first answer.
    pub epoch: u128,
    /// Every change up to here is known.
    pub revision: Revision,
}

/// A page of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesPage {
    /// The service's epoch.
    pub epoch: u128,
    /// The cursor that this page follows.
    pub since: Revision,
    /// Every change in `since + 1 ..= to` is in `items`, as the latest version of each item.
    pub to: Revision,
    /// The workspace's revision now. Below `since` when the service went back in time.
    pub head: Revision,
    /// Items by ascending revision.
    pub items: Vec<RemoteItem>,
}

/// A hint that a workspace moved on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The workspace's revision before the change.
    pub from: Revision,
    /// And after it.
    pub to: Revision,
    /// The changed items, all of them or none (when there are too many for a notice).
    pub items: Option<Vec<RemoteItem>>,
}

/// Why a call to the service brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection; the driver says [`Input::Online`] when there is one.
    #[error("not connected")]
    Offline,
    /// The service or the storage cannot now; worth another try.
    #[error("{0}")]
    NotNow(String),
    /// It will not, whenever asked; the text is for people.
    #[error("{0}")]
    Refused(String),
}

/// A file whose chunks are all in the storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// What it holds.
    pub body: FileBody,
    /// The look, taken after the last byte was read, for which `body` holds.
    pub stat: Stat,
}

/// Why a file was not uploaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// It is gone, is another file, or kept changing while it was read.
    #[error("the file changed while it was read")]
    Changed,
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The storage or the service did not take it.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// What the disk holds after an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// This is at the action's (target) path now.
    Present(Stat),
    /// Nothing is at the action's path now.
    Absent,
}

/// Why an action on the disk was not carried out. The disk is then as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The disk is not what the plan saw: look again.
    #[error("the disk changed meanwhile")]
    Changed,
    /// The disk is full.
    #[error("no space left on the disk")]
    NoSpace,
    /// The storage does not give these chunks, or not unharmed.
    #[error("{reason} (chunk {chunk})")]
    ChunkUnavailable {
        /// The first of them.
        chunk: ChunkName,
        /// For people.
        reason: String,
    },
    /// The file system does not let us: permissions, a name it cannot hold.
    #[error("{0}")]
    Failed(String),
    /// The service or the storage was not reachable.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Everything the engine can be told.
#[derive(Clone, Debug)]
pub enum Input {
    /// There is a connection; notices of the workspace arrive from now on.
    Online,
    /// The connection is gone.
    Offline,
    /// Something at this path, or directly in the folder at this path, may have changed.
    Touched(ItemPath),
    /// Anything may have changed (start, overflow of the watcher, ignore rules changed, timer).
    TouchedAll,
    /// Outcome of [`super::Effect::Scan`].
    Scanned {
        /// As in the effect.
        folder: Option<ItemId>,
        /// As in the effect.
        names: Option<Vec<Name>>,
        /// What is there.
        result: Result<Listing, ScanError>,
    },
    /// The service says that the workspace moved on.
    Noticed(Notice),
    /// Outcome of [`super::Effect::AskChanges`].
    Changes(Result<ChangesPage, CallError>),
    /// Outcome of [`super::Effect::Upload`].
    Uploaded {
        /// As in the effect.
        op: OpId,
        /// What was uploaded.
        result: Result<Uploaded, UploadError>,
    },
    /// Outcome of [`super::Effect::Commit`].
    Committed {
        /// As in the effect.
        id: CommitId,
        /// What the service said.
        result: Result<CommitAnswer, CallError>,
    },
    /// Outcome of [`super::Effect::Apply`].
    Applied {
        /// As in the effect.
        op: OpId,
        /// What the disk holds now.
        result: Result<Applied, ApplyError>,
    },
    /// The user lets the held deletions pass.
    Approve,
    /// The user wants the held deletions undone: what is missing comes back from the service.
    Restore,
    /// The deadline passed.
    Woken,
}

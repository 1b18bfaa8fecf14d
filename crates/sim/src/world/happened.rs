//! What happens in a step of the world, as the checks see it.

use crate::disk::Removed;
use crate::people::Done;
use crate::scenario::Fault;
use stacksync_core::commit::{CommitAnswer, ItemCommit};
use stacksync_core::engine::{Applied, ApplyError, DiskAction, LogEntry, Stat};
use stacksync_core::values::{FileBody, ItemPath, RemoteItem};
use std::sync::Arc;

/// Something that happened. `laptop` and `workspace` are numbers of the scenario.
#[derive(Clone, Debug)]
pub enum Happened {
    /// A person did something.
    Person {
        /// Where.
        laptop: usize,
        /// In which folder.
        workspace: usize,
        /// What.
        done: Done,
    },
    /// A person who writes piece by piece wrote one, perhaps into a file that nobody sees at the moment.
    Wrote {
        /// Where.
        laptop: usize,
        /// In which folder.
        workspace: usize,
        /// What the file holds now.
        bytes: Arc<Vec<u8>>,
    },
    /// Something went wrong.
    Fault {
        /// What.
        fault: Fault,
        /// With which laptop; `None`: with the service or the storage.
        laptop: Option<usize>,
    },
    /// The service saved a version.
    Saved {
        /// In which workspace.
        workspace: usize,
        /// Who committed it.
        laptop: usize,
        /// The version.
        item: RemoteItem,
    },
    /// The answer to a commit reached the laptop.
    Acknowledged {
        /// Which laptop.
        laptop: usize,
        /// In which workspace.
        workspace: usize,
        /// What it asked.
        items: Arc<[ItemCommit]>,
        /// What it was told.
        answer: CommitAnswer,
    },
    /// A file was read and its chunks stored.
    Uploaded {
        /// By whom.
        laptop: usize,
        /// In which workspace.
        workspace: usize,
        /// Where it is.
        path: ItemPath,
        /// What was stored.
        body: FileBody,
        /// The look for which that holds.
        stat: Stat,
    },
    /// An action on a disk ended.
    Applied {
        /// Where.
        laptop: usize,
        /// In which folder.
        workspace: usize,
        /// The action.
        action: DiskAction,
        /// How it ended.
        result: Result<Applied, ApplyError>,
    },
    /// An action of an engine took a content away from its place.
    Removed {
        /// Where.
        laptop: usize,
        /// In which folder.
        workspace: usize,
        /// What.
        removed: Removed,
    },
    /// An engine said something to people.
    Logged {
        /// Where.
        laptop: usize,
        /// In which folder.
        workspace: usize,
        /// What.
        entry: LogEntry,
    },
    /// A laptop's client started again, with what it remembered.
    Started {
        /// Which.
        laptop: usize,
    },
    /// The metadata was replaced by an older copy; what was saved since is not there any more.
    WentBack {
        /// Each workspace's revision now.
        revisions: Vec<u64>,
    },
    /// Held deletions were approved.
    Approved {
        /// Where.
        laptop: usize,
        /// In which folder.
        workspace: usize,
    },
}

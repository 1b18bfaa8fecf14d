//! What a running device shows to whoever watches it: the progress on a terminal.

use super::snapshot::Snapshot;

/// The device at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overview {
    /// There is a connection.
    pub connected: bool,
    /// What is wrong with the connection, or with the device as a whole.
    pub trouble: String,
    /// A person paused it.
    pub paused: bool,
    /// Bytes sent to the storage since the start.
    pub sent_bytes: u64,
    /// Bytes received from it since the start.
    pub received_bytes: u64,
    /// The workspaces by name.
    pub workspaces: Vec<(String, Snapshot)>,
}

impl Overview {
    /// Items that are still to be dealt with.
    pub fn open_items(&self) -> usize {
        self.workspaces.iter().map(|(_, snapshot)| snapshot.open.max(snapshot.uploads + snapshot.applies)).sum()
    }

    /// Items in the folders.
    pub fn items(&self) -> usize {
        self.workspaces.iter().map(|(_, snapshot)| snapshot.items).sum()
    }

    /// Both sides agree, everywhere and without anything left out.
    pub fn in_sync(&self) -> bool {
        self.connected && !self.workspaces.is_empty() && self.workspaces.iter().all(|(_, snapshot)| snapshot.in_sync())
    }

    /// A number that changes when something gets on.
    pub fn progress(&self) -> u64 {
        let moved = |(_, snapshot): &(String, Snapshot)| snapshot.revision.wrapping_add(snapshot.items as u64);
        self.workspaces.iter().map(moved).fold(self.sent_bytes + self.received_bytes, u64::wrapping_add)
    }
}

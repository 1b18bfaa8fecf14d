//! The simulated file system of one workspace's folder on one laptop: what a program sees of it, what survives a power cut, and what
//! goes wrong.

use crate::random::Random;
use crate::scenario::{Fault, Rates};
use stacksync_core::engine::{Applied, ApplyError, DiskAction, Listing, ScanError, Stat, UploadError};
use stacksync_core::values::{FileBody, ItemPath, Kind, Name};
use std::collections::BTreeMap;

/// What kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flavour {
    /// Names are bytes, times are nanoseconds.
    Plain,
}

impl Flavour {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Plain];
}

/// A watcher's hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something at this path may have changed.
    Touched(ItemPath),
    /// There were too many to tell.
    Overflow,
}

/// What a person sees at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// File, folder or link.
    pub kind: Kind,
    /// The bytes of a file, the target of a link.
    pub bytes: Vec<u8>,
    /// The executable bit of a file.
    pub executable: bool,
    /// The modification time of a file; 0 for the others.
    pub modified_ns: i64,
}

/// A file's content that an action of the engine took away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// From where.
    pub path: ItemPath,
    /// What it held.
    pub bytes: Vec<u8>,
    /// Whether it is in the trash now; else it is nowhere.
    pub trashed: bool,
}

/// Whether something that takes several steps is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<T> {
    /// Not yet.
    Going,
    /// With this.
    Done(T),
}

/// An action on the disk under way: every step of it is one call of [`Disk::step`].
#[derive(Clone, Debug)]
pub struct Job {
    _action: DiskAction,
}

/// A file that is being read to be uploaded.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The bytes read so far.
    pub bytes: Vec<u8>,
}

/// One workspace's folder on one laptop.
#[derive(Clone, Debug)]
pub struct Disk {
    _random: Random,
}

impl Disk {
    /// An empty folder. What goes wrong is drawn from a stream of its own.
    pub fn new(_flavour: Flavour, seed: u64) -> Self {
        Self { _random: Random::stream(seed, "disk", 0) }
    }

    /// The laptop's clock, in nanoseconds since 1970; it may jump.
    pub fn set_clock(&mut self, _unix_ns: i64) {}

    /// What goes wrong from now on, and how often.
    pub fn set_rates(&mut self, _rates: &Rates) {}

    /// The faults that happened since this was asked last.
    pub fn take_faults(&mut self) -> Vec<Fault> {
        Vec::new()
    }

    /// What a look at a folder, or at some names in it, tells.
    ///
    /// # Errors
    /// As the real disk.
    pub fn scan(&mut self, _path: &ItemPath, _names: Option<&[Name]>) -> Result<Listing, ScanError> {
        Ok(Listing::default())
    }

    /// Opens a file to be uploaded, if it is as expected.
    ///
    /// # Errors
    /// As the real disk.
    pub fn begin_upload(&mut self, _path: &ItemPath, _expect: &Stat) -> Result<Upload, UploadError> {
        Err(UploadError::Changed)
    }

    /// Reads on; `Done` at the end of the file.
    pub fn continue_upload(&mut self, _upload: &mut Upload) -> Progress<Result<(), UploadError>> {
        Progress::Done(Err(UploadError::Changed))
    }

    /// After all chunks are stored: the look for which the bytes hold, if the file did not change meanwhile.
    ///
    /// # Errors
    /// As the real disk.
    pub fn finish_upload(&mut self, _upload: Upload) -> Result<Stat, UploadError> {
        Err(UploadError::Changed)
    }

    /// The bytes of a file that may hold some of the wanted ones; they are verified by whoever uses them.
    pub fn read_source(&mut self, _path: &ItemPath, _body: &FileBody) -> Option<Vec<u8>> {
        None
    }

    /// Begins an action; of a `Write` with the complete, verified bytes.
    pub fn begin(&mut self, action: DiskAction, _contents: Option<Vec<u8>>) -> Job {
        Job { _action: action }
    }

    /// One step of an action: stage, write, fsync, look, rename, fsync of the folder, each on its own.
    pub fn step(&mut self, _job: &mut Job) -> Progress<Result<Applied, ApplyError>> {
        Progress::Done(Err(ApplyError::Changed))
    }

    /// Power loss: what was not synced is torn or gone.
    pub fn crash(&mut self) {}

    /// The client died, not the machine: nothing is lost but what it staged is left over.
    pub fn restart_process(&mut self) {}

    /// What the watcher says since it was asked last.
    pub fn take_events(&mut self) -> Vec<Event> {
        Vec::new()
    }

    /// Another number after every change of what [`Disk::visible`] shows.
    pub const fn changes(&self) -> u64 {
        0
    }

    /// Whether an ignore rule matches what is at this path.
    pub const fn is_ignored(&self, _path: &str) -> bool {
        false
    }

    /// A path as this file system shows it.
    pub fn spelling(&self, path: &str) -> String {
        path.to_owned()
    }

    /// What becomes of an executable bit here.
    pub const fn kept_mode(&self, executable: bool) -> bool {
        executable
    }

    /// What becomes of a modification time here, in nanoseconds.
    pub const fn kept_time(&self, modified_ns: i64) -> i64 {
        modified_ns
    }

    /// Everything that a person sees, by path.
    pub fn visible(&self) -> BTreeMap<String, Seen> {
        BTreeMap::new()
    }

    /// Contents that actions of the engine took away since this was asked last.
    pub fn removed(&mut self) -> Vec<Removed> {
        Vec::new()
    }
}

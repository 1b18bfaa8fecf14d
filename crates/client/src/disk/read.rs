//! Opens the user's files for reading: to upload them, or to take chunks from them.
//!
//! Opened by name from the workspace's folder, without following links, and only regular files (a pipe would block).

use super::Disk;
use super::folder::{OpenFolderError, open_folder};
use super::look::{Look, look, look_at_open};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use stacksync_core::engine::{Stat, UploadError};
use stacksync_core::values::{ItemPath, Kind};
use std::fs::File;
use std::time::{Duration, SystemTime};

/// The usual step of the clock that stamps files. A second write within one step is invisible in the times, so a file
/// is read only when its last change is that long ago.
const CLOCK_STEP: Duration = Duration::from_millis(10);
const SECOND_NS: u64 = 1_000_000_000;

/// Why a file was not opened, or what was read of it is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is gone, is another file or no file, or was written to.
    #[error("the file changed while it was read")]
    Changed,
    /// It cannot be read; a sentence for people.
    #[error("{0}")]
    Unreadable(String),
}

impl From<ReadError> for UploadError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Changed => Self::Changed,
            ReadError::Unreadable(text) => Self::Unreadable(text),
        }
    }
}

impl Disk {
    /// Opens a file to take what it holds now; returns the look at it. Waits if it was changed just now: up to 10 ms,
    /// and up to two seconds on a file system that stamps no fractions of them.
    ///
    /// # Errors
    /// `Changed` when there is no file at the path.
    pub fn open_file(&self, path: &ItemPath) -> Result<(File, Stat), ReadError> {
        let (parent, name) = path.split().ok_or(ReadError::Changed)?;
        let root = self.parts.root.open().map_err(ReadError::Unreadable)?;
        let folder = open_folder(&root, &parent).map_err(|error| match error {
            OpenFolderError::Gone => ReadError::Changed,
            OpenFolderError::Refused(errno) => unreadable(path, errno),
        })?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&folder, name.as_str(), flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO => ReadError::Changed,
            other => unreadable(path, other),
        })?;
        let file = File::from(file);
        let stat = stat_open(path, &file)?;
        match settles_in(&stat, SystemTime::now()) {
            None => Ok((file, stat)),
            Some(wait) => {
                std::thread::sleep(wait);
                let stat = stat_open(path, &file)?;
                Ok((file, stat))
            }
        }
    }

    /// What is at a path now; `None`: nothing that can be synced.
    ///
    /// # Errors
    /// `Unreadable` when the root is lost or the path cannot be looked at.
    pub fn look(&self, path: &ItemPath) -> Result<Option<Stat>, ReadError> {
        let Some((parent, name)) = path.split() else { return Ok(None) };
        let root = self.parts.root.open().map_err(ReadError::Unreadable)?;
        let folder = match open_folder(&root, &parent) {
            Ok(folder) => folder,
            Err(OpenFolderError::Gone) => return Ok(None),
            Err(OpenFolderError::Refused(errno)) => return Err(unreadable(path, errno)),
        };
        match look(&folder, name.as_str()).map_err(|errno| unreadable(path, errno))? {
            Look::Here(seen) => Ok(Some(seen.stat)),
            Look::Absent | Look::Odd(_) => Ok(None),
        }
    }

    /// Opens a file that must still be as `expect`ed.
    ///
    /// # Errors
    /// `Changed` when it is not.
    pub fn open_expected(&self, path: &ItemPath, expect: &Stat) -> Result<File, ReadError> {
        let (file, stat) = self.open_file(path)?;
        if stat.same_content(expect) { Ok(file) } else { Err(ReadError::Changed) }
    }

    /// To be asked after the last byte was read: the look for which the bytes hold.
    ///
    /// # Errors
    /// `Changed` when the file was written to since it was as `expect`ed, or another file is at the path now.
    pub fn finish_read(&self, path: &ItemPath, file: &File, expect: &Stat) -> Result<Stat, ReadError> {
        let stat = stat_open(path, file)?;
        let (parent, name) = path.split().ok_or(ReadError::Changed)?;
        let root = self.parts.root.open().map_err(ReadError::Unreadable)?;
        let at_path = open_folder(&root, &parent).ok().and_then(|folder| look(&folder, name.as_str()).ok());
        let same_file = matches!(at_path, Some(Look::Here(seen)) if seen.stat.file == stat.file);
        if same_file && stat.same_content(expect) { Ok(stat) } else { Err(ReadError::Changed) }
    }
}

/// The look at an open file. `path` is for the text of an error.
///
/// # Errors
/// `Changed` when it is no regular file.
pub fn stat_open(path: &ItemPath, file: &File) -> Result<Stat, ReadError> {
    match look_at_open(file).map_err(|errno| unreadable(path, errno))? {
        Look::Here(seen) if seen.stat.kind == Kind::File => Ok(seen.stat),
        Look::Here(_) | Look::Odd(_) | Look::Absent => Err(ReadError::Changed),
    }
}

fn unreadable(path: &ItemPath, errno: Errno) -> ReadError {
    ReadError::Unreadable(format!("{path} cannot be read: {errno}"))
}

fn settles_in(stat: &Stat, now: SystemTime) -> Option<Duration> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let changed_ns = u64::try_from(stat.changed_ns).ok()?;
    // A time in the future is another clock's: nothing to wait for.
    let age = now.checked_sub(Duration::from_nanos(changed_ns))?;
    clock_step(changed_ns).checked_sub(age).filter(|wait| !wait.is_zero())
}

/// The step of the clock that stamped this. Nobody can set it, so where it has no fraction, none is stamped.
const fn clock_step(changed_ns: u64) -> Duration {
    if changed_ns.is_multiple_of(2 * SECOND_NS) {
        Duration::from_secs(2)
    } else if changed_ns.is_multiple_of(SECOND_NS) {
        Duration::from_secs(1)
    } else {
        CLOCK_STEP
    }
}

//! The trash: files that were deleted or replaced because of a change that came from elsewhere.
//!
//! One folder per minute or so, named after its time, holds what went in then under its path in the workspace. Folders ending
//! in ` replaced` hold older versions, which the service has in its history; the others may hold what nobody else has
//! (ignored files of a deleted folder), so only age removes them.

use super::copy::{CopyError, copy_tree, remove_tree};
use super::look::{Mount, mount_of};
use super::own_folders::own_folder;
use rustix::fs::{Mode, OFlags, fsync, mkdirat, openat};
use rustix::io::Errno;
use stacksync_chunks::crash_point;
use stacksync_core::values::ItemPath;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// A folder of the trash takes things for this long, then the next one is made.
const FOLDER_OPEN_MAX: Duration = Duration::from_secs(60);
/// Tries to find a name in the trash that is not taken.
const TRIES_MAX: usize = 8;
/// Folders kept open below one folder of the trash.
const FOLDERS_MAX: usize = 32;
/// Names of folders start with this: the time, in UTC, without what some file systems cannot hold.
const STAMP: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour].[minute].[second]Z");
/// Length of a stamp in bytes.
const STAMP_BYTES: usize = 20;
const REPLACED: &str = " replaced";

/// What may stay in the trash.
#[derive(Clone, Copy, Debug)]
pub struct TrashLimits {
    /// Older folders are removed.
    pub age: Duration,
    /// Replaced versions beyond this many bytes are removed, the oldest folders first.
    pub replaced_bytes: u64,
}

impl Default for TrashLimits {
    fn default() -> Self {
        Self { age: Duration::from_secs(30 * 24 * 3600), replaced_bytes: 10 * 1024 * 1024 * 1024 }
    }
}

/// What the cleaner did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Folders of the trash that were removed.
    pub removed: usize,
    /// Folders that should have been removed but could not.
    pub failed: usize,
}

/// Why something goes to the trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Deleted,
    Replaced,
}

/// The trash of one home.
#[derive(Debug)]
pub struct Trash {
    path: PathBuf,
    mount: Mount,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    /// The trash itself.
    top: Arc<OwnedFd>,
    deleted: Option<Stamp>,
    replaced: Option<Stamp>,
}

#[derive(Debug)]
struct Stamp {
    since: SystemTime,
    folder: Arc<OwnedFd>,
    /// Folders used last, so that a thousand files of one folder cost its path once.
    folders: HashMap<ItemPath, Arc<OwnedFd>>,
}

/// Where something lies in the trash.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub folder: Arc<OwnedFd>,
    pub name: String,
    /// Folders whose entries changed and must be made durable.
    pub touched: Vec<Arc<OwnedFd>>,
}

impl Trash {
    pub(super) fn new(path: PathBuf) -> Result<Self, Errno> {
        let folder = own_folder(&path)?;
        let mount = mount_of(&folder)?;
        let open = Open { top: Arc::new(folder), deleted: None, replaced: None };
        Ok(Self { path, mount, open: Mutex::new(open) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn mount(&self) -> Mount {
        self.mount
    }

    /// Finds a free place for `path` and puts something there with `put(folder, name)`, which must fail with EEXIST rather
    /// than replace. `path` is not the top.
    pub(super) fn receive(
        &self,
        path: &ItemPath,
        why: Why,
        mut put: impl FnMut(BorrowedFd<'_>, &str) -> Result<(), Errno>,
    ) -> Result<Slot, Errno> {
        let (parent, name) = path.split().ok_or(Errno::INVAL)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Open { top, deleted, replaced } = &mut *open;
        if is_removed(top) {
            *top = Arc::new(own_folder(&self.path)?);
        }
        let stamp = match why {
            Why::Deleted => deleted,
            Why::Replaced => replaced,
        };
        for _ in 0..TRIES_MAX {
            let mut touched = Vec::new();
            let current = current(top, stamp, why, &mut touched)?;
            let found = current.folder_for(&parent, &mut touched).and_then(|folder| {
                put(folder.as_fd(), name.as_str())?;
                Ok(folder)
            });
            match found {
                Ok(folder) => {
                    touched.push(folder.clone());
                    return Ok(Slot { folder, name: name.as_str().to_owned(), touched });
                }
                // Taken in this folder of the trash (or somebody removed it): the next one is free.
                Err(Errno::EXIST | Errno::NOTDIR | Errno::LOOP) => *stamp = None,
                Err(Errno::NOENT) if current.is_gone() => *stamp = None,
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::EXIST)
    }

    /// Like [`Self::receive`], for something on another file system: copies it, makes the copy durable, removes the original.
    pub(super) fn receive_copy(&self, path: &ItemPath, why: Why, from: BorrowedFd<'_>, name: &str) -> Result<Slot, CopyError> {
        let mut failed = None;
        let slot = self.receive(path, why, |folder, slot_name| match copy_tree(from, name, folder, slot_name) {
            Ok(()) => Ok(()),
            Err(error) => {
                let errno = error.errno;
                if errno != Errno::EXIST {
                    remove_tree(folder, slot_name).ok();
                }
                failed = Some(error);
                Err(errno)
            }
        });
        let slot = slot.map_err(|errno| failed.unwrap_or(CopyError { errno }))?;
        crash_point!("trash-copy.before-sync");
        for folder in &slot.touched {
            fsync(folder).map_err(|errno| CopyError { errno })?;
        }
        crash_point!("trash-copy.before-remove");
        remove_tree(from, name).map_err(|errno| CopyError { errno })?;
        crash_point!("trash-copy.after-remove");
        Ok(slot)
    }

    /// Removes what is too old or too much. `now` is the wall clock. Folders with other names are not touched.
    ///
    /// # Errors
    /// When the trash cannot be listed.
    pub fn sweep(&self, limits: TrashLimits, now: SystemTime) -> std::io::Result<Swept> {
        let mut folders: Vec<(SystemTime, String)> = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            folders.extend(time_of(&name).map(|time| (time, name)));
        }
        folders.sort_unstable();
        let mut swept = Swept::default();
        let mut replaced_bytes = 0u64;
        for (time, name) in folders.into_iter().rev() {
            let path = self.path.join(&name);
            let too_old = now.duration_since(time).is_ok_and(|age| age > limits.age);
            let mut too_much = false;
            if !too_old && name.ends_with(REPLACED) {
                replaced_bytes = replaced_bytes.saturating_add(bytes_below(&path));
                too_much = replaced_bytes > limits.replaced_bytes;
            }
            if too_old || too_much {
                crash_point!("trash-sweep.before-remove");
                match std::fs::remove_dir_all(&path) {
                    Ok(()) => swept.removed += 1,
                    Err(error) => {
                        tracing::warn!("cannot remove {} from the trash: {error}", path.display());
                        swept.failed += 1;
                    }
                }
            }
        }
        Ok(swept)
    }
}

/// The folder that takes things now; made if there is none yet or the last one is old.
fn current<'a>(
    top: &Arc<OwnedFd>,
    open: &'a mut Option<Stamp>,
    why: Why,
    touched: &mut Vec<Arc<OwnedFd>>,
) -> Result<&'a mut Stamp, Errno> {
    let now = SystemTime::now();
    // A clock that was set back ends the folder too.
    let fresh = |stamp: &Stamp| now.duration_since(stamp.since).is_ok_and(|age| age < FOLDER_OPEN_MAX);
    let kept = open.take().filter(|stamp| fresh(stamp) && !is_removed(&stamp.folder));
    let stamp = match kept {
        Some(stamp) => stamp,
        None => {
            touched.push(top.clone());
            make_stamp(top, now, why)?
        }
    };
    Ok(open.insert(stamp))
}

fn make_stamp(top: &OwnedFd, since: SystemTime, why: Why) -> Result<Stamp, Errno> {
    let text = OffsetDateTime::from(since).format(STAMP).map_err(|_| Errno::INVAL)?;
    let kind = match why {
        Why::Deleted => "",
        Why::Replaced => REPLACED,
    };
    for number in 1.. {
        let name = if number == 1 { format!("{text}{kind}") } else { format!("{text}-{number}{kind}") };
        match mkdirat(top, &name, Mode::RWXU) {
            Ok(()) => {
                let folder = Arc::new(open_own(top, &name)?);
                return Ok(Stamp { since, folder, folders: HashMap::new() });
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EXIST)
}

impl Stamp {
    fn folder_for(&mut self, parent: &ItemPath, touched: &mut Vec<Arc<OwnedFd>>) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(folder) = self.folders.get(parent) {
            return Ok(folder.clone());
        }
        let mut folder = self.folder.clone();
        for name in parent.names() {
            match mkdirat(&folder, name.as_str(), Mode::RWXU) {
                Ok(()) => touched.push(folder.clone()),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            folder = Arc::new(open_own(&folder, name.as_str())?);
        }
        if self.folders.len() >= FOLDERS_MAX {
            self.folders.clear();
        }
        self.folders.insert(parent.clone(), folder.clone());
        Ok(folder)
    }

    /// Whether a folder of it was removed while it was open: nothing may be put there any more.
    fn is_gone(&self) -> bool {
        is_removed(&self.folder) || self.folders.values().any(|folder| is_removed(folder))
    }
}

fn is_removed(folder: &OwnedFd) -> bool {
    rustix::fs::fstat(folder).is_ok_and(|stat| stat.st_nlink == 0)
}

fn open_own(folder: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    openat(folder, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn time_of(name: &str) -> Option<SystemTime> {
    let stamp = PrimitiveDateTime::parse(name.get(..STAMP_BYTES)?, STAMP).ok()?;
    let rest = name.get(STAMP_BYTES..)?;
    let number = rest.strip_suffix(REPLACED).unwrap_or(rest);
    let ours = number.is_empty() || number.strip_prefix('-').is_some_and(|digits| digits.parse::<u32>().is_ok());
    ours.then(|| stamp.assume_utc().into())
}

/// Bytes of all files below; what cannot be read counts nothing.
fn bytes_below(path: &Path) -> u64 {
    let mut total = 0u64;
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) => total = total.saturating_add(entry.metadata().map_or(0, |metadata| metadata.len())),
                Err(_) => {}
            }
        }
    }
    total
}

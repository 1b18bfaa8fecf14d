//! Staging: a file that came from the service is written here, whole and verified, before it is published by one rename.
//!
//! Staged in the client's home where a rename can reach the target from there, else under a hidden name beside the target.

use super::Disk;
use super::apply::refused;
use super::folder::{OpenFolderError, open_folder};
use super::leftovers::staged_name;
use super::look::{Look, Mount, Seen, look_at_open, mount_of};
use rustix::fs::{AtFlags, Mode, OFlags, fstatvfs, openat, symlinkat, unlinkat};
use rustix::io::Errno;
use stacksync_chunks::crash_point;
use stacksync_core::engine::{ApplyError, DiskAction, FileId, Stat};
use stacksync_core::values::{ItemPath, ModifiedAt};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// From this size on, in bytes, it is checked beforehand whether the disk has room.
const ROOM_CHECKED_FROM: u64 = 1024 * 1024;

/// Where a staged file shall go, and what it shall be.
#[derive(Clone, Debug)]
pub struct WriteTarget {
    /// Where.
    pub path: ItemPath,
    /// The folder that shall hold it, as it was last seen; `None`: the top, or whatever is there.
    pub into: Option<FileId>,
    /// How many bytes it shall hold.
    pub size: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Its modification time.
    pub modified: ModifiedAt,
    /// What is at the path now and may be replaced; `None`: nothing is there.
    pub replaces: Option<Stat>,
}

impl WriteTarget {
    /// The target of a write action; `None` for other actions.
    pub fn of(action: &DiskAction) -> Option<Self> {
        match action {
            DiskAction::Write { path, into, body, modified, replaces, .. } => Some(Self {
                path: path.clone(),
                into: *into,
                size: body.size,
                executable: body.executable,
                modified: *modified,
                replaces: replaces.clone(),
            }),
            DiskAction::MakeFolder { .. }
            | DiskAction::MakeLink { .. }
            | DiskAction::Move { .. }
            | DiskAction::SetMeta { .. }
            | DiskAction::Trash { .. }
            | DiskAction::RemoveFolder { .. } => None,
        }
    }
}

/// A file being filled. Dropped without being published it leaves nothing behind. Holds one open file.
#[derive(Debug)]
pub struct Staged {
    pub(super) target: WriteTarget,
    pub(super) file: Arc<File>,
    pub(super) temporary: Temporary,
}

impl Staged {
    /// The file to fill, from offset 0 on, with exactly the target's bytes; whole blocks of zeros may be left out as holes
    /// (`set_len` sets the size). Readable too.
    pub const fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where it shall go.
    pub const fn target(&self) -> &WriteTarget {
        &self.target
    }

    /// What it is now, provided that it is complete.
    pub(super) fn complete(&self) -> Result<Seen, ApplyError> {
        let path = &self.target.path;
        match look_at_open(&self.file).map_err(|errno| refused("look at what was staged for", path, errno))? {
            Look::Here(seen) if seen.stat.size == self.target.size => Ok(seen),
            Look::Here(_) | Look::Odd(_) | Look::Absent => {
                Err(ApplyError::Failed(format!("what was staged for {path} is incomplete")))
            }
        }
    }
}

/// A name of ours that is removed unless it was given away.
#[derive(Debug)]
pub(super) struct Temporary {
    pub folder: Arc<OwnedFd>,
    pub name: String,
    given_away: bool,
}

impl Temporary {
    fn new(folder: Arc<OwnedFd>, name: String) -> Self {
        Self { folder, name, given_away: false }
    }

    /// The name was renamed to somewhere else: nothing is left to remove.
    pub fn give_away(mut self) {
        self.given_away = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.given_away {
            // If it cannot be removed now, the next start removes it.
            unlinkat(&self.folder, &self.name, AtFlags::empty()).ok();
        }
    }
}

/// Where something can be staged for a target in one folder.
#[derive(Clone, Debug)]
pub(super) struct StagingPlace {
    folder: Arc<OwnedFd>,
    beside: bool,
}

impl StagingPlace {
    /// For a target in `folder`, which is on `mount`.
    pub fn choose(disk: &Disk, folder: &Arc<OwnedFd>, mount: Mount) -> Self {
        let own = &disk.parts.own.shared;
        if own.staging_mount == mount {
            return Self { folder: own.staging.clone(), beside: false };
        }
        Self { folder: folder.clone(), beside: true }
    }

    fn name(&self, disk: &Disk) -> String {
        let fresh = disk.parts.own.shared.fresh();
        if self.beside { staged_name(&fresh) } else { fresh }
    }

    fn file(&self, disk: &Disk, executable: bool) -> Result<(File, Temporary), Errno> {
        let name = self.name(disk);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // The umask takes its part, as for any file that the user makes.
        let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
        let file = openat(&self.folder, &name, flags, mode)?;
        Ok((File::from(file), Temporary::new(self.folder.clone(), name)))
    }

    /// Stages a symbolic link.
    pub fn link(&self, disk: &Disk, target: &str) -> Result<Temporary, Errno> {
        let name = self.name(disk);
        symlinkat(target, &self.folder, &name)?;
        Ok(Temporary::new(self.folder.clone(), name))
    }
}

impl Disk {
    /// Begins a file for this target: the caller fills it and hands it to [`Disk::apply`]. Keep at most some hundreds at a
    /// time, each holds an open file. Blocks.
    ///
    /// # Errors
    /// `Changed` when the target's folder is not there; `NoSpace`; `Failed` with a sentence naming the path.
    pub fn stage(&self, target: WriteTarget) -> Result<Staged, ApplyError> {
        let path = &target.path;
        let failed = |errno| refused("write", path, errno);
        let (parent, _) = path.split().ok_or(ApplyError::Changed)?;
        let root = self.parts.root.open().map_err(|_| ApplyError::Changed)?;
        let folder = open_folder(&root, &parent).map_err(|error| match error {
            OpenFolderError::Gone => ApplyError::Changed,
            OpenFolderError::Refused(errno) => failed(errno),
        })?;
        let folder = Arc::new(folder);
        let mount = mount_of(&folder).map_err(failed)?;
        let place = StagingPlace::choose(self, &folder, mount);
        let (file, temporary) = place.file(self, target.executable).map_err(|errno| match errno {
            Errno::NOENT if !place.beside => {
                ApplyError::Failed("the client's staging folder is gone; start the client again".into())
            }
            other => failed(other),
        })?;
        crash_point!("stage.after-create");
        if target.size >= ROOM_CHECKED_FROM {
            let disk = fstatvfs(&file).map_err(failed)?;
            if disk.f_bavail.saturating_mul(disk.f_frsize) < target.size {
                return Err(ApplyError::NoSpace);
            }
        }
        Ok(Staged { target, file: Arc::new(file), temporary })
    }
}

//! Changes the user's folder: the disk's side of `Effect::Apply`, in batches.
//!
//! Each action looks at the disk again, as late as the operating system allows, and does nothing if it is not as the plan saw
//! it. A batch is durable when it returns: first the staged files, then, after the renames, the folders that hold them; all
//! actions share these waits. An error means that the disk is as before (when making a folder durable fails, that is unknown,
//! and the next scan tells).

use super::Disk;
use super::folder::{OpenFolderError, open_folder};
use super::look::{Look, Mount, Seen, as_expected, look, look_at_open, mode_with, sealed, timestamps, whereabouts_of};
use super::stage::{Staged, StagingPlace};
use rustix::fs::{Mode, OFlags, fchmod, fchown, fsync, futimens, mkdirat, openat, renameat};
use rustix::io::Errno;
use stacksync_chunks::crash_point;
use stacksync_core::engine::{Applied, ApplyError, DiskAction, FileId, Stat};
use stacksync_core::values::{ItemPath, Kind, ModifiedAt, Name};
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;

/// Threads that wait for files to become durable at the same time: the file system shares one wait among them.
const WAITERS_MAX: usize = 8;
/// Folders that a batch holds open at most, for its later actions and until they are durable; each is an open file.
pub(super) const FOLDERS_MAX: usize = 128;

/// One action with what it needs.
#[derive(Debug)]
pub enum Job {
    /// Any action but a write.
    Act(DiskAction),
    /// A write whose file is staged and complete.
    Publish(Staged),
}

impl From<DiskAction> for Job {
    fn from(action: DiskAction) -> Self {
        Self::Act(action)
    }
}

impl From<Staged> for Job {
    fn from(staged: Staged) -> Self {
        Self::Publish(staged)
    }
}

/// A folder that the batch works in.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub handle: Arc<OwnedFd>,
    pub mount: Mount,
    file: FileId,
}

/// What the actions of one call share.
pub(super) struct Batch<'a> {
    pub disk: &'a Disk,
    pub root: OwnedFd,
    folders: HashMap<ItemPath, Folder>,
    touched: HashMap<usize, Arc<OwnedFd>>,
    not_durable: Option<Errno>,
}

impl Disk {
    /// Carries out the jobs in the order given and returns an outcome for each, in that order. Durable when it returns.
    /// Blocks; some hundred jobs at a time share their waits well.
    pub fn apply(&self, jobs: Vec<Job>) -> Vec<Result<Applied, ApplyError>> {
        let Some(mut batch) = Batch::begin(self) else {
            // Look again: the scan says what is wrong with the root.
            return jobs.iter().map(|_| Err(ApplyError::Changed)).collect();
        };
        let settled = batch.settle(&jobs);
        let done = jobs.into_iter().zip(settled).map(|(job, settled)| match job {
            Job::Act(action) => batch.act(action),
            Job::Publish(staged) => settled.and_then(|known| batch.publish(staged, known)),
        });
        let done: Vec<_> = done.collect();
        match batch.make_durable() {
            Ok(()) => done,
            Err(errno) => {
                let text = format!("the disk does not say that the changes are safe: {errno}");
                done.into_iter().map(|outcome| outcome.and(Err(ApplyError::Failed(text.clone())))).collect()
            }
        }
    }
}

impl<'a> Batch<'a> {
    /// `None` when the workspace's folder is lost.
    pub fn begin(disk: &'a Disk) -> Option<Self> {
        let root = disk.parts.root.open().ok()?;
        Some(Self { disk, root, folders: HashMap::new(), touched: HashMap::new(), not_durable: None })
    }

    /// Gives the staged files their times and modes and makes them durable. For each job what its file is then.
    fn settle(&mut self, jobs: &[Job]) -> Vec<Result<Option<Stat>, ApplyError>> {
        let mut settled: Vec<Result<Option<Stat>, ApplyError>> = jobs
            .iter()
            .map(|job| match job {
                Job::Act(_) => Ok(None),
                Job::Publish(staged) => self.prepare(staged).map(|()| None),
            })
            .collect();
        let mut waiting: Vec<(&Staged, &mut Result<Option<Stat>, ApplyError>)> = jobs
            .iter()
            .zip(&mut settled)
            .filter_map(|(job, outcome)| match job {
                Job::Publish(staged) if outcome.is_ok() => Some((staged, outcome)),
                Job::Publish(_) | Job::Act(_) => None,
            })
            .collect();
        let each = waiting.len().div_ceil(WAITERS_MAX).max(1);
        if waiting.len() <= 1 {
            waiting.iter_mut().for_each(|(staged, outcome)| **outcome = wait_for(staged));
            return settled;
        }
        thread::scope(|scope| {
            for part in waiting.chunks_mut(each) {
                scope.spawn(|| part.iter_mut().for_each(|(staged, outcome)| **outcome = wait_for(staged)));
            }
        });
        settled
    }

    fn prepare(&mut self, staged: &Staged) -> Result<(), ApplyError> {
        let target = staged.target();
        let failed = |errno| refused("write", &target.path, errno);
        staged.complete()?;
        if let Some(expect) = &target.replaces {
            let (folder, name) = self.parent(&target.path)?;
            match look(&folder.handle, name.as_str()).map_err(failed)? {
                Look::Here(old) if as_expected(&old.stat, expect) => {
                    if old.stat.kind == Kind::File {
                        take_over(staged, &old).map_err(failed)?;
                    }
                }
                Look::Here(_) | Look::Absent | Look::Odd(_) => return Err(ApplyError::Changed),
            }
        }
        futimens(staged.file(), &timestamps(target.modified)).map_err(failed)
    }

    fn publish(&mut self, staged: Staged, known: Option<Stat>) -> Result<Applied, ApplyError> {
        let Staged { target, file, temporary } = staged;
        let known = known.ok_or(ApplyError::Changed)?;
        let (folder, name) = self.parent_as_seen(&target.path, target.into)?;
        match &target.replaces {
            None => self.put_new(temporary, &folder, name.as_str(), &target.path)?,
            Some(expect) => self.put_over(temporary, &folder, name.as_str(), &target.path, expect)?,
        }
        Ok(present(look_at_open(&file), &known))
    }

    fn act(&mut self, action: DiskAction) -> Result<Applied, ApplyError> {
        match action {
            DiskAction::MakeFolder { path, into } => self.make_folder(&path, into),
            DiskAction::Write { path, .. } => Err(ApplyError::Failed(format!("{path} was not staged before it was to be written"))),
            DiskAction::MakeLink { path, into, target, replaces } => self.make_link(&path, into, &target, replaces.as_ref()),
            DiskAction::Move { from, expect, to, into } => self.rename(&from, &expect, &to, into),
            DiskAction::SetMeta { path, expect, modified, executable } => self.set_meta(&path, &expect, modified, executable),
            DiskAction::Trash { path, expect } => self.trash(&path, &expect),
            DiskAction::RemoveFolder { path, expect, rules } => self.remove_folder(&path, &expect, rules.as_ref()),
        }
    }

    fn make_folder(&mut self, path: &ItemPath, into: Option<FileId>) -> Result<Applied, ApplyError> {
        let failed = |errno| refused("make the folder", path, errno);
        let (folder, name) = self.parent_as_seen(path, into)?;
        mkdirat(&folder.handle, name.as_str(), Mode::from_raw_mode(0o755)).map_err(failed)?;
        crash_point!("make-folder.after");
        self.touch(&folder.handle);
        match look(&folder.handle, name.as_str()).map_err(failed)? {
            Look::Here(seen) if seen.stat.kind == Kind::Folder => Ok(Applied::Present(seen.stat)),
            // Somebody took it away again, and perhaps put something else there.
            Look::Here(_) | Look::Absent | Look::Odd(_) => Err(ApplyError::Changed),
        }
    }

    fn make_link(
        &mut self,
        path: &ItemPath,
        into: Option<FileId>,
        target: &str,
        replaces: Option<&Stat>,
    ) -> Result<Applied, ApplyError> {
        let failed = |errno| refused("make the link", path, errno);
        let (folder, name) = self.parent_as_seen(path, into)?;
        let place = StagingPlace::choose(self.disk, &folder.handle, folder.mount);
        let temporary = place.link(self.disk, target).map_err(failed)?;
        let known = match look(&temporary.folder, &temporary.name).map_err(failed)? {
            Look::Here(seen) => seen.stat,
            Look::Absent | Look::Odd(_) => return Err(failed(Errno::INVAL)),
        };
        match replaces {
            None => self.put_new(temporary, &folder, name.as_str(), path)?,
            Some(expect) => self.put_over(temporary, &folder, name.as_str(), path, expect)?,
        }
        Ok(present(look(&folder.handle, name.as_str()), &known))
    }

    fn rename(&mut self, from: &ItemPath, expect: &Stat, to: &ItemPath, into: Option<FileId>) -> Result<Applied, ApplyError> {
        let failed = |errno| refused_move(from, to, errno);
        let (old, old_name) = self.parent(from)?;
        let (new, new_name) = self.parent_as_seen(to, into)?;
        let before = match look(&old.handle, old_name.as_str()).map_err(failed)? {
            Look::Here(seen) if moves(&seen.stat, expect) => seen,
            Look::Here(_) | Look::Absent | Look::Odd(_) => return Err(ApplyError::Changed),
        };
        match self.disk.rename_new(old.handle.as_fd(), old_name.as_str(), new.handle.as_fd(), new_name.as_str()) {
            Ok(()) => {}
            Err(Errno::EXIST) if is_other_case(&before, &old_name, &new, &new_name) => {
                renameat(&old.handle, old_name.as_str(), &new.handle, new_name.as_str()).map_err(failed)?;
            }
            Err(errno) => return Err(failed(errno)),
        }
        self.forget_folders();
        let after = look(&new.handle, new_name.as_str());
        if matches!(&after, Ok(Look::Here(seen)) if (seen.stat.kind, seen.stat.file) != (expect.kind, expect.file)) {
            // Another file slipped in between the look and the rename.
            self.disk.rename_new(new.handle.as_fd(), new_name.as_str(), old.handle.as_fd(), old_name.as_str()).map_err(failed)?;
            return Err(ApplyError::Changed);
        }
        self.touch(&old.handle);
        self.touch(&new.handle);
        Ok(present(after, expect))
    }

    fn set_meta(&mut self, path: &ItemPath, expect: &Stat, modified: ModifiedAt, executable: bool) -> Result<Applied, ApplyError> {
        let failed = |errno| refused("set the time and mode of", path, errno);
        let (folder, name) = self.parent(path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&folder.handle, name.as_str(), flags, Mode::empty()).map_err(failed)?;
        let expected = |file: &OwnedFd| match look_at_open(file).map_err(failed)? {
            Look::Here(seen) if expect.kind == Kind::File && as_expected(&seen.stat, expect) => Ok(seen),
            Look::Here(_) | Look::Absent | Look::Odd(_) => Err(ApplyError::Changed),
        };
        let before = expected(&file)?;
        let undo = || fchmod(&file, Mode::from_raw_mode(before.mode));
        let mode = mode_with(before.mode, executable);
        if mode != before.mode & 0o777 {
            fchmod(&file, Mode::from_raw_mode(mode)).map_err(failed)?;
        }
        crash_point!("set-meta.between-mode-and-time");
        // The time comes last, right after another look: setting it hides a write that came before it.
        let now = look_at_open(&file).map_err(failed);
        let unchanged = matches!(&now, Ok(Look::Here(seen)) if seen.stat.same_content(expect));
        let set = if unchanged { futimens(&file, &timestamps(modified)).map_err(failed) } else { Err(ApplyError::Changed) };
        if let Err(error) = set {
            undo().map_err(failed)?;
            return Err(error);
        }
        let after = look_at_open(&file).map_err(failed)?;
        crash_point!("set-meta.after");
        self.touch(&Arc::new(file));
        match after {
            Look::Here(seen) if seen.stat.size == expect.size && seen.stat.modified.may_be_kept_of(modified) => {
                Ok(Applied::Present(seen.stat))
            }
            // Somebody wrote to it or set another time meanwhile: the next look shows that as a change.
            Look::Here(_) | Look::Absent | Look::Odd(_) => Ok(Applied::Present(Stat { modified, executable, ..expect.clone() })),
        }
    }

    /// The folder that holds `path`, provided that it is still the one that was seen there: in another one that took its path
    /// the new thing would be in the wrong place.
    fn parent_as_seen(&mut self, path: &ItemPath, seen: Option<FileId>) -> Result<(Folder, Name), ApplyError> {
        let (folder, name) = self.parent(path)?;
        if seen.is_none_or(|seen| folder.file == seen) { Ok((folder, name)) } else { Err(ApplyError::Changed) }
    }

    /// The folder that holds `path`, opened once per batch.
    pub fn parent(&mut self, path: &ItemPath) -> Result<(Folder, Name), ApplyError> {
        let (parent, name) = path.split().ok_or(ApplyError::Changed)?;
        if let Some(folder) = self.folders.get(&parent) {
            return Ok((folder.clone(), name.clone()));
        }
        let handle = open_folder(&self.root, &parent).map_err(|error| match error {
            OpenFolderError::Gone => ApplyError::Changed,
            OpenFolderError::Refused(errno) => refused("open the folder of", path, errno),
        })?;
        let (mount, file) = whereabouts_of(&handle).map_err(|errno| refused("look at the folder of", path, errno))?;
        let folder = Folder { handle: Arc::new(handle), mount, file };
        if self.folders.len() >= FOLDERS_MAX {
            self.folders.clear();
        }
        self.folders.insert(parent, folder.clone());
        Ok((folder, name.clone()))
    }

    /// Paths mean other folders now.
    pub fn forget_folders(&mut self) {
        self.folders.clear();
    }

    /// Has changed, and must be durable before the batch ends.
    pub fn touch(&mut self, changed: &Arc<OwnedFd>) {
        if self.touched.len() >= FOLDERS_MAX {
            self.wait_for_touched();
        }
        self.touched.insert(Arc::as_ptr(changed) as usize, changed.clone());
    }

    fn make_durable(mut self) -> Result<(), Errno> {
        self.wait_for_touched();
        self.not_durable.map_or(Ok(()), Err)
    }

    fn wait_for_touched(&mut self) {
        crash_point!("folders.before-sync");
        let touched: Vec<Arc<OwnedFd>> = self.touched.drain().map(|(_, changed)| changed).collect();
        let waited = if touched.len() <= 2 {
            touched.iter().try_for_each(fsync)
        } else {
            let each = touched.len().div_ceil(WAITERS_MAX);
            thread::scope(|scope| {
                let waits: Vec<_> = touched.chunks(each).map(|part| scope.spawn(move || part.iter().try_for_each(fsync))).collect();
                waits.into_iter().try_for_each(|wait| wait.join().unwrap_or(Err(Errno::IO)))
            })
        };
        crash_point!("folders.after-sync");
        self.not_durable = self.not_durable.or(waited.err());
    }
}

fn wait_for(staged: &Staged) -> Result<Option<Stat>, ApplyError> {
    // Not `fdatasync`: a time that is lost with the power would look like a local change.
    crash_point!("stage.before-sync");
    fsync(staged.file()).map_err(|errno| refused("write", &staged.target().path, errno))?;
    crash_point!("stage.after-sync");
    staged.complete().map(|seen| Some(seen.stat))
}

/// The new file gets the old one's owner and mode, as far as we may, and its own executable bit.
fn take_over(staged: &Staged, old: &Seen) -> Result<(), Errno> {
    let new = match look_at_open(staged.file())? {
        Look::Here(seen) => seen,
        Look::Absent | Look::Odd(_) => return Err(Errno::INVAL),
    };
    if new.owner != old.owner {
        let (user, group) = old.owner;
        // Only root may give files away; others may at least keep the group. Neither is a reason not to sync.
        let (user, group) = (rustix::fs::Uid::from_raw(user), rustix::fs::Gid::from_raw(group));
        fchown(staged.file(), Some(user), Some(group)).or_else(|_| fchown(staged.file(), None, Some(group))).ok();
    }
    let mode = mode_with(old.mode, staged.target().executable);
    if mode == new.mode { Ok(()) } else { fchmod(staged.file(), Mode::from_raw_mode(mode)) }
}

/// What is there after an action whose result was `known` before the last step.
fn present(now: Result<Look, Errno>, known: &Stat) -> Applied {
    match now {
        Ok(Look::Here(seen)) => Applied::Present(sealed(seen.stat, known)),
        Ok(Look::Absent | Look::Odd(_)) | Err(_) => Applied::Present(known.clone()),
    }
}

/// A file may be moved whatever its executable bit is.
fn moves(now: &Stat, expect: &Stat) -> bool {
    as_expected(now, &Stat { executable: now.executable, ..expect.clone() })
}

/// On a file system that folds case the target of a change of case is the file itself. If it is a second hard link after all, made in this
/// moment, the rename does nothing, and the next look shows both.
fn is_other_case(before: &Seen, old_name: &Name, new: &Folder, new_name: &Name) -> bool {
    let itself = matches!(look(&new.handle, new_name.as_str()), Ok(Look::Here(seen)) if seen.stat.file == before.stat.file);
    itself && old_name.key() == new_name.key()
}

/// What an error of the operating system means for an action at `path`.
pub(super) fn refused(verb: &str, path: &ItemPath, errno: Errno) -> ApplyError {
    match errno {
        Errno::NOSPC | Errno::DQUOT => ApplyError::NoSpace,
        Errno::NOENT | Errno::NOTDIR | Errno::EXIST | Errno::LOOP | Errno::STALE | Errno::ISDIR => ApplyError::Changed,
        other => ApplyError::Failed(format!("cannot {verb} {path}: {}", std::io::Error::from(other))),
    }
}

fn refused_move(from: &ItemPath, to: &ItemPath, errno: Errno) -> ApplyError {
    match errno {
        Errno::XDEV => ApplyError::Failed(format!("cannot move {from} to {to}: they are on different file systems")),
        Errno::INVAL => ApplyError::Failed(format!("cannot move {from} to {to}: the disk does not take that")),
        other => refused(&format!("move {from} to"), to, other),
    }
}

#[cfg(test)]
impl Batch<'_> {
    /// Carries out one action; returns how many folders the batch holds open then.
    pub fn act_and_count(&mut self, action: DiskAction) -> (Result<Applied, ApplyError>, usize) {
        (self.act(action), self.folders.len() + self.touched.len())
    }
}

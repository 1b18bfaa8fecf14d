//! Puts something staged at its path: never onto what the plan did not see.
//!
//! Nothing there: a rename that cannot replace. Something there that may go: the staged file is renamed to its place in the
//! trash and then exchanged with the old one in one step, so that at every moment the path holds one of the two, and the old
//! one is in the trash the moment it is replaced, also if the process dies here.

use super::Disk;
use super::apply::{Batch, Folder, refused};
use super::leftovers::aside_name;
use super::look::{Look, Seen, as_expected, look};
use super::stage::Temporary;
use super::trash::Why;
use rustix::fs::{AtFlags, RenameFlags, fsync, linkat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;
use stacksync_chunks::crash_point;
use stacksync_core::engine::{ApplyError, Stat};
use stacksync_core::names::set_aside_name;
use stacksync_core::values::{ItemPath, Name};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Names that are tried for what cannot go back to its own.
const BESIDE_MAX: u32 = 100;

/// What the file system can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renames {
    /// Renames that do not replace, and exchanges; where the kernel refuses them, the ways below.
    Flagged,
    /// Only plain ones (some network file systems); tests take this way on purpose.
    #[cfg_attr(not(test), allow(dead_code, reason = "the way is taken when the kernel refuses flags; tests choose it"))]
    Plain,
}

impl Disk {
    /// Renames, failing with EEXIST if something is there.
    pub(super) fn rename_new(&self, from: BorrowedFd<'_>, name: &str, to: BorrowedFd<'_>, new_name: &str) -> Result<(), Errno> {
        if self.parts.renames == Renames::Flagged {
            crash_point!("rename.before");
            match renameat_with(from, name, to, new_name, RenameFlags::NOREPLACE) {
                Err(errno) if is_unsupported(errno) => {}
                done => {
                    crash_point!("rename.after");
                    return done;
                }
            }
        }
        let Look::Here(before) = look(from, name)? else { return Err(Errno::NOENT) };
        let ours = before.stat;
        // A second name for a file or link fails if the name is taken. Folders have no second name.
        match linkat(from, name, to, new_name, AtFlags::empty()) {
            // Two steps: on the medium the second name must not come after the end of the first one.
            Ok(()) => match fsync(to).and_then(|()| self.end_name(from, name, |seen| seen.stat.file == ours.file)) {
                Ok(()) => Ok(()),
                // Whoever took the first name from us moved the file: so the second one goes again. Unless the first one was deleted, or
                // somebody has written to the file under the second one.
                Err(errno) => {
                    self.end_name(to, new_name, |seen| seen.links > 1 && seen.stat.same_content(&ours)).ok();
                    Err(errno)
                }
            },
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK) => match look(to, new_name)? {
                Look::Absent => renameat(from, name, to, new_name),
                Look::Here(_) | Look::Odd(_) => Err(Errno::EXIST),
            },
            Err(errno) => Err(errno),
        }
    }

    /// Ends one name of what has two. Somebody may have given the name to something else in this moment: so it is renamed aside, looked
    /// at, and put back if it is not `ours`. That is ENOENT then, as when it is gone.
    pub(super) fn end_name(&self, from: BorrowedFd<'_>, name: &str, ours: impl FnOnce(&Seen) -> bool) -> Result<(), Errno> {
        crash_point!("rename.between-two-names");
        let hidden = aside_name(&self.parts.own.shared.fresh());
        renameat(from, name, from, &hidden)?;
        if matches!(look(from, &hidden)?, Look::Here(seen) if ours(&seen)) {
            return unlinkat(from, &hidden, AtFlags::empty());
        }
        let back = match linkat(from, &hidden, from, name, AtFlags::empty()) {
            Ok(()) => unlinkat(from, &hidden, AtFlags::empty()),
            Err(Errno::EXIST) => Err(Errno::EXIST),
            Err(_) => renameat(from, &hidden, from, name),
        };
        if let Err(errno) = back {
            tracing::warn!("{name:?} could not be put back and stays set aside as {hidden:?}: {errno}");
        }
        Err(Errno::NOENT)
    }
}

impl Renames {
    /// Exchanges two names in one step. `Ok(false)`: this cannot be done here.
    fn exchange(self, a: BorrowedFd<'_>, name: &str, b: BorrowedFd<'_>, other: &str) -> Result<bool, Errno> {
        if self == Self::Plain {
            return Ok(false);
        }
        crash_point!("exchange.before");
        match renameat_with(a, name, b, other, RenameFlags::EXCHANGE) {
            Ok(()) => {
                crash_point!("exchange.after");
                Ok(true)
            }
            Err(errno) if is_unsupported(errno) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

const fn is_unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

/// Where something was set aside: its place in the trash, or a hidden name in its own folder from which it is copied there.
pub(super) struct Aside {
    pub folder: Arc<OwnedFd>,
    pub name: String,
    copy: Copy,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Copy {
    Needed,
    No,
}

impl Batch<'_> {
    /// Puts a staged thing where nothing is.
    pub fn put_new(&mut self, temporary: Temporary, folder: &Folder, name: &str, path: &ItemPath) -> Result<(), ApplyError> {
        self.disk
            .rename_new(temporary.folder.as_fd(), &temporary.name, folder.handle.as_fd(), name)
            .map_err(|errno| refused("put in place", path, errno))?;
        temporary.give_away();
        self.touch(&folder.handle);
        Ok(())
    }

    /// Puts a staged thing in the place of what is expected there, which goes to the trash.
    pub fn put_over(
        &mut self,
        temporary: Temporary,
        folder: &Folder,
        name: &str,
        path: &ItemPath,
        expect: &Stat,
    ) -> Result<(), ApplyError> {
        expected_at(folder, name, path, expect)?;
        self.swap(temporary, folder, name, path, expect)
    }

    /// The second look comes after the exchange: if the old one is not the expected one, all is swapped back.
    pub fn swap(
        &mut self,
        temporary: Temporary,
        folder: &Folder,
        name: &str,
        path: &ItemPath,
        expect: &Stat,
    ) -> Result<(), ApplyError> {
        let failed = |errno| refused("replace", path, errno);
        let renames = self.disk.parts.renames;
        let Look::Here(ours) = look(&temporary.folder, &temporary.name).map_err(failed)? else { return Err(ApplyError::Changed) };
        let ours = ours.stat;
        let aside = self.set_aside(&temporary.folder, &temporary.name, folder, path, Why::Replaced).map_err(failed)?;
        temporary.give_away();
        match renames.exchange(aside.folder.as_fd(), &aside.name, folder.handle.as_fd(), name) {
            Ok(true) => {}
            Ok(false) => return self.put_over_in_steps(aside, &ours, folder, name, path, expect),
            Err(errno) => {
                unlinkat(&aside.folder, &aside.name, AtFlags::empty()).ok();
                return Err(failed(errno));
            }
        }
        self.touch(&folder.handle);
        let old = look(&aside.folder, &aside.name);
        let kept = match old {
            Ok(Look::Here(seen)) if as_expected(&seen.stat, expect) => self.keep(&aside, path, Why::Replaced),
            Ok(_) => Err(ApplyError::Changed),
            Err(errno) => Err(failed(errno)),
        };
        if kept.is_err() {
            renames.exchange(aside.folder.as_fd(), &aside.name, folder.handle.as_fd(), name).map_err(failed)?;
            self.unstage(&aside, &ours, folder, name);
        }
        kept
    }

    /// The same where names cannot be exchanged: for a moment nothing is at the path.
    fn put_over_in_steps(
        &mut self,
        staged: Aside,
        ours: &Stat,
        folder: &Folder,
        name: &str,
        path: &ItemPath,
        expect: &Stat,
    ) -> Result<(), ApplyError> {
        let disk = self.disk;
        let put = self.take(folder, name, path, expect, Why::Replaced).and_then(|old| {
            crash_point!("replace-in-steps.between");
            match disk.rename_new(staged.folder.as_fd(), &staged.name, folder.handle.as_fd(), name) {
                Ok(()) => self.keep(&old, path, Why::Replaced).inspect_err(|_| {
                    let (from, to) = (folder.handle.as_fd(), staged.folder.as_fd());
                    if disk.rename_new(from, name, to, &staged.name).is_ok() {
                        self.put_back(&old, folder, name);
                    }
                }),
                Err(errno) => {
                    self.put_back(&old, folder, name);
                    Err(refused("replace", path, errno))
                }
            }
        });
        if put.is_err() {
            self.unstage(&staged, ours, folder, name);
        }
        self.touch(&folder.handle);
        put
    }

    /// Removes what was staged; unless somebody wrote to it while it was at the path: then it is his, and goes beside what is there.
    fn unstage(&self, staged: &Aside, ours: &Stat, folder: &Folder, name: &str) {
        match look(&staged.folder, &staged.name) {
            Ok(Look::Here(seen)) if seen.stat.same_content(ours) => {
                unlinkat(&staged.folder, &staged.name, AtFlags::empty()).ok();
            }
            Ok(Look::Here(_) | Look::Odd(_)) => self.put_back(staged, folder, name),
            Ok(Look::Absent) | Err(_) => {}
        }
    }

    /// Renames what is at a path aside, if it is what is expected there; else nothing changes.
    pub fn set_aside_expected(
        &mut self,
        folder: &Folder,
        name: &str,
        path: &ItemPath,
        expect: &Stat,
        why: Why,
    ) -> Result<Aside, ApplyError> {
        expected_at(folder, name, path, expect)?;
        self.take(folder, name, path, expect, why)
    }

    /// The second look comes after the rename: if it took another thing than expected, that is put back.
    pub fn take(&mut self, folder: &Folder, name: &str, path: &ItemPath, expect: &Stat, why: Why) -> Result<Aside, ApplyError> {
        let aside =
            self.set_aside(&folder.handle, name, folder, path, why).map_err(|errno| refused("move to the trash", path, errno))?;
        self.touch(&folder.handle);
        match look(&aside.folder, &aside.name) {
            Ok(Look::Here(seen)) if as_expected(&seen.stat, expect) => Ok(aside),
            _ => {
                self.put_back(&aside, folder, name);
                Err(ApplyError::Changed)
            }
        }
    }

    /// Renames something to the trash's place for `path`, or, where `near` is on another file system, to a hidden name there.
    fn set_aside(&mut self, from: &Arc<OwnedFd>, name: &str, near: &Folder, path: &ItemPath, why: Why) -> Result<Aside, Errno> {
        let disk = self.disk;
        let own = &disk.parts.own.shared;
        if near.mount == own.trash.mount() {
            let kept = disk.in_trash(path);
            let slot = own.trash.receive(&kept, why, |folder, slot| disk.rename_new(from.as_fd(), name, folder, slot))?;
            slot.touched.iter().for_each(|folder| self.touch(folder));
            return Ok(Aside { folder: slot.folder, name: slot.name, copy: Copy::No });
        }
        let hidden = aside_name(&own.fresh());
        disk.rename_new(from.as_fd(), name, near.handle.as_fd(), &hidden)?;
        Ok(Aside { folder: near.handle.clone(), name: hidden, copy: Copy::Needed })
    }

    /// Makes sure that what was set aside is in the trash. On failure it is still where it was set aside.
    pub fn keep(&mut self, aside: &Aside, path: &ItemPath, why: Why) -> Result<(), ApplyError> {
        if aside.copy == Copy::No {
            return Ok(());
        }
        let kept = self.disk.in_trash(path);
        let trash = &self.disk.parts.own.shared.trash;
        let slot = trash
            .receive_copy(&kept, why, aside.folder.as_fd(), &aside.name)
            .map_err(|error| refused("move to the trash", path, error.errno))?;
        slot.touched.iter().for_each(|folder| self.touch(folder));
        Ok(())
    }

    /// Undoes [`Self::set_aside_expected`]. If something took the name meanwhile, what was set aside goes beside it; only if the disk
    /// refuses that, too, it stays in the trash.
    pub fn put_back(&self, aside: &Aside, folder: &Folder, name: &str) {
        let back = |name: &str| self.disk.rename_new(aside.folder.as_fd(), &aside.name, folder.handle.as_fd(), name);
        let mut outcome = back(name);
        let wanted = Name::new(name);
        let others = (1..=BESIDE_MAX).filter_map(|attempt| Some(set_aside_name(wanted.as_ref().ok()?, attempt)));
        for other in others {
            if outcome != Err(Errno::EXIST) {
                break;
            }
            outcome = back(other.as_str());
        }
        if let Err(errno) = outcome {
            tracing::warn!("{name:?} could not be put back and stays set aside as {:?}: {errno}", aside.name);
        }
    }
}

/// `Changed` unless what is there now is as expected.
fn expected_at(folder: &Folder, name: &str, path: &ItemPath, expect: &Stat) -> Result<(), ApplyError> {
    match look(&folder.handle, name).map_err(|errno| refused("look at", path, errno))? {
        Look::Here(seen) if as_expected(&seen.stat, expect) => Ok(()),
        Look::Here(_) | Look::Absent | Look::Odd(_) => Err(ApplyError::Changed),
    }
}

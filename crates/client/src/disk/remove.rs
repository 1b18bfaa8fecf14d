//! Takes files, links and folders away: into the trash, never for good.

use super::apply::{Batch, Folder, refused};
use super::folder::open_folder;
use super::look::{Look, as_expected, look};
use super::trash::Why;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use stacksync_chunks::crash_point;
use stacksync_core::engine::{Applied, ApplyError, Entry, Stat};
use stacksync_core::reconcile::RULES_NAME;
use stacksync_core::values::{ItemPath, Kind, Name};
use std::os::fd::OwnedFd;

impl Batch<'_> {
    /// Moves a file or link to the trash.
    pub fn trash(&mut self, path: &ItemPath, expect: &Stat) -> Result<Applied, ApplyError> {
        if expect.kind == Kind::Folder {
            return Err(ApplyError::Failed(format!("{path} is a folder and is not moved to the trash as a file")));
        }
        let (folder, name) = self.parent(path)?;
        self.take_away(&folder, &name, path, expect)?;
        Ok(Applied::Absent)
    }

    /// Removes an empty folder; one that holds only ignored files, and these rules, goes to the trash with them.
    pub fn remove_folder(&mut self, path: &ItemPath, expect: &Stat, rules: Option<&Stat>) -> Result<Applied, ApplyError> {
        let failed = |errno| refused("remove", path, errno);
        let (folder, name) = self.parent(path)?;
        match look(&folder.handle, name.as_str()).map_err(failed)? {
            Look::Here(seen) if expect.kind == Kind::Folder && as_expected(&seen.stat, expect) => {}
            Look::Here(_) | Look::Absent | Look::Odd(_) => return Err(ApplyError::Changed),
        }
        crash_point!("remove-folder.before");
        match unlinkat(&folder.handle, name.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) => {
                crash_point!("remove-folder.after");
                self.touch(&folder.handle);
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                self.take_away_checked(&folder, &name, path, expect, rules)?;
            }
            Err(errno) => return Err(failed(errno)),
        }
        self.forget_folders();
        Ok(Applied::Absent)
    }

    fn take_away(&mut self, folder: &Folder, name: &Name, path: &ItemPath, expect: &Stat) -> Result<(), ApplyError> {
        let aside = self.set_aside_expected(folder, name.as_str(), path, expect, Why::Deleted)?;
        let kept = self.keep(&aside, path, Why::Deleted);
        if kept.is_err() {
            self.put_back(&aside, folder, name.as_str());
        }
        kept
    }

    /// For a folder: between the check and the rename a file may have been put into it, or the rules edited. Then the folder comes back.
    fn take_away_checked(
        &mut self,
        folder: &Folder,
        name: &Name,
        path: &ItemPath,
        expect: &Stat,
        rules: Option<&Stat>,
    ) -> Result<(), ApplyError> {
        let before = self.scanned_names(path)?;
        self.only_ignored(path, rules)?;
        let aside = self.set_aside_expected(folder, name.as_str(), path, expect, Why::Deleted)?;
        let same = is_as_before(&aside.folder, &aside.name, &before, rules);
        let kept = if same { self.keep(&aside, path, Why::Deleted) } else { Err(ApplyError::Changed) };
        if kept.is_err() {
            self.put_back(&aside, folder, name.as_str());
        }
        kept
    }

    fn scanned_names(&self, path: &ItemPath) -> Result<Vec<Vec<u8>>, ApplyError> {
        let handle = open_folder(&self.root, path).map_err(|_| ApplyError::Changed)?;
        list_names(&handle).map_err(|errno| refused("list", path, errno))
    }

    /// `Ok` if everything in the folder is ignored; then so is what is below its folders. The rules that say so go last, with the folder.
    fn only_ignored(&self, path: &ItemPath, rules: Option<&Stat>) -> Result<(), ApplyError> {
        let listing = self.disk.scan(path, None).result.map_err(|_| ApplyError::Changed)?;
        if let Some(odd) = listing.skipped.first() {
            let text = format!("{path} stays: it holds {:?}, which cannot be synced ({})", odd.name, odd.reason);
            return Err(ApplyError::Failed(text));
        }
        let are_rules =
            |entry: &Entry| entry.name.as_str() == RULES_NAME && rules.is_some_and(|rules| as_expected(&entry.stat, rules));
        let goes = |entry: &Entry| entry.ignored || are_rules(entry);
        if listing.entries.iter().all(goes) { Ok(()) } else { Err(ApplyError::Changed) }
    }
}

/// Whether a folder that was set aside holds these names, and these rules if any.
fn is_as_before(folder: &OwnedFd, name: &str, names: &[Vec<u8>], rules: Option<&Stat>) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(folder) = openat(folder, name, flags, Mode::empty()) else { return false };
    let same_rules =
        rules.is_none_or(|rules| matches!(look(&folder, RULES_NAME), Ok(Look::Here(seen)) if as_expected(&seen.stat, rules)));
    same_rules && list_names(&folder).is_ok_and(|now| now == names)
}

fn list_names(folder: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        names.push(entry?.file_name().to_bytes().to_vec());
    }
    names.sort_unstable();
    Ok(names)
}

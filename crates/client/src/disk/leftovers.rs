//! Temporary names that an earlier run left in the user's folder when it was killed (only where the client's home is on
//! another file system). Scans find them; `Disk::tidy` clears them away.
//!
//! A staged file is worthless. A file that was set aside may be the only copy: it goes to the trash.

use super::Disk;
use super::folder::open_folder;
use super::ignore_rules::{OWN_PREFIX, OWN_SUFFIX};
use super::trash::Why;
use rustix::fs::{AtFlags, unlinkat};
use stacksync_chunks::crash_point;
use stacksync_core::values::ItemPath;
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

/// More are cleared away in a later run.
const LEFTOVERS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Leftovers(Mutex<BTreeSet<ItemPath>>);

impl Leftovers {
    pub fn note(&self, path: ItemPath) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < LEFTOVERS_MAX {
            noted.insert(path);
        }
    }

    fn take(&self) -> BTreeSet<ItemPath> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Name of a staged file beside its target.
pub(super) fn staged_name(fresh: &str) -> String {
    format!("{OWN_PREFIX}new-{fresh}{OWN_SUFFIX}")
}

/// Name of something that was set aside beside where it was.
pub(super) fn aside_name(fresh: &str) -> String {
    format!("{OWN_PREFIX}old-{fresh}{OWN_SUFFIX}")
}

impl Disk {
    /// Clears away the temporary names of earlier runs that scans came across. Returns how many.
    pub fn tidy(&self) -> usize {
        let leftovers = self.parts.leftovers.take();
        let Ok(root) = self.parts.root.open() else { return 0 };
        leftovers.iter().filter(|path| self.clear_away(&root, path)).count()
    }

    fn clear_away(&self, root: impl AsFd, path: &ItemPath) -> bool {
        let Some((folder, name)) = path.split() else { return false };
        let Ok(handle) = open_folder(root, &folder) else { return false };
        if name.as_str().starts_with(&format!("{OWN_PREFIX}new-")) {
            return unlinkat(&handle, name.as_str(), AtFlags::empty()).is_ok();
        }
        crash_point!("tidy.before-trash");
        let kept = self.in_trash(path);
        let moved = self.parts.own.trash().receive_copy(&kept, Why::Deleted, handle.as_fd(), name.as_str());
        moved.inspect_err(|error| tracing::warn!("cannot move {path} to the trash: {error}")).is_ok()
    }

    /// Where something of this workspace goes in the trash.
    pub(super) fn in_trash(&self, path: &ItemPath) -> ItemPath {
        let names = self.parts.place.names().iter().chain(path.names());
        ItemPath::from_names(names.cloned().collect())
    }
}

//! Where one process writes what has no name yet: a folder of its own, locked while the process lives, so that whoever opens the
//! storage next can tell what a crash left behind from what somebody is writing. The folder itself is locked, and a file in it, too: over a
//! network other computers see the lock of a file only.

use super::super::StoreError;
use super::inner::{entries, failed};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// Another process may take a folder for a leftover between its making and its locking, which is rare; so often it is made again.
const MAKE_TRIES_MAX: usize = 10;

#[derive(Debug)]
pub(super) struct Temporaries {
    folder: PathBuf,
    next: AtomicU64,
    /// Held for as long as this lives.
    _lock: Owned,
}

/// Name of the file that is locked.
const LOCK: &str = "lock";

/// The locks on what is ours.
#[derive(Debug)]
struct Owned {
    entry: File,
    _inside: Option<File>,
}

impl Temporaries {
    /// Removes what no living process owns, and makes a folder for this one.
    pub(super) fn open(parent: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(parent).map_err(failed("create", parent))?;
        for leftover in entries(parent)? {
            remove_unowned(&leftover).map_err(failed("remove", &leftover))?;
        }
        for _ in 0..MAKE_TRIES_MAX {
            let folder = parent.join(Uuid::new_v4().to_string());
            fs::create_dir(&folder).map_err(failed("create", &folder))?;
            if let Some(lock) = own(&folder).map_err(failed("lock", &folder))? {
                return Ok(Self { folder, next: AtomicU64::new(0), _lock: lock });
            }
        }
        Err(StoreError::Unavailable("others remove its temporary files again and again".to_owned()))
    }

    /// A path that nobody else uses.
    pub(super) fn next(&self) -> PathBuf {
        self.folder.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

impl Drop for Temporaries {
    fn drop(&mut self) {
        // Whatever is left of it is removed at the next open.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The locks on a folder; `None` if somebody else has one, or if the folder is gone by the time it is locked.
fn own(folder: &Path) -> io::Result<Option<Owned>> {
    let Some(entry) = locked(File::open(folder))? else { return Ok(None) };
    let inside = match entry.metadata()?.is_dir() {
        true => match locked(File::options().create(true).truncate(false).write(true).open(folder.join(LOCK)))? {
            Some(inside) => Some(inside),
            None => return Ok(None),
        },
        false => None,
    };
    Ok(folder.exists().then_some(Owned { entry, _inside: inside }))
}

fn locked(opened: io::Result<File>) -> io::Result<Option<File>> {
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        locked => locked.map(|()| Some(file)).map_err(io::Error::from),
    }
}

fn remove_unowned(leftover: &Path) -> io::Result<()> {
    match own(leftover)? {
        None => Ok(()),
        Some(owned) if owned.entry.metadata()?.is_dir() => fs::remove_dir_all(leftover),
        Some(_) => fs::remove_file(leftover),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_computer_is_writing_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        fs::write(theirs.join("0"), "half a chunk").unwrap();
        // Over a network its lock on the folder is not seen, that on the file in it is.
        let held = locked(File::options().create(true).truncate(false).write(true).open(theirs.join(LOCK))).unwrap().unwrap();
        let ours = Temporaries::open(folder.path()).unwrap();
        assert!(theirs.join("0").exists());
        drop((held, ours));
        let _ours = Temporaries::open(folder.path()).unwrap();
        assert!(!theirs.exists());
    }
}

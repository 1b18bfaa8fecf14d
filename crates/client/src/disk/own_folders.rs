//! The client's own folders on disk: where files are staged before they are published, and the trash.
//!
//! Nothing here lies in a user's folder. What is staged is worthless after a crash and removed at start; what is in the
//! trash is a user's and leaves it only by age.

use super::look::{Mount, mount_of};
use super::trash::Trash;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why the client's own folders cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}: {source}", path.display())]
pub struct OwnFoldersError {
    /// Which of them.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

/// The client's own folders. Cheap to clone; one per process.
#[derive(Clone, Debug)]
pub struct OwnFolders {
    pub(super) shared: Arc<OwnParts>,
}

#[derive(Debug)]
pub(super) struct OwnParts {
    pub staging: Arc<OwnedFd>,
    pub staging_mount: Mount,
    pub trash: Trash,
    token: String,
    next: AtomicU64,
}

impl OwnFolders {
    /// Makes `staging` and `trash` below `home` as needed, readable by the owner alone, and removes what an earlier run staged.
    /// The caller holds the home's lock: nobody else may stage here meanwhile.
    ///
    /// # Errors
    /// When one of them cannot be made or opened.
    pub fn open(home: &Path) -> Result<Self, OwnFoldersError> {
        let opened = Self::open_beside(home)?;
        let path = home.join("staging");
        clear(&opened.shared.staging).map_err(|errno| OwnFoldersError { path, source: errno.into() })?;
        Ok(opened)
    }

    /// The same without removing anything: for who only looks, while another process may hold the home's lock.
    ///
    /// # Errors
    /// As of [`OwnFolders::open`].
    pub fn open_beside(home: &Path) -> Result<Self, OwnFoldersError> {
        std::fs::create_dir_all(home).map_err(|source| OwnFoldersError { path: home.to_owned(), source })?;
        let staging_path = home.join("staging");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |errno: Errno| OwnFoldersError { path, source: errno.into() }
        };
        let staging = own_folder(&staging_path).map_err(failed(&staging_path))?;
        let staging_mount = mount_of(&staging).map_err(failed(&staging_path))?;
        let trash_path = home.join("trash");
        let trash = Trash::new(trash_path.clone()).map_err(failed(&trash_path))?;
        let token = uuid::Uuid::new_v4().simple().to_string();
        let next = AtomicU64::new(0);
        let staging = Arc::new(staging);
        Ok(Self { shared: Arc::new(OwnParts { staging, staging_mount, trash, token, next }) })
    }

    /// The trash, for its cleaner.
    pub fn trash(&self) -> &Trash {
        &self.shared.trash
    }
}

impl OwnParts {
    /// A part of a file name that no other temporary file has: of this run, then a number.
    pub fn fresh(&self) -> String {
        format!("{}-{}", self.token, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether a temporary name was made by this run.
    pub fn is_of_this_run(&self, name: &str) -> bool {
        name.contains(&self.token)
    }
}

/// Opens a folder that only the owner can enter; makes it if needed.
pub(super) fn own_folder(path: &Path) -> Result<OwnedFd, Errno> {
    match mkdirat(CWD, path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn clear(staging: &OwnedFd) -> Result<(), Errno> {
    for entry in Dir::read_from(staging)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            match unlinkat(staging, entry.file_name(), AtFlags::empty()) {
                // A folder is none of ours.
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR | Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

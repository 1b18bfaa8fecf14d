//! Opens folders of a workspace by their path, one name after the other, never through a link and never outside the root.

use super::look::identity_of;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use stacksync_core::values::ItemPath;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What tells a workspace's own folder from another one at the same path, remembered when the device joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootIdentity {
    /// Number of the file system's device; may change when the computer starts again.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Birth time in nanoseconds since 1970; 0 where the file system does not tell.
    pub born_ns: i64,
}

impl RootIdentity {
    /// Looks at the folder at this path.
    ///
    /// # Errors
    /// A sentence for people, when there is no folder or it cannot be opened.
    pub fn of(root: &Path) -> Result<Self, String> {
        let folder = open_root(root)?;
        identity_of(&folder).map_err(|errno| format!("cannot look at {}: {errno}", root.display()))
    }

    /// Device numbers of removable and network disks change; an inode with its birth time does not, and is enough.
    fn is_same(self, other: Self) -> bool {
        self.inode == other.inode && self.born_ns == other.born_ns && (self.born_ns != 0 || self.device == other.device)
    }
}

/// The folder that a workspace is synced with.
///
/// Opened anew for each use: a folder held open would hide that another one took its place, and would keep its disk busy.
#[derive(Clone, Debug)]
pub(super) struct Root {
    pub path: PathBuf,
    pub identity: RootIdentity,
}

impl Root {
    /// Opens the folder.
    ///
    /// # Errors
    /// A sentence for people, when it is missing or another folder than before.
    pub fn open(&self) -> Result<OwnedFd, String> {
        let folder = open_root(&self.path)?;
        let path = self.path.display();
        let now = identity_of(&folder).map_err(|errno| format!("cannot look at {path}: {errno}"))?;
        if now.is_same(self.identity) {
            return Ok(folder);
        }
        Err(format!(
            "{path} is not the folder that was joined (was it replaced, or is its disk not mounted?); \
             nothing is deleted; put the folder back, or leave and join again"
        ))
    }
}

fn open_root(path: &Path) -> Result<OwnedFd, String> {
    openat(CWD, path, FOLDER, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => format!(
            "the folder {} is missing; nothing is deleted; put it back (or mount its disk), or leave and join again",
            path.display()
        ),
        other => format!("cannot open the folder {}: {other}", path.display()),
    })
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Why a folder was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenFolderError {
    /// There is no folder: nothing, a file, or a link, at the path or on the way to it.
    Gone,
    /// It is there, but not for us.
    Refused(Errno),
}

/// Opens the folder at `path` below `root`, for listing and as the base of further calls.
pub(super) fn open_folder(root: impl AsFd, path: &ItemPath) -> Result<OwnedFd, OpenFolderError> {
    match open_at_once(&root, path) {
        // Not supported by this kernel, forbidden by a sandbox, longer than a path may be, or raced with a rename.
        Err(Errno::NOSYS | Errno::PERM | Errno::NAMETOOLONG | Errno::AGAIN) => step_by_step(&root, path),
        other => other,
    }
    .map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE | Errno::XDEV => OpenFolderError::Gone,
        other => OpenFolderError::Refused(other),
    })
}

#[cfg(target_os = "linux")]
fn open_at_once(root: impl AsFd, path: &ItemPath) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};
    let text = if path.is_top() { ".".to_owned() } else { path.to_string() };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, text, FOLDER, Mode::empty(), resolve)
}

#[cfg(not(target_os = "linux"))]
fn open_at_once(_root: impl AsFd, _path: &ItemPath) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

fn step_by_step(root: impl AsFd, path: &ItemPath) -> Result<OwnedFd, Errno> {
    let flags = FOLDER | OFlags::NOFOLLOW;
    let mut folder = openat(root, ".", flags, Mode::empty())?;
    for name in path.names() {
        folder = openat(&folder, name.as_str(), flags, Mode::empty())?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn folders_open_by_name_and_never_through_a_link() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("root/a/b")).unwrap();
        fs::create_dir(temp.path().join("outside")).unwrap();
        fs::write(temp.path().join("root/file"), "x").unwrap();
        symlink("../outside", temp.path().join("root/out")).unwrap();
        symlink("a", temp.path().join("root/in")).unwrap();
        let root = open_root(&temp.path().join("root")).unwrap();
        for (path, opens) in [
            ("", true),
            ("a", true),
            ("a/b", true),
            ("a/c", false),
            ("file", false),
            ("file/x", false),
            ("out", false),
            ("in", false),
            ("in/b", false),
        ] {
            let path = ItemPath::parse(path).unwrap();
            assert_eq!(open_folder(&root, &path).is_ok(), opens, "{path}");
            assert_eq!(step_by_step(&root, &path).is_ok(), opens, "{path} step by step");
            if !opens {
                assert_eq!(open_folder(&root, &path).unwrap_err(), OpenFolderError::Gone, "{path}");
            }
        }
    }

    #[test]
    fn a_path_longer_than_the_kernel_takes_opens_too() {
        let temp = tempfile::tempdir().unwrap();
        let root = open_root(temp.path()).unwrap();
        let name = "n".repeat(200);
        let mut folder = openat(&root, ".", FOLDER, Mode::empty()).unwrap();
        let mut path = ItemPath::top();
        for _ in 0..25 {
            rustix::fs::mkdirat(&folder, name.as_str(), Mode::RWXU).unwrap();
            folder = openat(&folder, name.as_str(), FOLDER, Mode::empty()).unwrap();
            path = path.join(&name.parse().unwrap());
        }
        assert!(open_folder(&root, &path).is_ok());
    }

    #[test]
    fn a_root_is_recognised_by_what_it_is_not_by_its_path() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("root");
        fs::create_dir(&path).unwrap();
        let root = Root { path: path.clone(), identity: RootIdentity::of(&path).unwrap() };
        assert!(root.open().is_ok());

        fs::rename(&path, temp.path().join("moved")).unwrap();
        assert!(root.open().unwrap_err().contains("is missing"));
        fs::create_dir(&path).unwrap();
        assert!(root.open().unwrap_err().contains("not the folder that was joined"));
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        assert!(root.open().unwrap_err().contains("is missing"));
        fs::remove_file(&path).unwrap();
        fs::rename(temp.path().join("moved"), &path).unwrap();
        assert!(root.open().is_ok());
    }

    #[test]
    fn a_new_device_number_alone_is_not_another_root_where_birth_times_are_known() {
        let here = RootIdentity { device: 1, inode: 2, born_ns: 3 };
        assert!(here.is_same(RootIdentity { device: 9, ..here }));
        assert!(!here.is_same(RootIdentity { born_ns: 4, ..here }));
        let unknown = RootIdentity { born_ns: 0, ..here };
        assert!(!unknown.is_same(RootIdentity { device: 9, ..unknown }));
    }
}

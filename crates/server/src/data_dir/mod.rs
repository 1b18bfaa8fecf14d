//! The data directory: where everything is, which version wrote it, and which server owns it now.
//!
//! Administration commands open it beside a running server; only servers lock it. Nothing is ever written to a directory that
//! holds other things.

pub mod certificate;
pub mod server_file;

use rustix::fs::{FlockOperation, flock};
use stacksync_chunks::crash_point;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The format that this version writes. Another number means that an older version must not touch the directory.
const FORMAT: u32 = 1;
const FORMAT_WORD: &str = "stacksync-server data, format ";

/// A data directory of this version.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// There is none, and none was to be made.
    #[error("'{}' holds no StackSync data; start the server once, add a user, or choose the directory with --data DIR", .0.display())]
    Missing(PathBuf),
    /// It holds something else.
    #[error("'{}' is not empty and not a data directory of StackSync; choose another with --data DIR", .0.display())]
    Foreign(PathBuf),
    /// A newer version wrote it.
    #[error("'{}' was written by a newer StackSync (format {found}, this version knows {FORMAT}); update stacksync-server", .path.display())]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Another server uses it.
    #[error("another stacksync-server{} uses '{}'; stop it or choose another directory with --data DIR", .pid.map_or_else(String::new, |pid| format!(" (process {pid})")), .path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other server, if it says.
        pid: Option<u32>,
    },
    /// The system refuses.
    #[error("cannot {what} '{}': {source}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Adds what was tried, and on what, to an error of the system.
pub(crate) fn on<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DataDirError + 'a {
    move |source| DataDirError::Io { what, path: path.to_owned(), source }
}

/// While it lives, no other server uses the directory. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl DataDir {
    /// Opens the directory, or makes it.
    ///
    /// # Errors
    /// [`DataDirError::Foreign`], [`DataDirError::Newer`], [`DataDirError::Io`].
    pub fn open_or_create(path: &Path) -> Result<Self, DataDirError> {
        match Self::open(path) {
            Err(DataDirError::Missing(_)) => Self::create(path),
            opened => opened,
        }
    }

    /// Opens a directory that exists.
    ///
    /// # Errors
    /// As [`DataDir::open_or_create`], and [`DataDirError::Missing`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let format = path.join("format");
        match fs::read_to_string(&format) {
            Ok(text) => match text.strip_prefix(FORMAT_WORD).and_then(|number| number.trim().parse().ok()) {
                Some(FORMAT) => Ok(Self { path: path.to_owned() }),
                Some(found) if found > FORMAT => Err(DataDirError::Newer { path: path.to_owned(), found }),
                _ => Err(DataDirError::Foreign(path.to_owned())),
            },
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => Err(DataDirError::Missing(path.to_owned())),
            Err(error) => Err(on("read", &format)(error)),
        }
    }

    /// A directory that is taken on trust, for a service that keeps nothing in files. Nothing is looked at.
    pub const fn unopened(path: PathBuf) -> Self {
        Self { path }
    }

    fn create(path: &Path) -> Result<Self, DataDirError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(on("create the data directory", path))?;
        for entry in fs::read_dir(path).map_err(on("read the directory", path))? {
            let name = entry.map_err(on("read the directory", path))?.file_name();
            let ours = name.to_str().is_some_and(|name| name.starts_with("format") || name == "lost+found");
            if !ours {
                return Err(DataDirError::Foreign(path.to_owned()));
            }
        }
        write_private(&path.join("format"), format!("{FORMAT_WORD}{FORMAT}\n").as_bytes())?;
        Ok(Self { path: path.to_owned() })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The metadata.
    pub fn database(&self) -> PathBuf {
        self.path.join("stacksync.db")
    }

    /// The chunks.
    pub fn chunks(&self) -> PathBuf {
        self.path.join("chunks")
    }

    /// The key that signs chunk tickets.
    pub fn ticket_key(&self) -> PathBuf {
        self.path.join("ticket.key")
    }

    fn lock_file(&self) -> Result<File, DataDirError> {
        let path = self.path.join("server.lock");
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(on("open", &path))
    }

    /// Makes this process the directory's server.
    ///
    /// # Errors
    /// [`DataDirError::Locked`] while another server is.
    pub fn lock(&self) -> Result<Lock, DataDirError> {
        let file = self.lock_file()?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = server_file::ServerFile::read(self).map(|server| server.pid);
                Err(DataDirError::Locked { path: self.path.clone(), pid })
            }
            Err(error) => Err(on("lock", &self.path)(error.into())),
        }
    }

    /// Whether a server uses the directory now.
    pub fn in_use(&self) -> bool {
        let locked = |file: File| flock(&file, FlockOperation::NonBlockingLockShared).is_err();
        self.lock_file().is_ok_and(locked)
    }
}

/// Writes a file that only its owner may read: all of it or nothing, durable when this returns.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), DataDirError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        crash_point!("server-file.before-sync");
        file.sync_all()?;
        crash_point!("server-file.before-rename");
        fs::rename(&temporary, path)?;
        crash_point!("server-file.after-rename");
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    });
    written.map_err(on("write", path))?;
    crash_point!("server-file.after-sync");
    Ok(())
}

/// Removes what [`write_private`] left in this folder when its process was killed.
pub(crate) fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().and_then(writer_of).is_some_and(is_gone) {
            // If this fails it is only a file too many.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The process that wrote a temporary file of this name.
fn writer_of(name: &str) -> Option<i32> {
    name.strip_suffix(".tmp")?.rsplit_once('.')?.1.parse().ok()
}

fn is_gone(process: i32) -> bool {
    let found = rustix::process::Pid::from_raw(process).map(rustix::process::test_kill_process);
    found == Some(Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_once_and_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        assert!(matches!(DataDir::open(&path), Err(DataDirError::Missing(_))));
        DataDir::open_or_create(&path).unwrap();
        DataDir::open_or_create(&path).unwrap();
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn other_people_s_directories_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "").unwrap();
        assert!(matches!(DataDir::open_or_create(folder.path()), Err(DataDirError::Foreign(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_process_was_writing_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        // Above every process id that Linux gives.
        for name in ["server.json.4194999.tmp", "notes.tmp", "4194999.tmp", "server.json"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::write(folder.path().join(format!("format.{}.tmp", std::process::id())), "").unwrap();
        remove_leftovers(folder.path());
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["4194999.tmp", &format!("format.{}.tmp", std::process::id()), "notes.tmp", "server.json"]);
    }

    #[test]
    fn a_newer_directory_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("format"), "stacksync-server data, format 2\n").unwrap();
        let error = DataDir::open_or_create(folder.path()).unwrap_err();
        assert!(matches!(error, DataDirError::Newer { found: 2, .. }));
        assert!(error.to_string().contains("update stacksync-server"));
    }

    #[test]
    fn one_server_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open_or_create(folder.path()).unwrap();
        assert!(!data.in_use());
        let lock = data.lock().unwrap();
        assert!(data.in_use());
        assert!(matches!(data.lock(), Err(DataDirError::Locked { .. })));
        drop(lock);
        data.lock().unwrap();
    }
}

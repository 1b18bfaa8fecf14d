//! One process per home: an exclusive lock on a file, which the operating system gives back whatever happens to the process.

use super::{HomeError, failed};
use rustix::fs::FlockOperation;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

/// How long a look by another process ([`HomeLock::holder`]) may stand in the way.
const LOOK_MS_MAX: u64 = 200;

/// Holds the home until dropped.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

impl HomeLock {
    pub(super) fn take(home: &Path, path: &Path) -> Result<Self, HomeError> {
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(failed("open", path))?;
        let mut waited_ms = 0;
        while !lock(&file, path, FlockOperation::NonBlockingLockExclusive)? {
            if waited_ms >= LOOK_MS_MAX {
                return Err(HomeError::Locked { home: home.to_owned(), pid: pid(&mut file) });
            }
            std::thread::sleep(Duration::from_millis(20));
            waited_ms += 20;
        }
        let note = |file: &mut File| -> std::io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        note(&mut file).map_err(failed("write", path))?;
        Ok(Self { _file: file })
    }

    /// The process that holds the home, `?` if it did not say which it is.
    pub(super) fn holder(path: &Path) -> Option<String> {
        let mut file = File::open(path).ok()?;
        match lock(&file, path, FlockOperation::NonBlockingLockShared) {
            Ok(false) => Some(pid(&mut file)),
            Ok(true) | Err(_) => None,
        }
    }
}

/// Whether the lock was free.
fn lock(file: &File, path: &Path, operation: FlockOperation) -> Result<bool, HomeError> {
    match rustix::fs::flock(file, operation) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(failed("lock", path)(error.into())),
    }
}

fn pid(file: &mut File) -> String {
    let mut pid = String::new();
    let _ = file.read_to_string(&mut pid);
    if pid.trim().is_empty() { "?".to_owned() } else { pid.trim().to_owned() }
}

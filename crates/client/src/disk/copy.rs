//! Copies and removes trees by handle, for the trash on another file system than the workspace.
//!
//! Never follows a link, never replaces.

use super::look::{Look, look, timestamps};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fchmod, fsync, futimens, mkdirat, openat, symlinkat, unlinkat};
use rustix::io::Errno;
use stacksync_chunks::crash_point;
use stacksync_core::values::Kind;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

/// Deeper trees are not copied.
const DEPTH_MAX: usize = 256;

/// Why a copy was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{errno}")]
pub(super) struct CopyError {
    pub errno: Errno,
}

impl From<Errno> for CopyError {
    fn from(errno: Errno) -> Self {
        Self { errno }
    }
}

/// Copies a file, link or folder with all that is below, with modes and modification times, and makes it durable but for
/// the entry in `into` itself. On failure a part may be left.
pub(super) fn copy_tree(from: impl AsFd, name: &str, into: impl AsFd, new_name: &str) -> Result<(), CopyError> {
    let (name, new_name) = (c_name(name)?, c_name(new_name)?);
    copy_level(&from, &name, &into, &new_name, 0)
}

fn c_name(name: &str) -> Result<CString, CopyError> {
    CString::new(name).map_err(|_| CopyError { errno: Errno::INVAL })
}

fn copy_level(from: &impl AsFd, name: &CStr, into: &impl AsFd, new_name: &CStr, depth: usize) -> Result<(), CopyError> {
    if depth > DEPTH_MAX {
        return Err(Errno::NAMETOOLONG.into());
    }
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => copy_file(from, name, into, new_name),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            Ok(symlinkat(target, into, new_name)?)
        }
        FileType::Directory => {
            mkdirat(into, new_name, Mode::RWXU)?;
            let source = open_below(from, name)?;
            let copy = open_below(into, new_name)?;
            for entry in entries(&source)? {
                copy_level(&source, &entry, &copy, &entry, depth + 1)?;
            }
            Ok(fsync(&copy)?)
        }
        // Pipes, sockets and devices hold nothing that could be lost.
        _ => Ok(()),
    }
}

fn copy_file(from: &impl AsFd, name: &CStr, into: &impl AsFd, new_name: &CStr) -> Result<(), CopyError> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut source = File::from(openat(from, name, flags | OFlags::RDONLY, Mode::empty())?);
    let create = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let mut copy = File::from(openat(into, new_name, create, Mode::RUSR | Mode::WUSR)?);
    std::io::copy(&mut source, &mut copy).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    if let Look::Here(seen) = super::look::look_at_open(&source)? {
        fchmod(&copy, Mode::from_raw_mode(seen.mode & 0o777))?;
        futimens(&copy, &timestamps(seen.stat.modified))?;
    }
    crash_point!("copy.before-sync");
    fsync(&copy)?;
    crash_point!("copy.after-sync");
    Ok(())
}

/// Removes a file, link or folder with all that is below.
pub(super) fn remove_tree(folder: impl AsFd, name: &str) -> Result<(), Errno> {
    match look(&folder, name)? {
        Look::Absent => Ok(()),
        Look::Here(seen) if seen.stat.kind == Kind::Folder => {
            let name = CString::new(name).map_err(|_| Errno::INVAL)?;
            remove_level(&folder, &name, 0)
        }
        Look::Here(_) | Look::Odd(_) => unlinkat(folder, name, AtFlags::empty()),
    }
}

fn remove_level(folder: &impl AsFd, name: &CStr, depth: usize) -> Result<(), Errno> {
    if depth > DEPTH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    let inner = open_below(folder, name)?;
    for entry in entries(&inner)? {
        match unlinkat(&inner, &entry, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => remove_level(&inner, &entry, depth + 1)?,
            Err(errno) => return Err(errno),
        }
    }
    unlinkat(folder, name, AtFlags::REMOVEDIR)
}

fn open_below(folder: &impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(folder, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn entries(folder: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

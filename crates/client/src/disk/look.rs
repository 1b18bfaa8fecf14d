//! One look at a file, folder or link without opening it. The place where the operating system's answer becomes a
//! [`Stat`]; nothing else in the client reads modes, times or inode numbers.
//!
//! Never follows a link.

use super::RootIdentity;
use rustix::fs::{
    AtFlags, FileType, Statx, StatxFlags, StatxTimestamp, Timespec, Timestamps, UTIME_OMIT, makedev, readlinkat, statx,
};
use rustix::io::Errno;
use stacksync_core::engine::{FileId, Stat};
use stacksync_core::values::{Kind, LINK_TARGET_BYTES_MAX, ModifiedAt};
use std::os::fd::AsFd;
use std::sync::Arc;

/// Looks at a link again when it was replaced between two system calls, at most this often.
const LINK_LOOKS_MAX: usize = 4;

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing has this name.
    Absent,
    /// Something that can be synced.
    Here(Seen),
    /// Something that cannot be synced, and why.
    Odd(&'static str),
}

/// A stat together with what only the disk itself cares about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// What the engine is told.
    pub stat: Stat,
    /// Permission bits, without the file type.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// How many names this inode has.
    pub links: u32,
}

/// What a rename must not cross: a file system mounted at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    device: u64,
    id: u64,
}

/// Looks at `name` in a folder.
pub(super) fn look(folder: impl AsFd, name: &str) -> Result<Look, Errno> {
    for _ in 0..LINK_LOOKS_MAX {
        let found = match raw(&folder, name) {
            Err(Errno::NOENT) => return Ok(Look::Absent),
            other => other?,
        };
        match seen(&found, || readlinkat(&folder, name, Vec::new()).map(std::ffi::CString::into_bytes)) {
            // It was a link a moment ago and is not now.
            Err(Errno::INVAL | Errno::NOENT) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Looks at what an open file or folder is.
pub(super) fn look_at_open(file: impl AsFd) -> Result<Look, Errno> {
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?;
    seen(&found, || Err(Errno::LOOP))
}

/// On which mount an open folder is.
pub(super) fn mount_of(folder: impl AsFd) -> Result<Mount, Errno> {
    whereabouts_of(folder).map(|(mount, _)| mount)
}

/// On which mount an open folder is, and which one it is there.
pub(super) fn whereabouts_of(folder: impl AsFd) -> Result<(Mount, FileId), Errno> {
    // STATX_MNT_ID: kernels before 5.8 leave the field zero, and then the device alone decides.
    let asked = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    let found = statx(folder, "", AtFlags::EMPTY_PATH, asked)?;
    Ok((Mount { device: makedev(found.stx_dev_major, found.stx_dev_minor), id: found.stx_mnt_id }, file_id(&found)))
}

/// Which folder an open folder is.
pub(super) fn identity_of(folder: impl AsFd) -> Result<RootIdentity, Errno> {
    let found = statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?;
    let FileId { inode, born_ns } = file_id(&found);
    Ok(RootIdentity { device: makedev(found.stx_dev_major, found.stx_dev_minor), inode, born_ns })
}

fn raw(folder: impl AsFd, name: &str) -> Result<Statx, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    statx(folder, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)
}

fn seen(found: &Statx, target: impl FnOnce() -> Result<Vec<u8>, Errno>) -> Result<Look, Errno> {
    let mode = u32::from(found.stx_mode) & 0o7777;
    let mut stat = Stat {
        kind: Kind::File,
        file: file_id(found),
        size: 0,
        modified: ModifiedAt(nanoseconds(&found.stx_mtime)),
        changed_ns: nanoseconds(&found.stx_ctime),
        executable: false,
        target: None,
    };
    match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::RegularFile => {
            stat.size = found.stx_size;
            stat.executable = mode & 0o100 != 0;
        }
        FileType::Directory => stat.kind = Kind::Folder,
        FileType::Symlink => {
            stat.kind = Kind::Link;
            match link_target(target()?) {
                Ok(text) => stat.target = Some(text),
                Err(reason) => return Ok(Look::Odd(reason)),
            }
        }
        FileType::Fifo => return Ok(Look::Odd("a pipe cannot be synced")),
        FileType::Socket => return Ok(Look::Odd("a socket cannot be synced")),
        FileType::CharacterDevice | FileType::BlockDevice => return Ok(Look::Odd("a device cannot be synced")),
        FileType::Unknown => return Ok(Look::Odd("neither file, folder nor link")),
    }
    Ok(Look::Here(Seen { stat, mode, owner: (found.stx_uid, found.stx_gid), links: found.stx_nlink }))
}

fn link_target(bytes: Vec<u8>) -> Result<Arc<str>, &'static str> {
    if bytes.len() > LINK_TARGET_BYTES_MAX {
        return Err("the link's target is too long");
    }
    String::from_utf8(bytes).map(Into::into).map_err(|_| "the link's target is not UTF-8")
}

fn file_id(found: &Statx) -> FileId {
    let told = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    FileId { inode: found.stx_ino, born_ns: if told { nanoseconds(&found.stx_btime) } else { 0 } }
}

fn nanoseconds(time: &StatxTimestamp) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec.into())
}

/// The times to set on a file that shall have this modification time; its access time stays.
pub(super) fn timestamps(modified: ModifiedAt) -> Timestamps {
    let (seconds, nanos) = (modified.0.div_euclid(1_000_000_000), modified.0.rem_euclid(1_000_000_000));
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos },
    }
}

/// The mode of a file that shall (not) be executable: who may read it may execute it; its other bits stay.
/// Set-user-id and the like never pass to new content.
pub(super) fn mode_with(mode: u32, executable: bool) -> u32 {
    let plain = mode & 0o777;
    match (executable, plain & 0o100 != 0) {
        (true, false) => plain | ((plain & 0o444) >> 2) | 0o100,
        (false, true) => plain & !0o111,
        (true, true) | (false, false) => plain,
    }
}

/// Whether what is there now is what the plan saw. Of a folder only the identity counts: its times change with its content.
pub(super) fn as_expected(now: &Stat, expect: &Stat) -> bool {
    match expect.kind {
        Kind::Folder => now.kind == Kind::Folder && now.file == expect.file,
        Kind::File | Kind::Link => now.same_content(expect) && now.executable == expect.executable,
    }
}

/// What an action reports: the latest look, unless the file was edited since the content was known. Then the known
/// size and time are reported, so that the next scan sees the edit instead of taking it for what was synced.
pub(super) fn sealed(now: Stat, known: &Stat) -> Stat {
    if now.kind == Kind::Folder || now.same_content(known) {
        return now;
    }
    Stat { changed_ns: known.changed_ns, ..known.clone() }
}

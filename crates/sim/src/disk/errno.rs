//! What the simulated operating system answers when it refuses; and what that means for an action of the engine.

use stacksync_core::engine::ApplyError;
use stacksync_core::values::ItemPath;

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Errno {
    /// There is no such name.
    #[error("no such file or directory")]
    NoEnt,
    /// A name on the way is no folder.
    #[error("not a directory")]
    NotDir,
    /// It is a folder.
    #[error("is a directory")]
    IsDir,
    /// The name is taken.
    #[error("file exists")]
    Exist,
    /// The folder is not empty.
    #[error("directory not empty")]
    NotEmpty,
    /// The disk is full.
    #[error("no space left on device")]
    NoSpace,
    /// The medium fails.
    #[error("input/output error")]
    Io,
    /// We may not.
    #[error("permission denied")]
    Access,
    /// Makes no sense, or this file system cannot hold it.
    #[error("invalid argument")]
    Inval,
    /// The name is too long for this file system.
    #[error("file name too long")]
    NameTooLong,
    /// This file system does not do that.
    #[error("operation not permitted")]
    Perm,
    /// The two are on different file systems.
    #[error("invalid cross-device link")]
    XDev,
    /// A link where none may be.
    #[error("too many levels of symbolic links")]
    Loop,
}

/// What an error of the operating system means for an action at `path`.
pub(super) fn refused(verb: &str, path: &ItemPath, errno: Errno) -> ApplyError {
    match errno {
        Errno::NoSpace => ApplyError::NoSpace,
        Errno::NoEnt | Errno::NotDir | Errno::Exist | Errno::Loop | Errno::IsDir => ApplyError::Changed,
        Errno::NotEmpty | Errno::Io | Errno::Access | Errno::Inval | Errno::NameTooLong | Errno::Perm | Errno::XDev => {
            ApplyError::Failed(format!("cannot {verb} {path}: {errno}"))
        }
    }
}

/// The same for a move.
pub(super) fn refused_move(from: &ItemPath, to: &ItemPath, errno: Errno) -> ApplyError {
    match errno {
        Errno::XDev => ApplyError::Failed(format!("cannot move {from} to {to}: they are on different file systems")),
        Errno::Inval => ApplyError::Failed(format!("cannot move {from} to {to}: the disk does not take that")),
        other => refused(&format!("move {from} to"), to, other),
    }
}

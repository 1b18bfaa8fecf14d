//! The folder itself: its layout, and the blocking operations on it. Writing is in [`super::durable`].

use super::super::{Health, StoreError, Stored, Usage};
use super::temporaries::Temporaries;
use crate::crash_point;
use crate::pack::{self, PACKED_BYTES_MAX};
use bytes::Bytes;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const TEMPORARY: &str = "tmp";
const DAMAGED: &str = "damaged";

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) root: PathBuf,
    temporaries: Temporaries,
    /// Chunks that have, or are about to get, their names, but may not survive a power cut yet; how many groups write each.
    pub(super) settling: Mutex<HashMap<(WorkspaceId, ChunkName), u32>>,
    /// Folders `CONTAINER/aa` that are known to survive a power cut.
    pub(super) durable_folders: Mutex<HashSet<(WorkspaceId, u8)>>,
}

impl Inner {
    pub(super) fn open(root: &Path) -> Result<Self, StoreError> {
        let temporaries = Temporaries::open(&root.join(TEMPORARY))?;
        let folder = File::open(root).map_err(failed("open", root))?;
        crash_point!("chunks-open.before-sync");
        rustix::fs::syncfs(&folder).map_err(|error| failed("sync", root)(error.into()))?;
        crash_point!("chunks-open.after-sync");
        Ok(Self { root: root.to_owned(), temporaries, settling: Mutex::default(), durable_folders: Mutex::default() })
    }

    pub(super) fn container(&self, container: WorkspaceId) -> PathBuf {
        self.root.join(container.to_string())
    }

    pub(super) fn fan(&self, container: WorkspaceId, first: u8) -> PathBuf {
        self.container(container).join(format!("{first:02x}"))
    }

    pub(super) fn path(&self, container: WorkspaceId, name: &ChunkName) -> PathBuf {
        self.fan(container, first_byte(name)).join(name.to_string())
    }

    /// A path that nobody else uses.
    pub(super) fn temporary(&self) -> PathBuf {
        self.temporaries.next()
    }

    /// Somebody removed what this process believed to be there: believe nothing of it any more.
    pub(super) fn forget_folders(&self, container: WorkspaceId) {
        lock(&self.durable_folders).retain(|(of, _)| *of != container);
    }

    /// Looks at the disk first: a chunk gets its name only while it is counted as settling, so this order misses none.
    pub(super) fn is_durable(&self, container: WorkspaceId, name: &ChunkName) -> bool {
        let there = fs::symlink_metadata(self.path(container, name)).is_ok_and(|found| found.is_file());
        there && self.has_settled(container, name)
    }

    /// The same without ever waiting for the disk; `None` if only the disk knows, or the kernel cannot be asked that way.
    pub(super) fn is_durable_at_hand(&self, container: WorkspaceId, name: &ChunkName) -> Option<bool> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat2(CWD, self.path(container, name), flags, Mode::empty(), ResolveFlags::CACHED) {
            Ok(found) => {
                let is_file = FileType::from_raw_mode(fstat(found).ok()?.st_mode).is_file();
                Some(is_file && self.has_settled(container, name))
            }
            Err(Errno::NOENT) => Some(false),
            Err(_) => None,
        }
    }

    fn has_settled(&self, container: WorkspaceId, name: &ChunkName) -> bool {
        !lock(&self.settling).contains_key(&(container, *name))
    }

    pub(super) fn get(&self, container: WorkspaceId, name: &ChunkName) -> Result<Option<Bytes>, StoreError> {
        let path = self.path(container, name);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed("open", &path))?,
        };
        let len = file.metadata().map_err(failed("read", &path))?.len();
        // A longer file is damaged; one byte too many is enough for whoever unpacks it to see that.
        let len = len.min(PACKED_BYTES_MAX as u64 + 1);
        let mut packed = Vec::with_capacity(len as usize);
        (&mut file).take(len).read_to_end(&mut packed).map_err(failed("read", &path))?;
        Ok(Some(packed.into()))
    }

    pub(super) fn check(&self, container: WorkspaceId, name: &ChunkName) -> Result<Health, StoreError> {
        let Some(packed) = self.get(container, name)? else {
            return Ok(Health::Missing);
        };
        if pack::unpack(name, &packed).is_ok() {
            return Ok(Health::Good);
        }
        let damaged = self.root.join(DAMAGED);
        fs::create_dir_all(&damaged).map_err(failed("create", &damaged))?;
        let path = self.path(container, name);
        crash_point!("chunk-set-aside.before-rename");
        match fs::rename(&path, damaged.join(format!("{container}-{name}"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed.map_err(failed("set aside", &path))?,
        }
        crash_point!("chunk-set-aside.after-rename");
        Ok(Health::Damaged)
    }

    pub(super) fn remove(&self, container: WorkspaceId, name: &ChunkName) -> Result<(), StoreError> {
        let path = self.path(container, name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(failed("remove", &path)),
        }
    }

    /// In one step under another name, then at leisure: what a crash leaves of it is removed at open.
    pub(super) fn remove_container(&self, container: WorkspaceId) -> Result<(), StoreError> {
        let path = self.container(container);
        let doomed = self.temporary();
        crash_point!("chunks-remove.before-rename");
        let renamed = fs::rename(&path, &doomed);
        crash_point!("chunks-remove.after-rename");
        self.forget_folders(container);
        match renamed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(failed("remove", &path))?,
        }
        fs::remove_dir_all(&doomed).map_err(failed("remove", &doomed))
    }

    pub(super) fn list(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Result<Vec<Stored>, StoreError> {
        let mut listed = Vec::new();
        for first in after.as_ref().map_or(0, first_byte)..=u8::MAX {
            let mut names = self.names(container, first)?;
            names.retain(|name| after.is_none_or(|after| *name > after));
            names.sort_unstable();
            for name in names {
                if listed.len() == limit {
                    return Ok(listed);
                }
                listed.extend(self.look(container, name)?);
            }
        }
        Ok(listed)
    }

    pub(super) fn usage(&self, container: WorkspaceId) -> Result<Usage, StoreError> {
        let mut usage = Usage::default();
        for first in 0..=u8::MAX {
            for name in self.names(container, first)? {
                if let Some(stored) = self.look(container, name)? {
                    usage.chunks += 1;
                    usage.bytes += stored.bytes;
                }
            }
        }
        Ok(usage)
    }

    /// The chunks of one folder of a container, in any order.
    fn names(&self, container: WorkspaceId, first: u8) -> Result<Vec<ChunkName>, StoreError> {
        Ok(entries(&self.fan(container, first))?.iter().filter_map(|path| parsed(path)).collect())
    }

    fn look(&self, container: WorkspaceId, name: ChunkName) -> Result<Option<Stored>, StoreError> {
        let path = self.path(container, &name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => {
                let found = found.map_err(failed("look at", &path))?;
                let modified = found.modified().map_err(failed("look at", &path))?;
                Ok(Some(Stored { name, bytes: found.len(), modified }))
            }
        }
    }

    pub(super) fn containers(&self) -> Result<Vec<WorkspaceId>, StoreError> {
        Ok(entries(&self.root)?.iter().filter_map(|path| parsed(path)).collect())
    }
}

/// The two digits that fan a container out.
pub(super) const fn first_byte(name: &ChunkName) -> u8 {
    name.as_bytes()[0]
}

/// What a file name says, `None` for a file that is not ours.
fn parsed<T: std::str::FromStr>(path: &Path) -> Option<T> {
    path.file_name().and_then(OsStr::to_str)?.parse().ok()
}

/// Everything in a folder; nothing if there is no folder.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(failed("list", folder))?,
    };
    let entries: io::Result<Vec<PathBuf>> = listing.map(|entry| entry.map(|entry| entry.path())).collect();
    entries.map_err(failed("list", folder))
}

/// What is guarded here is whole between any two statements, so a panicked holder does no harm.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names the operation and the path, and tells a full disk from other failures.
pub(super) fn failed<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> StoreError + 'a {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path: path.to_owned() },
        _ => StoreError::Io { what, path: path.to_owned(), source },
    }
}

//! Makes a group of chunks durable with few waits: temporary files, their data, their names, the folders of their names.
//!
//! Writeback is started for all files first; then [`SYNC_THREADS`] threads ask for the data of one file each at a time, so that the
//! file system joins them in few journal commits. The same for the touched folders. `docs/decisions/chunk-durability.md` has the
//! measurements and why it is not `syncfs`. A crash at any point leaves a chunk whole under its name, or not under its name at all.

use super::super::StoreError;
use super::inner::{Inner, failed, first_byte, lock};
use crate::{crash_point, pack};
use bytes::Bytes;
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads that wait for the disk for one group.
const SYNC_THREADS: usize = 8;

impl Inner {
    /// Stores proven chunks, each name once. Durable when it returns.
    pub(super) fn put_group(&self, container: WorkspaceId, mut chunks: Vec<(ChunkName, Bytes)>) -> Result<(), StoreError> {
        chunks.retain(|(name, packed)| !self.holds(container, name, packed));
        if chunks.is_empty() {
            return Ok(());
        }
        let _settling = Settling::begin(self, container, &chunks);
        self.write_group(container, &chunks).inspect_err(|_| self.forget_folders(container))
    }

    fn write_group(&self, container: WorkspaceId, chunks: &[(ChunkName, Bytes)]) -> Result<(), StoreError> {
        let firsts: BTreeSet<u8> = chunks.iter().map(|(name, _)| first_byte(name)).collect();
        self.make_folders(container, &firsts)?;
        let mut files = Vec::with_capacity(chunks.len());
        for (name, packed) in chunks {
            files.push(Temporary::write(self.temporary(), self.path(container, name), packed)?);
        }
        in_parallel(&files, Temporary::sync)?;
        files.into_iter().try_for_each(Temporary::rename)?;
        let folders: Vec<PathBuf> = firsts.iter().map(|first| self.fan(container, *first)).collect();
        crash_point!("chunk-name.before-sync");
        in_parallel(&folders, |folder| sync_folder(folder))?;
        crash_point!("chunk-name.after-sync");
        Ok(())
    }

    /// Whether this chunk is there, durable and unharmed: then there is nothing to do.
    fn holds(&self, container: WorkspaceId, name: &ChunkName, packed: &Bytes) -> bool {
        if !self.is_durable(container, name) {
            return false;
        }
        // One that cannot be read is written again; if that fails too, that is the error to report.
        matches!(self.get(container, name), Ok(Some(old)) if old == packed || pack::unpack(name, &old).is_ok())
    }

    /// Folders that this process has not seen durable yet are made so, whoever made them: he may not have come to it.
    fn make_folders(&self, container: WorkspaceId, firsts: &BTreeSet<u8>) -> Result<(), StoreError> {
        let known = |first: &&u8| lock(&self.durable_folders).contains(&(container, **first));
        let unknown: Vec<u8> = firsts.iter().filter(|first| !known(first)).copied().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        for first in &unknown {
            let folder = self.fan(container, *first);
            fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        }
        crash_point!("chunk-folder.before-sync");
        sync_folder(&self.container(container))?;
        sync_folder(&self.root)?;
        crash_point!("chunk-folder.after-sync");
        lock(&self.durable_folders).extend(unknown.iter().map(|first| (container, *first)));
        Ok(())
    }
}

/// While it lives, its chunks do not count as durable, named or not.
struct Settling<'a> {
    inner: &'a Inner,
    keys: Vec<(WorkspaceId, ChunkName)>,
}

impl<'a> Settling<'a> {
    fn begin(inner: &'a Inner, container: WorkspaceId, chunks: &[(ChunkName, Bytes)]) -> Self {
        let keys: Vec<_> = chunks.iter().map(|(name, _)| (container, *name)).collect();
        let mut settling = lock(&inner.settling);
        for key in &keys {
            *settling.entry(*key).or_default() += 1;
        }
        Self { inner, keys }
    }
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        let mut settling = lock(&self.inner.settling);
        for key in &self.keys {
            match settling.get_mut(key) {
                Some(groups) if *groups > 1 => *groups -= 1,
                _ => drop(settling.remove(key)),
            }
        }
    }
}

/// A chunk on its way to its name. Removes its file unless it got there.
struct Temporary {
    file: File,
    path: PathBuf,
    target: PathBuf,
    renamed: bool,
}

impl Temporary {
    fn write(path: PathBuf, target: PathBuf, packed: &[u8]) -> Result<Self, StoreError> {
        let file = File::create_new(&path).map_err(failed("create", &path))?;
        let mut temporary = Self { file, path, target, renamed: false };
        temporary.file.write_all(packed).map_err(failed("write", &temporary.path))?;
        // Starts the writing without waiting for it. Only a hint, so its failure means nothing.
        let _ = rustix::fs::fadvise(&temporary.file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(temporary)
    }

    fn sync(&self) -> Result<(), StoreError> {
        crash_point!("chunk-data.before-sync");
        self.file.sync_data().map_err(failed("sync", &self.path))?;
        crash_point!("chunk-data.after-sync");
        Ok(())
    }

    fn rename(mut self) -> Result<(), StoreError> {
        crash_point!("chunk.before-rename");
        fs::rename(&self.path, &self.target).map_err(failed("create", &self.target))?;
        crash_point!("chunk.after-rename");
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // If this fails too, it is removed at the next open.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|opened| opened.sync_all()).map_err(failed("sync", folder))
}

/// Does the work for each, on a few threads. Answers the first failure, after all have ended.
fn in_parallel<T: Sync>(all: &[T], work: impl Fn(&T) -> Result<(), StoreError> + Sync) -> Result<(), StoreError> {
    if let [one] = all {
        return work(one);
    }
    let next = AtomicUsize::new(0);
    let take = || {
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(one)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..SYNC_THREADS.min(all.len())).map(|_| scope.spawn(take)).collect();
        let died = |_| Err(failed("sync", Path::new("chunks"))(io::Error::other("a thread died")));
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(died)).fold(Ok(()), Result::and)
    })
}

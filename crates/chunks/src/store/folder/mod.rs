//! Chunks as files in a folder: `CONTAINER/aa/NAME`, where `aa` are the first two digits of the name.
//!
//! Beside the containers there are `tmp` (chunks that are being written; what nobody is writing any more is removed at open) and
//! `damaged` (chunks that failed a check, kept for whoever wants to look). Several processes may have the folder open; each has its
//! own temporaries.
//!
//! All work that may wait for the disk runs on the runtime's blocking threads, within the limits named here.

mod durable;
mod inner;
mod temporaries;

use super::{Answer, ChunkStore, Health, StoreError, Stored, Usage, verify};
use bytes::Bytes;
use inner::Inner;
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Jobs that read, list or remove at once.
const READ_JOBS_MAX: usize = 16;
/// Chunks that are looked for right where it was asked, if no look has to wait for the disk.
const PRESENT_AT_ONCE_MAX: usize = 32;
/// Chunks that are made durable together; a longer batch is several groups, one after the other.
const GROUP_FILES_MAX: usize = 256;
/// Files that all writing jobs may have open at once: well below the usual limit of 1,024 for a process.
const WRITE_FILES_MAX: usize = 512;
/// A writing job counts as at least so many files, which also limits their threads.
const WRITE_JOB_FILES_MIN: usize = 32;
/// Proofs of whole batches at once: they use processors, not the disk.
const VERIFY_JOBS_MAX: usize = 4;

/// A storage in a folder of the local file system.
#[derive(Clone, Debug)]
pub struct FolderStore {
    inner: Arc<Inner>,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    proofs: Arc<Semaphore>,
}

impl FolderStore {
    /// Opens the folder, or makes it. Removes what a crash left half-written. Blocks.
    ///
    /// Waits until everything that is in the folder's file system is durable: a chunk that was stored but not acknowledged before a
    /// crash counts as present from now on.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            inner: Arc::new(Inner::open(root)?),
            reads: Arc::new(Semaphore::new(READ_JOBS_MAX)),
            writes: Arc::new(Semaphore::new(WRITE_FILES_MAX)),
            proofs: Arc::new(Semaphore::new(VERIFY_JOBS_MAX)),
        })
    }

    fn read<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static) -> Answer<'_, T> {
        Box::pin(async move {
            let permit = take(&self.reads, 1).await?;
            self.run(permit, work).await
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = self.inner.clone();
        // The permit goes with the work: it is in use until the work is done, even if nobody waits for it any more.
        let job = move || {
            let result = work(&inner);
            drop(permit);
            result
        };
        tokio::task::spawn_blocking(job).await.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }

    async fn prove_and_put(&self, container: WorkspaceId, chunks: Vec<(ChunkName, Bytes)>) -> Result<(), StoreError> {
        let permit = take(&self.proofs, 1).await?;
        let mut rest = self.run(permit, move |_| prove(chunks)).await?;
        while !rest.is_empty() {
            let group = rest.split_off(rest.len().saturating_sub(GROUP_FILES_MAX));
            let permit = take(&self.writes, group.len().max(WRITE_JOB_FILES_MIN)).await?;
            self.run(permit, move |inner| inner.put_group(container, group)).await?;
        }
        Ok(())
    }
}

async fn take(from: &Arc<Semaphore>, permits: usize) -> Result<OwnedSemaphorePermit, StoreError> {
    // At most GROUP_FILES_MAX, so it fits.
    let permits = from.clone().acquire_many_owned(permits as u32).await;
    permits.map_err(|closed| StoreError::Unavailable(closed.to_string()))
}

/// All of the batch is proven before any of it is written. What was given twice is returned once.
fn prove(mut chunks: Vec<(ChunkName, Bytes)>) -> Result<Vec<(ChunkName, Bytes)>, StoreError> {
    for (name, packed) in &chunks {
        verify(name, packed)?;
    }
    chunks.sort_by_key(|(name, _)| *name);
    chunks.dedup_by_key(|(name, _)| *name);
    Ok(chunks)
}

impl ChunkStore for FolderStore {
    fn present(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<bool>> {
        // Every commit asks: what the kernel has in memory needs no thread that may wait for the disk.
        let few = (names.len() <= PRESENT_AT_ONCE_MAX).then_some(&names);
        let known = few.and_then(|names| names.iter().map(|name| self.inner.is_durable_at_hand(container, name)).collect());
        match known {
            Some(known) => Box::pin(std::future::ready(Ok(known))),
            None => self.read(move |inner| Ok(names.iter().map(|name| inner.is_durable(container, name)).collect())),
        }
    }

    fn put_batch(&self, container: WorkspaceId, chunks: Vec<(ChunkName, Bytes)>) -> Answer<'_, ()> {
        Box::pin(self.prove_and_put(container, chunks))
    }

    fn get(&self, container: WorkspaceId, name: ChunkName) -> Answer<'_, Option<Bytes>> {
        self.read(move |inner| inner.get(container, &name))
    }

    fn get_batch(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<Option<Bytes>>> {
        self.read(move |inner| names.iter().map(|name| inner.get(container, name)).collect())
    }

    fn check(&self, container: WorkspaceId, name: ChunkName) -> Answer<'_, Health> {
        self.read(move |inner| inner.check(container, &name))
    }

    fn remove(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, ()> {
        self.read(move |inner| names.iter().try_for_each(|name| inner.remove(container, name)))
    }

    fn remove_container(&self, container: WorkspaceId) -> Answer<'_, ()> {
        self.read(move |inner| inner.remove_container(container))
    }

    fn list(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Answer<'_, Vec<Stored>> {
        self.read(move |inner| inner.list(container, after, limit))
    }

    fn containers(&self) -> Answer<'_, Vec<WorkspaceId>> {
        self.read(Inner::containers)
    }

    fn usage(&self, container: WorkspaceId) -> Answer<'_, Usage> {
        self.read(move |inner| inner.usage(container))
    }
}

#[cfg(test)]
mod tests;

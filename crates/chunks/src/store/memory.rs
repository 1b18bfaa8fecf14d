//! A storage in memory, for tests: it can be told to fail, and counts what it is asked.

use super::{Answer, ChunkStore, Health, StoreError, Stored, Usage, verify};
use crate::pack;
use bytes::Bytes;
use stacksync_core::planted;
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// How a [`MemoryStore`] misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    #[default]
    None,
    /// Puts find no room.
    Full,
    /// Nothing is answered.
    Unavailable,
}

/// Chunks in memory. Not durable, of course.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    containers: BTreeMap<WorkspaceId, BTreeMap<ChunkName, Bytes>>,
    fault: Fault,
    counts: Counts,
}

/// What a [`MemoryStore`] was asked so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of any kind.
    pub calls: u64,
    /// Chunks that were stored and not there before.
    pub chunks_put: u64,
    /// Chunks that were read.
    pub chunks_got: u64,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Misbehaves like this from now on.
    pub fn set_fault(&self, fault: Fault) {
        self.lock().fault = fault;
    }

    /// What it was asked so far.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Puts bytes under a name without looking at them: a chunk that was damaged at rest.
    pub fn plant(&self, container: WorkspaceId, name: ChunkName, packed: Bytes) {
        self.lock().containers.entry(container).or_default().insert(name, packed);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is one map operation: what a panicking holder leaves is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<T: Send + 'static>(&self, work: impl FnOnce(&mut Inner) -> Result<T, StoreError>) -> Answer<'_, T> {
        let mut inner = self.lock();
        inner.counts.calls += 1;
        let result = match inner.fault {
            Fault::Unavailable => Err(StoreError::Unavailable("told to fail".to_owned())),
            Fault::None | Fault::Full => work(&mut inner),
        };
        Box::pin(std::future::ready(result))
    }
}

impl Inner {
    fn chunk(&self, container: WorkspaceId, name: &ChunkName) -> Option<&Bytes> {
        self.containers.get(&container)?.get(name)
    }

    fn put(&mut self, container: WorkspaceId, chunks: Vec<(ChunkName, Bytes)>) -> Result<(), StoreError> {
        for (name, packed) in &chunks {
            verify(name, packed)?;
        }
        if self.fault == Fault::Full {
            return Err(StoreError::Full { path: PathBuf::from("memory") });
        }
        let stored = self.containers.entry(container).or_default();
        for (name, packed) in chunks {
            if stored.get(&name).is_none_or(|old| pack::unpack(&name, old).is_err() && !planted!(DamagedIsPresent)) {
                stored.insert(name, packed);
                self.counts.chunks_put += 1;
            }
        }
        Ok(())
    }

    fn check(&mut self, container: WorkspaceId, name: &ChunkName) -> Health {
        match self.chunk(container, name).map(|packed| pack::unpack(name, packed)) {
            None => Health::Missing,
            Some(Ok(_)) => Health::Good,
            Some(Err(_)) => {
                self.containers.entry(container).or_default().remove(name);
                Health::Damaged
            }
        }
    }
}

impl ChunkStore for MemoryStore {
    fn present(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<bool>> {
        self.answer(|inner| Ok(names.iter().map(|name| inner.chunk(container, name).is_some()).collect()))
    }

    fn put_batch(&self, container: WorkspaceId, chunks: Vec<(ChunkName, Bytes)>) -> Answer<'_, ()> {
        self.answer(|inner| inner.put(container, chunks))
    }

    fn get(&self, container: WorkspaceId, name: ChunkName) -> Answer<'_, Option<Bytes>> {
        self.answer(|inner| {
            inner.counts.chunks_got += 1;
            Ok(inner.chunk(container, &name).cloned())
        })
    }

    fn get_batch(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<Option<Bytes>>> {
        self.answer(|inner| {
            inner.counts.chunks_got += names.len() as u64;
            Ok(names.iter().map(|name| inner.chunk(container, name).cloned()).collect())
        })
    }

    fn check(&self, container: WorkspaceId, name: ChunkName) -> Answer<'_, Health> {
        self.answer(|inner| Ok(inner.check(container, &name)))
    }

    fn remove(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, ()> {
        self.answer(|inner| {
            if let Some(stored) = inner.containers.get_mut(&container) {
                stored.retain(|name, _| !names.contains(name));
            }
            Ok(())
        })
    }

    fn remove_container(&self, container: WorkspaceId) -> Answer<'_, ()> {
        self.answer(|inner| {
            inner.containers.remove(&container);
            Ok(())
        })
    }

    fn list(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Answer<'_, Vec<Stored>> {
        self.answer(|inner| {
            let stored = inner.containers.get(&container).into_iter().flatten();
            let later = stored.filter(|(name, _)| after.is_none_or(|after| **name > after));
            let listed = |(name, packed): (&ChunkName, &Bytes)| Stored {
                name: *name,
                bytes: packed.len() as u64,
                modified: SystemTime::UNIX_EPOCH,
            };
            Ok(later.take(limit).map(listed).collect())
        })
    }

    fn containers(&self) -> Answer<'_, Vec<WorkspaceId>> {
        self.answer(|inner| Ok(inner.containers.keys().copied().collect()))
    }

    fn usage(&self, container: WorkspaceId) -> Answer<'_, Usage> {
        self.answer(|inner| {
            let stored = inner.containers.get(&container);
            Ok(stored.into_iter().flatten().fold(Usage::default(), |sum, (_, packed)| Usage {
                chunks: sum.chunks + 1,
                bytes: sum.bytes + packed.len() as u64,
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;
    use std::sync::Arc;

    #[tokio::test]
    async fn conforms() {
        let store = Arc::new(MemoryStore::new());
        let planted = store.clone();
        conformance::check(store, &move |container, name, packed| planted.plant(container, name, packed)).await;
    }

    #[tokio::test]
    async fn faults_are_answered_until_they_are_over() {
        let store = MemoryStore::new();
        let container = WorkspaceId(uuid::Uuid::from_u128(1));
        let chunk = (ChunkName::of(b"x"), pack::pack(b"x").unwrap());
        store.set_fault(Fault::Full);
        assert!(matches!(store.put_batch(container, vec![chunk.clone()]).await, Err(StoreError::Full { .. })));
        assert!(store.get(container, chunk.0).await.unwrap().is_none());
        store.set_fault(Fault::Unavailable);
        assert!(matches!(store.get(container, chunk.0).await, Err(StoreError::Unavailable(_))));
        store.set_fault(Fault::None);
        store.put_batch(container, vec![chunk.clone()]).await.unwrap();
        assert_eq!(store.get(container, chunk.0).await.unwrap(), Some(chunk.1));
    }
}

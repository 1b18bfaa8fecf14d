//! A chunk storage out of a [`Backend`]: proves what it stores, repeats what may succeed next time, and limits what is in flight.

use crate::backend::{Backend, PartRead, Put, Trouble, When, Work};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use stacksync_chunks::pack::{self, HEADER_BYTES, PACKED_BYTES_MAX};
use stacksync_chunks::store::{Answer, ChunkStore, Direct, DirectOp, Health, StoreError, Stored, Usage};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Requests for one batch at once.
const BATCH_REQUESTS_MAX: usize = 32;
/// A request is made so many times at most.
const TRIES_MAX: u32 = 4;
/// The first wait before a request is repeated; each further one is three times as long.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// The longest wait that a storage can ask for; beyond it whoever asked is told.
const DELAY_MAX: Duration = Duration::from_secs(10);
/// Chunks of a listing that is walked through.
const PAGE: usize = 1_000;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct RemoteStore {
    backend: Arc<dyn Backend>,
    /// Containers that this process has seen to.
    made: Arc<Mutex<HashSet<WorkspaceId>>>,
}

impl RemoteStore {
    /// Chunks at this storage, which must be usable now.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn open(backend: Arc<dyn Backend>) -> Result<Self, StoreError> {
        let store = Self { backend, made: Arc::default() };
        store.tried(None, |backend| backend.prepare()).await?;
        Ok(store)
    }

    /// Which storage this is, for people.
    pub fn name(&self) -> String {
        self.backend.name()
    }

    /// Until it succeeds, or is not worth another try. A container that vanished is made again.
    async fn tried<'a, T>(
        &'a self,
        container: Option<WorkspaceId>,
        attempt: impl Fn(&'a dyn Backend) -> Work<'a, T>,
    ) -> Result<T, StoreError> {
        let mut delay = FIRST_DELAY;
        let mut tries = 1;
        loop {
            let trouble = match attempt(&*self.backend).await {
                Ok(done) => return Ok(done),
                Err(trouble) => trouble,
            };
            let wait = match (&trouble, container) {
                (Trouble::Later { after, .. }, _) => after.unwrap_or_else(|| jittered(delay)),
                (Trouble::NoContainer, Some(container)) => {
                    self.lock().remove(&container);
                    // Its own failure is not that of the request; the next try shows.
                    let _ = self.make(container).await;
                    Duration::ZERO
                }
                _ => return Err(trouble.into_store_error(&self.backend.name())),
            };
            if tries == TRIES_MAX || wait > DELAY_MAX {
                return Err(trouble.into_store_error(&self.backend.name()));
            }
            tracing::debug!(%trouble, tries, "a request to the chunk storage is repeated");
            tokio::time::sleep(wait).await;
            tries += 1;
            delay *= 3;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<WorkspaceId>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(&self, container: WorkspaceId) -> Result<(), StoreError> {
        if self.lock().contains(&container) {
            return Ok(());
        }
        let mut delay = FIRST_DELAY;
        for _ in 1..TRIES_MAX {
            match self.backend.make_container(container).await {
                Ok(()) => {
                    self.lock().insert(container);
                    return Ok(());
                }
                Err(Trouble::Later { .. }) => tokio::time::sleep(jittered(delay)).await,
                Err(trouble) => return Err(trouble.into_store_error(&self.backend.name())),
            }
            delay *= 3;
        }
        self.backend.make_container(container).await.map_err(|trouble| trouble.into_store_error(&self.backend.name()))
    }

    async fn put_one(&self, container: WorkspaceId, name: ChunkName, packed: Bytes) -> Result<(), StoreError> {
        match self.tried(Some(container), |backend| backend.put(container, name, packed.clone(), When::Absent)).await? {
            Put::Stored => Ok(()),
            Put::WasThere => {
                let there = self.tried(Some(container), |backend| backend.get(container, name)).await?;
                if there.is_some_and(|there| pack::unpack(&name, &there).is_ok()) {
                    return Ok(());
                }
                tracing::warn!(%container, %name, "a damaged chunk is replaced");
                self.tried(Some(container), |backend| backend.put(container, name, packed.clone(), When::Always)).await?;
                Ok(())
            }
        }
    }

    /// The length of an object, which need not be a chunk.
    pub(crate) async fn object_length(&self, container: WorkspaceId, name: ChunkName) -> Result<Option<u64>, StoreError> {
        self.tried(None, |backend| backend.length(container, name)).await
    }

    /// Puts an object, which need not be a chunk, unless one of this name is there.
    pub(crate) async fn put_object(&self, container: WorkspaceId, name: ChunkName, bytes: Bytes) -> Result<Put, StoreError> {
        self.make(container).await?;
        self.tried(Some(container), |backend| backend.put(container, name, bytes.clone(), When::Absent)).await
    }

    /// Reads a part of an object, `None` if it is not there.
    pub(crate) async fn object_part(
        &self,
        container: WorkspaceId,
        name: ChunkName,
        start: u64,
        length: u64,
    ) -> Result<Option<PartRead>, StoreError> {
        self.tried(None, |backend| backend.get_part(container, name, start, length)).await
    }

    async fn pages(&self, container: WorkspaceId, mut each: impl FnMut(&Stored)) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.list(container, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.name);
            page.iter().for_each(&mut each);
        }
    }

    async fn empty(&self, container: WorkspaceId) -> Result<(), StoreError> {
        loop {
            let page = self.list(container, None, PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            self.remove(container, page.into_iter().map(|stored| stored.name).collect()).await?;
        }
    }
}

/// Between half and all of it, so that those who failed together do not come back together.
fn jittered(delay: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    delay.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}

/// A chunk at rest has a length between these; whatever else has its name is damaged.
fn could_be_whole(length: u64) -> bool {
    length > HEADER_BYTES as u64 && length <= PACKED_BYTES_MAX as u64
}

fn prove(chunks: &mut Vec<(ChunkName, Bytes)>) -> Result<(), StoreError> {
    for (name, packed) in &*chunks {
        pack::unpack(name, packed).map_err(|damage| StoreError::Refused { name: *name, damage })?;
    }
    chunks.sort_by_key(|(name, _)| *name);
    chunks.dedup_by_key(|(name, _)| *name);
    Ok(())
}

impl ChunkStore for RemoteStore {
    fn present(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<bool>> {
        Box::pin(async move {
            let looks = names.into_iter().map(|name| async move {
                let length = self.tried(None, |backend| backend.length(container, name)).await?;
                Ok(length.is_some_and(could_be_whole))
            });
            stream::iter(looks).buffered(BATCH_REQUESTS_MAX).try_collect().await
        })
    }

    fn put_batch(&self, container: WorkspaceId, mut chunks: Vec<(ChunkName, Bytes)>) -> Answer<'_, ()> {
        Box::pin(async move {
            let proven = tokio::task::spawn_blocking(move || prove(&mut chunks).map(|()| chunks)).await;
            let chunks = proven.map_err(|error| StoreError::Unavailable(error.to_string()))??;
            if chunks.is_empty() {
                return Ok(());
            }
            self.make(container).await?;
            let puts = chunks.into_iter().map(|(name, packed)| self.put_one(container, name, packed));
            stream::iter(puts).buffer_unordered(BATCH_REQUESTS_MAX).try_collect().await
        })
    }

    fn get(&self, container: WorkspaceId, name: ChunkName) -> Answer<'_, Option<Bytes>> {
        Box::pin(self.tried(None, move |backend| backend.get(container, name)))
    }

    fn get_batch(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<Option<Bytes>>> {
        Box::pin(async move {
            let gets = names.into_iter().map(|name| self.get(container, name));
            stream::iter(gets).buffered(BATCH_REQUESTS_MAX).try_collect().await
        })
    }

    fn check(&self, container: WorkspaceId, name: ChunkName) -> Answer<'_, Health> {
        Box::pin(async move {
            let Some(first) = self.get(container, name).await? else { return Ok(Health::Missing) };
            if pack::unpack(&name, &first).is_ok() {
                return Ok(Health::Good);
            }
            // Damaged on the way, or just now replaced by a whole one: only what is damaged twice in the same way is so at rest.
            let Some(second) = self.get(container, name).await? else { return Ok(Health::Missing) };
            if pack::unpack(&name, &second).is_ok() {
                return Ok(Health::Good);
            }
            if first != second {
                let reason = format!("{}: chunk {name} is read differently each time", self.backend.name());
                return Err(StoreError::Unavailable(reason));
            }
            self.tried(None, |backend| backend.remove(container, name)).await?;
            Ok(Health::Damaged)
        })
    }

    fn remove(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, ()> {
        Box::pin(async move {
            let removals =
                names.into_iter().map(|name| async move { self.tried(None, |backend| backend.remove(container, name)).await });
            stream::iter(removals).buffer_unordered(BATCH_REQUESTS_MAX).try_collect().await
        })
    }

    fn remove_container(&self, container: WorkspaceId) -> Answer<'_, ()> {
        Box::pin(async move {
            self.empty(container).await?;
            self.lock().remove(&container);
            self.tried(None, |backend| backend.remove_container(container)).await
        })
    }

    fn list(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Answer<'_, Vec<Stored>> {
        Box::pin(self.tried(None, move |backend| backend.list(container, after, limit.min(PAGE))))
    }

    fn containers(&self) -> Answer<'_, Vec<WorkspaceId>> {
        Box::pin(self.tried(None, |backend| backend.containers()))
    }

    fn usage(&self, container: WorkspaceId) -> Answer<'_, Usage> {
        Box::pin(async move {
            let mut usage = Usage::default();
            self.pages(container, |stored| {
                usage.chunks += 1;
                usage.bytes += stored.bytes;
            })
            .await?;
            Ok(usage)
        })
    }

    fn direct(
        &self,
        container: WorkspaceId,
        op: DirectOp,
        names: Vec<ChunkName>,
        lifetime: Duration,
    ) -> Answer<'_, Option<Vec<Direct>>> {
        Box::pin(async move {
            if op == DirectOp::Put && !names.is_empty() {
                self.make(container).await?;
            }
            let mut requests = Vec::with_capacity(names.len());
            for name in names {
                match self.tried(None, |backend| backend.direct(container, op, name, lifetime)).await? {
                    Some(direct) => requests.push(direct),
                    None => return Ok(None),
                }
            }
            Ok(Some(requests))
        })
    }
}

#[cfg(test)]
mod tests;

//! A chunk storage of which small chunks lie together in bundles, others alone: the same verbs, far fewer requests.
//!
//! Bundles are objects of a container beside the workspace's own, each under its name. The index says which chunk lies where; it is
//! never believed alone: before a chunk counts as there its bundle is looked for at the storage, and what is read is checked by whoever
//! unpacks it. A chunk may be in several bundles and alone as well, and any whole one will do.

mod collect;
pub mod index;
mod read;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(test)]
mod tests;

pub use collect::BundlesCollected;
pub use read::Copied;

use crate::remote::RemoteStore;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use index::{Added, BundleIndex, Found};
use stacksync_chunks::bundle::{self, BUNDLE_BYTES_FULL, BUNDLE_CHUNKS_MAX, HEAD_BYTES, Table};
use stacksync_chunks::pack::{self, HEADER_BYTES};
use stacksync_chunks::store::{Answer, ChunkStore, Direct, DirectOp, Health, StoreError, Stored, Usage};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// Plain bytes of a chunk that is small enough to lie in a bundle.
pub const SMALL_BYTES_MAX: usize = 128 << 10;
/// With fewer small chunks at once each gets an object of its own.
const BUNDLE_CHUNKS_MIN: usize = 2;
/// Makes the id of the container for bundles.
const BUNDLES: u128 = 0xb0d1_e500_0000_0000_0000_0000_0000_0000;
/// Requests for one call at once.
const REQUESTS_MAX: usize = 16;
/// So much is read of a bundle to find its table; a longer table takes a second request.
const FIRST_READ_BYTES: u64 = 40 << 10;
/// Chunks of a listing.
const PAGE: usize = 1_000;

/// Whether new bundles are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Making {
    /// Small chunks go into bundles.
    On,
    /// Every chunk gets an object of its own; bundles that are there are read, and unpacked in time.
    Off,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct BundledStore {
    alone: RemoteStore,
    index: Arc<dyn BundleIndex>,
    making: Making,
}

/// Where a bundle is to be read by a device, and the chunks in it that it asked for.
#[derive(Clone, Debug)]
pub struct Place {
    /// The request, for the whole bundle: the device adds which part it wants.
    pub direct: Direct,
    /// What it wants of it.
    pub parts: Vec<bundle::Part>,
}

/// Where the bundles of a workspace are.
pub const fn bundles_of(workspace: WorkspaceId) -> WorkspaceId {
    WorkspaceId(Uuid::from_u128(workspace.0.as_u128() ^ BUNDLES))
}

impl BundledStore {
    /// Bundles at the same storage as the chunks that lie alone.
    pub fn new(alone: RemoteStore, index: Arc<dyn BundleIndex>, making: Making) -> Self {
        Self { alone, index, making }
    }

    /// The chunks that have an object of their own, and nothing else.
    pub const fn alone(&self) -> &RemoteStore {
        &self.alone
    }

    /// Whether new bundles are made.
    pub const fn making(&self) -> Making {
        self.making
    }

    /// Which of these chunks are in bundles that are there, in order. Does not look for chunks that lie alone: for whoever sends a small
    /// chunk again more cheaply than it is looked for.
    ///
    /// # Errors
    /// The storage's, or the index's.
    pub async fn in_bundles(&self, workspace: WorkspaceId, names: &[ChunkName]) -> Result<Vec<bool>, StoreError> {
        let found = self.index.find(workspace, names.to_vec()).await?;
        let there = self.whole(workspace, &found).await?;
        let held: HashSet<ChunkName> =
            found.iter().filter(|found| there.contains(&found.bundle)).map(|found| found.part.name).collect();
        Ok(names.iter().map(|name| held.contains(name)).collect())
    }

    /// Which of the bundles are there, with the length that the index knows: one request for each.
    async fn whole(&self, workspace: WorkspaceId, found: &[Found]) -> Result<HashSet<ChunkName>, StoreError> {
        let bundles: HashMap<ChunkName, u64> = found.iter().map(|found| (found.bundle, found.bundle_bytes)).collect();
        let looks = bundles.into_iter().map(|(name, bytes)| async move {
            let length = self.alone.object_length(bundles_of(workspace), name).await?;
            Ok((length == Some(bytes)).then_some(name))
        });
        let looks = stream::iter(looks).buffer_unordered(REQUESTS_MAX);
        looks.try_filter_map(|whole| async move { Ok(whole) }).try_collect().await
    }

    /// Requests with which a device puts bundles of these names, in order. `None`: devices cannot go there, or no bundles are made.
    ///
    /// # Errors
    /// The storage's.
    pub async fn put_tickets(
        &self,
        workspace: WorkspaceId,
        names: Vec<ChunkName>,
        lifetime: Duration,
    ) -> Result<Option<Vec<Direct>>, StoreError> {
        if self.making == Making::Off {
            return Ok(None);
        }
        self.alone.direct(bundles_of(workspace), DirectOp::Put, names, lifetime).await
    }

    /// Takes bundles that devices have put into the index, by the tables that lie at the storage. Says of each whether all of its chunks
    /// can be relied on now; of one that is not what its name says, or that is being removed, they cannot.
    ///
    /// # Errors
    /// The storage's, or the index's.
    pub async fn add(&self, workspace: WorkspaceId, names: &[ChunkName]) -> Result<Vec<bool>, StoreError> {
        let adds = names.iter().map(|name| async move {
            match self.table(workspace, *name).await? {
                Some(table) => self.enter(workspace, table).await,
                None => Ok(false),
            }
        });
        stream::iter(adds.collect::<Vec<_>>()).buffered(REQUESTS_MAX).try_collect().await
    }

    async fn enter(&self, workspace: WorkspaceId, table: Table) -> Result<bool, StoreError> {
        let (bundle, names) = (table.name, table.parts.iter().map(|part| part.name).collect::<Vec<_>>());
        match self.index.add(workspace, table, SystemTime::now()).await? {
            Added::New => Ok(true),
            Added::Retired => Ok(false),
            Added::WasLive => {
                let found = self.index.find(workspace, names.clone()).await?;
                let here: HashSet<ChunkName> =
                    found.iter().filter(|found| found.bundle == bundle).map(|found| found.part.name).collect();
                Ok(names.iter().all(|name| here.contains(name)))
            }
        }
    }

    /// What is in a bundle, as it says itself. `None`: it is not there, or not what its name says.
    async fn table(&self, workspace: WorkspaceId, name: ChunkName) -> Result<Option<Table>, StoreError> {
        let place = bundles_of(workspace);
        let Some(mut read) = self.alone.object_part(place, name, 0, FIRST_READ_BYTES).await? else { return Ok(None) };
        let end = bundle::table_end(&read.bytes[..read.bytes.len().min(HEAD_BYTES)]).unwrap_or(0);
        if end > read.bytes.len() {
            match self.alone.object_part(place, name, 0, end as u64).await? {
                Some(longer) => read = longer,
                None => return Ok(None),
            }
        }
        match bundle::read_table(name, &read.bytes) {
            Ok(table) if table.bytes == read.total => Ok(Some(table)),
            Ok(table) => {
                tracing::warn!(%workspace, %name, there = read.total, said = table.bytes, "a bundle has another length than it says");
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(%workspace, %name, %error, "an object that should be a bundle is none");
                Ok(None)
            }
        }
    }

    /// Puts small chunks, which are proven, into bundles.
    async fn put_bundles(&self, workspace: WorkspaceId, chunks: Vec<(ChunkName, Bytes)>) -> Result<(), StoreError> {
        for group in groups(chunks) {
            let (table, bytes) = bundle::encode(&group);
            self.alone.put_object(bundles_of(workspace), table.name, bytes).await?;
            let entered = match self.table(workspace, table.name).await? {
                Some(table) => self.enter(workspace, table).await?,
                None => false,
            };
            if !entered {
                self.alone.put_batch(workspace, group).await?;
            }
        }
        Ok(())
    }

    /// Where devices find these chunks, as far as they are in bundles; the others lie alone, if they are there.
    ///
    /// # Errors
    /// The storage's, or the index's.
    pub async fn places(
        &self,
        workspace: WorkspaceId,
        names: &[ChunkName],
        lifetime: Duration,
    ) -> Result<Option<Vec<Place>>, StoreError> {
        let mut parts: HashMap<ChunkName, Vec<bundle::Part>> = HashMap::new();
        let mut seen = HashSet::new();
        for found in self.index.find(workspace, names.to_vec()).await? {
            if seen.insert(found.part.name) {
                parts.entry(found.bundle).or_default().push(found.part);
            }
        }
        let bundles: Vec<ChunkName> = parts.keys().copied().collect();
        let requests = self.alone.direct(bundles_of(workspace), DirectOp::Get, bundles.clone(), lifetime).await?;
        let place = |(name, direct)| Place { direct, parts: parts.remove(&name).unwrap_or_default() };
        Ok(requests.map(|requests| bundles.into_iter().zip(requests).map(place).collect()))
    }
}

/// As many as a bundle takes, in order.
fn groups(chunks: Vec<(ChunkName, Bytes)>) -> Vec<Vec<(ChunkName, Bytes)>> {
    let mut groups: Vec<Vec<(ChunkName, Bytes)>> = Vec::new();
    let mut room = 0;
    for chunk in chunks {
        match groups.last_mut() {
            Some(group) if chunk.1.len() <= room && group.len() < BUNDLE_CHUNKS_MAX => {
                room -= chunk.1.len();
                group.push(chunk);
            }
            _ => {
                room = BUNDLE_BYTES_FULL.saturating_sub(chunk.1.len());
                groups.push(vec![chunk]);
            }
        }
    }
    groups
}

fn prove(chunks: &[(ChunkName, Bytes)]) -> Result<(), StoreError> {
    for (name, packed) in chunks {
        pack::unpack(name, packed).map_err(|damage| StoreError::Refused { name: *name, damage })?;
    }
    Ok(())
}

impl ChunkStore for BundledStore {
    fn present(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<bool>> {
        Box::pin(async move {
            let mut there = self.in_bundles(container, &names).await?;
            let rest: Vec<usize> = (0..names.len()).filter(|&at| !there[at]).collect();
            let alone = self.alone.present(container, rest.iter().map(|&at| names[at]).collect()).await?;
            rest.into_iter().zip(alone).for_each(|(at, is)| there[at] = is);
            Ok(there)
        })
    }

    fn put_batch(&self, container: WorkspaceId, chunks: Vec<(ChunkName, Bytes)>) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut seen = HashSet::new();
            let is_small = |packed: &Bytes| packed.len() <= SMALL_BYTES_MAX + HEADER_BYTES;
            // A name twice with different bytes: all of them are proven, by those who store alone.
            let bundled = |(name, packed): &(ChunkName, Bytes)| is_small(packed) && seen.insert(*name);
            let (small, alone): (Vec<_>, Vec<_>) = chunks.into_iter().partition(bundled);
            if self.making == Making::Off || small.len() < BUNDLE_CHUNKS_MIN {
                return self.alone.put_batch(container, [small, alone].concat()).await;
            }
            let proven = tokio::task::spawn_blocking(move || {
                prove(&small)?;
                prove(&alone).map(|()| (small, alone))
            });
            let (small, mut alone) = proven.await.map_err(|error| StoreError::Unavailable(error.to_string()))??;
            let bundled: HashSet<ChunkName> = small.iter().map(|(name, _)| *name).collect();
            alone.retain(|(name, _)| !bundled.contains(name));
            self.put_bundles(container, small).await?;
            self.alone.put_batch(container, alone).await
        })
    }

    fn get(&self, container: WorkspaceId, name: ChunkName) -> Answer<'_, Option<Bytes>> {
        Box::pin(async move { Ok(self.get_batch(container, vec![name]).await?.pop().flatten()) })
    }

    fn get_batch(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<Option<Bytes>>> {
        Box::pin(async move {
            let read = self.read(container, &names).await?;
            let rest: Vec<usize> = (0..names.len()).filter(|&at| !read.contains_key(&names[at])).collect();
            let mut all: Vec<Option<Bytes>> = names.iter().map(|name| read.get(name).cloned()).collect();
            let alone = self.alone.get_batch(container, rest.iter().map(|&at| names[at]).collect()).await?;
            rest.into_iter().zip(alone).for_each(|(at, packed)| all[at] = packed);
            Ok(all)
        })
    }

    fn check(&self, container: WorkspaceId, name: ChunkName) -> Answer<'_, Health> {
        Box::pin(async move {
            let mut damaged = Vec::new();
            let mut good = false;
            for found in self.index.find(container, vec![name]).await? {
                match self.look_at(container, &found).await? {
                    Health::Good => good = true,
                    Health::Damaged => damaged.push((name, found.bundle)),
                    Health::Missing => {}
                }
            }
            let hurt = !damaged.is_empty();
            if hurt {
                tracing::error!(%container, %name, "a chunk is damaged in a bundle, and not looked for there any more");
                self.index.forget_parts(container, damaged).await?;
            }
            Ok(match self.alone.check(container, name).await? {
                _ if good => Health::Good,
                Health::Missing if hurt => Health::Damaged,
                health => health,
            })
        })
    }

    fn remove(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, ()> {
        Box::pin(async move {
            let found = self.index.find(container, names.clone()).await?;
            self.index.forget_parts(container, found.iter().map(|found| (found.part.name, found.bundle)).collect()).await?;
            self.alone.remove(container, names).await
        })
    }

    fn remove_container(&self, container: WorkspaceId) -> Answer<'_, ()> {
        Box::pin(async move {
            self.alone.remove_container(bundles_of(container)).await?;
            self.alone.remove_container(container).await
        })
    }

    fn list(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Answer<'_, Vec<Stored>> {
        Box::pin(async move {
            let mut found = self.index.list(container, after, limit.min(PAGE)).await?;
            found.extend(self.alone.list(container, after, limit).await?);
            found.sort_by_key(|stored| stored.name);
            found.dedup_by_key(|stored| stored.name);
            found.truncate(limit.min(PAGE));
            Ok(found)
        })
    }

    /// Those of bundles are among them.
    fn containers(&self) -> Answer<'_, Vec<WorkspaceId>> {
        self.alone.containers()
    }

    fn usage(&self, container: WorkspaceId) -> Answer<'_, Usage> {
        Box::pin(async move {
            let (mut usage, mut after) = (Usage::default(), None);
            loop {
                let page = self.list(container, after, PAGE).await?;
                let Some(last) = page.last() else { return Ok(usage) };
                after = Some(last.name);
                usage.chunks += page.len() as u64;
                usage.bytes += page.iter().map(|stored| stored.bytes).sum::<u64>();
            }
        })
    }

    /// Of chunks that lie alone.
    fn direct(
        &self,
        container: WorkspaceId,
        op: DirectOp,
        names: Vec<ChunkName>,
        lifetime: Duration,
    ) -> Answer<'_, Option<Vec<Direct>>> {
        self.alone.direct(container, op, names, lifetime)
    }
}

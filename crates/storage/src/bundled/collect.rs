//! Cleaning bundles up beside live traffic.
//!
//! A bundle stays while any of its chunks is named. One of which nothing is named is *retired*; one of which less than half is named is
//! written again, smaller, and retired in the same step of the index that makes the new one known. A retired bundle is still at the
//! storage, but no chunk is found in it any more: a commit that comes now is refused with its name, and the device brings it again.
//! Then, after a moment, and once more before it is removed by a later run after the grace time, the names are read again, and a bundle
//! that alone has a named chunk is made live again. What is younger than the grace time is left alone.
//!
//! The run may be broken off between any two steps. What it leaves is a bundle that nobody knows: it is noted as retired by a later
//! run, unless it holds what is named and found nowhere else; then it becomes known.

use super::index::Found;
use super::read::whole_of;
use super::{BundledStore, Making, PAGE, bundles_of};
use crate::backend::Put;
use bytes::Bytes;
use stacksync_chunks::batch::RECORD_HEADER_BYTES;
use stacksync_chunks::bundle::{self, BUNDLE_BYTES_FULL, BUNDLE_CHUNKS_MAX, HEAD_BYTES, Part, Table};
use stacksync_chunks::gc::{Act, Named, Rules};
use stacksync_chunks::store::{ChunkStore, Health, StoreError, Stored};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

/// Chunks that are put alone together, when bundles are unpacked.
const UNPACKED_GROUP: usize = 64;

/// What a run did with the bundles of one workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BundlesCollected {
    /// Bundles that stay as they are.
    pub kept: u64,
    /// Bundles that became known, since they hold what is named and found nowhere else.
    pub adopted: u64,
    /// Bundles of which nothing was named: retired.
    pub retired: u64,
    /// Their bytes.
    pub retired_bytes: u64,
    /// Bundles of which little was named: what was went into new ones, and they are retired.
    pub rewritten: u64,
    /// Their bytes, less those of the new ones.
    pub rewritten_bytes: u64,
    /// Bundles that were made live again, since somebody names what only they have.
    pub restored: u64,
    /// Bundles that were removed for good.
    pub removed: u64,
    /// Their bytes.
    pub removed_bytes: u64,
}

impl std::ops::AddAssign for BundlesCollected {
    fn add_assign(&mut self, other: Self) {
        self.kept += other.kept;
        self.adopted += other.adopted;
        self.retired += other.retired;
        self.retired_bytes += other.retired_bytes;
        self.rewritten += other.rewritten;
        self.rewritten_bytes += other.rewritten_bytes;
        self.restored += other.restored;
        self.removed += other.removed;
        self.removed_bytes += other.removed_bytes;
    }
}

/// A bundle and what the index says of it.
struct Bundle {
    name: ChunkName,
    bytes: u64,
    retired: Option<SystemTime>,
    parts: Vec<Part>,
}

impl Bundle {
    fn named<'a>(&'a self, named: &'a HashSet<ChunkName>) -> impl Iterator<Item = &'a Part> {
        self.parts.iter().filter(|part| named.contains(&part.name))
    }

    /// Whether less than half of it is named.
    fn is_sparse(&self, named: &HashSet<ChunkName>) -> bool {
        let live: u64 = self.named(named).map(|part| u64::from(part.length) + RECORD_HEADER_BYTES as u64).sum();
        live * 2 < self.bytes.saturating_sub(HEAD_BYTES as u64)
    }
}

/// One run in one workspace.
struct Run<'a> {
    store: &'a BundledStore,
    names: &'a dyn Named,
    workspace: WorkspaceId,
    rules: &'a Rules,
    /// What is at the storage.
    listed: HashMap<ChunkName, Stored>,
    done: BundlesCollected,
}

impl BundledStore {
    /// Cleans up the bundles of one workspace. May be broken off at any moment, and run again.
    ///
    /// # Errors
    /// The storage's, the index's, or those of who knows the names; what was done by then stays done, and is safe.
    pub async fn collect(&self, names: &dyn Named, workspace: WorkspaceId, rules: &Rules) -> Result<BundlesCollected, StoreError> {
        let listed = self.listed(workspace).await?;
        let run = Run { store: self, names, workspace, rules, listed, done: BundlesCollected::default() };
        run.run().await
    }

    async fn listed(&self, workspace: WorkspaceId) -> Result<HashMap<ChunkName, Stored>, StoreError> {
        let (mut listed, mut after) = (HashMap::new(), None);
        loop {
            let page = self.alone.list(bundles_of(workspace), after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(listed) };
            after = Some(last.name);
            listed.extend(page.into_iter().map(|stored| (stored.name, stored)));
        }
    }

    /// Takes every bundle that is at the storage and not known into the index: after metadata came back from a backup, for example.
    /// Answers how many.
    ///
    /// # Errors
    /// The storage's, or the index's.
    pub async fn adopt(&self, workspace: WorkspaceId) -> Result<u64, StoreError> {
        let mut strange: HashSet<ChunkName> = self.listed(workspace).await?.into_keys().collect();
        for known in self.index.bundles(workspace).await? {
            strange.remove(&known.name);
        }
        let strange: Vec<ChunkName> = strange.into_iter().collect();
        Ok(self.add(workspace, &strange).await?.into_iter().filter(|added| *added).count() as u64)
    }
}

impl Run<'_> {
    async fn run(mut self) -> Result<BundlesCollected, StoreError> {
        // The index is read after the listing: what is listed and not known by now is not being added, or has been for long. The names
        // are read last: what was put and named before this is seen as named.
        let bundles = self.bundles().await?;
        let named = self.names.named(self.workspace).await?;
        self.strangers(&bundles, &named).await?;
        self.restore(&bundles, &named).await?;
        self.remove(&bundles, &named).await?;
        let retired = self.retire(bundles, &named).await?;
        if retired && self.rules.act == Act::Collect {
            tokio::time::sleep(self.rules.settle).await;
            self.listed = self.store.listed(self.workspace).await?;
            let bundles = self.bundles().await?;
            let named = self.names.named(self.workspace).await?;
            self.restore(&bundles, &named).await?;
        }
        Ok(self.done)
    }

    async fn bundles(&self) -> Result<Vec<Bundle>, StoreError> {
        let mut parts: HashMap<ChunkName, Vec<Part>> = HashMap::new();
        let known = self.store.index.bundles(self.workspace).await?;
        for (bundle, part) in self.store.index.parts(self.workspace).await? {
            parts.entry(bundle).or_default().push(part);
        }
        let bundle = |known: super::index::Known| Bundle {
            name: known.name,
            bytes: known.bytes,
            retired: known.retired,
            parts: parts.remove(&known.name).unwrap_or_default(),
        };
        Ok(known.into_iter().map(bundle).collect())
    }

    fn is_old(&self, since: SystemTime) -> bool {
        self.rules.now.duration_since(since).is_ok_and(|age| age >= self.rules.grace)
    }

    fn acts(&self) -> bool {
        self.rules.act == Act::Collect
    }

    /// What can be found in live bundles that are listed. (One that came after the listing is not seen, which only keeps more.)
    fn found(&self, bundles: &[Bundle]) -> HashSet<ChunkName> {
        let there = |bundle: &&Bundle| {
            bundle.retired.is_none() && self.listed.get(&bundle.name).is_some_and(|stored| stored.bytes == bundle.bytes)
        };
        bundles.iter().filter(there).flat_map(|bundle| &bundle.parts).map(|part| part.name).collect()
    }

    /// Bundles at the storage that the index does not know.
    async fn strangers(&mut self, bundles: &[Bundle], named: &HashSet<ChunkName>) -> Result<(), StoreError> {
        let known: HashSet<ChunkName> = bundles.iter().map(|bundle| bundle.name).collect();
        let strange: Vec<Stored> = self.listed.values().filter(|stored| !known.contains(&stored.name)).copied().collect();
        for stored in strange {
            if !self.is_old(stored.modified) {
                self.done.kept += 1;
                continue;
            }
            let table = self.store.table(self.workspace, stored.name).await?;
            let parts = table.iter().flat_map(|table| &table.parts);
            let wanted = parts.map(|part| part.name).filter(|name| named.contains(name)).collect();
            let is_needed = !self.lacking(bundles, wanted).await?.is_empty();
            if let Some(table) = table.filter(|_| is_needed) {
                self.done.adopted += 1;
                if self.acts() {
                    self.store.enter(self.workspace, table).await?;
                }
                continue;
            }
            self.done.retired += 1;
            self.done.retired_bytes += stored.bytes;
            if self.acts() {
                self.store.index.note(self.workspace, stored.name, stored.bytes, self.rules.now).await?;
            }
        }
        Ok(())
    }

    /// Makes those live again that alone have what is named.
    async fn restore(&mut self, bundles: &[Bundle], named: &HashSet<ChunkName>) -> Result<(), StoreError> {
        let needed = self.needed(bundles, named).await?;
        self.done.restored += needed.len() as u64;
        if self.acts() && !needed.is_empty() {
            self.store.index.restore(self.workspace, needed.into_iter().collect()).await?;
        }
        Ok(())
    }

    /// The retired ones that hold what is named and found nowhere else.
    async fn needed(&self, bundles: &[Bundle], named: &HashSet<ChunkName>) -> Result<HashSet<ChunkName>, StoreError> {
        let retired = || bundles.iter().filter(|bundle| bundle.retired.is_some());
        let wanted = retired().flat_map(|bundle| bundle.named(named)).map(|part| part.name).collect();
        let lacking = self.lacking(bundles, wanted).await?;
        let holds = |bundle: &&Bundle| bundle.parts.iter().any(|part| lacking.contains(&part.name));
        Ok(retired().filter(holds).map(|bundle| bundle.name).collect())
    }

    /// Those that are neither in a live bundle nor alone.
    async fn lacking(&self, bundles: &[Bundle], mut wanted: HashSet<ChunkName>) -> Result<HashSet<ChunkName>, StoreError> {
        let found = self.found(bundles);
        wanted.retain(|name| !found.contains(name));
        let wanted: Vec<ChunkName> = wanted.into_iter().collect();
        let alone = self.store.alone.present(self.workspace, wanted.clone()).await?;
        Ok(wanted.into_iter().zip(alone).filter_map(|(name, there)| (!there).then_some(name)).collect())
    }

    /// Removes what has been retired for the grace time: first the object, then the index's word of it.
    async fn remove(&mut self, bundles: &[Bundle], named: &HashSet<ChunkName>) -> Result<(), StoreError> {
        let needed = self.needed(bundles, named).await?;
        let ripe = |bundle: &&Bundle| bundle.retired.is_some_and(|since| self.is_old(since)) && !needed.contains(&bundle.name);
        for bundle in bundles.iter().filter(ripe).collect::<Vec<_>>() {
            self.done.removed += 1;
            self.done.removed_bytes += bundle.bytes;
            if self.acts() {
                self.store.alone.remove(bundles_of(self.workspace), vec![bundle.name]).await?;
                let chunks = bundle.parts.iter().map(|part| part.name).collect();
                self.store.index.forget(self.workspace, bundle.name, chunks).await?;
            }
        }
        Ok(())
    }

    /// Retires live bundles of which nothing is named, and writes again those of which little is. Answers whether there were any.
    async fn retire(&mut self, bundles: Vec<Bundle>, named: &HashSet<ChunkName>) -> Result<bool, StoreError> {
        let (mut dead, mut sparse) = (Vec::new(), Vec::new());
        for bundle in bundles.into_iter().filter(|bundle| bundle.retired.is_none()) {
            let old = self.listed.get(&bundle.name).is_some_and(|stored| self.is_old(stored.modified));
            match old {
                true if bundle.named(named).next().is_none() => dead.push(bundle),
                true if bundle.is_sparse(named) || self.store.making == Making::Off => sparse.push(bundle),
                _ => self.done.kept += 1,
            }
        }
        for bundle in &dead {
            let done = !self.acts() || self.store.index.replace(self.workspace, vec![bundle.name], None, self.rules.now).await?;
            self.done.retired += u64::from(done);
            self.done.retired_bytes += if done { bundle.bytes } else { 0 };
        }
        let any = !dead.is_empty() || !sparse.is_empty();
        for group in groups(sparse, named) {
            self.rewrite(group, named).await?;
        }
        Ok(any)
    }

    /// What is named of several bundles goes into one new one, or alone where no bundles are made any more.
    async fn rewrite(&mut self, group: Vec<Bundle>, named: &HashSet<ChunkName>) -> Result<(), StoreError> {
        let bytes: u64 = group.iter().map(|bundle| bundle.bytes).sum();
        if !self.acts() {
            let live: u64 = group.iter().flat_map(|bundle| bundle.named(named)).map(|part| u64::from(part.length)).sum();
            self.done.rewritten += group.len() as u64;
            self.done.rewritten_bytes += bytes.saturating_sub(live);
            return Ok(());
        }
        let old: Vec<ChunkName> = group.iter().map(|bundle| bundle.name).collect();
        let Some(chunks) = self.gather(group, named).await? else {
            self.done.kept += old.len() as u64;
            return Ok(());
        };
        let count = old.len() as u64;
        match self.write(chunks).await? {
            Written::Unusable => self.done.kept += count,
            Written::Elsewhere => {
                // If somebody else was faster, what was written is of no use, and a later run removes it.
                if self.store.index.replace(self.workspace, old, None, self.rules.now).await? {
                    self.done.rewritten += count;
                }
            }
            Written::Bundle(table) => {
                let new_bytes = table.bytes;
                if self.store.index.replace(self.workspace, old, Some(table), self.rules.now).await? {
                    self.done.rewritten += count;
                    self.done.rewritten_bytes += bytes.saturating_sub(new_bytes);
                }
            }
        }
        Ok(())
    }

    /// The named chunks of these bundles, each once, whole. `None`: one could not be read, so nothing should be thrown away.
    async fn gather(&self, group: Vec<Bundle>, named: &HashSet<ChunkName>) -> Result<Option<Vec<(ChunkName, Bytes)>>, StoreError> {
        let (mut chunks, mut seen) = (Vec::new(), HashSet::new());
        for bundle in group {
            let wanted: Vec<Part> = bundle.named(named).copied().collect();
            let read = self.store.read_parts(self.workspace, HashMap::from([(bundle.name, wanted.clone())])).await?;
            if read.len() != wanted.len() {
                tracing::warn!(workspace = %self.workspace, bundle = %bundle.name, "a bundle cannot be read, and is left as it is");
                return Ok(None);
            }
            let whole = whole_of(read).await?;
            let names: HashSet<ChunkName> = whole.iter().map(|(name, _)| *name).collect();
            let damaged: Vec<Part> = wanted.into_iter().filter(|part| !names.contains(&part.name)).collect();
            for part in damaged {
                let found = Found { part, bundle: bundle.name, bundle_bytes: bundle.bytes };
                if self.store.look_at(self.workspace, &found).await? != Health::Damaged {
                    return Ok(None);
                }
                // Not worth keeping: it comes back from a device that has it.
                self.store.index.forget_parts(self.workspace, vec![(part.name, bundle.name)]).await?;
            }
            chunks.extend(whole.into_iter().filter(|(name, _)| seen.insert(*name)));
        }
        Ok(Some(chunks))
    }

    async fn write(&self, chunks: Vec<(ChunkName, Bytes)>) -> Result<Written, StoreError> {
        if self.store.making == Making::Off {
            for group in chunks.chunks(UNPACKED_GROUP) {
                self.store.alone.put_batch(self.workspace, group.to_vec()).await?;
            }
            return Ok(Written::Elsewhere);
        }
        if chunks.is_empty() {
            return Ok(Written::Elsewhere);
        }
        let (table, bytes) = bundle::encode(&chunks);
        match self.store.alone.put_object(bundles_of(self.workspace), table.name, bytes).await? {
            Put::Stored => Ok(Written::Bundle(table)),
            Put::WasThere => {
                // Left by a run that was broken off, most likely; nobody has proven it.
                let read = self.store.read_parts(self.workspace, HashMap::from([(table.name, table.parts.clone())])).await?;
                let whole = whole_of(read).await?.len() == table.parts.len();
                Ok(if whole { Written::Bundle(table) } else { Written::Unusable })
            }
        }
    }
}

/// What became of the chunks of bundles that are written again.
enum Written {
    /// They are in this one.
    Bundle(Table),
    /// They are alone, or there were none.
    Elsewhere,
    /// There is a bundle of this name already, and it is damaged.
    Unusable,
}

/// Bundles whose named chunks fit into one together.
fn groups(bundles: Vec<Bundle>, named: &HashSet<ChunkName>) -> Vec<Vec<Bundle>> {
    let mut groups: Vec<Vec<Bundle>> = Vec::new();
    let (mut bytes, mut chunks) = (0, 0);
    for bundle in bundles {
        let more_bytes: usize = bundle.named(named).map(|part| part.length as usize).sum();
        let more_chunks = bundle.named(named).count();
        match groups.last_mut() {
            Some(group) if bytes + more_bytes <= BUNDLE_BYTES_FULL && chunks + more_chunks <= BUNDLE_CHUNKS_MAX => {
                group.push(bundle);
            }
            _ => {
                (bytes, chunks) = (0, 0);
                groups.push(vec![bundle]);
            }
        }
        bytes += more_bytes;
        chunks += more_chunks;
    }
    groups
}

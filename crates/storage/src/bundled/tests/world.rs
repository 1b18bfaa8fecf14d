//! A storage and an index in memory that share a budget: when it is used up, everything fails, as if the process had died there.

use crate::backend::{Backend, PartRead, Put, Trouble, When, Work};
use crate::bundled::index::{Added, BundleIndex, Found, Known};
use crate::bundled::{BundledStore, Making};
use crate::remote::RemoteStore;
use bytes::Bytes;
use stacksync_chunks::bundle::{Part, Table};
use stacksync_chunks::gc::Named;
use stacksync_chunks::store::{Answer, Direct, DirectOp, StoreError, Stored};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::collections::{BTreeMap, HashSet};
use std::future::ready;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

pub const HOME: WorkspaceId = WorkspaceId(Uuid::from_u128(1));
pub const OTHER: WorkspaceId = WorkspaceId(Uuid::from_u128(2));

/// What all parts of a world share.
#[derive(Default)]
pub struct Shared {
    seconds: AtomicU64,
    /// Steps that still succeed; 0: all of them.
    budget: AtomicUsize,
    pub steps: AtomicUsize,
    pub named: Mutex<HashSet<ChunkName>>,
    /// At this step these become named.
    pub commits: Mutex<Option<(usize, Vec<ChunkName>)>>,
}

impl Shared {
    pub fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + self.seconds.load(Ordering::Relaxed))
    }

    pub fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    /// From the `step`th on everything fails; 0: nothing does.
    pub fn die_at(&self, step: usize) {
        self.budget.store(step, Ordering::Relaxed);
        self.steps.store(0, Ordering::Relaxed);
    }

    fn step(&self) -> bool {
        let step = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        let due = self.commits.lock().unwrap().take_if(|(at, _)| *at <= step);
        self.named.lock().unwrap().extend(due.map(|(_, names)| names).unwrap_or_default());
        let budget = self.budget.load(Ordering::Relaxed);
        budget == 0 || step < budget
    }
}

type Objects = BTreeMap<(WorkspaceId, ChunkName), (Bytes, SystemTime)>;

#[derive(Default)]
pub struct Memory {
    pub shared: Arc<Shared>,
    pub objects: Mutex<Objects>,
    pub requests: AtomicUsize,
}

impl Memory {
    fn done<T: Send + 'static>(&self, work: impl FnOnce(&mut Objects) -> T) -> Work<'_, T> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let result =
            if self.shared.step() { Ok(work(&mut self.objects.lock().unwrap())) } else { Err(Trouble::Failed("died".to_owned())) };
        Box::pin(ready(result))
    }
}

impl Backend for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn prepare(&self) -> Work<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn make_container(&self, _: WorkspaceId) -> Work<'_, ()> {
        self.done(|_| ())
    }

    fn remove_container(&self, _: WorkspaceId) -> Work<'_, ()> {
        self.done(|_| ())
    }

    fn containers(&self) -> Work<'_, Vec<WorkspaceId>> {
        self.done(|objects| objects.keys().map(|(container, _)| *container).collect::<HashSet<_>>().into_iter().collect())
    }

    fn length(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, Option<u64>> {
        self.done(|objects| objects.get(&(container, name)).map(|(bytes, _)| bytes.len() as u64))
    }

    fn put(&self, container: WorkspaceId, name: ChunkName, packed: Bytes, when: When) -> Work<'_, Put> {
        let now = self.shared.now();
        self.done(|objects| {
            if when == When::Absent && objects.contains_key(&(container, name)) {
                return Put::WasThere;
            }
            objects.insert((container, name), (packed, now));
            Put::Stored
        })
    }

    fn get(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, Option<Bytes>> {
        self.done(|objects| objects.get(&(container, name)).map(|(bytes, _)| bytes.clone()))
    }

    fn get_part(&self, container: WorkspaceId, name: ChunkName, start: u64, length: u64) -> Work<'_, Option<PartRead>> {
        self.done(|objects| {
            let (bytes, _) = objects.get(&(container, name))?;
            let (start, end) = ((start as usize).min(bytes.len()), ((start + length) as usize).min(bytes.len()));
            Some(PartRead { bytes: bytes.slice(start..end), total: bytes.len() as u64 })
        })
    }

    fn remove(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, ()> {
        self.done(|objects| drop(objects.remove(&(container, name))))
    }

    fn list(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Work<'_, Vec<Stored>> {
        self.done(|objects| {
            let here = objects.iter().filter(|((of, name), _)| *of == container && after.is_none_or(|after| *name > after));
            let stored =
                here.map(|((_, name), (bytes, modified))| Stored { name: *name, bytes: bytes.len() as u64, modified: *modified });
            stored.take(limit).collect()
        })
    }

    fn direct(&self, _: WorkspaceId, _: DirectOp, name: ChunkName, _: Duration) -> Work<'_, Option<Direct>> {
        self.done(|_| Some(Direct { method: "GET", url: format!("http://memory/{name}"), headers: Vec::new(), checksum: None }))
    }
}

struct Entry {
    name: ChunkName,
    bytes: u64,
    made: SystemTime,
    retired: Option<SystemTime>,
    parts: Vec<Part>,
}

/// Per workspace, oldest first.
#[derive(Default)]
pub struct MemoryIndex {
    pub shared: Arc<Shared>,
    bundles: Mutex<BTreeMap<WorkspaceId, Vec<Entry>>>,
}

impl MemoryIndex {
    fn done<T: Send + 'static>(&self, workspace: WorkspaceId, work: impl FnOnce(&mut Vec<Entry>) -> T) -> Answer<'_, T> {
        let result = if self.shared.step() {
            Ok(work(self.bundles.lock().unwrap().entry(workspace).or_default()))
        } else {
            Err(StoreError::Unavailable("died".to_owned()))
        };
        Box::pin(ready(result))
    }

    /// Everything is forgotten.
    pub fn clear(&self) {
        self.bundles.lock().unwrap().clear();
    }
}

impl Entry {
    fn new(table: Table, made: SystemTime) -> Self {
        Self { name: table.name, bytes: table.bytes, made, retired: None, parts: table.parts }
    }
}

impl BundleIndex for MemoryIndex {
    fn add(&self, workspace: WorkspaceId, table: Table, at: SystemTime) -> Answer<'_, Added> {
        self.done(workspace, |all| match all.iter().find(|entry| entry.name == table.name) {
            Some(entry) if entry.retired.is_some() => Added::Retired,
            Some(_) => Added::WasLive,
            None => {
                all.push(Entry::new(table, at));
                Added::New
            }
        })
    }

    fn find(&self, workspace: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<Found>> {
        self.done(workspace, |all| {
            let names: HashSet<ChunkName> = names.into_iter().collect();
            let live = all.iter().rev().filter(|entry| entry.retired.is_none());
            let places = live.flat_map(|entry| entry.parts.iter().map(move |part| (entry, part)));
            let wanted = places.filter(|(_, part)| names.contains(&part.name));
            wanted.map(|(entry, part)| Found { part: *part, bundle: entry.name, bundle_bytes: entry.bytes }).collect()
        })
    }

    fn list(&self, workspace: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Answer<'_, Vec<Stored>> {
        self.done(workspace, |all| {
            let live = all.iter().filter(|entry| entry.retired.is_none());
            let places = live.flat_map(|entry| entry.parts.iter().map(move |part| (entry, part)));
            let found: BTreeMap<ChunkName, Stored> = places
                .filter(|(_, part)| after.is_none_or(|after| part.name > after))
                .map(|(entry, part)| (part.name, Stored { name: part.name, bytes: part.length.into(), modified: entry.made }))
                .collect();
            found.into_values().take(limit).collect()
        })
    }

    fn bundles(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Known>> {
        self.done(workspace, |all| {
            all.iter().map(|entry| Known { name: entry.name, bytes: entry.bytes, retired: entry.retired }).collect()
        })
    }

    fn parts(&self, workspace: WorkspaceId) -> Answer<'_, Vec<(ChunkName, Part)>> {
        self.done(workspace, |all| all.iter().flat_map(|entry| entry.parts.iter().map(move |part| (entry.name, *part))).collect())
    }

    fn note(&self, workspace: WorkspaceId, name: ChunkName, bytes: u64, since: SystemTime) -> Answer<'_, bool> {
        self.done(workspace, |all| {
            if all.iter().any(|entry| entry.name == name) {
                return false;
            }
            all.push(Entry { name, bytes, made: since, retired: Some(since), parts: Vec::new() });
            true
        })
    }

    fn replace(&self, workspace: WorkspaceId, old: Vec<ChunkName>, new: Option<Table>, since: SystemTime) -> Answer<'_, bool> {
        self.done(workspace, |all| {
            let is_live = |name: &ChunkName| all.iter().any(|entry| entry.name == *name && entry.retired.is_none());
            if !old.iter().all(is_live) || new.as_ref().is_some_and(|new| all.iter().any(|entry| entry.name == new.name)) {
                return false;
            }
            all.iter_mut().filter(|entry| old.contains(&entry.name)).for_each(|entry| entry.retired = Some(since));
            all.extend(new.map(|table| Entry::new(table, since)));
            true
        })
    }

    fn restore(&self, workspace: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, ()> {
        self.done(workspace, |all| {
            all.iter_mut().filter(|entry| names.contains(&entry.name)).for_each(|entry| entry.retired = None);
        })
    }

    fn forget(&self, workspace: WorkspaceId, name: ChunkName, _: Vec<ChunkName>) -> Answer<'_, ()> {
        self.done(workspace, |all| all.retain(|entry| entry.name != name || entry.retired.is_none()))
    }

    fn forget_parts(&self, workspace: WorkspaceId, places: Vec<(ChunkName, ChunkName)>) -> Answer<'_, ()> {
        self.done(workspace, |all| {
            for (chunk, bundle) in places {
                all.iter_mut().filter(|entry| entry.name == bundle).for_each(|entry| entry.parts.retain(|part| part.name != chunk));
            }
        })
    }
}

/// The names that are named.
pub struct Names(pub Arc<Shared>);

impl Named for Names {
    fn named(&self, _: WorkspaceId) -> Answer<'_, HashSet<ChunkName>> {
        Box::pin(ready(Ok(self.0.named.lock().unwrap().clone())))
    }
}

/// A storage in memory, and ways to look behind it.
pub struct World {
    pub shared: Arc<Shared>,
    pub memory: Arc<Memory>,
    pub index: Arc<MemoryIndex>,
    pub store: BundledStore,
}

impl World {
    pub async fn new() -> Self {
        let shared = Arc::<Shared>::default();
        let memory = Arc::new(Memory { shared: shared.clone(), ..Memory::default() });
        let index = Arc::new(MemoryIndex { shared: shared.clone(), ..MemoryIndex::default() });
        let alone = RemoteStore::open(memory.clone()).await.unwrap();
        Self { shared, memory, index: index.clone(), store: BundledStore::new(alone, index, Making::On) }
    }

    pub fn unpacking(&self) -> BundledStore {
        BundledStore::new(self.store.alone().clone(), self.index.clone(), Making::Off)
    }
}

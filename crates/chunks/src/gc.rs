//! Collecting chunks that nobody names any more, beside live traffic.
//!
//! A chunk that a commit in flight relies on was seen in the storage, and is not named yet: it looks exactly like garbage. So nothing is
//! ever removed at once. A chunk that is old and not named is first *set aside*, into a container that no device knows. After that
//! the names are read again, and whatever is named by then is put back; a device that asks for it in between is told that it is
//! missing, and a commit that comes in between is refused with its name, so that the device brings it again. Only a later run, after the
//! grace time, removes what is aside; before that it reads the names once more.
//!
//! So a chunk is lost only to a commit that took longer than the grace time from looking at its chunks to being saved.

use crate::store::{Answer, ChunkStore, StoreError, Stored};
use bytes::Bytes;
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::collections::HashSet;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// Chunks that are handled together.
const GROUP: usize = 64;
/// Chunks of a listing.
const PAGE: usize = 1_000;
/// Makes the id of the container for what is set aside.
const ASIDE: u128 = 0x5e7a_51de_0000_0000_0000_0000_0000_0000;

/// Who knows which chunks are named.
pub trait Named: Send + Sync {
    /// The chunks that any version in this workspace names, all of one moment.
    fn named(&self, workspace: WorkspaceId) -> Answer<'_, HashSet<ChunkName>>;
}

/// How a run proceeds.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Younger chunks are left alone, and what is set aside stays there for so long.
    pub grace: Duration,
    /// So long after setting chunks aside the names are read again.
    pub settle: Duration,
    /// Whether anything is changed.
    pub act: Act,
    /// The time.
    pub now: SystemTime,
}

/// Whether a run changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It only counts.
    DryRun,
    /// It does it.
    Collect,
}

/// What a run did in one workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Chunks that are named, or too young to be looked at.
    pub kept: u64,
    /// Chunks that were set aside now.
    pub aside: u64,
    /// Their packed bytes.
    pub aside_bytes: u64,
    /// Chunks that were put back, since somebody names them.
    pub restored: u64,
    /// Chunks that were removed for good.
    pub removed: u64,
    /// Their packed bytes.
    pub removed_bytes: u64,
}

impl std::ops::AddAssign for Collected {
    fn add_assign(&mut self, other: Self) {
        self.kept += other.kept;
        self.aside += other.aside;
        self.aside_bytes += other.aside_bytes;
        self.restored += other.restored;
        self.removed += other.removed;
        self.removed_bytes += other.removed_bytes;
    }
}

/// Where a workspace's chunks wait to be removed.
pub const fn aside_of(workspace: WorkspaceId) -> WorkspaceId {
    WorkspaceId(Uuid::from_u128(workspace.0.as_u128() ^ ASIDE))
}

/// Collects in one workspace. May be broken off at any moment, and run again.
///
/// # Errors
/// The storage's, or those of who knows the names; what was done by then stays done, and is safe.
pub async fn collect(
    store: &dyn ChunkStore,
    names: &dyn Named,
    workspace: WorkspaceId,
    rules: &Rules,
) -> Result<Collected, StoreError> {
    let mut done = Collected::default();
    let earlier = all(store, aside_of(workspace)).await?;
    let aside: HashSet<ChunkName> = earlier.iter().map(|stored| stored.name).collect();
    let listed = all(store, workspace).await?;
    // Read after the listings: what was put and named before this is seen as named.
    let named = names.named(workspace).await?;
    let (back, rest): (Vec<_>, Vec<_>) = earlier.into_iter().partition(|stored| named.contains(&stored.name));
    done.restored += restore(store, workspace, &back, rules).await?;
    for stored in rest.iter().filter(|stored| is_old(stored, rules)) {
        done.removed += 1;
        done.removed_bytes += stored.bytes;
        if rules.act == Act::Collect {
            store.remove(aside_of(workspace), vec![stored.name]).await?;
        }
    }
    let (garbage, kept): (Vec<_>, Vec<_>) =
        listed.into_iter().partition(|stored| !named.contains(&stored.name) && is_old(stored, rules));
    done.kept += kept.len() as u64;
    for group in garbage.chunks(GROUP) {
        done.aside += group.len() as u64;
        done.aside_bytes += group.iter().map(|stored| stored.bytes).sum::<u64>();
        if rules.act == Act::Collect {
            set_aside(store, workspace, group, &aside).await?;
        }
    }
    if !garbage.is_empty() && rules.act == Act::Collect {
        tokio::time::sleep(rules.settle).await;
        let named = names.named(workspace).await?;
        let back: Vec<_> = garbage.into_iter().filter(|stored| named.contains(&stored.name)).collect();
        done.restored += restore(store, workspace, &back, rules).await?;
    }
    Ok(done)
}

fn is_old(stored: &Stored, rules: &Rules) -> bool {
    rules.now.duration_since(stored.modified).is_ok_and(|age| age >= rules.grace)
}

async fn all(store: &dyn ChunkStore, container: WorkspaceId) -> Result<Vec<Stored>, StoreError> {
    let mut found: Vec<Stored> = Vec::new();
    loop {
        let page = store.list(container, found.last().map(|last| last.name), PAGE).await?;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page);
    }
}

/// What was aside already and came back meanwhile begins a new time there.
async fn set_aside(
    store: &dyn ChunkStore,
    workspace: WorkspaceId,
    group: &[Stored],
    aside: &HashSet<ChunkName>,
) -> Result<(), StoreError> {
    let names: Vec<ChunkName> = group.iter().map(|stored| stored.name).collect();
    let again: Vec<ChunkName> = names.iter().copied().filter(|name| aside.contains(name)).collect();
    if !again.is_empty() {
        store.remove(aside_of(workspace), again).await?;
    }
    carry(store, workspace, aside_of(workspace), names).await.map(drop)
}

/// How many were put back.
async fn restore(store: &dyn ChunkStore, workspace: WorkspaceId, chunks: &[Stored], rules: &Rules) -> Result<u64, StoreError> {
    if rules.act == Act::DryRun {
        return Ok(chunks.len() as u64);
    }
    let mut restored = 0;
    for group in chunks.chunks(GROUP) {
        let names = group.iter().map(|stored| stored.name).collect();
        restored += carry(store, aside_of(workspace), workspace, names).await?;
    }
    Ok(restored)
}

/// How many were moved: those that are there and whole. Copied first, removed then: at every moment each is in one of the two places.
async fn carry(store: &dyn ChunkStore, from: WorkspaceId, to: WorkspaceId, names: Vec<ChunkName>) -> Result<u64, StoreError> {
    let found = store.get_batch(from, names.clone()).await?;
    let there = names.into_iter().zip(found).filter_map(|(name, packed)| packed.map(|packed| (name, packed)));
    let (whole, damaged): (Vec<(ChunkName, Bytes)>, Vec<_>) =
        there.partition(|(name, packed)| crate::pack::unpack(name, packed).is_ok());
    let moved: Vec<ChunkName> = whole.iter().map(|(name, _)| *name).collect();
    let count = moved.len() as u64;
    store.put_batch(to, whole).await?;
    store.remove(from, moved).await?;
    for (name, _) in damaged {
        // Not simply removed: it may have been damaged on the way only, or a device has brought a whole one since.
        store.check(from, name).await?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests;

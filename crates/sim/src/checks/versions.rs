//! The service's tree, after every version that it saves: no orphan, no cycle, no name twice, no version that skips what its maker
//! never saw.

use super::pictures::{Key, key_of_body};
use super::{Facts, fail};
use crate::outcome::{Check, Failure};
use crate::world::{ServiceView, World};
use stacksync_core::values::{Body, ItemId, Kind, NameKey, RemoteItem};
use std::collections::{HashMap, HashSet};

/// A tree with more items is not looked at after every version.
const SMALL: usize = 120;
/// But after so many.
const LARGE_EVERY: u64 = 64;

/// See the module. One per workspace.
#[derive(Debug, Default)]
pub struct Versions {
    latest: HashMap<ItemId, RemoteItem>,
    saved: u64,
}

impl Versions {
    /// The metadata was replaced by older metadata.
    pub fn forget(&mut self) {
        self.latest.clear();
    }

    /// A version was saved. `held`: contents that were ever on the maker's disk.
    pub fn saved(
        &mut self,
        world: &World,
        workspace: usize,
        item: &RemoteItem,
        held: &HashSet<Key>,
        facts: &Facts,
    ) -> Result<(), Failure> {
        self.saved += 1;
        let before = self.latest.insert(item.id, item.clone());
        let had = before.as_ref().filter(|before| !before.deleted).is_some_and(|before| before.body.same_bytes(&item.body));
        if !item.deleted && !had && !facts.went_back && !world.storage_has(workspace, &item.body) {
            let text = format!("version {} of {} names chunks that the storage does not have", item.version, item.place.name);
            return fail(world, Check::ChunksThere, text);
        }
        if let Some(before) = before.filter(|before| !before.deleted && !item.deleted) {
            let (old, new) = (key_of_body(&before.body), key_of_body(&item.body));
            if let Some(old) = old.filter(|_| old != new && !facts.went_back)
                && !held.contains(&old)
            {
                let text =
                    format!("version {} of {} follows one that its maker never had on its disk", item.version, item.place.name);
                return fail(world, Check::NoStaleOverwrite, text);
            }
            if before.version.next() != item.version && !facts.went_back {
                let text = format!("version {} of {} follows version {}", item.version, item.place.name, before.version);
                return fail(world, Check::NoStaleOverwrite, text);
            }
        }
        let view = world.service(workspace);
        if view.items.len() <= SMALL || self.saved.is_multiple_of(LARGE_EVERY) { tree(world, view) } else { Ok(()) }
    }
}

/// What must hold of the service's tree at any time.
pub fn tree(world: &World, view: &ServiceView) -> Result<(), Failure> {
    let mut names: HashSet<(Option<ItemId>, NameKey)> = HashSet::new();
    for item in view.items.values().filter(|item| !item.deleted) {
        let mut above = item.place.parent;
        let mut steps = 0;
        while let Some(id) = above {
            let folder = view.items.get(&id);
            steps += 1;
            if steps > view.items.len() {
                return fail(world, Check::NoCycle, format!("{} ({}) is inside itself", item.place.name, item.id));
            }
            match folder {
                Some(folder) if folder.body == Body::Folder && !folder.deleted => above = folder.place.parent,
                _ => {
                    return fail(
                        world,
                        Check::NoOrphan,
                        format!("{} ({}) is live, but not its folder {id}", item.place.name, item.id),
                    );
                }
            }
        }
        if !names.insert((item.place.parent, item.place.name.key())) {
            return fail(world, Check::OneNameOnce, format!("two live items are called {}", item.place.name));
        }
    }
    Ok(())
}

/// The database has what the service answered: the latest version of every item, and as many past ones as there must be.
pub fn stored(world: &World, workspaces: usize) -> Result<(), Failure> {
    let mut versions = 0;
    for workspace in 0..workspaces {
        let (said, stored) = (world.service(workspace), world.stored(workspace));
        for (id, item) in &said.items {
            versions += item.version.get();
            if stored.items.get(id) != Some(item) {
                let text = format!("the service answered with {item:?}, its database has {:?}", stored.items.get(id));
                return fail(world, Check::NothingLost, text);
            }
        }
        if stored.revision != said.revision || stored.items.len() != said.items.len() {
            let text = format!("the service spoke of revision {}, its database is at {}", said.revision, stored.revision);
            return fail(world, Check::NothingLost, text);
        }
    }
    let stored = world.versions_stored();
    if stored == versions {
        return Ok(());
    }
    fail(world, Check::NothingLost, format!("there were {versions} versions, the database has {stored}"))
}

/// Bytes that live items hold: what the quota must say.
pub fn live_bytes(view: &ServiceView) -> u64 {
    view.items.values().filter(|item| !item.deleted && item.body.kind() == Kind::File).map(|item| item.body.size()).sum()
}

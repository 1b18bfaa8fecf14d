//! Who waits for whom. Only items that are parked are here: one that is looked at again has no place in it.

use crate::reconcile::Wait;
use crate::values::ItemId;
use std::collections::{BTreeMap, BTreeSet};

/// Longest chain of waiting items that is searched for a circle.
const CHAIN_MAX: usize = 100_000;

/// The waiting items of one workspace.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    parked: BTreeMap<ItemId, Wait>,
    by_target: BTreeMap<ItemId, BTreeSet<ItemId>>,
    wanted: BTreeSet<ItemId>,
}

/// The item that has to change before the waiting one can go on, if it is one item.
const fn target(wait: Wait) -> Option<ItemId> {
    match wait {
        Wait::LocalFolder(id)
        | Wait::RemoteFolder(id)
        | Wait::LocalOccupant(id)
        | Wait::RemoteOccupant(id)
        | Wait::Mover(id)
        | Wait::Rules(id)
        | Wait::LocalChild(id)
        | Wait::RemoteChild(id) => Some(id),
        Wait::Grace | Wait::Held => None,
    }
}

impl Waits {
    /// Parks an item. Says whether its target is a folder that nobody wanted before.
    pub fn park(&mut self, id: ItemId, wait: Wait) -> Option<ItemId> {
        self.parked.insert(id, wait);
        let target = target(wait)?;
        self.by_target.entry(target).or_default().insert(id);
        let wants = matches!(wait, Wait::LocalFolder(_) | Wait::RemoteFolder(_));
        (wants && self.wanted.insert(target)).then_some(target)
    }

    /// Unparks an item; its target, if it waited for one.
    pub fn cancel(&mut self, id: ItemId) -> Option<ItemId> {
        target(self.parked.remove(&id)?)
    }

    /// Forgets that the waiter waited for the target. Says whether that leaves a folder that nobody wants any more.
    pub fn release_want(&mut self, target: ItemId, waiter: ItemId) -> bool {
        let Some(waiters) = self.by_target.get_mut(&target) else { return false };
        waiters.remove(&waiter);
        let wants = |id: &ItemId| matches!(self.parked.get(id), Some(Wait::LocalFolder(_) | Wait::RemoteFolder(_)));
        let still_wanted = waiters.iter().any(wants);
        if waiters.is_empty() {
            self.by_target.remove(&target);
        }
        !still_wanted && self.wanted.remove(&target)
    }

    /// Unparks all that waited for the item.
    pub fn release(&mut self, target: ItemId) -> BTreeSet<ItemId> {
        self.wanted.remove(&target);
        let waiters = self.by_target.remove(&target).unwrap_or_default();
        for waiter in &waiters {
            self.parked.remove(waiter);
        }
        waiters
    }

    /// Folders that somebody waits for.
    pub const fn wanted(&self) -> &BTreeSet<ItemId> {
        &self.wanted
    }

    /// Every parked item.
    pub fn all(&self) -> Vec<ItemId> {
        self.parked.keys().copied().collect()
    }

    /// What the item waits for.
    pub fn of(&self, id: ItemId) -> Option<Wait> {
        self.parked.get(&id).copied()
    }

    /// If the item waits for itself in the end: an item in that circle that waits for the occupant of a name, where the circle can be
    /// broken; on the disk rather than on the service.
    pub fn breakable_circle(&self, id: ItemId) -> Option<(ItemId, Wait)> {
        let mut breakable = None;
        let mut at = id;
        for _ in 0..CHAIN_MAX {
            let wait = self.of(at)?;
            match wait {
                Wait::LocalOccupant(_) => breakable = Some((at, wait)),
                Wait::RemoteOccupant(_) => breakable = breakable.or(Some((at, wait))),
                Wait::LocalFolder(_)
                | Wait::RemoteFolder(_)
                | Wait::Mover(_)
                | Wait::Rules(_)
                | Wait::LocalChild(_)
                | Wait::RemoteChild(_) => {}
                Wait::Grace | Wait::Held => return None,
            }
            at = target(wait)?;
            if at == id {
                return breakable;
            }
        }
        None
    }

    /// Whether the item waits for folders only, and in the end for itself: folders that the service puts inside each other. Nothing that
    /// is done here can end that.
    pub fn is_folder_loop(&self, id: ItemId) -> bool {
        let mut at = id;
        for _ in 0..CHAIN_MAX {
            let Some(Wait::LocalFolder(folder)) = self.of(at) else { return false };
            at = folder;
            if at == id {
                return true;
            }
        }
        false
    }

    /// The items of a circle in the order of waiting: each waits for the next, the last one for the first.
    pub fn circle(&self, first: ItemId) -> Vec<ItemId> {
        let mut members = vec![first];
        let mut at = first;
        while let Some(next) = self.of(at).and_then(target).filter(|&next| next != first && members.len() < CHAIN_MAX) {
            members.push(next);
            at = next;
        }
        members
    }
}

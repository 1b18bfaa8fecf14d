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

impl Waits {
    /// Parks an item. Says whether its target is a folder that nobody wanted before.
    pub fn park(&mut self, id: ItemId, wait: Wait) -> Option<ItemId> {
        self.parked.insert(id, wait);
        let target = wait.target()?;
        self.by_target.entry(target).or_default().insert(id);
        let wants = matches!(wait, Wait::LocalFolder(_) | Wait::RemoteFolder(_));
        (wants && self.wanted.insert(target)).then_some(target)
    }

    /// Unparks an item; its target, if it waited for one.
    pub fn cancel(&mut self, id: ItemId) -> Option<ItemId> {
        self.parked.remove(&id)?.target()
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
            at = wait.target()?;
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
        while let Some(next) = self.of(at).and_then(Wait::target).filter(|&next| next != first && members.len() < CHAIN_MAX) {
            members.push(next);
            at = next;
        }
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: i64) -> ItemId {
        ItemId::new(number).unwrap()
    }

    fn parked(waits: &[(i64, Wait)]) -> Waits {
        let mut all = Waits::default();
        for (item, wait) in waits {
            all.park(id(*item), *wait);
        }
        all
    }

    #[test]
    fn a_folder_is_wanted_for_as_long_as_somebody_waits_for_it() {
        let (a, b, folder) = (id(1), id(2), id(3));
        let mut waits = Waits::default();
        assert_eq!(waits.park(a, Wait::LocalFolder(folder)), Some(folder));
        assert_eq!(waits.park(b, Wait::RemoteFolder(folder)), None, "wanted already");
        assert_eq!(waits.cancel(a), Some(folder));
        assert!(!waits.release_want(folder, a), "the other one still wants it");
        assert!(waits.wanted().contains(&folder));
        assert_eq!(waits.cancel(b), Some(folder));
        assert!(waits.release_want(folder, b));
        assert!(waits.wanted().is_empty());
        assert!(!waits.release_want(folder, b), "it is told once");
        // Whoever waits for a name to become free wants no folder.
        assert_eq!(waits.park(a, Wait::LocalOccupant(folder)), None);
        assert_eq!(waits.cancel(a), Some(folder));
        assert!(!waits.release_want(folder, a));
    }

    #[test]
    fn all_that_waited_are_let_go_at_once() {
        let folder = id(3);
        let mut waits = parked(&[(1, Wait::LocalFolder(folder)), (2, Wait::RemoteChild(folder)), (4, Wait::Held)]);
        assert_eq!(waits.all(), [id(1), id(2), id(4)]);
        assert_eq!(waits.release(folder), BTreeSet::from([id(1), id(2)]));
        assert_eq!((waits.of(id(1)), waits.of(id(4))), (None, Some(Wait::Held)));
        assert!(waits.wanted().is_empty());
        assert!(waits.release(folder).is_empty());
        assert_eq!(waits.cancel(id(4)), None, "it waited for no item");
    }

    #[test]
    fn a_circle_is_broken_where_a_name_is_taken_on_the_disk_rather_than_on_the_service() {
        let (disk, service) = (Wait::LocalOccupant(id(2)), Wait::RemoteOccupant(id(3)));
        let waits = parked(&[(1, disk), (2, service), (3, Wait::Mover(id(1)))]);
        for item in 1..=3 {
            assert_eq!(waits.breakable_circle(id(item)), Some((id(1), disk)), "{item}");
        }
        assert_eq!(waits.circle(id(1)), [id(1), id(2), id(3)]);
        let on_service = parked(&[(1, Wait::Mover(id(2))), (2, service), (3, Wait::LocalChild(id(1)))]);
        assert_eq!(on_service.breakable_circle(id(1)), Some((id(2), service)));
        let two_on_service = parked(&[(2, service), (3, Wait::RemoteOccupant(id(2)))]);
        assert_eq!(two_on_service.breakable_circle(id(2)), Some((id(2), service)), "the first of them");
        let no_names = parked(&[(1, Wait::Mover(id(2))), (2, Wait::LocalFolder(id(1)))]);
        assert_eq!(no_names.breakable_circle(id(1)), None);
        let no_circle = parked(&[(1, disk), (2, Wait::Grace)]);
        assert_eq!(no_circle.breakable_circle(id(1)), None);
        let into_one = parked(&[(9, disk), (2, service), (3, Wait::LocalOccupant(id(2)))]);
        assert_eq!(into_one.breakable_circle(id(9)), None, "it waits for a circle, but is not in it");
    }

    #[test]
    fn folders_inside_each_other_are_a_loop_and_nothing_else_is() {
        let looped = parked(&[(1, Wait::LocalFolder(id(2))), (2, Wait::LocalFolder(id(1))), (3, Wait::LocalFolder(id(1)))]);
        assert!(looped.is_folder_loop(id(1)) && looped.is_folder_loop(id(2)));
        assert!(!looped.is_folder_loop(id(3)), "it is only below");
        assert!(!parked(&[(1, Wait::LocalFolder(id(2))), (2, Wait::RemoteChild(id(1)))]).is_folder_loop(id(1)));
        assert!(!parked(&[(1, Wait::LocalFolder(id(2)))]).is_folder_loop(id(1)));
    }
}

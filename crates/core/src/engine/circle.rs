//! Items that wait for each other. Whoever waits for the occupant of a name breaks the circle: it goes to its folder under a passing
//! name, and gets its own name when that is free.

use super::Engine;
use super::work::{Busy, Committing, Purpose};
use crate::commit::{COMMIT_ITEMS_MAX, ItemCommit};
use crate::names::passing_name;
use crate::reconcile::Wait;
use crate::values::{ItemId, Kind, ModifiedAt, Place, Status, Version};

impl Engine {
    pub(super) fn park(&mut self, id: ItemId, wait: Wait) {
        self.await_effect(id, wait);
        match self.waits.breakable_circle(id) {
            Some((waiter, Wait::LocalOccupant(occupant))) => self.break_on_disk(waiter, occupant),
            Some((waiter, Wait::RemoteOccupant(_))) => self.break_on_service(waiter),
            Some(_) | None => {}
        }
    }

    /// Parks an item until an effect that is under way has ended. It will end: if the item is in a circle, this is not the moment to break it.
    pub(super) fn await_effect(&mut self, id: ItemId, wait: Wait) {
        // It does not move as soon as it can any more: what it waits for comes first.
        self.work.parked_moves.remove(&id);
        // In a loop of folders each would have the next one looked at again, for ever.
        if let Some(wanted) = self.waits.park(id, wait)
            && !self.waits.is_folder_loop(id)
        {
            self.dirty(wanted);
        }
    }

    /// A circle of items that wait for each other: the waiter goes to its folder under a passing name, which sets its own name free. Without
    /// a file to move, the occupant steps aside: under a passing name if the service has a place for it, else under a conflict name.
    pub(super) fn break_on_disk(&mut self, waiter: ItemId, occupant: ItemId) {
        let item = self.trees.get(waiter);
        let passing =
            item.remote_live().map(|remote| Place { parent: remote.place.parent, name: passing_name(waiter, &remote.place.name) });
        match (&item.local, passing) {
            // A folder that is to go where it is above itself on the disk cannot be the first to move.
            (Some(local), Some(passing))
                if local.place != passing
                    && !self.trees.local_ancestors(passing.parent).contains(&waiter)
                    && self.trees.local_clash(&passing, waiter).is_none() =>
            {
                return self.start_move_to(waiter, passing, Purpose::Move);
            }
            (_, _) => {}
        }
        let unknown = self.trees.get(occupant).remote_live().is_none();
        let pushes = unknown || matches!(self.waits.of(occupant), Some(Wait::RemoteOccupant(_) | Wait::RemoteFolder(_)));
        let local = self.trees.local(occupant).cloned();
        if let Some(mover) = local.as_ref().and_then(|local| self.moving_above(local.place.parent)) {
            return self.await_effect(occupant, Wait::Mover(mover));
        }
        match local {
            Some(local) if pushes => {
                self.start_conflict_move(occupant, &local, Purpose::Move, "the service has another item of that name");
            }
            Some(local) => self.start_move(occupant, passing_name(occupant, &local.place.name), Purpose::Move),
            None => {}
        }
    }

    /// The same on the service: the waiter goes to its folder under a passing name, and the others follow, in one commit if all of them are only moved
    /// or made. Its own name is for the next commit: in this one a version of somebody else could come in between, and would be overwritten.
    pub(super) fn break_on_service(&mut self, waiter: ItemId) {
        let Some(mut aside) = self.commit_as_on_disk(waiter) else { return };
        let own_name = aside.commit.place.name.clone();
        aside.commit.place.name = passing_name(waiter, &own_name);
        if self.trees.remote_clash(&aside.commit.place, waiter).is_some() {
            // Somebody gave it to another item.
            let Some(name) = self.free_name(waiter, aside.commit.place.parent, &own_name) else { return };
            aside.commit.place.name = name;
        }
        if self.trees.get(waiter).remote_live().is_some_and(|remote| remote.place == aside.commit.place) {
            return;
        }
        let others = self.waits.circle(waiter).into_iter().skip(1).rev();
        let others: Option<Vec<Committing>> = others.map(|id| self.commit_as_on_disk(id)).collect();
        let mut commits = vec![aside];
        commits.extend(others.into_iter().flatten());
        if self.work.batch.len() + commits.len() > COMMIT_ITEMS_MAX {
            self.send_commit();
        }
        for commit in &commits {
            self.unpark(commit.commit.id);
            self.work.busy.insert(commit.commit.id, Busy::Commit);
        }
        self.work.batch.append(&mut commits);
    }

    /// The commit that makes the service's item what the disk has, if the item waits for nothing but another's name or folder.
    pub(super) fn commit_as_on_disk(&self, id: ItemId) -> Option<Committing> {
        let item = self.trees.get(id);
        let local = item.local.as_ref().filter(|_| !self.work.is_busy(id))?;
        let (version, status) = match (&item.remote, &item.synced) {
            (None, _) => (Version::FIRST, Status::New),
            (Some(remote), _) if remote.deleted => (remote.version.next(), Status::Changed),
            (Some(remote), Some(synced)) if remote.version == synced.version => (remote.version.next(), Status::Renamed),
            (Some(_), _) => return None,
        };
        let body = local.body.clone()?;
        let modified = if local.stat.kind == Kind::File { local.stat.modified } else { ModifiedAt(0) };
        let commit = ItemCommit { id, version, status, place: local.place.clone(), body, modified };
        Some(Committing { commit, stat: Some(local.stat.clone()) })
    }
}

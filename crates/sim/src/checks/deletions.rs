//! Deletions: what was deleted stays deleted, and a mass of deletions waits for approval.

use super::pictures::{At, By, Change, Key, key_of_body};
use super::{Facts, fail};
use crate::outcome::{Check, Failure};
use crate::scenario::Fault;
use crate::world::World;
use stacksync_core::values::{ItemId, RemoteItem};
use std::collections::{HashMap, HashSet};

/// As the guard has it: fewer deletions are never held, unless nothing at all is left; then so few are.
const MASS: usize = 20;
const EMPTIED: usize = 3;

/// Whether the guard has to hold so many deletions.
pub const fn is_mass(gone: usize, left: usize) -> bool {
    (gone >= MASS && gone > left) || (left == 0 && gone >= EMPTIED)
}

/// What people did with one content.
#[derive(Clone, Debug, Default)]
struct Life {
    path: String,
    made: u32,
    touched: u32,
    gone: u32,
}

/// See the module. One per workspace.
#[derive(Debug, Default)]
pub struct Deletions {
    lives: HashMap<Key, Life>,
    /// Items as they were saved last.
    last: HashMap<ItemId, RemoteItem>,
    /// By member: items that vanished at once, and how many of their deletions were saved.
    guarded: HashMap<usize, (HashSet<ItemId>, usize)>,
}

impl Deletions {
    /// A disk changed.
    pub fn changed(&mut self, world: &World, change: &Change) {
        if let Some((items, _)) = self.guarded.get(&change.member)
            && (!is_mass(items.len(), change.left) || change.by == By::Power)
        {
            // Something came meanwhile, or some of it is there again: it is no mass any more, or another one.
            self.guarded.remove(&change.member);
        }
        if change.by != By::Person {
            return;
        }
        for (key, path) in change.came() {
            let life = self.lives.entry(key).or_default();
            life.made += 1;
            path.clone_into(&mut life.path);
        }
        for (key, _) in change.gone() {
            self.lives.entry(key).or_default().gone += 1;
        }
        // What was replaced without a trace lives on elsewhere, and nobody can know.
        for key in change.invisible().filter_map(|(old, _)| old) {
            self.lives.entry(key).or_default().touched += 2;
        }
        for at in change.paths.values() {
            let Some((entry, key)) = at.now.as_ref().and_then(|entry| Some((entry, entry.key?))) else { continue };
            let same = at.before.as_ref().is_some_and(|old| {
                old.seen.modified_ns == entry.seen.modified_ns
                    && old.seen.executable == entry.seen.executable
                    && old.key == entry.key
            });
            if !same {
                self.lives.entry(key).or_default().touched += 1;
            }
        }
        self.watch_guard(world, change);
    }

    fn watch_guard(&mut self, world: &World, change: &Change) {
        let workspace = world.members()[change.member].workspace;
        let vanished = |at: &At| {
            let Some(entry) = at.before.as_ref().filter(|_| at.now.is_none()) else { return false };
            entry.key.is_none_or(|key| change.counts(key).1 == 0)
        };
        let vanished: Vec<&String> = change.paths.iter().filter(|(_, at)| vanished(at)).map(|(path, _)| path).collect();
        if vanished.len() < EMPTIED {
            return;
        }
        let picture = world.service(workspace).picture();
        let by_path: HashMap<String, ItemId> = picture.iter().map(|(path, item)| (path.to_string(), item.id)).collect();
        let items: HashSet<ItemId> = vanished.iter().filter_map(|path| by_path.get(*path).copied()).collect();
        if is_mass(items.len(), change.left) {
            self.guarded.insert(change.member, (items, 0));
        } else {
            self.guarded.remove(&change.member);
        }
    }

    /// Somebody approved, or everything is different now.
    pub fn approved(&mut self, member: usize) {
        self.guarded.remove(&member);
    }

    /// A deletion was saved. Of what the watcher lost the engine learns later: then it did not vanish at once.
    pub fn saved(&mut self, world: &World, member: usize, item: &RemoteItem, facts: &Facts) -> Result<(), Failure> {
        self.note_move(item);
        if facts.saw(Fault::EventLost) || facts.saw(Fault::EventLate) {
            return Ok(());
        }
        let Some((items, saved)) = self.guarded.get_mut(&member) else { return Ok(()) };
        if !item.deleted || !items.contains(&item.id) {
            return Ok(());
        }
        *saved += 1;
        // The first of them may have been told one by one.
        if *saved > items.len() / 2 {
            let text = format!("{saved} of {} items that vanished at once were deleted without approval", items.len());
            return fail(world, Check::GuardHolds, text);
        }
        Ok(())
    }

    /// A move is a change, and beats the deletion of somebody who did not know of it; whose disk made it, with which content, shows only
    /// in what was saved. So does one that came after the deletion: the item lives again, at another place.
    fn note_move(&mut self, item: &RemoteItem) {
        let before = self.last.insert(item.id, item.clone());
        let moved = |before: &RemoteItem| before.place != item.place && before.body.same_bytes(&item.body);
        if let Some(key) = key_of_body(&item.body).filter(|_| before.as_ref().is_some_and(moved)) {
            self.lives.entry(key).or_default().touched += 1;
        }
    }

    /// What one person made, and one person deleted or overwrote, and nobody else did anything with, is not live.
    pub fn at_rest(&self, world: &World, workspace: usize, facts: &Facts) -> Result<(), Failure> {
        let faults = [Fault::StateLost, Fault::RootLost, Fault::FileBroken];
        let excused = facts.restarted || facts.went_back || facts.conflicts || faults.into_iter().any(|fault| facts.saw(fault));
        if excused {
            return Ok(());
        }
        let simple = |key: &Key| self.lives.get(key).filter(|life| (life.made, life.touched, life.gone) == (1, 1, 1));
        for item in world.service(workspace).items.values().filter(|item| !item.deleted) {
            if let Some(life) = key_of_body(&item.body).as_ref().and_then(simple) {
                let text = format!("{} was made once and deleted once, and lives again as {}", life.path, item.place.name);
                return fail(world, Check::NoResurrection, text);
            }
        }
        Ok(())
    }
}

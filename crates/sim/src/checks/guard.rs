//! The guard over deletions that come one after the other.
//!
//! Of things that vanish within a while until nothing is left, the last one that the engine learns of has to be held, and with it whatever
//! vanished so shortly before that its deletion was not told yet. What vanishes in one go is looked at in `deletions`.

use super::deletions::is_mass;
use super::pictures::{At, By, Change};
use super::{Facts, fail};
use crate::outcome::{Check, Failure};
use crate::scenario::Fault;
use crate::world::World;
use stacksync_core::values::{ItemId, RemoteItem};
use std::collections::HashMap;

/// Half of the time for which the guard counts, in milliseconds: what it learns of late, it has to count, too.
const LATELY_MS: u64 = 30_000;
/// A deletion waits longer than this before it is told, in milliseconds.
const WAITS_MS: u64 = 300;

/// One laptop's folder, lately.
#[derive(Debug, Default)]
struct Lately {
    /// What vanished, and when; `true`: its deletion was saved.
    vanished: HashMap<ItemId, (u64, bool)>,
    /// Whether it became a mass.
    is_mass: bool,
    /// Since when the engine says that it holds deletions.
    holds_since: Option<u64>,
}

/// See the module. One per workspace.
#[derive(Debug, Default)]
pub struct Guarded {
    lately: HashMap<usize, Lately>,
}

impl Guarded {
    /// A disk changed.
    pub fn changed(&mut self, world: &World, change: &Change) {
        let vanished = |at: &At| at.before.is_some() && at.now.is_none();
        if change.by != By::Person || change.paths.values().any(|at| at.before.is_none()) {
            // Something came: what is a mass and what only moved is another question now.
            if change.paths.values().any(|at| at.before.is_none()) || change.by == By::Power {
                self.lately.remove(&change.member);
            }
            return;
        }
        let paths: Vec<&String> = change.paths.iter().filter(|(_, at)| vanished(at)).map(|(path, _)| path).collect();
        if paths.is_empty() {
            return;
        }
        let (now, member) = (world.now().ms, &world.members()[change.member]);
        let synced = |id: &ItemId| member.remembered.rows.get(id).is_some_and(|row| row.synced.is_some());
        let lately = self.lately.entry(change.member).or_default();
        lately.vanished.retain(|_, (at, _)| *at + LATELY_MS >= now);
        for (path, item) in world.service(member.workspace).picture() {
            if paths.contains(&&path.to_string()) && synced(&item.id) {
                lately.vanished.insert(item.id, (now, false));
            }
        }
        lately.is_mass = is_mass(lately.vanished.len(), change.left);
    }

    /// After every step: which engines hold something.
    pub fn look(&mut self, world: &World) {
        for (member, lately) in &mut self.lately {
            if lately.is_mass {
                let holds = world.members()[*member].engine.status().held > 0;
                lately.holds_since = holds.then(|| lately.holds_since.unwrap_or(world.now().ms));
            }
        }
    }

    /// Somebody approved, the client started again, or everything is different now.
    pub fn forget(&mut self, member: usize) {
        self.lately.remove(&member);
    }

    /// A deletion was saved.
    pub fn saved(&mut self, world: &World, member: usize, item: &RemoteItem, facts: &Facts) -> Result<(), Failure> {
        // What an engine cannot look at it learns of later.
        let late = [Fault::EventLost, Fault::EventLate, Fault::FileBroken, Fault::Unreadable, Fault::RootLost, Fault::ClockJump];
        if !item.deleted || facts.went_back || late.into_iter().any(|fault| facts.saw(fault)) {
            return Ok(());
        }
        let Some(lately) = self.lately.get_mut(&member) else { return Ok(()) };
        let Some((vanished, saved)) = lately.vanished.get_mut(&item.id) else { return Ok(()) };
        *saved = true;
        if lately.holds_since.is_some_and(|since| *vanished + WAITS_MS >= since) {
            let text = format!("{} was deleted while the guard held what vanished with it", item.place.name);
            return fail(world, Check::GuardHolds, text);
        }
        if lately.is_mass && lately.vanished.values().all(|(_, saved)| *saved) {
            let text = format!("all of {} items that vanished one after the other were deleted", lately.vanished.len());
            return fail(world, Check::GuardHolds, text);
        }
        Ok(())
    }
}

//! What the engine says: its log, its status, its limits.

use super::{Facts, fail};
use crate::outcome::{Check, Failure};
use crate::world::{Happened, Member, World};
use stacksync_core::commit::COMMIT_ITEMS_MAX;
use stacksync_core::values::{ItemId, ItemPath};
use std::collections::{HashMap, HashSet};

/// The engine's limits, as its sources name them: uploads, actions on the disk and commits under way.
const UPLOADS_MAX: usize = 1_024;
const APPLIES_MAX: usize = 2_048;
const COMMITS_MAX: usize = 3;
/// The status is asked for after so many steps: it walks over the tree.
const ASK_EVERY: u64 = 61;

/// See the module.
#[derive(Debug, Default)]
pub struct Said {
    /// Workspace, version, deleted.
    saved: HashSet<(usize, u64, bool)>,
}

impl Said {
    /// After a step.
    pub fn check(&mut self, world: &World) -> Result<(), Failure> {
        for happened in world.happened() {
            match happened {
                // By whomever: two laptops that delete the same item make one version.
                Happened::Saved { workspace, item, .. } => {
                    self.saved.insert((*workspace, item.version.get(), item.deleted));
                }
                Happened::Acknowledged { items, .. } if items.len() > COMMIT_ITEMS_MAX => {
                    return fail(world, Check::Bounded, format!("a commit of {} items", items.len()));
                }
                Happened::Logged { laptop, workspace, entry } => {
                    let deleted = entry.verb == "removed";
                    let told = matches!(entry.verb, "uploaded" | "changed" | "renamed" | "removed");
                    let version = entry.detail.strip_prefix("version ").and_then(|version| version.parse().ok());
                    let Some(version) = version.filter(|_| told) else { continue };
                    if !self.saved.contains(&(*workspace, version, deleted)) {
                        let text = format!(
                            "laptop{laptop} says {} {} {}, and the service saved no such thing",
                            entry.path, entry.verb, entry.detail
                        );
                        return fail(world, Check::LogAgrees, text);
                    }
                }
                _ => {}
            }
        }
        if world.step_number().is_multiple_of(ASK_EVERY) { bounded(world) } else { Ok(()) }
    }
}

fn bounded(world: &World) -> Result<(), Failure> {
    for member in world.members() {
        let status = member.engine.status();
        if status.uploads > UPLOADS_MAX || status.applies > APPLIES_MAX || status.commits > COMMITS_MAX {
            return fail(world, Check::Bounded, format!("laptop{}: {status:?}", member.laptop));
        }
    }
    Ok(())
}

/// What the engine says of every path, when everything rests, is what the service has.
pub fn at_rest(world: &World, facts: &Facts) -> Result<(), Failure> {
    for member in world.members() {
        let status = member.engine.status();
        let who = facts.name(member.laptop, member.workspace);
        // What a file system cannot hold is a problem, and is told.
        let places = places(world, member.workspace);
        let told = |path: &ItemPath| !member.disk.holds(&path.to_string()) || cannot_go(member, &places, path);
        let problem = status.problems.iter().find(|problem| !told(&problem.path));
        let excused = !status.problems.is_empty();
        if problem.is_some() || (status.waiting > 0 && !excused) || status.held > 0 {
            let plan = member.engine.plan();
            return fail(world, Check::NoProblemLeft, format!("{who}: {status:?}, plan {plan:?}"));
        }
        if let Some(line) = member.engine.plan().first().filter(|_| !excused) {
            return fail(world, Check::PlanTwiceDoesNothing, format!("{who} still wants to {line:?}"));
        }
        if let Err(text) = member.engine.check() {
            return fail(world, Check::EngineSound, format!("{who}: {text}"));
        }
        let view = world.service(member.workspace);
        if status.cursor.revision.0 != view.revision {
            let text = format!("{who} says revision {}, the service is at {}", status.cursor.revision.0, view.revision);
            return fail(world, Check::LogAgrees, text);
        }
        why(world, facts, member)?;
    }
    Ok(())
}

/// Where the service has every item of a workspace.
pub fn places(world: &World, workspace: usize) -> HashMap<ItemId, ItemPath> {
    world.service(workspace).picture().into_iter().map(|(path, item)| (item.id, path)).collect()
}

/// Items that wait for each other's names, at most.
const CHAIN_MAX: usize = 16;

/// Whether what is at this path on the disk is an item that the service has at a path that this disk cannot hold, or where another such item
/// is: it stays where it was, and that is told.
pub fn cannot_go(member: &Member, places: &HashMap<ItemId, ItemPath>, path: &ItemPath) -> bool {
    stays(member, places, path, CHAIN_MAX)
}

/// Whether what the service has at this path cannot come to the disk: it cannot hold it, or something that cannot go is there, or where
/// a folder above should be.
pub fn cannot_come(member: &Member, places: &HashMap<ItemId, ItemPath>, path: &ItemPath) -> bool {
    stays_away(member, places, path, CHAIN_MAX)
}

fn stays(member: &Member, places: &HashMap<ItemId, ItemPath>, path: &ItemPath, chain: usize) -> bool {
    let place = member.engine.why(path).and_then(|why| places.get(&why.id));
    place.is_some_and(|place| chain > 0 && place != path && stays_away(member, places, place, chain - 1))
}

fn stays_away(member: &Member, places: &HashMap<ItemId, ItemPath>, path: &ItemPath, chain: usize) -> bool {
    let mut above = ItemPath::top();
    path.names().iter().any(|name| {
        above = above.join(name);
        !member.disk.holds(&above.to_string()) || stays(member, places, &above, chain)
    })
}

/// More paths are not asked about.
const PATHS_ASKED: usize = 40;

fn why(world: &World, facts: &Facts, member: &Member) -> Result<(), Failure> {
    let who = facts.name(member.laptop, member.workspace);
    let places = places(world, member.workspace);
    for (path, item) in world.service(member.workspace).picture().into_iter().take(PATHS_ASKED) {
        let path: ItemPath = path;
        let why = member.engine.why(&path);
        let held = member.disk.holds(&path.to_string());
        let agrees = !held
            || cannot_come(member, &places, &path)
            || why.as_ref().is_some_and(|why| {
                let remote = why.item.remote.as_ref();
                why.id == item.id && remote.is_some_and(|remote| remote.version == item.version) && why.next.action == "nothing"
            });
        if !agrees {
            return fail(world, Check::LogAgrees, format!("{who} says of {path}: {why:?}; the service has {item:?}"));
        }
    }
    Ok(())
}

//! What must hold in every world, each under a name of [`Check`].
//!
//! The checks look at the disks, at the service's database and at what people did; never at what an engine believes, but to compare
//! what it *says* with them. What a fault makes impossible is excused by name in [`Facts`], and by nothing else.

mod contents;
mod deletions;
mod equal;
mod guard;
mod modes;
mod pictures;
mod said;
mod versions;

use crate::outcome::{Check, Failure};
use crate::scenario::Fault;
use crate::world::{Happened, World};
use contents::Contents;
use deletions::Deletions;
use guard::Guarded;
use modes::Modes;
use pictures::{By, Change, Pictures};
pub(crate) use pictures::{Key, key_of_body, key_of_bytes};
use said::Said;
use std::collections::{BTreeSet, HashMap, HashSet};
use versions::Versions;

/// Looks at a world while it runs.
pub trait Observer {
    /// After each step of the scheduler; `world.happened()` says what happened in it.
    ///
    /// # Errors
    /// What does not hold.
    fn after_step(&mut self, world: &World) -> Result<(), Failure>;
    /// When nothing is left to do and no fault happens any more.
    ///
    /// # Errors
    /// What does not hold.
    fn at_rest(&mut self, world: &World) -> Result<(), Failure>;
}

/// What happened so far that excuses something.
#[derive(Debug, Default)]
pub struct Facts {
    faults: BTreeSet<Fault>,
    /// The storage lost or damaged a chunk that it had.
    storage_failed: bool,
    /// The service was replaced by an older copy.
    went_back: bool,
    /// A client started again: what it knew and had not saved is gone.
    restarted: bool,
    /// The first start of a client.
    started: BTreeSet<usize>,
    /// Somebody made a conflict copy or gave way: an item has a version that no person made.
    conflicts: bool,
}

impl Facts {
    fn saw(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// A content may be there twice after a client forgot which file is which, or when a disk failed half way and did not let it undo the
    /// first half.
    fn may_duplicate(&self) -> bool {
        let disk_failed = self.saw(Fault::FileBroken) || self.saw(Fault::Unreadable);
        self.restarted || self.went_back || self.saw(Fault::StateLost) || disk_failed
    }

    fn name(&self, laptop: usize, workspace: usize) -> String {
        format!("laptop{laptop} in workspace{workspace}")
    }

    fn who(&self, world: &World, member: usize) -> String {
        let member = &world.members()[member];
        self.name(member.laptop, member.workspace)
    }

    fn note(&mut self, happened: &Happened) {
        match happened {
            Happened::Fault { fault, .. } => {
                self.faults.insert(*fault);
                self.storage_failed |= matches!(fault, Fault::ChunkLost | Fault::ChunkFlipped);
            }
            Happened::WentBack { .. } => self.went_back = true,
            Happened::Started { laptop } => self.restarted |= !self.started.insert(*laptop),
            Happened::Logged { entry, .. } => self.conflicts |= matches!(entry.verb, "conflict" | "merged"),
            _ => {}
        }
    }
}

/// All checks.
#[derive(Debug, Default)]
pub struct Checks {
    facts: Facts,
    pictures: Pictures,
    contents: Vec<Contents>,
    versions: Vec<Versions>,
    deletions: Vec<Deletions>,
    modes: Vec<Modes>,
    guarded: Vec<Guarded>,
    /// How often people put a content somewhere, by workspace.
    put: Vec<HashMap<Key, usize>>,
    /// Contents that were ever on a disk, by member.
    held: Vec<HashSet<Key>>,
    said: Said,
}

fn fail<T>(world: &World, check: Check, text: String) -> Result<T, Failure> {
    Err(Failure { check, step: world.step_number(), text })
}

impl Checks {
    fn begin(&mut self, world: &World) {
        let workspaces = world.scenario().workspaces.len();
        self.contents.resize_with(workspaces, Contents::default);
        self.versions.resize_with(workspaces, Versions::default);
        self.deletions.resize_with(workspaces, Deletions::default);
        self.modes.resize_with(workspaces, Modes::default);
        self.guarded.resize_with(workspaces, Guarded::default);
        self.put.resize_with(workspaces, HashMap::new);
        self.held.resize_with(world.members().len(), HashSet::new);
    }

    fn changed(&mut self, world: &World, change: &Change) -> Result<(), Failure> {
        let workspace = world.members()[change.member].workspace;
        self.held[change.member].extend(change.contents().filter(|(_, (_, now))| *now > 0).map(|(key, _)| key));
        if change.by == By::Person {
            count_put(&mut self.put[workspace], change);
        }
        self.deletions[workspace].changed(world, change);
        self.modes[workspace].changed(change);
        self.guarded[workspace].changed(world, change);
        self.contents[workspace].changed(world, change, &self.facts)
    }

    fn noted(&mut self, world: &World, happened: &Happened) -> Result<(), Failure> {
        match happened {
            Happened::Saved { workspace, laptop, item } => {
                let member = world.members().iter().position(|member| (member.laptop, member.workspace) == (*laptop, *workspace));
                let Some(member) = member else {
                    return fail(world, Check::OnlyMembersWrite, format!("laptop{laptop} wrote to workspace{workspace}"));
                };
                self.contents[*workspace].saved(&item.body);
                self.deletions[*workspace].saved(world, member, item, &self.facts)?;
                self.guarded[*workspace].saved(world, member, item, &self.facts)?;
                self.versions[*workspace].saved(world, *workspace, item, &self.held[member], &self.facts)
            }
            Happened::Wrote { laptop, workspace, bytes } => {
                let members = world.members().iter();
                let member = members.clone().position(|member| (member.laptop, member.workspace) == (*laptop, *workspace));
                self.contents[*workspace].wrote(member.unwrap_or_default(), bytes);
                Ok(())
            }
            Happened::WentBack { .. } => {
                self.versions.iter_mut().for_each(Versions::forget);
                Ok(())
            }
            Happened::Approved { laptop, workspace } => {
                let members = world.members().iter().enumerate();
                for (number, _) in members.filter(|(_, member)| (member.laptop, member.workspace) == (*laptop, *workspace)) {
                    self.deletions[*workspace].approved(number);
                    self.guarded[*workspace].forget(number);
                }
                Ok(())
            }
            Happened::Started { laptop } => {
                for (number, member) in world.members().iter().enumerate().filter(|(_, member)| member.laptop == *laptop) {
                    self.guarded[member.workspace].forget(number);
                }
                Ok(())
            }
            Happened::Removed { workspace, .. } => self.contents[*workspace].removed(world, happened, &self.facts),
            Happened::Acknowledged { .. } => Contents::acknowledged(world, happened, &self.facts),
            _ => Ok(()),
        }
    }
}

/// Where a content is more often than before, a person put it there.
fn count_put(put: &mut HashMap<Key, usize>, change: &Change) {
    for (key, (before, now)) in change.contents() {
        *put.entry(key).or_default() += now.saturating_sub(before);
    }
}

impl Observer for Checks {
    fn after_step(&mut self, world: &World) -> Result<(), Failure> {
        if self.held.is_empty() {
            self.begin(world);
        }
        for happened in world.happened() {
            self.facts.note(happened);
        }
        for change in self.pictures.update(world) {
            self.changed(world, &change)?;
        }
        for happened in world.happened() {
            self.noted(world, happened)?;
        }
        self.guarded.iter_mut().for_each(|guarded| guarded.look(world));
        self.said.check(world)
    }

    fn at_rest(&mut self, world: &World) -> Result<(), Failure> {
        self.after_step(world)?;
        said::at_rest(world, &self.facts)?;
        for (number, _) in world.members().iter().enumerate() {
            let contents = &self.contents[world.members()[number].workspace];
            assert!(
                world.members()[number].disk.is_followed(),
                "what {} shows was followed wrongly",
                self.facts.who(world, number)
            );
            equal::disk(world, number, self.pictures.of(number), contents, &self.facts)?;
        }
        for workspace in 0..self.contents.len() {
            versions::tree(world, world.service(workspace))?;
            let members = world.members().iter().enumerate().filter(|(_, member)| member.workspace == workspace);
            let on_disks: HashSet<Key> = members.flat_map(|(number, _)| self.pictures.of(number).keys()).collect();
            self.contents[workspace].at_rest(world, workspace, &self.facts, &on_disks)?;
            self.deletions[workspace].at_rest(world, workspace, &self.facts)?;
            self.modes[workspace].at_rest(world, workspace, &self.facts)?;
            equal::names_and_copies(world, workspace, &self.facts, &self.put[workspace])?;
        }
        versions::stored(world, self.contents.len())?;
        for (user, used) in world.quotas_used().into_iter().enumerate() {
            let owned = (0..self.contents.len()).filter(|&workspace| world.owner_of(workspace) == user);
            let live: u64 = owned.map(|workspace| versions::live_bytes(world.service(workspace))).sum();
            if used != live {
                return fail(world, Check::QuotaAgrees, format!("user{user} uses {used} bytes, his live files have {live}"));
            }
        }
        Ok(())
    }
}

//! What the engine tells about itself: state, problems, plan, reasons. Changes nothing.

use super::{Cursor, Engine};
use crate::reconcile::{DiskStep, Step, Wait};
use crate::trees::Item;
use crate::values::{ItemId, ItemPath, Status as ItemStatus};
use std::collections::BTreeSet;

/// Something that keeps an item, or everything, from being synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which path; the top for everything.
    pub path: ItemPath,
    /// What is wrong, for people.
    pub text: String,
}

/// Where the engine stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Connected to the service.
    pub online: bool,
    /// Both trees are known: the service's changes are all here and the disk was looked at.
    pub current: bool,
    /// Nothing to do and nothing under way: both sides agree, but for `problems`, `held` and `waiting`.
    pub settled: bool,
    /// How far the service is followed.
    pub cursor: Cursor,
    /// Items on the disk.
    pub items: usize,
    /// Items whose state is to be decided.
    pub dirty: usize,
    /// Files being uploaded.
    pub uploads: usize,
    /// Actions on the disk under way, downloads included.
    pub applies: usize,
    /// Commits under way.
    pub commits: usize,
    /// Items that wait for another one.
    pub waiting: usize,
    /// Deletions that the guard holds.
    pub held: usize,
    /// What cannot be synced, and why.
    pub problems: Vec<Problem>,
}

/// One line of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanLine {
    /// Which item.
    pub path: ItemPath,
    /// What would be done with it: one stable word.
    pub action: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// All that is known of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The item.
    pub id: ItemId,
    /// Its three trees.
    pub item: Item,
    /// What would be done, and why.
    pub next: PlanLine,
    /// What is wrong with it, if anything.
    pub problem: Option<String>,
}

impl Engine {
    /// Where the engine stands.
    pub fn status(&self) -> Status {
        let (dirty, uploads, applies, commits) = self.work.counts();
        Status {
            online: self.service.is_online(),
            current: self.ready(),
            settled: self.is_settled(),
            cursor: self.service.cursor(),
            items: self.trees.local_count(),
            dirty,
            uploads,
            applies,
            commits,
            waiting: self.waits.all().len(),
            held: self.held.len(),
            problems: self.problems(),
        }
    }

    /// Nothing to do and nothing under way.
    pub fn is_settled(&self) -> bool {
        self.ready() && self.service.is_idle() && self.scans.is_idle() && self.work.is_idle() && self.fresh.is_empty()
    }

    /// What cannot be synced now, and why.
    pub fn problems(&self) -> Vec<Problem> {
        let top = |text: &str| Problem { path: ItemPath::top(), text: text.to_owned() };
        let mut problems: Vec<Problem> = self.scans.root_lost().into_iter().chain(self.service.problem()).map(top).collect();
        for (folder, entries) in &self.scans.skipped {
            let folder = self.trees.folder_path(*folder);
            problems.extend(entries.iter().map(|(name, reason)| {
                let path = name.parse().map_or_else(|_| folder.clone(), |name| folder.join(&name));
                let text = if name.is_empty() { reason.clone() } else { format!("{name}: {reason}") };
                Problem { path, text }
            }));
        }
        let troubles = self.work.troubles.iter().filter(|(_, trouble)| trouble.is_worth_telling());
        problems.extend(troubles.map(|(&id, trouble)| Problem { path: self.trees.shown_path(id), text: trouble.text.clone() }));
        problems
    }

    /// Every step that would be taken now, without taking any.
    pub fn plan(&self) -> Vec<PlanLine> {
        let open: BTreeSet<ItemId> = self.work.open_items().chain(self.waits.all()).collect();
        let troubled = self.work.troubles.keys().copied();
        let ids: BTreeSet<ItemId> = open.into_iter().chain(troubled).collect();
        ids.into_iter().map(|id| self.plan_of(id)).filter(|line| line.action != "nothing").collect()
    }

    fn plan_of(&self, id: ItemId) -> PlanLine {
        let decision = self.decide(id);
        PlanLine { path: self.trees.shown_path(decision.item), action: action_word(&decision.step), reason: decision.reason }
    }

    /// All that is known of a path: the item that is there on the disk, or else on the service.
    pub fn why(&self, path: &ItemPath) -> Option<Why> {
        let id = self.at_path(path)?;
        let problem = self.work.troubles.get(&id).map(|trouble| trouble.text.clone());
        Some(Why { id, item: self.trees.get(id).clone(), next: self.plan_of(id), problem })
    }

    fn at_path(&self, path: &ItemPath) -> Option<ItemId> {
        let mut found = None;
        for name in path.names() {
            let remote = self.trees.remote_at(&crate::values::Place { parent: found, name: name.clone() });
            found = Some(self.trees.local_at(found, name).or(remote)?);
        }
        found
    }

    /// Checks what must always hold of the trees; for tests.
    ///
    /// # Errors
    /// Names what does not hold.
    pub fn check(&self) -> Result<(), String> {
        self.trees.check_local()?;
        if self.scans.is_idle() && self.scans.is_sound() {
            self.trees.check_folders()?;
        }
        if self.is_settled() { self.trees.check_remote() } else { Ok(()) }
    }
}

const fn action_word(step: &Step) -> &'static str {
    match step {
        Step::Nothing | Step::Forget | Step::Adopt | Step::Rebase => "nothing",
        Step::Revive => "restore",
        Step::Read => "read",
        Step::Commit(commit) => match commit.status {
            ItemStatus::New => "upload",
            ItemStatus::Changed => "update",
            ItemStatus::Renamed => "rename",
            ItemStatus::Deleted => "delete on the service",
        },
        Step::Merge { .. } => "merge",
        Step::Disk(step) => match step {
            DiskStep::Create => "download",
            DiskStep::Replace => "replace",
            DiskStep::SetMeta { .. } => "set time and mode",
            DiskStep::Follow => "move",
            DiskStep::GiveWay => "rename aside",
            DiskStep::ConflictCopy => "keep as conflict copy",
            DiskStep::Trash | DiskStep::RemoveFolder => "move to trash",
        },
        Step::Wait(Wait::Held) => "hold",
        Step::Wait(_) => "wait",
    }
}

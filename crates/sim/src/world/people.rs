//! People at the laptops: when they do something, where, and how the watcher tells of it.

use super::World;
use super::happened::Happened;
use crate::disk::Event;
use crate::people::{self, Done, Habits, Operation};
use crate::random::Random;
use crate::scenario::Fault;
use stacksync_core::values::ItemPath;

/// A late hint takes so long at most, in milliseconds.
const LATE_MAX_MS: u64 = 5_000;
/// Steps in the middle of something, at most: somebody who never stops would keep everybody busy for ever.
const EXTRA_STEPS_MAX: u32 = 40;

/// How passing names begin.
const PASSING: &str = "stacksync-renaming-";

impl World {
    /// What is there before the world begins.
    pub(super) fn furnish(&mut self) {
        let seed = self.scenario.seed;
        for workspace in 0..self.scenario.workspaces.len() {
            let mut random = Random::stream(seed, "start", workspace as u64);
            // Sometimes others have something too, perhaps the same.
            let others = random.one_in(4);
            let same = random.one_in(2);
            for (nth, number) in
                (0..self.members.len()).filter(|&n| self.members[n].workspace == workspace).enumerate().collect::<Vec<_>>()
            {
                if nth > 0 && !others {
                    continue;
                }
                let stream = if same { 0 } else { nth as u64 };
                let mut random = Random::stream(seed, "start items", (workspace as u64) << 8 | stream);
                people::start(&mut self.members[number].disk, &mut random, self.scenario.start as usize);
                self.members[number].disk.take_events();
            }
        }
    }

    /// The next step of a person; `false` when there are no more.
    pub(super) fn person(&mut self) -> bool {
        if self.people_steps >= self.scenario.steps {
            return false;
        }
        let step = self.people_steps;
        self.people_steps += 1;
        if !self.scenario.skip.contains(&step) {
            let mut random = Random::stream(self.scenario.seed, "people", u64::from(step));
            let number = random.below(self.members.len());
            self.act(number, &mut random, u64::from(step));
        }
        true
    }

    /// Perhaps somebody does something while an action on his disk is under way.
    pub(super) fn maybe_edit_during(&mut self, number: usize) {
        if self.extra_steps >= EXTRA_STEPS_MAX || !self.faulty(Fault::EditDuring) {
            return;
        }
        self.edits_next = Some(number);
    }

    /// He does it now: in a step of its own, so that what was on the disk before is seen.
    pub(super) fn edit_during(&mut self, number: usize) {
        let step = self.scenario.steps + self.extra_steps;
        self.extra_steps += 1;
        if !self.scenario.skip.contains(&step) {
            self.note_fault(Fault::EditDuring, Some(self.members[number].laptop));
            let mut random = Random::stream(self.scenario.seed, "people", u64::from(step));
            self.act(number, &mut random, u64::from(step));
        }
    }

    fn act(&mut self, number: usize, random: &mut Random, step: u64) {
        // What stands under a passing name for a moment is left alone: whoever touched it would make the name his own.
        if self.members[number].disk.shows(PASSING) {
            return;
        }
        let habits = Habits { step };
        let Some(done) = people::act(&mut self.members[number].disk, random, &habits) else { return };
        let (laptop, workspace) = (self.members[number].laptop, self.members[number].workspace);
        let nested = (self.quarrels && done.operation == Operation::Nest).then(|| done.text.clone());
        self.trace.add(format_args!("  {laptop}/{workspace} a person, step {step}: {:?} {}", done.operation, done.text));
        *self.coverage.operations.entry(done.operation).or_default() += 1;
        self.recent.insert(done.operation);
        self.happened.push(Happened::Person { laptop, workspace, done });
        self.after_disk(number);
        if let Some(moved) = nested {
            self.disagree(number, &moved);
        }
    }

    /// Somebody put one folder into another one; on another laptop somebody puts that one into this one before he knows.
    fn disagree(&mut self, number: usize, moved: &str) {
        let workspace = self.members[number].workspace;
        let other = (0..self.members.len()).find(|&other| other != number && self.members[other].workspace == workspace);
        let paths = moved
            .split_once(" to ")
            .and_then(|(from, to)| Some((ItemPath::parse(from).ok()?, ItemPath::parse(to).ok()?.split()?.0)));
        let (Some(other), Some((folder, place))) = (other, paths) else { return };
        let Some(name) = place.names().last() else { return };
        let laptop = self.members[other].laptop;
        if self.members[other].disk.rename_new(&place, &folder.join(name)).is_ok() {
            let done = Done { operation: Operation::Nest, text: format!("{place} to {folder}, in a quarrel") };
            self.trace.add(format_args!("  {laptop}/{workspace} a person: {}", done.text));
            self.happened.push(Happened::Person { laptop, workspace, done });
            self.after_disk(other);
        }
    }

    /// The disk was used: what the watcher saw, what went wrong, what was taken away.
    pub(super) fn after_disk(&mut self, number: usize) {
        let (laptop, workspace) = (self.members[number].laptop, self.members[number].workspace);
        let written = self.members[number].disk.take_written();
        if !written.is_empty() {
            let done = Done { operation: Operation::WriteSlowly, text: "goes on".into() };
            self.happened.push(Happened::Person { laptop, workspace, done });
        }
        self.happened.extend(written.into_iter().map(|bytes| Happened::Wrote { laptop, workspace, bytes }));
        for fault in self.members[number].disk.take_faults() {
            self.note_fault(fault, Some(laptop));
        }
        for removed in self.members[number].disk.removed() {
            self.trace.add(format_args!("  {laptop}/{workspace} removed {} ({} bytes)", removed.path, removed.bytes.len()));
            self.happened.push(Happened::Removed { laptop, workspace, removed });
        }
        for event in self.members[number].disk.take_events() {
            if self.laptops[laptop].is_up() {
                self.watch(number, event);
            }
        }
    }

    fn watch(&mut self, number: usize, event: Event) {
        let laptop = self.members[number].laptop;
        if self.faulty(Fault::EventLost) {
            self.note_fault(Fault::EventLost, Some(laptop));
        } else if self.faulty(Fault::EventLate) {
            self.note_fault(Fault::EventLate, Some(laptop));
            let at = self.now.ms + self.random.between(1, LATE_MAX_MS);
            self.members[number].late.push((at, event));
        } else if self.faulty(Fault::EventOverflow) {
            self.note_fault(Fault::EventOverflow, Some(laptop));
            self.members[number].watch.clear();
            self.members[number].watch.push_back(Event::Overflow);
        } else if self.members[number].watch.back() != Some(&event) {
            self.members[number].watch.push_back(event);
        }
    }
}

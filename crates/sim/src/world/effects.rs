//! A laptop's client: what reaches its engines, and what they want done.

use super::World;
use super::happened::Happened;
use super::member::Waiting;
use super::task::{Fetch, Task, TaskKind, UploadStage};
use crate::disk::Event;
use crate::outcome::Check;
use stacksync_core::engine::{DiskAction, Effect, Input, Now};

/// Items up to which an engine is checked after every input. Beyond, after as many inputs as there are items, so that a step does not
/// cost more because the tree is larger.
const CHECKED_ALWAYS_MAX: usize = 60;
/// Steps of the state that one transaction takes at most.
const SAVES_MAX: u64 = 8;

impl World {
    /// Time as this laptop knows it.
    pub(super) fn now_of(&self, laptop: usize) -> Now {
        Now { ms: self.now.ms, unix_ns: self.now.unix_ns + self.laptops[laptop].clock_ns }
    }

    /// The engine is told something at once.
    pub(super) fn tell(&mut self, number: usize, input: Input) {
        let now = self.now_of(self.members[number].laptop);
        let member = &mut self.members[number];
        member.engine.handle(input, now);
        member.inputs += 1;
        while let Some(effect) = self.members[number].engine.poll() {
            self.begin(number, effect);
        }
        let items = self.views[self.members[number].workspace].items.len();
        let member = &mut self.members[number];
        member.deadline = member.engine.deadline();
        let due = items <= CHECKED_ALWAYS_MAX || member.inputs.is_multiple_of(items as u64);
        if due && let Err(problem) = member.engine.check() {
            let text = format!("laptop {} workspace {}: {problem}", member.laptop, member.workspace);
            self.fail(Check::EngineSound, text);
        }
    }

    fn begin(&mut self, number: usize, effect: Effect) {
        let (laptop, workspace) = (self.members[number].laptop, self.members[number].workspace);
        let ready_at = self.now.ms;
        match effect {
            Effect::Remember(delta) => self.laptops[laptop].saves.push_back((number, delta)),
            Effect::Log(entry) => {
                self.trace.add(format_args!("  {laptop}/{workspace} log {} {} {}", entry.verb, entry.path, entry.detail));
                self.happened.push(Happened::Logged { laptop, workspace, entry });
            }
            Effect::Scan { folder, path, names } => {
                self.members[number].tasks.push(Task { ready_at, kind: TaskKind::Scan { folder, path, names } });
            }
            Effect::Upload { op, path, expect } => {
                let kind = TaskKind::Upload { op, path, expect, stage: UploadStage::Open };
                self.members[number].tasks.push(Task { ready_at, kind });
            }
            Effect::Commit { id, items } => self.ask_commit(number, id, items),
            Effect::AskChanges { since } => self.ask_changes(number, since),
            Effect::Apply { op, action } => {
                let member = &mut self.members[number];
                let fetch = match &action {
                    DiskAction::Write { body, sources, .. } => Some(Fetch::new(body.clone(), sources.clone())),
                    _ => None,
                };
                match fetch {
                    Some(fetch) => member.tasks.push(Task { ready_at, kind: TaskKind::Fetch { op, action, fetch } }),
                    None => member.jobs.push_back(Waiting { op, action, contents: None }),
                }
            }
        }
    }

    /// The client starts with what is remembered, and looks at everything.
    pub(super) fn start_client(&mut self, laptop: usize) {
        self.laptops[laptop].down_until = None;
        self.laptops[laptop].connect_at = self.now.ms;
        self.happened.push(Happened::Started { laptop });
        for number in self.members_of(laptop) {
            // Nobody watched.
            self.members[number].disk.take_events();
            self.members[number].inbox.push_back(Input::TouchedAll);
        }
    }

    pub(super) fn save(&mut self, laptop: usize) {
        for _ in 0..self.random.between(1, SAVES_MAX) {
            let Some((number, delta)) = self.laptops[laptop].saves.pop_front() else { return };
            self.members[number].remembered.save(delta);
        }
    }

    pub(super) fn wake(&mut self, number: usize) {
        self.members[number].deadline = None;
        self.tell(number, Input::Woken);
    }

    pub(super) fn take_input(&mut self, number: usize) {
        if let Some(input) = self.members[number].inbox.pop_front() {
            self.tell(number, input);
        }
    }

    pub(super) fn hint(&mut self, number: usize) {
        match self.members[number].watch.pop_front() {
            Some(Event::Touched(path)) => self.tell(number, Input::Touched(path)),
            Some(Event::Overflow) => self.tell(number, Input::TouchedAll),
            None => {}
        }
    }
}

//! Chooses what happens next: one thing at a time, out of everything that could, by the seed.

use super::World;
use super::happened::Happened;
use crate::outcome::Check;
use crate::scenario::Fault;

/// Tasks of one member that one step chooses from.
const TASKS_LOOKED_AT: usize = 6;

/// Something that could happen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// A laptop's client starts.
    Start(usize),
    /// A laptop connects.
    Connect(usize),
    /// A laptop saves some of its state.
    Save(usize),
    /// A laptop hears of a change.
    Notice(usize),
    /// An engine is woken.
    Wake(usize),
    /// An engine takes what waits for it.
    Input(usize),
    /// A hint of the watcher reaches an engine.
    Hint(usize),
    /// A late hint of the watcher arrives.
    Late(usize, usize),
    /// A task goes on.
    Task(usize, usize),
    /// The disk changes a little.
    Disk(usize),
    /// A call goes on.
    Call(usize),
    /// The service comes back.
    ServiceStart,
    /// The service publishes a notice.
    Publish,
}

/// What a step of the world came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// Something happened.
    Done,
    /// There was nothing to do until this moment, in milliseconds; `None`: not ever.
    Idle(Option<u64>),
}

impl World {
    /// One step.
    pub fn step(&mut self) -> Stepped {
        self.happened.clear();
        self.step += 1;
        if let Some(number) = self.edits_next.take() {
            self.edit_during(number);
            return Stepped::Done;
        }
        if !self.calm {
            self.misfortune();
        }
        self.pass_a_little();
        if self.happened.iter().any(|happened| matches!(happened, Happened::Person { .. })) {
            // What a person did is seen before anything else happens.
            return Stepped::Done;
        }
        let mut choices = std::mem::take(&mut self.choices);
        choices.clear();
        self.collect(&mut choices);
        let chosen = self.random.pick(&choices).copied();
        self.choices = choices;
        let Some(choice) = chosen else { return Stepped::Idle(self.next_moment()) };
        self.trace.add(format_args!("{} {} {choice:?}", self.step, self.now.ms));
        self.carry_out(choice);
        Stepped::Done
    }

    fn pass_a_little(&mut self) {
        if self.random.one_in(3) {
            let ms = self.random.between(1, self.pace);
            self.pass(ms);
        }
    }

    /// Time passes.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now.ms += ms;
        self.now.unix_ns += ms as i64 * 1_000_000;
        for number in 0..self.members.len() {
            let member = &mut self.members[number];
            let written = member.disk.is_being_written();
            member.disk.set_clock(self.now.unix_ns + self.laptops[member.laptop].clock_ns);
            if written {
                self.after_disk(number);
            }
        }
    }

    fn collect(&mut self, choices: &mut Vec<Choice>) {
        let now = self.now.ms;
        for (number, laptop) in self.laptops.iter().enumerate() {
            if let Some(until) = laptop.down_until {
                choices.extend((until <= now).then_some(Choice::Start(number)));
                continue;
            }
            if !laptop.online && laptop.connect_at <= now && self.service_down_until.is_none() {
                choices.push(Choice::Connect(number));
            }
            choices.extend((!laptop.saves.is_empty()).then_some(Choice::Save(number)));
            choices.extend((!laptop.notices.is_empty()).then_some(Choice::Notice(number)));
        }
        for number in 0..self.members.len() {
            if self.laptops[self.members[number].laptop].is_up() {
                self.collect_of(number, choices);
            }
        }
        for (number, call) in self.calls.iter().enumerate() {
            let due = call.ready_at <= now || call.gives_up_at.is_some_and(|at| at <= now);
            choices.extend(due.then_some(Choice::Call(number)));
        }
        match self.service_down_until {
            Some(until) => choices.extend((until <= now).then_some(Choice::ServiceStart)),
            None => choices.extend(self.service.may_publish().then_some(Choice::Publish)),
        }
    }

    fn collect_of(&mut self, number: usize, choices: &mut Vec<Choice>) {
        let now = self.now.ms;
        let member = &self.members[number];
        choices.extend((!member.inbox.is_empty()).then_some(Choice::Input(number)));
        choices.extend(member.deadline.is_some_and(|at| at <= now).then_some(Choice::Wake(number)));
        choices.extend((!member.watch.is_empty()).then_some(Choice::Hint(number)));
        choices.extend((member.running.is_some() || !member.jobs.is_empty()).then_some(Choice::Disk(number)));
        for (index, (at, _)) in member.late.iter().enumerate() {
            choices.extend((*at <= now).then_some(Choice::Late(number, index)));
        }
        let count = member.tasks.len();
        let from = if count > TASKS_LOOKED_AT { self.random.below(count) } else { 0 };
        for offset in 0..count.min(TASKS_LOOKED_AT) {
            let index = (from + offset) % count;
            choices.extend((member.tasks[index].ready_at <= now).then_some(Choice::Task(number, index)));
        }
    }

    /// When something could happen if nothing can now.
    fn next_moment(&self) -> Option<u64> {
        let laptops = self.laptops.iter().map(|laptop| match laptop.down_until {
            Some(until) => until,
            None if laptop.online => u64::MAX,
            None => laptop.connect_at,
        });
        let members = self.members.iter().filter(|member| self.laptops[member.laptop].is_up()).flat_map(|member| {
            let late = member.late.iter().map(|(at, _)| *at);
            member.deadline.into_iter().chain(member.tasks.iter().map(|task| task.ready_at)).chain(late)
        });
        let calls = self.calls.iter().map(|call| call.gives_up_at.unwrap_or(u64::MAX).min(call.ready_at));
        let all = laptops.chain(members).chain(calls).chain(self.service_down_until);
        all.filter(|&at| at < u64::MAX).min().map(|at| at.max(self.now.ms + 1))
    }

    fn carry_out(&mut self, choice: Choice) {
        match choice {
            Choice::Start(laptop) => self.start_client(laptop),
            Choice::Connect(laptop) => self.connect(laptop),
            Choice::Save(laptop) => self.save(laptop),
            Choice::Notice(laptop) => self.hear(laptop),
            Choice::Wake(member) => self.wake(member),
            Choice::Input(member) => self.take_input(member),
            Choice::Hint(member) => self.hint(member),
            Choice::Late(member, index) => {
                let (_, event) = self.members[member].late.swap_remove(index);
                self.members[member].watch.push_back(event);
            }
            Choice::Task(member, index) => self.go_on(member, index),
            Choice::Disk(member) => self.change_disk(member),
            Choice::Call(index) => self.call_goes_on(index),
            Choice::ServiceStart => self.service_down_until = None,
            Choice::Publish => self.publish(),
        }
    }

    /// Whether nothing is under way and everybody knows everything, but for what only time changes.
    pub(super) fn rests(&self) -> bool {
        let laptops = self
            .laptops
            .iter()
            .all(|laptop| laptop.is_up() && laptop.online && laptop.saves.is_empty() && laptop.notices.is_empty());
        laptops
            && self.service_down_until.is_none()
            && !self.service.may_publish()
            && self.calls.is_empty()
            && self.members.iter().all(|member| member.is_quiet() && member.engine.is_settled())
    }

    /// Until everybody rests, with all waits cut short.
    pub(super) fn rest(&mut self, steps_max: u64, observe: &mut dyn FnMut(&mut Self)) {
        let end = self.step + steps_max;
        while self.failure.is_none() {
            if self.step >= end {
                return self.fail(Check::ComesToRest, format!("no rest after {steps_max} steps: {}", self.unrest()));
            }
            match self.step() {
                Stepped::Done => observe(self),
                Stepped::Idle(_) if self.rests() => return,
                Stepped::Idle(Some(at)) => {
                    self.pass(at - self.now.ms);
                    observe(self);
                }
                Stepped::Idle(None) => {
                    return self.fail(Check::ComesToRest, format!("nothing will ever happen: {}", self.unrest()));
                }
            }
        }
    }

    fn unrest(&self) -> String {
        let members = self.members.iter().map(|member| {
            format!(
                "laptop {} workspace {}: {} {:?} plan {:?}",
                member.laptop,
                member.workspace,
                if member.is_quiet() { "quiet" } else { "busy" },
                member.engine.status(),
                member.engine.plan()
            )
        });
        members.collect::<Vec<_>>().join("; ")
    }

    /// A connection is lost, if the rates say so.
    pub(super) fn maybe_cut(&mut self, laptop: usize) -> bool {
        let cut = self.faulty(Fault::Cut);
        if cut {
            self.note_fault(Fault::Cut, Some(laptop));
            self.cut(laptop);
        }
        cut
    }
}

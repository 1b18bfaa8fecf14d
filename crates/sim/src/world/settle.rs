//! The course of a world: people do things while things go wrong, then nothing goes wrong any more, and everybody comes to rest.

use super::World;
use super::happened::Happened;
use super::scheduler::Stepped;
use crate::checks::Observer;
use crate::scenario::Rates;
use stacksync_core::engine::Input;

/// Steps to rest: so many, and so many for each item and laptop.
const REST_STEPS: u64 = 20_000;
const REST_STEPS_PER_ITEM: u64 = 200;
/// After this time every laptop has looked at everything and asked for everything again, in milliseconds.
const LOOK_AGAIN_MS: u64 = 600_000;
/// Nobody waits longer than this for something to happen before he does the next thing, in milliseconds.
const PATIENCE_MS: u64 = 10_000;

impl World {
    /// The whole course. Stops at the first failure.
    pub fn live(&mut self, checks: &mut dyn Observer) {
        self.busy_time(checks);
        self.calm_down();
        self.come_to_rest(checks);
        if self.failure().is_none()
            && let Err(failure) = checks.at_rest(self)
        {
            self.failure = Some(failure);
        }
    }

    fn observe(&mut self, checks: &mut dyn Observer) {
        if self.failure.is_none()
            && let Err(failure) = checks.after_step(self)
        {
            self.failure = Some(failure);
        }
    }

    fn busy_time(&mut self, checks: &mut dyn Observer) {
        let pause = u64::from(self.scenario.pause.max(1));
        loop {
            for _ in 0..self.random.between(0, pause) {
                match self.step() {
                    Stepped::Done => {}
                    Stepped::Idle(at) => {
                        if self.rests() {
                            self.recent.clear();
                        }
                        match at {
                            Some(at) if at < self.now.ms + PATIENCE_MS => self.pass(at - self.now.ms),
                            Some(_) | None => break,
                        }
                    }
                }
                self.observe(checks);
                if self.failure.is_some() {
                    return;
                }
            }
            self.step += 1;
            self.happened.clear();
            if !self.person() {
                return;
            }
            self.observe(checks);
        }
    }

    /// Nothing goes wrong from now on; operators bring lost chunks back.
    fn calm_down(&mut self) {
        self.calm = true;
        self.rates = Rates::NONE;
        self.storage.heal();
        for member in &mut self.members {
            member.disk.set_rates(&Rates::NONE);
        }
        self.trace.add(format_args!("calm"));
    }

    fn come_to_rest(&mut self, checks: &mut dyn Observer) {
        // What the service does not know yet comes to everybody, too.
        let largest = |workspace: usize| {
            let disks = self.members.iter().filter(|member| member.workspace == workspace);
            let on_disks = disks.map(|member| member.disk.paths().len()).max().unwrap_or_default();
            on_disks.max(self.views[workspace].items.len()) as u64
        };
        let items: u64 = self.members.iter().map(|member| largest(member.workspace) + 50).sum();
        let steps_max = REST_STEPS + REST_STEPS_PER_ITEM * (items + u64::from(self.scenario.start) * self.members.len() as u64);
        self.rest(steps_max, &mut |world| world.observe(checks));
        self.look_again(checks);
        self.rest(steps_max, &mut |world| world.observe(checks));
        self.happened.clear();
        if self.approve() {
            self.observe(checks);
            self.rest(steps_max, &mut |world| world.observe(checks));
            self.look_again(checks);
            self.rest(steps_max, &mut |world| world.observe(checks));
        }
    }

    fn look_again(&mut self, checks: &mut dyn Observer) {
        self.happened.clear();
        self.pass(LOOK_AGAIN_MS);
        self.observe(checks);
    }

    /// People let held deletions pass; `false` if there are none.
    fn approve(&mut self) -> bool {
        let held: Vec<usize> = (0..self.members.len()).filter(|&n| self.members[n].engine.status().held > 0).collect();
        for &number in &held {
            let (laptop, workspace) = (self.members[number].laptop, self.members[number].workspace);
            self.happened.push(Happened::Approved { laptop, workspace });
            self.trace.add(format_args!("{laptop}/{workspace} approves"));
            self.members[number].inbox.push_back(Input::Approve);
        }
        !held.is_empty()
    }
}

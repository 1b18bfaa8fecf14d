//! Makes a failing scenario smaller: fewer laptops, workspaces, faults, items and steps of people, as long as the same check fails.

use crate::disk::Flavour;
use crate::outcome::Check;
use crate::scenario::{Fault, Rates};
use crate::{Scenario, run};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long shrinking may take; whichever is reached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Worlds that are run.
    pub runs: u32,
    /// By the clock.
    pub time: Duration,
}

impl Default for Bound {
    fn default() -> Self {
        Self { runs: 3_000, time: Duration::from_secs(60) }
    }
}

/// The smallest scenario found that fails with this check. Running it twice gives the same, as with any other.
pub fn shrink(scenario: &Scenario, check: Check, bound: Bound) -> Scenario {
    let shrinker = Shrinker { check, runs_left: bound.runs, until: Instant::now() + bound.time };
    shrinker.shrink(scenario.clone())
}

struct Shrinker {
    check: Check,
    runs_left: u32,
    until: Instant,
}

impl Shrinker {
    fn shrink(mut self, mut best: Scenario) -> Scenario {
        loop {
            let before = best.clone();
            self.try_all(&mut best, simpler_worlds);
            self.leave_steps_out(&mut best);
            self.try_all(&mut best, fewer_faults);
            if best == before || !self.may_go_on() {
                return best;
            }
        }
    }

    fn may_go_on(&self) -> bool {
        self.runs_left > 0 && Instant::now() < self.until
    }

    fn still_fails(&mut self, scenario: &Scenario) -> bool {
        if !self.may_go_on() {
            return false;
        }
        self.runs_left -= 1;
        run(scenario).failure.is_some_and(|failure| failure.check == self.check)
    }

    /// Takes over whatever candidate still fails, until none does.
    fn try_all(&mut self, best: &mut Scenario, candidates: fn(&Scenario) -> Vec<Scenario>) {
        let mut at = 0;
        while let Some(candidate) = candidates(best).into_iter().nth(at) {
            if candidate != *best && self.still_fails(&candidate) {
                *best = candidate;
            } else {
                at += 1;
            }
        }
    }

    /// Leaves out halves, quarters, ... of the steps that are left (Zeller's ddmin, only the complements).
    fn leave_steps_out(&mut self, best: &mut Scenario) {
        let left = |scenario: &Scenario| -> Vec<u32> { (0..scenario.steps).filter(|step| !scenario.skip.contains(step)).collect() };
        let mut size = left(best).len().div_ceil(2);
        while size > 0 {
            let mut start = 0;
            while start < left(best).len() {
                let out: BTreeSet<u32> = left(best).into_iter().skip(start).take(size).collect();
                let candidate = Scenario { skip: best.skip.union(&out).copied().collect(), ..best.clone() };
                if self.still_fails(&candidate) {
                    *best = candidate;
                } else {
                    start += size;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
        let steps = left(best).last().map_or(0, |last| last + 1);
        let shorter = Scenario { steps, skip: best.skip.range(..steps).copied().collect(), ..best.clone() };
        if shorter != *best && self.still_fails(&shorter) {
            *best = shorter;
        }
    }
}

/// The world without one of its laptops.
fn without_laptop(of: &Scenario, gone: usize) -> Option<Scenario> {
    let mut smaller = of.clone();
    smaller.flavours.remove(gone);
    smaller.users.remove(gone);
    for share in &mut smaller.workspaces {
        share.laptops.retain(|&laptop| laptop != gone);
        for laptop in share.laptops.iter_mut().filter(|laptop| **laptop > gone) {
            *laptop -= 1;
        }
    }
    smaller.workspaces.retain(|share| !share.laptops.is_empty());
    (!smaller.flavours.is_empty() && !smaller.workspaces.is_empty()).then_some(smaller)
}

fn simpler_worlds(of: &Scenario) -> Vec<Scenario> {
    let mut candidates: Vec<Scenario> = (0..of.flavours.len()).rev().filter_map(|gone| without_laptop(of, gone)).collect();
    for gone in (0..of.workspaces.len()).rev().filter(|_| of.workspaces.len() > 1) {
        let mut smaller = of.clone();
        smaller.workspaces.remove(gone);
        candidates.push(smaller);
    }
    if of.start > 0 {
        candidates.extend([0, 1, of.start / 2, of.start - 1].map(|start| Scenario { start, ..of.clone() }));
    }
    candidates.push(Scenario { users: vec![0; of.users.len()], ..of.clone() });
    for laptop in 0..of.flavours.len() {
        let mut simpler = of.clone();
        simpler.flavours[laptop] = Flavour::default();
        candidates.push(simpler);
    }
    candidates
}

fn fewer_faults(of: &Scenario) -> Vec<Scenario> {
    let without = |fault: Fault| {
        let mut fewer = of.clone();
        fewer.rates.set(fault, 0);
        fewer
    };
    let none = Scenario { rates: Rates::NONE, ..of.clone() };
    std::iter::once(none).chain(of.rates.some().map(|(fault, _)| without(fault))).collect()
}

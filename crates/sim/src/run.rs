//! Runs one world to its end.

use crate::checks::Checks;
use crate::failing::caught;
use crate::outcome::Check;
use crate::world::{Keep, World};
use crate::{Failure, Outcome, Scenario};

/// Of a run whose trace nobody keeps.
const NO_DIGEST: [u8; 32] = [0; 32];

/// Runs the world. Panics of the product are failures. A failure comes with the last lines of its trace.
pub fn run(scenario: &Scenario) -> Outcome {
    told(scenario, run_keeping(scenario, Keep::Digest))
}

/// The same without a digest, which costs a tenth more: for a run that is not compared with another one.
pub fn run_once(scenario: &Scenario) -> Outcome {
    told(scenario, run_keeping(scenario, Keep::Nothing))
}

/// A failure, with the lines of another run.
fn told(scenario: &Scenario, outcome: Outcome) -> Outcome {
    if outcome.failure.is_none() {
        return outcome;
    }
    let again = run_keeping(scenario, Keep::Lines);
    let is_same = outcome.digest == NO_DIGEST || again.digest == outcome.digest;
    if is_same && (again.steps, &again.failure) == (outcome.steps, &outcome.failure) {
        return again;
    }
    let failure =
        Failure { check: Check::SameAgain, step: again.steps, text: format!("another run of {scenario} went another way") };
    Outcome { failure: Some(failure), ..again }
}

/// Runs the world once.
pub fn run_keeping(scenario: &Scenario, keep: Keep) -> Outcome {
    plant(scenario);
    let mut world = None;
    let panic = caught(|| {
        let world = world.insert(World::new(scenario, keep));
        world.live(&mut Checks::default());
    })
    .err();
    let Some(mut world) = world else {
        let failure = Failure { check: Check::NoPanic, step: 0, text: panic.unwrap_or_default() };
        return Outcome { digest: NO_DIGEST, steps: 0, coverage: Default::default(), failure: Some(failure), trace: Vec::new() };
    };
    if let Some(text) = panic {
        world.fail(Check::NoPanic, text);
    }
    Outcome {
        digest: if keep == Keep::Nothing { NO_DIGEST } else { world.digest() },
        steps: world.step_number(),
        coverage: world.coverage().clone(),
        failure: world.failure().cloned(),
        trace: world.take_trace(),
    }
}

/// The switch is the process's: worlds that run at the same time have the same bug.
#[cfg(feature = "planted-bugs")]
fn plant(scenario: &Scenario) {
    use stacksync_core::planted::{Bug, switch};
    let named = |bug: &&Bug| Some(bug.name()) == scenario.planted.as_deref();
    switch(Bug::ALL.iter().find(named).copied());
}

#[cfg(not(feature = "planted-bugs"))]
const fn plant(_: &Scenario) {}

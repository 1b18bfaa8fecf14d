//! Every world that ever found something still runs, and twice the same.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use stacksync_sim::{Scenario, seeds};

#[test]
fn fixed_seeds_hold() {
    for fixed in seeds::read(seeds::FIXED).unwrap() {
        if let Err(text) = seeds::replay(&fixed.scenario) {
            panic!("{}\n{text}", fixed.cause);
        }
    }
}

#[test]
fn the_first_seeds_hold() {
    for seed in 0..40 {
        if let Err(text) = seeds::replay(&Scenario::of(seed)) {
            panic!("{text}");
        }
    }
}

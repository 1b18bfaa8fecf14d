//! Random histories of the real programs, judged by the executable specification. More of them: `cargo run -p stacksync-e2e --bin
//! histories -- --minutes 10`.

use stacksync_e2e::spec::check::{play, shrink};
use stacksync_e2e::spec::history::History;
use stacksync_e2e::spec::subject::{StackSync, Subject};
use std::time::Duration;

const SEEDS: std::ops::Range<u64> = 0..6;

#[test]
fn random_histories_are_explained() {
    let make = |devices: usize| -> Box<dyn Subject> { Box::new(StackSync::new(devices)) };
    for seed in SEEDS {
        if let Err(failure) = play(&History::of(seed), &make) {
            panic!("{}", shrink(failure, &make, Duration::from_secs(60)));
        }
    }
}

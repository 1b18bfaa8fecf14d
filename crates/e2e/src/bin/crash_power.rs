//! Power loss, thousands of times: `crash_power --rounds 1000 --seed 1 [--world-rounds 25]` lets it fail live in small worlds;
//! `crash_power --sweep 4` replays one log of the server and one of a device to every prefix, each with so many disks.
//!
//! Needs root and `/dev/fuse`. Prints what it does and, for a failure, the line that does it again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use stacksync_e2e::crash::power::PowerPlay;
use stacksync_e2e::crash::sweep::{self, Density};
use stacksync_powerfs::Model;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

fn main() {
    let (mut rounds, mut seed, mut world_rounds, mut sweeps) = (100, 1, 25, 0);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value: u64 = words.next().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{word} takes a number"));
        match word.as_str() {
            "--rounds" => rounds = value,
            "--seed" => seed = value,
            "--world-rounds" => world_rounds = value,
            "--sweep" => sweeps = value,
            other => panic!("unknown: {other}; known: --rounds --seed --world-rounds --sweep"),
        }
    }
    let failures = if sweeps > 0 { sweep_all(sweeps) } else { play(rounds, seed, world_rounds) };
    std::process::exit(i32::from(failures > 0));
}

fn play(rounds: u64, seed: u64, world_rounds: u64) -> u64 {
    let start = Instant::now();
    let (mut done, mut failures) = (0, 0);
    for world in 0..rounds.div_ceil(world_rounds) {
        let dir = tempfile::Builder::new().prefix("stacksync-power-").tempdir().unwrap();
        let mut play = PowerPlay::new(dir.path(), seed + world);
        for round in 0..world_rounds {
            if catch_unwind(AssertUnwindSafe(|| play.round())).is_err() {
                failures += 1;
                println!("FAILED in round {round} of this world:\n{}", play.play.story());
                println!("again: crash_power --seed {} --rounds {world_rounds} --world-rounds {world_rounds}", seed + world);
                break;
            }
            done += 1;
        }
        println!("{done} rounds, {:.1}/s, {failures} failures", done as f64 / start.elapsed().as_secs_f64());
    }
    failures
}

fn sweep_all(seeds: u64) -> u64 {
    let mut failures = 0;
    let density = Density { step: 1, seeds, start_every: 5 };
    for (name, sweep) in [("server", sweep::server as fn(&_, &_, _) -> _), ("device", sweep::device)] {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| sweep(dir.path(), &Model::default(), density))) {
            Ok(looked) => println!("{name}: {looked} disks, {:.1}/s", looked as f64 / start.elapsed().as_secs_f64()),
            Err(_) => failures += 1,
        }
    }
    failures
}

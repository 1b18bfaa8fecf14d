//! Power loss, thousands of times: `crash_power --rounds 1000 --seed 1 [--world-rounds 25]` lets it fail live in small worlds;
//! `--database-rounds 1000` lets PostgreSQL crash under them; `crash_power --sweep 4` replays one log of the server, one of a device and
//! one of PostgreSQL to every prefix, each with so many disks.
//!
//! Needs root and `/dev/fuse`. Prints what it does and, for a failure, the line that does it again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use stacksync_e2e::crash::database::{self, DatabasePlay, open_dir};
use stacksync_e2e::crash::play::Play;
use stacksync_e2e::crash::power::PowerPlay;
use stacksync_e2e::crash::sweep::{self, Density};
use stacksync_powerfs::Model;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

fn main() {
    let (mut rounds, mut database_rounds, mut seed, mut world_rounds, mut sweeps) = (100, 0, 1, 25, 0);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value: u64 = words.next().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{word} takes a number"));
        match word.as_str() {
            "--rounds" => rounds = value,
            "--database-rounds" => database_rounds = value,
            "--seed" => seed = value,
            "--world-rounds" => world_rounds = value,
            "--sweep" => sweeps = value,
            other => panic!("unknown: {other}; known: --rounds --database-rounds --seed --world-rounds --sweep"),
        }
    }
    let power = Kind { option: "--rounds", begin: PowerPlay::new, round: PowerPlay::round, world: |it| &it.play };
    let database = Kind { option: "--database-rounds", begin: DatabasePlay::new, round: DatabasePlay::round, world: |it| &it.play };
    let failures = match (sweeps, database_rounds) {
        (0, 0) => play(&power, rounds, seed, world_rounds),
        (0, _) => play(&database, database_rounds, seed, world_rounds),
        (_, _) => sweep_all(sweeps),
    };
    std::process::exit(i32::from(failures > 0));
}

/// A kind of world in which something crashes.
struct Kind<P> {
    /// The option that asks for its rounds.
    option: &'static str,
    begin: fn(&Path, u64) -> P,
    round: fn(&mut P),
    world: fn(&P) -> &Play,
}

fn play<P>(kind: &Kind<P>, rounds: u64, seed: u64, world_rounds: u64) -> u64 {
    let start = Instant::now();
    let (mut done, mut failures) = (0, 0);
    for world in 0..rounds.div_ceil(world_rounds) {
        let dir = open_dir();
        let mut play = (kind.begin)(dir.path(), seed + world);
        for round in 0..world_rounds {
            if catch_unwind(AssertUnwindSafe(|| (kind.round)(&mut play))).is_err() {
                failures += 1;
                println!("FAILED in round {round} of this world:\n{}", (kind.world)(&play).story());
                println!("again: crash_power --seed {} {} {world_rounds} --world-rounds {world_rounds}", seed + world, kind.option);
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
    let sweeps = [("server", sweep::server as fn(&_, &_, _) -> _), ("device", sweep::device), ("database", database::sweep)];
    for (name, sweep) in sweeps {
        let dir = open_dir();
        let start = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| sweep(dir.path(), &Model::default(), density))) {
            Ok(looked) => println!("{name}: {looked} disks, {:.1}/s", looked as f64 / start.elapsed().as_secs_f64()),
            Err(_) => failures += 1,
        }
    }
    failures
}

//! Crashes small worlds of real programs round after round: `crash_rounds --rounds 1000 --seed 1 --jobs 2 [--world-rounds 25]`.
//!
//! Prints what it does, rounds per second, and for a failure a line that plays the same world again (what people do and how programs die
//! is the same; when the kernel lets which process run is not). Its files are kept.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use stacksync_e2e::crash::play::Play;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

struct Arguments {
    rounds: u64,
    seed: u64,
    jobs: u64,
    world_rounds: u64,
}

#[derive(Default)]
struct Told {
    next_world: AtomicU64,
    rounds: AtomicU64,
    failures: AtomicU64,
    visited: Mutex<BTreeMap<String, u64>>,
}

fn main() {
    let arguments = arguments();
    let worlds = arguments.rounds.div_ceil(arguments.world_rounds);
    let told = Told::default();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                loop {
                    let world = told.next_world.fetch_add(1, Ordering::Relaxed);
                    if world >= worlds {
                        return;
                    }
                    play(arguments.seed + world, &arguments, &told);
                    let rounds = told.rounds.load(Ordering::Relaxed);
                    let rate = rounds as f64 / start.elapsed().as_secs_f64();
                    println!("{rounds} rounds, {rate:.1}/s, {} failures", told.failures.load(Ordering::Relaxed));
                }
            });
        }
    });
    for (name, times) in told.visited.lock().unwrap().iter() {
        println!("died {times:>5} times at {name}");
    }
    let failures = told.failures.load(Ordering::Relaxed);
    println!("{} rounds in {:.0} s, {failures} failures", told.rounds.load(Ordering::Relaxed), start.elapsed().as_secs_f64());
    std::process::exit(i32::from(failures > 0));
}

/// One world, until its rounds are over or something does not hold.
fn play(seed: u64, arguments: &Arguments, told: &Told) {
    let dir = tempfile::Builder::new().prefix("stacksync-crash-").tempdir().unwrap();
    let devices = 2 + (seed % 2) as usize;
    let mut play = Play::new(dir.path(), devices, seed);
    for round in 0..arguments.world_rounds {
        if catch_unwind(AssertUnwindSafe(|| play.round())).is_err() {
            told.failures.fetch_add(1, Ordering::Relaxed);
            println!("FAILED in round {round} of this world:\n{}", play.story());
            println!("files: {}", dir.keep().display());
            println!("again: crash_rounds --seed {seed} --rounds {n} --world-rounds {n}", n = arguments.world_rounds);
            return;
        }
        told.rounds.fetch_add(1, Ordering::Relaxed);
    }
    let mut visited = told.visited.lock().unwrap();
    for name in &play.visited {
        *visited.entry(name.clone()).or_default() += 1;
    }
}

fn arguments() -> Arguments {
    let mut arguments = Arguments { rounds: 100, seed: 1, jobs: 1, world_rounds: 25 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().and_then(|text| text.parse().ok());
        let value = value.unwrap_or_else(|| panic!("{word} takes a number"));
        match word.as_str() {
            "--rounds" => arguments.rounds = value,
            "--seed" => arguments.seed = value,
            "--jobs" => arguments.jobs = value,
            "--world-rounds" => arguments.world_rounds = value,
            other => panic!("unknown: {other}; known: --rounds --seed --jobs --world-rounds"),
        }
    }
    arguments
}

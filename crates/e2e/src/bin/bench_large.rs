//! One large file from one device to the other; then one byte is inserted at its start. And the memory that it took.
//!
//! Options: `--mib N` (1024), `--runs N` (3). Limits, in the same run: `cp` + `sync` of the file, and cutting + hashing it on one thread.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use stacksync_e2e::bench_world::{BenchWorld, mib};
use stacksync_e2e::measure::{
    become_undisturbed, copy_and_sync, cut_and_hash, directory, heading, median, option, row, seconds_until,
};
use stacksync_e2e::random::Random;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const CHUNK_BYTES_MAX: f64 = 2.0 * 1024.0 * 1024.0;

fn main() {
    let (size, runs) = (option("--mib", 1024), option("--runs", 3));
    heading(&format!("a file of {size} MiB, device A -> server -> device B; then one byte in front of it"));
    become_undisturbed();
    let dir = directory("large");
    let original = dir.join("original");
    write_random(&original, size);
    let mut copies: Vec<f64> = (0..runs).map(|run| copy_and_sync(&original, &dir.join(format!("copy-{run}")))).collect();
    let mut cuts: Vec<f64> = (0..runs).map(|_| cut_and_hash(&original)).collect();
    let results: Vec<Run> = (0..runs).map(|run| measure(&dir.join(run.to_string()), &original, run + 1 == runs)).collect();

    let of = |value: fn(&Run) -> f64| median(&mut results.iter().map(value).collect::<Vec<_>>());
    let (sync, copy, cut) = (of(|run| run.sync_seconds), median(&mut copies), median(&mut cuts));
    let speed = |seconds: f64| size as f64 / seconds;
    row(
        "first sync until complete on B",
        format!("{sync:.2} s, {:.0} MiB/s (median of {runs}; Syncthing 4.4 s for 1 GiB)", speed(sync)),
    );
    row("cp and sync", format!("{copy:.2} s, {:.0} MiB/s", speed(copy)));
    row("cutting and hashing, one thread", format!("{cut:.2} s, {:.0} MiB/s", speed(cut)));
    row("speed against the slower of the two", format!("{:.2} (not under 0.50)", copy.max(cut) / sync));
    row("one byte in front, until complete on B", format!("{:.2} s (Syncthing 28.5)", of(|run| run.insert_seconds)));
    let bytes = of(|run| run.insert_bytes);
    let (chunks, limit) = (bytes / CHUNK_BYTES_MAX, 2.0 * CHUNK_BYTES_MAX / 1e6);
    row("  bytes of chunks sent", format!("{:.2} MB = {chunks:.2} of the largest chunks (limit 2, {limit:.1} MB)", bytes / 1e6));
    std::fs::remove_dir_all(&dir).unwrap();
}

struct Run {
    sync_seconds: f64,
    insert_seconds: f64,
    insert_bytes: f64,
}

fn measure(dir: &Path, original: &Path, tell_memory: bool) -> Run {
    let mut world = BenchWorld::new(dir);
    world.start_both();
    let len = original.metadata().unwrap().len();
    // Put together outside, so that it appears whole.
    std::fs::copy(original, dir.join("whole")).unwrap();
    let start = Instant::now();
    std::fs::rename(dir.join("whole"), world.a.path("large")).unwrap();
    let there = world.b.path("large");
    let arrived = |wanted: u64| there.metadata().is_ok_and(|metadata| metadata.len() == wanted);
    let sync_seconds = seconds_until(start, Duration::from_millis(5), || arrived(len));
    world.agree();

    insert_in_front(original, &dir.join("longer"));
    let before = world.received().1;
    let start = Instant::now();
    std::fs::rename(dir.join("longer"), world.a.path("large")).unwrap();
    let insert_seconds = seconds_until(start, Duration::from_millis(5), || arrived(len + 1));
    world.agree();
    let insert_bytes = world.received().1 - before;
    if tell_memory {
        world.print_memory();
        println!("(the file has {:.0} MiB)", mib(len));
    }
    Run { sync_seconds, insert_seconds, insert_bytes }
}

fn write_random(path: &Path, mib: usize) {
    let mut file = File::create(path).unwrap();
    let mut random = Random::new(4);
    for _ in 0..mib {
        file.write_all(&random.bytes(1024 * 1024)).unwrap();
    }
    file.sync_all().unwrap();
}

fn insert_in_front(original: &Path, longer: &Path) {
    let mut file = File::create(longer).unwrap();
    file.write_all(b"!").unwrap();
    std::io::copy(&mut File::open(original).unwrap(), &mut file).unwrap();
}

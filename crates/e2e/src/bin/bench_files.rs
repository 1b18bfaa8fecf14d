//! Many small files from one device through the server to another, all durable on both; then the folder that holds them is renamed.
//!
//! Options: `--files N` (10000), `--runs N` (3), `--large N` (100000; 0 leaves the large run out). Peers, in the same run: `cp -a` + `sync`
//! of the same tree, and one `fdatasync` + rename per file on one thread and on sixteen.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use stacksync_e2e::bench_world::{BenchWorld, in_sync};
use stacksync_e2e::measure::{
    copy_and_sync, count_files, directory, fsync_and_rename, heading, median, option, row, seconds_until,
};
use stacksync_e2e::random::Random;
use stacksync_e2e::seed::grow_flat;
use std::path::Path;
use std::time::{Duration, Instant};

const FILE_BYTES: usize = 4096;

fn main() {
    let (files, runs, large) = (option("--files", 10_000), option("--runs", 3), option("--large", 100_000));
    heading(&format!("{files} files of {FILE_BYTES} bytes, device A -> server -> device B; then their folder is renamed"));
    let dir = directory("files");
    let results: Vec<Run> = (0..runs).map(|run| measure(&dir.join(run.to_string()), files)).collect();
    let rate = print(&results, files);
    print_peers(&dir, files, rate);
    if large > 0 {
        println!("\n## {large} files");
        let large_rate = print(&[measure(&dir.join("large"), large)], large);
        row("rate against the smaller tree", format!("{:.2} (not under 0.80)", large_rate / rate));
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

struct Run {
    sync_seconds: f64,
    rename_seconds: f64,
    rename_bytes: f64,
}

fn measure(dir: &Path, files: usize) -> Run {
    let mut world = BenchWorld::new(dir);
    world.start_b();
    grow_flat(&world.a.path("all"), files, FILE_BYTES, &mut Random::new(files as u64));
    let start = Instant::now();
    world.start_a();
    seconds_until(start, Duration::from_millis(100), || count_files(world.b.root()) == files);
    let sync_seconds = seconds_until(start, Duration::from_millis(20), || in_sync(&world.a) && in_sync(&world.b));

    let before = world.received().0;
    let start = Instant::now();
    std::fs::rename(world.a.path("all"), world.a.path("renamed")).unwrap();
    let (old, new) = (world.b.path("all"), world.b.path("renamed"));
    let rename_seconds = seconds_until(start, Duration::from_millis(1), || !old.exists() && new.exists());
    world.agree();
    assert_eq!(count_files(world.b.root()), files);
    Run { sync_seconds, rename_seconds, rename_bytes: world.received().0 - before }
}

fn print(results: &[Run], files: usize) -> f64 {
    let of = |value: fn(&Run) -> f64| median(&mut results.iter().map(value).collect::<Vec<_>>());
    let seconds = of(|run| run.sync_seconds);
    let rate = files as f64 / seconds;
    row("first sync, start of A to durable on B", format!("{seconds:.2} s (median of {})", results.len()));
    row("  files per second", format!("{rate:.0} (aim 2000, Syncthing 923)"));
    row("renaming their folder until B has it", format!("{:.3} s (aim under 0.5, Syncthing 7.3)", of(|run| run.rename_seconds)));
    row("  bytes received by the server for it", format!("{:.0}", of(|run| run.rename_bytes)));
    rate
}

fn print_peers(dir: &Path, files: usize, rate: f64) {
    let tree = dir.join("0/a/folder");
    let peers = [
        ("cp -a and sync of the same tree", copy_and_sync(&tree, &dir.join("copy"))),
        ("fdatasync + rename per file, 1 thread", fsync_and_rename(&dir.join("one"), files, FILE_BYTES, 1)),
        ("fdatasync + rename per file, 16 threads", fsync_and_rename(&dir.join("sixteen"), files, FILE_BYTES, 16)),
    ];
    for (name, seconds) in peers {
        let peer = files as f64 / seconds;
        row(name, format!("{peer:.0} files/s; StackSync / this = {:.2}", rate / peer));
    }
}

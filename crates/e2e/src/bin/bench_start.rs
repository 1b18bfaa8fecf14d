//! Start on an unchanged tree: seconds, and what is read; then idle: CPU and wake-ups.
//!
//! Options: `--files N` (100000), `--runs N` (5), `--idle N` (30 seconds). The limit, in the same run: `find` that looks at every file's
//! size and time once.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use stacksync_e2e::bench_world::BenchWorld;
use stacksync_e2e::measure::{count_files, directory, heading, median, option, row, seconds, seconds_until, undisturbed};
use stacksync_e2e::process::{Usage, run};
use stacksync_e2e::random::Random;
use stacksync_e2e::seed::grow_flat;
use std::process::Command;
use std::time::{Duration, Instant};

const FILE_BYTES: usize = 1024;
const PATIENCE: Duration = Duration::from_secs(1800);

fn main() {
    let (files, runs, idle) = (option("--files", 100_000), option("--runs", 5), option("--idle", 30));
    heading(&format!("start on an unchanged tree of {files} files of {FILE_BYTES} bytes; then {idle} s of idleness"));
    let dir = directory("start");
    let mut world = BenchWorld::new(&dir);
    grow_flat(&world.a.path("all"), files, FILE_BYTES, &mut Random::new(5));
    world.start_both();
    seconds_until(Instant::now(), Duration::from_millis(500), || count_files(world.b.root()) == files);
    world.agree();
    world.a.stop();

    let mut looks: Vec<f64> = (0..runs).map(|_| seconds(|| find(&world))).collect();
    let mut starts: Vec<f64> = (0..runs)
        .map(|_| {
            seconds(|| {
                let output = run(undisturbed(&world.a.command(&["sync", "--once"])), PATIENCE);
                assert!(output.status.success(), "{}", stacksync_e2e::process::printed(&output));
            })
        })
        .collect();
    let (look, start) = (median(&mut looks), median(&mut starts));
    row("`sync --once`, start to end", format!("{start:.2} s (median of {runs})"));
    row("`find` that looks at every file", format!("{look:.2} s; StackSync / this = {:.1}", start / look));
    print_files_read(&mut world, files);
    print_idle(&world, idle);
    drop(world);
    std::fs::remove_dir_all(&dir).unwrap();
}

fn find(world: &BenchWorld) {
    let output = Command::new("find").arg(world.a.root()).args(["-printf", "%s %T@\\n"]).output().unwrap();
    assert!(output.status.success());
}

/// Files that are read change their time of last access; all are given an old one first.
fn print_files_read(world: &mut BenchWorld, files: usize) {
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let mut marked = 0;
    for number in 0..files {
        let path = world.a.path(&format!("all/folder-{}/file-{number}", number / 100));
        let file = std::fs::File::open(&path).unwrap();
        marked += usize::from(file.set_times(std::fs::FileTimes::new().set_accessed(old)).is_ok());
    }
    // Setting it changes the time of the inode; one start takes note of that, the next one is the one that counts.
    let first = count_accessed(world, files, old);
    let second = count_accessed(world, files, old);
    row(
        "files read by a start (of those marked)",
        format!("{second} of {marked} (limit 0; after their inodes were touched: {first})"),
    );
    world.start_a();
    world.agree();
}

fn count_accessed(world: &BenchWorld, files: usize, old: std::time::SystemTime) -> usize {
    run(undisturbed(&world.a.command(&["sync", "--once"])), PATIENCE);
    (0..files)
        .filter(|number| {
            let path = world.a.path(&format!("all/folder-{}/file-{number}", number / 100));
            path.metadata().and_then(|metadata| metadata.accessed()).is_ok_and(|time| time != old)
        })
        .count()
}

fn print_idle(world: &BenchWorld, idle: usize) {
    let usage = || [("server", world.server.usage()), ("device a", world.a.usage()), ("device b", world.b.usage())];
    std::thread::sleep(Duration::from_secs(5));
    let before = usage();
    std::thread::sleep(Duration::from_secs(idle as u64));
    for ((name, before), (_, after)) in before.into_iter().zip(usage()) {
        row(&format!("idle, {name}"), per_second(before, after, idle));
    }
}

fn per_second(before: Usage, after: Usage, seconds: usize) -> String {
    let seconds = seconds as f64;
    format!(
        "{:.2} % of one core, {:.1} wake-ups/s, {:.1} MiB memory at most",
        after.cpu_ticks.saturating_sub(before.cpu_ticks) as f64 / seconds,
        // A thread that ended takes its count along.
        after.wake_ups.saturating_sub(before.wake_ups) as f64 / seconds,
        after.memory_peak as f64 / (1024.0 * 1024.0)
    )
}

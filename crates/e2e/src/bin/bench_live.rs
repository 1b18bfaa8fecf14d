//! A new 1 KiB file on one device until it is complete on the other, both running; in an empty tree and in one of 100,000 files.
//!
//! Options: `--samples N` (300), `--files N` (100000; 0 leaves the large tree out). The limit, in the same run: making one such file durable
//! where it is (`fdatasync` + rename).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use stacksync_e2e::bench_world::BenchWorld;
use stacksync_e2e::measure::{directory, fsync_and_rename, heading, option, percentile, row, seconds_until};
use stacksync_e2e::random::Random;
use stacksync_e2e::seed::grow_flat;
use std::path::Path;
use std::time::{Duration, Instant};

const FILE_BYTES: usize = 1024;

fn main() {
    let (samples, files) = (option("--samples", 300), option("--files", 100_000));
    heading(&format!("a new file of {FILE_BYTES} bytes on A until it is complete on B, live, {samples} times"));
    let dir = directory("live");
    measure(&dir.join("empty"), 0, samples);
    if files > 0 {
        measure(&dir.join("full"), files, samples);
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

fn measure(dir: &Path, files: usize, samples: usize) {
    println!("\n## in a tree of {files} files");
    let mut world = BenchWorld::new(dir);
    let mut random = Random::new(1);
    grow_flat(&world.a.path("all"), files, FILE_BYTES, &mut random);
    world.start_both();
    seconds_until(Instant::now(), Duration::from_millis(200), || stacksync_e2e::measure::count_files(world.b.root()) == files);
    world.agree();
    std::fs::create_dir_all(world.a.path("new")).unwrap();
    seconds_until(Instant::now(), Duration::from_millis(10), || world.b.path("new").exists());

    let mut times: Vec<f64> = (0..samples)
        .map(|sample| {
            std::thread::sleep(Duration::from_millis(50 + random.below(50) as u64));
            let (here, there) = (world.a.path(&format!("new/{sample}")), world.b.path(&format!("new/{sample}")));
            let bytes = random.bytes(FILE_BYTES);
            let start = Instant::now();
            std::fs::write(here, bytes).unwrap();
            let complete = || there.metadata().is_ok_and(|metadata| metadata.len() == FILE_BYTES as u64);
            seconds_until(start, Duration::from_micros(200), complete) * 1000.0
        })
        .collect();
    for (name, percent, limit) in [("p50", 50.0, 50.0), ("p90", 90.0, f64::NAN), ("p99", 99.0, 250.0), ("most", 100.0, f64::NAN)] {
        let value = percentile(&mut times, percent);
        let limit = if limit.is_nan() { String::new() } else { format!(" (limit {limit:.0} ms)") };
        row(name, format!("{value:.1} ms{limit}"));
    }
    let local: f64 = fsync_and_rename(&dir.join("local"), 200, FILE_BYTES, 1) / 200.0 * 1000.0;
    let p50 = percentile(&mut times, 50.0);
    row("one fdatasync + rename here, mean", format!("{local:.2} ms; p50 / this = {:.1}", p50 / local));
    row("Syncthing, for comparison", "1000 ms with a delay of 1 s, 9800 ms by default");
}

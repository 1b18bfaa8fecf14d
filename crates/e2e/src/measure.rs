//! What the benchmark programs share: a quiet way to start what is measured, medians and percentiles, facts about the machine, and
//! the limits of this disk and this processor, measured in the same run.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The value of `--name VALUE` on the command line.
///
/// # Panics
/// If it is no number.
pub fn option(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} wants a number, not {text:?}")))
}

/// The same command with real-time priority, so that others on the machine do not count; as it is where that is not allowed.
#[must_use]
pub fn undisturbed(plain: &Command) -> Command {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    let allowed = *ALLOWED
        .get_or_init(|| Command::new("chrt").args(["-r", "1", "true"]).output().is_ok_and(|output| output.status.success()));
    let mut command = if allowed { Command::new("chrt") } else { Command::new(plain.get_program()) };
    if allowed {
        command.args(["-r", "1"]).arg(plain.get_program());
    }
    command.args(plain.get_args());
    for (key, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command
}

/// Gives this very process the priority of [`undisturbed`], where that is allowed: for programs that are part of the load.
pub fn become_undisturbed() {
    let _ = Command::new("chrt").args(["-r", "-p", "1", &std::process::id().to_string()]).output();
}

/// The value in the middle; of an even number the lower one.
///
/// # Panics
/// If there is none.
pub fn median(values: &mut [f64]) -> f64 {
    percentile(values, 50.0)
}

/// The value that `percent` of all values do not exceed.
///
/// # Panics
/// If there is none.
pub fn percentile(values: &mut [f64], percent: f64) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

/// How long something took, in seconds.
pub fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Prints a heading with what is measured, and the facts about this machine.
pub fn heading(what: &str) {
    let first = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or("").to_owned();
        line.split(':').nth(1).unwrap_or("unknown").trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let profile = if cfg!(debug_assertions) { "DEBUG BUILD: the numbers mean nothing" } else { "release build" };
    println!("# {what}");
    println!(
        "machine: {cores} x {}, {} memory, Linux {}, load before {}, {profile}",
        first("/proc/cpuinfo", "model name"),
        first("/proc/meminfo", "MemTotal"),
        std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        load.split(' ').next().unwrap_or("?"),
    );
}

/// Prints one line of a result.
pub fn row(what: &str, value: impl std::fmt::Display) {
    println!("{what:<58} {value}");
}

/// A directory for one benchmark, on the disk that is measured: `BENCH_DIR`, or `target/bench`. The caller deletes it at the very end,
/// because a file system can be slow for minutes after many deletions.
///
/// # Panics
/// If it cannot be made.
pub fn directory(name: &str) -> PathBuf {
    let base = std::env::var_os("BENCH_DIR").map_or_else(|| crate::programs::checkout().join("target/bench"), PathBuf::from);
    let dir = base.join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory can be made");
    dir
}

/// Writes so many files, each made durable by `fdatasync` and put in its place by a rename, on so many threads; seconds.
///
/// # Panics
/// If the disk does not take it.
pub fn fsync_and_rename(dir: &Path, files: usize, len: usize, threads: usize) -> f64 {
    std::fs::create_dir_all(dir).expect("a directory can be made");
    let bytes = vec![7_u8; len];
    let bytes = bytes.as_slice();
    seconds(|| {
        std::thread::scope(|scope| {
            for thread in 0..threads {
                scope.spawn(move || {
                    for number in (thread..files).step_by(threads) {
                        let (aside, place) = (dir.join(format!("{number}.tmp")), dir.join(number.to_string()));
                        let mut file = File::create(&aside).expect("a file can be made");
                        file.write_all(bytes).expect("a file can be written");
                        file.sync_data().expect("a file can be made durable");
                        std::fs::rename(&aside, &place).expect("a file can be renamed");
                    }
                });
            }
        });
    })
}

/// Copies a file or folder with `cp -a` and makes everything durable with `sync`; seconds.
///
/// # Panics
/// If that fails.
pub fn copy_and_sync(from: &Path, to: &Path) -> f64 {
    seconds(|| {
        let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
        assert!(status.is_ok_and(|status| status.success()), "cp failed");
        assert!(Command::new("sync").status().is_ok_and(|status| status.success()), "sync failed");
    })
}

/// Cuts and hashes a file as the product does, on one thread, reading it once; seconds.
///
/// # Panics
/// If it cannot be read.
pub fn cut_and_hash(file: &Path) -> f64 {
    seconds(|| {
        let file = File::open(file).expect("a file can be opened");
        for chunk in fastcdc::v2020::StreamCDC::new(file, 128 << 10, 512 << 10, 2 << 20) {
            std::hint::black_box(blake3::hash(&chunk.expect("a file can be read").data));
        }
    })
}

/// Waits until something holds, asking every so often; seconds since `start`.
///
/// # Panics
/// After half an hour.
pub fn seconds_until(start: Instant, every: Duration, mut holds: impl FnMut() -> bool) -> f64 {
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(1800), "it takes more than half an hour");
        std::thread::sleep(every);
    }
    start.elapsed().as_secs_f64()
}

/// Files below a folder.
pub fn count_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => count_files(&entry.path()),
            Ok(_) if !entry.file_name().to_string_lossy().starts_with(".~stacksync-") => 1,
            _ => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 50.0), 50.0);
        assert_eq!(percentile(&mut values, 99.0), 99.0);
        assert_eq!(percentile(&mut values, 100.0), 100.0);
        assert_eq!(median(&mut [3.0]), 3.0);
        assert_eq!(median(&mut [4.0, 1.0]), 1.0);
    }
}

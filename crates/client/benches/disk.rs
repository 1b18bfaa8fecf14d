//! Speed of the disk parts against what the disk itself can do in the same run:
//! publishing small files, scanning, going to the trash, beginning to watch. Takes the number of files and of rounds (default 10,000 and 5).
//!
//! Everything is deleted at the very end only: many file systems are slow for minutes after mass deletions.

use rustix::fs::fsync;
use stacksync::disk::{Disk, Job, OwnFolders, RootIdentity, WriteTarget};
use stacksync::watch::{Hint, watch};
use stacksync_core::engine::{Applied, DiskAction, Stat};
use stacksync_core::values::{ItemPath, ModifiedAt};
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;

const BATCH: usize = 256;
const FOLDERS: usize = 10;
/// Files that are made and published one by one in each round.
const SINGLES: usize = 50;
const BODY: [u8; 4096] = [7; 4096];

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut numbers = std::env::args().filter_map(|text| text.parse::<usize>().ok());
    let (files, rounds) = (numbers.next().unwrap_or(10_000), numbers.next().unwrap_or(5).max(1));
    let temp = tempfile::tempdir()?;
    let own = OwnFolders::open(&temp.path().join("home"))?;
    let mut times: Vec<[Duration; 5]> = Vec::new();
    let (mut hinted, mut published, mut renames) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let place = temp.path().join(format!("round{round}"));
        fs::create_dir(&place)?;
        let raw = raw_files(&place.join("raw"), files)?;
        let root = place.join("root");
        fs::create_dir(&root)?;
        let disk = Disk::new(&own, root.clone(), RootIdentity::of(&root)?, ItemPath::top());
        let (publish, stats) = timed(|| publish(&disk, files))?;
        let (scan, ()) = timed(|| scan(&disk, files))?;
        let (watching, (watcher, mut hints)) = timed(|| Ok(watch(&root, Arc::new(|_| false))))?;
        for number in 0..SINGLES {
            let start = Instant::now();
            fs::write(root.join(format!("folder0/single{number}")), BODY)?;
            hints.blocking_recv().ok_or("the watch ended")?;
            hinted.push(start.elapsed());
            let path = ItemPath::parse(&format!("folder0/published{number}"))?;
            let (one, ()) = timed(|| publish_one(&disk, path))?;
            published.push(one);
            hints.blocking_recv().ok_or("the watch ended")?;
        }
        let (renamed, ()) = timed(|| rename(&disk, &root, &mut hints))?;
        renames.push(renamed);
        drop(watcher);
        let (trash, ()) = timed(|| trash(&disk, stats))?;
        times.push([raw, publish, scan, watching, trash]);
    }
    println!("{files} files of {} bytes in {FOLDERS} folders, batches of {BATCH}; medians of {rounds}", BODY.len());
    let names = ["write + fsync + rename, one by one", "stage + publish", "scan", "begin to watch", "trash"];
    for (index, name) in names.iter().enumerate() {
        let mut each: Vec<Duration> = times.iter().map(|round| round[index]).collect();
        each.sort_unstable();
        let median = each[rounds / 2];
        let rate = files as f64 / median.as_secs_f64();
        println!("{name:36} {:8.1} ms {rate:10.0} files/s (worst {:.1} ms)", millis(median), millis(each[rounds - 1]));
    }
    for (name, mut each) in
        [("a new file until its hint", hinted), ("stage + publish one file", published), ("move a folder, until its hint", renames)]
    {
        each.sort_unstable();
        println!("{name:36} {:8.2} ms (worst {:.2} ms)", millis(each[each.len() / 2]), millis(each[each.len() - 1]));
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn timed<T>(run: impl FnOnce() -> Outcome<T>) -> Outcome<(Duration, T)> {
    let start = Instant::now();
    let value = run()?;
    Ok((start.elapsed(), value))
}

fn path(number: usize) -> Outcome<ItemPath> {
    Ok(ItemPath::parse(&format!("folder{}/file{number}", number % FOLDERS))?)
}

/// What the file system allows without any sharing of waits.
fn raw_files(place: &Path, files: usize) -> Outcome<Duration> {
    fs::create_dir(place)?;
    for folder in 0..FOLDERS {
        fs::create_dir(place.join(format!("folder{folder}")))?;
    }
    let start = Instant::now();
    for number in 0..files {
        let staged = place.join("staged");
        let mut file = File::create_new(&staged)?;
        file.write_all(&BODY)?;
        fsync(&file)?;
        fs::rename(staged, place.join(format!("folder{}/file{number}", number % FOLDERS)))?;
    }
    Ok(start.elapsed())
}

fn publish(disk: &Disk, files: usize) -> Outcome<Vec<(ItemPath, Stat)>> {
    for folder in 0..FOLDERS {
        let path = ItemPath::parse(&format!("folder{folder}"))?;
        disk.apply(vec![DiskAction::MakeFolder { path, into: None }.into()]).into_iter().collect::<Result<Vec<_>, _>>()?;
    }
    let mut stats = Vec::new();
    for first in (0..files).step_by(BATCH) {
        let mut paths = Vec::new();
        let mut jobs: Vec<Job> = Vec::new();
        for number in first..files.min(first + BATCH) {
            let path = path(number)?;
            paths.push(path.clone());
            let modified = ModifiedAt(1_700_000_000_000_000_000);
            let size = BODY.len() as u64;
            let staged = disk.stage(WriteTarget { path, into: None, size, executable: false, modified, replaces: None })?;
            staged.file().write_all_at(&BODY, 0)?;
            jobs.push(staged.into());
        }
        for (path, outcome) in paths.into_iter().zip(disk.apply(jobs)) {
            if let Applied::Present(stat) = outcome? {
                stats.push((path, stat));
            }
        }
    }
    Ok(stats)
}

fn publish_one(disk: &Disk, path: ItemPath) -> Outcome<()> {
    let size = BODY.len() as u64;
    let staged = disk.stage(WriteTarget { path, into: None, size, executable: false, modified: ModifiedAt(1), replaces: None })?;
    staged.file().write_all_at(&BODY, 0)?;
    disk.apply(vec![staged.into()]).into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(())
}

/// There and back, so that the paths stay good.
fn rename(disk: &Disk, root: &Path, hints: &mut Receiver<Hint>) -> Outcome<()> {
    let (from, to) = (ItemPath::parse("folder0")?, ItemPath::parse("moved")?);
    let listing = disk.scan(&ItemPath::top(), Some(from.names())).result?;
    let expect = listing.entries.into_iter().next().ok_or("no folder")?.stat;
    let there = DiskAction::Move { from: from.clone(), expect, to, into: None };
    disk.apply(vec![there.into()]).into_iter().collect::<Result<Vec<_>, _>>()?;
    hints.blocking_recv().ok_or("the watch ended")?;
    fs::rename(root.join("moved"), root.join("folder0"))?;
    Ok(())
}

fn scan(disk: &Disk, files: usize) -> Outcome<()> {
    let mut found = 0;
    for folder in 0..FOLDERS {
        found += disk.scan(&ItemPath::parse(&format!("folder{folder}"))?, None).result?.entries.len();
    }
    if found == files { Ok(()) } else { Err(format!("the scan found {found} of {files}").into()) }
}

fn trash(disk: &Disk, stats: Vec<(ItemPath, Stat)>) -> Outcome<()> {
    let jobs: Vec<Job> = stats.into_iter().map(|(path, expect)| DiskAction::Trash { path, expect }.into()).collect();
    disk.apply(jobs).into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(())
}

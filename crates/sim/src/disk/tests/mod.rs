//! The simulated disk itself: the client's actions step by step with people and faults between the steps, and what a loss of power
//! leaves.

mod acting;
mod power;
mod watching;

use super::*;
use crate::random::Random;
use stacksync_core::engine::FileId;
use stacksync_core::values::{ChunkName, ChunkRef, FileBody, ModifiedAt};

const OLD: ModifiedAt = ModifiedAt(1_234_567_890_123_456_789);

fn path(text: &str) -> ItemPath {
    ItemPath::parse(text).unwrap()
}

/// Every unusual property alone, and none.
fn disks() -> Vec<(String, Disk)> {
    let words = ["ordinary", "fold", "blind", "nfd", "fine", "1s", "2s", "unborn", "fresh", "plain", "away", "loose", "plain+away"];
    words.iter().map(|word| ((*word).to_owned(), Disk::new(word.parse().unwrap(), 1))).collect()
}

fn stat(disk: &mut Disk, text: &str) -> Stat {
    let path = path(text);
    let (folder, name) = path.split().unwrap();
    let listing = disk.scan(&folder, Some(std::slice::from_ref(name))).unwrap();
    assert_eq!(listing.skipped, []);
    listing.entries.into_iter().next().unwrap().stat
}

fn body(bytes: &[u8]) -> FileBody {
    let chunk = ChunkRef { name: ChunkName::of(bytes), len: bytes.len() as u32 };
    FileBody { size: bytes.len() as u64, chunks: [chunk].into(), adler32: 1, executable: false }
}

fn write(text: &str, bytes: &str, replaces: Option<Stat>) -> (DiskAction, Option<Vec<u8>>) {
    let body = body(bytes.as_bytes());
    let action = DiskAction::Write { path: path(text), into: None, body, modified: OLD, replaces, sources: vec![] };
    (action, Some(bytes.as_bytes().to_vec()))
}

/// Runs one action to its end, doing something before each step.
fn apply_while(
    disk: &mut Disk,
    action: DiskAction,
    contents: Option<Vec<u8>>,
    mut meanwhile: impl FnMut(&mut Disk, usize),
) -> Outcome {
    let mut job = disk.begin(action, contents);
    for step in 0..1_000 {
        meanwhile(disk, step);
        if let Progress::Done(outcome) = disk.step(&mut job) {
            return outcome;
        }
    }
    panic!("it never ends");
}

fn apply(disk: &mut Disk, action: DiskAction, contents: Option<Vec<u8>>) -> Outcome {
    apply_while(disk, action, contents, |_, _| {})
}

fn put(disk: &mut Disk, text: &str, bytes: &str, replaces: Option<Stat>) -> Outcome {
    let (action, contents) = write(text, bytes, replaces);
    apply(disk, action, contents)
}

fn text(disk: &Disk, at: &str) -> Option<String> {
    disk.read(&path(at)).ok().map(|bytes| String::from_utf8(bytes).unwrap())
}

fn trashed(disk: &Disk) -> Vec<String> {
    let mut texts: Vec<String> = disk.trashed().into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect();
    texts.sort();
    texts
}

fn staged(disk: &Disk) -> usize {
    let in_home = disk.with(|machine| machine.fs.children(machine.staging).unwrap().len());
    let hidden = disk.with(|machine| machine.walk()).iter().filter(|(path, _)| path.to_string().contains(".~stacksync")).count();
    in_home + hidden
}

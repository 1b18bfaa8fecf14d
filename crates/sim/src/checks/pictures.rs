//! What people see on every disk, and what changed in it from one step to the next.

use crate::disk::Seen;
use crate::scenario::Fault;
use crate::world::{Happened, World};
use stacksync_core::cut::Cutter;
use stacksync_core::values::{Body, Kind};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Names a content by its chunks, as the service does. `None` for what has no bytes to lose: folders, links, empty files.
pub type Key = [u8; 32];

/// The name of these bytes.
pub fn key_of_bytes(bytes: &[u8]) -> Option<Key> {
    if bytes.is_empty() {
        return None;
    }
    let mut names = blake3::Hasher::new();
    let mut cutter = Cutter::new();
    cutter.feed(bytes, |chunk, _| {
        names.update(chunk.name.as_bytes());
    });
    cutter.finish(|chunk, _| {
        names.update(chunk.name.as_bytes());
    });
    Some(*names.finalize().as_bytes())
}

/// The name of a version's content.
pub fn key_of_body(body: &Body) -> Option<Key> {
    let chunks = body.chunks();
    let mut names = blake3::Hasher::new();
    for chunk in chunks {
        names.update(chunk.name.as_bytes());
    }
    (!chunks.is_empty()).then(|| *names.finalize().as_bytes())
}

/// One path of a picture.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What is there.
    pub seen: Seen,
    /// Its content.
    pub key: Option<Key>,
}

/// One disk, by path.
pub type Picture = BTreeMap<String, Entry>;

/// Who changed a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A person; perhaps the client too.
    Person,
    /// The client alone.
    Client,
    /// A loss of power.
    Power,
}

/// A disk that changed in this step.
#[derive(Debug)]
pub struct Change {
    /// Number of the member.
    pub member: usize,
    /// By whom.
    pub by: By,
    /// As it was.
    pub before: Arc<Picture>,
    /// As it is.
    pub now: Arc<Picture>,
}

impl Change {
    /// Contents that are there and were not, with the path.
    pub fn came(&self) -> Vec<(Key, &str)> {
        missing_from(&self.now, &self.before)
    }

    /// Contents that a person put in place of others of the same length and the same times, as far as the disk keeps times: no look can
    /// tell them apart. The old one, then the new one.
    pub fn invisible(&self) -> impl Iterator<Item = (Option<Key>, Key)> + '_ {
        let same_look = |(path, entry): (&String, &Entry)| {
            let old = self.before.get(path)?;
            let seen = (entry.seen.bytes.len(), entry.seen.modified_ns, entry.seen.executable);
            let same = seen == (old.seen.bytes.len(), old.seen.modified_ns, old.seen.executable);
            entry.key.filter(|key| same && old.key != Some(*key)).map(|key| (old.key, key))
        };
        self.now.iter().filter_map(same_look)
    }

    /// Contents that are at fewer paths than before.
    pub fn fewer(&self) -> Vec<Key> {
        let count = |picture: &Picture, key: Key| picture.values().filter(|entry| entry.key == Some(key)).count();
        let left = |(path, entry): (&String, &Entry)| {
            let key = entry.key?;
            (self.now.get(path).and_then(|now| now.key) != Some(key) && count(&self.now, key) < count(&self.before, key))
                .then_some(key)
        };
        self.before.iter().filter_map(left).collect()
    }

    /// Contents that were there and are not any more, with the path.
    pub fn gone(&self) -> Vec<(Key, &str)> {
        missing_from(&self.before, &self.now)
    }
}

fn missing_from<'a>(these: &'a Picture, those: &Picture) -> Vec<(Key, &'a str)> {
    let changed =
        |(path, entry): &(&String, &Entry)| entry.key.is_some() && those.get(*path).map(|other| other.key) != Some(entry.key);
    let mut candidates = these.iter().filter(changed).peekable();
    if candidates.peek().is_none() {
        return Vec::new();
    }
    let there: HashSet<Key> = those.values().filter_map(|entry| entry.key).collect();
    candidates.filter_map(|(path, entry)| Some((entry.key?, path.as_str()))).filter(|(key, _)| !there.contains(key)).collect()
}

#[derive(Debug)]
struct Last {
    changes: u64,
    pieces: u64,
    picture: Arc<Picture>,
}

/// The last picture of every disk.
#[derive(Debug, Default)]
pub struct Pictures {
    last: Vec<Last>,
}

impl Pictures {
    /// A member's disk as it was after the last step.
    pub fn of(&self, member: usize) -> &Picture {
        &self.last[member].picture
    }

    /// Looks at the disks that changed.
    pub fn update(&mut self, world: &World) -> Vec<Change> {
        let first = self.last.is_empty();
        if first {
            let nothing = |_: &crate::world::Member| Last { changes: u64::MAX, pieces: 0, picture: Arc::default() };
            self.last = world.members().iter().map(nothing).collect();
        }
        let mut changes = Vec::new();
        for (number, member) in world.members().iter().enumerate() {
            let (changed, pieces) = (member.disk.changes(), member.disk.pieces());
            let last = &mut self.last[number];
            if last.changes == changed {
                continue;
            }
            let before = Arc::clone(&last.picture);
            let now = Arc::new(take(member.disk.visible(), &before));
            let by = match who(world, member.laptop, member.workspace) {
                By::Client if first || last.pieces != pieces => By::Person,
                by => by,
            };
            *last = Last { changes: changed, pieces, picture: Arc::clone(&now) };
            changes.push(Change { member: number, by, before, now });
        }
        changes
    }
}

/// Contents are named once: what did not change keeps its name.
fn take(visible: BTreeMap<String, Seen>, before: &Picture) -> Picture {
    let entry = |(path, seen): (String, Seen)| {
        let same = before.get(&path).filter(|old| old.seen.bytes == seen.bytes && old.seen.kind == seen.kind);
        let key = match same {
            Some(old) => old.key,
            None if seen.kind == Kind::File => key_of_bytes(&seen.bytes),
            None => None,
        };
        (path, Entry { seen, key })
    };
    visible.into_iter().map(entry).collect()
}

fn who(world: &World, laptop: usize, workspace: usize) -> By {
    let mut by = By::Client;
    for happened in world.happened() {
        match happened {
            Happened::Person { laptop: at, workspace: folder, .. } if (*at, *folder) == (laptop, workspace) => by = By::Person,
            Happened::Fault { fault: Fault::EditDuring, laptop: Some(at) } if *at == laptop => by = By::Person,
            Happened::Fault { fault: Fault::LaptopPower | Fault::BothKilled, laptop: at } if at.is_none_or(|at| at == laptop) => {
                return By::Power;
            }
            _ => {}
        }
    }
    by
}

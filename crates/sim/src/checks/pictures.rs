//! What people see on every disk, and what changed in it from one step to the next.

use crate::disk::{Seen, Shift};
use crate::scenario::Fault;
use crate::world::{Happened, World};
use stacksync_core::cut::Cutter;
use stacksync_core::values::{Body, Kind};
use std::collections::{BTreeMap, HashMap};

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

/// One disk: what is at each path, and at how many paths each content is.
#[derive(Debug, Default)]
pub struct Picture {
    entries: BTreeMap<String, Entry>,
    counts: HashMap<Key, usize>,
}

impl Picture {
    /// What is at each path.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.entries.iter()
    }

    /// The contents, each once for every path that it is at.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.entries.values().filter_map(|entry| entry.key)
    }

    fn count(&self, key: Key) -> usize {
        self.counts.get(&key).copied().unwrap_or(0)
    }

    fn set(&mut self, path: &str, entry: Option<Entry>) -> Option<Entry> {
        if let Some(key) = entry.as_ref().and_then(|entry| entry.key) {
            *self.counts.entry(key).or_default() += 1;
        }
        let old = match entry {
            Some(entry) => self.entries.insert(path.to_owned(), entry),
            None => self.entries.remove(path),
        };
        if let Some(key) = old.as_ref().and_then(|old| old.key)
            && let Some(count) = self.counts.get_mut(&key)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&key);
            }
        }
        old
    }
}

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

/// What is at one path, before and after.
#[derive(Clone, Debug, Default)]
pub struct At {
    /// As it was.
    pub before: Option<Entry>,
    /// As it is.
    pub now: Option<Entry>,
}

impl At {
    fn keys(&self) -> (Option<Key>, Option<Key>) {
        let key = |entry: &Option<Entry>| entry.as_ref().and_then(|entry| entry.key);
        (key(&self.before), key(&self.now))
    }
}

/// A disk that changed in this step. It holds what changed, not what is there.
#[derive(Debug)]
pub struct Change {
    /// Number of the member.
    pub member: usize,
    /// By whom.
    pub by: By,
    /// How many paths there are now.
    pub left: usize,
    /// Where something changed.
    pub paths: BTreeMap<String, At>,
    /// At how many paths the contents of these are, before and after.
    counts: HashMap<Key, (usize, usize)>,
}

impl Change {
    /// At how many paths a content of a changed path was, and is.
    pub fn counts(&self, key: Key) -> (usize, usize) {
        self.counts.get(&key).copied().unwrap_or_default()
    }

    /// The contents of the changed paths, each once.
    pub fn contents(&self) -> impl Iterator<Item = (Key, (usize, usize))> + '_ {
        self.counts.iter().map(|(key, counts)| (*key, *counts))
    }

    /// Contents that are there and were not, with the path.
    pub fn came(&self) -> Vec<(Key, &str)> {
        let came = |at: &At| {
            let (before, now) = at.keys();
            now.filter(|key| before != now && self.counts(*key).0 == 0)
        };
        self.paths.iter().filter_map(|(path, at)| came(at).map(|key| (key, path.as_str()))).collect()
    }

    /// Contents that a person put in place of others in the same file, of the same length and the same times, as far as the disk keeps
    /// times: no look can tell them apart. The old one, then the new one.
    pub fn invisible(&self) -> impl Iterator<Item = (Option<Key>, Key)> + '_ {
        let look = |entry: &Entry| {
            let seen = &entry.seen;
            (seen.file, seen.bytes.len(), seen.modified_ns, seen.executable)
        };
        self.paths.values().filter_map(move |at| {
            let (old, now) = (at.before.as_ref()?, at.now.as_ref()?);
            now.key.filter(|key| look(old) == look(now) && old.key != Some(*key)).map(|key| (old.key, key))
        })
    }

    /// Contents that are at fewer paths than before.
    pub fn fewer(&self) -> Vec<Key> {
        let left = |at: &At| {
            let (before, now) = at.keys();
            before.filter(|key| before != now && self.counts(*key).1 < self.counts(*key).0)
        };
        self.paths.values().filter_map(left).collect()
    }

    /// Contents that were there and are not any more, with the path.
    pub fn gone(&self) -> Vec<(Key, &str)> {
        let gone = |at: &At| {
            let (before, now) = at.keys();
            before.filter(|key| before != now && self.counts(*key).1 == 0)
        };
        self.paths.iter().filter_map(|(path, at)| gone(at).map(|key| (key, path.as_str()))).collect()
    }
}

#[derive(Debug, Default)]
struct Last {
    pieces: u64,
    picture: Picture,
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

    /// Looks at what changed on the disks.
    pub fn update(&mut self, world: &World) -> Vec<Change> {
        let first = self.last.is_empty();
        if first {
            self.last.resize_with(world.members().len(), Last::default);
        }
        let mut changes = Vec::new();
        for (number, member) in world.members().iter().enumerate() {
            let last = &mut self.last[number];
            let written = std::mem::replace(&mut last.pieces, member.disk.pieces()) != last.pieces;
            let shifts = member.disk.take_shifts();
            if shifts.is_empty() {
                continue;
            }
            let by = match who(world, member.laptop, member.workspace) {
                By::Client if first || written => By::Person,
                by => by,
            };
            changes.push(last.picture.take_in(number, by, shifts));
        }
        changes
    }
}

impl Picture {
    fn take_in(&mut self, member: usize, by: By, shifts: Vec<Shift>) -> Change {
        let mut paths = BTreeMap::new();
        let mut counts: HashMap<Key, (usize, usize)> = HashMap::new();
        let mut named = Vec::with_capacity(shifts.len());
        for shift in shifts {
            let before = self.entries.get(&shift.path);
            let now = shift.now.map(|seen| named_like(seen, before));
            for key in [before, now.as_ref()].into_iter().flatten().filter_map(|entry| entry.key) {
                counts.entry(key).or_insert_with(|| (self.count(key), 0));
            }
            named.push((shift.path, now));
        }
        for (path, now) in named {
            let before = self.set(&path, now.clone());
            paths.insert(path, At { before, now });
        }
        for (key, (_, now)) in &mut counts {
            *now = self.count(*key);
        }
        Change { member, by, left: self.entries.len(), paths, counts }
    }
}

/// Contents are named once: what did not change keeps its name.
fn named_like(seen: Seen, before: Option<&Entry>) -> Entry {
    let same = before.filter(|old| old.seen.bytes == seen.bytes && old.seen.kind == seen.kind);
    let key = match same {
        Some(old) => old.key,
        None if seen.kind == Kind::File => key_of_bytes(&seen.bytes),
        None => None,
    };
    Entry { seen, key }
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

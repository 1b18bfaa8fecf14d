//! What of the names and the data is on the medium, and what a loss of power makes of the rest.
//!
//! Names: changes wait in order until an `fsync` of their folder, or half a minute. A rename is whole: both of its folders have it or
//! none. Data: a file that was not synced is afterwards as it was synced last, or as it was visible, or a beginning of that. A model
//! of file systems whose looks are honest: a file whose bytes were lost does not keep the time and size of the bytes that were lost.

use super::flavour::Journal;
use super::node::{Children, Data, Id, Node, Nodes};
use crate::random::Random;
use stacksync_core::values::Name;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The system writes on its own what is older, in nanoseconds.
const WRITE_BACK_NS: i64 = 30_000_000_000;
/// More changes than this do not wait.
const WAITING_MAX: usize = 4096;

/// What two changes must not have in common to reach the medium independently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Folder(Id),
    Number(u64),
    /// A folder changed its folder: such changes are ordered, or a folder could end up inside itself.
    Moves,
}

/// A folder, what makes two names in it one, and what has the name from then on.
type Set = (Id, Name, Option<(Name, Id)>);

/// A change of names that reaches the medium whole or not at all.
#[derive(Clone, Debug)]
pub(super) struct Change {
    at: i64,
    sets: Vec<Set>,
    parts: Vec<Part>,
}

impl Change {
    pub const fn new(at: i64) -> Self {
        Self { at, sets: Vec::new(), parts: Vec::new() }
    }

    pub fn set(&mut self, folder: Id, key: Name, entry: Option<(Name, Id)>) {
        self.sets.push((folder, key, entry));
        self.parts.push(Part::Folder(folder));
    }

    /// The change makes this folder.
    pub fn folder(&mut self, id: Id) {
        self.parts.push(Part::Folder(id));
    }

    /// An inode number passes from a deleted file to a new one.
    pub fn number(&mut self, number: u64) {
        self.parts.push(Part::Number(number));
    }

    pub fn moves_folder(&mut self) {
        self.parts.push(Part::Moves);
    }
}

/// The names on the medium, and the changes on their way there.
#[derive(Clone, Debug, Default)]
pub(super) struct Journaled {
    base: BTreeMap<Id, Children>,
    waiting: VecDeque<Change>,
}

impl Journaled {
    pub fn add_folder(&mut self, id: Id) {
        self.base.insert(id, Children::new());
    }

    pub fn push(&mut self, change: Change) {
        self.waiting.push_back(change);
    }

    /// What waited long enough is written.
    pub fn write_back(&mut self, now: i64, nodes: &mut Nodes) {
        while let Some(first) = self.waiting.front()
            && (first.at < now - WRITE_BACK_NS || self.waiting.len() > WAITING_MAX)
        {
            if let Some(change) = self.waiting.pop_front() {
                self.settle(change, nodes);
            }
        }
    }

    pub fn settle_all(&mut self, nodes: &mut Nodes) {
        while let Some(change) = self.waiting.pop_front() {
            self.settle(change, nodes);
        }
    }

    /// Settles the changes of this folder with all that they build on.
    pub fn settle_folder(&mut self, folder: Id, nodes: &mut Nodes) {
        let mut parts = BTreeSet::from([Part::Folder(folder)]);
        let mut wanted = vec![false; self.waiting.len()];
        for (index, change) in self.waiting.iter().enumerate().rev() {
            if change.parts.iter().any(|part| parts.contains(part)) {
                parts.extend(change.parts.iter().copied());
                wanted[index] = true;
            }
        }
        let mut rest = VecDeque::new();
        for (change, wanted) in std::mem::take(&mut self.waiting).into_iter().zip(wanted) {
            if wanted { self.settle(change, nodes) } else { rest.push_back(change) }
        }
        self.waiting = rest;
    }

    fn settle(&mut self, change: Change, nodes: &mut Nodes) {
        let mut freed = Vec::new();
        for (folder, key, entry) in change.sets {
            let Some(children) = self.base.get_mut(&folder) else { continue };
            let old = match entry {
                Some(entry) => children.insert(key, entry),
                None => children.remove(&key),
            };
            freed.extend(old.map(|(_, id)| id));
        }
        for id in freed {
            self.forget_if_gone(id, nodes);
        }
    }

    /// Neither visible nor on the medium nor open. (A change that still waits can only take it away once more.)
    fn forget_if_gone(&mut self, id: Id, nodes: &mut Nodes) {
        let gone = nodes.get(id).is_some_and(|node| node.links == 0 && !node.is_held());
        let named = |set: &Set| set.2.as_ref().is_some_and(|(_, other)| *other == id);
        if gone && !self.waiting.iter().any(|change| change.sets.iter().any(named)) {
            let others = nodes.get(id).is_some_and(|node| !node.is_folder()) && self.is_on_medium(id);
            if !others {
                nodes.remove(id);
                self.base.remove(&id);
            }
        }
    }

    fn is_on_medium(&self, id: Id) -> bool {
        // Only files with several names come here, and those are few.
        self.base.values().any(|children| children.values().any(|(_, other)| *other == id))
    }

    /// See the module. `tops` are the nodes without names.
    pub fn lose_power(&mut self, nodes: &mut Nodes, tops: &[Id], journal: Journal, random: &mut Random) {
        let survivors = match journal {
            Journal::Ordered => {
                let kept = random.below(self.waiting.len() + 1);
                self.waiting.drain(..).take(kept).collect()
            }
            Journal::Loose => self.independent_survivors(random),
        };
        for change in survivors {
            for (folder, key, entry) in change.sets {
                let Some(children) = self.base.get_mut(&folder) else { continue };
                match entry {
                    Some(entry) => children.insert(key, entry),
                    None => children.remove(&key),
                };
            }
        }
        self.show_medium(nodes, tops);
        for id in nodes.ids() {
            if let Some(node) = nodes.get_mut(id) {
                tear(node, random);
            }
        }
    }

    /// Each change is lost or not; what builds on a lost one is lost with it.
    fn independent_survivors(&mut self, random: &mut Random) -> Vec<Change> {
        let one_in = [1, 2, 4, 16][random.below(4)];
        let mut lost = BTreeSet::new();
        let mut survivors = Vec::new();
        for change in self.waiting.drain(..) {
            if random.one_in(one_in) || change.parts.iter().any(|part| lost.contains(part)) {
                lost.extend(change.parts);
            } else {
                survivors.push(change);
            }
        }
        survivors
    }

    /// What is visible is what the medium has.
    fn show_medium(&mut self, nodes: &mut Nodes, tops: &[Id]) {
        let mut reached = BTreeSet::new();
        let mut next: Vec<Id> = tops.to_vec();
        for id in nodes.ids() {
            if let Some(node) = nodes.get_mut(id) {
                (node.links, node.at) = (u32::from(tops.contains(&id)), None);
            }
        }
        while let Some(folder) = next.pop() {
            reached.insert(folder);
            let children = self.base.get(&folder).cloned().unwrap_or_default();
            for (shown, id) in children.values() {
                if let Some(node) = nodes.get_mut(*id) {
                    node.links += 1;
                    node.at = Some((folder, shown.clone()));
                    if node.is_folder() && !reached.contains(id) {
                        next.push(*id);
                    }
                    reached.insert(*id);
                }
            }
            if let Some(node) = nodes.get_mut(folder) {
                node.data = Data::Folder(children);
            }
        }
        for id in nodes.ids() {
            if !reached.contains(&id) {
                nodes.remove(id);
                self.base.remove(&id);
            }
        }
    }
}

/// What the medium has of a file that was not synced.
fn tear(node: &mut Node, random: &mut Random) {
    let Some(now) = node.image().filter(|_| node.dirty) else { return };
    match (random.below(4), node.durable.clone()) {
        (0, _) => {}
        (1, Some(old)) => {
            node.data = Data::File(old.bytes);
            (node.modified, node.changed, node.mode) = (old.modified, old.changed, old.mode);
        }
        (_, durable) => {
            let keep = if random.one_in(2) { 0 } else { random.below(now.bytes.len() + 1) };
            let same = durable.is_some_and(|old| old.bytes == now.bytes);
            if keep < now.bytes.len() && !same {
                node.data = Data::File(Arc::new(now.bytes[..keep].to_vec()));
            }
        }
    }
    node.durable = node.image();
    node.dirty = false;
}

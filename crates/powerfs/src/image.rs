//! What a power cut leaves: the disk at a prefix of the log, under a stated model.
//!
//! - Names. Changes of one folder reach the disk in their order; a move between two folders, and an exchange, reach it whole. `fsync` of
//!   a folder makes its changes so far durable, and with them whatever they follow from (earlier changes of folders that they touch).
//!   Nothing else does: not even `fsync` of a new file makes its name durable. Of the rest any part that keeps these orders may be there.
//! - Bytes. `fsync` and `fdatasync` make a file's bytes and length durable. Of what was written since, everything, nothing, the first
//!   part, or any blocks may be there; a block that is not there but within the length is zeros.
//! - Times, modes and owners are durable after either of the two; of later ones the last may be there.
//!
//! That is weaker than what ext4, xfs or btrfs give (they keep more order among names), so what holds here holds there.

use crate::disk::{Attrs, Disk, Ino, Node, Op};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes that reach the disk together.
const BLOCKS: [usize; 2] = [512, 4096];

/// Random numbers that a seed repeats.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same numbers.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`, which must not be 0.
    pub const fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// Which `fsync`s count.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Files and folders whose path contains one of these: their `fsync` does nothing. To show that tests see a missing one.
    pub forgotten: Vec<String>,
}

impl Model {
    fn counts(&self, path: &str) -> bool {
        !self.forgotten.iter().any(|part| path.contains(part.as_str()))
    }

    /// The disk after a power cut right after the last of `ops`, which began with `before` (all of it durable). The dice choose among
    /// the disks that the model allows.
    pub fn image(&self, before: &Disk, ops: &[Op], dice: &mut Dice) -> Disk {
        let mut image = before.clone();
        let kept = self.kept_names(ops, dice);
        for (index, op) in ops.iter().enumerate() {
            if kept.contains(&index) {
                image.apply(op);
            } else if let Op::Make { ino, node, attrs, .. } = op {
                // Without a name, but others may be in it, or give it one.
                image.nodes.insert(*ino, (node.clone(), *attrs));
            }
        }
        for (ino, history) in self.histories(before, ops) {
            if let Some((node, attrs)) = image.nodes.get_mut(&ino) {
                *attrs = if dice.below(2) == 0 { history.durable_attrs } else { history.attrs };
                if let Node::File(bytes) = node {
                    *bytes = Arc::new(history.torn(dice));
                }
            }
        }
        image
    }

    /// Changes of names that are on the disk.
    fn kept_names(&self, ops: &[Op], dice: &mut Dice) -> BTreeSet<usize> {
        let forced = self.forced_names(ops);
        // Of ten: nothing more, everything, or something in between.
        let more = match dice.below(3) {
            0 => 0,
            1 => 10,
            _ => 1 + dice.below(9),
        };
        let mut ended: BTreeSet<Ino> = BTreeSet::new();
        let mut kept = BTreeSet::new();
        for (index, op) in ops.iter().enumerate() {
            let folders = folders_of(op);
            if folders.is_empty() {
                continue;
            }
            let follows = folders.iter().all(|folder| !ended.contains(folder));
            if forced.contains(&index) || (follows && dice.below(10) < more) {
                kept.insert(index);
            } else {
                ended.extend(folders);
            }
        }
        kept
    }

    fn forced_names(&self, ops: &[Op]) -> BTreeSet<usize> {
        let mut until: BTreeMap<Ino, usize> = BTreeMap::new();
        let mut forced = BTreeSet::new();
        for (index, op) in ops.iter().enumerate().rev() {
            if let Op::Sync { ino, path, .. } = op
                && self.counts(path)
            {
                until.entry(*ino).or_insert(index);
            }
            let folders = folders_of(op);
            if folders.iter().any(|folder| until.get(folder).is_some_and(|until| index < *until)) {
                forced.insert(index);
                for folder in folders {
                    let known = until.entry(folder).or_insert(index);
                    *known = (*known).max(index);
                }
            }
        }
        forced
    }

    fn histories(&self, before: &Disk, ops: &[Op]) -> BTreeMap<Ino, History> {
        let mut histories: BTreeMap<Ino, History> = BTreeMap::new();
        let begin = |ino: Ino| before.nodes.get(&ino).map(|(node, attrs)| History::new(node, *attrs));
        for op in ops {
            let ino = match op {
                Op::Make { ino, node, attrs, .. } => {
                    histories.insert(*ino, History::new(node, *attrs));
                    continue;
                }
                Op::Write { ino, .. } | Op::Truncate { ino, .. } | Op::Attrs { ino, .. } | Op::Sync { ino, .. } => *ino,
                Op::Link { .. } | Op::Remove { .. } | Op::Rename { .. } | Op::Exchange { .. } => continue,
            };
            if !histories.contains_key(&ino) {
                histories.extend(begin(ino).map(|history| (ino, history)));
            }
            let Some(history) = histories.get_mut(&ino) else { continue };
            match op {
                Op::Attrs { attrs, .. } => history.attrs = *attrs,
                Op::Sync { path, .. } if self.counts(path) => history.sync(),
                Op::Sync { .. } => {}
                _ => history.pending.push(op.clone()),
            }
        }
        histories
    }
}

/// The folders whose names a change changes.
fn folders_of(op: &Op) -> Vec<Ino> {
    match op {
        Op::Make { folder, .. } | Op::Link { folder, .. } | Op::Remove { folder, .. } => vec![*folder],
        Op::Rename { from: (a, _), to: (b, _) } | Op::Exchange { a: (a, _), b: (b, _) } => vec![*a, *b],
        Op::Write { .. } | Op::Truncate { .. } | Op::Attrs { .. } | Op::Sync { .. } => Vec::new(),
    }
}

/// A file's bytes and attributes: what is durable, and what came since.
struct History {
    durable: Vec<u8>,
    durable_attrs: Attrs,
    attrs: Attrs,
    pending: Vec<Op>,
}

impl History {
    fn new(node: &Node, attrs: Attrs) -> Self {
        let durable = match node {
            Node::File(bytes) => bytes.to_vec(),
            Node::Folder(_) | Node::Link(_) => Vec::new(),
        };
        Self { durable, durable_attrs: attrs, attrs, pending: Vec::new() }
    }

    fn after(&self, count: usize) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for op in &self.pending[..count] {
            match op {
                Op::Write { offset, data, .. } => {
                    let (start, end) = (*offset as usize, *offset as usize + data.len());
                    bytes.resize(bytes.len().max(end), 0);
                    bytes[start..end].copy_from_slice(data);
                }
                Op::Truncate { size, .. } => bytes.resize(*size as usize, 0),
                _ => {}
            }
        }
        bytes
    }

    fn sync(&mut self) {
        self.durable = self.after(self.pending.len());
        self.durable_attrs = self.attrs;
        self.pending.clear();
    }

    fn torn(&self, dice: &mut Dice) -> Vec<u8> {
        let all = self.pending.len();
        match dice.below(4) {
            0 => self.after(0),
            1 => self.after(all),
            2 => self.after(dice.below(all + 1)),
            _ => self.mixed(dice),
        }
    }

    /// The length of before or after, each block of before or after.
    fn mixed(&self, dice: &mut Dice) -> Vec<u8> {
        let (old, new) = (&self.durable, self.after(self.pending.len()));
        let block = BLOCKS[dice.below(BLOCKS.len())];
        let mut bytes = vec![0; if dice.below(2) == 0 { old.len() } else { new.len() }];
        for start in (0..bytes.len()).step_by(block) {
            let from = if dice.below(2) == 0 { old } else { &new };
            let end = (start + block).min(bytes.len());
            let there = from.len().clamp(start, end);
            bytes[start..there].copy_from_slice(from.get(start..there).unwrap_or_default());
        }
        bytes
    }
}

//! The calls of a simulated operating system: each happens whole and at once, and is visible to everybody from then on.
//!
//! What survives a loss of power is another matter (`journal`). Nobody is refused here for want of rights and nothing fails by
//! chance: that is decided by who calls (`machine`).

use super::errno::Errno;
use super::flavour::{Flavour, Inodes, Journal};
use super::journal::{Change, Journaled};
use super::node::{Children, Data, Hold, Id, Node, Nodes};
use super::shown::Touched;
use super::watch::{Noted, Watch};
use crate::random::Random;
use stacksync_core::values::Name;
use std::sync::Arc;

/// How a rename treats what has the new name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Replace,
    New,
    Exchange,
}

#[derive(Debug)]
pub(super) struct Fs {
    pub flavour: Flavour,
    pub nodes: Nodes,
    pub journal: Journaled,
    pub watch: Watch,
    /// Counts what may have changed what is visible.
    pub changes: u64,
    /// What may have changed of it since it was followed last.
    pub touched: Touched,
    /// Wall clock in nanoseconds.
    pub clock: i64,
    /// What the clock was last set to.
    clock_set: i64,
    next_number: u64,
    free_numbers: Vec<u64>,
}

impl Fs {
    pub fn new(flavour: Flavour, clock: i64, first_number: u64) -> Self {
        Self {
            flavour,
            nodes: Nodes::default(),
            journal: Journaled::default(),
            watch: Watch::default(),
            changes: 0,
            touched: Touched::default(),
            clock,
            clock_set: clock,
            next_number: first_number,
            free_numbers: Vec::new(),
        }
    }

    /// The clock of the machine. Waits may have moved it ahead of what it is set to; a jump back is a jump back.
    pub fn set_clock(&mut self, ns: i64) {
        if ns < self.clock_set || ns > self.clock {
            self.clock = ns;
        }
        self.clock_set = ns;
    }

    /// The time that a change made now bears.
    fn stamp(&mut self) -> i64 {
        self.clock += 1;
        self.changes += 1;
        self.flavour.times.stamp(self.clock)
    }

    pub fn node(&self, id: Id) -> Result<&Node, Errno> {
        self.nodes.get(id).ok_or(Errno::NoEnt)
    }

    pub fn hold(&self, id: Id) -> Result<Hold, Errno> {
        Ok(self.node(id)?.hold(id))
    }

    pub fn children(&self, folder: Id) -> Result<&Children, Errno> {
        self.node(folder)?.children().ok_or(Errno::NotDir)
    }

    pub fn lookup(&self, folder: Id, name: &Name) -> Result<Id, Errno> {
        let children = self.children(folder)?;
        children.get(&self.flavour.key(name)).map(|(_, id)| *id).ok_or(Errno::NoEnt)
    }

    /// A node without a name, the top of a tree.
    pub fn make_top(&mut self, mount: u8) -> Id {
        let (number, _) = self.take_number();
        let now = self.stamp();
        let mut node = Node::new(number, Data::Folder(Children::new()), 0o755, mount, now);
        node.links = 1;
        let id = self.nodes.add(node);
        self.journal.add_folder(id);
        id
    }

    fn take_number(&mut self) -> (u64, bool) {
        if self.flavour.inodes == Inodes::Reused
            && let Some(number) = self.free_numbers.pop()
        {
            return (number, true);
        }
        self.next_number += 1;
        (self.next_number, false)
    }

    /// A folder that may get a new name in it, and how the name is stored.
    fn room_for(&self, folder: Id, name: &Name) -> Result<Name, Errno> {
        let node = self.node(folder)?;
        let children = node.children().ok_or(Errno::NotDir)?;
        if node.links == 0 {
            return Err(Errno::NoEnt);
        }
        if children.contains_key(&self.flavour.key(name)) {
            return Err(Errno::Exist);
        }
        self.flavour.stored(name)
    }

    pub fn make(&mut self, folder: Id, name: &Name, data: Data, mode: u32) -> Result<Id, Errno> {
        let shown = self.room_for(folder, name)?;
        let mount = self.node(folder)?.mount;
        let (number, reused) = self.take_number();
        let now = self.stamp();
        let is_folder = matches!(data, Data::Folder(_));
        let id = self.nodes.add(Node::new(number, data, mode, mount, now));
        if is_folder {
            self.journal.add_folder(id);
        }
        let mut change = Change::new(self.clock);
        if reused {
            change.number(number);
        }
        if is_folder {
            // What is put into it is not on the medium without it.
            change.folder(id);
        }
        self.put(folder, &shown, id, &mut change);
        self.journal.push(change);
        self.note(folder, &shown, if is_folder { Noted::Appeared } else { Noted::Same });
        Ok(id)
    }

    /// A second name for a file or a link.
    pub fn link(&mut self, id: Id, folder: Id, name: &Name) -> Result<(), Errno> {
        if self.node(id)?.is_folder() {
            return Err(Errno::Perm);
        }
        if self.node(id)?.mount != self.node(folder)?.mount {
            return Err(Errno::XDev);
        }
        let shown = self.room_for(folder, name)?;
        let mut change = Change::new(self.clock);
        self.put(folder, &shown, id, &mut change);
        self.journal.push(change);
        self.touch(id);
        self.note(folder, &shown, Noted::Same);
        Ok(())
    }

    pub fn unlink(&mut self, folder: Id, name: &Name) -> Result<(), Errno> {
        let id = self.lookup(folder, name)?;
        if self.node(id)?.is_folder() {
            return Err(Errno::IsDir);
        }
        self.drop_name(folder, name, id);
        Ok(())
    }

    pub fn rmdir(&mut self, folder: Id, name: &Name) -> Result<(), Errno> {
        let id = self.lookup(folder, name)?;
        if !self.children(id)?.is_empty() {
            return Err(Errno::NotEmpty);
        }
        self.drop_name(folder, name, id);
        Ok(())
    }

    fn drop_name(&mut self, folder: Id, name: &Name, id: Id) {
        let mut change = Change::new(self.clock);
        let shown = self.take(folder, name, &mut change);
        self.note(folder, &shown, Noted::Changed);
        self.lose_link(id, &mut change);
        self.journal.push(change);
    }

    fn lose_link(&mut self, id: Id, change: &mut Change) {
        let now = self.stamp();
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.links = node.links.saturating_sub(1);
        node.changed = now;
        if node.links == 0 {
            if !node.is_held() {
                change.number(node.number);
                self.free_numbers.push(node.number);
            }
            self.watch.gone(id);
        }
    }

    pub fn rename(&mut self, from: Id, name: &Name, to: Id, new_name: &Name, how: How) -> Result<(), Errno> {
        let id = self.lookup(from, name)?;
        if self.node(from)?.mount != self.node(to)?.mount {
            return Err(Errno::XDev);
        }
        self.children(to)?;
        if self.node(to)?.links == 0 {
            return Err(Errno::NoEnt);
        }
        let other = match self.lookup(to, new_name) {
            Ok(other) => Some(other),
            Err(Errno::NoEnt) => None,
            Err(errno) => return Err(errno),
        };
        if how == How::New && other.is_some() {
            return Err(Errno::Exist);
        }
        if self.is_below(to, id) || other.is_some_and(|other| how == How::Exchange && self.is_below(from, other)) {
            return Err(Errno::Inval);
        }
        match (how, other) {
            (How::Exchange, None) => Err(Errno::NoEnt),
            (How::Exchange, Some(other)) => self.exchange((from, name, id), (to, new_name, other)),
            (How::New, Some(_)) => Err(Errno::Exist),
            (How::Replace, Some(other)) if other == id => self.respell((from, name, id), (to, new_name)),
            (How::Replace, Some(other)) => {
                self.may_replace(id, other)?;
                self.move_name((from, name, id), (to, new_name), Some(other))
            }
            (How::New | How::Replace, None) => self.move_name((from, name, id), (to, new_name), None),
        }
    }

    fn may_replace(&self, id: Id, other: Id) -> Result<(), Errno> {
        match (self.node(id)?.is_folder(), self.node(other)?.children()) {
            (true, None) => Err(Errno::NotDir),
            (false, Some(_)) => Err(Errno::IsDir),
            (true, Some(children)) if !children.is_empty() => Err(Errno::NotEmpty),
            (true, Some(_)) | (false, None) => Ok(()),
        }
    }

    /// A rename of a file onto itself: under the same name in another case it changes the case, two hard links stay.
    fn respell(&mut self, from: (Id, &Name, Id), to: (Id, &Name)) -> Result<(), Errno> {
        let same = from.0 == to.0 && from.1 != to.1 && self.flavour.key(from.1) == self.flavour.key(to.1);
        if same { self.move_name(from, to, None) } else { Ok(()) }
    }

    fn move_name(
        &mut self,
        (from, name, id): (Id, &Name, Id),
        (to, new_name): (Id, &Name),
        other: Option<Id>,
    ) -> Result<(), Errno> {
        let shown = self.flavour.stored(new_name)?;
        let mut change = Change::new(self.clock);
        if self.node(id)?.is_folder() && from != to {
            change.moves_folder();
        }
        let old = self.take(from, name, &mut change);
        self.note(from, &old, Noted::Changed);
        if let Some(other) = other {
            self.take(to, new_name, &mut change);
            self.lose_link(other, &mut change);
        }
        self.put(to, &shown, id, &mut change);
        self.lose_spare_link(id);
        self.touch(id);
        self.journal.push(change);
        self.note(to, &shown, Noted::Changed);
        Ok(())
    }

    fn exchange(&mut self, (from, name, id): (Id, &Name, Id), (to, new_name, other): (Id, &Name, Id)) -> Result<(), Errno> {
        if id == other {
            return Ok(());
        }
        let mut change = Change::new(self.clock);
        if from != to && (self.node(id)?.is_folder() || self.node(other)?.is_folder()) {
            change.moves_folder();
        }
        let (first, second) = (self.take(from, name, &mut change), self.take(to, new_name, &mut change));
        self.put(to, &second, id, &mut change);
        self.put(from, &first, other, &mut change);
        for (moved, folder, shown) in [(id, to, &second), (other, from, &first)] {
            self.lose_spare_link(moved);
            self.touch(moved);
            self.note(folder, shown, Noted::Changed);
        }
        self.journal.push(change);
        Ok(())
    }

    /// `put` counted a name that `take` had not counted off.
    fn lose_spare_link(&mut self, id: Id) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.links -= 1;
        }
    }

    fn put(&mut self, folder: Id, shown: &Name, id: Id, change: &mut Change) {
        let key = self.flavour.key(shown);
        change.set(folder, key.clone(), Some((shown.clone(), id)));
        self.set_entry(folder, key, Some((shown.clone(), id)));
        if let Some(node) = self.nodes.get_mut(id) {
            node.links += 1;
            node.at = Some((folder, shown.clone()));
        }
    }

    /// Returns the name as it was shown.
    fn take(&mut self, folder: Id, name: &Name, change: &mut Change) -> Name {
        let key = self.flavour.key(name);
        change.set(folder, key.clone(), None);
        self.set_entry(folder, key, None).unwrap_or_else(|| name.clone())
    }

    fn set_entry(&mut self, folder: Id, key: Name, entry: Option<(Name, Id)>) -> Option<Name> {
        let now = self.stamp();
        let node = self.nodes.get_mut(folder)?;
        (node.modified, node.changed) = (now, now);
        let Data::Folder(children) = &mut node.data else { return None };
        self.touched.names.extend(entry.as_ref().map(|(shown, _)| (folder, shown.clone())));
        let old = match entry {
            Some(entry) => children.insert(key, entry),
            None => children.remove(&key),
        };
        self.touched.names.extend(old.as_ref().map(|(shown, _)| (folder, shown.clone())));
        old.map(|(shown, _)| shown)
    }

    fn touch(&mut self, id: Id) {
        let now = self.stamp();
        if let Some(node) = self.nodes.get_mut(id) {
            node.changed = now;
        }
    }

    /// Whether `id` is `top` or below it.
    pub fn is_below(&self, id: Id, top: Id) -> bool {
        let mut at = Some(id);
        while let Some(id) = at {
            if id == top {
                return true;
            }
            at = self.nodes.get(id).and_then(|node| node.at.as_ref()).map(|(folder, _)| *folder);
        }
        false
    }

    pub fn write(&mut self, id: Id, offset: usize, bytes: &[u8]) -> Result<(), Errno> {
        self.change_data(id, |data| {
            let end = offset + bytes.len();
            if data.len() < end {
                data.resize(end, 0);
            }
            data[offset..end].copy_from_slice(bytes);
        })
    }

    pub fn truncate(&mut self, id: Id, len: usize) -> Result<(), Errno> {
        self.change_data(id, |data| data.resize(len, 0))
    }

    fn change_data(&mut self, id: Id, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), Errno> {
        let now = self.stamp();
        let node = self.nodes.get_mut(id).ok_or(Errno::NoEnt)?;
        let Data::File(bytes) = &mut node.data else { return Err(Errno::Inval) };
        change(Arc::make_mut(bytes));
        (node.modified, node.changed, node.dirty) = (now, now, true);
        self.touched.files.push(id);
        self.note_node(id);
        Ok(())
    }

    pub fn set_time(&mut self, id: Id, modified: i64) -> Result<(), Errno> {
        let now = self.stamp();
        let kept = self.flavour.times.kept(modified);
        let node = self.nodes.get_mut(id).ok_or(Errno::NoEnt)?;
        (node.modified, node.changed, node.dirty) = (kept, now, true);
        self.touched.files.push(id);
        self.note_node(id);
        Ok(())
    }

    pub fn set_mode(&mut self, id: Id, mode: u32) -> Result<(), Errno> {
        let now = self.stamp();
        let node = self.nodes.get_mut(id).ok_or(Errno::NoEnt)?;
        (node.mode, node.changed, node.dirty) = (mode, now, true);
        self.touched.files.push(id);
        self.note_node(id);
        Ok(())
    }

    /// What is there now survives a loss of power; of a folder, its names.
    pub fn fsync(&mut self, id: Id) -> Result<(), Errno> {
        let node = self.nodes.get_mut(id).ok_or(Errno::NoEnt)?;
        if let Some(image) = node.image() {
            (node.durable, node.dirty) = (Some(image), false);
        }
        let is_folder = node.is_folder();
        match self.flavour.journal {
            Journal::Ordered => self.journal.settle_all(&mut self.nodes),
            Journal::Loose if is_folder => self.journal.settle_folder(id, &mut self.nodes),
            Journal::Loose => {}
        }
        Ok(())
    }

    /// The power is gone and back: each name and each file is what the medium had, or anything between that and what was visible.
    pub fn lose_power(&mut self, tops: &[Id], random: &mut Random) {
        self.journal.lose_power(&mut self.nodes, tops, self.flavour.journal, random);
        self.watch = Watch::default();
        self.changes += 1;
        self.touched.all = true;
    }

    fn note(&mut self, folder: Id, shown: &Name, noted: Noted) {
        self.watch.note(folder, shown, noted);
    }

    fn note_node(&mut self, id: Id) {
        if let Some((folder, name)) = self.nodes.get(id).and_then(|node| node.at.clone()) {
            self.watch.note(folder, &name, Noted::Same);
        }
    }
}

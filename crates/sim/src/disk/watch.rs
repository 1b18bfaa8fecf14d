//! The operating system's watcher with the client's bookkeeping on top: one watch per folder, events that carry the watch's folder,
//! and paths that are made of them only when they are looked at, when the folder may be elsewhere already.

use super::node::{Id, Nodes};
use super::rules::is_own;
use super::spelling::RULES_FILE;
use stacksync_core::values::{ItemPath, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// More events do not wait: all is looked at again.
const WAITING_MAX: usize = 16_384;

/// A watcher's hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something at this path, or directly in the folder at this path, may have changed.
    Touched(ItemPath),
    /// There were too many to tell, or the rules changed: anything may have changed.
    Overflow,
}

/// What an event says about the tree of folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    Same,
    Appeared,
    Changed,
}

/// The watches on one workspace's folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    top: Option<Id>,
    watched: BTreeMap<ItemPath, Id>,
    paths: BTreeMap<Id, ItemPath>,
    waiting: Vec<(Id, Name, Noted)>,
    overflowed: bool,
}

/// What was made of the events that waited.
#[derive(Debug, Default)]
pub(super) struct Hints {
    pub paths: BTreeSet<ItemPath>,
    pub all: bool,
}

impl Watch {
    /// Watches everything below a folder from now on.
    pub fn begin(&mut self, top: Id, nodes: &Nodes) {
        *self = Self { top: Some(top), ..Self::default() };
        self.walk(&ItemPath::top(), nodes, &mut Hints::default());
    }

    pub fn note(&mut self, folder: Id, name: &Name, noted: Noted) {
        if !self.paths.contains_key(&folder) {
            return;
        }
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push((folder, name.clone(), noted));
        } else {
            self.overflowed = true;
        }
    }

    /// A folder was removed, its watch with it.
    pub fn gone(&mut self, folder: Id) {
        self.paths.remove(&folder);
    }

    /// Events were missed: it is not known any more which watch is where.
    pub fn overflow(&mut self) {
        self.overflowed = true;
    }

    /// Looks at the events that wait.
    pub fn take(&mut self, nodes: &Nodes) -> Hints {
        let mut hints = Hints::default();
        let waiting = std::mem::take(&mut self.waiting);
        if std::mem::take(&mut self.overflowed) {
            if let Some(top) = self.top {
                self.begin(top, nodes);
            }
            hints.all = true;
            return hints;
        }
        for (folder, name, noted) in waiting {
            // A watch that was given up meanwhile: its events mean nothing.
            let Some(path) = self.paths.get(&folder).map(|path| path.join(&name)) else { continue };
            if is_own(name.as_str()) {
                continue;
            }
            if noted == Noted::Changed {
                self.forget(&path);
            }
            hints.paths.insert(path.clone());
            if noted != Noted::Same {
                self.follow(&path, nodes, &mut hints);
            }
            if name.as_str() == RULES_FILE {
                hints.all = true;
            }
        }
        hints
    }

    fn follow(&mut self, path: &ItemPath, nodes: &Nodes, hints: &mut Hints) {
        if !self.watched.contains_key(path) {
            self.walk(path, nodes, hints);
        }
    }

    fn forget(&mut self, path: &ItemPath) {
        let below = (Bound::Included(path), Bound::Unbounded);
        let gone: Vec<ItemPath> = self
            .watched
            .range(below)
            .take_while(|(other, _)| other.names().starts_with(path.names()))
            .map(|(p, _)| p.clone())
            .collect();
        for path in gone {
            if let Some(id) = self.watched.remove(&path) {
                self.paths.remove(&id);
            }
        }
    }

    /// Watches the folder at this path and all below that are not watched.
    fn walk(&mut self, path: &ItemPath, nodes: &Nodes, hints: &mut Hints) {
        let Some(id) = self.folder_at(path, nodes) else { return };
        let mut next = vec![(path.clone(), id)];
        while let Some((path, id)) = next.pop() {
            let Some(children) = nodes.get(id).and_then(|node| node.children()) else { continue };
            if !self.watched.contains_key(&path) {
                self.watched.insert(path.clone(), id);
                self.paths.insert(id, path.clone());
                hints.paths.insert(path.clone());
            }
            for (name, child) in children.values() {
                if nodes.get(*child).is_some_and(super::node::Node::is_folder) {
                    next.push((path.join(name), *child));
                }
            }
        }
    }

    fn folder_at(&self, path: &ItemPath, nodes: &Nodes) -> Option<Id> {
        // The names are as the file system shows them, so no other spelling has to be tried.
        let child = |at: Id, name: &Name| nodes.get(at)?.children()?.values().find(|(shown, _)| shown == name).map(|(_, id)| *id);
        path.names().iter().try_fold(self.top?, child)
    }
}

//! One laptop's machine: its file system, the client's own folders on it, and what goes wrong when the client calls.
//!
//! People's calls go to the file system itself; only the client's meet faults.

use super::errno::Errno;
use super::flavour::{Flavour, Home};
use super::fs::Fs;
use super::node::{Data, Hold, Id, Node};
use super::pen::{Broom, Pen};
use super::rules::{FolderRules, OWN_PREFIX, OWN_SUFFIX};
use super::shown::Shown;
use super::trash::{Stamp, name_of};
use super::{Removed, batch};
use crate::random::Random;
use crate::scenario::{Fault, Rates};
use stacksync_core::engine::{Applied, ApplyError, FileId, Stat};
use stacksync_core::values::{ItemPath, Kind, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A fault of a disk lasts for so many calls at most.
const CALLS_MAX: usize = 24;
/// The file system of the user's folder.
const USERS_MOUNT: u8 = 0;
/// The one of the client's home, if it is another.
const HOME_MOUNT: u8 = 1;

/// What is at the path of the workspace's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RootState {
    /// The folder.
    Here,
    /// Nothing.
    Missing,
    /// Another folder.
    Other(Id),
}

/// The client's outcome of one action of a batch.
pub(super) type Outcome = Result<Applied, ApplyError>;

pub(super) struct Machine {
    pub fs: Fs,
    pub rates: Rates,
    pub luck: Random,
    pub faults: Vec<Fault>,
    /// The user's folder, as it was joined.
    pub top: Id,
    identity: FileId,
    pub root: RootState,
    pub staging: Id,
    pub trash: Id,
    home: Id,
    /// Replaced whenever the client starts: what is under way then is dead.
    pub generation: u64,
    next_temporary: u64,
    pub deleted: Option<Stamp>,
    pub replaced: Option<Stamp>,
    /// What an action has set aside and may still put back, with where it was.
    pub set_aside: BTreeMap<Id, ItemPath>,
    pub removed: Vec<Removed>,
    pub rules_seen: BTreeMap<ItemPath, Stat>,
    pub rules_changed: bool,
    pub leftovers: BTreeSet<ItemPath>,
    pub queue: Vec<(u64, batch::Member)>,
    pub outcomes: BTreeMap<u64, Outcome>,
    pub next_ticket: u64,
    pub applier: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// People who are in the middle of writing something.
    pub pens: Vec<Pen>,
    /// And of deleting.
    pub brooms: Vec<Broom>,
    /// What the files that they wrote to since it was asked last held then; empty for a deletion.
    pub written: Vec<Arc<Vec<u8>>>,
    /// Pieces that people wrote slowly, so far.
    pub pieces: u64,
    /// Calls that the disk goes on to be full, and that the root stays lost.
    full_for: usize,
    lost_for: usize,
    /// Nodes that fail, with the fault and for how many calls.
    ailing: BTreeMap<Id, (Errno, usize)>,
    pub late: BTreeSet<ItemPath>,
    /// What people see, as it was followed last.
    pub shown: Shown,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("fs", &self.fs).field("root", &self.root).finish_non_exhaustive()
    }
}

impl Machine {
    pub fn new(flavour: Flavour, seed: u64) -> Self {
        let mut luck = Random::stream(seed, "disk", 0);
        // Another computer, other numbers: that they differ must not matter.
        let mut fs = Fs::new(flavour, 1_420_167_845_000_000_000, luck.next() % 1_000_000);
        let top = fs.make_top(USERS_MOUNT);
        let home = fs.make_top(if flavour.home == Home::Same { USERS_MOUNT } else { HOME_MOUNT });
        let mut own = |name: &str| {
            let made = name.parse().ok().and_then(|name: Name| fs.make(home, &name, Data::Folder(BTreeMap::new()), 0o700).ok());
            made.unwrap_or(home)
        };
        let (staging, trash) = (own("staging"), own("trash"));
        let identity = fs.file_id(top).unwrap_or(FileId { inode: 0, born_ns: 0 });
        for folder in [top, home] {
            fs.fsync(folder).ok();
        }
        let mut machine = Self {
            fs,
            rates: Rates::NONE,
            luck,
            faults: Vec::new(),
            top,
            identity,
            root: RootState::Here,
            staging,
            trash,
            home,
            generation: 0,
            next_temporary: 0,
            deleted: None,
            replaced: None,
            set_aside: BTreeMap::new(),
            removed: Vec::new(),
            rules_seen: BTreeMap::new(),
            rules_changed: false,
            leftovers: BTreeSet::new(),
            queue: Vec::new(),
            outcomes: BTreeMap::new(),
            next_ticket: 0,
            applier: None,
            pens: Vec::new(),
            brooms: Vec::new(),
            written: Vec::new(),
            pieces: 0,
            full_for: 0,
            lost_for: 0,
            ailing: BTreeMap::new(),
            late: BTreeSet::new(),
            shown: Shown::default(),
        };
        machine.watch_again();
        machine
    }

    /// What people see is up to date.
    pub fn follow(&mut self) {
        self.shown.follow(&mut self.fs, self.top);
    }

    pub fn watch_again(&mut self) {
        self.fs.watch.begin(self.top, &self.fs.nodes);
    }

    /// Draws whether this goes wrong now.
    pub fn happens(&mut self, fault: Fault) -> bool {
        let happens = self.luck.chance(self.rates.of(fault));
        if happens {
            self.faults.push(fault);
        }
        happens
    }

    /// Everything that is broken works again.
    pub fn heal(&mut self) {
        (self.full_for, self.lost_for) = (0, 0);
        self.ailing.clear();
    }

    /// The workspace's folder, if it is the one that was joined.
    pub fn open_root(&mut self) -> Result<Hold, String> {
        if self.lost_for > 0 {
            self.lost_for -= 1;
            return Err("the folder is missing".into());
        }
        if self.happens(Fault::RootLost) {
            self.lost_for = self.luck.below(CALLS_MAX);
            return Err("the folder is missing".into());
        }
        match self.root {
            RootState::Here => self.fs.hold(self.top).map_err(|errno| errno.to_string()),
            RootState::Missing => Err("the folder is missing".into()),
            RootState::Other(id) if self.fs.file_id(id) == Some(self.identity) => {
                self.fs.hold(id).map_err(|errno| errno.to_string())
            }
            RootState::Other(_) => Err("it is not the folder that was joined".into()),
        }
    }

    /// Whether the client may use this folder or file in a way that asks for these bits of its mode; and whether the medium lets it.
    pub fn access(&mut self, id: Id, bits: u32) -> Result<(), Errno> {
        if let Some((errno, left)) = self.ailing.get_mut(&id) {
            let errno = *errno;
            *left -= 1;
            if *left == 0 {
                self.ailing.remove(&id);
            }
            return Err(errno);
        }
        if id != self.staging && id != self.trash && self.fs.is_below(id, self.top) {
            let fault = if self.happens(Fault::FileBroken) {
                Some(Errno::Io)
            } else {
                self.happens(Fault::Unreadable).then_some(Errno::Access)
            };
            if let Some(errno) = fault {
                let calls = self.luck.below(CALLS_MAX);
                if calls > 0 {
                    self.ailing.insert(id, (errno, calls));
                }
                return Err(errno);
            }
        }
        let mode = self.fs.node(id)?.mode;
        if mode & bits == bits { Ok(()) } else { Err(Errno::Access) }
    }

    /// Whether there is room for something new.
    pub fn room(&mut self) -> Result<(), Errno> {
        if self.full_for > 0 {
            self.full_for -= 1;
            return Err(Errno::NoSpace);
        }
        if self.happens(Fault::DiskFull) {
            self.full_for = self.luck.below(CALLS_MAX);
            return Err(Errno::NoSpace);
        }
        Ok(())
    }

    /// A part of a file name that no other temporary file has.
    pub fn fresh(&mut self) -> String {
        self.next_temporary += 1;
        format!("{}-{}", self.generation, self.next_temporary)
    }

    /// Name of something that is set aside beside where it was.
    pub fn aside_name(&mut self) -> Result<Name, Errno> {
        name_of(&format!("{OWN_PREFIX}old-{}{OWN_SUFFIX}", self.fresh()))
    }

    /// Whether a temporary name was made by this run.
    pub fn is_of_this_run(&self, name: &str) -> bool {
        name.contains(&format!("-{}-", self.generation))
    }

    /// Something that was set aside is where it shall stay.
    pub fn kept(&mut self, what: Id, contents: Vec<Removed>) {
        if self.set_aside.remove(&what).is_some() {
            self.removed.extend(contents);
        }
    }

    /// What is in a node and below, as taken away from a path.
    pub fn contents(&self, what: Id, path: &ItemPath) -> Vec<Removed> {
        let mut found = Vec::new();
        let folder = path.split().map(|(folder, _)| folder).unwrap_or_default();
        let mut next = vec![(what, path.clone(), FolderRules::gather(&self.fs, self.top, &folder))];
        while let Some((id, path, rules)) = next.pop() {
            let Some(node) = self.fs.nodes.get(id) else { continue };
            match &node.data {
                Data::File(bytes) => {
                    let ignored = path.names().last().is_some_and(|name| rules.ignores(name, Kind::File));
                    let in_folder = id != what;
                    found.push(Removed { path, bytes: bytes.to_vec(), trashed: true, in_folder, ignored, refused: false });
                }
                Data::Folder(children) => {
                    let below = path.names().last().map_or(rules.clone(), |name| rules.below(&self.fs, name, id));
                    next.extend(children.values().map(|(name, id)| (*id, path.join(name), below.clone())));
                }
                Data::Link(_) | Data::Odd => {}
            }
        }
        found
    }

    /// What was under way when the client died: nobody puts back what it had set aside.
    fn die(&mut self) {
        self.generation += 1;
        self.applier = None;
        self.queue.clear();
        self.outcomes.clear();
        (self.deleted, self.replaced) = (None, None);
        self.rules_seen.clear();
        self.late.clear();
        for (id, path) in std::mem::take(&mut self.set_aside) {
            let back = self.fs.nodes.get(id).is_none_or(|node| node.links > 0) && self.fs.is_below(id, self.top);
            if !back {
                let contents = self.contents(id, &path);
                self.removed.extend(contents);
            }
        }
    }

    /// The client starts (again): what an earlier run staged is worthless.
    pub fn start(&mut self) {
        self.die();
        let staged: Vec<Name> = self.fs.children(self.staging).into_iter().flatten().map(|(_, (name, _))| name.clone()).collect();
        for name in staged {
            self.fs.unlink(self.staging, &name).ok();
        }
        self.watch_again();
    }

    /// The power is gone and back; then the client starts.
    pub fn lose_power(&mut self) {
        self.pens.clear();
        self.brooms.clear();
        self.applier = None;
        self.queue.clear();
        let tops = match self.root {
            RootState::Other(other) => vec![self.top, self.home, other],
            RootState::Here | RootState::Missing => vec![self.top, self.home],
        };
        self.fs.lose_power(&tops, &mut self.luck);
        self.start();
    }

    /// The folders and files below the user's folder, deepest last.
    pub fn walk(&self) -> Vec<(ItemPath, Id)> {
        let mut found = Vec::new();
        let mut next = vec![(ItemPath::top(), self.top)];
        while let Some((path, id)) = next.pop() {
            for (name, child) in self.fs.nodes.get(id).and_then(Node::children).into_iter().flat_map(|children| children.values()) {
                let path = path.join(name);
                found.push((path.clone(), *child));
                if self.fs.nodes.get(*child).is_some_and(Node::is_folder) {
                    next.push((path, *child));
                }
            }
        }
        found.sort();
        found
    }
}

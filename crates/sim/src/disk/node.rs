//! What is on a disk: files, folders, links, each with its times; and the table that holds them.

use stacksync_core::values::Name;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// A node for ever: unlike its inode number it is never given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(pub u32);

/// What a folder holds: by what makes two names one, the name as it is shown, and the node.
pub(super) type Children = BTreeMap<Name, (Name, Id)>;

#[derive(Clone, Debug)]
pub(super) enum Data {
    Folder(Children),
    File(Arc<Vec<u8>>),
    Link(Arc<str>),
    /// A pipe, a socket, a device.
    Odd,
}

/// What a file holds and says of itself.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub bytes: Arc<Vec<u8>>,
    pub modified: i64,
    pub changed: i64,
    pub mode: u32,
}

/// Keeps a node's inode number from being given to another one while it is open.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub id: Id,
    _rc: Rc<()>,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The inode number that is shown.
    pub number: u64,
    pub data: Data,
    pub modified: i64,
    pub changed: i64,
    pub born: i64,
    pub mode: u32,
    /// Visible names.
    pub links: u32,
    /// Where it is; of several names the one used last.
    pub at: Option<(Id, Name)>,
    /// On which file system.
    pub mount: u8,
    /// Of a file: what an `fsync` made safe last.
    pub durable: Option<Image>,
    /// Of a file: whether something is not safe yet.
    pub dirty: bool,
    holds: Rc<()>,
}

impl Node {
    pub fn new(number: u64, data: Data, mode: u32, mount: u8, now: i64) -> Self {
        let dirty = matches!(data, Data::File(_));
        Self {
            number,
            data,
            modified: now,
            changed: now,
            born: now,
            mode,
            links: 0,
            at: None,
            mount,
            durable: None,
            dirty,
            holds: Rc::new(()),
        }
    }

    pub fn hold(&self, id: Id) -> Hold {
        Hold { id, _rc: self.holds.clone() }
    }

    pub fn is_held(&self) -> bool {
        Rc::strong_count(&self.holds) > 1
    }

    pub const fn children(&self) -> Option<&Children> {
        match &self.data {
            Data::Folder(children) => Some(children),
            Data::File(_) | Data::Link(_) | Data::Odd => None,
        }
    }

    pub const fn bytes(&self) -> Option<&Arc<Vec<u8>>> {
        match &self.data {
            Data::File(bytes) => Some(bytes),
            Data::Folder(_) | Data::Link(_) | Data::Odd => None,
        }
    }

    pub const fn is_folder(&self) -> bool {
        matches!(self.data, Data::Folder(_))
    }

    /// What a file is now; `None` for the others.
    pub fn image(&self) -> Option<Image> {
        self.bytes().map(|bytes| Image { bytes: bytes.clone(), modified: self.modified, changed: self.changed, mode: self.mode })
    }
}

/// All nodes of all file systems of a machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    all: Vec<Option<Node>>,
}

impl Nodes {
    pub fn add(&mut self, node: Node) -> Id {
        self.all.push(Some(node));
        Id(self.all.len() as u32 - 1)
    }

    pub fn get(&self, id: Id) -> Option<&Node> {
        self.all.get(id.0 as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, id: Id) -> Option<&mut Node> {
        self.all.get_mut(id.0 as usize)?.as_mut()
    }

    pub fn remove(&mut self, id: Id) {
        if let Some(node) = self.all.get_mut(id.0 as usize) {
            *node = None;
        }
    }

    pub fn ids(&self) -> Vec<Id> {
        (0..self.all.len() as u32).map(Id).filter(|id| self.get(*id).is_some()).collect()
    }
}

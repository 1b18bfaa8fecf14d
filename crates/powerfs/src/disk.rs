//! The disk as programs see it, and the log of what they did to it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::SystemTime;

/// Number of a file, folder or link. Never used again for another one, also not after a power cut.
pub type Ino = u64;

/// The top folder.
pub const ROOT: Ino = 1;

/// What `stat` says besides the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attrs {
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Modification time.
    pub modified: SystemTime,
}

/// What a number stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A file's bytes.
    File(Arc<Vec<u8>>),
    /// A folder's names; the second number is the place in the folder's listing.
    Folder(BTreeMap<OsString, (Ino, u64)>),
    /// A link's target.
    Link(OsString),
}

/// One thing that a program did.
#[derive(Clone, Debug)]
pub enum Op {
    /// Bytes written into a file.
    Write {
        /// Which file.
        ino: Ino,
        /// From where on.
        offset: u64,
        /// The bytes.
        data: Arc<Vec<u8>>,
    },
    /// A file's length set.
    Truncate {
        /// Which file.
        ino: Ino,
        /// The length.
        size: u64,
    },
    /// Mode, owner or time set.
    Attrs {
        /// Of what.
        ino: Ino,
        /// All of them, as they are now.
        attrs: Attrs,
    },
    /// A file, folder or link made.
    Make {
        /// In which folder.
        folder: Ino,
        /// Its name.
        name: OsString,
        /// Its number.
        ino: Ino,
        /// What it is.
        node: Node,
        /// Its first attributes.
        attrs: Attrs,
    },
    /// Another name for a file.
    Link {
        /// In which folder.
        folder: Ino,
        /// The name.
        name: OsString,
        /// The file.
        ino: Ino,
    },
    /// A name removed.
    Remove {
        /// From which folder.
        folder: Ino,
        /// The name.
        name: OsString,
    },
    /// A name moved; what was at the new place is gone.
    Rename {
        /// Folder and name before.
        from: (Ino, OsString),
        /// Folder and name after.
        to: (Ino, OsString),
    },
    /// Two names exchanged.
    Exchange {
        /// One of them.
        a: (Ino, OsString),
        /// The other.
        b: (Ino, OsString),
    },
    /// `fsync` or `fdatasync` of a file, or `fsync` of a folder: answered, so that the program relies on it.
    Sync {
        /// Of what.
        ino: Ino,
        /// A path at which it was then.
        path: String,
    },
}

/// Everything on the disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// What there is, also without a name.
    pub nodes: BTreeMap<Ino, (Node, Attrs)>,
    next_cookie: u64,
}

/// What is wrong with a change. Values of `errno`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// ENOENT.
    Missing,
    /// EEXIST.
    Exists,
    /// ENOTDIR.
    NotFolder,
    /// EISDIR.
    IsFolder,
    /// ENOTEMPTY.
    NotEmpty,
    /// EINVAL.
    Invalid,
}

impl Disk {
    /// Nothing but the top folder.
    pub fn new(attrs: Attrs) -> Self {
        Self { nodes: BTreeMap::from([(ROOT, (Node::Folder(BTreeMap::new()), attrs))]), next_cookie: 3 }
    }

    /// The names of a folder.
    pub fn folder(&self, ino: Ino) -> Result<&BTreeMap<OsString, (Ino, u64)>, Refused> {
        match self.nodes.get(&ino) {
            Some((Node::Folder(names), _)) => Ok(names),
            Some(_) => Err(Refused::NotFolder),
            None => Err(Refused::Missing),
        }
    }

    /// What a name stands for.
    pub fn lookup(&self, folder: Ino, name: &OsStr) -> Result<Ino, Refused> {
        self.folder(folder)?.get(name).map(|(ino, _)| *ino).ok_or(Refused::Missing)
    }

    /// The bytes of a file.
    pub fn file(&self, ino: Ino) -> Result<&Arc<Vec<u8>>, Refused> {
        match self.nodes.get(&ino) {
            Some((Node::File(bytes), _)) => Ok(bytes),
            Some(_) => Err(Refused::Invalid),
            None => Err(Refused::Missing),
        }
    }

    /// Whether this change can be made now, as POSIX has it.
    pub fn allows(&self, op: &Op) -> Result<(), Refused> {
        match op {
            Op::Make { folder, name, .. } | Op::Link { folder, name, .. } => match self.lookup(*folder, name) {
                Ok(_) => Err(Refused::Exists),
                Err(Refused::Missing) => Ok(()),
                Err(other) => Err(other),
            },
            Op::Remove { folder, name } => self.lookup(*folder, name).map(drop),
            Op::Rename { from, to } => self.allows_rename(from, to),
            Op::Exchange { a, b } => self.lookup(a.0, &a.1).and(self.lookup(b.0, &b.1)).map(drop),
            Op::Write { ino, .. } | Op::Truncate { ino, .. } => self.file(*ino).map(drop),
            Op::Attrs { ino, .. } | Op::Sync { ino, .. } => self.nodes.get(ino).map(drop).ok_or(Refused::Missing),
        }
    }

    fn allows_rename(&self, from: &(Ino, OsString), to: &(Ino, OsString)) -> Result<(), Refused> {
        let moved = self.lookup(from.0, &from.1)?;
        let moves_folder = self.folder(moved).is_ok();
        match self.lookup(to.0, &to.1) {
            Err(Refused::Missing) => Ok(()),
            Err(other) => Err(other),
            Ok(there) => match (moves_folder, self.folder(there)) {
                (true, Ok(names)) if names.is_empty() => Ok(()),
                (true, Ok(_)) => Err(Refused::NotEmpty),
                (true, Err(_)) => Err(Refused::NotFolder),
                (false, Ok(_)) => Err(Refused::IsFolder),
                (false, Err(_)) => Ok(()),
            },
        }
    }

    /// Makes the change.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { ino, offset, data } => self.change(*ino, |bytes| {
                let (start, end) = (*offset as usize, *offset as usize + data.len());
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(data);
            }),
            Op::Truncate { ino, size } => self.change(*ino, |bytes| bytes.resize(*size as usize, 0)),
            Op::Attrs { ino, attrs } => {
                if let Some((_, old)) = self.nodes.get_mut(ino) {
                    *old = *attrs;
                }
            }
            Op::Make { folder, name, ino, node, attrs } => {
                self.nodes.insert(*ino, (node.clone(), *attrs));
                self.put(*folder, name, *ino);
            }
            Op::Link { folder, name, ino } => self.put(*folder, name, *ino),
            Op::Remove { folder, name } => drop(self.take(*folder, name)),
            Op::Rename { from, to } => {
                if let Some(ino) = self.take(from.0, &from.1) {
                    self.put(to.0, &to.1, ino);
                }
            }
            Op::Exchange { a, b } => {
                if let (Some(left), Some(right)) = (self.take(a.0, &a.1), self.take(b.0, &b.1)) {
                    self.put(a.0, &a.1, right);
                    self.put(b.0, &b.1, left);
                }
            }
            Op::Sync { .. } => {}
        }
    }

    fn change(&mut self, ino: Ino, how: impl FnOnce(&mut Vec<u8>)) {
        if let Some((Node::File(bytes), _)) = self.nodes.get_mut(&ino) {
            how(Arc::make_mut(bytes));
        }
    }

    fn put(&mut self, folder: Ino, name: &OsStr, ino: Ino) {
        self.next_cookie += 1;
        if let Some((Node::Folder(names), _)) = self.nodes.get_mut(&folder) {
            names.insert(name.to_owned(), (ino, self.next_cookie));
        }
    }

    fn take(&mut self, folder: Ino, name: &OsStr) -> Option<Ino> {
        match self.nodes.get_mut(&folder) {
            Some((Node::Folder(names), _)) => names.remove(name).map(|(ino, _)| ino),
            _ => None,
        }
    }

    /// How many names it has.
    pub fn names_of(&self, wanted: Ino) -> u32 {
        let folders = self.nodes.values().filter_map(|(node, _)| match node {
            Node::Folder(names) => Some(names),
            Node::File(_) | Node::Link(_) => None,
        });
        folders.flat_map(|names| names.values()).filter(|(ino, _)| *ino == wanted).count() as u32
    }

    /// One of its paths, for people.
    pub fn path_of(&self, wanted: Ino) -> String {
        if wanted == ROOT {
            return String::new();
        }
        for (folder, (node, _)) in &self.nodes {
            if let Node::Folder(names) = node
                && let Some((name, _)) = names.iter().find(|(_, (ino, _))| *ino == wanted)
            {
                return format!("{}/{}", self.path_of(*folder), name.to_string_lossy());
            }
        }
        "(no name)".to_owned()
    }
}

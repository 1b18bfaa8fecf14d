//! A disk in memory: inodes, folders, and the actions of the engine with their expectations.

use crate::engine::{Applied, ApplyError, DiskAction, Entry, FileId, Listing, ScanError, Stat};
use crate::values::{ChunkName, ChunkRef, FileBody, ItemPath, Kind, ModifiedAt, Name};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Folder(BTreeMap<Name, u64>),
    File(Vec<u8>),
    Link(String),
}

#[derive(Clone, Debug)]
pub struct Node {
    pub data: Data,
    pub modified: i64,
    pub changed: i64,
    pub executable: bool,
    pub born: i64,
}

#[derive(Clone, Debug)]
pub struct Disk {
    pub nodes: BTreeMap<u64, Node>,
    next_inode: u64,
    pub clock: i64,
    /// Bytes that the engine took away: they must be on the service.
    pub taken_away: Vec<Vec<u8>>,
}

pub const ROOT: u64 = 1;

/// What a person sees at a path.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub data: String,
    pub executable: bool,
    pub modified: i64,
}

impl Disk {
    pub fn new(clock: i64) -> Self {
        let root = Node { data: Data::Folder(BTreeMap::new()), modified: 0, changed: 0, executable: false, born: 0 };
        Self { nodes: BTreeMap::from([(ROOT, root)]), next_inode: ROOT, clock, taken_away: Vec::new() }
    }

    pub fn find(&self, path: &ItemPath) -> Option<u64> {
        path.names().iter().try_fold(ROOT, |at, name| self.children(at)?.get(name).copied())
    }

    pub fn children(&self, inode: u64) -> Option<&BTreeMap<Name, u64>> {
        match &self.nodes.get(&inode)?.data {
            Data::Folder(children) => Some(children),
            Data::File(_) | Data::Link(_) => None,
        }
    }

    fn children_mut(&mut self, path: &ItemPath) -> Option<&mut BTreeMap<Name, u64>> {
        let inode = self.find(path)?;
        match &mut self.nodes.get_mut(&inode)?.data {
            Data::Folder(children) => Some(children),
            Data::File(_) | Data::Link(_) => None,
        }
    }

    /// A new node; the caller made sure that the folder exists and the name is free.
    pub fn make(&mut self, path: &ItemPath, data: Data) -> Option<u64> {
        let (folder, name) = path.split()?;
        self.children_mut(&folder)?;
        self.clock += 1;
        self.next_inode += 1;
        let inode = self.next_inode;
        let node = Node { data, modified: self.clock, changed: self.clock, executable: false, born: self.clock };
        self.nodes.insert(inode, node);
        self.children_mut(&folder)?.insert(name.clone(), inode);
        Some(inode)
    }

    pub fn write(&mut self, inode: u64, bytes: Vec<u8>) {
        self.clock += 1;
        let node = self.nodes.get_mut(&inode).unwrap();
        node.data = Data::File(bytes);
        node.modified = self.clock;
        node.changed = self.clock;
    }

    pub fn unlink(&mut self, path: &ItemPath) -> Option<u64> {
        let (folder, name) = path.split()?;
        self.children_mut(&folder)?.remove(name)
    }

    /// As `rename(2)`, but never onto something, and never into itself.
    pub fn rename(&mut self, from: &ItemPath, to: &ItemPath) -> bool {
        let inside = to.names().starts_with(from.names());
        let (Some(inode), Some((folder, name))) = (self.find(from), to.split()) else { return false };
        if inside || self.find(to).is_some() || self.find(&folder).is_none_or(|folder| self.children(folder).is_none()) {
            return false;
        }
        self.unlink(from);
        self.children_mut(&folder).unwrap().insert(name.clone(), inode);
        self.clock += 1;
        self.nodes.get_mut(&inode).unwrap().changed = self.clock;
        true
    }

    pub fn paths(&self) -> Vec<ItemPath> {
        let mut found = Vec::new();
        let mut next = vec![ItemPath::top()];
        while let Some(path) = next.pop() {
            for name in self.find(&path).and_then(|inode| self.children(inode)).into_iter().flat_map(BTreeMap::keys) {
                let child = path.join(name);
                found.push(child.clone());
                next.push(child);
            }
        }
        found.sort();
        found
    }

    /// The inodes that a path leads to.
    pub fn nodes_in_use(&self) -> std::collections::BTreeSet<u64> {
        self.paths().iter().filter_map(|path| self.find(path)).collect()
    }

    pub fn picture(&self) -> BTreeMap<String, Seen> {
        let seen = |path: &ItemPath| {
            let node = &self.nodes[&self.find(path).unwrap()];
            let (data, modified) = match &node.data {
                Data::Folder(_) => ("/".to_owned(), 0),
                Data::File(bytes) => (String::from_utf8_lossy(bytes).into_owned(), node.modified),
                Data::Link(target) => (format!("-> {target}"), 0),
            };
            (path.to_string(), Seen { data, executable: node.executable, modified })
        };
        self.paths().iter().map(seen).collect()
    }

    pub fn stat(&self, inode: u64) -> Stat {
        let node = &self.nodes[&inode];
        let (kind, size, target) = match &node.data {
            Data::Folder(_) => (Kind::Folder, 0, None),
            Data::File(bytes) => (Kind::File, bytes.len() as u64, None),
            Data::Link(target) => (Kind::Link, 0, Some(target.as_str().into())),
        };
        let file = FileId { inode, born_ns: node.born };
        Stat {
            kind,
            file,
            size,
            modified: ModifiedAt(node.modified),
            changed_ns: node.changed,
            executable: node.executable,
            target,
        }
    }

    pub fn scan(&self, path: &ItemPath, names: Option<&[Name]>) -> Result<Listing, ScanError> {
        let children = self.find(path).and_then(|inode| self.children(inode)).ok_or(ScanError::Gone)?;
        let asked = |name: &Name| names.is_none_or(|names| names.contains(name));
        let entry = |(name, inode): (&Name, &u64)| Entry { name: name.clone(), stat: self.stat(*inode), ignored: false };
        Ok(Listing { entries: children.iter().filter(|(name, _)| asked(name)).map(entry).collect(), skipped: Vec::new() })
    }

    fn expect(&self, path: &ItemPath, expected: &Stat) -> Result<u64, ApplyError> {
        let inode = self.find(path).ok_or(ApplyError::Changed)?;
        let stat = self.stat(inode);
        let same = match expected.kind {
            Kind::Folder => stat.kind == Kind::Folder && stat.file == expected.file,
            Kind::File | Kind::Link => stat.same_content(expected),
        };
        if same { Ok(inode) } else { Err(ApplyError::Changed) }
    }

    fn expect_folder(&self, path: &ItemPath, expected: Option<FileId>) -> Result<(), ApplyError> {
        let (folder, _) = path.split().ok_or(ApplyError::Changed)?;
        let inode = self.find(&folder).ok_or(ApplyError::Changed)?;
        if expected.is_none_or(|expected| self.stat(inode).file == expected) { Ok(()) } else { Err(ApplyError::Changed) }
    }

    fn take_away(&mut self, inode: u64) {
        if let Data::File(bytes) = &self.nodes[&inode].data {
            self.taken_away.push(bytes.clone());
        }
    }

    fn clear_for(&mut self, path: &ItemPath, replaces: Option<&Stat>) -> Result<(), ApplyError> {
        match replaces {
            Some(expected) => {
                let inode = self.expect(path, expected)?;
                self.take_away(inode);
                self.unlink(path);
            }
            None if self.find(path).is_some() => return Err(ApplyError::Changed),
            None => {}
        }
        let (folder, _) = path.split().ok_or(ApplyError::Changed)?;
        if self.find(&folder).is_none_or(|folder| self.children(folder).is_none()) {
            return Err(ApplyError::Changed);
        }
        Ok(())
    }

    pub fn apply(&mut self, action: &DiskAction, chunks: &BTreeMap<ChunkName, Vec<u8>>) -> Result<Applied, ApplyError> {
        match action {
            DiskAction::MakeFolder { path, into } => {
                self.expect_folder(path, *into)?;
                self.clear_for(path, None)?;
                self.place(path, Data::Folder(BTreeMap::new()), 0, false)
            }
            DiskAction::MakeLink { path, into, target, replaces } => {
                self.expect_folder(path, *into)?;
                self.clear_for(path, replaces.as_ref())?;
                self.place(path, Data::Link(target.to_string()), 0, false)
            }
            DiskAction::Write { path, into, body, modified, replaces, .. } => {
                self.expect_folder(path, *into)?;
                let bytes = fetch(body, chunks)?;
                self.clear_for(path, replaces.as_ref())?;
                self.place(path, Data::File(bytes), modified.0, body.executable)
            }
            DiskAction::Move { from, expect, to, into } => {
                self.expect_folder(to, *into)?;
                let inode = self.expect(from, expect)?;
                if !self.rename(from, to) {
                    return Err(ApplyError::Changed);
                }
                Ok(Applied::Present(self.stat(inode)))
            }
            DiskAction::SetMeta { path, expect, modified, executable } => {
                let inode = self.expect(path, expect)?;
                self.clock += 1;
                let node = self.nodes.get_mut(&inode).unwrap();
                (node.modified, node.executable, node.changed) = (modified.0, *executable, self.clock);
                Ok(Applied::Present(self.stat(inode)))
            }
            DiskAction::Trash { path, expect } => {
                let inode = self.expect(path, expect)?;
                self.take_away(inode);
                self.unlink(path);
                Ok(Applied::Absent)
            }
            DiskAction::RemoveFolder { path, expect, .. } => {
                let inode = self.expect(path, expect)?;
                if self.children(inode).is_none_or(|children| !children.is_empty()) {
                    return Err(ApplyError::Changed);
                }
                self.unlink(path);
                Ok(Applied::Absent)
            }
        }
    }

    fn place(&mut self, path: &ItemPath, data: Data, modified: i64, executable: bool) -> Result<Applied, ApplyError> {
        let inode = self.make(path, data).ok_or(ApplyError::Changed)?;
        let node = self.nodes.get_mut(&inode).unwrap();
        if modified != 0 {
            node.modified = modified;
        }
        node.executable = executable;
        Ok(Applied::Present(self.stat(inode)))
    }
}

fn fetch(body: &FileBody, chunks: &BTreeMap<ChunkName, Vec<u8>>) -> Result<Vec<u8>, ApplyError> {
    let mut bytes = Vec::new();
    for chunk in body.chunks.iter() {
        let unavailable = || ApplyError::ChunkUnavailable { chunk: chunk.name, reason: "missing".into() };
        bytes.extend_from_slice(chunks.get(&chunk.name).ok_or_else(unavailable)?);
    }
    Ok(bytes)
}

/// A file's bytes as one chunk.
pub fn body_of(bytes: &[u8], executable: bool) -> FileBody {
    let chunk = ChunkRef { name: ChunkName::of(bytes), len: bytes.len() as u32 };
    let chunks: Vec<ChunkRef> = if bytes.is_empty() { vec![] } else { vec![chunk] };
    FileBody { size: bytes.len() as u64, chunks: chunks.into(), adler32: 1, executable }
}

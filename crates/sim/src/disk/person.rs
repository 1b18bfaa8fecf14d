//! People's side of a disk: what they see, and the plain calls that their programs make. Each is whole and at once, and none ever
//! fails by chance.

use super::errno::Errno;
use super::fs::{Fs, How};
use super::machine::{Machine, RootState};
use super::node::{Data, Id, Node};
use super::pen::{Broom, Pen};
use super::rules::is_own;
use super::{Disk, Seen};
use stacksync_core::values::{ItemPath, Kind, Name};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What can become of the workspace's folder as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootLoss {
    /// It is not there: moved, or its disk is not mounted.
    Missing,
    /// An empty folder is at its path: the place where its disk is not mounted.
    Empty,
}

impl Machine {
    fn find(&self, path: &ItemPath) -> Result<Id, Errno> {
        path.names().iter().try_fold(self.top, |at, name| self.fs.lookup(at, name))
    }

    fn place<'a>(&self, path: &'a ItemPath) -> Result<(Id, &'a Name), Errno> {
        let (folder, name) = path.split().ok_or(Errno::Inval)?;
        Ok((self.find(&folder)?, name))
    }

    pub fn visible(&self) -> BTreeMap<String, Seen> {
        let mut seen = BTreeMap::new();
        let mut next = vec![(String::new(), self.top)];
        while let Some((folder, id)) = next.pop() {
            for (name, child) in self.fs.nodes.get(id).and_then(Node::children).into_iter().flat_map(BTreeMap::values) {
                if is_own(name.as_str()) {
                    continue;
                }
                let path = if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") };
                let Some(node) = self.fs.nodes.get(*child) else { continue };
                if node.is_folder() {
                    next.push((path.clone(), *child));
                }
                seen.extend(seen_of(&self.fs, *child).map(|one| (path, one)));
            }
        }
        seen
    }

    pub fn remove_at(&mut self, path: &ItemPath) -> Result<(), Errno> {
        let (folder, name) = self.place(path)?;
        self.remove_all(folder, name)
    }

    fn remove_all(&mut self, folder: Id, name: &Name) -> Result<(), Errno> {
        let id = self.fs.lookup(folder, name)?;
        if !self.fs.node(id)?.is_folder() {
            return self.fs.unlink(folder, name);
        }
        let names: Vec<Name> = self.fs.children(id)?.values().map(|(name, _)| name.clone()).collect();
        names.iter().try_for_each(|below| self.remove_all(id, below))?;
        self.fs.rmdir(folder, name)
    }

    fn copy_all(&mut self, from: Id, folder: Id, name: &Name) -> Result<(), Errno> {
        let node = self.fs.node(from)?;
        let (data, mode) = (node.data.clone(), node.mode);
        let Data::Folder(children) = data else { return self.fs.make(folder, name, data, mode).map(|_| ()) };
        let copy = self.fs.make(folder, name, Data::Folder(BTreeMap::new()), mode)?;
        // A copy of a folder into itself does not copy the copy.
        children.values().filter(|(_, id)| *id != copy).try_for_each(|(name, id)| self.copy_all(*id, copy, name))
    }
}

pub(super) fn seen_of(fs: &Fs, id: Id) -> Option<Seen> {
    let node = fs.nodes.get(id)?;
    let plain = |kind, bytes: Arc<Vec<u8>>| Seen { kind, bytes, executable: false, modified_ns: 0, file: None };
    match &node.data {
        Data::Folder(_) => Some(plain(Kind::Folder, Arc::default())),
        Data::Link(target) => Some(plain(Kind::Link, Arc::new(target.as_bytes().to_vec()))),
        Data::File(bytes) => {
            let (executable, modified_ns) = (node.mode & 0o100 != 0, node.modified);
            Some(Seen { executable, modified_ns, file: fs.file_id(id), ..plain(Kind::File, bytes.clone()) })
        }
        Data::Odd => None,
    }
}

/// What programs of people do. Paths are below the workspace's folder.
impl Disk {
    /// What is at a path: its kind; `None`: nothing that can be synced.
    pub fn kind_at(&self, path: &ItemPath) -> Option<Kind> {
        self.with(|machine| seen_of(&machine.fs, machine.find(path).ok()?).map(|seen| seen.kind))
    }

    /// What a file holds.
    ///
    /// # Errors
    /// When there is no file.
    pub fn read(&self, path: &ItemPath) -> Result<Vec<u8>, Errno> {
        self.with(|machine| Ok(machine.fs.node(machine.find(path)?)?.bytes().ok_or(Errno::IsDir)?.to_vec()))
    }

    /// Every path with what it is, in order; without the client's own temporary names.
    pub fn paths(&self) -> Vec<(ItemPath, Kind)> {
        self.with(|machine| {
            let kind = |id: Id| seen_of(&machine.fs, id).map(|seen| seen.kind);
            let own = |path: &ItemPath| path.names().last().is_some_and(|name| is_own(name.as_str()));
            machine.walk().into_iter().filter(|(path, _)| !own(path)).filter_map(|(path, id)| Some((path, kind(id)?))).collect()
        })
    }

    /// Makes a file where nothing is.
    ///
    /// # Errors
    /// As a system would.
    pub fn make_file(&mut self, path: &ItemPath, bytes: Vec<u8>) -> Result<(), Errno> {
        self.make(path, Data::File(bytes.into()), 0o644)
    }

    /// Makes a folder where nothing is.
    ///
    /// # Errors
    /// As a system would.
    pub fn make_folder(&mut self, path: &ItemPath) -> Result<(), Errno> {
        self.make(path, Data::Folder(BTreeMap::new()), 0o755)
    }

    /// Makes a link where nothing is.
    ///
    /// # Errors
    /// As a system would.
    pub fn make_link(&mut self, path: &ItemPath, target: &str) -> Result<(), Errno> {
        self.make(path, Data::Link(target.into()), 0o777)
    }

    /// Makes something that cannot be synced where nothing is.
    ///
    /// # Errors
    /// As a system would.
    pub fn make_pipe(&mut self, path: &ItemPath) -> Result<(), Errno> {
        self.make(path, Data::Odd, 0o644)
    }

    fn make(&mut self, path: &ItemPath, data: Data, mode: u32) -> Result<(), Errno> {
        self.with(|machine| {
            let (folder, name) = machine.place(path)?;
            machine.fs.make(folder, name, data, mode).map(|_| ())
        })
    }

    /// Writes these bytes into a file from an offset on.
    ///
    /// # Errors
    /// When there is no file.
    pub fn write_at(&mut self, path: &ItemPath, offset: usize, bytes: &[u8]) -> Result<(), Errno> {
        self.with(|machine| machine.fs.write(machine.find(path)?, offset, bytes))
    }

    /// Cuts a file, or makes it longer with zeros.
    ///
    /// # Errors
    /// When there is no file.
    pub fn truncate(&mut self, path: &ItemPath, len: usize) -> Result<(), Errno> {
        self.with(|machine| machine.fs.truncate(machine.find(path)?, len))
    }

    /// Empties a file and writes it anew, all at once.
    ///
    /// # Errors
    /// When there is no file.
    pub fn rewrite(&mut self, path: &ItemPath, bytes: &[u8]) -> Result<(), Errno> {
        self.truncate(path, 0)?;
        self.write_at(path, 0, bytes)
    }

    /// Empties a file and begins to write it anew: a piece now, the others while the client is at work, or as time goes on. The file
    /// stays open, whatever becomes of its name.
    ///
    /// # Errors
    /// When there is no file.
    pub fn write_slowly(&mut self, path: &ItemPath, pieces: Vec<Vec<u8>>) -> Result<(), Errno> {
        self.truncate(path, 0)?;
        self.with(|machine| {
            let file = machine.fs.hold(machine.find(path)?)?;
            let due = machine.fs.clock;
            machine.pens.push(Pen { file, offset: 0, pieces: VecDeque::from(pieces), due });
            machine.write_due();
            Ok(())
        })
    }

    /// Whether somebody is in the middle of writing, or of deleting.
    pub fn is_being_written(&self) -> bool {
        self.with(|machine| !machine.pens.is_empty() || !machine.brooms.is_empty())
    }

    /// Makes everything safe against a loss of power, as `sync` does.
    pub fn sync(&mut self) {
        self.with(|machine| {
            for id in machine.fs.nodes.ids() {
                machine.fs.fsync(id).ok();
            }
        });
    }

    /// Makes one file or the names of one folder safe against a loss of power.
    ///
    /// # Errors
    /// When nothing is there.
    pub fn fsync(&mut self, path: &ItemPath) -> Result<(), Errno> {
        self.with(|machine| machine.fs.fsync(machine.find(path)?))
    }

    /// Renames, onto a file if one is there.
    ///
    /// # Errors
    /// As a system would.
    pub fn rename(&mut self, from: &ItemPath, to: &ItemPath) -> Result<(), Errno> {
        self.rename_as(from, to, How::Replace)
    }

    /// Renames to where nothing is.
    ///
    /// # Errors
    /// As a system would.
    pub fn rename_new(&mut self, from: &ItemPath, to: &ItemPath) -> Result<(), Errno> {
        self.rename_as(from, to, How::New)
    }

    /// Exchanges two names.
    ///
    /// # Errors
    /// As a system would.
    pub fn exchange(&mut self, a: &ItemPath, b: &ItemPath) -> Result<(), Errno> {
        self.rename_as(a, b, How::Exchange)
    }

    fn rename_as(&mut self, from: &ItemPath, to: &ItemPath, how: How) -> Result<(), Errno> {
        self.with(|machine| {
            let ((folder, name), (new, new_name)) = (machine.place(from)?, machine.place(to)?);
            machine.fs.rename(folder, name, new, new_name, how)
        })
    }

    /// A second name for a file.
    ///
    /// # Errors
    /// As a system would.
    pub fn hard_link(&mut self, from: &ItemPath, to: &ItemPath) -> Result<(), Errno> {
        self.with(|machine| {
            let id = machine.find(from)?;
            let (folder, name) = machine.place(to)?;
            machine.fs.link(id, folder, name)
        })
    }

    /// Removes a file, a link, or a folder with all that is in it.
    ///
    /// # Errors
    /// When nothing is there.
    pub fn remove(&mut self, path: &ItemPath) -> Result<(), Errno> {
        self.with(|machine| machine.remove_at(path))
    }

    /// Removes these one after the other, as time goes on; the first one now.
    pub fn remove_slowly(&mut self, paths: Vec<ItemPath>) {
        self.with(|machine| {
            machine.brooms.push(Broom { left: paths.into(), due: machine.fs.clock });
            machine.write_due();
        });
    }

    /// Copies a file, a link, or a folder with all that is in it to where nothing is.
    ///
    /// # Errors
    /// As a system would.
    pub fn copy(&mut self, from: &ItemPath, to: &ItemPath) -> Result<(), Errno> {
        self.with(|machine| {
            let id = machine.find(from)?;
            let (folder, name) = machine.place(to)?;
            machine.copy_all(id, folder, name)
        })
    }

    /// Sets a modification time, in nanoseconds since 1970.
    ///
    /// # Errors
    /// When nothing is there.
    pub fn touch(&mut self, path: &ItemPath, modified_ns: i64) -> Result<(), Errno> {
        self.with(|machine| machine.fs.set_time(machine.find(path)?, modified_ns))
    }

    /// The time of a file, in nanoseconds since 1970.
    ///
    /// # Errors
    /// When nothing is there.
    pub fn modified_ns(&self, path: &ItemPath) -> Result<i64, Errno> {
        self.with(|machine| Ok(machine.fs.node(machine.find(path)?)?.modified))
    }

    /// Sets permission bits.
    ///
    /// # Errors
    /// When nothing is there.
    pub fn chmod(&mut self, path: &ItemPath, mode: u32) -> Result<(), Errno> {
        self.with(|machine| machine.fs.set_mode(machine.find(path)?, mode))
    }

    /// The permission bits.
    ///
    /// # Errors
    /// When nothing is there.
    pub fn mode(&self, path: &ItemPath) -> Result<u32, Errno> {
        self.with(|machine| Ok(machine.fs.node(machine.find(path)?)?.mode))
    }

    /// The laptop's clock now, in nanoseconds since 1970.
    pub fn clock_ns(&self) -> i64 {
        self.with(|machine| machine.fs.clock)
    }

    /// The workspace's folder is not where it was.
    pub fn lose_root(&mut self, loss: RootLoss) {
        self.with(|machine| {
            machine.root = match loss {
                RootLoss::Missing => RootState::Missing,
                RootLoss::Empty => RootState::Other(machine.fs.make_top(0)),
            };
        });
    }

    /// The workspace's folder is where it was.
    pub fn find_root(&mut self) {
        self.with(|machine| machine.root = RootState::Here);
    }

    /// What lies in the client's trash: contents of files, in no order.
    pub fn trashed(&self) -> Vec<Vec<u8>> {
        self.with(|machine| {
            let contents = machine.contents(machine.trash, &ItemPath::top());
            contents.into_iter().map(|one| one.bytes).collect()
        })
    }
}

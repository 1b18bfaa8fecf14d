//! The calls of the client, one step each: before every call the rest of the world may do something.

use super::errno::Errno;
use super::flavour::Renames;
use super::fs::How;
use super::look::{Found, Look};
use super::machine::Machine;
use super::node::{Data, Hold, Id};
use crate::scenario::Fault;
use stacksync_core::values::{ItemPath, Name};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Why a folder was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenFolderError {
    /// There is no folder: nothing, a file, or a link, at the path or on the way to it.
    Gone,
    /// It is there, but not for us.
    Refused(Errno),
}

/// Waits for the next step of whoever runs this.
pub(super) struct Pause(bool);

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

pub(super) const fn pause() -> Pause {
    Pause(false)
}

/// The client's side of a machine.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    machine: Rc<RefCell<Machine>>,
}

impl Calls {
    pub const fn new(machine: Rc<RefCell<Machine>>) -> Self {
        Self { machine }
    }

    /// Without a step: for what is no call of the operating system.
    pub fn with<T>(&self, what: impl FnOnce(&mut Machine) -> T) -> T {
        what(&mut self.machine.borrow_mut())
    }

    async fn call<T>(&self, what: impl FnOnce(&mut Machine) -> T) -> T {
        pause().await;
        self.with(|machine| {
            machine.write_on();
            what(machine)
        })
    }

    pub async fn open_root(&self) -> Result<Hold, String> {
        self.call(Machine::open_root).await
    }

    /// The folder at a path below `root`; as the kernel does it, in one step.
    pub async fn open_folder(&self, root: &Hold, path: &ItemPath) -> Result<Hold, OpenFolderError> {
        self.call(|machine| machine.open_folder(root.id, path)).await
    }

    pub async fn look(&self, folder: &Hold, name: &Name) -> Result<Look, Errno> {
        self.call(|machine| machine.look(folder.id, name)).await
    }

    pub async fn look_open(&self, file: &Hold) -> Look {
        self.call(|machine| machine.fs.look_at(file.id)).await
    }

    /// A new file, open.
    pub async fn create(&self, folder: &Hold, name: &Name, mode: u32) -> Result<Hold, Errno> {
        self.make(folder, name, Data::File(std::sync::Arc::default()), mode).await
    }

    pub async fn make_folder(&self, folder: &Hold, name: &Name, mode: u32) -> Result<Hold, Errno> {
        self.make(folder, name, Data::Folder(std::collections::BTreeMap::new()), mode).await
    }

    pub async fn make_link(&self, folder: &Hold, name: &Name, target: &str) -> Result<Hold, Errno> {
        self.make(folder, name, Data::Link(target.into()), 0o777).await
    }

    async fn make(&self, folder: &Hold, name: &Name, data: Data, mode: u32) -> Result<Hold, Errno> {
        self.call(|machine| {
            machine.access(folder.id, 0o300)?;
            machine.room()?;
            let id = machine.fs.make(folder.id, name, data, mode)?;
            machine.fs.hold(id)
        })
        .await
    }

    /// Writes as much as the disk takes at once; returns how much.
    pub async fn write(&self, file: &Hold, offset: usize, bytes: &[u8]) -> Result<usize, Errno> {
        self.call(|machine| {
            machine.room()?;
            let short = bytes.len() > 1 && machine.happens(Fault::ShortWrite);
            let len = if short { 1 + machine.luck.below(bytes.len() - 1) } else { bytes.len() };
            machine.fs.write(file.id, offset, &bytes[..len])?;
            Ok(len)
        })
        .await
    }

    pub async fn set_time(&self, file: &Hold, modified: i64) -> Result<(), Errno> {
        self.call(|machine| machine.fs.set_time(file.id, modified)).await
    }

    pub async fn set_mode(&self, file: &Hold, mode: u32) -> Result<(), Errno> {
        self.call(|machine| machine.fs.set_mode(file.id, mode)).await
    }

    pub async fn fsync(&self, what: &Hold) -> Result<(), Errno> {
        self.call(|machine| {
            if machine.happens(Fault::FileBroken) {
                return Err(Errno::Io);
            }
            machine.fs.fsync(what.id)
        })
        .await
    }

    /// Opens a file for reading, without following a link.
    pub async fn open_file(&self, folder: &Hold, name: &Name) -> Result<Hold, Errno> {
        self.call(|machine| machine.open_file(folder.id, name)).await
    }

    pub async fn unlink(&self, folder: &Hold, name: &Name) -> Result<(), Errno> {
        self.call(|machine| {
            machine.access(folder.id, 0o300)?;
            machine.fs.unlink(folder.id, name)
        })
        .await
    }

    pub async fn rmdir(&self, folder: &Hold, name: &Name) -> Result<(), Errno> {
        self.call(|machine| {
            machine.access(folder.id, 0o300)?;
            machine.fs.rmdir(folder.id, name)
        })
        .await
    }

    pub async fn names(&self, folder: &Hold) -> Result<Vec<Name>, Errno> {
        self.call(|machine| {
            machine.access(folder.id, 0o400)?;
            Ok(machine.fs.children(folder.id)?.values().map(|(name, _)| name.clone()).collect())
        })
        .await
    }

    /// A rename that replaces nothing.
    pub async fn rename_new(&self, from: &Hold, name: &Name, to: &Hold, new_name: &Name) -> Result<(), Errno> {
        if self.renames() == Renames::Flagged {
            return self.rename(from, name, to, new_name, How::New).await;
        }
        let Look::Here(before) = self.look(from, name).await? else { return Err(Errno::NoEnt) };
        let ours = before.stat;
        // A second name for a file or link fails if the name is taken. Folders have no second name.
        match self.link(from, name, to, new_name).await {
            Ok(()) => {
                let ended = match self.fsync(to).await {
                    Ok(()) => self.end_name(from, name, |found| found.stat.file == ours.file).await,
                    Err(errno) => Err(errno),
                };
                match ended {
                    Ok(()) => Ok(()),
                    // Whoever took the first name from us moved the file: so the second one goes again. Unless the first one was deleted,
                    // or somebody has written to the file under the second one.
                    Err(errno) => {
                        let unchanged = |found: &Found| found.links > 1 && found.stat.same_content(&ours);
                        self.end_name(to, new_name, unchanged).await.ok();
                        Err(errno)
                    }
                }
            }
            Err(Errno::Perm) => match self.look(to, new_name).await? {
                Look::Absent => self.rename(from, name, to, new_name, How::Replace).await,
                Look::Here(_) | Look::Odd(_) => Err(Errno::Exist),
            },
            Err(errno) => Err(errno),
        }
    }

    /// Ends one name of what has two, if it is `ours`.
    async fn end_name(&self, from: &Hold, name: &Name, ours: impl FnOnce(&Found) -> bool) -> Result<(), Errno> {
        let hidden = self.with(Machine::aside_name)?;
        self.rename(from, name, from, &hidden, How::Replace).await?;
        if matches!(self.look(from, &hidden).await?, Look::Here(found) if ours(&found)) {
            return self.unlink(from, &hidden).await;
        }
        match self.link(from, &hidden, from, name).await {
            Ok(()) => self.unlink(from, &hidden).await.ok(),
            Err(Errno::Exist) => None,
            Err(_) => self.rename(from, &hidden, from, name, How::Replace).await.ok(),
        };
        Err(Errno::NoEnt)
    }

    /// A rename onto whatever is there.
    pub async fn rename_over(&self, from: &Hold, name: &Name, to: &Hold, new_name: &Name) -> Result<(), Errno> {
        self.rename(from, name, to, new_name, How::Replace).await
    }

    /// Exchanges two names in one step. `Ok(false)`: this cannot be done here.
    pub async fn exchange(&self, from: &Hold, name: &Name, to: &Hold, other: &Name) -> Result<bool, Errno> {
        match self.renames() {
            Renames::Plain => Ok(false),
            Renames::Flagged => self.rename(from, name, to, other, How::Exchange).await.map(|()| true),
        }
    }

    fn renames(&self) -> Renames {
        self.with(|machine| machine.fs.flavour.renames)
    }

    async fn rename(&self, from: &Hold, name: &Name, to: &Hold, new_name: &Name, how: How) -> Result<(), Errno> {
        self.call(|machine| {
            machine.access(from.id, 0o300)?;
            machine.access(to.id, 0o300)?;
            machine.fs.rename(from.id, name, to.id, new_name, how)
        })
        .await
    }

    async fn link(&self, from: &Hold, name: &Name, to: &Hold, new_name: &Name) -> Result<(), Errno> {
        self.call(|machine| {
            machine.access(to.id, 0o300)?;
            let id = machine.fs.lookup(from.id, name)?;
            machine.fs.link(id, to.id, new_name)
        })
        .await
    }

    /// Which node has this name now, for the record only.
    pub fn node_at(&self, folder: &Hold, name: &Name) -> Option<Id> {
        self.with(|machine| machine.fs.lookup(folder.id, name).ok())
    }
}

impl Machine {
    pub fn open_folder(&mut self, root: Id, path: &ItemPath) -> Result<Hold, OpenFolderError> {
        let mut at = root;
        for name in path.names() {
            self.access(at, 0o100).map_err(OpenFolderError::Refused)?;
            at = self.fs.lookup(at, name).map_err(|_| OpenFolderError::Gone)?;
            if self.fs.children(at).is_err() {
                return Err(OpenFolderError::Gone);
            }
        }
        // Opening a folder is opening it for listing.
        self.access(at, 0o400).map_err(OpenFolderError::Refused)?;
        self.fs.hold(at).map_err(|_| OpenFolderError::Gone)
    }

    pub fn look(&mut self, folder: Id, name: &Name) -> Result<Look, Errno> {
        self.access(folder, 0o100)?;
        match self.fs.lookup(folder, name) {
            Ok(id) => Ok(self.fs.look_at(id)),
            Err(Errno::NoEnt) => Ok(Look::Absent),
            Err(errno) => Err(errno),
        }
    }

    pub fn open_file(&mut self, folder: Id, name: &Name) -> Result<Hold, Errno> {
        self.access(folder, 0o100)?;
        let id = self.fs.lookup(folder, name)?;
        match &self.fs.node(id)?.data {
            Data::Link(_) => return Err(Errno::Loop),
            Data::File(_) | Data::Folder(_) | Data::Odd => {}
        }
        self.access(id, 0o400)?;
        self.fs.hold(id)
    }
}

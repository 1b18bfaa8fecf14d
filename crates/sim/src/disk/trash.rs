//! The client's trash: one folder per minute or so, with what went in then under its path.

use super::calls::Calls;
use super::errno::Errno;
use super::node::{Data, Hold};
use stacksync_core::values::{ItemPath, Name};
use std::collections::BTreeMap;

/// A folder of the trash takes things for this long, in nanoseconds.
const FOLDER_OPEN_NS: i64 = 60_000_000_000;
/// Tries to find a name in the trash that is not taken.
const TRIES_MAX: usize = 8;

/// Why something goes to the trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Deleted,
    Replaced,
}

/// A folder of the trash that takes things now.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    since: i64,
    folder: Hold,
    folders: BTreeMap<ItemPath, Hold>,
}

/// Where something lies in the trash, or shall lie.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub folder: Hold,
    pub name: Name,
    /// Folders whose entries change and must be made durable.
    pub touched: Vec<Hold>,
}

impl Calls {
    /// Folders of the trash for something at this path: one after the other, until one has the name free.
    pub async fn trash_folder(&self, path: &ItemPath, why: Why) -> Result<Slot, Errno> {
        let (parent, name) = path.split().ok_or(Errno::Inval)?;
        let mut touched = Vec::new();
        let mut stamp = self.stamp(why, &mut touched).await?;
        let folder = match stamp.folders.get(&parent) {
            Some(folder) => folder.clone(),
            None => self.folder_in_stamp(&mut stamp, &parent, &mut touched).await?,
        };
        self.with(|machine| {
            let open = if why == Why::Deleted { &mut machine.deleted } else { &mut machine.replaced };
            *open = Some(stamp);
        });
        touched.push(folder.clone());
        Ok(Slot { folder, name: name.clone(), touched })
    }

    /// The name was taken: the next folder of the trash is another one.
    pub fn close_stamp(&self, why: Why) {
        self.with(|machine| if why == Why::Deleted { machine.deleted = None } else { machine.replaced = None });
    }

    /// Renames something into the trash.
    pub async fn rename_to_trash(&self, path: &ItemPath, why: Why, from: &Hold, name: &Name) -> Result<Slot, Errno> {
        for _ in 0..TRIES_MAX {
            let slot = match self.trash_folder(path, why).await {
                Err(Errno::Exist | Errno::NotDir | Errno::Loop) => {
                    self.close_stamp(why);
                    continue;
                }
                other => other?,
            };
            match self.rename_new(from, name, &slot.folder, &slot.name).await {
                Ok(()) => return Ok(slot),
                Err(Errno::Exist | Errno::NotDir | Errno::Loop) => self.close_stamp(why),
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::Exist)
    }

    /// Copies something into the trash on another file system, makes the copy durable, removes the original.
    pub async fn copy_to_trash(&self, path: &ItemPath, why: Why, from: &Hold, name: &Name) -> Result<Slot, Errno> {
        for _ in 0..TRIES_MAX {
            let slot = match self.trash_folder(path, why).await {
                Err(Errno::Exist | Errno::NotDir | Errno::Loop) => {
                    self.close_stamp(why);
                    continue;
                }
                other => other?,
            };
            match Box::pin(self.copy_tree(from, name, &slot.folder, &slot.name)).await {
                Ok(()) => {
                    for folder in &slot.touched {
                        self.fsync(folder).await?;
                    }
                    Box::pin(self.remove_tree(from, name)).await?;
                    return Ok(slot);
                }
                Err(Errno::Exist) => self.close_stamp(why),
                Err(errno) => {
                    Box::pin(self.remove_tree(&slot.folder, &slot.name)).await.ok();
                    return Err(errno);
                }
            }
        }
        Err(Errno::Exist)
    }

    async fn stamp(&self, why: Why, touched: &mut Vec<Hold>) -> Result<Stamp, Errno> {
        let (now, open) = self.with(|machine| {
            let open = if why == Why::Deleted { machine.deleted.take() } else { machine.replaced.take() };
            (machine.fs.clock, open)
        });
        if let Some(open) = open.filter(|open| (0..FOLDER_OPEN_NS).contains(&(now - open.since))) {
            return Ok(open);
        }
        let trash = self.with(|machine| machine.fs.hold(machine.trash))?;
        touched.push(trash.clone());
        let kind = if why == Why::Deleted { "" } else { " replaced" };
        let seconds = now.div_euclid(1_000_000_000);
        for number in 1.. {
            let text = if number == 1 { format!("{seconds}{kind}") } else { format!("{seconds}-{number}{kind}") };
            match self.make_folder(&trash, &name_of(&text)?, 0o700).await {
                Ok(folder) => return Ok(Stamp { since: now, folder, folders: BTreeMap::new() }),
                Err(Errno::Exist) => {}
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::Exist)
    }

    async fn folder_in_stamp(&self, stamp: &mut Stamp, parent: &ItemPath, touched: &mut Vec<Hold>) -> Result<Hold, Errno> {
        let mut folder = stamp.folder.clone();
        for name in parent.names() {
            folder = match self.make_folder(&folder, name, 0o700).await {
                Ok(made) => {
                    touched.push(folder);
                    made
                }
                Err(Errno::Exist) => self.folder_in(&folder, name).await?,
                Err(errno) => return Err(errno),
            };
        }
        stamp.folders.insert(parent.clone(), folder.clone());
        Ok(folder)
    }

    async fn folder_in(&self, folder: &Hold, name: &Name) -> Result<Hold, Errno> {
        pausing(self, |machine| {
            let id = machine.fs.lookup(folder.id, name)?;
            machine.fs.children(id)?;
            machine.fs.hold(id)
        })
        .await
    }

    /// Copies a file, link or folder with all that is below, and makes it durable but for the entry in `into` itself.
    async fn copy_tree(&self, from: &Hold, name: &Name, into: &Hold, new_name: &Name) -> Result<(), Errno> {
        let (source, data, mode, modified) = pausing(self, |machine| {
            let id = machine.fs.lookup(from.id, name)?;
            let node = machine.fs.node(id)?;
            Ok((node.hold(id), node.data.clone(), node.mode, node.modified))
        })
        .await?;
        match data {
            Data::Folder(_) => {
                let copy = self.make_folder(into, new_name, 0o700).await?;
                for name in self.names(&source).await? {
                    Box::pin(self.copy_tree(&source, &name, &copy, &name)).await?;
                }
                self.fsync(&copy).await
            }
            Data::File(_) => {
                let copy = self.create(into, new_name, 0o600).await?;
                let bytes = pausing(self, |machine| machine.fs.node(source.id).map(|node| node.bytes().cloned())).await?;
                self.write_all(&copy, &bytes.unwrap_or_default()).await?;
                self.set_mode(&copy, mode & 0o777).await?;
                self.set_time(&copy, modified).await?;
                self.fsync(&copy).await
            }
            Data::Link(target) => self.make_link(into, new_name, &target).await.map(|_| ()),
            Data::Odd => Ok(()),
        }
    }

    pub async fn write_all(&self, file: &Hold, bytes: &[u8]) -> Result<(), Errno> {
        let mut written = 0;
        while written < bytes.len() {
            written += self.write(file, written, &bytes[written..]).await?;
        }
        Ok(())
    }

    async fn remove_tree(&self, folder: &Hold, name: &Name) -> Result<(), Errno> {
        match self.unlink(folder, name).await {
            Err(Errno::IsDir) => {
                let inner = self.folder_in(folder, name).await?;
                for below in self.names(&inner).await? {
                    Box::pin(self.remove_tree(&inner, &below)).await?;
                }
                self.rmdir(folder, name).await
            }
            Err(Errno::NoEnt) => Ok(()),
            other => other,
        }
    }
}

async fn pausing<T>(calls: &Calls, what: impl FnOnce(&mut super::machine::Machine) -> Result<T, Errno>) -> Result<T, Errno> {
    super::calls::pause().await;
    calls.with(what)
}

pub(super) fn name_of(text: &str) -> Result<Name, Errno> {
    Name::new(text).map_err(|_| Errno::Inval)
}

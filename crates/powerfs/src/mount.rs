//! The file system behind FUSE, and the hand on its power switch.

use crate::disk::{Attrs, Disk, Ino, Node, Op, ROOT, Refused};
use crate::image::{Dice, Model};
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, ReplyWrite, Request, SessionACL, TimeOrNow, WriteFlags,
};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The kernel may remember nothing: what a name means changes with the power.
const REMEMBERED: Duration = Duration::ZERO;
const BLOCK: u32 = 4096;
/// Blocks that it says are free.
const FREE: u64 = 1 << 20;

/// What `renameat2` can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renames {
    /// RENAME_NOREPLACE and RENAME_EXCHANGE.
    Flagged,
    /// Neither, as on some network file systems.
    Plain,
}

/// A mounted file system. Unmounted when it goes away.
#[derive(Debug)]
pub struct PowerFs {
    state: Arc<Mutex<State>>,
    _session: BackgroundSession,
}

#[derive(Debug)]
struct State {
    disk: Disk,
    /// What was on the disk when the log began, all of it durable.
    began: Disk,
    log: Vec<Op>,
    /// The power fails when the log is this long.
    cut_at: Option<usize>,
    next_ino: Ino,
    renames: Renames,
}

impl PowerFs {
    /// Mounts an empty one over a folder, which is made if need be.
    ///
    /// # Panics
    /// If it cannot be mounted: a test that cannot run is a test that fails.
    pub fn mount(at: &Path, renames: Renames) -> Self {
        std::fs::create_dir_all(at).expect("a folder can be made");
        let attrs = Attrs { mode: 0o755, user: 0, group: 0, modified: SystemTime::now() };
        let disk = Disk::new(attrs);
        let began = disk.clone();
        let state = State { disk, began, log: Vec::new(), cut_at: None, next_ino: ROOT + 1, renames };
        let state = Arc::new(Mutex::new(state));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("powerfs".to_owned()), MountOption::DefaultPermissions];
        // Databases run as users of their own.
        config.acl = SessionACL::All;
        let session = fuser::spawn_mount(Served(state.clone()), at, &config).unwrap_or_else(|error| {
            panic!("no file system can be mounted at {} ({error}): tests of power loss need root and /dev/fuse", at.display())
        });
        Self { state, _session: session }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Changes and `fsync`s since the log began.
    pub fn written(&self) -> usize {
        self.state().log.len()
    }

    /// The log since it began.
    pub fn log(&self) -> Vec<Op> {
        self.state().log.clone()
    }

    /// Everything so far is durable; the log begins anew.
    pub fn begin(&self) {
        let mut state = self.state();
        state.began = state.disk.clone();
        state.log.clear();
        state.cut_at = None;
    }

    /// Lets the power fail after so many more changes and `fsync`s: from then on each of them fails.
    pub fn cut_after(&self, count: usize) {
        let mut state = self.state();
        state.cut_at = Some(state.log.len() + count);
    }

    /// Whether the power has failed.
    pub fn is_cut(&self) -> bool {
        self.state().is_cut()
    }

    /// The power is back, on a disk as the model allows it after the whole log. Nobody may have anything open. The log begins anew.
    pub fn restart(&self, model: &Model, dice: &mut Dice) {
        let mut state = self.state();
        let image = model.image(&state.began, &state.log, dice);
        state.begin_with(image);
    }

    /// Begins anew with the disk as the model allows it after the first `length` entries of this log, which began with `began`.
    pub fn restart_at(&self, began: &Snapshot, log: &[Op], length: usize, model: &Model, dice: &mut Dice) {
        let image = model.image(&began.0, &log[..length], dice);
        self.state().begin_with(image);
    }

    /// The disk as it is, to begin from again.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.state().disk.clone())
    }
}

/// A disk at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot(Disk);

impl State {
    fn is_cut(&self) -> bool {
        self.cut_at.is_some_and(|at| self.log.len() >= at)
    }

    fn begin_with(&mut self, image: Disk) {
        self.began = image.clone();
        self.disk = image;
        self.log.clear();
        self.cut_at = None;
    }

    /// Makes a change and notes it, or says why not.
    fn change(&mut self, op: Op) -> Result<(), Errno> {
        if self.is_cut() {
            return Err(Errno::EIO);
        }
        self.disk.allows(&op).map_err(errno)?;
        self.disk.apply(&op);
        self.log.push(op);
        Ok(())
    }

    fn attr(&self, ino: Ino) -> Result<FileAttr, Errno> {
        let (node, attrs) = self.disk.nodes.get(&ino).ok_or(Errno::ENOENT)?;
        let (kind, size, nlink) = match node {
            Node::File(bytes) => (FileType::RegularFile, bytes.len() as u64, self.disk.names_of(ino)),
            Node::Folder(_) if ino == ROOT || self.disk.names_of(ino) > 0 => (FileType::Directory, 0, 2),
            Node::Folder(_) => (FileType::Directory, 0, 0),
            Node::Link(target) => (FileType::Symlink, target.len() as u64, 1),
        };
        Ok(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: attrs.modified,
            mtime: attrs.modified,
            ctime: attrs.modified,
            crtime: attrs.modified,
            kind,
            perm: attrs.mode,
            nlink,
            uid: attrs.user,
            gid: attrs.group,
            rdev: 0,
            blksize: BLOCK,
            flags: 0,
        })
    }

    fn make(&mut self, request: &Request, folder: INodeNo, name: &OsStr, mode: u32, node: Node) -> Result<FileAttr, Errno> {
        let ino = self.next_ino;
        let mode = (mode & 0o7777) as u16;
        let attrs = Attrs { mode, user: request.uid(), group: request.gid(), modified: SystemTime::now() };
        self.change(Op::Make { folder: folder.0, name: name.to_owned(), ino, node, attrs })?;
        self.next_ino += 1;
        self.touch(folder.0);
        self.attr(ino)
    }

    /// Folders show when their names changed. Of no importance after a power cut, so not in the log.
    fn touch(&mut self, folder: Ino) {
        if let Some((_, attrs)) = self.disk.nodes.get_mut(&folder) {
            attrs.modified = SystemTime::now();
        }
    }

    fn remove(&mut self, folder: INodeNo, name: &OsStr) -> Result<(), Errno> {
        self.change(Op::Remove { folder: folder.0, name: name.to_owned() })?;
        self.touch(folder.0);
        Ok(())
    }

    fn rename(&mut self, from: (Ino, OsString), to: (Ino, OsString), flags: RenameFlags) -> Result<(), Errno> {
        if !flags.is_empty() && self.renames == Renames::Plain {
            return Err(Errno::EINVAL);
        }
        self.touch(from.0);
        self.touch(to.0);
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            return self.change(Op::Exchange { a: from, b: to });
        }
        let there = self.disk.lookup(to.0, &to.1);
        if flags.contains(RenameFlags::RENAME_NOREPLACE) && there.is_ok() {
            return Err(Errno::EEXIST);
        }
        // Two names of one file: nothing happens.
        if there.is_ok() && there == self.disk.lookup(from.0, &from.1) {
            return Ok(());
        }
        self.change(Op::Rename { from, to })
    }

    fn set(&mut self, ino: Ino, how: impl FnOnce(&mut Attrs)) -> Result<(), Errno> {
        let mut attrs = self.disk.nodes.get(&ino).ok_or(Errno::ENOENT)?.1;
        how(&mut attrs);
        self.change(Op::Attrs { ino, attrs })
    }

    fn sync(&mut self, ino: Ino) -> Result<(), Errno> {
        let path = self.disk.path_of(ino);
        self.change(Op::Sync { ino, path })
    }

    /// The names of a folder after a place in its listing.
    fn listing(&self, folder: Ino, after: u64) -> Result<BTreeMap<u64, (Ino, FileType, OsString)>, Errno> {
        let names = self.disk.folder(folder).map_err(errno)?;
        let mut listing = BTreeMap::new();
        for (place, name) in [(1, "."), (2, "..")] {
            listing.insert(place, (folder, FileType::Directory, OsString::from(name)));
        }
        for (name, (ino, place)) in names {
            listing.insert(*place, (*ino, self.attr(*ino)?.kind, name.clone()));
        }
        Ok(listing.split_off(&(after + 1)))
    }
}

const fn errno(refused: Refused) -> Errno {
    match refused {
        Refused::Missing => Errno::ENOENT,
        Refused::Exists => Errno::EEXIST,
        Refused::NotFolder => Errno::ENOTDIR,
        Refused::IsFolder => Errno::EISDIR,
        Refused::NotEmpty => Errno::ENOTEMPTY,
        Refused::Invalid => Errno::EINVAL,
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the kernel asks.
struct Served(Arc<Mutex<State>>);

impl Served {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

fn entry(reply: ReplyEntry, found: Result<FileAttr, Errno>) {
    match found {
        Ok(attr) => reply.entry(&REMEMBERED, &attr, Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

fn attr(reply: ReplyAttr, found: Result<FileAttr, Errno>) {
    match found {
        Ok(attr) => reply.attr(&REMEMBERED, &attr),
        Err(errno) => reply.error(errno),
    }
}

fn empty(reply: ReplyEmpty, done: Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn moment(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let state = self.state();
        entry(reply, state.disk.lookup(parent.0, name).map_err(errno).and_then(|ino| state.attr(ino)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        attr(reply, self.state().attr(ino.0));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.state();
        let mut set = || {
            if let Some(size) = size {
                state.change(Op::Truncate { ino: ino.0, size })?;
            }
            let modified = mtime.map(moment).or(size.map(|_| SystemTime::now()));
            if mode.is_some() || uid.is_some() || gid.is_some() || modified.is_some() {
                state.set(ino.0, |attrs| {
                    attrs.mode = mode.map_or(attrs.mode, |mode| (mode & 0o7777) as u16);
                    attrs.user = uid.unwrap_or(attrs.user);
                    attrs.group = gid.unwrap_or(attrs.group);
                    attrs.modified = modified.unwrap_or(attrs.modified);
                })?;
            }
            state.attr(ino.0)
        };
        let done = set();
        attr(reply, done);
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.state().disk.nodes.get(&ino.0) {
            Some((Node::Link(target), _)) => reply.data(target.as_bytes()),
            _ => reply.error(Errno::EINVAL),
        }
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        entry(reply, self.state().make(request, parent, name, mode & !umask, Node::Folder(BTreeMap::new())));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.state().remove(parent, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut state = self.state();
        let is_empty = state.disk.lookup(parent.0, name).and_then(|ino| state.disk.folder(ino).map(BTreeMap::is_empty));
        match is_empty {
            Ok(true) => empty(reply, state.remove(parent, name)),
            Ok(false) => reply.error(Errno::ENOTEMPTY),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        entry(reply, self.state().make(request, parent, name, 0o777, Node::Link(target.as_os_str().to_owned())));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        empty(reply, self.state().rename((parent.0, name.to_owned()), (newparent.0, newname.to_owned()), flags));
    }

    fn link(&self, _: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let mut state = self.state();
        let linked = state.change(Op::Link { folder: newparent.0, name: newname.to_owned(), ino: ino.0 });
        entry(reply, linked.and_then(|()| state.attr(ino.0)));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.state().disk.file(ino.0) {
            Ok(bytes) => {
                let start = (offset as usize).min(bytes.len());
                let end = (start + size as usize).min(bytes.len());
                reply.data(&bytes[start..end]);
            }
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        from: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.state();
        if state.is_cut() && from.contains(WriteFlags::FUSE_WRITE_CACHE) {
            // Left over in mapped memory. Nobody waits for it; as a failure the kernel would tell it to whoever comes after the restart.
            return reply.written(data.len() as u32);
        }
        let written = state.change(Op::Write { ino: ino.0, offset, data: Arc::new(data.to_vec()) });
        match written.and_then(|()| state.set(ino.0, |attrs| attrs.modified = SystemTime::now())) {
            Ok(()) => reply.written(data.len() as u32),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.state().sync(ino.0));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.state().sync(ino.0));
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.state().listing(ino.0, offset) {
            Ok(listing) => {
                for (place, (ino, kind, name)) in listing {
                    if reply.add(INodeNo(ino), place, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(FREE, FREE, FREE, FREE, FREE, BLOCK, 255, BLOCK);
    }

    fn create(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        match self.state().make(request, parent, name, mode & !umask, Node::File(Arc::default())) {
            Ok(attr) => reply.created(&REMEMBERED, &attr, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn mknod(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: u32, reply: ReplyEntry) {
        entry(reply, self.state().make(request, parent, name, mode & !umask, Node::File(Arc::default())));
    }
}

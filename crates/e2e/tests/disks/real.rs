//! The real side: a folder on this machine, its people, and the client's `Disk` on it.

use stacksync::disk::{Disk, Job, OwnFolders, RootIdentity, WriteTarget, stat_open};
use stacksync_core::engine::{Applied, ApplyError, DiskAction, Stat, UploadError};
use stacksync_core::values::{ItemPath, Kind};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

pub struct Real {
    _temp: tempfile::TempDir,
    _home: tempfile::TempDir,
    root: PathBuf,
    home: PathBuf,
    pub disk: Disk,
}

/// What is at a path: kind, bytes, executable bit, modification time.
pub type Picture = BTreeMap<String, (Kind, Vec<u8>, bool, i64)>;

fn io<T>(result: std::io::Result<T>) -> Result<(), ()> {
    result.map(|_| ()).map_err(|_| ())
}

impl Real {
    pub fn new(home_in: Option<&Path>) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let home_temp = home_in.map_or_else(tempfile::tempdir, tempfile::tempdir_in).unwrap();
        let root = temp.path().join("root");
        fs::create_dir(&root).unwrap();
        let home = home_temp.path().join("home");
        let own = OwnFolders::open(&home).unwrap();
        let disk = Disk::new(&own, root.clone(), RootIdentity::of(&root).unwrap(), ItemPath::top());
        Self { _temp: temp, _home: home_temp, root, home, disk }
    }

    fn at(&self, path: &ItemPath) -> PathBuf {
        path.names().iter().fold(self.root.clone(), |at, name| at.join(name.as_str()))
    }

    pub fn make_file(&self, path: &ItemPath, bytes: &[u8]) -> Result<(), ()> {
        let file = File::options().write(true).create_new(true).open(self.at(path));
        io(file.and_then(|mut file| {
            fs::set_permissions(self.at(path), fs::Permissions::from_mode(0o644))?;
            file.write_all(bytes)
        }))
    }

    pub fn make_folder(&self, path: &ItemPath) -> Result<(), ()> {
        io(fs::create_dir(self.at(path)))
    }

    pub fn make_link(&self, path: &ItemPath, target: &str) -> Result<(), ()> {
        io(symlink(target, self.at(path)))
    }

    pub fn is_file(&self, path: &ItemPath) -> bool {
        self.at(path).symlink_metadata().is_ok_and(|metadata| metadata.is_file())
    }

    pub fn rewrite(&self, path: &ItemPath, bytes: &[u8]) -> Result<(), ()> {
        io(File::options().write(true).truncate(true).open(self.at(path)).and_then(|mut file| file.write_all(bytes)))
    }

    pub fn append(&self, path: &ItemPath, bytes: &[u8]) -> Result<(), ()> {
        io(File::options().append(true).open(self.at(path)).and_then(|mut file| file.write_all(bytes)))
    }

    pub fn rename(&self, from: &ItemPath, to: &ItemPath, flags: rustix::fs::RenameFlags) -> Result<(), ()> {
        rustix::fs::renameat_with(rustix::fs::CWD, self.at(from), rustix::fs::CWD, self.at(to), flags).map_err(|_| ())
    }

    pub fn hard_link(&self, from: &ItemPath, to: &ItemPath) -> Result<(), ()> {
        io(fs::hard_link(self.at(from), self.at(to)))
    }

    pub fn remove(&self, path: &ItemPath) -> Result<(), ()> {
        let at = self.at(path);
        let folder = at.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        io(if folder { fs::remove_dir_all(at) } else { fs::remove_file(at) })
    }

    pub fn touch(&self, path: &ItemPath, ns: i64) -> Result<(), ()> {
        let time = UNIX_EPOCH + Duration::from_nanos(u64::try_from(ns).unwrap());
        io(File::options().append(true).open(self.at(path)).and_then(|file| file.set_modified(time)))
    }

    pub fn chmod(&self, path: &ItemPath, mode: u32) -> Result<(), ()> {
        io(fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)))
    }

    /// Carries an action out; `meanwhile` happens when a write is staged and not yet published.
    pub fn apply(&self, action: DiskAction, contents: &[u8], meanwhile: impl FnOnce()) -> Result<Applied, ApplyError> {
        let job: Job = match WriteTarget::of(&action) {
            Some(target) => {
                let staged = self.disk.stage(target);
                if let Ok(staged) = &staged {
                    (&**staged.file()).write_all(contents).unwrap();
                    meanwhile();
                }
                staged?.into()
            }
            None => action.into(),
        };
        self.disk.apply(vec![job]).pop().unwrap()
    }

    /// Reads a file as an upload does; `meanwhile` happens between its first and its last byte.
    pub fn upload(&self, path: &ItemPath, expect: &Stat, meanwhile: impl FnOnce()) -> Result<Vec<u8>, UploadError> {
        let mut file = self.disk.open_expected(path, expect)?;
        // As the uploader, which is not run here, has it.
        if stat_open(path, &file)?.changed_ns != expect.changed_ns {
            return Err(UploadError::Changed);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        meanwhile();
        self.disk.finish_read(path, &file, expect)?;
        Ok(bytes)
    }

    pub fn picture(&self) -> Picture {
        let mut picture = Picture::new();
        for (path, full) in below(&self.root) {
            let metadata = full.symlink_metadata().unwrap();
            let one = if metadata.is_dir() {
                (Kind::Folder, Vec::new(), false, 0)
            } else if metadata.is_symlink() {
                (Kind::Link, fs::read_link(&full).unwrap().into_os_string().into_encoded_bytes(), false, 0)
            } else {
                let modified = metadata.modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_nanos();
                let executable = metadata.permissions().mode() & 0o100 != 0;
                (Kind::File, fs::read(&full).unwrap(), executable, i64::try_from(modified).unwrap())
            };
            picture.insert(path, one);
        }
        picture
    }

    /// Contents in the trash, sorted.
    pub fn trashed(&self) -> Vec<Vec<u8>> {
        let files = below(&self.home.join("trash")).into_iter().map(|(_, full)| full);
        let mut contents: Vec<_> =
            files.filter(|full| full.symlink_metadata().unwrap().is_file()).map(|full| fs::read(full).unwrap()).collect();
        contents.sort();
        contents
    }

    /// Names that are staged, or set aside beside the user's files.
    pub fn leftovers(&self) -> usize {
        let hidden = below(&self.root).into_iter().filter(|(path, _)| path.contains(".~stacksync-")).count();
        hidden + below(&self.home.join("staging")).len()
    }
}

fn below(top: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut next = vec![(String::new(), top.to_owned())];
    while let Some((folder, full)) = next.pop() {
        for entry in fs::read_dir(full).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if entry.file_type().unwrap().is_dir() {
                next.push((path.clone(), entry.path()));
            }
            found.push((path, entry.path()));
        }
    }
    found
}

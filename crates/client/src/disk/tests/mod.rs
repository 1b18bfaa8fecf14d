//! Every action against every state of the disk, with the client's home on the same and on another file system, and on a file
//! system that knows only plain renames.

mod acting;
mod hostile;
mod looking;
mod writing;

use super::put::Renames;
use super::*;
use rustix::fs::CWD;
use stacksync_core::engine::{Applied, ApplyError, DiskAction, Entry, ScanError, Stat};
use stacksync_core::values::ModifiedAt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

const OLD: ModifiedAt = ModifiedAt(1_234_567_890_123_456_789);

struct World {
    temp: tempfile::TempDir,
    _home: tempfile::TempDir,
    home: PathBuf,
    own: OwnFolders,
    disk: Disk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Same,
    Plain,
    OtherFileSystem,
}

/// The variants that this machine can play.
fn worlds() -> Vec<(Variant, World)> {
    let mut worlds = vec![(Variant::Same, World::new(Variant::Same)), (Variant::Plain, World::new(Variant::Plain))];
    let shm = Path::new("/dev/shm");
    let differs = fs::metadata(shm).ok().map(|shm| shm.dev()) != fs::metadata(std::env::temp_dir()).ok().map(|temp| temp.dev());
    if shm.is_dir() && differs {
        worlds.push((Variant::OtherFileSystem, World::new(Variant::OtherFileSystem)));
    }
    worlds
}

fn path(text: &str) -> ItemPath {
    ItemPath::parse(text).unwrap()
}

impl World {
    fn new(variant: Variant) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let home_temp = match variant {
            Variant::OtherFileSystem => tempfile::tempdir_in("/dev/shm").unwrap(),
            Variant::Same | Variant::Plain => tempfile::tempdir().unwrap(),
        };
        let renames = if variant == Variant::Plain { Renames::Plain } else { Renames::Flagged };
        let root = temp.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::create_dir(temp.path().join("outside")).unwrap();
        let home = home_temp.path().join("home");
        let own = OwnFolders::open(&home).unwrap();
        let disk = Disk::with_renames(&own, root.clone(), RootIdentity::of(&root).unwrap(), ItemPath::top(), renames);
        Self { temp, _home: home_temp, home, own, disk }
    }

    fn at(&self, text: &str) -> PathBuf {
        self.temp.path().join("root").join(text)
    }

    fn write(&self, text: &str, content: &str) {
        fs::create_dir_all(self.at(text).parent().unwrap()).unwrap();
        fs::write(self.at(text), content).unwrap();
    }

    fn read(&self, text: &str) -> String {
        fs::read_to_string(self.at(text)).unwrap()
    }

    fn entry(&self, text: &str) -> Entry {
        let path = path(text);
        let (folder, name) = path.split().unwrap();
        let listing = self.disk.scan(&folder, Some(std::slice::from_ref(name))).result.unwrap();
        assert_eq!(listing.skipped, []);
        listing.entries.into_iter().next().unwrap()
    }

    fn stat(&self, text: &str) -> Stat {
        self.entry(text).stat
    }

    fn stage(&self, text: &str, content: &str, replaces: Option<Stat>) -> Result<Staged, ApplyError> {
        let target =
            WriteTarget { path: path(text), into: None, size: content.len() as u64, executable: false, modified: OLD, replaces };
        let staged = self.disk.stage(target)?;
        let mut file = &**staged.file();
        file.write_all(content.as_bytes()).unwrap();
        Ok(staged)
    }

    fn apply(&self, job: impl Into<Job>) -> Result<Applied, ApplyError> {
        self.disk.apply(vec![job.into()]).pop().unwrap()
    }

    fn put(&self, text: &str, content: &str, replaces: Option<Stat>) -> Result<Applied, ApplyError> {
        self.stage(text, content, replaces).and_then(|staged| self.apply(staged))
    }

    /// What is in the trash: paths without the folder of the time, with their content.
    fn trash(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let trash = self.home.join("trash");
        for stamp in fs::read_dir(&trash).unwrap().map(|entry| entry.unwrap().path()) {
            for (name, content) in tree(&stamp) {
                found.extend(content.map(|content| (name, content)));
            }
        }
        found.sort();
        found
    }

    /// Nothing of ours is left but what is in the trash.
    fn assert_clean(&self, what: &str) {
        assert_eq!(tree(&self.home.join("staging")), [], "{what}: staging");
        let hidden = tree(&self.at("")).into_iter().filter(|(name, _)| name.contains(".~stacksync")).count();
        assert_eq!(hidden, 0, "{what}: hidden names");
    }
}

/// Every path below with the content of files; links as their target, folders as `None`.
fn tree(top: &Path) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let mut next = vec![top.to_owned()];
    while let Some(folder) = next.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let name = entry.path().strip_prefix(top).unwrap().to_string_lossy().into_owned();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                found.push((name, None));
                next.push(entry.path());
            } else if kind.is_symlink() {
                found.push((name, Some(fs::read_link(entry.path()).unwrap().to_string_lossy().into_owned())));
            } else {
                found.push((name, Some(String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned())));
            }
        }
    }
    found.sort();
    found
}

fn trashed(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
}

fn actions(stat: &Stat, folder: &Stat) -> Vec<DiskAction> {
    vec![
        DiskAction::Move { from: path("d/file"), expect: stat.clone(), to: path("d/moved"), into: None },
        DiskAction::SetMeta { path: path("d/file"), expect: stat.clone(), modified: OLD, executable: true },
        DiskAction::Trash { path: path("d/file"), expect: stat.clone() },
        DiskAction::MakeLink { path: path("d/file"), into: None, target: "x".into(), replaces: Some(stat.clone()) },
        DiskAction::RemoveFolder { path: path("d/sub"), expect: folder.clone(), rules: None },
    ]
}

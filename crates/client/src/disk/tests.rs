//! Every action against every state of the disk, with the client's home on the same and on another file system, and on a file
//! system that knows only plain renames.

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
        let target = WriteTarget { path: path(text), size: content.len() as u64, executable: false, modified: OLD, replaces };
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
        DiskAction::Move { from: path("d/file"), expect: stat.clone(), to: path("d/moved") },
        DiskAction::SetMeta { path: path("d/file"), expect: stat.clone(), modified: OLD, executable: true },
        DiskAction::Trash { path: path("d/file"), expect: stat.clone() },
        DiskAction::MakeLink { path: path("d/file"), target: "x".into(), replaces: Some(stat.clone()) },
        DiskAction::RemoveFolder { path: path("d/sub"), expect: folder.clone() },
    ]
}

#[test]
fn a_new_file_is_whole_with_its_time_and_mode() {
    for (variant, world) in worlds() {
        let Applied::Present(stat) = world.put("file", "content", None).unwrap() else { panic!("absent") };
        assert_eq!(world.read("file"), "content", "{variant:?}");
        assert_eq!(stat, world.stat("file"), "{variant:?}");
        assert_eq!((stat.size, stat.modified, stat.executable), (7, OLD, false));
        let target = WriteTarget { path: path("run"), size: 0, executable: true, modified: ModifiedAt(-1), replaces: None };
        let Applied::Present(stat) = world.apply(world.disk.stage(target).unwrap()).unwrap() else { panic!("absent") };
        assert_eq!((stat.executable, stat.modified, stat.size), (true, ModifiedAt(-1), 0), "{variant:?}");
        world.assert_clean("new file");
        assert_eq!(world.trash(), []);
    }
}

#[test]
fn a_replaced_file_goes_to_the_trash_and_its_mode_stays() {
    for (variant, world) in worlds() {
        world.write("d/file", "old");
        fs::set_permissions(world.at("d/file"), fs::Permissions::from_mode(0o660)).unwrap();
        let Applied::Present(stat) = world.put("d/file", "newer", Some(world.stat("d/file"))).unwrap() else { panic!("absent") };
        assert_eq!(world.read("d/file"), "newer", "{variant:?}");
        assert_eq!(stat, world.stat("d/file"), "{variant:?}");
        assert_eq!(fs::metadata(world.at("d/file")).unwrap().mode() & 0o777, 0o660, "{variant:?}");
        assert_eq!(world.trash(), trashed(&[("d/file", "old")]), "{variant:?}");
        // The same path again: the trash keeps both.
        world.put("d/file", "newest", Some(stat)).unwrap();
        assert_eq!(world.trash(), trashed(&[("d/file", "newer"), ("d/file", "old")]), "{variant:?}");
        world.assert_clean("replaced");
    }
}

#[test]
fn nothing_is_replaced_that_the_plan_did_not_see() {
    for (variant, world) in worlds() {
        world.write("taken", "mine");
        assert_eq!(world.put("taken", "theirs", None), Err(ApplyError::Changed), "{variant:?}");
        let seen = world.stat("taken");
        let staged = world.stage("taken", "theirs", Some(seen.clone())).unwrap();
        world.write("taken", "edited");
        assert_eq!(world.apply(staged), Err(ApplyError::Changed), "{variant:?}");
        assert_eq!(world.read("taken"), "edited");
        // Another file of the same size and time.
        let seen = world.stat("taken");
        fs::rename(world.at("taken"), world.at("kept")).unwrap();
        world.write("taken", "EDITED");
        fs::File::open(world.at("taken"))
            .unwrap()
            .set_modified(fs::metadata(world.at("kept")).unwrap().modified().unwrap())
            .unwrap();
        assert_eq!(world.put("taken", "theirs", Some(seen.clone())), Err(ApplyError::Changed), "{variant:?}");
        // Gone; a folder; a link.
        fs::remove_file(world.at("taken")).unwrap();
        assert_eq!(world.put("taken", "theirs", Some(seen.clone())), Err(ApplyError::Changed), "{variant:?}");
        fs::create_dir(world.at("taken")).unwrap();
        assert_eq!(world.put("taken", "theirs", Some(seen.clone())), Err(ApplyError::Changed), "{variant:?}");
        assert_eq!(world.put("taken", "theirs", None), Err(ApplyError::Changed), "{variant:?}");
        fs::remove_dir(world.at("taken")).unwrap();
        symlink("kept", world.at("taken")).unwrap();
        assert_eq!(world.put("taken", "theirs", Some(seen)), Err(ApplyError::Changed), "{variant:?}");
        assert_eq!(world.put("taken", "theirs", None), Err(ApplyError::Changed), "{variant:?}");
        assert_eq!(world.trash(), [], "{variant:?}");
        world.assert_clean("changed");
    }
}

#[test]
fn a_file_that_was_swapped_in_the_last_moment_is_swapped_back() {
    for (variant, world) in worlds() {
        world.write("d/file", "theirs, seen");
        let seen = world.stat("d/file");
        let mut batch = apply::Batch::begin(&world.disk).unwrap();
        let (folder, name) = batch.parent(&path("d/file")).unwrap();
        let staged = world.stage("d/file", "ours", Some(seen.clone())).unwrap();
        // As if the edit came between the look and the exchange.
        let unseen = Stat { size: seen.size + 1, ..seen.clone() };
        let outcome = batch.swap(staged.temporary, &folder, name.as_str(), &path("d/file"), &unseen);
        let taken = batch.take(&folder, name.as_str(), &path("d/file"), &unseen, trash::Why::Deleted);
        assert_eq!(outcome, Err(ApplyError::Changed), "{variant:?}");
        assert_eq!(taken.err(), Some(ApplyError::Changed), "{variant:?}");
        assert_eq!(world.read("d/file"), "theirs, seen", "{variant:?}");
        assert_eq!(world.trash(), [], "{variant:?}");
        world.assert_clean("swapped back");
    }
}

#[test]
fn folders_and_links_are_made_only_where_nothing_is() {
    for (variant, world) in worlds() {
        let make = |text: &str| world.apply(DiskAction::MakeFolder { path: path(text) });
        let link = |text: &str, target: &str, replaces: Option<Stat>| {
            world.apply(DiskAction::MakeLink { path: path(text), target: target.into(), replaces })
        };
        assert_eq!(make("d"), Ok(Applied::Present(world.stat("d"))), "{variant:?}");
        assert_eq!(make("d"), Err(ApplyError::Changed));
        assert_eq!(make("none/d"), Err(ApplyError::Changed));
        assert_eq!(make("d/e").map(|_| ()), Ok(()));
        let Applied::Present(stat) = link("d/l", "../nowhere \n é", None).unwrap() else { panic!("absent") };
        assert_eq!(stat.target.as_deref(), Some("../nowhere \n é"));
        assert_eq!(stat, world.stat("d/l"), "{variant:?}");
        assert_eq!(link("d/l", "x", None), Err(ApplyError::Changed), "{variant:?}");
        assert_eq!(link("d/l", "y", Some(stat)).map(|_| ()), Ok(()), "{variant:?}");
        assert_eq!(fs::read_link(world.at("d/l")).unwrap(), Path::new("y"));
        assert_eq!(world.trash(), trashed(&[("d/l", "../nowhere \n é")]), "{variant:?}");
        world.assert_clean("links");
    }
}

#[test]
fn moves_never_replace_and_take_whole_folders_along() {
    for (variant, world) in worlds() {
        world.write("a/file", "x");
        world.write("b/taken", "y");
        let go = |from: &str, expect: &Stat, to: &str| {
            world.apply(DiskAction::Move { from: path(from), expect: expect.clone(), to: path(to) })
        };
        let file = world.stat("a/file");
        assert_eq!(go("a/file", &file, "b/taken"), Err(ApplyError::Changed), "{variant:?}");
        assert_eq!(go("a/file", &file, "none/x"), Err(ApplyError::Changed), "{variant:?}");
        assert_eq!(go("none/x", &file, "b/x"), Err(ApplyError::Changed), "{variant:?}");
        assert_eq!(go("a/file", &file, "b/x"), Ok(Applied::Present(world.stat("b/x"))), "{variant:?}");
        assert_eq!(go("b/x", &file, "b/X").map(|_| ()), Ok(()), "{variant:?}: only the case");
        world.write("b/X", "edited");
        assert_eq!(go("b/X", &file, "b/z"), Err(ApplyError::Changed), "{variant:?}");
        let folder = world.stat("b");
        world.write("b/more", "changes the folder's time");
        assert!(matches!(go("b", &folder, "b/inside"), Err(ApplyError::Failed(_))), "{variant:?}");
        assert_eq!(go("b", &folder, "a/moved").map(|_| ()), Ok(()), "{variant:?}");
        assert_eq!(world.read("a/moved/taken"), "y");
        assert_eq!(go("a/moved", &world.stat("a"), "c"), Err(ApplyError::Changed), "{variant:?}: another folder");
        world.assert_clean("moves");
    }
}

#[test]
fn a_batch_sees_its_own_earlier_actions() {
    for (variant, world) in worlds() {
        world.write("a/file", "x");
        let (folder, file) = (world.stat("a"), world.stat("a/file"));
        let outcomes = world.disk.apply(vec![
            DiskAction::MakeFolder { path: path("d") }.into(),
            DiskAction::MakeLink { path: path("d/l"), target: "t".into(), replaces: None }.into(),
            DiskAction::Move { from: path("a"), expect: folder, to: path("d/a") }.into(),
            DiskAction::MakeFolder { path: path("a") }.into(),
            DiskAction::Trash { path: path("a/file"), expect: file.clone() }.into(),
            DiskAction::Trash { path: path("d/a/file"), expect: file }.into(),
        ]);
        let expected = [true, true, true, true, false, true];
        assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), expected, "{variant:?} {outcomes:?}");
    }
}

#[test]
fn time_and_executable_bit_are_set_only_on_what_was_seen() {
    for (variant, world) in worlds() {
        world.write("file", "x");
        fs::set_permissions(world.at("file"), fs::Permissions::from_mode(0o640)).unwrap();
        let set = |expect: &Stat, modified: i64, executable: bool| {
            let (path, modified) = (path("file"), ModifiedAt(modified));
            world.apply(DiskAction::SetMeta { path, expect: expect.clone(), modified, executable })
        };
        let before = world.stat("file");
        let Applied::Present(after) = set(&before, 77, true).unwrap() else { panic!("absent") };
        assert_eq!((after.modified, after.executable), (ModifiedAt(77), true));
        assert_eq!(after, world.stat("file"), "{variant:?}");
        assert_eq!(fs::metadata(world.at("file")).unwrap().mode() & 0o777, 0o750);
        assert_eq!(set(&before, 78, false), Err(ApplyError::Changed), "{variant:?}");
        assert_eq!(world.stat("file"), after);
        set(&after, 77, false).unwrap();
        assert_eq!(fs::metadata(world.at("file")).unwrap().mode() & 0o777, 0o640);
    }
}

#[test]
fn what_is_deleted_goes_to_the_trash() {
    for (variant, world) in worlds() {
        world.write("d/file", "x");
        symlink("file", world.at("d/link")).unwrap();
        let (file, link) = (world.stat("d/file"), world.stat("d/link"));
        let trash = |text: &str, expect: &Stat| world.apply(DiskAction::Trash { path: path(text), expect: expect.clone() });
        assert_eq!(trash("d/link", &file), Err(ApplyError::Changed), "{variant:?}");
        assert_eq!(trash("d/link", &link), Ok(Applied::Absent), "{variant:?}");
        assert_eq!(trash("d/file", &file), Ok(Applied::Absent), "{variant:?}");
        assert_eq!(trash("d/file", &file), Err(ApplyError::Changed), "{variant:?}");
        assert_eq!(world.trash(), trashed(&[("d/file", "x"), ("d/link", "file")]), "{variant:?}");
        assert!(matches!(trash("d", &world.stat("d")), Err(ApplyError::Failed(_))));
        // What was a file in the trash is a folder the next time.
        fs::create_dir(world.at("d/file")).unwrap();
        world.write("d/file/inner", "y");
        assert_eq!(trash("d/file/inner", &world.stat("d/file/inner")), Ok(Applied::Absent), "{variant:?}");
        world.assert_clean("trash");
    }
}

#[test]
fn a_folder_goes_only_when_it_is_empty_or_holds_ignored_files() {
    for (variant, world) in worlds() {
        world.write(".syncignore", "*.o\n/d/build/\n");
        let remove = || world.apply(DiskAction::RemoveFolder { path: path("d"), expect: world.stat("d") });
        fs::create_dir(world.at("d")).unwrap();
        assert_eq!(remove(), Ok(Applied::Absent), "{variant:?}: empty");
        world.write("d/a.o", "object");
        world.write("d/build/deep/b", "built");
        world.write("d/new", "not ignored");
        assert_eq!(remove(), Err(ApplyError::Changed), "{variant:?}");
        fs::remove_file(world.at("d/new")).unwrap();
        fs::create_dir(world.at("d/empty")).unwrap();
        assert_eq!(remove(), Err(ApplyError::Changed), "{variant:?}: a new empty folder");
        fs::remove_dir(world.at("d/empty")).unwrap();
        let other = DiskAction::RemoveFolder { path: path("d"), expect: world.stat("d/build") };
        assert_eq!(world.apply(other), Err(ApplyError::Changed), "{variant:?}: another folder");
        let _socket = std::os::unix::net::UnixListener::bind(world.at("d/s")).unwrap();
        assert!(matches!(remove(), Err(ApplyError::Failed(text)) if text.contains("socket")), "{variant:?}");
        fs::remove_file(world.at("d/s")).unwrap();
        assert_eq!(remove(), Ok(Applied::Absent), "{variant:?}");
        assert_eq!(world.trash(), trashed(&[("d/a.o", "object"), ("d/build/deep/b", "built")]), "{variant:?}");
        assert_eq!(remove_gone(&world), Err(ApplyError::Changed));
        world.assert_clean("folder");
    }
}

fn remove_gone(world: &World) -> Result<Applied, ApplyError> {
    fs::create_dir(world.at("d")).unwrap();
    let expect = world.stat("d");
    fs::remove_dir(world.at("d")).unwrap();
    world.apply(DiskAction::RemoveFolder { path: path("d"), expect })
}

#[test]
fn a_folder_replaced_by_a_link_leads_nowhere() {
    for (variant, world) in worlds() {
        world.write("d/file", "inside");
        fs::create_dir(world.at("d/sub")).unwrap();
        let (file, folder) = (world.stat("d/file"), world.stat("d/sub"));
        let before = tree(&world.at("d"));
        let staged = [None, Some(file.clone())].map(|replaces| world.stage("d/file", "x", replaces).unwrap());
        let outside = world.temp.path().join("outside");
        fs::rename(world.at("d"), outside.join("d")).unwrap();
        symlink("../outside/d", world.at("d")).unwrap();
        for staged in staged {
            assert_eq!(world.apply(staged), Err(ApplyError::Changed), "{variant:?}");
        }
        for action in actions(&file, &folder) {
            assert_eq!(world.apply(action.clone()), Err(ApplyError::Changed), "{variant:?} {action:?}");
        }
        let make = DiskAction::MakeFolder { path: path("d/new") };
        assert_eq!(world.apply(make), Err(ApplyError::Changed), "{variant:?}");
        assert_eq!(world.stage("d/file", "x", None).unwrap_err(), ApplyError::Changed);
        assert_eq!(world.disk.scan(&path("d"), None).result, Err(ScanError::Gone));
        assert_eq!(world.disk.open_file(&path("d/file")).unwrap_err(), ReadError::Changed);
        assert_eq!(tree(&outside.join("d")), before, "{variant:?}");
        world.assert_clean("symlinked parent");
    }
}

#[test]
fn a_missing_parent_or_root_is_a_change_not_a_failure() {
    for (variant, world) in worlds() {
        world.write("d/file", "x");
        fs::create_dir(world.at("d/sub")).unwrap();
        let (file, folder) = (world.stat("d/file"), world.stat("d/sub"));
        let staged = world.stage("d/new", "x", None).unwrap();
        fs::rename(world.at(""), world.temp.path().join("away")).unwrap();
        for action in actions(&file, &folder) {
            assert_eq!(world.apply(action), Err(ApplyError::Changed), "{variant:?}");
        }
        assert_eq!(world.apply(staged), Err(ApplyError::Changed));
        let lost = |world: &World| matches!(world.disk.scan(&path("d"), None).result, Err(ScanError::RootLost(_)));
        assert!(lost(&world), "{variant:?}");
        fs::create_dir(world.at("")).unwrap();
        assert!(lost(&world), "{variant:?}: another folder in its place");
        for action in actions(&file, &folder) {
            assert_eq!(world.apply(action), Err(ApplyError::Changed), "{variant:?}");
        }
    }
}

#[test]
fn a_folder_that_refuses_us_is_a_failure_that_names_the_path() {
    let world = World::new(Variant::Same);
    world.write("d/file", "x");
    fs::create_dir(world.at("d/sub")).unwrap();
    let (file, folder) = (world.stat("d/file"), world.stat("d/sub"));
    let everyone = fs::Permissions::from_mode(0o755);
    for open in [world.temp.path(), world._home.path(), &world.home] {
        fs::set_permissions(open, everyone.clone()).unwrap();
    }
    for own in ["staging", "trash"] {
        fs::set_permissions(world.home.join(own), fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::set_permissions(world.at("d"), fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(world.at("d/file"), fs::Permissions::from_mode(0o444)).unwrap();
    let before = tree(&world.at(""));
    as_nobody(|| {
        let mut jobs: Vec<Job> = actions(&file, &folder).into_iter().filter(not_meta).map(Job::Act).collect();
        jobs.push(DiskAction::MakeFolder { path: path("d/new") }.into());
        jobs.push(world.stage("d/new", "x", None).unwrap().into());
        jobs.push(world.stage("d/file", "x", Some(Stat { executable: false, ..file.clone() })).unwrap().into());
        for job in jobs {
            let shown = format!("{job:?}");
            match world.disk.apply(vec![job]).pop().unwrap() {
                Err(ApplyError::Failed(text)) => assert!(text.contains("d/"), "{text}"),
                other => panic!("{shown}: {other:?}"),
            }
        }
        fs::set_permissions(world.at("d"), everyone.clone()).unwrap_err();
    });
    assert_eq!(tree(&world.at("")), before);
    world.assert_clean("refused");

    fs::set_permissions(world.at("d"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(world.at("d/file"), fs::Permissions::from_mode(0o600)).unwrap();
    as_nobody(|| {
        let unreadable = world.disk.scan(&path("d"), None).result;
        assert!(matches!(unreadable, Err(ScanError::Unreadable(text)) if text.contains("folder d")));
        let file = world.disk.open_file(&path("d/file"));
        assert!(matches!(file, Err(ReadError::Unreadable(text)) if text.contains("d/file")));
    });
    fs::set_permissions(world.at("d"), fs::Permissions::from_mode(0o744)).unwrap();
    as_nobody(|| {
        // Its names can be listed but not looked at: they are there, not gone.
        let listing = world.disk.scan(&path("d"), None).result.unwrap();
        assert_eq!((listing.entries.len(), listing.skipped.len()), (0, 2));
    });
}

fn not_meta(action: &DiskAction) -> bool {
    // The owner of a file may set its time wherever it lies.
    !matches!(action, DiskAction::SetMeta { .. })
}

/// Runs on a thread without root's powers.
fn as_nobody(run: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let outcome = scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(65_534)).unwrap();
            }
            run();
        });
        outcome.join().unwrap();
    });
}

#[test]
fn an_incomplete_or_dropped_file_is_never_published() {
    for (variant, world) in worlds() {
        let staged = world.stage("file", "abc", None).unwrap();
        staged.file().set_len(2).unwrap();
        assert!(matches!(world.apply(staged), Err(ApplyError::Failed(text)) if text.contains("file")), "{variant:?}");
        drop(world.stage("file", "abc", None).unwrap());
        let write = world.apply(DiskAction::MakeFolder { path: path("other") });
        assert!(write.is_ok());
        let target = WriteTarget { path: path("huge"), size: u64::MAX / 2, executable: false, modified: OLD, replaces: None };
        assert_eq!(world.disk.stage(target).unwrap_err(), ApplyError::NoSpace, "{variant:?}");
        assert!(!world.at("file").exists());
        world.assert_clean("incomplete");
    }
}

#[test]
fn an_edit_right_after_publishing_is_not_taken_for_what_was_published() {
    let world = World::new(Variant::Same);
    world.put("file", "abc", None).unwrap();
    let known = world.stat("file");
    world.write("file", "edited");
    let reported = look::sealed(world.stat("file"), &known);
    assert!(!world.stat("file").same_content(&reported));
    assert!(reported.same_content(&known));
}

#[test]
fn a_batch_of_files_is_published_with_an_outcome_each() {
    for (variant, world) in worlds() {
        fs::create_dir(world.at("d")).unwrap();
        world.write("d/7", "taken");
        let jobs: Vec<Job> = (0..100).map(|number| world.stage(&format!("d/{number}"), "content", None).unwrap().into()).collect();
        let outcomes = world.disk.apply(jobs);
        for (number, outcome) in outcomes.iter().enumerate() {
            match number {
                7 => assert_eq!(outcome, &Err(ApplyError::Changed), "{variant:?}"),
                _ => assert_eq!(outcome, &Ok(Applied::Present(world.stat(&format!("d/{number}")))), "{variant:?}"),
            }
        }
        assert_eq!(world.read("d/7"), "taken");
        world.assert_clean("batch");
    }
}

#[test]
fn odd_names_are_names() {
    for (variant, world) in worlds() {
        let long = "n".repeat(255);
        for name in ["a\nb", "quote\"'`$(x)", "-rf", " ", "\u{1f600} é e\u{301}", "back\\slash", "*?[x]", "...", &long] {
            let Applied::Present(stat) = world.put(name, "x", None).unwrap() else { panic!("absent") };
            assert_eq!(world.stat(name), stat, "{variant:?} {name:?}");
            let Applied::Present(stat) = world.put(name, "y", Some(stat)).unwrap() else { panic!("absent") };
            assert_eq!(
                world.apply(DiskAction::Trash { path: path(name), expect: stat }),
                Ok(Applied::Absent),
                "{variant:?} {name:?}"
            );
        }
        world.assert_clean("odd names");
    }
}

#[test]
fn a_scan_tells_kinds_and_skips_what_cannot_be_synced() {
    let world = World::new(Variant::Same);
    world.write("file", "12345");
    world.write("run", "");
    fs::set_permissions(world.at("run"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(world.at("folder")).unwrap();
    symlink("target", world.at("link")).unwrap();
    symlink(std::ffi::OsStr::new("ok"), world.at("link2")).unwrap();
    rustix::fs::mkfifoat(CWD, world.at("pipe"), rustix::fs::Mode::RUSR).unwrap();
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(b"bad\xff");
    fs::write(world.at("").join::<&std::ffi::OsStr>(odd), "x").unwrap();
    symlink::<&std::ffi::OsStr, _>(odd, world.at("link-bad")).unwrap();

    let listing = world.disk.scan(&ItemPath::top(), None).result.unwrap();
    let mut found: Vec<_> = listing
        .entries
        .iter()
        .map(|entry| {
            let stat = &entry.stat;
            (entry.name.as_str(), stat.kind, stat.size, stat.executable, stat.target.as_deref())
        })
        .collect();
    found.sort_unstable();
    let expected = [
        ("file", Kind::File, 5, false, None),
        ("folder", Kind::Folder, 0, false, None),
        ("link", Kind::Link, 0, false, Some("target")),
        ("link2", Kind::Link, 0, false, Some("ok")),
        ("run", Kind::File, 0, true, None),
    ];
    assert_eq!(found, expected);
    let mut skipped: Vec<_> = listing.skipped.iter().map(|skipped| (skipped.name.as_str(), skipped.reason.as_str())).collect();
    skipped.sort_unstable();
    let expected = [
        ("bad\u{fffd}", "the name is not UTF-8"),
        ("link-bad", "the link's target is not UTF-8"),
        ("pipe", "a pipe cannot be synced"),
    ];
    assert_eq!(skipped, expected);

    let names = ["file", "none", "pipe"].map(|name| name.parse().unwrap());
    let some = world.disk.scan(&ItemPath::top(), Some(&names)).result.unwrap();
    assert_eq!((some.entries.len(), some.skipped.len()), (1, 1));
    assert_eq!(world.disk.scan(&path("file"), None).result, Err(ScanError::Gone));
    assert_eq!(world.disk.scan(&path("none"), None).result, Err(ScanError::Gone));
}

#[test]
fn a_sparse_file_is_read_and_staged_without_its_holes() {
    let world = World::new(Variant::Same);
    let size = 1 << 30;
    let target = WriteTarget { path: path("sparse"), size, executable: false, modified: OLD, replaces: None };
    let staged = world.disk.stage(target).unwrap();
    staged.file().set_len(size).unwrap();
    std::os::unix::fs::FileExt::write_at(&**staged.file(), b"end", size - 3).unwrap();
    world.apply(staged).unwrap();
    let metadata = fs::metadata(world.at("sparse")).unwrap();
    assert_eq!(metadata.len(), size);
    assert!(metadata.blocks() * 512 < 1024 * 1024);
    let expect = world.stat("sparse");
    let file = world.disk.open_expected(&path("sparse"), &expect).unwrap();
    assert_eq!(world.disk.finish_read(&path("sparse"), &file, &expect), Ok(expect));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_noticed() {
    let world = World::new(Variant::Same);
    world.write("file", "before");
    let expect = world.stat("file");
    let file = world.disk.open_expected(&path("file"), &expect).unwrap();
    world.write("file", "after!");
    assert_eq!(world.disk.finish_read(&path("file"), &file, &expect), Err(ReadError::Changed));
    assert_eq!(world.disk.open_expected(&path("file"), &expect).unwrap_err(), ReadError::Changed);
    let expect = world.stat("file");
    let file = world.disk.open_expected(&path("file"), &expect).unwrap();
    world.write("other", "after!");
    fs::rename(world.at("other"), world.at("file")).unwrap();
    assert_eq!(world.disk.finish_read(&path("file"), &file, &expect), Err(ReadError::Changed));
    rustix::fs::mkfifoat(CWD, world.at("pipe"), rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(world.disk.open_file(&path("pipe")).unwrap_err(), ReadError::Changed);
}

#[test]
fn what_a_killed_run_left_is_cleared_away_and_nothing_is_lost() {
    for (variant, world) in worlds() {
        let staged = world.stage("d", "staged", None).unwrap();
        std::mem::forget(staged);
        world.write("d/.~stacksync-old-0-1.tmp", "the only copy");
        world.write("d/.~stacksync-new-0-2.tmp", "half");
        let again = OwnFolders::open(&world.home).unwrap();
        let disk = Disk::new(&again, world.at(""), RootIdentity::of(&world.at("")).unwrap(), ItemPath::top());
        assert_eq!(tree(&world.home.join("staging")), [], "{variant:?}");
        let listing = disk.scan(&path("d"), None).result.unwrap();
        assert!(listing.entries.iter().all(|entry| entry.ignored));
        disk.scan(&ItemPath::top(), None).result.unwrap();
        let expected = if variant == Variant::OtherFileSystem { 3 } else { 2 };
        assert_eq!(disk.tidy(), expected, "{variant:?}");
        assert_eq!(tree(&world.at("d")), [], "{variant:?}");
        assert_eq!(world.trash(), trashed(&[("d/.~stacksync-old-0-1.tmp", "the only copy")]), "{variant:?}");
        assert_eq!(disk.tidy(), 0);
        drop(world.own.clone());
    }
}

#[test]
fn names_of_temporaries_in_use_are_not_leftovers() {
    for (variant, world) in worlds() {
        let staged = world.stage("file", "x", None).unwrap();
        world.disk.scan(&ItemPath::top(), None).result.unwrap();
        assert_eq!(world.disk.tidy(), 0, "{variant:?}");
        assert!(world.apply(staged).is_ok(), "{variant:?}");
    }
}

#[test]
fn the_trash_is_emptied_by_age_and_of_too_many_replaced_versions() {
    let world = World::new(Variant::Same);
    let trash = world.home.join("trash");
    let day = std::time::Duration::from_secs(24 * 3600);
    for (name, bytes) in [
        ("2026-01-01T10.00.00Z", 10),
        ("2026-01-30T10.00.00Z replaced", 600),
        ("2026-01-30T11.00.00Z-2 replaced", 600),
        ("2026-01-30T12.00.00Z", 5000),
        ("not ours", 1),
        ("2026-01-01T10.00.00Z-x", 1),
    ] {
        fs::create_dir(trash.join(name)).unwrap();
        fs::write(trash.join(name).join("file"), vec![0; bytes]).unwrap();
    }
    let now = time::macros::datetime!(2026-02-05 10:00 UTC).into();
    let limits = TrashLimits { age: 30 * day, replaced_bytes: 1000 };
    assert_eq!(world.own.trash().sweep(limits, now).unwrap(), Swept { removed: 2, failed: 0 });
    let mut left: Vec<_> = fs::read_dir(&trash).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["2026-01-01T10.00.00Z-x", "2026-01-30T11.00.00Z-2 replaced", "2026-01-30T12.00.00Z", "not ours"]);
    // Something removed the folder that is in use: the next one is made.
    for name in ["a", "b"] {
        world.write(name, name);
        assert!(world.apply(DiskAction::Trash { path: path(name), expect: world.stat(name) }).is_ok());
        fs::remove_dir_all(&trash).ok();
        fs::create_dir(&trash).ok();
    }
}

/// A small file system of its own at a path, where this machine lets us mount one.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m,nr_inodes=12", "none"]).arg(at).stderr(std::process::Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[test]
fn a_root_whose_disk_is_not_mounted_is_lost_not_empty() {
    let world = World::new(Variant::Same);
    let Some(mounted) = Mounted::new(&world.at("disk")) else { return };
    world.write("disk/file", "x");
    let root = world.at("disk");
    let disk = Disk::new(&world.own, root.clone(), RootIdentity::of(&root).unwrap(), ItemPath::top());
    assert_eq!(disk.scan(&ItemPath::top(), None).result.unwrap().entries.len(), 1);
    drop(mounted);
    assert!(matches!(disk.scan(&ItemPath::top(), None).result, Err(ScanError::RootLost(_))));
}

#[test]
fn a_full_disk_is_told_and_changes_nothing() {
    let world = World::new(Variant::Same);
    let Some(_mounted) = Mounted::new(&world.at("disk")) else { return };
    world.write("disk/file", "old");
    let old = world.stat("disk/file");
    let staged = world.stage("disk/file", "new", Some(old.clone())).unwrap();
    let room = vec![7; 64 * 1024];
    let mut filler = fs::File::create(world.at("disk/filler")).unwrap();
    while filler.write_all(&room).is_ok() {}
    let mut full = world.stage("disk/new", "", None).unwrap();
    full.target.size = 1 << 20;
    let mut file = &**full.file();
    assert_eq!(file.write_all(&vec![7; 1 << 20]).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    drop(full);
    let number = (0..20).find(|number| fs::File::create(world.at(&format!("disk/{number}"))).is_err());
    assert!(number.is_some(), "no name is left");
    let make = DiskAction::MakeFolder { path: path("disk/folder") };
    assert_eq!(world.apply(make), Err(ApplyError::NoSpace));
    assert_eq!(world.stage("disk/other", "x", None).unwrap_err(), ApplyError::NoSpace);
    assert_eq!(world.read("disk/file"), "old");
    // What is staged already still gets its place, and the old version its place in the trash.
    assert!(world.apply(staged).is_ok());
    assert_eq!(world.read("disk/file"), "new");
    assert_eq!(world.trash(), trashed(&[("disk/file", "old")]));
}

#[test]
fn a_disk_mounted_inside_the_folder_is_synced_but_nothing_moves_across() {
    let world = World::new(Variant::Same);
    let Some(_mounted) = Mounted::new(&world.at("disk")) else { return };
    world.write("file", "x");
    world.put("disk/new", "y", None).unwrap();
    assert_eq!(world.read("disk/new"), "y");
    let across = DiskAction::Move { from: path("file"), expect: world.stat("file"), to: path("disk/file") };
    assert!(matches!(world.apply(across), Err(ApplyError::Failed(text)) if text.contains("different file systems")));
    let expect = world.stat("disk/new");
    assert_eq!(world.apply(DiskAction::Trash { path: path("disk/new"), expect }), Ok(Applied::Absent));
    assert_eq!(world.trash(), trashed(&[("disk/new", "y")]));
    world.assert_clean("mounted inside");
}

#[test]
fn what_cannot_be_copied_to_the_trash_stays_where_it_is() {
    for renames in [Renames::Flagged, Renames::Plain] {
        let world = World::new(Variant::Same);
        let Some(_mounted) = Mounted::new(&world.at("home")) else { return };
        let own = OwnFolders::open(&world.at("home")).unwrap();
        fs::create_dir(world.at("root")).unwrap();
        let root = world.at("root");
        let disk = Disk::with_renames(&own, root.clone(), RootIdentity::of(&root).unwrap(), ItemPath::top(), renames);
        // More than the trash's disk has room for.
        let big = "x".repeat(2 << 20);
        world.write("root/big", &big);
        let expect = disk.scan(&ItemPath::top(), None).result.unwrap().entries.remove(0).stat;
        let trash = DiskAction::Trash { path: path("big"), expect: expect.clone() };
        assert_eq!(disk.apply(vec![trash.into()]), [Err(ApplyError::NoSpace)], "{renames:?}");
        let target = WriteTarget { path: path("big"), size: 0, executable: false, modified: OLD, replaces: Some(expect) };
        let staged = disk.stage(target).unwrap();
        assert_eq!(disk.apply(vec![staged.into()]), [Err(ApplyError::NoSpace)], "{renames:?}");
        assert_eq!(tree(&world.at("root")), [("big".to_owned(), Some(big))], "{renames:?}");
    }
}

/// Each file that went to the trash from another folder than the one before kept that folder of the trash open.
#[test]
fn a_batch_over_very_many_folders_holds_few_of_them_open() {
    for (variant, world) in worlds() {
        let mut batch = apply::Batch::begin(&world.disk).unwrap();
        let mut most = 0;
        for round in 0..2 {
            for number in 0..300 {
                let file = path(&format!("{number}/file"));
                world.write(&file.to_string(), "x");
                let action = DiskAction::Trash { expect: world.stat(&file.to_string()), path: file };
                let (outcome, open) = batch.act_and_count(action);
                assert_eq!(outcome, Ok(Applied::Absent), "{variant:?} {round} {number}");
                most = most.max(open);
            }
        }
        assert!(most <= 2 * apply::FOLDERS_MAX, "{variant:?}: {most}");
        assert_eq!(world.trash().len(), 600, "{variant:?}");
    }
}

//! The watcher on a real disk: what changes is reported, also below folders that appear or move with all that is in them.

use super::*;
use notify::event::Flag;
use stacksync_core::values::Kind;
use std::collections::BTreeSet;
use std::fs;

/// What has not been reported by then is missing.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    temp: tempfile::TempDir,
    watcher: Watcher,
    hints: mpsc::Receiver<Hint>,
    runtime: tokio::runtime::Runtime,
    touched: BTreeSet<String>,
}

impl World {
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        Self::at_most(1000, Arc::new(|_| false), prepare)
    }

    fn at_most(folders: usize, skip: Skip, prepare: impl FnOnce(&Path)) -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("root")).unwrap();
        prepare(&temp.path().join("root"));
        let (watcher, hints) = watch_at_most(&temp.path().join("root"), skip, folders);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { temp, watcher, hints, runtime, touched: BTreeSet::new() }
    }

    fn at(&self, text: &str) -> PathBuf {
        self.temp.path().join("root").join(text)
    }

    fn hint(&mut self) -> Hint {
        let hints = &mut self.hints;
        let hint = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, hints.recv()).await });
        hint.expect("no hint came").unwrap()
    }

    /// Takes hints until all these paths were touched, since the last call.
    fn wait_for(&mut self, paths: &[&str]) {
        while !paths.iter().all(|path| self.touched.contains(*path)) {
            match self.hint() {
                Hint::Touched(paths) => self.touched.extend(paths.iter().map(ToString::to_string)),
                other => panic!("{other:?} while waiting for {paths:?}"),
            }
        }
        self.touched.clear();
    }

    fn wait_for_hint(&mut self, expected: &Hint) {
        while self.hint() != *expected {}
    }

    /// Everything that happened up to now was reported.
    fn drain(&mut self) {
        fs::write(self.at("drained"), fs::read(self.at("drained")).unwrap_or_default().len().to_string() + "x").unwrap();
        self.wait_for(&["drained"]);
    }
}

#[test]
fn every_kind_of_change_is_reported() {
    let mut world = World::new(|root| {
        fs::create_dir_all(root.join("d/e")).unwrap();
        fs::write(root.join("d/e/file"), "x").unwrap();
    });
    fs::write(world.at("d/e/new"), "x").unwrap();
    world.wait_for(&["d/e/new"]);
    fs::write(world.at("d/e/file"), "y").unwrap();
    world.wait_for(&["d/e/file"]);
    fs::set_permissions(world.at("d/e/file"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    world.wait_for(&["d/e/file"]);
    fs::rename(world.at("d/e/file"), world.at("d/moved")).unwrap();
    world.wait_for(&["d/e/file", "d/moved"]);
    fs::remove_file(world.at("d/moved")).unwrap();
    world.wait_for(&["d/moved"]);
    std::os::unix::fs::symlink("nowhere", world.at("d/link")).unwrap();
    world.wait_for(&["d/link"]);
    fs::remove_dir_all(world.at("d/e")).unwrap();
    world.wait_for(&["d/e"]);
}

#[test]
fn reading_is_not_reported() {
    let mut world = World::new(|root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/file"), "x").unwrap();
    });
    fs::read(world.at("d/file")).unwrap();
    assert_eq!(fs::read_dir(world.at("d")).unwrap().count(), 1);
    fs::write(world.at("mark"), "x").unwrap();
    while !world.touched.contains("mark") {
        let Hint::Touched(paths) = world.hint() else { panic!() };
        world.touched.extend(paths.iter().map(ToString::to_string));
    }
    assert_eq!(world.touched, BTreeSet::from(["mark".to_owned()]));
}

#[test]
fn folders_made_at_once_with_a_file_are_watched_and_reported() {
    let mut world = World::new(|_| {});
    for round in 0..20 {
        let top = format!("r{round}");
        fs::create_dir_all(world.at(&format!("{top}/x/y/z"))).unwrap();
        fs::write(world.at(&format!("{top}/x/y/z/file")), "x").unwrap();
        // The deepest folder itself was touched after its watch was there, so a scan of it finds the file.
        world.wait_for(&[&top, &format!("{top}/x"), &format!("{top}/x/y"), &format!("{top}/x/y/z")]);
        fs::write(world.at(&format!("{top}/x/y/z/later")), "x").unwrap();
        world.wait_for(&[&format!("{top}/x/y/z/later")]);
    }
}

#[test]
fn below_a_moved_folder_changes_are_reported_under_the_present_path() {
    let mut world = World::new(|root| fs::create_dir_all(root.join("a/b/c")).unwrap());
    let (mut from, mut to) = ("a", "moved");
    for round in 0..10 {
        fs::rename(world.at(from), world.at(to)).unwrap();
        world.wait_for(&[from, to, &format!("{to}/b"), &format!("{to}/b/c")]);
        let file = format!("{to}/b/c/file{round}");
        fs::write(world.at(&file), "x").unwrap();
        world.wait_for(&[&file]);
        fs::create_dir(world.at(&format!("{to}/b/c/d{round}"))).unwrap();
        fs::write(world.at(&format!("{to}/b/c/d{round}/file")), "x").unwrap();
        world.wait_for(&[&format!("{to}/b/c/d{round}")]);
        std::mem::swap(&mut from, &mut to);
    }
}

#[test]
fn a_folder_made_anew_under_the_name_of_a_moved_one_is_watched() {
    let mut world = World::new(|root| fs::create_dir_all(root.join("a/b")).unwrap());
    fs::rename(world.at("a"), world.at("c")).unwrap();
    fs::create_dir_all(world.at("a/b")).unwrap();
    world.wait_for(&["a", "c", "a/b", "c/b"]);
    world.drain();
    for file in ["a/b/new", "c/b/old"] {
        fs::write(world.at(file), "x").unwrap();
    }
    world.wait_for(&["a/b/new", "c/b/old"]);
}

#[test]
fn a_folder_that_comes_from_elsewhere_is_watched_and_one_that_leaves_is_not() {
    let mut world = World::new(|root| fs::create_dir_all(root.join("a/b")).unwrap());
    let outside = world.temp.path().join("outside");
    fs::rename(world.at("a"), &outside).unwrap();
    world.wait_for(&["a"]);
    world.drain();
    fs::write(outside.join("b/file"), "x").unwrap();
    fs::rename(&outside, world.at("back")).unwrap();
    world.wait_for(&["back", "back/b"]);
    fs::write(world.at("back/b/file"), "y").unwrap();
    world.wait_for(&["back/b/file"]);
}

#[test]
fn links_to_folders_are_not_followed() {
    let mut world = World::new(|root| {
        fs::create_dir(root.parent().unwrap().join("outside")).unwrap();
        std::os::unix::fs::symlink("../outside", root.join("before")).unwrap();
    });
    std::os::unix::fs::symlink("../outside", world.at("after")).unwrap();
    world.wait_for(&["after"]);
    fs::write(world.temp.path().join("outside/file"), "x").unwrap();
    fs::write(world.at("mark"), "x").unwrap();
    while !world.touched.contains("mark") {
        let Hint::Touched(paths) = world.hint() else { panic!() };
        world.touched.extend(paths.iter().map(ToString::to_string));
    }
    assert!(!world.touched.iter().any(|path| path.ends_with("file")), "{:?}", world.touched);
}

#[test]
fn names_that_are_not_utf8_touch_their_folder() {
    let mut world = World::new(|root| fs::create_dir(root.join("d")).unwrap());
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"bad\xff");
    fs::write(world.at("d").join(odd), "x").unwrap();
    world.wait_for(&["d"]);
}

#[test]
fn our_own_temporaries_are_not_reported_but_what_becomes_of_them_is() {
    let mut world = World::new(|_| {});
    fs::write(world.at(".~stacksync-new-1.tmp"), "x").unwrap();
    fs::rename(world.at(".~stacksync-new-1.tmp"), world.at("file")).unwrap();
    while !world.touched.contains("file") {
        let Hint::Touched(paths) = world.hint() else { panic!() };
        world.touched.extend(paths.iter().map(ToString::to_string));
    }
    assert_eq!(world.touched, BTreeSet::from(["file".to_owned()]));
}

#[test]
fn ignored_folders_have_no_watch_until_the_rules_change() {
    let temp = tempfile::tempdir().unwrap();
    let own = crate::disk::OwnFolders::open(temp.path()).unwrap();
    let disk: Arc<std::sync::OnceLock<crate::disk::Disk>> = Arc::default();
    let asked = disk.clone();
    let skip: Skip = Arc::new(move |path| asked.get().is_some_and(|disk| disk.ignores_folder(path)));
    let mut world = World::at_most(1000, skip, |root| {
        fs::create_dir_all(root.join("build/deep")).unwrap();
        fs::write(root.join(".syncignore"), "build/\n").unwrap();
        let identity = crate::disk::RootIdentity::of(root).unwrap();
        disk.set(crate::disk::Disk::new(&own, root.to_owned(), identity, ItemPath::top())).unwrap();
    });
    assert!(disk.get().unwrap().check(&ItemPath::parse("build").unwrap(), Kind::Folder).unwrap().is_some());
    fs::write(world.at("build/deep/file"), "x").unwrap();
    fs::write(world.at("mark"), "x").unwrap();
    world.wait_for(&["mark"]);
    fs::write(world.at(".syncignore"), "nothing\n").unwrap();
    world.wait_for_hint(&Hint::All);
    fs::write(world.at("build/deep/file"), "y").unwrap();
    world.wait_for_hint(&Hint::Touched(vec![ItemPath::parse("build/deep/file").unwrap()]));
}

#[test]
fn too_many_folders_to_watch_are_said_and_not_a_failure() {
    let mut world = World::at_most(3, Arc::new(|_| false), |root| {
        for number in 0..5 {
            fs::create_dir(root.join(format!("d{number}"))).unwrap();
        }
    });
    assert!(matches!(world.hint(), Hint::Limited(text) if text.contains("not more than 3 folders")));
    fs::write(world.at("file"), "x").unwrap();
    world.wait_for(&["file"]);
}

#[test]
fn a_driver_may_ask_to_follow_what_it_found() {
    let mut world = World::new(|root| fs::create_dir_all(root.join("d/e")).unwrap());
    for path in ["d/e", "none", "d"] {
        world.watcher.follow(ItemPath::parse(path).unwrap());
    }
    fs::write(world.at("d/e/file"), "x").unwrap();
    world.wait_for(&["d/e/file"]);
}

fn watching(root: &Path) -> (Watching, Receiver<Message>) {
    let (messages, inbox) = channel();
    let folders = Folders::new(root.to_owned(), Arc::new(|_| false), 1000, messages);
    let pending = Pending::default();
    let mut watching = Watching { root: root.to_owned(), folders, pending, limited: false, walk_again: false, tick: None };
    watching.begin(Instant::now());
    (watching, inbox)
}

fn sent(watching: &mut Watching) -> Vec<Hint> {
    let (sender, mut receiver) = mpsc::channel(10);
    watching.pending.send(&sender, Instant::now());
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

#[test]
fn an_overflow_touches_everything_and_watches_everything_anew() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("d")).unwrap();
    let (mut watching, inbox) = watching(temp.path());
    fs::create_dir_all(temp.path().join("d/missed")).unwrap();
    let now = Instant::now();
    watching.event(0, Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)), now);
    assert_eq!(sent(&mut watching), [Hint::All]);
    assert!(watching.folders.contains(&ItemPath::parse("d/missed").unwrap()));
    // What the earlier watch still had to say means nothing.
    let stale = Event::new(EventKind::Remove(notify::event::RemoveKind::Folder)).add_path(temp.path().join("d"));
    watching.event(0, Ok(stale), now);
    assert!(watching.folders.contains(&ItemPath::parse("d").unwrap()));
    fs::write(temp.path().join("d/missed/file"), "x").unwrap();
    let seen = std::iter::from_fn(|| inbox.recv_timeout(PATIENCE).ok()).any(
        |message| matches!(message, Message::Event(1, Ok(event)) if event.paths.iter().any(|path| path.ends_with("d/missed/file"))),
    );
    assert!(seen);
    watching.event(1, Err(notify::Error::generic("broken")), now);
    assert_eq!(sent(&mut watching), [Hint::All]);
}

#[test]
fn a_root_that_was_lost_is_watched_again_when_it_is_back() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    fs::create_dir_all(root.join("d")).unwrap();
    let (mut watching, _inbox) = watching(&root);
    fs::rename(&root, temp.path().join("away")).unwrap();
    let now = Instant::now();
    let moved = Event::new(EventKind::Modify(ModifyKind::Name(RenameMode::From))).add_path(root.clone());
    watching.event(0, Ok(moved), now);
    assert_eq!(sent(&mut watching), [Hint::Touched(vec![ItemPath::top()])]);
    assert_eq!(watching.tick, Some(now + ROOT_EVERY));
    watching.tick(now + ROOT_EVERY);
    assert_eq!(watching.tick, Some(now + ROOT_EVERY * 2));
    fs::rename(temp.path().join("away"), &root).unwrap();
    watching.tick(now + ROOT_EVERY * 2);
    assert_eq!(watching.tick, None);
    assert_eq!(sent(&mut watching), [Hint::All]);
    assert!(watching.folders.contains(&ItemPath::parse("d").unwrap()));
}

#[test]
fn the_path_of_an_event_ends_where_no_item_can_be() {
    let root = Path::new("/r");
    for (path, expected) in [("/r", Some("")), ("/r/a/b", Some("a/b")), ("/other", None), ("/r2/a", None)] {
        assert_eq!(item_path(root, Path::new(path)).map(|path| path.to_string()).as_deref(), expected, "{path}");
    }
}

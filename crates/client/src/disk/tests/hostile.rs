//! A disk that turns against us: links, lost roots, refused access, no room, a killed run.

use super::*;

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
        let make = DiskAction::MakeFolder { path: path("d/new"), into: None };
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
        jobs.push(DiskAction::MakeFolder { path: path("d/new"), into: None }.into());
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
    let make = DiskAction::MakeFolder { path: path("disk/folder"), into: None };
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
    let across = DiskAction::Move { from: path("file"), expect: world.stat("file"), to: path("disk/file"), into: None };
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
        let target =
            WriteTarget { path: path("big"), into: None, size: 0, executable: false, modified: OLD, replaces: Some(expect) };
        let staged = disk.stage(target).unwrap();
        assert_eq!(disk.apply(vec![staged.into()]), [Err(ApplyError::NoSpace)], "{renames:?}");
        assert_eq!(tree(&world.at("root")), [("big".to_owned(), Some(big))], "{renames:?}");
    }
}

//! What a loss of power leaves.

use super::*;
use std::collections::BTreeSet;

/// Whatever the client said is done survives, on every file system.
#[test]
fn what_was_acknowledged_survives() {
    for (flavour, _) in disks() {
        for seed in 0..40 {
            let mut disk = Disk::new(flavour.parse().unwrap(), seed);
            disk.make_folder(&path("d")).unwrap();
            disk.make_folder(&path("e")).unwrap();
            disk.sync();
            put(&mut disk, "d/new", "new", None).unwrap();
            let Applied::Present(first) = put(&mut disk, "d/file", "one", None).unwrap() else { panic!("absent") };
            put(&mut disk, "d/file", "two", Some(first)).unwrap();
            let expect = stat(&mut disk, "d/new");
            let to = path("e/moved");
            apply(&mut disk, DiskAction::Move { from: path("d/new"), expect, to, into: None }, None).unwrap();
            disk.crash();
            assert_eq!(text(&disk, "d/file").as_deref(), Some("two"), "{flavour} {seed}");
            assert_eq!(text(&disk, "e/moved").as_deref(), Some("new"), "{flavour} {seed}");
            assert_eq!(text(&disk, "d/new"), None, "{flavour} {seed}");
            assert_eq!(trashed(&disk), ["one"], "{flavour} {seed}");
        }
    }
}

/// At whatever step the power fails, a path holds the old or the new file, whole, and the old one is not lost.
#[test]
fn a_replaced_file_is_never_torn() {
    for flavour in ["ordinary", "loose", "plain", "away", "loose+plain", "loose+away", "loose+plain+away"] {
        for seed in 0..400 {
            let mut disk = Disk::new(flavour.parse().unwrap(), seed);
            disk.make_file(&path("file"), b"old".to_vec()).unwrap();
            disk.sync();
            let seen = stat(&mut disk, "file");
            let (action, contents) = write("file", "new", Some(seen));
            let mut job = disk.begin(action, contents);
            let steps = Random::stream(seed, "steps", 0).below(40);
            let done = (0..steps).any(|_| disk.step(&mut job) != Progress::Going);
            disk.crash();
            disk.scan(&ItemPath::top(), None).unwrap();
            disk.tidy();
            let now = text(&disk, "file");
            let said = format!("{flavour} {seed} {steps} {now:?} {:?}", trashed(&disk));
            assert!(!done || now.as_deref() == Some("new"), "{said}");
            assert!(now.as_deref() == Some("old") || trashed(&disk).contains(&"old".to_owned()), "{said}");
            assert!(matches!(now.as_deref(), None | Some("old" | "new")), "{said}");
            if !flavour.contains("plain") {
                assert!(now.is_some(), "{said}");
            }
        }
    }
}

/// The checker of the checker: without an `fsync` every loss that can happen does.
#[test]
fn what_was_not_synced_is_torn_or_gone() {
    let mut seen = BTreeSet::new();
    for seed in 0..300 {
        let flavour = if seed % 2 == 0 { "ordinary" } else { "loose" };
        let mut disk = Disk::new(flavour.parse().unwrap(), seed);
        disk.make_folder(&path("d")).unwrap();
        disk.make_file(&path("file"), b"durable".to_vec()).unwrap();
        disk.sync();
        disk.rewrite(&path("file"), b"rewritten").unwrap();
        disk.make_file(&path("new"), b"content".to_vec()).unwrap();
        disk.rename(&path("new"), &path("d/moved")).unwrap();
        disk.crash();
        let file = text(&disk, "file").unwrap();
        seen.insert(match file.as_str() {
            "durable" => "file: old",
            "rewritten" => "file: new",
            "" => "file: empty",
            other if "rewritten".starts_with(other) => "file: torn",
            other => panic!("{other}"),
        });
        seen.insert(match (text(&disk, "new").is_some(), text(&disk, "d/moved").is_some()) {
            (false, false) => "new: gone",
            (true, false) => "new: not moved",
            (false, true) => "new: moved",
            (true, true) => panic!("at two places"),
        });
    }
    assert_eq!(seen.len(), 7, "{seen:?}");
}

#[test]
fn folders_stay_a_tree_whatever_is_lost() {
    for seed in 0..300 {
        let mut disk = Disk::new("loose".parse().unwrap(), seed);
        for folder in ["a", "a/b", "a/b/c", "x", "x/y"] {
            disk.make_folder(&path(folder)).unwrap();
        }
        disk.sync();
        let mut random = Random::stream(seed, "moves", 0);
        for number in 0..12 {
            let folders: Vec<ItemPath> = disk.paths().into_iter().map(|(path, _)| path).collect();
            let (from, into) = (random.pick(&folders).unwrap(), random.pick(&folders).unwrap());
            disk.rename_new(from, &into.join(&format!("n{number}").parse().unwrap())).ok();
            if random.one_in(4) {
                disk.fsync(into).ok();
            }
        }
        disk.crash();
        let folders = disk.paths();
        assert_eq!(folders.len(), 5, "{seed}: {folders:?}");
        disk.sync();
        disk.crash();
        assert_eq!(disk.paths(), folders, "{seed}: the medium has what is visible");
    }
}

#[test]
fn the_system_writes_on_its_own_in_time() {
    let mut disk = Disk::new(Flavour::default(), 1);
    disk.make_folder(&path("d")).unwrap();
    disk.set_clock(disk.clock_ns() + 60_000_000_000);
    disk.crash();
    assert_eq!(disk.paths().len(), 1);
}

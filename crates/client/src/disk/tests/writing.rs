//! Files that come from elsewhere: whole, durable, and never onto what the plan did not see.

use super::*;

#[test]
fn a_new_file_is_whole_with_its_time_and_mode() {
    for (variant, world) in worlds() {
        let Applied::Present(stat) = world.put("file", "content", None).unwrap() else { panic!("absent") };
        assert_eq!(world.read("file"), "content", "{variant:?}");
        assert_eq!(stat, world.stat("file"), "{variant:?}");
        assert_eq!((stat.size, stat.modified, stat.executable), (7, OLD, false));
        let target =
            WriteTarget { path: path("run"), into: None, size: 0, executable: true, modified: ModifiedAt(-1), replaces: None };
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

/// Found by the simulated disk: a rename without flags is a second name and the end of the first one, and took with it what a
/// person had put there between the two.
#[test]
fn a_first_name_that_is_another_files_by_now_is_not_ended() {
    for (variant, world) in worlds() {
        world.write("linked", "linked");
        world.write("name", "somebody put this here");
        let root = world.disk.parts.root.open().unwrap();
        let ended =
            world.disk.end_name(std::os::fd::AsFd::as_fd(&root), "name", |seen| seen.stat.file == world.stat("linked").file);
        assert_eq!(ended, Err(rustix::io::Errno::NOENT), "{variant:?}");
        assert_eq!(world.read("name"), "somebody put this here", "{variant:?}");
        let ours = world.stat("name").file;
        assert_eq!(world.disk.end_name(std::os::fd::AsFd::as_fd(&root), "name", |seen| seen.stat.file == ours), Ok(()));
        assert!(!world.at("name").exists(), "{variant:?}");
        world.assert_clean("end of a name");
    }
}

#[test]
fn an_incomplete_or_dropped_file_is_never_published() {
    for (variant, world) in worlds() {
        let staged = world.stage("file", "abc", None).unwrap();
        staged.file().set_len(2).unwrap();
        assert!(matches!(world.apply(staged), Err(ApplyError::Failed(text)) if text.contains("file")), "{variant:?}");
        drop(world.stage("file", "abc", None).unwrap());
        let write = world.apply(DiskAction::MakeFolder { path: path("other"), into: None });
        assert!(write.is_ok());
        let target =
            WriteTarget { path: path("huge"), into: None, size: u64::MAX / 2, executable: false, modified: OLD, replaces: None };
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
fn a_sparse_file_is_read_and_staged_without_its_holes() {
    let world = World::new(Variant::Same);
    let size = 1 << 30;
    let target = WriteTarget { path: path("sparse"), into: None, size, executable: false, modified: OLD, replaces: None };
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

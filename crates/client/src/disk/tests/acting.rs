//! The other actions, as expected and after a change.

use super::*;

#[test]
fn folders_and_links_are_made_only_where_nothing_is() {
    for (variant, world) in worlds() {
        let make = |text: &str| world.apply(DiskAction::MakeFolder { path: path(text), into: None });
        let link = |text: &str, target: &str, replaces: Option<Stat>| {
            world.apply(DiskAction::MakeLink { path: path(text), into: None, target: target.into(), replaces })
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
            world.apply(DiskAction::Move { from: path(from), expect: expect.clone(), to: path(to), into: None })
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
fn nothing_new_lands_in_another_folder_that_took_the_path() {
    for (variant, world) in worlds() {
        world.write("d/file", "x");
        let into = Some(world.stat("d").file);
        let file = world.stat("d/file");
        let target = |name: &str| WriteTarget { path: path(name), into, size: 0, executable: false, modified: OLD, replaces: None };
        let staged = world.disk.stage(target("d/new")).unwrap();
        fs::rename(world.at("d"), world.at("away")).unwrap();
        fs::create_dir(world.at("d")).unwrap();
        let actions: Vec<Job> = vec![
            staged.into(),
            DiskAction::MakeFolder { path: path("d/folder"), into }.into(),
            DiskAction::MakeLink { path: path("d/link"), into, target: "x".into(), replaces: None }.into(),
            DiskAction::Move { from: path("away/file"), expect: file, to: path("d/file"), into }.into(),
        ];
        for job in actions {
            assert_eq!(world.apply(job), Err(ApplyError::Changed), "{variant:?}");
        }
        assert_eq!(tree(&world.at("d")), [], "{variant:?}");
        world.assert_clean("another folder");
    }
}

#[test]
fn a_batch_sees_its_own_earlier_actions() {
    for (variant, world) in worlds() {
        world.write("a/file", "x");
        let (folder, file) = (world.stat("a"), world.stat("a/file"));
        let outcomes = world.disk.apply(vec![
            DiskAction::MakeFolder { path: path("d"), into: None }.into(),
            DiskAction::MakeLink { path: path("d/l"), into: None, target: "t".into(), replaces: None }.into(),
            DiskAction::Move { from: path("a"), expect: folder, to: path("d/a"), into: None }.into(),
            DiskAction::MakeFolder { path: path("a"), into: None }.into(),
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
        let remove = || world.apply(DiskAction::RemoveFolder { path: path("d"), expect: world.stat("d"), rules: None });
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
        let other = DiskAction::RemoveFolder { path: path("d"), expect: world.stat("d/build"), rules: None };
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

#[test]
fn rules_go_with_their_folder_only_as_the_plan_saw_them() {
    for (variant, world) in worlds() {
        let remove =
            |rules: Option<Stat>| world.apply(DiskAction::RemoveFolder { path: path("d"), expect: world.stat("d"), rules });
        world.write("d/.syncignore", "*.o\n");
        world.write("d/a.o", "object");
        assert_eq!(remove(None), Err(ApplyError::Changed), "{variant:?}: rules that the plan did not see");
        let seen = world.stat("d/.syncignore");
        world.write("d/.syncignore", "*.o\n*.a\n");
        assert_eq!(remove(Some(seen)), Err(ApplyError::Changed), "{variant:?}: edited since");
        assert_eq!(remove(Some(world.stat("d/.syncignore"))), Ok(Applied::Absent), "{variant:?}");
        assert_eq!(world.trash(), trashed(&[("d/.syncignore", "*.o\n*.a\n"), ("d/a.o", "object")]), "{variant:?}");
        world.assert_clean("rules");
    }
}

fn remove_gone(world: &World) -> Result<Applied, ApplyError> {
    fs::create_dir(world.at("d")).unwrap();
    let expect = world.stat("d");
    fs::remove_dir(world.at("d")).unwrap();
    world.apply(DiskAction::RemoveFolder { path: path("d"), expect, rules: None })
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

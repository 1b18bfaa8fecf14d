//! The client's actions.

use super::*;

#[test]
fn files_are_put_replaced_and_taken_away() {
    for (flavour, mut disk) in disks() {
        let Applied::Present(first) = put(&mut disk, "file", "one", None).unwrap() else { panic!("absent") };
        assert_eq!((text(&disk, "file"), &first), (Some("one".into()), &stat(&mut disk, "file")), "{flavour}");
        assert_eq!(put(&mut disk, "file", "x", None), Err(ApplyError::Changed), "{flavour}");
        let Applied::Present(second) = put(&mut disk, "file", "two", Some(first.clone())).unwrap() else { panic!("absent") };
        assert_eq!((text(&disk, "file"), trashed(&disk)), (Some("two".into()), vec!["one".to_owned()]), "{flavour}");
        assert_eq!(put(&mut disk, "file", "x", Some(first)), Err(ApplyError::Changed), "{flavour}");
        let trash = DiskAction::Trash { path: path("file"), expect: second };
        assert_eq!(apply(&mut disk, trash, None), Ok(Applied::Absent), "{flavour}");
        assert_eq!((text(&disk, "file"), trashed(&disk)), (None, vec!["one".to_owned(), "two".to_owned()]), "{flavour}");
        let removed: Vec<_> = disk.removed().into_iter().map(|removed| (removed.bytes, removed.trashed)).collect();
        assert_eq!(removed, [(b"one".to_vec(), true), (b"two".to_vec(), true)], "{flavour}");
        assert_eq!(staged(&disk), 0, "{flavour}");
    }
}

/// At whatever step somebody edits, the edit is in its place or untouched aside, and what was there before is never lost.
#[test]
fn an_edit_at_any_step_survives() {
    for flavour in ["ordinary", "plain", "away", "plain+away", "fine"] {
        for how in 0..4 {
            for when in 0..40 {
                let mut disk = Disk::new(flavour.parse().unwrap(), 3);
                disk.make_file(&path("file"), b"old".to_vec()).unwrap();
                disk.set_clock(disk.clock_ns() + 1_000_000_000);
                let seen = stat(&mut disk, "file");
                let (action, contents) = write("file", "theirs", Some(seen));
                let mut edited = false;
                let outcome = apply_while(&mut disk, action, contents, |disk, step| {
                    if step == when {
                        edited = true;
                        edit(disk, how);
                    }
                });
                // What found no way back lies aside until the next start.
                disk.restart_process();
                disk.scan(&ItemPath::top(), None).unwrap();
                disk.tidy();
                let mut texts = trashed(&disk);
                texts.extend(disk.visible().into_values().map(|seen| String::from_utf8(seen.bytes.to_vec()).unwrap()));
                let said = format!("{flavour} {how} {when} {outcome:?} {texts:?}");
                assert!(!edited || texts.iter().any(|text| text == "mine"), "{said}");
                assert!(texts.iter().any(|text| text == "old") || (how == 0 && edited), "{said}");
                // An edit of what was just put there is an edit.
                assert!(outcome.is_ok() == texts.iter().any(|text| text == "theirs") || (how == 0 && outcome.is_ok()), "{said}");
                assert_eq!(staged(&disk), 0, "{said}");
            }
        }
    }
}

fn edit(disk: &mut Disk, how: usize) {
    let file = path("file");
    match how {
        // In the old file, wherever it is just now: open before, written now.
        0 => {
            if disk.rewrite(&file, b"mine").is_err() {
                disk.make_file(&file, b"mine".to_vec()).unwrap();
            }
        }
        1 => {
            disk.make_file(&path("aside"), b"mine".to_vec()).unwrap();
            disk.rename(&file, &path("kept")).ok();
            disk.rename_new(&path("aside"), &file).unwrap();
        }
        2 => {
            disk.rename(&file, &path("elsewhere")).ok();
            disk.make_file(&path("mine"), b"mine".to_vec()).unwrap();
        }
        _ => {
            disk.rename(&file, &path("kept")).ok();
            disk.make_folder(&file).unwrap();
            disk.make_file(&path("file/inside"), b"mine".to_vec()).unwrap();
        }
    }
}

#[test]
fn a_full_or_broken_disk_leaves_everything_as_it_was() {
    for fault in [Fault::DiskFull, Fault::ShortWrite, Fault::FileBroken, Fault::Unreadable, Fault::RootLost] {
        let mut happened = 0;
        for seed in 0..200 {
            let mut disk = Disk::new(Flavour::default(), seed);
            disk.make_file(&path("file"), b"old".to_vec()).unwrap();
            let seen = stat(&mut disk, "file");
            let mut rates = Rates::NONE;
            rates.set(fault, 1_500);
            disk.set_rates(&rates);
            let outcome = put(&mut disk, "file", "theirs", Some(seen));
            happened += disk.take_faults().len();
            let now = if outcome.is_ok() { "theirs" } else { "old" };
            let safe = text(&disk, "file").as_deref() == Some(now);
            // An error of the last wait leaves open what is on the disk.
            let unknown = matches!(&outcome, Err(ApplyError::Failed(text)) if text.contains("safe"));
            assert!(safe || unknown, "{fault} {seed} {outcome:?} {:?}", text(&disk, "file"));
        }
        assert!(happened > 30, "{fault}: {happened}");
    }
}

#[test]
fn folders_go_when_they_hold_nothing_that_is_synced() {
    for (flavour, mut disk) in disks() {
        disk.make_file(&path(".syncignore"), b"*.o\n".to_vec()).unwrap();
        disk.make_folder(&path("d")).unwrap();
        let remove = |disk: &mut Disk| {
            let expect = stat(disk, "d");
            apply(disk, DiskAction::RemoveFolder { path: path("d"), expect, rules: None }, None)
        };
        disk.make_file(&path("d/a.o"), b"object".to_vec()).unwrap();
        disk.make_file(&path("d/b"), b"new".to_vec()).unwrap();
        assert_eq!(remove(&mut disk), Err(ApplyError::Changed), "{flavour}");
        disk.remove(&path("d/b")).unwrap();
        assert_eq!(remove(&mut disk), Ok(Applied::Absent), "{flavour}");
        assert_eq!(trashed(&disk), ["object"], "{flavour}");
        assert!(disk.removed().iter().all(|removed| removed.in_folder && removed.trashed), "{flavour}");
        disk.make_folder(&path("d")).unwrap();
        assert_eq!(remove(&mut disk), Ok(Applied::Absent), "{flavour}");
    }
}

#[test]
fn actions_that_wait_share_a_batch_and_see_each_other() {
    let mut disk = Disk::new(Flavour::default(), 5);
    let mut jobs: Vec<Option<Job>> = Vec::new();
    for number in 0..5 {
        let (action, contents) = write(&format!("{number}"), "content", None);
        jobs.push(Some(disk.begin(action, contents)));
    }
    let into: Option<FileId> = None;
    jobs.push(Some(disk.begin(DiskAction::MakeFolder { path: path("d"), into }, None)));
    for _ in 0..500 {
        for job in &mut jobs {
            if let Some(one) = job
                && let Progress::Done(outcome) = disk.step(one)
            {
                assert!(outcome.is_ok());
                *job = None;
            }
        }
    }
    assert!(jobs.iter().all(Option::is_none));
    assert_eq!(disk.visible().len(), 6);
}

#[test]
fn case_alone_changes_on_every_file_system() {
    for (flavour, mut disk) in disks() {
        disk.make_file(&path("name"), b"x".to_vec()).unwrap();
        let expect = stat(&mut disk, "name");
        let action = DiskAction::Move { from: path("name"), expect, to: path("NAME"), into: None };
        assert!(apply(&mut disk, action, None).is_ok(), "{flavour}");
        assert_eq!(disk.visible().keys().collect::<Vec<_>>(), ["NAME"], "{flavour}");
    }
}

#[test]
fn uploads_tell_an_edit_in_the_middle() {
    for (flavour, mut disk) in disks() {
        for when in 0..8 {
            let file = format!("file-{when}");
            disk.make_file(&path(&file), b"0123456789".to_vec()).unwrap();
            let expect = stat(&mut disk, &file);
            let mut upload = disk.begin_upload(&path(&file), &expect).unwrap();
            let mut steps = 0;
            let read = loop {
                if steps == when {
                    disk.rewrite(&path(&file), b"9876543210").unwrap();
                }
                steps += 1;
                if let Progress::Done(read) = disk.continue_upload(&mut upload) {
                    break read;
                }
            };
            let bytes = upload.bytes.clone();
            let finished = read.and_then(|()| disk.finish_upload(upload));
            match finished {
                // In the first step of the clock the times tell nothing: then all of it was read later.
                Ok(_) => assert_eq!(Ok(bytes), disk.read(&path(&file)), "{flavour} {when}"),
                Err(error) => assert!(when <= steps && error == UploadError::Changed, "{flavour} {when} {error}"),
            }
        }
    }
}

#[test]
fn what_a_killed_client_left_is_cleared_away() {
    for (flavour, mut disk) in disks() {
        for steps in 0..40 {
            let file = format!("file-{steps}");
            disk.make_file(&path(&file), b"old".to_vec()).unwrap();
            let seen = stat(&mut disk, &file);
            let (action, contents) = write(&file, "new", Some(seen));
            let mut job = disk.begin(action, contents);
            let done = (0..steps).any(|_| disk.step(&mut job) != Progress::Going);
            disk.restart_process();
            assert_eq!(disk.step(&mut job), Progress::Going, "{flavour}: dead");
            disk.scan(&ItemPath::top(), None).unwrap();
            disk.tidy();
            assert_eq!(staged(&disk), 0, "{flavour} {steps}");
            let now = text(&disk, &file);
            let replaced = trashed(&disk).iter().filter(|text| *text == "old").count();
            assert!(now.as_deref() == Some("old") || replaced > 0, "{flavour} {steps} {now:?}");
            assert!(!done || now.as_deref() == Some("new"), "{flavour} {steps}");
        }
    }
}

//! The model on small logs, and the mount with a real kernel.

use crate::{Dice, Model, PowerFs, Renames};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

const DISKS: u64 = 200;

/// All that may be at `look` after `work` and a power cut, over many disks.
fn outcomes(work: impl Fn(&Path), look: impl Fn(&Path) -> String) -> BTreeSet<String> {
    let dir = tempfile::tempdir().unwrap();
    let disk = PowerFs::mount(&dir.path().join("disk"), Renames::Flagged);
    let at = dir.path().join("disk");
    fs::write(at.join("old"), "before").unwrap();
    disk.begin();
    let began = disk.snapshot();
    work(&at);
    let log = disk.log();
    let seen = (0..DISKS).map(|seed| {
        disk.restart_at(&began, &log, log.len(), &Model::default(), &mut Dice::new(seed));
        look(&at)
    });
    seen.collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|_| "nothing".to_owned())
}

fn sync(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

fn texts(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn what_nobody_made_durable_may_be_there_empty_torn_or_gone() {
    let seen = outcomes(|at| fs::write(at.join("new"), "text").unwrap(), |at| read(&at.join("new")));
    assert_eq!(seen, texts(&["nothing", "", "\0\0\0\0", "text"]));
}

#[test]
fn a_file_is_durable_under_its_name_when_both_were_synced() {
    let work = |at: &Path| {
        fs::write(at.join("new"), "text").unwrap();
        sync(&at.join("new"));
        sync(at);
    };
    assert_eq!(outcomes(work, |at| read(&at.join("new"))), texts(&["text"]));
}

#[test]
fn a_name_that_was_not_synced_may_be_missing_but_what_it_names_is_whole() {
    let work = |at: &Path| {
        fs::write(at.join("new"), "text").unwrap();
        sync(&at.join("new"));
    };
    assert_eq!(outcomes(work, |at| read(&at.join("new"))), texts(&["nothing", "text"]));
}

#[test]
fn a_rename_over_an_unsynced_file_may_leave_an_empty_one() {
    let work = |at: &Path| {
        fs::write(at.join("new"), "text").unwrap();
        fs::rename(at.join("new"), at.join("old")).unwrap();
    };
    let seen = outcomes(work, |at| read(&at.join("old")));
    assert!(seen.contains("") && seen.contains("before") && seen.contains("text"), "{seen:?}");
}

#[test]
fn an_exchange_between_folders_is_all_or_nothing_and_synced_with_either() {
    let work = |at: &Path| {
        fs::create_dir(at.join("a")).unwrap();
        fs::create_dir(at.join("b")).unwrap();
        for (path, text) in [("a/x", "left"), ("b/x", "right")] {
            fs::write(at.join(path), text).unwrap();
            sync(&at.join(path));
        }
        ["", "a", "b"].iter().for_each(|folder| sync(&at.join(folder)));
        renameat_with(CWD, at.join("a/x"), CWD, at.join("b/x"), RenameFlags::EXCHANGE).unwrap();
    };
    let look = |at: &Path| format!("{} {}", read(&at.join("a/x")), read(&at.join("b/x")));
    assert_eq!(outcomes(work, look), texts(&["left right", "right left"]));
    let synced = |at: &Path| {
        work(at);
        sync(&at.join("b"));
    };
    assert_eq!(outcomes(synced, look), texts(&["right left"]));
}

#[test]
fn a_forgotten_sync_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("disk");
    let disk = PowerFs::mount(&at, Renames::Flagged);
    fs::write(at.join("new"), "text").unwrap();
    sync(&at.join("new"));
    sync(&at);
    let (began, log) = (disk.snapshot(), disk.log());
    assert!(!log.is_empty());
    drop(began);
    disk.restart(&Model { forgotten: vec!["/new".to_owned()] }, &mut Dice::new(3));
    let first = read(&at.join("new"));
    assert!(["", "\0\0\0\0", "text"].contains(&first.as_str()), "{first:?}");
}

#[test]
fn after_the_cut_nothing_is_written_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("disk");
    let disk = PowerFs::mount(&at, Renames::Flagged);
    disk.cut_after(1);
    fs::create_dir(at.join("one")).unwrap();
    assert!(fs::create_dir(at.join("two")).is_err());
    assert!(disk.is_cut());
    assert_eq!(disk.written(), 1);
    disk.restart(&Model::default(), &mut Dice::new(1));
    fs::create_dir(at.join("two")).unwrap();
}

#[test]
fn a_plain_disk_refuses_flags_and_takes_everything_else() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("disk");
    let _disk = PowerFs::mount(&at, Renames::Plain);
    fs::write(at.join("a"), "text").unwrap();
    let refused = renameat_with(CWD, at.join("a"), CWD, at.join("b"), RenameFlags::NOREPLACE);
    assert_eq!(refused, Err(rustix::io::Errno::INVAL));
    fs::hard_link(at.join("a"), at.join("b")).unwrap();
    fs::rename(at.join("b"), at.join("c")).unwrap();
    std::os::unix::fs::symlink("a", at.join("link")).unwrap();
    assert_eq!(read(&at.join("link")), "text");
    for number in 0..300 {
        fs::create_dir_all(at.join(format!("many/{number}"))).unwrap();
    }
    assert_eq!(fs::read_dir(at.join("many")).unwrap().count(), 300);
    fs::remove_dir_all(at.join("many")).unwrap();
    assert_eq!(fs::read_dir(&at).unwrap().count(), 3);
}

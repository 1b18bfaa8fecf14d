//! The ways in which programs write files, while devices are looking.

use crate::{read, write};
use stacksync_e2e::device::wait_until_same;
use stacksync_e2e::random::Random;
use stacksync_e2e::seed;
use stacksync_e2e::wait::{until, until_true};
use stacksync_e2e::world::World;
use std::fs::{hard_link, remove_file, rename};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// As vim does with a backup: the old file aside, a new one, the old one away.
fn save_with_backup(path: &Path, text: &str) {
    let aside = path.with_extension("txt~");
    rename(path, &aside).unwrap();
    write(path, text);
    remove_file(aside).unwrap();
}

/// As LibreOffice, VS Code and many libraries do: a new file beside it, renamed over it.
fn save_over(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    write(&beside, text);
    rename(beside, path).unwrap();
}

/// As Word does: the new file beside it, the old one aside, the new one in its place, the old one away.
fn save_by_two_renames(path: &Path, text: &str) {
    let (beside, aside) = (path.with_extension("new"), path.with_extension("old"));
    write(&beside, text);
    rename(path, &aside).unwrap();
    rename(beside, path).unwrap();
    remove_file(aside).unwrap();
}

#[test]
fn save_by_rename_editors() {
    let (world, [mut a, mut b]) = World::with_devices();
    let ways: [fn(&Path, &str); 3] = [save_with_backup, save_over, save_by_two_renames];
    for number in 0..ways.len() {
        write(&a.path(&format!("doc {number}.txt")), "the first words");
    }
    world.settle(&[&a, &b]);
    a.start();
    b.start();
    for round in 0..12 {
        for (number, save) in ways.iter().enumerate() {
            let device = if (round / 3) % 2 == 0 { &a } else { &b };
            save(&device.path(&format!("doc {number}.txt")), &format!("words of round {round} in {number}"));
        }
        // Two rounds follow each other at once, the third one waits: it is the other person's turn.
        if round % 3 == 2 {
            for number in 0..ways.len() {
                let (name, text) = (format!("doc {number}.txt"), format!("words of round {round} in {number}"));
                until_true("both have it", || [&a, &b].iter().all(|device| read_if_there(&device.path(&name)) == text));
            }
            wait_until_same(&[&a, &b]);
        }
    }
    assert_eq!(a.tree().0.len(), ways.len(), "copies that nobody made: {:?}", a.tree().0.keys());
}

fn read_if_there(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Two names of one file are two files for everybody else, and stay one here.
#[test]
fn hard_links() {
    let (world, [a, b]) = World::with_devices();
    write(&a.path("one"), "linked");
    std::fs::create_dir(a.path("folder")).unwrap();
    hard_link(a.path("one"), a.path("folder/two")).unwrap();
    hard_link(a.path("one"), a.path("three")).unwrap();
    world.settle(&[&a, &b]);
    for name in ["one", "folder/two", "three"] {
        assert_eq!(read(&b.path(name)), "linked");
    }
    // Edited through one name here, it is changed under all.
    std::fs::File::options().append(true).open(a.path("three")).unwrap().write_all(b", and edited").unwrap();
    remove_file(a.path("one")).unwrap();
    rename(a.path("folder/two"), a.path("moved")).unwrap();
    world.settle(&[&a, &b]);
    for device in [&a, &b] {
        assert_eq!(device.tree().files(), 2, "{:?}", device.tree().0.keys());
        for name in ["moved", "three"] {
            assert_eq!(read(&device.path(name)), "linked, and edited", "{name} on {}", device.name());
        }
    }
    // A change from there reaches the one name and tears nothing.
    write(&b.path("moved"), "edited on b");
    world.settle(&[&b, &a]);
    assert_eq!((read(&a.path("moved")).as_str(), read(&a.path("three")).as_str()), ("edited on b", "linked, and edited"));
}

/// It must not keep anything else from being synced, nor make copies of itself; and when it stops, it arrives.
#[test]
fn a_file_that_never_stops_changing() {
    let (_world, [mut a, mut b]) = World::with_devices();
    a.start();
    b.start();
    let mut log = std::fs::File::create(a.path("log")).unwrap();
    let mut random = Random::from_environment("never stops");
    let start = Instant::now();
    for number in 0.. {
        if start.elapsed() > Duration::from_secs(6) && number >= 3 {
            break;
        }
        let name = format!("beside {number}");
        write(&a.path(&name), &name);
        while !b.path(&name).exists() {
            log.write_all(&random.text(4_000)).unwrap();
            std::thread::sleep(Duration::from_millis(15));
            assert!(start.elapsed() < Duration::from_secs(120), "the file holds everything else up");
        }
    }
    drop(log);
    wait_until_same(&[&a, &b]);
    assert!(a.tree().0.keys().all(|name| name == "log" || name.starts_with("beside ")), "{:?}", a.tree().0.keys());
}

/// Renamed again and again, on either device, while its files are still on their way. Nothing is left behind under an old name.
#[test]
fn a_folder_renamed_while_its_content_syncs() {
    const FILES: usize = 1_200;
    let (_world, [mut a, mut b]) = World::with_devices();
    let mut random = Random::from_environment("a folder renamed");
    seed::grow_flat(&a.path("name 0/inner"), FILES, 2_000, &mut random);
    let contents = a.tree().contents();
    a.start();
    b.start();
    for round in 1..=6 {
        let enough = FILES * round / 8;
        until_true("some files have arrived", || b.tree().files() >= enough);
        let device = if round % 2 == 0 { &b } else { &a };
        until("the folder is renamed", || {
            let from = device.path(&format!("name {}", round - 1));
            rename(from, device.path(&format!("name {round}"))).map_err(|error| error.to_string())
        });
    }
    until_true("everything has arrived", || b.tree().files() == FILES && a.tree().files() == FILES);
    wait_until_same(&[&a, &b]);
    assert_eq!(a.tree().contents(), contents);
    assert_eq!(std::fs::read_dir(a.root()).unwrap().count(), 1, "left under an old name:\n{}", a.tree().folders().join("\n"));
}

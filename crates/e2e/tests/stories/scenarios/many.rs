//! Many devices, many files.

use crate::write;
use stacksync_e2e::device::{Device, wait_until_same};
use stacksync_e2e::wait::until_true;
use stacksync_e2e::world::World;
use std::collections::BTreeSet;

/// The same words everywhere are one file; different words are all kept.
#[test]
fn many_devices_with_the_same_new_file() {
    let (_world, mut devices) = World::with_devices::<6>();
    for device in &mut devices {
        write(&device.path("same/file"), "the same words");
        write(&device.path("own"), format!("the words of {}", device.name()));
        device.start();
    }
    let everyone: Vec<&Device> = devices.iter().collect();
    until_true("everybody has all of them", || everyone.iter().all(|device| device.tree().contents().len() == 7));
    wait_until_same(&everyone);
    let tree = devices[0].tree();
    let same: Vec<&str> = tree.paths_with("same");
    assert_eq!(same, ["same", "same/file"], "copies of what is equal");
    assert_eq!(tree.files(), 7, "{:?}", tree.0.keys());
}

/// Each into another folder, and all renamed: it is one change for each, sends no content, and deletes nothing on its way. The programs
/// are built for tests and would take minutes for fifty thousand, so that there are fewer unless `E2E_MOVED_FILES` says how many.
#[test]
fn fifty_thousand_files_moved_at_once() {
    const PER_FOLDER: usize = 500;
    let files: usize = std::env::var("E2E_MOVED_FILES").ok().and_then(|text| text.parse().ok()).unwrap_or(4_000);
    let (world, [a, b]) = World::with_devices();
    for folder in 0..files / PER_FOLDER {
        let folder = a.path(&format!("from/{folder}"));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..PER_FOLDER {
            // A few contents are enough: the names and places are what it is about.
            std::fs::write(folder.join(file.to_string()), [b'a' + (file % 7) as u8]).unwrap();
        }
    }
    world.settle(&[&a, &b]);
    let chunks: BTreeSet<_> = world.server.chunk_files().into_iter().collect();
    for folder in 0..files / PER_FOLDER {
        for file in 0..PER_FOLDER {
            let to = a.path(&format!("to/{}", file % 100));
            if folder == 0 {
                std::fs::create_dir_all(&to).unwrap();
            }
            std::fs::rename(a.path(&format!("from/{folder}/{file}")), to.join(format!("{folder} {file}"))).unwrap();
        }
    }
    let wanted = a.tree();
    world.settle(&[&a, &b]);
    let lines = wanted.difference(&b.tree());
    assert!(lines.is_empty(), "{}", lines.join("\n"));
    assert_eq!(world.server.chunk_files().into_iter().collect::<BTreeSet<_>>(), chunks, "content was sent again");
}

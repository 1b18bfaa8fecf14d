//! Two devices change the same thing apart: nothing is lost, edit beats delete, and all agree afterwards.

use crate::{read, write};
use stacksync_e2e::device::Device;
use stacksync_e2e::world::World;

/// Two devices with the same small folder.
pub fn pair() -> (World, Device, Device) {
    let (world, [a, b]) = World::with_devices();
    write(&a.path("doc.txt"), "the first text");
    write(&a.path("folder/inside.txt"), "inside");
    write(&a.path("folder/deep/er.txt"), "deeper");
    world.settle(&[&a, &b]);
    (world, a, b)
}

/// The files at the top whose names begin like this.
pub fn named(device: &Device, start: &str) -> Vec<String> {
    let mut found: Vec<String> = device.tree().0.keys().filter(|path| path.starts_with(start)).cloned().collect();
    found.sort();
    found
}

#[test]
fn the_same_edit_on_both_is_no_conflict() {
    let (world, a, b) = pair();
    write(&a.path("doc.txt"), "the very same words");
    write(&b.path("doc.txt"), "the very same words");
    write(&a.path("more/created.txt"), "on both");
    write(&b.path("more/created.txt"), "on both");
    world.settle(&[&a, &b]);
    assert_eq!(named(&a, "doc"), ["doc.txt"]);
    assert_eq!(named(&a, "more"), ["more", "more/created.txt"]);
}

#[test]
fn two_new_files_of_one_name_are_both_kept() {
    let (world, a, b) = pair();
    write(&a.path("new.txt"), "new on a");
    write(&b.path("new.txt"), "new on b");
    world.settle(&[&a, &b]);
    let mut texts: Vec<String> = named(&b, "new").iter().map(|file| read(&b.path(file))).collect();
    texts.sort();
    assert_eq!(texts, ["new on a", "new on b"]);
}

#[test]
fn names_that_differ_only_in_case_are_both_kept() {
    let (world, a, b) = pair();
    write(&a.path("Case.txt"), "upper");
    write(&b.path("case.txt"), "lower");
    world.settle(&[&a, &b]);
    let tree = a.tree();
    for text in ["upper", "lower"] {
        assert!(tree.contents().contains(blake3::hash(text.as_bytes()).as_bytes()), "{text} is lost: {:?}", tree.0.keys());
    }
}

#[test]
fn an_edit_deep_inside_beats_the_deletion_of_its_folder() {
    for editor_first in [true, false] {
        let (world, a, b) = pair();
        std::fs::remove_dir_all(a.path("folder")).unwrap();
        write(&b.path("folder/deep/er.txt"), "edited deep inside");
        write(&b.path("folder/added.txt"), "added inside");
        let order = if editor_first { [&b, &a] } else { [&a, &b] };
        world.settle(&order);
        let tree = a.tree();
        for text in ["edited deep inside", "added inside"] {
            assert!(tree.contents().contains(blake3::hash(text.as_bytes()).as_bytes()), "{text} is lost: {:?}", tree.0.keys());
        }
        assert!(!tree.0.contains_key("folder/inside.txt"), "the deletion of the untouched file is undone: {:?}", tree.0.keys());
    }
}

#[test]
fn deleted_on_both_is_deleted() {
    let (world, a, b) = pair();
    for device in [&a, &b] {
        std::fs::remove_dir_all(device.path("folder")).unwrap();
    }
    world.settle(&[&a, &b]);
    assert_eq!(a.tree().0.len(), 1);
}

#[test]
fn a_move_here_and_an_edit_there_meet_in_one_file() {
    for mover_first in [true, false] {
        let (world, a, b) = pair();
        std::fs::rename(a.path("doc.txt"), a.path("folder/moved.txt")).unwrap();
        write(&b.path("doc.txt"), "edited where it was");
        let order = if mover_first { [&a, &b] } else { [&b, &a] };
        world.settle(&order);
        let tree = a.tree();
        assert_eq!(read(&a.path("folder/moved.txt")), "edited where it was", "mover first: {mover_first}: {:?}", tree.0.keys());
        assert_eq!(tree.files(), 3, "{:?}", tree.0.keys());
    }
}

#[test]
fn a_folder_renamed_here_takes_what_was_added_there() {
    let (world, a, b) = pair();
    std::fs::rename(a.path("folder"), a.path("renamed")).unwrap();
    write(&b.path("folder/added.txt"), "added under the old name");
    world.settle(&[&a, &b]);
    assert_eq!(read(&a.path("renamed/added.txt")), "added under the old name");
    assert!(!a.path("folder").exists(), "{:?}", a.tree().0.keys());
}

#[test]
fn a_folder_that_became_a_file_here_and_was_filled_there_keeps_both() {
    for filler_first in [true, false] {
        let (world, a, b) = pair();
        std::fs::remove_dir_all(a.path("folder")).unwrap();
        write(&a.path("folder"), "a file now");
        write(&b.path("folder/added.txt"), "added inside");
        let order = if filler_first { [&b, &a] } else { [&a, &b] };
        world.settle(&order);
        let tree = a.tree();
        for text in ["a file now", "added inside"] {
            assert!(tree.contents().contains(blake3::hash(text.as_bytes()).as_bytes()), "{text} is lost: {:?}", tree.0.keys());
        }
    }
}

#[test]
fn a_folder_that_was_made_anew_here_and_filled_there_keeps_both() {
    for filler_first in [true, false] {
        let (world, a, b) = pair();
        std::fs::rename(a.path("folder"), a.path("old")).unwrap();
        write(&a.path("folder/new.txt"), "in the new folder");
        write(&b.path("folder/added.txt"), "added inside");
        std::fs::remove_dir_all(a.path("old")).unwrap();
        let order = if filler_first { [&b, &a] } else { [&a, &b] };
        world.settle(&order);
        let tree = a.tree();
        for text in ["in the new folder", "added inside"] {
            assert!(tree.contents().contains(blake3::hash(text.as_bytes()).as_bytes()), "{text} is lost: {:?}", tree.0.keys());
        }
    }
}

fn set_time(path: &std::path::Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds, 7);
    std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_new_time_here_and_a_new_name_there_both_count() {
    for mover_first in [true, false] {
        let (world, a, b) = pair();
        set_time(&a.path("doc.txt"), 1_500_000_000);
        std::fs::rename(b.path("doc.txt"), b.path("renamed.txt")).unwrap();
        let order = if mover_first { [&b, &a] } else { [&a, &b] };
        world.settle(&order);
        for device in [&a, &b] {
            let found = std::os::unix::fs::MetadataExt::mtime(&device.path("renamed.txt").metadata().unwrap());
            assert_eq!(found, 1_500_000_000, "on {}, mover first: {mover_first}", device.name());
        }
    }
}

/// What a change of the mode there does to content and mode here is all that is asked: which time wins is not.
#[test]
fn a_new_mode_there_survives_a_touch_here() {
    for moder_first in [true, false] {
        let (world, a, b) = pair();
        set_time(&a.path("doc.txt"), 1_500_000_000);
        std::fs::set_permissions(b.path("doc.txt"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let order = if moder_first { [&b, &a] } else { [&a, &b] };
        world.settle(&order);
        for device in [&a, &b] {
            let mode = std::os::unix::fs::MetadataExt::mode(&device.path("doc.txt").metadata().unwrap());
            assert_eq!(mode & 0o100, 0o100, "on {}, moder first: {moder_first}", device.name());
        }
    }
}

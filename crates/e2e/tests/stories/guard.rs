//! A disk that is suddenly empty is rather a mistake than a wish: deletions are held until the person approves. And the trash.

use crate::write;
use stacksync_e2e::random::Random;
use stacksync_e2e::seed;
use stacksync_e2e::tree::{Tree, assert_same};
use stacksync_e2e::wait::until_true;
use stacksync_e2e::world::World;

#[test]
fn many_deletions_are_held_until_they_are_approved() {
    let (world, [a, b]) = World::with_devices();
    seed::grow_flat(a.root(), 400, 300, &mut Random::from_environment("many deletions"));
    world.settle(&[&a, &b]);
    let whole = b.tree();
    for folder in ["folder-0", "folder-1", "folder-2"] {
        std::fs::remove_dir_all(a.path(folder)).unwrap();
    }
    write(&a.path("still working"), "only deletions are held");

    let said = a.must_fail(&["sync", "--once"]);
    assert!(said.to_lowercase().contains("approve"), "it does not say what to do:\n{said}");
    b.sync_once();
    assert!(whole.difference(&b.tree().without("still working")).is_empty(), "deletions were not held");
    assert!(b.path("still working").exists(), "more than deletions was held");

    a.must(&["approve"]);
    world.settle(&[&a, &b]);
    assert_eq!(b.tree().files(), 101);
}

#[test]
fn a_lost_folder_deletes_nothing_and_is_told() {
    let (world, [a, b]) = World::with_devices();
    seed::grow_flat(a.root(), 200, 300, &mut Random::from_environment("a lost folder"));
    world.settle(&[&a, &b]);
    let whole = b.tree();
    let aside = world.path("aside");
    std::fs::rename(a.root(), &aside).unwrap();
    let said = a.must_fail(&["sync", "--once"]);
    assert!(said.contains(&a.root().display().to_string()), "it does not name the folder:\n{said}");
    assert!(!a.root().exists(), "it made a folder where the person's folder is missing");
    b.sync_once();
    assert!(whole.difference(&b.tree()).is_empty(), "a lost folder emptied another");

    std::fs::rename(&aside, a.root()).unwrap();
    world.settle(&[&a, &b]);
    assert!(whole.difference(&a.tree()).is_empty());
}

#[test]
fn moving_much_is_not_deleting() {
    let (_world, [mut a, mut b]) = World::with_devices();
    seed::grow_flat(&a.path("all"), 60, 300, &mut Random::from_environment("moving much"));
    a.start();
    b.start();
    until_true("b has all", || b.tree().files() == 60);
    for (from, to) in [("all", "moved"), ("moved", "again"), ("again", "last")] {
        std::fs::rename(a.path(from), a.path(to)).unwrap();
        until_true("b has moved", || b.path(to).join("folder-0/file-59").exists() && !b.path(from).exists());
    }
    std::fs::remove_file(a.path("last/folder-0/file-1")).unwrap();
    until_true("b has the deletion", || !b.path("last/folder-0/file-1").exists());
}

#[test]
fn what_others_delete_or_replace_is_in_the_trash() {
    let (world, [a, b]) = World::with_devices();
    for number in 0..20 {
        write(&a.path(&format!("keep/{number}")), format!("kept {number}"));
    }
    write(&a.path("gone.txt"), "this will be deleted");
    world.settle(&[&a, &b]);
    std::fs::remove_file(a.path("gone.txt")).unwrap();
    world.settle(&[&a, &b]);
    assert!(!b.path("gone.txt").exists());
    let trash = Tree::of(&b.home().join("trash"));
    assert!(trash.contents().contains(blake3::hash(b"this will be deleted").as_bytes()), "{:?}", trash.0.keys());
    assert_same(a.root(), b.root());
}

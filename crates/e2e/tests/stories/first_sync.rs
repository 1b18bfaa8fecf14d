//! A tree of thousands of files arrives whole on other devices: bytes, modes, times, links, empty folders.

use stacksync_e2e::device::wait_until_same;
use stacksync_e2e::random::Random;
use stacksync_e2e::seed;
use stacksync_e2e::tree::{Tree, assert_same};
use stacksync_e2e::world::World;

#[test]
fn a_tree_of_everything_reaches_a_second_device() {
    let (world, [a, b]) = World::with_devices();
    seed::grow(a.root(), 2_000, &mut Random::from_environment("a tree of everything"));
    let before = a.tree();
    assert!(before.files() > 2_000);

    a.sync_once();
    b.sync_once();

    assert!(before.difference(&a.tree()).is_empty(), "the first device's folder was touched");
    assert_same(a.root(), b.root());
    drop(world);
}

#[test]
fn two_full_folders_become_one_without_conflict_copies() {
    let world = World::new();
    let (a, b) = (world.stranger("a"), world.stranger("b"));
    let mut random = Random::from_environment("two full folders");
    // Half of what they hold is the same on both, half is each one's own.
    for device in [&a, &b] {
        seed::grow(&device.path("common"), 300, &mut Random::new(7));
        seed::grow_flat(&device.path(&format!("only-{}", device.name())), 300, 2_000, &mut random);
    }
    let (of_a, of_b) = (a.tree(), b.tree());
    a.join(&world.invite());
    b.join(&world.invite());

    world.settle(&[&a, &b]);

    let mut whole = of_a;
    whole.0.extend(of_b.0);
    let lines = whole.difference(&a.tree());
    assert!(lines.is_empty(), "not the sum of both:\n{}", lines.join("\n"));
}

#[test]
fn four_devices_start_at_once() {
    let (_world, mut devices) = World::with_devices::<4>();
    let mut random = Random::from_environment("four devices");
    for device in &devices {
        seed::grow_flat(&device.path(device.name()), 250, 1_000, &mut random);
    }
    for device in &mut devices {
        device.start();
    }
    let [a, b, c, d] = &devices;
    stacksync_e2e::wait::until_true("every device holds the files of all", || a.tree().files() == 1_000);
    wait_until_same(&[a, b, c, d]);
}

#[test]
fn times_at_the_ends_of_the_calendar_arrive() {
    let (_world, [a, b]) = World::with_devices();
    for (name, seconds) in [("epoch", 0_i64), ("before", -86_400), ("recent", 1_700_000_000), ("future", 4_000_000_000)] {
        let path = a.path(name);
        crate::write(&path, name);
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
    }
    a.sync_once();
    b.sync_once();
    assert_same(a.root(), b.root());
}

#[test]
fn an_unchanged_tree_sends_nothing_again() {
    let (world, [a, b]) = World::with_devices();
    seed::grow(a.root(), 500, &mut Random::from_environment("an unchanged tree"));
    a.sync_once();
    b.sync_once();
    let chunks = world.server.chunk_files().len();
    let before = Tree::of(a.root());
    for _ in 0..2 {
        a.sync_once();
        b.sync_once();
    }
    assert_eq!(world.server.chunk_files().len(), chunks);
    assert!(before.difference(&a.tree()).is_empty());
    assert_same(a.root(), b.root());
}

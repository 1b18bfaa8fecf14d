//! Devices that work apart and meet now and then.

use stacksync_e2e::device::Device;
use stacksync_e2e::edit::Editor;
use stacksync_e2e::random::Random;
use stacksync_e2e::seed;
use stacksync_e2e::tree::{Tree, assert_holds};
use stacksync_e2e::world::World;
use std::collections::BTreeSet;

/// Lets everybody work alone, then meet; whatever somebody wrote is there afterwards, on every device.
fn work_apart(rounds: usize, operations: usize, devices: &[&Device], world: &World, random: &mut Random) {
    let mut editors: Vec<Editor> =
        devices.iter().map(|device| Editor::new(device.root(), device.name(), Random::new(random.next()))).collect();
    for round in 0..rounds {
        let mut written: Vec<(String, BTreeSet<[u8; 32]>)> = Vec::new();
        for (device, editor) in devices.iter().zip(&mut editors) {
            let before = device.tree().contents();
            for line in editor.work(operations) {
                println!("round {round}, {}: {line}", device.name());
            }
            let after = device.tree().contents();
            written.push((device.name().to_owned(), after.difference(&before).copied().collect()));
        }
        world.settle(devices);
        let end = Tree::of(devices[0].root());
        for (name, contents) in &written {
            assert_holds(&end, contents, name);
        }
    }
}

#[test]
fn two_people_work_apart_and_meet() {
    let (world, [a, b]) = World::with_devices();
    let mut random = Random::from_environment("two people apart");
    seed::grow(a.root(), 400, &mut random);
    world.settle(&[&a, &b]);
    work_apart(5, 30, &[&a, &b], &world, &mut random);
}

#[test]
fn three_people_work_apart_in_a_small_folder() {
    let (world, [a, b, c]) = World::with_devices();
    let mut random = Random::from_environment("three people apart");
    seed::grow_flat(a.root(), 120, 700, &mut random);
    world.settle(&[&a, &b, &c]);
    work_apart(5, 12, &[&a, &b, &c], &world, &mut random);
}

#[test]
fn one_person_works_offline_and_the_other_device_only_follows() {
    let (world, [a, b]) = World::with_devices();
    let mut random = Random::from_environment("one person offline");
    seed::grow_flat(a.root(), 500, 700, &mut random);
    world.settle(&[&a, &b]);
    let mut editor = Editor::new(a.root(), "a", Random::new(random.next()));
    for round in 0..5 {
        for line in editor.work(40) {
            println!("round {round}: {line}");
        }
        let wanted = a.tree();
        a.sync_once();
        b.sync_once();
        let lines = wanted.difference(&b.tree());
        assert!(lines.is_empty(), "round {round}: b is not what a had made:\n{}", lines.join("\n"));
        assert!(wanted.difference(&a.tree()).is_empty(), "round {round}: a's own folder was changed");
    }
}

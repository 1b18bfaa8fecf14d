//! Worlds out of seeds, and situations with a name.

use super::disk::Data;
use super::world::{Faults, World, difference};
use crate::engine::Input;
use crate::values::ItemPath;
use std::collections::BTreeSet;

fn path(text: &str) -> ItemPath {
    ItemPath::parse(text).unwrap()
}

fn seeds(most: u64) -> std::ops::Range<u64> {
    let first = std::env::var("ENGINE_SEED").ok().and_then(|text| text.parse().ok());
    let count = std::env::var("ENGINE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(most);
    first.map_or(0..count, |first| first..first + count.min(1))
}

#[test]
fn one_person_at_a_time_finds_the_same_everywhere() {
    for seed in seeds(150) {
        let mut world = World::new(seed, 2, Faults { rate: 0 });
        world.rest();
        for _ in 0..30 {
            let d = world.random.below(2);
            for _ in 0..=world.random.below(4) {
                world.act(d);
            }
            let before = world.devices[d].disk.picture();
            let clash = before.keys().any(|path| path.split('/').any(|name| name == "B"));
            let clash = clash || world.service.picture().keys().any(|path| path.split('/').any(|name| name == "B"));
            world.settle();
            world.check_converged();
            world.check_names();
            if !clash {
                let changed = difference(&before, &world.devices[d].disk.picture());
                assert!(changed.is_empty(), "own disk changed: {changed:#?}\n{}", world.report());
            }
        }
    }
}

#[test]
fn many_at_once_with_faults_converge_and_lose_nothing() {
    for seed in seeds(600) {
        let faults = Faults { rate: if seed % 3 == 0 { 0 } else { 40 } };
        let mut world = World::new(seed, 2 + (seed % 2) as usize, faults);
        for _ in 0..40 {
            let d = world.random.below(world.devices.len());
            world.act(d);
            for _ in 0..world.random.below(60) {
                world.step();
            }
            if seed % 7 == 0 && world.random.one_in(15) {
                world.lose_state(d);
            }
        }
        world.settle();
        world.check_converged();
    }
}

#[test]
fn what_moved_while_nobody_looked_is_not_taken_for_deleted() {
    for seed in seeds(150) {
        let mut world = World::new(seed, 1, Faults { rate: 0 });
        for _ in 0..60 {
            world.act(0);
        }
        world.settle();
        let ids = |world: &World| -> BTreeSet<u64> { world.devices[0].disk.nodes_in_use() };
        let before = ids(&world);
        let items = world.service.items.len();
        world.unseen = true;
        for _ in 0..40 {
            world.act(0);
        }
        let after = ids(&world);
        world.crash(0);
        world.settle();
        world.check_converged();
        let (made, new) = (after.difference(&before).count(), world.service.items.len() - items);
        assert!(new <= made, "{new} new items for {made} new files\n{}", world.report());
    }
}

#[test]
fn a_mode_changed_while_the_file_is_moved_here_is_told() {
    let mut world = World::new(1, 2, Faults { rate: 0 });
    world.devices[0].disk.make(&path("before"), Data::File(b"x".to_vec()));
    world.settle();
    world.devices[0].disk.rename(&path("before"), &path("after"));
    world.touch(0, path("before"));
    world.touch(0, path("after"));
    while !world.is_about_to_move(1) {
        assert!(world.step(), "{}", world.report());
    }
    let disk = &mut world.devices[1].disk;
    let inode = disk.find(&path("before")).unwrap();
    disk.clock += 1;
    let clock = disk.clock;
    let node = disk.nodes.get_mut(&inode).unwrap();
    (node.executable, node.changed) = (true, clock);
    world.settle();
    assert!(world.devices[0].disk.picture()["after"].executable, "{}", world.report());
    world.check_converged();
}

#[test]
fn an_emptied_folder_is_held_until_approved() {
    let mut world = World::new(1, 2, Faults { rate: 0 });
    for index in 0..5 {
        world.devices[0].disk.make(&path(&format!("f{index}")), Data::File(vec![b'x'; index + 1]));
    }
    world.settle();
    assert_eq!(world.devices[1].disk.paths().len(), 5);
    for index in 0..5 {
        world.devices[0].disk.unlink(&path(&format!("f{index}")));
    }
    world.devices[0].engine.handle(Input::TouchedAll, world.now);
    world.crash(0);
    world.rest();
    assert_eq!(world.devices[0].engine.status().held, 5);
    assert_eq!(world.devices[1].disk.paths().len(), 5, "nothing was deleted elsewhere");
    world.settle();
    assert_eq!(world.devices[1].disk.paths().len(), 0, "approved");
}

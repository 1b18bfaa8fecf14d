//! Worlds out of seeds, and situations with a name.

use super::disk::Data;
use super::world::{Faults, World, difference};
use crate::engine::{DiskAction, Input};
use crate::values::ItemPath;
use std::collections::{BTreeMap, BTreeSet};

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

/// The watcher's hint comes after the folder was made and before the engine was told so.
#[test]
fn a_file_put_into_a_folder_while_it_is_being_made_is_found() {
    let mut world = World::new(1, 2, Faults { rate: 0 });
    world.devices[0].disk.make(&path("folder"), Data::Folder(BTreeMap::new()));
    world.touch(0, path("folder"));
    let makes = |action: &DiskAction| matches!(action, DiskAction::MakeFolder { .. });
    world.apply_and_meanwhile(1, makes, |world| {
        world.devices[1].disk.make(&path("folder/file"), Data::File(b"x".to_vec()));
        world.touch(1, path("folder"));
    });
    world.rest();
    assert!(world.devices[0].disk.picture().contains_key("folder/file"), "{}", world.report());
    world.check_converged();
}

#[test]
fn re_ordered_and_duplicated_notices() {
    for seed in seeds(300) {
        let mut world = World::new(seed, 3, Faults { rate: 0 });
        for _ in 0..30 {
            let d = world.random.below(3);
            world.act(d);
            for _ in 0..world.random.below(40) {
                let told = world.random.below(3);
                let count = world.notices(told).len();
                if count > 0 {
                    let (from, to) = (world.random.below(count), world.random.below(count + 1));
                    let again = world.notices(told)[from].clone();
                    match world.random.below(4) {
                        0 => world.notices(told).swap(from, to.min(count - 1)),
                        1 => world.notices(told).insert(to, again),
                        _ => {}
                    }
                }
                world.step();
            }
        }
        // Nobody looks at everything again: what the notices said must be enough.
        world.approve();
        world.check_converged();
    }
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

/// The bytes are others and everything that a look tells is as before, but for the time of the inode.
#[test]
fn an_edit_with_its_time_put_back_is_found() {
    let mut world = World::new(1, 2, Faults { rate: 0 });
    world.devices[0].disk.make(&path("file"), Data::File(b"before".to_vec()));
    world.settle();
    let disk = &mut world.devices[0].disk;
    let inode = disk.find(&path("file")).unwrap();
    disk.clock += 1;
    let clock = disk.clock;
    let node = disk.nodes.get_mut(&inode).unwrap();
    (node.data, node.changed) = (Data::File(b"AFTER!".to_vec()), clock);
    world.touch(0, path("file"));
    world.rest();
    assert_eq!(world.devices[1].disk.picture()["file"].data, "AFTER!", "{}", world.report());
    world.check_converged();
}

/// Found by the simulated world (`--seed 10`): the problem stayed for ever.
#[test]
fn a_folder_that_could_not_be_read_and_is_gone_is_no_problem() {
    let mut world = World::new(5, 1, Faults { rate: 0 });
    world.devices[0].disk.make(&path("d"), Data::Folder(BTreeMap::new()));
    world.settle();
    let now = world.now;
    let engine = &mut world.devices[0].engine;
    let folder = engine.trees.local_at(None, &"d".parse().unwrap()).unwrap();
    let unreadable = || Err(crate::engine::ScanError::Unreadable("refused".into()));
    engine.handle(Input::Scanned { folder: Some(folder), names: None, result: unreadable() }, now);
    assert_eq!(engine.status().problems.len(), 1);
    world.devices[0].disk.unlink(&path("d"));
    world.touch(0, path("d"));
    world.settle();
    let engine = &mut world.devices[0].engine;
    assert_eq!(engine.status().problems, []);
    engine.handle(Input::Scanned { folder: Some(folder), names: None, result: unreadable() }, now);
    assert_eq!(engine.status().problems, [], "a look that came late");
}

/// Found with a real storage that lied: each upload seemed to succeed, so the file was sent again at once, for ever, and nobody was told.
#[test]
fn a_storage_that_takes_chunks_and_does_not_have_them_is_told_and_not_overrun() {
    let mut world = World::new(7, 2, Faults { rate: 0 });
    world.storage_loses = true;
    world.devices[0].disk.make(&path("file"), Data::File(b"precious".to_vec()));
    world.touch(0, path("file"));
    let start = world.now.ms;
    while world.now.ms < start + 600_000 && world.step() {}
    assert!(world.uploads < 40, "it was sent {} times in ten minutes", world.uploads);
    let problems = world.devices[0].engine.status().problems;
    assert!(problems.iter().any(|problem| problem.text.contains("are not there")), "{problems:?}");
    assert!(!world.devices[1].disk.picture().contains_key("file"), "it was reported as synced");
    world.storage_loses = false;
    world.pass(120_000);
    world.settle();
    assert_eq!(world.devices[0].engine.status().problems, []);
    assert_eq!(world.devices[1].disk.picture()["file"].data, "precious", "{}", world.report());
    world.check_converged();
}

/// Moves on two devices that would put folders into each other; each device does its own before it hears of the other's, and either may
/// be the first to tell.
fn moves_into_each_other(folders: &[&str], there: &[(&str, &str)], here: &[(&str, &str)]) {
    for seed in seeds(40) {
        moves_into_each_other_once(seed, folders, there, here);
    }
}

fn moves_into_each_other_once(seed: u64, folders: &[&str], there: &[(&str, &str)], here: &[(&str, &str)]) {
    let mut world = World::new(seed, 2, Faults { rate: 0 });
    for folder in folders {
        world.devices[0].disk.make(&path(folder), Data::Folder(Default::default()));
    }
    world.settle();
    for (d, moves) in [(0, there), (1, here)] {
        for (from, to) in moves {
            assert!(world.devices[d].disk.rename(&path(from), &path(to)), "{from} to {to}");
        }
    }
    for (d, moves) in [(0, there), (1, here)] {
        if d == 1 {
            world.disconnect(1);
        }
        for (from, to) in moves {
            world.touch(d, path(from));
            world.touch(d, path(to));
        }
    }
    world.settle();
    world.check_converged();
    assert_eq!(world.service.picture().len(), folders.len(), "{}", world.report());
}

#[test]
fn a_folder_that_took_the_name_of_one_that_moved_into_it_gives_it_back() {
    moves_into_each_other(&["c", "d"], &[("c", "d/c")], &[("d", "c/d"), ("c", "d")]);
}

#[test]
fn moves_into_each_other_over_three_folders_are_undone_from_the_innermost() {
    moves_into_each_other(&["a", "a/A", "b"], &[("b", "a/A/b")], &[("a/A", "b/d"), ("a", "b/d/c")]);
}

#[test]
fn a_folder_that_is_called_like_ignore_rules_is_a_folder() {
    for seed in seeds(40) {
        folder_called_like_rules(seed);
    }
}

fn folder_called_like_rules(seed: u64) {
    let mut world = World::new(seed, 2, Faults { rate: 0 });
    for folder in ["c", "c/.syncignore"] {
        world.devices[0].disk.make(&path(folder), Data::Folder(Default::default()));
    }
    world.devices[0].disk.make(&path("f"), Data::File(b"x".to_vec()));
    world.settle();
    world.disconnect(1);
    world.devices[1].disk.rename(&path("f"), &path("c/.syncignore/f"));
    world.touch(1, path("f"));
    world.touch(1, path("c/.syncignore/f"));
    for folder in ["c/.syncignore", "c"] {
        world.devices[0].disk.unlink(&path(folder));
        world.touch(0, path(folder));
    }
    world.settle();
    world.check_converged();
    assert!(world.service.picture().contains_key("c/.syncignore/f"), "{}", world.report());
}

/// Restored from an older copy, the service goes on with one device alone, perhaps until it has as many changes as the others saw of it.
/// That no bytes go that the service does not have is checked at every action on a disk.
#[test]
fn server_back_in_time() {
    for seed in seeds(400) {
        let mut world = World::new(seed, 3, Faults { rate: 0 });
        // Also where the past is told page by page.
        world.service.page = if seed % 2 == 0 { 1_000 } else { 3 };
        let work = |world: &mut World, acts: usize| {
            for _ in 0..acts {
                let d = world.random.below(3);
                world.act(d);
                world.rest();
            }
        };
        work(&mut world, 12);
        world.settle();
        let copy = world.service.clone();
        let acts = world.random.below(10);
        work(&mut world, acts);
        world.settle();
        (0..3).for_each(|d| world.disconnect(d));
        world.service = copy;
        world.devices_on = 1;
        for number in 0..world.random.below(15) {
            let (name, content) = (path(&format!("alone {number}")), world.content());
            world.devices[0].disk.make(&name, Data::File(content));
            world.touch(0, name);
            world.rest();
        }
        world.devices_on = usize::MAX;
        world.settle();
        world.check_converged();
    }
}

/// So many that the service needs several pages to tell of them: that what was known last comes on a later page contradicts nothing.
#[test]
fn many_moves_while_a_device_is_off_stay_moved() {
    let mut world = World::new(1, 2, Faults { rate: 0 });
    for number in 0..20 {
        world.devices[0].disk.make(&path(&format!("from {number}")), Data::File(format!("content {number}").into_bytes()));
    }
    world.settle();
    world.disconnect(1);
    world.devices_on = 1;
    for number in 0..20 {
        world.devices[0].disk.rename(&path(&format!("from {number}")), &path(&format!("to {number}")));
    }
    world.settle();
    world.devices_on = usize::MAX;
    let commits = world.service.revision;
    world.settle();
    world.check_converged();
    assert_eq!(world.service.revision, commits, "somebody answered with changes of his own\n{}", world.report());
}

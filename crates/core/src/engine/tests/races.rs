//! What people do in the very moment in which the engine does something, or does not know yet how it ended. Each found by the simulated
//! world first.

use super::disk::Data;
use super::world::{Faults, World};
use crate::engine::{Applied, CallError, DiskAction, Effect, Input};
use crate::values::ItemPath;
use std::collections::BTreeMap;

fn path(text: &str) -> ItemPath {
    ItemPath::parse(text).unwrap()
}

/// Two devices that both have these; a name that ends with a slash is a folder.
fn with(seed: u64, paths: &[&str]) -> World {
    let mut world = World::new(seed, 2, Faults { rate: 0 });
    for text in paths {
        let data = match text.strip_suffix('/') {
            Some(_) => Data::Folder(BTreeMap::new()),
            None => Data::File(format!("content of {text}").into_bytes()),
        };
        world.devices[0].disk.make(&path(text.trim_end_matches('/')), data);
    }
    world.settle();
    world
}

fn is_commit(effect: &Effect) -> bool {
    matches!(effect, Effect::Commit { .. })
}

/// The edit brought back what somebody had deleted, so it was based on a version that was never agreed on: its answer did not count, and
/// the deletion that followed was undone.
#[test]
fn what_came_back_by_an_edit_and_is_deleted_before_the_answer_stays_deleted() {
    let mut world = with(1, &["file"]);
    world.devices[0].disk.unlink(&path("file"));
    world.devices_on = 1;
    world.touch(0, path("file"));
    world.rest();
    world.devices_on = 2;
    let inode = world.devices[1].disk.find(&path("file")).unwrap();
    world.devices[1].disk.write(inode, b"edited".to_vec());
    world.touch(1, path("file"));
    let commit = world.hold(1, is_commit);
    world.carry_out(1, commit);
    world.devices[1].disk.unlink(&path("file"));
    world.touch(1, path("file"));
    world.settle();
    assert_eq!(world.service.picture(), BTreeMap::new(), "{}", world.report());
    world.check_converged();
}

/// The folder was known to be gone before the outcome came, which was dropped then: the file, and so its folder, came back.
#[test]
fn what_was_put_into_a_folder_goes_with_it_when_that_is_deleted_before_the_outcome() {
    let mut world = with(2, &["folder/"]);
    world.devices[0].disk.make(&path("folder/file"), Data::File(b"x".to_vec()));
    world.touch(0, path("folder/file"));
    let writes = |action: &DiskAction| matches!(action, DiskAction::Write { .. });
    world.apply_and_meanwhile(1, writes, |world| {
        world.devices[1].disk.unlink(&path("folder/file"));
        world.devices[1].disk.unlink(&path("folder"));
        world.touch(1, path("folder"));
        world.steps(50);
    });
    world.settle();
    assert_eq!(world.service.picture(), BTreeMap::new(), "{}", world.report());
    world.check_converged();
}

/// A file was seen under the name of a folder that an action was about to move, and the folder under the file's: the file counted as gone
/// and came again as a new one.
#[test]
fn names_exchanged_while_an_action_on_one_of_them_is_under_way_are_two_moves() {
    let mut world = with(3, &["file", "folder/"]);
    world.devices[0].disk.rename(&path("folder"), &path("moved"));
    world.touch(0, path("folder"));
    world.touch(0, path("moved"));
    let moves = |effect: &Effect| matches!(effect, Effect::Apply { action: DiskAction::Move { .. }, .. });
    let action = world.hold(1, moves);
    let disk = &mut world.devices[1].disk;
    disk.rename(&path("file"), &path("aside"));
    disk.rename(&path("folder"), &path("file"));
    disk.rename(&path("aside"), &path("folder"));
    world.touch(1, path("file"));
    world.touch(1, path("folder"));
    world.steps(50);
    world.carry_out(1, action);
    world.settle();
    world.check_converged();
    let items = world.service.items.values();
    assert_eq!(items.filter(|item| !item.body.chunks().is_empty()).count(), 1, "{}", world.report());
}

/// Whether a commit without an answer was saved was guessed from the latest version: when that was somebody else's by then, one's own change
/// passed for a new one, and undid his.
#[test]
fn a_commit_without_an_answer_is_sent_again_as_it_was() {
    let mut world = with(4, &["file"]);
    let set_mode = |world: &mut World, d: usize, executable: bool| {
        let disk = &mut world.devices[d].disk;
        let inode = disk.find(&path("file")).unwrap();
        disk.clock += 1;
        let clock = disk.clock;
        let node = disk.nodes.get_mut(&inode).unwrap();
        (node.executable, node.changed) = (executable, clock);
        world.touch(d, path("file"));
    };
    set_mode(&mut world, 1, true);
    let Effect::Commit { id, items } = world.hold(1, is_commit) else { unreachable!() };
    world.commit_and_notify(id, &items);
    world.devices_on = 1;
    world.rest();
    assert!(world.devices[0].disk.picture()["file"].executable);
    set_mode(&mut world, 0, false);
    world.rest();
    world.devices_on = 2;
    world.tell(1, Input::Committed { id, result: Err(CallError::NotNow("no answer".into())) });
    let again = world.hold(1, is_commit);
    assert!(matches!(&again, Effect::Commit { id: again, .. } if *again == id), "{again:?}");
    world.carry_out(1, again);
    world.settle();
    assert!(!world.devices[1].disk.picture()["file"].executable, "{}", world.report());
    world.check_converged();
}

/// The service was replaced by an older copy of itself: what was held counted as approved.
#[test]
fn what_the_guard_holds_is_still_held_when_the_service_comes_back_from_a_backup() {
    let mut world = with(5, &["a", "b", "c", "d"]);
    let copy = world.service.clone();
    world.devices[1].disk.make(&path("later"), Data::File(b"later".to_vec()));
    world.touch(1, path("later"));
    world.rest();
    for name in ["a", "b", "c", "d", "later"] {
        world.devices[0].disk.unlink(&path(name));
    }
    world.tell(0, Input::TouchedAll);
    world.rest();
    assert_eq!(world.devices[0].engine.status().held, 5);
    (0..2).for_each(|d| world.disconnect(d));
    world.service = copy;
    world.rest();
    assert_eq!(world.devices[0].engine.status().held, 4, "the fifth is not known there any more\n{}", world.report());
    assert_eq!(world.devices[1].disk.paths().len(), 5, "nothing was deleted elsewhere");
    world.settle();
    world.check_converged();
}

/// Where clocks are coarse a new file may have the number and the times of the one that was deleted: another mode explains nothing.
#[test]
fn a_file_whose_mode_changed_is_read_again() {
    let mut world = with(6, &["file"]);
    let disk = &mut world.devices[0].disk;
    let inode = disk.find(&path("file")).unwrap();
    let node = disk.nodes.get_mut(&inode).unwrap();
    (node.executable, node.data) = (true, Data::File(b"CONTENT OF FILE".to_vec()));
    world.touch(0, path("file"));
    world.rest();
    assert_eq!(world.devices[1].disk.picture()["file"].data, "CONTENT OF FILE", "{}", world.report());
    world.check_converged();
}

/// Setting a time hides a write of the same length that came just before it.
#[test]
fn a_file_whose_time_was_set_is_read_again() {
    let mut world = with(7, &["file"]);
    let disk = &mut world.devices[0].disk;
    let inode = disk.find(&path("file")).unwrap();
    disk.clock += 1;
    let clock = disk.clock;
    let node = disk.nodes.get_mut(&inode).unwrap();
    (node.modified, node.changed) = (clock, clock);
    world.touch(0, path("file"));
    let sets = |action: &DiskAction| matches!(action, DiskAction::SetMeta { .. });
    world.apply_and_meanwhile(1, sets, |world| {
        // As if it had been written between the last look and the setting of the time.
        let disk = &mut world.devices[1].disk;
        let inode = disk.find(&path("file")).unwrap();
        disk.nodes.get_mut(&inode).unwrap().data = Data::File(b"CONTENT OF FILE".to_vec());
    });
    world.rest();
    assert_eq!(world.devices[0].disk.picture()["file"].data, "CONTENT OF FILE", "{}", world.report());
    world.check_converged();
}

/// The number of what was moved was given to another thing before the outcome came: the item had another kind then, for ever.
#[test]
fn what_was_moved_and_replaced_by_another_kind_under_its_number_is_another_item() {
    let mut world = with(8, &["file"]);
    world.devices[0].disk.rename(&path("file"), &path("moved"));
    world.touch(0, path("file"));
    world.touch(0, path("moved"));
    let moves = |effect: &Effect| matches!(effect, Effect::Apply { action: DiskAction::Move { .. }, .. });
    let Effect::Apply { op, action } = world.hold(1, moves) else { unreachable!() };
    world.devices[1].disk.apply(&action, &world.service.chunks).unwrap();
    let disk = &mut world.devices[1].disk;
    let inode = disk.find(&path("moved")).unwrap();
    disk.nodes.get_mut(&inode).unwrap().data = Data::Folder(BTreeMap::new());
    let stat = disk.stat(inode);
    world.tell(1, Input::Applied { op, result: Ok(Applied::Present(stat)) });
    world.settle();
    world.check_converged();
    assert!(world.service.picture().values().any(|content| content == "/"), "{}", world.report());
}

/// A notice of a deletion came before the page that told of the item: the deletion of something unknown was dropped, and the item stayed.
#[test]
fn a_deletion_that_is_heard_of_before_the_item_counts() {
    for held_back in [0, 1] {
        let mut world = World::new(9, 2, Faults { rate: 0 });
        world.rest();
        world.devices_on = 1;
        for content in ["first", "second"] {
            world.devices[0].disk.make(&path(content), Data::File(content.into()));
            world.touch(0, path(content));
            world.rest();
        }
        world.devices[0].disk.unlink(&path("first"));
        world.touch(0, path("first"));
        world.rest();
        world.devices_on = 2;
        let notices = world.notices(1);
        assert_eq!(notices.len(), 3);
        let late = notices.remove(held_back).unwrap();
        notices.push_back(late);
        world.rest();
        assert_eq!(world.devices[1].disk.picture().keys().collect::<Vec<_>>(), ["second"], "{}", world.report());
        world.check_converged();
    }
}

/// Where clocks are coarse, a file that is made just after another one was deleted may have its number and its times: the one was taken for the
/// other with another name. A real rename shows in the time of the inode.
#[test]
fn a_file_that_moved_without_a_trace_is_read_again() {
    let mut world = with(10, &["file"]);
    let disk = &mut world.devices[0].disk;
    let inode = disk.find(&path("file")).unwrap();
    let changed = disk.nodes[&inode].changed;
    disk.rename(&path("file"), &path("other"));
    let node = disk.nodes.get_mut(&inode).unwrap();
    (node.changed, node.data) = (changed, Data::File(b"CONTENT OF FILE".to_vec()));
    world.touch(0, path("file"));
    world.touch(0, path("other"));
    world.rest();
    assert_eq!(world.devices[1].disk.picture()["other"].data, "CONTENT OF FILE", "{}", world.report());
    world.check_converged();
}

/// The service came back from a backup, and others told it anew, while a download was under way: what was downloaded counted as the version
/// that the service has now, whose place is another one.
#[test]
fn what_was_downloaded_from_another_past_of_the_service_is_not_agreed_on() {
    let mut world = with(11, &["before"]);
    let copy = world.service.clone();
    world.devices[0].disk.make(&path("file"), Data::File(b"x".to_vec()));
    world.touch(0, path("file"));
    let writes = |effect: &Effect| matches!(effect, Effect::Apply { action: DiskAction::Write { .. }, .. });
    let write = world.hold(1, writes);
    world.devices_on = 1;
    world.rest();
    (0..2).for_each(|d| world.disconnect(d));
    world.service = copy;
    world.devices[0].disk.rename(&path("file"), &path("moved"));
    world.touch(0, path("file"));
    world.touch(0, path("moved"));
    world.rest();
    world.devices_on = 2;
    world.steps(100);
    world.carry_out(1, write);
    world.settle();
    world.check_converged();
}

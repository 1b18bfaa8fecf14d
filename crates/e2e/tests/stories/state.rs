//! The state of a device is a convenience: without it the folder and the service are merged by content.

use crate::write;
use stacksync_e2e::proxy::Proxy;
use stacksync_e2e::random::Random;
use stacksync_e2e::seed;
use stacksync_e2e::server::Invitation;
use stacksync_e2e::world::World;

#[test]
fn a_deleted_state_database_costs_neither_conflicts_nor_deletions_nor_uploads() {
    let world = World::new();
    let proxy = Proxy::to(world.server.address());
    let a = world.stranger("a");
    a.join(&Invitation { url: format!("http://{}", proxy.address()), ..world.invite() });
    let b = world.device("b");
    seed::grow(a.root(), 500, &mut Random::from_environment("a deleted state"));
    world.settle(&[&a, &b]);
    let whole = a.tree();
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(a.home().join(name));
    }
    let before = proxy.bytes().0;
    a.sync_once();
    let sent = proxy.bytes().0 - before;
    b.sync_once();
    assert!(whole.difference(&a.tree()).is_empty(), "{:?}", whole.difference(&a.tree()));
    assert!(whole.difference(&b.tree()).is_empty(), "{:?}", whole.difference(&b.tree()));
    assert!(sent < 1024 * 1024, "{sent} bytes sent: contents were uploaded again");
}

#[test]
fn a_deleted_state_database_keeps_what_was_changed_on_both_sides() {
    let (world, [a, b]) = World::with_devices();
    seed::grow_flat(a.root(), 200, 300, &mut Random::from_environment("a deleted state with changes"));
    world.settle(&[&a, &b]);
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(a.home().join(name));
    }
    write(&a.path("folder-0/file-1"), "changed here");
    write(&b.path("folder-0/file-2"), "changed there");
    write(&b.path("added there"), "added there");
    b.sync_once();
    world.settle(&[&a, &b]);
    let contents = a.tree().contents();
    for text in ["changed here", "changed there", "added there"] {
        assert!(contents.contains(blake3::hash(text.as_bytes()).as_bytes()), "{text:?} is lost");
    }
}

#[test]
fn a_device_that_leaves_keeps_its_files_and_can_join_again() {
    let (world, [a, b]) = World::with_devices();
    seed::grow_flat(a.root(), 300, 300, &mut Random::from_environment("leave and join"));
    world.settle(&[&a, &b]);
    let whole = a.tree();
    a.must(&["leave"]);
    assert!(whole.difference(&a.tree()).is_empty(), "leaving touched the folder");
    a.must_fail(&["sync", "--once"]);
    a.join(&world.invite());
    world.settle(&[&a, &b]);
    assert!(whole.difference(&a.tree()).is_empty(), "{:?}", whole.difference(&a.tree()));
}

#[test]
fn only_one_sync_runs_in_a_home() {
    let (_world, [mut a]) = World::with_devices();
    a.start();
    write(&a.path("file"), "text");
    let said = stacksync_e2e::wait::until("a second one is refused", || {
        let output = a.run(&["sync", "--once"]);
        if output.status.success() { Err("it ran".to_owned()) } else { Ok(stacksync_e2e::process::printed(&output)) }
    });
    assert!(!said.is_empty());
    assert!(!a.ended());
}

//! A second workspace is a folder in the first one, with a life of its own.

use crate::{read, write};
use stacksync_e2e::device::wait_until_same;
use stacksync_e2e::random::Random;
use stacksync_e2e::seed;
use stacksync_e2e::tree::assert_same;
use stacksync_e2e::wait::until_true;
use stacksync_e2e::world::{USER, World};

#[test]
fn a_second_workspace_appears_and_syncs_beside_the_first() {
    let (world, [mut a, mut b]) = World::with_devices();
    write(&a.path("in the first"), "first");
    world.settle(&[&a, &b]);
    world.server.admin(&["workspace", "add", "--user", USER, "--path", "Project"]);
    a.sync_once();
    assert!(a.path("Project").is_dir(), "the new workspace has no folder: {:?}", a.tree().0.keys());
    seed::grow_flat(&a.path("Project"), 200, 500, &mut Random::from_environment("a second workspace"));
    world.settle(&[&a, &b]);
    assert!(b.tree().files() == 201);

    a.start();
    b.start();
    write(&b.path("Project/live"), "live in the second");
    write(&b.path("live"), "live in the first");
    until_true("a has both", || a.path("Project/live").exists() && a.path("live").exists());
    std::fs::rename(a.path("Project/live"), a.path("moved out")).unwrap();
    until_true("b has it moved", || b.path("moved out").exists() && !b.path("Project/live").exists());
    assert_eq!(read(&b.path("moved out")), "live in the second");
    wait_until_same(&[&a, &b]);
}

#[test]
fn a_workspace_that_is_added_while_devices_run_appears() {
    let (world, [mut a, mut b]) = World::with_devices();
    a.start();
    b.start();
    write(&a.path("hello"), "hello");
    until_true("they run", || b.path("hello").exists());
    world.server.admin(&["workspace", "add", "--user", USER, "--path", "Later"]);
    until_true("it appears on both", || a.path("Later").is_dir() && b.path("Later").is_dir());
    write(&a.path("Later/file"), "text");
    until_true("it is followed", || b.path("Later/file").exists());
    assert_same(a.root(), b.root());
}

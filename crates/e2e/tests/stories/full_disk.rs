//! A disk that gets full, on either side: told, nothing torn, and it goes on when there is room.

use crate::write;
use stacksync_e2e::random::Random;
use stacksync_e2e::server::Server;
use stacksync_e2e::small_disk::SmallDisk;
use stacksync_e2e::tree::{Tree, assert_same};
use stacksync_e2e::world::World;

const MIB: u64 = 1024 * 1024;

fn fill(root: &std::path::Path, random: &mut Random) {
    for number in 0..40 {
        write(&root.join(format!("file-{number}")), random.bytes(MIB as usize));
    }
}

#[test]
fn a_full_disk_of_a_device_is_told_and_tears_nothing() {
    let world = World::new();
    let a = world.device("a");
    fill(a.root(), &mut Random::from_environment("a full device"));
    a.sync_once();
    let b = world.stranger("b");
    let disk = SmallDisk::mount(b.root(), 16 * MIB);
    b.join(&world.invite());
    let said = b.must_fail(&["sync", "--once"]);
    assert!(said.to_lowercase().contains("space"), "it does not say why:\n{said}");
    let whole = a.tree();
    for (path, entry) in &b.tree().0 {
        assert_eq!(whole.0.get(path), Some(entry), "{path} is torn or left over");
    }
    disk.grow(64 * MIB);
    world.settle(&[&a, &b]);
}

#[test]
fn a_full_disk_of_the_server_is_told_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&dir.path().join("data"), 16 * MIB);
    let mut server = Server::new(dir.path());
    server.start();
    let invitation = server.add_user("ada");
    let a = stacksync_e2e::device::Device::new(dir.path(), "a");
    a.join(&invitation);
    write(&a.path("early"), "before the disk is full");
    a.sync_once();
    fill(a.root(), &mut Random::from_environment("a full server"));
    let whole = Tree::of(a.root());
    a.must_fail(&["sync", "--once"]);
    let (status, _) = stacksync_e2e::http::get(server.address(), "/healthz").unwrap();
    assert_eq!(status, 200, "the server did not live through a full disk:\n{}", stacksync_e2e::process::tail(server.log()));

    disk.grow(96 * MIB);
    a.sync_once();
    let b = stacksync_e2e::device::Device::new(dir.path(), "b");
    b.join(&server.invite("ada"));
    b.sync_once();
    assert_same(a.root(), b.root());
    assert!(whole.difference(&b.tree()).is_empty());
    server.kill();
}

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

/// Takes all the room that a disk has, until it is removed again.
fn balloon(folder: &std::path::Path) -> std::path::PathBuf {
    use std::io::Write;
    let path = folder.join("balloon");
    let mut file = std::fs::File::create(&path).unwrap();
    for size in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    path
}

#[test]
fn a_full_disk_of_the_servers_database_is_told_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let _disk = SmallDisk::mount(&data, 8 * MIB);
    let _chunks = SmallDisk::mount(&data.join("chunks"), 64 * MIB);
    // Its own database: PostgreSQL would not be on this disk.
    let mut server = Server::new(dir.path()).with_database(None);
    // The server takes an empty directory only.
    std::fs::write(data.join("format"), "stacksync-server data, format 1\n").unwrap();
    server.start();
    let a = stacksync_e2e::device::Device::new(dir.path(), "a");
    a.join(&server.add_user("ada"));
    write(&a.path("early"), "before the disk is full");
    a.sync_once();

    let balloon = balloon(&data);
    for number in 0..400 {
        write(&a.path(&format!("late/file-{number}")), format!("late {number}"));
    }
    let whole = Tree::of(a.root());
    a.must_fail(&["sync", "--once"]);
    let (status, _) = stacksync_e2e::http::get(server.address(), "/healthz").unwrap();
    assert_eq!(status, 200, "the server did not live through a full disk:\n{}", stacksync_e2e::process::tail(server.log()));
    // Also one that dies on the full disk comes back with what it had.
    server.kill();
    std::fs::remove_file(balloon).unwrap();
    server.start();
    a.sync_once();
    let b = stacksync_e2e::device::Device::new(dir.path(), "b");
    b.join(&server.invite("ada"));
    b.sync_once();
    assert!(whole.difference(&b.tree()).is_empty());
    assert_same(a.root(), b.root());
    stacksync_e2e::crash::checks::database_is_in_order(&data.join("stacksync.db"));
    server.kill();
}

#[test]
fn a_full_disk_of_a_devices_home_is_told_and_loses_nothing() {
    let world = World::new();
    let a = world.device("a");
    let b = world.stranger("b");
    let _disk = SmallDisk::mount(b.home(), 4 * MIB);
    b.join(&world.invite());
    write(&a.path("early"), "before the disk is full");
    world.settle(&[&a, &b]);

    let balloon = balloon(b.home());
    for number in 0..100 {
        write(&a.path(&format!("from a/file-{number}")), format!("a {number}"));
    }
    write(&a.path("early"), "replaced while there is no room for the old one");
    write(&b.path("from b"), "written while the state cannot be kept");
    a.sync_once();
    let said = b.must_fail(&["sync", "--once"]);
    assert!(said.to_lowercase().contains("full") || said.contains("space"), "it does not say why:\n{said}");
    let before = a.tree();
    for (path, entry) in b.tree().0.iter().filter(|(path, _)| *path != "from b" && *path != "early") {
        assert_eq!(before.0.get(path), Some(entry), "{path} is torn or left over");
    }
    std::fs::remove_file(balloon).unwrap();
    world.settle(&[&a, &b]);
    assert!(a.path("from b").exists());
    assert_eq!(crate::read(&b.path("early")), "replaced while there is no room for the old one");
    stacksync_e2e::crash::checks::device_is_tidy(&b, &b.tree());
}

//! A move is one change of one item, whatever it holds; what the storage has is not sent again.

use crate::write;
use stacksync_e2e::device::Device;
use stacksync_e2e::proxy::Proxy;
use stacksync_e2e::random::Random;
use stacksync_e2e::seed;
use stacksync_e2e::server::Invitation;
use stacksync_e2e::tree::assert_same;
use stacksync_e2e::world::World;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Two devices; the bytes of the first one are counted.
fn counted(world: &World) -> (Proxy, Device, Device) {
    let proxy = Proxy::to(world.server.address());
    let a = world.stranger("a");
    a.join(&Invitation { url: format!("http://{}", proxy.address()), ..world.invite() });
    (proxy, a, world.device("b"))
}

/// Bytes that the device sends in one sync.
fn sent(proxy: &Proxy, device: &Device) -> u64 {
    let before = proxy.bytes().0;
    device.sync_once();
    proxy.bytes().0 - before
}

#[test]
fn renaming_a_folder_of_thousands_is_one_small_change() {
    let world = World::new();
    let (proxy, a, b) = counted(&world);
    seed::grow_flat(&a.path("folder"), 3_000, 500, &mut Random::from_environment("renaming a folder"));
    world.settle(&[&a, &b]);
    std::fs::create_dir(a.path("elsewhere")).unwrap();
    std::fs::rename(a.path("folder"), a.path("elsewhere/renamed")).unwrap();
    let bytes = sent(&proxy, &a);
    assert!(bytes < 16 * KIB, "{bytes} bytes sent for one rename");
    b.sync_once();
    assert_same(a.root(), b.root());
    assert!(!b.path("folder").exists());
}

#[test]
fn moved_and_copied_files_upload_nothing() {
    let world = World::new();
    let (proxy, a, b) = counted(&world);
    let mut random = Random::from_environment("moved and copied");
    write(&a.path("big"), random.bytes(6 * MIB as usize));
    world.settle(&[&a, &b]);
    write(&a.path("copies/one"), std::fs::read(a.path("big")).unwrap());
    std::fs::rename(a.path("big"), a.path("copies/moved")).unwrap();
    let bytes = sent(&proxy, &a);
    assert!(bytes < 32 * KIB, "{bytes} bytes sent for a copy and a move");
    b.sync_once();
    assert_same(a.root(), b.root());
}

#[test]
fn a_byte_in_front_of_a_large_file_sends_little() {
    let world = World::new();
    let (proxy, a, b) = counted(&world);
    let mut content = Random::from_environment("a byte in front").bytes(24 * MIB as usize);
    write(&a.path("big"), &content);
    world.settle(&[&a, &b]);
    content.insert(0, 42);
    write(&a.path("big"), &content);
    let bytes = sent(&proxy, &a);
    assert!(bytes < 4 * MIB + 64 * KIB, "{bytes} bytes sent: more than two chunks");
    b.sync_once();
    assert_same(a.root(), b.root());
}

#[test]
fn names_can_be_swapped_and_rotated() {
    let (world, [a, b]) = World::with_devices();
    for name in ["one", "two", "three"] {
        write(&a.path(&format!("{name}/file")), name);
        write(&a.path(&format!("{name}.txt")), name);
    }
    world.settle(&[&a, &b]);
    for ends in [["", "/"], [".txt", ".txt"]] {
        let at = |name: &str| a.path(&format!("{name}{}", ends[0]));
        std::fs::rename(at("one"), at("aside")).unwrap();
        std::fs::rename(at("two"), at("one")).unwrap();
        std::fs::rename(at("three"), at("two")).unwrap();
        std::fs::rename(at("aside"), at("three")).unwrap();
    }
    let wanted = a.tree();
    world.settle(&[&a, &b]);
    assert!(wanted.difference(&b.tree()).is_empty(), "{:?}", wanted.difference(&b.tree()));
}

#[test]
fn a_folder_moves_into_one_that_was_inside_it() {
    let (world, [a, b]) = World::with_devices();
    write(&a.path("outer/inner/file"), "deep");
    world.settle(&[&a, &b]);
    std::fs::rename(a.path("outer/inner"), a.path("inner")).unwrap();
    std::fs::rename(a.path("outer"), a.path("inner/outer")).unwrap();
    let wanted = a.tree();
    world.settle(&[&a, &b]);
    assert!(wanted.difference(&b.tree()).is_empty(), "{:?}", wanted.difference(&b.tree()));
}

#[test]
fn files_become_folders_and_links_and_back() {
    let (world, [a, b]) = World::with_devices();
    write(&a.path("thing"), "a file");
    write(&a.path("bag/inside"), "inside a folder");
    std::os::unix::fs::symlink("thing", a.path("pointer")).unwrap();
    world.settle(&[&a, &b]);

    std::fs::remove_file(a.path("thing")).unwrap();
    write(&a.path("thing/now/a folder"), "with a file");
    std::fs::remove_dir_all(a.path("bag")).unwrap();
    std::os::unix::fs::symlink("elsewhere", a.path("bag")).unwrap();
    std::fs::remove_file(a.path("pointer")).unwrap();
    write(&a.path("pointer"), "a file now");
    let wanted = a.tree();
    world.settle(&[&a, &b]);
    assert!(wanted.difference(&b.tree()).is_empty(), "{:?}", wanted.difference(&b.tree()));

    std::fs::remove_dir_all(b.path("thing")).unwrap();
    write(&b.path("thing"), "a file again");
    let wanted = b.tree();
    world.settle(&[&b, &a]);
    assert!(wanted.difference(&a.tree()).is_empty(), "{:?}", wanted.difference(&a.tree()));
}

#[test]
fn a_name_that_changes_only_its_case_changes() {
    let (world, [a, b]) = World::with_devices();
    write(&a.path("readme/file"), "text");
    world.settle(&[&a, &b]);
    std::fs::rename(a.path("readme"), a.path("README")).unwrap();
    world.settle(&[&a, &b]);
    assert_eq!(b.tree().paths_with("readme").len() + b.tree().paths_with("README").len(), 2);
    assert!(b.path("README/file").exists());
}

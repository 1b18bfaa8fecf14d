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

//! A chunk that is damaged or missing in the storage never reaches a file; it is told, and it heals.

use crate::{read, write};
use stacksync_e2e::device::Device;
use stacksync_e2e::random::Random;
use stacksync_e2e::world::World;
use std::path::{Path, PathBuf};

/// Two devices that share `doc`; then the first one changes it. The chunk of the change, and what `doc` holds then.
pub fn changed_document(story: &str) -> (World, Device, Device, PathBuf, Vec<u8>) {
    let (world, [a, b]) = World::with_devices();
    write(&a.path("doc"), "first version");
    write(&a.path("other"), "another file");
    world.settle(&[&a, &b]);
    let before = world.server.chunk_files();
    let content = Random::from_environment(story).bytes(50_000);
    write(&a.path("doc"), &content);
    a.sync_once();
    let new: Vec<PathBuf> = world.server.chunk_files().into_iter().filter(|file| !before.contains(file)).collect();
    assert_eq!(new.len(), 1, "{new:?}");
    (world, a, b, new[0].clone(), content)
}

/// The device says that it cannot have the document, keeps the one it has, and syncs everything else.
pub fn must_hold_on(b: &Device) {
    write(&b.path("from b"), "goes its way");
    let said = b.must_fail(&["sync", "--once"]);
    assert!(said.contains("doc"), "it does not name the file:\n{said}");
    assert_eq!(read(&b.path("doc")), "first version", "the person's file was touched");
    assert!(b.problems().contains("doc"), "status does not tell: {}", b.problems());
}

pub fn must_heal(world: &World, a: &Device, b: &Device, content: &[u8]) {
    world.settle(&[b, a]);
    assert_eq!(std::fs::read(b.path("doc")).unwrap(), content);
    assert!(a.path("from b").exists());
    assert!(!b.problems().contains("doc"), "the problem stays: {}", b.problems());
}

pub fn damage(chunk: &Path) {
    let mut bytes = std::fs::read(chunk).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(chunk, bytes).unwrap();
}

#[test]
fn a_missing_chunk_leaves_the_file_alone_and_heals() {
    let (world, a, b, chunk, content) = changed_document("a missing chunk");
    let whole = std::fs::read(&chunk).unwrap();
    std::fs::remove_file(&chunk).unwrap();
    must_hold_on(&b);
    std::fs::write(&chunk, whole).unwrap();
    must_heal(&world, &a, &b, &content);
}

#[test]
fn a_truncated_chunk_leaves_the_file_alone_and_heals() {
    let (world, a, b, chunk, content) = changed_document("a truncated chunk");
    let whole = std::fs::read(&chunk).unwrap();
    std::fs::write(&chunk, &whole[..whole.len() / 3]).unwrap();
    must_hold_on(&b);
    std::fs::write(&chunk, whole).unwrap();
    must_heal(&world, &a, &b, &content);
}

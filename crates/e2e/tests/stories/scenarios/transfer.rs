//! Bytes on their way: what is torn or damaged there never reaches a file, and never comes back as somebody's edit.

use crate::crash::{KILLS, stage};
use crate::storage::{changed_document, damage, must_heal, must_hold_on};
use crate::write;
use stacksync_e2e::device::wait_until_same;
use stacksync_e2e::proxy::Proxy;
use stacksync_e2e::random::Random;
use stacksync_e2e::server::Invitation;
use stacksync_e2e::wait::until_true;
use stacksync_e2e::world::World;
use std::collections::BTreeSet;

#[test]
fn torn_upload() {
    let mut stage = stage("killed while it sends");
    for _ in 0..KILLS {
        stage.a.start();
        stage.random_moment();
        stage.a.kill();
    }
    stage.must_end_well();
}

#[test]
fn torn_download() {
    let mut stage = stage("killed while it receives");
    stage.a.sync_once();
    for _ in 0..KILLS {
        stage.b.start();
        stage.random_moment();
        stage.b.kill();
        let found = stage.b.tree();
        let torn: Vec<_> = found.0.iter().filter(|(path, entry)| stage.wanted.0.get(*path) != Some(*entry)).collect();
        let torn: Vec<_> = torn.iter().filter(|(path, _)| !path.contains(".~stacksync-")).collect();
        assert!(torn.is_empty(), "half-written files: {torn:?}");
    }
    stage.must_end_well();
}

#[test]
fn corruption_propagated_as_an_edit() {
    let (world, a, b, chunk, content) = changed_document("a damaged chunk");
    let whole = std::fs::read(&chunk).unwrap();
    damage(&chunk);
    must_hold_on(&b);
    a.sync_once();
    assert_eq!(std::fs::read(a.path("doc")).unwrap(), content, "the damage came back to where the file is whole");
    std::fs::write(&chunk, whole).unwrap();
    must_heal(&world, &a, &b, &content);
}

/// The person saves while the next version of the same file comes in: both texts are there in the end, and no mixture of them.
#[test]
fn edit_during_download() {
    const ROUNDS: usize = 5;
    const BYTES: usize = 8_000_000;
    let world = World::new();
    let mut random = Random::from_environment("edit during download");
    let mut a = world.device("a");
    let proxy = Proxy::to(world.server.address());
    let mut b = world.stranger("b");
    b.join(&Invitation { url: format!("http://{}", proxy.address()), ..world.invite() });
    a.start();
    b.start();
    write(&a.path("doc"), "the first words");
    wait_until_same(&[&a, &b]);
    let mut written = BTreeSet::new();
    for round in 0..ROUNDS {
        let arriving = random.bytes(BYTES);
        let limit = random.below(BYTES / 2) as u64;
        proxy.hold_after(limit);
        write(&a.path("doc"), &arriving);
        until_true("a part of it arrives", || proxy.is_holding());
        let words = format!("saved on b in round {round}");
        write(&b.path("doc"), &words);
        proxy.go_on();
        written.insert(*blake3::hash(words.as_bytes()).as_bytes());
        let arrived = *blake3::hash(&arriving).as_bytes();
        until_true("both are on both", || {
            let wanted: BTreeSet<[u8; 32]> = written.iter().copied().chain([arrived]).collect();
            a.tree().contents() == wanted && b.tree().contents() == wanted
        });
    }
    wait_until_same(&[&a, &b]);
}

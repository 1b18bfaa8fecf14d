//! A server that has grown out of its file moves its metadata to a database; its devices notice nothing.

use crate::write;
use serde_json::Value;
use stacksync_e2e::postgres::Database;
use stacksync_e2e::process::printed;
use stacksync_e2e::random::Random;
use stacksync_e2e::seed;
use stacksync_e2e::wait;
use stacksync_e2e::world::World;

#[test]
fn metadata_moves_to_a_database_and_devices_go_on() {
    let (mut world, [a, b]) = World::with_devices();
    seed::grow_flat(a.root(), 200, 300, &mut Random::from_environment("growing"));
    world.settle(&[&a, &b]);
    let chunks = world.server.chunk_files();
    let database = Database::fresh();

    let refused = world.server.admin_output(&["copy", "--to", &database.url()]);
    assert!(!refused.status.success(), "copied beside a running service:\n{}", printed(&refused));
    world.server.stop();
    // What is not told yet stays to be told; nothing else changes. Where instances share a database, one that has just ended may count as
    // running for some seconds.
    let copied: Value = wait::until("the metadata is copied", || {
        let output = world.server.admin_output(&["copy", "--to", &database.url(), "--json"]);
        serde_json::from_slice(&output.stdout).map_err(|_| printed(&output))
    });
    assert!(copied["rows"]["items"].as_u64().unwrap() >= 200, "{copied}");
    assert!(!copied.to_string().contains("stacksync:stacksync"), "the password is shown: {copied}");
    let again = world.server.admin_output(&["copy", "--to", &database.url()]);
    assert!(!again.status.success() && printed(&again).contains("not empty"), "{}", printed(&again));

    world.server.keep_metadata_in(database);
    world.server.start();
    write(&a.path("after"), "on the other store");
    std::fs::remove_file(b.path("folder-0/file-1")).unwrap();
    let before = b.tree();
    world.settle(&[&a, &b]);
    assert!(!a.path("folder-0/file-1").exists() && b.path("after").exists());
    assert!(before.0.len() <= b.tree().0.len());
    assert_eq!(world.server.chunk_files().len(), chunks.len() + 1, "contents were uploaded again");
}

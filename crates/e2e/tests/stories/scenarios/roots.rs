//! One of the two sides is suddenly not what it was: a folder without its files, a server without its past.

use crate::write;
use stacksync_e2e::device::Device;
use stacksync_e2e::random::Random;
use stacksync_e2e::seed;
use stacksync_e2e::server::Server;
use stacksync_e2e::world::World;

#[test]
fn unmounted_root() {
    let (world, [a, b]) = World::with_devices();
    seed::grow_flat(a.root(), 200, 300, &mut Random::from_environment("a disk that is not mounted"));
    world.settle(&[&a, &b]);
    let whole = b.tree();
    {
        // Something else, and empty, is where the folder was.
        let _other = stacksync_e2e::small_disk::SmallDisk::mount(a.root(), 1024 * 1024);
        a.must_fail(&["sync", "--once"]);
        assert!(a.tree().0.is_empty(), "it filled the wrong disk");
    }
    world.settle(&[&a, &b]);
    assert!(whole.difference(&b.tree()).is_empty());
}

#[test]
fn emptied_root() {
    let (world, [a, b]) = World::with_devices();
    seed::grow_flat(a.root(), 200, 300, &mut Random::from_environment("an emptied folder"));
    world.settle(&[&a, &b]);
    let whole = b.tree();
    for entry in std::fs::read_dir(a.root()).unwrap() {
        std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    a.must_fail(&["sync", "--once"]);
    b.sync_once();
    assert!(whole.difference(&b.tree()).is_empty(), "an emptied folder emptied another");
}

/// The contents of these texts.
fn of(texts: &[&str]) -> std::collections::BTreeSet<[u8; 32]> {
    texts.iter().map(|text| *blake3::hash(text.as_bytes()).as_bytes()).collect()
}

/// The administrator restores an older copy of the data directory. What only the devices still know comes back from them; nothing is
/// deleted because the server does not know it.
#[test]
fn server_back_in_time() {
    let (mut world, [a, b]) = World::with_devices();
    for name in ["stays", "edited", "renamed", "deleted later"] {
        write(&a.path(name), format!("{name}, before the copy"));
    }
    world.settle(&[&a, &b]);
    // The latest thing in the copy stays as it is, so devices can tell that all of the copy is a past that they know. Of a file that was
    // the latest and is edited afterwards they cannot: both contents are kept then.
    write(&a.path("latest"), "latest, before the copy");
    world.settle(&[&a, &b]);
    world.server.stop();
    let backup = world.server.back_up(&world.path("backup"));
    world.server.start();

    write(&a.path("edited"), "edited after the copy");
    std::fs::rename(a.path("renamed"), a.path("a new name")).unwrap();
    write(&a.path("folder/made"), "made after the copy");
    world.settle(&[&a, &b]);
    let wanted = a.tree();

    world.server.stop();
    world.server.restore(&backup);
    world.server.start();
    world.settle(&[&a, &b]);
    let lines = wanted.difference(&a.tree());
    assert!(lines.is_empty(), "not what both had:\n{}", lines.join("\n"));
}

/// The same, and a device that was away since before the copy works on, alone at first. When the others come, the server has as many
/// changes as they ever saw of it, but other ones.
#[test]
fn server_back_in_time_and_past_where_it_was() {
    for others in [0, 1, 2, 3, 4, 12] {
        let (mut world, [a, b, late]) = World::with_devices();
        for name in ["stays", "hot", "edited", "gone"] {
            write(&a.path(name), format!("{name}, before the copy"));
        }
        world.settle(&[&a, &b, &late]);
        world.server.stop();
        let backup = world.server.back_up(&world.path("backup"));
        world.server.start();

        write(&a.path("hot"), "hot, by a");
        write(&b.path("edited"), "edited, by b");
        write(&a.path("made"), "made by a");
        world.settle(&[&a, &b]);
        std::fs::remove_file(a.path("gone")).unwrap();
        world.settle(&[&a, &b]);

        world.server.stop();
        world.server.restore(&backup);
        world.server.start();
        for number in 0..others {
            write(&late.path("hot"), format!("hot, by the late one, {number}"));
            late.sync_once();
        }
        write(&late.path("of the late one"), "made by the late one");
        world.settle(&[&late, &a, &b]);

        let texts = ["stays, before the copy", "hot, by a", "edited, by b", "made by a", "made by the late one"];
        let missing = of(&texts).difference(&a.tree().contents()).count();
        assert_eq!(missing, 0, "after {others} changes of another one: {:?}", a.tree().0.keys());
        if others > 0 {
            let last = format!("hot, by the late one, {}", others - 1);
            assert!(of(&[&last]).is_subset(&a.tree().contents()), "{last:?} is lost");
        }
    }
}

/// Everybody joins a server that knows nothing, with the folders that they have: they are one again, without copies.
#[test]
fn fresh_server_with_an_existing_folder() {
    let (mut world, [a, b]) = World::with_devices();
    seed::grow_flat(a.root(), 200, 300, &mut Random::from_environment("a fresh server"));
    world.settle(&[&a, &b]);
    write(&a.path("only on a"), "a");
    write(&b.path("only on b"), "b");
    let mut wanted = a.tree();
    wanted.0.extend(b.tree().0);
    world.server.stop();

    let fresh = world.path("fresh");
    std::fs::create_dir(&fresh).unwrap();
    world.server = Server::new(&fresh);
    world.server.start();
    world.server.add_user(stacksync_e2e::world::USER);
    let join_again = |device: &Device| {
        device.must(&["leave"]);
        device.join(&world.invite());
    };
    join_again(&a);
    join_again(&b);
    world.settle(&[&a, &b]);
    let lines = wanted.difference(&a.tree());
    assert!(lines.is_empty(), "not the sum of both:\n{}", lines.join("\n"));
}

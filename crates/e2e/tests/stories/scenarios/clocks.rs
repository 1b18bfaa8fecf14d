//! Clocks and times say nothing about what is newer.

use crate::clock::at;
use crate::{read, write};
use stacksync_e2e::process::{printed, run};
use stacksync_e2e::tree::assert_same;
use stacksync_e2e::wait::PATIENCE;
use stacksync_e2e::world::World;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[test]
fn clock_skew() {
    let (_world, [a, b]) = World::with_devices();
    for (round, (of_a, of_b)) in [("-3y", "+3y"), ("+3y", "-3y"), ("+0", "-10y")].into_iter().enumerate() {
        write(&a.path("shared"), format!("a in round {round}"));
        write(&a.path(&format!("of a {round}")), "a");
        write(&b.path(&format!("of b {round}")), "b");
        for (device, offset) in [(&a, of_a), (&b, of_b), (&a, of_a)] {
            let output = run(at(device.command(&["sync", "--once"]), offset), PATIENCE);
            assert!(output.status.success(), "round {round}, {offset}: {}", printed(&output));
        }
        assert_same(a.root(), b.root());
        assert_eq!(read(&b.path("shared")), format!("a in round {round}"));
    }
    assert_eq!(a.tree().0.len(), 7, "there are copies that nobody made: {:?}", a.tree().0.keys());
}

fn set_time(path: &Path, time: SystemTime) {
    std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

fn time_of(path: &Path) -> SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

/// A new time alone sends no bytes and makes no copies, also when both sides set one; and an edit that leaves the time as it was is one.
#[test]
fn mtime_only_change() {
    let (world, [a, b]) = World::with_devices();
    write(&a.path("doc"), "some words");
    write(&a.path("both"), "other words");
    world.settle(&[&a, &b]);
    let chunks = world.server.chunk_files();
    let old = UNIX_EPOCH + Duration::new(1_100_000_000, 5);
    set_time(&a.path("doc"), old);
    set_time(&a.path("both"), old + Duration::from_secs(1));
    set_time(&b.path("both"), old + Duration::from_secs(2));
    world.settle(&[&a, &b]);
    assert_eq!(time_of(&b.path("doc")), old);
    assert_eq!(time_of(&a.path("both")), time_of(&b.path("both")));
    assert_eq!(a.tree().files(), 2, "{:?}", a.tree().0.keys());
    assert_eq!(world.server.chunk_files(), chunks);

    write(&a.path("doc"), "SOME WORDS");
    set_time(&a.path("doc"), old);
    world.settle(&[&a, &b]);
    assert_eq!((read(&b.path("doc")).as_str(), time_of(&b.path("doc"))), ("SOME WORDS", old));
}

//! Clocks that are wrong: nothing is ordered, kept or thrown away by a wall clock. The programs run with libfaketime, which
//! `scripts/test` installs; without it the stories fail.

use crate::{read, write};
use stacksync_e2e::process::{printed, run};
use stacksync_e2e::tree::assert_same;
use stacksync_e2e::wait::PATIENCE;
use stacksync_e2e::world::World;
use std::path::PathBuf;
use std::process::Command;

fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path().join("faketime/libfaketime.so.1"));
    folders.into_iter().find(|path| path.exists()).expect("libfaketime is installed (apt-get install faketime)")
}

/// The same command with its wall clock moved, for example by `-3y`.
fn at(mut command: Command, offset: &str) -> Command {
    command.env("LD_PRELOAD", library()).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command
}

#[test]
fn devices_whose_clocks_are_years_apart_agree() {
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

#[test]
fn a_server_whose_clock_jumps_goes_on() {
    let (mut world, [a, b]) = World::with_devices();
    for (round, offset) in ["+2y", "-2y", "+0"].into_iter().enumerate() {
        world.server.stop();
        let command = at(world.server.command(), offset);
        world.server.start_with(command);
        write(&a.path(&format!("round {round}")), offset);
        world.settle(&[&a, &b]);
        assert_same(a.root(), b.root());
    }
}

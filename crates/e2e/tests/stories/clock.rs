//! Clocks that are wrong: nothing is ordered, kept or thrown away by a wall clock. The programs run with libfaketime, which
//! `scripts/test` installs; without it the stories fail.

use crate::write;
use stacksync_e2e::tree::assert_same;
use stacksync_e2e::world::World;
use std::path::PathBuf;
use std::process::Command;

fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path().join("faketime/libfaketime.so.1"));
    folders.into_iter().find(|path| path.exists()).expect("libfaketime is installed (apt-get install faketime)")
}

/// The same command with its wall clock moved, for example by `-3y`.
pub fn at(mut command: Command, offset: &str) -> Command {
    command.env("LD_PRELOAD", library()).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command
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

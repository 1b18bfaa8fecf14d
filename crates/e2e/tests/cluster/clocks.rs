//! Instances whose clocks differ by hours: what one of them signs is good at the other.

use crate::backends;
use stacksync_e2e::cluster::Cluster;
use stacksync_e2e::device::{Device, settle};
use stacksync_e2e::process::printed;
use stacksync_e2e::random::Random;
use stacksync_e2e::seed;
use stacksync_e2e::wait::until;
use std::path::PathBuf;

fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path().join("faketime/libfaketime.so.1"));
    folders.into_iter().find(|path| path.exists()).expect("libfaketime is installed (apt-get install faketime)")
}

#[test]
fn a_clock_that_is_hours_ahead_is_told_and_hinders_nobody() {
    let mut cluster = Cluster::start(&backends(), 2, &[]);
    let devices = ["a", "b"].map(|name| {
        let device = Device::new(cluster.dir(), name);
        device.join(&cluster.invite());
        device
    });
    cluster.instances[0].stop();
    let mut command = cluster.instances[0].command();
    // Longer than a ticket lives.
    command.env("LD_PRELOAD", library()).env("FAKETIME", "+3h").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    cluster.instances[0].start_with(command);
    until("the difference is told", || {
        let status = cluster.instances[1].admin_output(&["cluster", "status"]);
        let printed = printed(&status);
        let told = status.status.code() == Some(8) && printed.contains("ahead of the database's");
        if told { Ok(()) } else { Err(printed) }
    });
    let [a, b] = &devices;
    seed::grow_flat(&a.path("of a"), 30, 500, &mut Random::from_environment("clocks"));
    seed::grow_flat(&b.path("of b"), 30, 500, &mut Random::from_environment("clocks"));
    settle(&[a, b]);
    assert_eq!(a.tree().files(), 60);
}

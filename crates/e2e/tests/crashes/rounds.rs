//! A few rounds of crashes at random; `crash_rounds` plays thousands.

use stacksync_e2e::crash::play::Play;
use stacksync_e2e::random::Random;

fn rounds(devices: usize, count: usize) {
    let seed = Random::from_environment("crashes at random").next();
    let dir = tempfile::Builder::new().prefix("stacksync-crash-").tempdir().unwrap();
    println!("crash_rounds --seed {seed} plays a world like this one");
    let mut play = Play::new(dir.path(), devices, seed);
    for _ in 0..count {
        play.round();
    }
}

#[test]
fn two_devices_and_the_server_are_crashed_at_random() {
    rounds(2, 15);
}

#[test]
fn three_devices_and_the_server_are_crashed_at_random() {
    rounds(3, 10);
}

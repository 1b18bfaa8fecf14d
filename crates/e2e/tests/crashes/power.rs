//! Power loss, live and replayed to prefixes of what was written; and the proof that a missing `fsync` would be seen.

use stacksync_e2e::crash::database::{self, DatabasePlay, open_dir};
use stacksync_e2e::crash::power::PowerPlay;
use stacksync_e2e::crash::sweep::{self, Density};
use stacksync_e2e::random::Random;
use stacksync_powerfs::Model;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[test]
fn the_power_of_a_server_and_of_a_device_fails_at_random() {
    let seed = Random::from_environment("power loss at random").next();
    let dir = tempfile::tempdir().unwrap();
    let mut play = PowerPlay::new(dir.path(), seed);
    for round in 0..12 {
        play.round();
        println!("round {round}:\n{}", play.play.story());
    }
}

#[test]
fn the_server_keeps_what_it_acknowledged_whenever_its_power_fails() {
    let dir = tempfile::tempdir().unwrap();
    let looked = sweep::server(dir.path(), &Model::default(), Density { step: 3, seeds: 1, start_every: 12 });
    assert!(looked > 50, "{looked}");
}

#[test]
fn a_device_has_whole_files_and_catches_up_whenever_its_power_fails() {
    let dir = tempfile::tempdir().unwrap();
    let looked = sweep::device(dir.path(), &Model::default(), Density { step: 6, seeds: 1, start_every: 1 });
    assert!(looked > 20, "{looked}");
}

#[test]
fn postgresql_is_killed_and_loses_its_power_under_a_service_that_goes_on() {
    let seed = Random::from_environment("crashes of PostgreSQL").next();
    let dir = open_dir();
    let mut play = DatabasePlay::new(dir.path(), seed);
    for round in 0..6 {
        play.round();
        println!("round {round}:\n{}", play.play.story());
    }
}

#[test]
fn postgresql_keeps_what_was_acknowledged_whenever_its_power_fails() {
    let dir = open_dir();
    let looked = database::sweep(dir.path(), &Model::default(), Density { step: 40, seeds: 1, start_every: 5 });
    assert!(looked > 5, "{looked}");
}

/// As if the program forgot to `fsync` what has `forgotten` in its path: the sweep must see it.
fn must_be_seen(forgotten: &str, sweep: fn(&Path, &Model, Density) -> usize, density: Density) {
    let dir = tempfile::tempdir().unwrap();
    let model = Model { forgotten: vec![forgotten.to_owned()] };
    let seen = catch_unwind(AssertUnwindSafe(|| sweep(dir.path(), &model, density))).is_err();
    assert!(seen, "nobody sees that {forgotten} is never made durable");
}

const DENSE: Density = Density { step: 1, seeds: 2, start_every: 1000 };

#[test]
fn a_server_that_forgot_to_sync_its_database_would_be_seen() {
    must_be_seen("stacksync.db-wal", sweep::server, DENSE);
}

#[test]
fn a_server_that_forgot_to_sync_chunks_would_be_seen() {
    must_be_seen("/chunks/tmp/", sweep::server, DENSE);
}

#[test]
fn a_device_that_forgot_to_sync_what_it_received_would_be_seen() {
    must_be_seen("/staging/", sweep::device, DENSE);
}

#[test]
fn a_device_that_forgot_to_sync_its_folders_would_be_seen() {
    must_be_seen("/folder", sweep::device, DENSE);
}

#[test]
fn a_postgresql_that_forgot_to_sync_its_log_would_be_seen() {
    let sweep = |_: &Path, model: &Model, density| database::sweep(open_dir().path(), model, density);
    must_be_seen("/pg_wal/", sweep, Density { step: 40, seeds: 2, start_every: 1000 });
}

//! Accidents under load.

use crate::{backends, invitations};
use stacksync_e2e::cluster::{Backends, Cluster};
use stacksync_e2e::device::{Device, wait_until_same};
use stacksync_e2e::load::Load;
use stacksync_e2e::process::printed;
use stacksync_e2e::random::Random;
use stacksync_e2e::seed;
use stacksync_e2e::tree::assert_holds;
use stacksync_e2e::wait::{until, until_true};
use std::time::Duration;

/// Devices that commit all the time.
const WRITERS: usize = 6;
/// Commits between two accidents.
const BETWEEN: u64 = 100;
/// Connections to the database that are too few for three instances.
const CONNECTIONS: u32 = 14;

/// Plays accidents in a cluster of three under load, with two folders that change meanwhile.
fn play(backends: &Backends, accidents: impl FnOnce(&mut Cluster, &Load)) -> Cluster {
    let mut cluster = Cluster::start(backends, 3, &[]);
    let mut devices = ["a", "b"].map(|name| {
        let device = Device::new(cluster.dir(), name);
        device.join(&cluster.invite());
        device
    });
    devices.iter_mut().for_each(Device::start);
    let [a, b] = &devices;
    let mut random = Random::from_environment("a cluster");
    seed::grow_flat(&a.path("of a before"), 20, 500, &mut random);
    until_true("the line works", || b.path("of a before").exists());
    cluster.instances[1].add_user("load");
    let load = Load::start(cluster.address(), &invitations(WRITERS, || cluster.instances[1].invite("load")));
    load.wait_for_more(BETWEEN);
    seed::grow_flat(&a.path("of a"), 40, 500, &mut random);
    seed::grow_flat(&b.path("of b"), 40, 500, &mut random);
    let (of_a, of_b) = (a.tree().contents(), b.tree().contents());
    accidents(&mut cluster, &load);
    load.wait_for_more(BETWEEN);
    let ledger = load.end();
    println!("{} commits, {} of them sent again, slowest {} ms", ledger.acknowledged, ledger.repeated, ledger.slowest_ms);
    wait_until_same(&[a, b]);
    assert_holds(&a.tree(), &of_b, "b");
    assert_holds(&b.tree(), &of_a, "a");
    cluster
}

#[test]
fn instances_are_killed_one_after_the_other() {
    let cluster = play(&backends(), |cluster, load| {
        for number in 0..3 {
            cluster.kill_and_start(number);
            load.wait_for_more(BETWEEN);
        }
    });
    cluster.wait_until_well(3);
}

#[test]
fn instances_are_restarted_one_after_the_other() {
    let cluster = play(&backends(), |cluster, load| {
        for number in 0..3 {
            cluster.restart(number);
            load.wait_for_more(BETWEEN);
        }
    });
    cluster.wait_until_well(3);
}

#[test]
fn an_instance_that_is_killed_and_stays_away_is_not_missed() {
    let cluster = play(&backends(), |cluster, load| {
        cluster.instances[2].kill();
        load.wait_for_more(BETWEEN);
    });
    until("the loss is told", || {
        let status = cluster.instances[0].admin_output(&["cluster", "status", "--expect", "3"]);
        let printed = printed(&status);
        let told = printed.contains("no sign of life") && printed.contains("2 instance(s) live, 3 should");
        if status.status.code() == Some(8) && told { Ok(()) } else { Err(printed) }
    });
}

#[test]
fn the_database_is_killed_and_started() {
    let backends = backends();
    play(&backends, |_, load| {
        backends.postgres.kill();
        backends.postgres.again();
        load.wait_for_more(BETWEEN);
        backends.postgres.pause();
        backends.postgres.again();
    });
}

/// As after a failover: the one that was primary still answers, and takes no writes.
#[test]
fn the_database_takes_no_writes_for_a_while() {
    play(&backends(), |cluster, load| {
        let database = cluster.instances[0].database().unwrap();
        let name = database.name();
        database.query(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
        let others = "datname = current_database() AND pid <> pg_backend_pid()";
        database.query(&format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {others}"));
        // What had begun may still have been saved.
        let saved = || database.query("SELECT count(*), max(revision) FROM items");
        let (before, acknowledged) = (saved(), load.acknowledged());
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(saved(), before, "something was written");
        assert!(load.acknowledged() <= acknowledged + WRITERS as u64, "something was acknowledged");
        database.query(&format!("BEGIN READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT"));
    });
}

/// Fewer than all instances together would like to have.
#[test]
fn the_database_has_few_connections() {
    let backends = backends();
    play(&backends, |_, load| {
        backends.postgres.pause();
        backends.postgres.again_with_connections(CONNECTIONS);
        load.wait_for_more(BETWEEN);
        backends.postgres.pause();
        backends.postgres.again();
    });
}

#[test]
fn the_broker_is_killed_and_started() {
    let backends = backends();
    play(&backends, |_, load| {
        backends.rabbit.kill(None);
        // Devices of an instance go on without it.
        load.wait_for_more(BETWEEN);
        backends.rabbit.again(None);
    });
}

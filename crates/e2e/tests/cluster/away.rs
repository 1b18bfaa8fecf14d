//! An instance that starts while the database or the broker is away waits for them; what waiting cannot cure ends it with one line.

use crate::backends;
use stacksync_e2e::cluster::Cluster;
use stacksync_e2e::process::{printed, run};
use stacksync_e2e::server::Server;
use stacksync_e2e::wait::until_true;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn log_has(server: &Server, text: &str) -> bool {
    std::fs::read_to_string(server.log()).unwrap_or_default().contains(text)
}

/// What `cluster status` says is wrong; it must be something.
fn wrong(cluster: &Cluster) -> String {
    let status = cluster.instances[0].admin_output(&["cluster", "status", "--json"]);
    assert_eq!(status.status.code(), Some(8), "{}", printed(&status));
    let json: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    json["problems"].to_string()
}

#[test]
fn an_instance_waits_for_its_database_and_its_broker() {
    let backends = backends();
    let mut cluster = Cluster::start(&backends, 1, &[]);
    cluster.instances[0].stop();

    backends.postgres.pause();
    let command = cluster.instances[0].command();
    cluster.instances[0].spawn(command);
    until_true("it says that it waits", || log_has(&cluster.instances[0], "waiting for the metadata database"));
    assert!(wrong(&cluster).contains("the database is away"));
    let asked = Instant::now();
    assert!(cluster.instances[0].stop().success(), "it ends when it is told to, waiting or not");
    assert!(asked.elapsed() < Duration::from_secs(20));
    let command = cluster.instances[0].command();
    cluster.instances[0].spawn(command);
    backends.postgres.again();
    cluster.instances[0].wait_until_ready();
    cluster.instances[0].stop();

    backends.rabbit.pause(None);
    let command = cluster.instances[0].command();
    cluster.instances[0].spawn(command);
    until_true("it says that it waits", || log_has(&cluster.instances[0], "waiting for the message broker"));
    assert!(wrong(&cluster).contains("the message broker is away"));
    backends.rabbit.again(None);
    cluster.instances[0].wait_until_ready();
    cluster.wait_until_well(1);
}

#[test]
fn what_waiting_cannot_cure_ends_it_with_one_line() {
    let cluster = Cluster::start(&backends(), 1, &[]);
    let url = cluster.instances[0].database().unwrap().url();
    for (name, value, code, said) in [
        ("STACKSYNC_POSTGRESQL_URL", url.replace(":stacksync@", ":hunter2@"), 4, "password authentication failed"),
        ("STACKSYNC_POSTGRESQL_URL", format!("{url}_of_nobody"), 4, "does not exist"),
        ("STACKSYNC_OMQ_PASS", "hunter2".to_owned(), 5, "does not accept the user"),
        ("STACKSYNC_OMQ_VHOST", "nowhere".to_owned(), 5, "virtual host"),
    ] {
        let mut other = Server::new(&cluster.dir().join("other"))
            .with_database(cluster.instances[0].database().cloned())
            .with_broker(Some(cluster.virtual_host().clone()));
        other.set(name, &value);
        let output = run(other.command(), PATIENCE);
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(code), "{name}: {text}");
        assert!(text.contains(said) && !text.contains("hunter2"), "{name}: {text}");
        assert_eq!(text.lines().filter(|line| line.contains("ERROR")).count(), 1, "{text}");
    }
}

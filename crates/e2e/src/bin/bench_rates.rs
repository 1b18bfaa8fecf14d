//! Durable commits per second of one instance on PostgreSQL, from the commit's publishing to the receipt of its notice: through
//! RabbitMQ as clients of the original do it, and by WebSocket as ours do. Beside it, in turns, what PostgreSQL itself does with one
//! commit per transaction (`pgbench`, 16 clients): the ceiling of whoever does not group commits.
//!
//! Each client has a user, a workspace and a line of its own; a commit is one new file of two chunks. Clients of either way have an
//! instance and a database of their own, since one with a broker tells everything there as well. Then the times of single commits
//! at 10, 50 and 90 % of the load that 64 clients came to. Options: `--seconds N` (5) of each load, `--runs N` (5), `--clients N` (16 and
//! then 64); `--rabbitmq 0`, `--websocket 0` and `--paced 0` leave something out.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use stacksync_e2e::bench::backends::{Postgres, Rabbit};
use stacksync_e2e::bench::load::{Client, Member, Outcome, Way, at_full_speed, at_rate};
use stacksync_e2e::bench::pgbench::PgBench;
use stacksync_e2e::bench::service::{Service, on_postgresql, with_broker};
use stacksync_e2e::http;
use stacksync_e2e::measure::{become_undisturbed, directory, heading, median, option, percentile, row};
use stacksync_e2e::process::{own_seconds, processor_seconds};
use std::path::Path;
use std::time::Duration;

/// Clients of `pgbench`.
const PGBENCH_CLIENTS: usize = 16;
const CLIENTS: [usize; 2] = [16, 64];

/// What takes part.
struct World {
    rabbit: Rabbit,
    postgres: Postgres,
    with_broker: House,
    alone: House,
}

/// An instance with its users.
struct House {
    service: Service,
    members: Vec<Member>,
}

/// One load: how many come which way, with the least ratio to the ceiling and the one that is aimed at.
struct Load {
    name: &'static str,
    way: Way,
    clients: usize,
    least: f64,
    aim: f64,
}

/// What a load came to, beside the ceiling of its turn.
struct Turn {
    rate: f64,
    ratio: f64,
    p50_ms: f64,
    p99_ms: f64,
    shared: f64,
    /// Processor time of a commit, in microseconds: server, PostgreSQL, broker, this driver.
    costs_us: [f64; 4],
}

fn main() {
    let (seconds, runs) = (option("--seconds", 5), option("--runs", 5));
    heading("durable commits of one new file with two chunks, from publishing to the notice, on PostgreSQL");
    become_undisturbed();
    let dir = directory("rates");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&dir, seconds, runs));
    std::fs::remove_dir_all(&dir).unwrap();
}

async fn measure(dir: &Path, seconds: usize, runs: usize) {
    let world = World::start(dir).await;
    let pgbench = PgBench::new(&world.postgres, dir);
    let port = world.rabbit.port();
    let only = option("--clients", 0);
    let loads: Vec<Load> = CLIENTS
        .into_iter()
        .filter(|clients| only == 0 || *clients == only)
        .flat_map(|clients| {
            let broker = Load { name: "RabbitMQ", way: Way::Broker(port), clients, least: 0.5, aim: 1.0 };
            [broker, Load { name: "WebSocket", way: Way::WebSocket, clients, least: 1.5, aim: 2.5 }]
        })
        .filter(|load| option(if load.way == Way::WebSocket { "--websocket" } else { "--rabbitmq" }, 1) > 0)
        .collect();
    let mut ceilings = Vec::new();
    let mut turns: Vec<Vec<Turn>> = loads.iter().map(|_| Vec::new()).collect();
    for _ in 0..runs {
        for (load, turns) in loads.iter().zip(&mut turns) {
            let ceiling = pgbench.run(PGBENCH_CLIENTS, seconds);
            ceilings.push(ceiling);
            turns.push(world.turn(load, ceiling, Duration::from_secs(seconds as u64)).await);
        }
    }
    row(
        "one commit per transaction: pgbench, 16 clients",
        format!("{:.0}/s (median of {})", median(&mut ceilings), ceilings.len()),
    );
    let rates: Vec<f64> = loads.iter().zip(&turns).map(|(load, turns)| report(load, turns)).collect();
    for (load, rate) in loads.iter().zip(rates).filter(|(load, _)| load.clients == 64 && option("--paced", 1) > 0) {
        for share in [0.1, 0.5, 0.9] {
            let Outcome { mut times_ms, rate } = world.paced(load, rate * share, Duration::from_secs(seconds as u64)).await;
            row(
                &format!("{}, at {:.0} % of its load ({rate:.0}/s)", load.name, share * 100.0),
                format!("p50 {:.2} ms, p99 {:.2} ms", percentile(&mut times_ms, 50.0), percentile(&mut times_ms, 99.0)),
            );
        }
    }
}

fn report(load: &Load, turns: &[Turn]) -> f64 {
    let of = |value: fn(&Turn) -> f64| median(&mut turns.iter().map(value).collect::<Vec<_>>());
    let cost = |part: usize| median(&mut turns.iter().map(|turn| turn.costs_us[part]).collect::<Vec<_>>());
    let rate = of(|turn| turn.rate);
    row(
        &format!("{}, {} clients", load.name, load.clients),
        format!("{rate:.0}/s; / pgbench = {:.2} (not under {}, aim {})", of(|turn| turn.ratio), load.least, load.aim),
    );
    row("    one commit", format!("p50 {:.2} ms, p99 {:.2} ms", of(|turn| turn.p50_ms), of(|turn| turn.p99_ms)));
    row("    commits that shared a transaction, mean", format!("{:.1}", of(|turn| turn.shared)));
    let [server, postgres, broker, driver] = [cost(0), cost(1), cost(2), cost(3)];
    row(
        "    processor time of a commit",
        format!("server {server:.0} us, PostgreSQL {postgres:.0} us, RabbitMQ {broker:.0} us, driver {driver:.0} us"),
    );
    rate
}

impl World {
    async fn start(dir: &Path) -> Self {
        let (rabbit, postgres) = (Rabbit::start(&dir.join("rabbitmq")), Postgres::start(&dir.join("postgres")));
        let database = || on_postgresql(&postgres, &postgres.database());
        let with_broker = House::start(&dir.join("with-broker"), [database(), with_broker(&rabbit)].concat()).await;
        let alone = House::start(&dir.join("alone"), database()).await;
        Self { rabbit, postgres, with_broker, alone }
    }

    fn house(&self, load: &Load) -> &House {
        match load.way {
            Way::Broker(_) => &self.with_broker,
            Way::WebSocket => &self.alone,
        }
    }

    async fn clients(&self, load: &Load) -> Vec<Client> {
        let house = self.house(load);
        let mut clients = Vec::new();
        for member in house.members.iter().take(load.clients) {
            clients.push(Client::open(&house.service, member.clone(), load.way).await);
        }
        clients
    }

    async fn turn(&self, load: &Load, ceiling: f64, duration: Duration) -> Turn {
        let clients = self.clients(load).await;
        // What is only slow at first is over then.
        let (clients, _) = at_full_speed(clients, Duration::from_millis(500)).await;
        let transactions = || http::metric(&self.house(load).service.server.metrics(), "stacksync_db_transactions_total");
        let (before, used) = (transactions(), self.used(load));
        let (_, outcome) = at_full_speed(clients, duration).await;
        let commits = outcome.times_ms.len() as f64;
        let costs = self.used(load);
        let Outcome { rate, mut times_ms } = outcome;
        Turn {
            rate,
            ratio: rate / ceiling,
            p50_ms: percentile(&mut times_ms, 50.0),
            p99_ms: percentile(&mut times_ms, 99.0),
            shared: commits / (transactions() - before).max(1.0),
            costs_us: std::array::from_fn(|part| (costs[part] - used[part]) / commits * 1e6),
        }
    }

    async fn paced(&self, load: &Load, rate: f64, duration: Duration) -> Outcome {
        let clients = self.clients(load).await;
        let (clients, _) = at_rate(clients, rate, Duration::from_millis(500)).await;
        at_rate(clients, rate, duration).await.1
    }

    /// Processor time used so far, in seconds: server, PostgreSQL, broker, this driver.
    fn used(&self, load: &Load) -> [f64; 4] {
        let server = self.house(load).service.server.pid();
        let [server, postgres, rabbit] = [server, self.postgres.pid(), self.rabbit.pid()].map(processor_seconds);
        // The others were started by this driver.
        [server, postgres, rabbit, own_seconds()]
    }
}

impl House {
    async fn start(dir: &Path, settings: Vec<(&'static str, String)>) -> Self {
        let service = Service::start(dir, settings);
        let mut members = Vec::new();
        for number in 0..CLIENTS.into_iter().max().unwrap() {
            members.push(Member::new(&service, &format!("user{number}")).await);
        }
        Self { service, members }
    }
}

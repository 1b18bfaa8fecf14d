//! Durable commits per second of one, two and four instances on one PostgreSQL and one RabbitMQ, all on this machine, and what of it is at
//! its limit: the processors' time, by who used it.
//!
//! 64 clients with a workspace each: by WebSocket, spread over the instances; through RabbitMQ, which spreads the calls itself. A commit
//! is one new file of two chunks, and done when its notice has come. Options: `--seconds N` (5) of each load, `--runs N` (3).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use stacksync_e2e::bench::backends::{Postgres, Rabbit};
use stacksync_e2e::bench::load::{Client, Member, Way, at_full_speed};
use stacksync_e2e::bench::service::{Service, on_postgresql, with_broker};
use stacksync_e2e::measure::{become_undisturbed, directory, heading, median, option, row};
use stacksync_e2e::process::{own_seconds, processor_seconds};
use std::path::Path;
use std::time::Duration;

const INSTANCES: [usize; 3] = [1, 2, 4];
const CLIENTS: usize = 64;

struct World {
    rabbit: Rabbit,
    postgres: Postgres,
    instances: Vec<Service>,
    members: Vec<Member>,
}

/// Commits per second, and the share of all processors' time that was used: by the instances, PostgreSQL, RabbitMQ and this driver.
struct Turn {
    rate: f64,
    shares: [f64; 4],
}

fn main() {
    let (seconds, runs) = (option("--seconds", 5), option("--runs", 3));
    heading("durable commits of 64 clients on several instances that share PostgreSQL and RabbitMQ");
    become_undisturbed();
    let dir = directory("instances");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&dir, Duration::from_secs(seconds as u64), runs));
    std::fs::remove_dir_all(&dir).unwrap();
}

async fn measure(dir: &Path, duration: Duration, runs: usize) {
    let mut world = World::start(dir).await;
    for (name, through_broker) in [("RabbitMQ", true), ("WebSocket", false)] {
        let mut turns: Vec<Vec<Turn>> = INSTANCES.iter().map(|_| Vec::new()).collect();
        for _ in 0..runs {
            for (count, turns) in INSTANCES.into_iter().zip(&mut turns) {
                turns.push(world.turn(count, through_broker, duration).await);
            }
        }
        for (count, turns) in INSTANCES.into_iter().zip(&turns) {
            report(&format!("{name}, {count} instances"), turns);
        }
    }
}

fn report(name: &str, turns: &[Turn]) {
    let rate = median(&mut turns.iter().map(|turn| turn.rate).collect::<Vec<_>>());
    row(name, format!("{rate:.0}/s (median of {})", turns.len()));
    let share = |part: usize| median(&mut turns.iter().map(|turn| turn.shares[part] * 100.0).collect::<Vec<_>>());
    let [instances, postgres, broker, driver] = [share(0), share(1), share(2), share(3)];
    row(
        "    of the processors' time",
        format!("instances {instances:.0} %, PostgreSQL {postgres:.0} %, RabbitMQ {broker:.0} %, driver {driver:.0} %"),
    );
}

impl World {
    async fn start(dir: &Path) -> Self {
        let (rabbit, postgres) = (Rabbit::start(&dir.join("rabbitmq")), Postgres::start(&dir.join("postgres")));
        let settings = [on_postgresql(&postgres, &postgres.database()), with_broker(&rabbit)].concat();
        let most = INSTANCES.into_iter().max().unwrap();
        let mut instances: Vec<Service> =
            (0..most).map(|number| Service::start(&dir.join(format!("instance-{number}")), settings.clone())).collect();
        let mut members = Vec::new();
        for number in 0..CLIENTS {
            let member = Member::new(&instances[0], &format!("user{number}")).await;
            // Each has a folder of chunks of its own here.
            for instance in &instances[1..] {
                member.put_chunks(instance).await;
            }
            members.push(member);
        }
        instances.iter_mut().for_each(Service::stop);
        Self { rabbit, postgres, instances, members }
    }

    async fn turn(&mut self, count: usize, through_broker: bool, duration: Duration) -> Turn {
        self.instances.iter_mut().take(count).for_each(Service::start_again);
        let mut clients = Vec::new();
        for (member, number) in self.members.iter().zip(0..) {
            let way = if through_broker { Way::Broker(self.rabbit.port()) } else { Way::WebSocket };
            clients.push(Client::open(&self.instances[number % count], member.clone(), way).await);
        }
        let (clients, _) = at_full_speed(clients, Duration::from_millis(500)).await;
        let before = self.used();
        let (_, outcome) = at_full_speed(clients, duration).await;
        let after = self.used();
        self.instances.iter_mut().take(count).for_each(Service::stop);
        let all = duration.as_secs_f64() * std::thread::available_parallelism().map_or(1, usize::from) as f64;
        Turn { rate: outcome.rate, shares: std::array::from_fn(|part| (after[part] - before[part]) / all) }
    }

    fn used(&self) -> [f64; 4] {
        let running = self.instances.iter().filter_map(Service::pid);
        let instances = running.map(processor_seconds).sum();
        [instances, processor_seconds(self.postgres.pid()), processor_seconds(self.rabbit.pid()), own_seconds()]
    }
}

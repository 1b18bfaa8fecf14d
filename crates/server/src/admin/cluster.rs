//! `cluster status`: the instances on a database, the queues of the broker, what waits, and what is wrong with any of it. Changes
//! nothing, and says what it can when the database or the broker is away.

use super::print::{moment, table};
use super::{Failure, Report};
use crate::cli::Output;
use crate::cli::exit::Exit;
use crate::config::{AmqpTransport, Config, Datasource, MessageTransport};
use crate::data_dir::DataDir;
use crate::data_dir::server_file::ServerFile;
use crate::db::{Cluster, Db, InstanceView, PostgresPlace};
use objectmq::amqp::QueueView;
use serde_json::{Value, json};
use stacksync_protocol::SYNC_SERVICE;

/// Age of a notice above which something is wrong, in milliseconds: they go out within milliseconds.
const NOTICE_AGE_MAX_MS: i64 = 30_000;
/// Silence up to which an instance that went without a word is worth a complaint, in milliseconds. It is forgotten after an hour.
const SILENCE_TOLD_MS: i64 = 600_000;
/// How far a clock may be off, in milliseconds.
const CLOCK_OFF_MAX_MS: i64 = 30_000;
/// Lag of a standby that is worth a complaint, in milliseconds.
const STANDBY_LAG_MAX_MS: i64 = 60_000;

/// What was found, in three forms.
#[derive(Default)]
struct Status {
    text: String,
    json: Value,
    wrong: Vec<String>,
}

/// Prints it; fails if something is wrong, or fewer instances live than expected.
pub async fn status(config: &Config, expected: usize, output: Output) -> Result<String, Failure> {
    let mut status = Status { json: json!({}), ..Status::default() };
    match &config.datasource {
        Datasource::Sqlite => status.add_alone(config),
        Datasource::Postgresql(place) => status.add_database(place, expected).await,
    }
    match &config.messages {
        MessageTransport::Builtin => status.json["broker"] = Value::Null,
        MessageTransport::Amqp(amqp) => status.add_broker(amqp).await,
    }
    let Status { mut text, mut json, wrong } = status;
    json["problems"] = json!(wrong);
    text.push_str(if wrong.is_empty() { "\nNothing is wrong.\n" } else { "\n" });
    let printed = Report { text, json }.print(output);
    if wrong.is_empty() { Ok(printed) } else { Err(Failure::new(Exit::Unwell, wrong.join("\n")).printing(printed)) }
}

impl Status {
    /// A service whose metadata is a file is the only one there is.
    fn add_alone(&mut self, config: &Config) {
        let server = DataDir::open(&config.data).ok().and_then(|data| ServerFile::read(&data));
        match &server {
            Some(server) => {
                self.text
                    .push_str(&format!("One service, with its metadata in a file: {} (process {}).\n", server.url, server.pid));
            }
            None => self.wrong.push(format!("no service runs on the data directory '{}'", config.data.display())),
        }
        self.json["database"] = Value::Null;
        self.json["service"] = json!(server);
    }

    async fn add_database(&mut self, place: &PostgresPlace, expected: usize) {
        match Db::cluster(place).await {
            Ok(cluster) => self.add_cluster(place, &cluster, expected),
            Err(error) => {
                self.text.push_str(&format!("Database: {place}: away\n"));
                self.json["database"] = json!({ "place": place.to_string(), "reachable": false, "error": error.to_string() });
                self.json["instances"] = json!([]);
                self.wrong.push(format!("the database is away: {error}"));
            }
        }
    }

    fn add_cluster(&mut self, place: &PostgresPlace, cluster: &Cluster, expected: usize) {
        self.judge(cluster, expected);
        let waiting = cluster.notices_of_nobody + cluster.instances.iter().map(|one| one.notices).sum::<u64>();
        let oldest = cluster.oldest_notice_ms.map_or_else(String::new, |age| format!(", the oldest for {}", seconds(age)));
        let rows: Vec<_> = cluster.instances.iter().map(|one| row(cluster, one)).collect();
        self.text.push_str(&table(
            ["INSTANCE", "ADDRESS", "VERSION", "SINCE", "LAST SIGN", "NOTICES", "CLOCK", "ID"],
            &rows,
            "No instance is registered.",
        ));
        self.text.push_str(&format!(
            "\nDatabase: {place}: answers in {:.1} ms; {waiting} notices wait{oldest}\n",
            cluster.round_trip.as_secs_f64() * 1_000.0
        ));
        for standby in &cluster.standbys {
            let lag = standby.lag_ms.map_or("nothing to tell".to_owned(), |lag| format!("{} behind", seconds(lag)));
            self.text.push_str(&format!("Standby: {}: {lag}\n", standby.name));
        }
        self.json["instances"] = cluster.instances.iter().map(|one| described(cluster, one)).collect();
        self.json["database"] = json!({
            "place": place.to_string(),
            "reachable": true,
            "round_trip_ms": cluster.round_trip.as_secs_f64() * 1_000.0,
            "notices_waiting": waiting,
            "notices_of_nobody": cluster.notices_of_nobody,
            "oldest_notice_ms": cluster.oldest_notice_ms,
            "standbys": cluster.standbys.iter().map(|one| json!({ "name": one.name, "lag_ms": one.lag_ms })).collect::<Vec<_>>(),
        });
    }

    fn judge(&mut self, cluster: &Cluster, expected: usize) {
        let living = cluster.instances.iter().filter(|one| one.lives()).count();
        if living < expected {
            self.wrong.push(format!("{living} instance(s) live, {expected} should"));
        }
        for one in &cluster.instances {
            if !one.lives() && (one.silent_ms < SILENCE_TOLD_MS || one.notices > 0) {
                let silence = seconds(one.silent_ms);
                self.wrong
                    .push(format!("instance {} has given no sign of life for {silence}, and did not say that it stops", one.name));
            }
            if one.lives() && one.clock_ahead_ms.abs() > CLOCK_OFF_MAX_MS {
                let off = seconds(one.clock_ahead_ms.abs());
                let side = if one.clock_ahead_ms > 0 { "ahead of" } else { "behind" };
                self.wrong.push(format!("the clock of instance {} is {off} {side} the database's", one.name));
            }
        }
        if let Some(age) = cluster.oldest_notice_ms.filter(|age| *age > NOTICE_AGE_MAX_MS) {
            self.wrong.push(format!("a notice has been waiting for {}; devices hear of changes late", seconds(age)));
        }
        for standby in &cluster.standbys {
            if let Some(lag) = standby.lag_ms.filter(|lag| *lag > STANDBY_LAG_MAX_MS) {
                self.wrong.push(format!("the standby {} of the database is {} behind", standby.name, seconds(lag)));
            }
        }
    }

    async fn add_broker(&mut self, amqp: &AmqpTransport) {
        let hosts: Vec<_> = amqp.broker.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let place = format!("{}, virtual host {}", hosts.join(", "), amqp.broker.vhost);
        let calls = SYNC_SERVICE.to_owned();
        let dead = format!("dead.{SYNC_SERVICE}");
        match amqp.broker.look(&[calls.clone(), dead.clone()]).await {
            Ok(views) => {
                self.text.push_str(&format!("Broker: {place}\n"));
                let queues: Vec<Value> = [calls, dead].iter().zip(&views).map(|(name, view)| self.add_queue(name, view)).collect();
                if amqp.original.is_some() {
                    self.judge_calls(views.first());
                }
                self.json["broker"] = json!({ "place": place, "reachable": true, "queues": queues });
            }
            Err(error) => {
                self.text.push_str(&format!("Broker: {place}: away\n"));
                self.json["broker"] = json!({ "place": place, "reachable": false, "error": error.to_string(), "queues": [] });
                self.wrong.push(format!("the message broker is away: {error}"));
            }
        }
    }

    fn add_queue(&mut self, name: &str, view: &QueueView) -> Value {
        let (text, json) = match view {
            QueueView::There { messages, consumers } => (
                format!("{messages} messages wait, {consumers} consumers"),
                json!({ "name": name, "messages": messages, "consumers": consumers }),
            ),
            QueueView::Missing => ("there is none".to_owned(), json!({ "name": name, "messages": null, "consumers": null })),
            QueueView::Hidden(why) => {
                self.wrong.push(format!("the queue {name} cannot be looked at: {why}"));
                (why.clone(), json!({ "name": name, "messages": null, "consumers": null, "error": why }))
            }
        };
        self.text.push_str(&format!("Queue {name}: {text}\n"));
        json
    }

    /// Clients of the original are to be served.
    fn judge_calls(&mut self, view: Option<&QueueView>) {
        match view {
            Some(QueueView::There { consumers: 0, messages }) => {
                self.wrong.push(format!("nobody consumes the queue {SYNC_SERVICE}, in which {messages} messages wait"));
            }
            Some(QueueView::Missing) => self.wrong.push(format!("there is no queue {SYNC_SERVICE}: no instance takes calls")),
            Some(QueueView::There { .. } | QueueView::Hidden(_)) | None => {}
        }
    }
}

fn row(cluster: &Cluster, one: &InstanceView) -> [String; 8] {
    let state = if one.lives() { String::new() } else { " (gone)".to_owned() };
    [
        one.name.clone(),
        one.address.clone(),
        one.version.clone(),
        moment(one.started_at),
        format!("{}{state}", moment(crate::db::UnixMs(cluster.now.0 - one.silent_ms))),
        one.notices.to_string(),
        format!("{:+.1} s", one.clock_ahead_ms as f64 / 1_000.0),
        one.id.to_string(),
    ]
}

fn described(cluster: &Cluster, one: &InstanceView) -> Value {
    json!({
        "id": one.id.to_string(),
        "name": one.name,
        "address": one.address,
        "version": one.version,
        "started_at": moment(one.started_at),
        "seen_at": moment(crate::db::UnixMs(cluster.now.0 - one.silent_ms)),
        "silent_ms": one.silent_ms,
        "lives": one.lives(),
        "notices": one.notices,
        "clock_ahead_ms": one.clock_ahead_ms,
    })
}

fn seconds(ms: i64) -> String {
    format!("{:.1} s", ms as f64 / 1_000.0)
}

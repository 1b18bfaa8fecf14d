//! Counters of the service, and the page on which Prometheus reads them. Counting never blocks and never fails.
//!
//! Names and labels are fixed: nothing that a client sends becomes a label.

use crate::db::{DbStats, LATENCY_BUCKETS_US};
use crate::service::{ChunkMethod, SyncMethod};
use objectmq::StatsSnapshot;
use stacksync_core::commit::Verdict;
use stacksync_protocol::sync_service::refusal_word;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// One number.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    /// So many fewer: for what comes and goes.
    pub fn sub(&self, amount: u64) {
        self.0.fetch_sub(amount, Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the buckets of a [`Times`], in microseconds.
const TIME_BUCKETS_US: [u64; 12] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000, 10_000_000];

/// How long something took, as a histogram.
#[derive(Debug, Default)]
pub struct Times {
    sum_us: AtomicU64,
    counts: [AtomicU64; TIME_BUCKETS_US.len() + 1],
}

impl Times {
    /// One that took so long.
    pub fn record(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us, Relaxed);
        let bucket = TIME_BUCKETS_US.partition_point(|&bound| bound < us);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// What is asked for over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A device joins.
    Join,
    /// A device connects.
    ObjectMq,
    /// One chunk is stored.
    ChunkPut,
    /// One chunk is read.
    ChunkGet,
    /// Many chunks are stored.
    BatchPut,
    /// Many chunks are read.
    BatchGet,
    /// Health and metrics.
    Watch,
    /// Anything else.
    Unknown,
}

const ROUTES: [(Route, &str); 8] = [
    (Route::Join, "join"),
    (Route::ObjectMq, "objectmq"),
    (Route::ChunkPut, "chunk_put"),
    (Route::ChunkGet, "chunk_get"),
    (Route::BatchPut, "batch_put"),
    (Route::BatchGet, "batch_get"),
    (Route::Watch, "watch"),
    (Route::Unknown, "unknown"),
];

/// Methods of the remote objects; another one is counted as `other`.
const METHODS: [&str; METHODS_COUNT] = methods();
const METHODS_COUNT: usize = SyncMethod::NAMES.len() + ChunkMethod::NAMES.len() + 1;

const fn methods() -> [&'static str; METHODS_COUNT] {
    let mut all = ["other"; METHODS_COUNT];
    let (sync, chunk) = (SyncMethod::NAMES, ChunkMethod::NAMES);
    let mut index = 0;
    while index < sync.len() + chunk.len() {
        all[index] = if index < sync.len() { sync[index] } else { chunk[index - sync.len()] };
        index += 1;
    }
    all
}

/// What can become of an item of a commit; the last is never said.
const VERDICTS: [&str; 17] = [
    "accepted",
    "existing",
    "wrongVersion",
    "unknownItem",
    "foreignItem",
    "kindChanged",
    "parentUnknown",
    "parentDeleted",
    "parentNotFolder",
    "cycle",
    "tooDeep",
    "nameTaken",
    "notEmpty",
    "chunksMissing",
    "quotaExceeded",
    "invalid",
    "other",
];

/// Everything that is counted here. The metadata store and ObjectMQ count for themselves.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    /// Connections open now.
    pub connections: Counter,
    /// Connections since the start.
    pub connections_total: Counter,
    /// TLS handshakes that failed.
    pub handshakes_failed: Counter,
    /// Bytes received from the network, of everything.
    pub network_in: Counter,
    /// Bytes sent to the network, of everything.
    pub network_out: Counter,
    /// Bytes of chunks received, as stored.
    pub chunk_bytes_in: Counter,
    /// Bytes of chunks sent, as stored.
    pub chunk_bytes_out: Counter,
    /// Chunks received.
    pub chunks_in: Counter,
    /// Chunks sent.
    pub chunks_out: Counter,
    /// Devices that joined.
    pub joined: Counter,
    /// Join codes that were not honoured.
    pub join_refused: Counter,
    /// Connections of devices that were refused: token unknown, device revoked, user disabled.
    pub sessions_refused: Counter,
    /// Sessions ended because their device was revoked or their user disabled.
    pub sessions_revoked: Counter,
    /// Notices published.
    pub notices: Counter,
    /// Revisions of which nobody told in time.
    pub notices_lost: Counter,
    /// Attempts to publish that failed.
    pub notices_failed: Counter,
    /// Failures of the service itself, each with a line in the log.
    pub errors: Counter,
    verdicts: [Counter; VERDICTS.len()],
    requests: [[Counter; 5]; ROUTES.len()],
    request_times: [Times; ROUTES.len()],
    call_times: [Times; METHODS.len()],
    call_errors: [Counter; METHODS.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            connections: Counter::default(),
            connections_total: Counter::default(),
            handshakes_failed: Counter::default(),
            network_in: Counter::default(),
            network_out: Counter::default(),
            chunk_bytes_in: Counter::default(),
            chunk_bytes_out: Counter::default(),
            chunks_in: Counter::default(),
            chunks_out: Counter::default(),
            joined: Counter::default(),
            join_refused: Counter::default(),
            sessions_refused: Counter::default(),
            sessions_revoked: Counter::default(),
            notices: Counter::default(),
            notices_lost: Counter::default(),
            notices_failed: Counter::default(),
            errors: Counter::default(),
            verdicts: Default::default(),
            requests: Default::default(),
            request_times: Default::default(),
            call_times: Default::default(),
            call_errors: Default::default(),
        }
    }
}

fn position(words: &[&str], word: &str) -> usize {
    words.iter().position(|known| *known == word).unwrap_or(words.len() - 1)
}

/// The message broker at one moment.
#[derive(Debug)]
pub struct BrokerNow {
    /// Counters of the transport.
    pub counters: StatsSnapshot,
    /// Whether there is a connection.
    pub connected: bool,
    /// Whether it takes no messages.
    pub blocked: bool,
}

impl Metrics {
    /// What became of one item of a commit.
    pub fn verdict(&self, verdict: &Verdict) {
        let word = match verdict {
            Verdict::Accepted(_) => "accepted",
            Verdict::Existing(_) => "existing",
            Verdict::Refused { reason, .. } => refusal_word(reason),
        };
        self.verdicts[position(&VERDICTS, word)].one();
    }

    /// A request over HTTP was answered with this status.
    pub fn request(&self, route: Route, status: u16, time: Duration) {
        let index = ROUTES.iter().position(|(known, _)| *known == route).unwrap_or(ROUTES.len() - 1);
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.requests[index][class].one();
        self.request_times[index].record(time);
    }

    /// A method of a remote object was carried out.
    pub fn call(&self, method: &str, outcome: Outcome, time: Duration) {
        let index = position(&METHODS, method);
        self.call_times[index].record(time);
        if outcome == Outcome::Error {
            self.call_errors[index].one();
        }
    }

    /// The page for Prometheus.
    pub fn render(&self, db: &DbStats, objectmq: &StatsSnapshot, broker: Option<&BrokerNow>) -> String {
        let mut page = Page(String::with_capacity(16 * 1024));
        self.render_http(&mut page);
        self.render_service(&mut page);
        render_db(&mut page, db);
        page.head("stacksync_objectmq", "untyped", "Counters of the message transport, by name.");
        for (name, value) in objectmq.entries() {
            page.line("stacksync_objectmq", &[("counter", name)], value);
        }
        if let Some(broker) = broker {
            page.gauge(
                "stacksync_broker_connected",
                "Whether there is a connection to the message broker.",
                broker.connected.into(),
            );
            page.gauge("stacksync_broker_blocked", "Whether the message broker takes no messages.", broker.blocked.into());
            page.head("stacksync_broker", "untyped", "Counters of the transport over the message broker, by name.");
            for (name, value) in broker.counters.entries() {
                page.line("stacksync_broker", &[("counter", name)], value);
            }
        }
        page.0
    }

    fn render_http(&self, page: &mut Page) {
        page.gauge("stacksync_uptime_seconds", "Seconds since the start.", self.started.elapsed().as_secs());
        page.gauge("stacksync_connections", "Connections open now.", self.connections.get());
        page.counter("stacksync_connections_total", "Connections since the start.", &self.connections_total);
        page.counter("stacksync_tls_handshakes_failed_total", "TLS handshakes that failed.", &self.handshakes_failed);
        page.counter("stacksync_network_received_bytes_total", "Bytes received from the network.", &self.network_in);
        page.counter("stacksync_network_sent_bytes_total", "Bytes sent to the network.", &self.network_out);
        page.counter("stacksync_chunks_received_total", "Chunks received.", &self.chunks_in);
        page.counter("stacksync_chunks_sent_total", "Chunks sent.", &self.chunks_out);
        page.counter("stacksync_chunk_received_bytes_total", "Bytes of chunks received, as stored.", &self.chunk_bytes_in);
        page.counter("stacksync_chunk_sent_bytes_total", "Bytes of chunks sent, as stored.", &self.chunk_bytes_out);
        page.head("stacksync_http_requests_total", "counter", "Requests by route and class of status.");
        for ((_, route), classes) in ROUTES.iter().zip(&self.requests) {
            for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(classes).filter(|(_, count)| count.get() > 0) {
                page.line("stacksync_http_requests_total", &[("route", route), ("status", class)], count.get());
            }
        }
        page.head("stacksync_http_request_seconds", "histogram", "Time to the head of the answer, by route.");
        for ((_, route), times) in ROUTES.iter().zip(&self.request_times) {
            page.times("stacksync_http_request_seconds", ("route", route), times);
        }
    }

    fn render_service(&self, page: &mut Page) {
        page.counter("stacksync_devices_joined_total", "Devices that joined.", &self.joined);
        page.counter("stacksync_joins_refused_total", "Join codes that were not honoured.", &self.join_refused);
        page.counter("stacksync_sessions_refused_total", "Connections of devices that were refused.", &self.sessions_refused);
        page.counter("stacksync_sessions_revoked_total", "Sessions ended because access was taken away.", &self.sessions_revoked);
        page.counter("stacksync_notices_total", "Notices published.", &self.notices);
        page.counter(
            "stacksync_notices_lost_total",
            "Revisions of which nobody told in time, found in the database.",
            &self.notices_lost,
        );
        page.counter("stacksync_notices_failed_total", "Attempts to publish a notice that failed.", &self.notices_failed);
        page.counter("stacksync_errors_total", "Failures of the service itself.", &self.errors);
        page.head("stacksync_commit_items_total", "counter", "Items of commits by what became of them.");
        for (word, count) in VERDICTS.iter().zip(&self.verdicts).take(VERDICTS.len() - 1) {
            page.line("stacksync_commit_items_total", &[("verdict", word)], count.get());
        }
        page.head("stacksync_call_errors_total", "counter", "Calls that were answered with an error, by method.");
        for (method, count) in METHODS.iter().zip(&self.call_errors) {
            page.line("stacksync_call_errors_total", &[("method", method)], count.get());
        }
        page.head("stacksync_call_seconds", "histogram", "Time of calls, by method.");
        for (method, times) in METHODS.iter().zip(&self.call_times) {
            page.times("stacksync_call_seconds", ("method", method), times);
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a result.
    Answer,
    /// With an error.
    Error,
}

fn render_db(page: &mut Page, db: &DbStats) {
    for (name, help, value) in [
        ("stacksync_commits_total", "Commits answered, repeated ones included.", db.commits),
        ("stacksync_commits_repeated_total", "Commits answered with the answer to an earlier try.", db.replays),
        ("stacksync_commits_failed_total", "Commits that failed as a whole.", db.failures),
        ("stacksync_versions_saved_total", "Item versions saved.", db.accepted),
        ("stacksync_versions_refused_total", "Item versions refused.", db.refused),
        ("stacksync_db_transactions_total", "Transactions of the metadata store.", db.batches),
        ("stacksync_db_jobs_total", "Writes in these transactions.", db.jobs),
    ] {
        page.head(name, "counter", help);
        page.line(name, &[], value);
    }
    page.gauge("stacksync_db_queue_depth", "Writes that wait for the metadata store now.", db.queue_depth);
    page.gauge("stacksync_db_queue_limit", "Writes that may wait.", db.queue_limit);
    page.head("stacksync_clock_ahead_seconds", "gauge", "How far this computer's clock is ahead of the database's.");
    page.line("stacksync_clock_ahead_seconds", &[], format_args!("{:.3}", db.clock_ahead_ms as f64 / 1_000.0));
    page.gauge("stacksync_db_transaction_jobs_most", "Most writes in one transaction.", db.batch_jobs_most);
    page.head("stacksync_commit_seconds", "histogram", "Time of a commit in the metadata store.");
    let buckets = LATENCY_BUCKETS_US.iter().copied().zip(db.latency_counts);
    page.buckets("stacksync_commit_seconds", &[], buckets, db.latency_counts.iter().sum(), db.latency_us_sum);
}

/// The text format of Prometheus.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn counter(&mut self, name: &str, help: &str, counter: &Counter) {
        self.head(name, "counter", help);
        self.line(name, &[], counter.get());
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        self.line(name, &[], value);
    }

    fn times(&mut self, name: &str, label: (&str, &str), times: &Times) {
        let counts = times.counts.each_ref().map(|count| count.load(Relaxed));
        let total: u64 = counts.iter().sum();
        if total > 0 {
            self.buckets(name, &[label], TIME_BUCKETS_US.iter().copied().zip(counts), total, times.sum_us.load(Relaxed));
        }
    }

    fn buckets(&mut self, name: &str, labels: &[(&str, &str)], buckets: impl Iterator<Item = (u64, u64)>, total: u64, sum_us: u64) {
        let bucket_name = format!("{name}_bucket");
        let mut below = 0;
        for (bound_us, count) in buckets {
            below += count;
            let bound = (bound_us as f64 / 1e6).to_string();
            self.line(&bucket_name, &[labels, &[("le", &bound)]].concat(), below);
        }
        self.line(&bucket_name, &[labels, &[("le", "+Inf")]].concat(), total);
        self.line(&format!("{name}_sum"), labels, sum_us as f64 / 1e6);
        self.line(&format!("{name}_count"), labels, total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stacksync_core::commit::Refusal;

    #[test]
    fn the_page_is_what_prometheus_reads() {
        let metrics = Metrics::default();
        metrics.verdict(&Verdict::Refused { reason: Refusal::Cycle, current: None });
        metrics.request(Route::Join, 429, Duration::from_millis(3));
        metrics.call("commit", Outcome::Answer, Duration::from_millis(1));
        metrics.call("nonsense\"\n", Outcome::Error, Duration::from_secs(60));
        let page = metrics.render(&DbStats::default(), &StatsSnapshot::default(), None);
        for line in [
            "stacksync_commit_items_total{verdict=\"cycle\"} 1",
            "stacksync_http_requests_total{route=\"join\",status=\"4xx\"} 1",
            "stacksync_call_seconds_bucket{method=\"commit\",le=\"0.0005\"} 0",
            "stacksync_call_seconds_bucket{method=\"commit\",le=\"0.001\"} 1",
            "stacksync_call_seconds_bucket{method=\"commit\",le=\"+Inf\"} 1",
            "stacksync_call_seconds_count{method=\"commit\"} 1",
            "stacksync_call_seconds_bucket{method=\"other\",le=\"10\"} 0",
            "stacksync_call_errors_total{method=\"other\"} 1",
            "stacksync_objectmq{counter=\"sessions\"} 0",
            "stacksync_commits_total 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
        }
        for line in page.lines() {
            assert!(line.starts_with('#') || line.starts_with("stacksync_"), "{line}");
        }
    }
}

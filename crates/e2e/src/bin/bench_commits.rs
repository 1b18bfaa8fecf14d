//! Durable commits through the real path of the service: 64 devices, each with a WebSocket of its own and one commit in flight at a time,
//! ObjectMQ call -> SQLite (synchronous FULL) -> answer. Each commit is one new file of one chunk.
//!
//! Options: `--devices N` (64), `--users N` (8), `--seconds N` (10), `--runs N` (3). Peer, in the same run: the rows that came of it,
//! written again by SQLite alone with 64 commits in a transaction.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde::Deserialize;
use stacksync_core::commit::ItemCommit;
use stacksync_core::values::{Body, ChunkName, ChunkRef, FileBody, ItemId, ModifiedAt, Name, Place, Status, Version};
use stacksync_e2e::device_line::{DeviceLine, join};
use stacksync_e2e::http;
use stacksync_e2e::measure::{become_undisturbed, directory, heading, median, option, percentile, row, undisturbed};
use stacksync_e2e::random::Random;
use stacksync_e2e::raw_rows::write_again;
use stacksync_e2e::server::Server;
use stacksync_protocol::chunk_service::{PutTickets, PutTicketsRequest};
use stacksync_protocol::item::ItemMetadata;
use stacksync_protocol::sync_service::{CommitRequest, Workspace};
use stacksync_protocol::{CHUNK_SERVICE, SYNC_SERVICE};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

const CONTENT: &[u8] = b"the one chunk of every file";

fn main() {
    let (devices, users, seconds, runs) =
        (option("--devices", 64), option("--users", 8), option("--seconds", 10), option("--runs", 3));
    heading(&format!("durable commits of one file each: {devices} devices of {users} users, one commit in flight per device"));
    become_undisturbed();
    let dir = directory("commits");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let results: Vec<Run> = (0..runs)
        .map(|run| runtime.block_on(measure(&dir.join(run.to_string()), devices, users, Duration::from_secs(seconds as u64))))
        .collect();
    let of = |value: fn(&Run) -> f64| median(&mut results.iter().map(value).collect::<Vec<_>>());
    let (rate, raw) = (of(|run| run.rate), of(|run| run.raw_rate));
    row("commits per second", format!("{rate:.0} (not under 10000; median of {runs})"));
    row("the same rows by SQLite alone", format!("{raw:.0} commits/s; StackSync / this = {:.2} (not under 0.50)", rate / raw));
    row("time of one commit, p50", format!("{:.2} ms", of(|run| run.p50_ms)));
    row("time of one commit, p99", format!("{:.2} ms", of(|run| run.p99_ms)));
    row("commits that shared a transaction, mean", format!("{:.1}", of(|run| run.shared)));
    std::fs::remove_dir_all(&dir).unwrap();
}

/// What is looked at in the answer to a commit.
#[derive(Debug, Deserialize)]
struct Committed {
    items: Vec<CommittedItem>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommittedItem {
    commit_succeed: bool,
}

struct Run {
    rate: f64,
    raw_rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    shared: f64,
}

async fn measure(dir: &Path, devices: usize, users: usize, duration: Duration) -> Run {
    std::fs::create_dir_all(dir).unwrap();
    let mut server = Server::new(dir);
    server.start_with(undisturbed(&server.command()));
    let mut lines = Vec::new();
    for number in 0..devices {
        let user = format!("user{}", number % users);
        let invitation = if number < users { server.add_user(&user) } else { server.invite(&user) };
        let joined = join(server.address(), &invitation, &format!("device {number}"));
        let mut line = DeviceLine::open(server.address(), &joined.token).await;
        let workspace = prepare(&mut line, &server).await;
        lines.push((line, workspace));
    }
    let transactions = |page: &str| http::metric(page, "stacksync_db_transactions_total");
    let before = transactions(&server.metrics());
    let start = Instant::now();
    let tasks: Vec<_> = lines
        .into_iter()
        .enumerate()
        .map(|(number, (line, workspace))| tokio::spawn(work(line, workspace, number, start + duration)))
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let elapsed = start.elapsed().as_secs_f64();
    let shared = times.len() as f64 / (transactions(&server.metrics()) - before).max(1.0);
    assert!(server.stop().success());
    let raw = write_again(&server.data().join("stacksync.db"), &dir.join("raw.db"), times.len(), 64);
    Run {
        rate: times.len() as f64 / elapsed,
        raw_rate: times.len() as f64 / raw,
        p50_ms: percentile(&mut times, 50.0),
        p99_ms: percentile(&mut times, 99.0),
        shared,
    }
}

/// Finds the device's workspace and puts the chunk of all its files there.
async fn prepare(line: &mut DeviceLine, server: &Server) -> Uuid {
    let found = line.call(SYNC_SERVICE, "getWorkspaces", &serde_json::json!({})).await;
    let workspaces: Vec<Workspace> = serde_json::from_value(found).unwrap();
    let workspace_id = workspaces[0].id;
    let request = PutTicketsRequest {
        workspace_id,
        chunks: vec![ChunkName::of(CONTENT).to_string()],
        batched: Vec::new(),
        relay: false,
        bundles: false,
    };
    let tickets: PutTickets = serde_json::from_value(line.call(CHUNK_SERVICE, "putTickets", &request).await).unwrap();
    for ticket in &tickets.tickets {
        let packed = stacksync_chunks::pack::pack(CONTENT).unwrap();
        let (status, body) = http::request(server.address(), &ticket.method, &ticket.url, &packed).unwrap();
        assert!((200..300).contains(&status), "{status} {body}");
    }
    workspace_id
}

/// Commits one file after the other until the end; milliseconds of each.
async fn work(mut line: DeviceLine, workspace_id: Uuid, number: usize, end: Instant) -> Vec<f64> {
    let mut random = Random::new(number as u64 + 1);
    let chunk = ChunkRef { name: ChunkName::of(CONTENT), len: CONTENT.len() as u32 };
    let chunks: Arc<[ChunkRef]> = [chunk].into();
    let mut times = Vec::new();
    while Instant::now() < end {
        let name = format!("device-{number} file-{}", times.len());
        let request = CommitRequest {
            workspace_id,
            device_id: None,
            items: vec![ItemMetadata::from_commit(&new_file(&name, &chunks, &mut random))],
            request_id: Some(name),
            user_id: None,
        };
        let start = Instant::now();
        let answer: Committed = line.call_briefly(SYNC_SERVICE, "commit", &request).await;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        assert!(matches!(answer.items[..], [CommittedItem { commit_succeed: true }]), "{answer:?}");
    }
    times
}

fn new_file(name: &str, chunks: &Arc<[ChunkRef]>, random: &mut Random) -> ItemCommit {
    ItemCommit {
        id: ItemId::new((random.next() >> 1) as i64).unwrap(),
        version: Version::FIRST,
        status: Status::New,
        place: Place { parent: None, name: Name::new(name).unwrap() },
        body: Body::File(FileBody { size: CONTENT.len() as u64, chunks: Arc::clone(chunks), adler32: 1, executable: false }),
        modified: ModifiedAt(1_700_000_000_000_000_000),
    }
}

//! `getChanges` for a workspace of 100 to 100,000 items, on SQLite and on PostgreSQL: the whole list, page by page as our devices ask for
//! it, and at once as clients of the original do; and what changed since a revision ten changes ago, which is what a device asks that
//! was away for a moment. Times are those of the caller; memory is what the service had at most.
//!
//! Options: `--calls N` (500) for what is asked often.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use stacksync_e2e::bench::backends::Postgres;
use stacksync_e2e::bench::load::{Member, new_file};
use stacksync_e2e::bench::service::{Service, on_postgresql};
use stacksync_e2e::device_line::DeviceLine;
use stacksync_e2e::measure::{become_undisturbed, directory, heading, median, option, percentile, row};
use stacksync_e2e::process::{forget_memory_peak, memory, usage_of};
use stacksync_e2e::random::Random;
use stacksync_protocol::SYNC_SERVICE;
use stacksync_protocol::item::ItemMetadata;
use stacksync_protocol::sync_service::CommitRequest;
use std::path::Path;
use std::time::Instant;

const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];
/// Items of one commit while the workspace is filled.
const COMMIT_ITEMS: usize = 500;
/// How far back whoever was away for a moment is.
const BEHIND: u64 = 10;
/// Times that the whole list is asked for.
const LISTS: usize = 3;

fn main() {
    let calls = option("--calls", 500);
    heading("getChanges, from 100 to 100,000 items of two chunks each");
    become_undisturbed();
    let dir = directory("changes");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure("SQLite", &dir.join("sqlite"), Vec::new(), calls));
    let postgres = Postgres::start(&dir.join("postgres"));
    let settings = on_postgresql(&postgres, &postgres.database());
    runtime.block_on(measure("PostgreSQL", &dir.join("service"), settings, calls));
    drop(postgres);
    std::fs::remove_dir_all(&dir).unwrap();
}

async fn measure(store: &str, dir: &Path, settings: Vec<(&'static str, String)>, calls: usize) {
    let service = Service::start(dir, settings);
    let member = Member::new(&service, "anna").await;
    let mut line = DeviceLine::open(service.server.address(), member.token()).await;
    let mut filled = 0;
    for size in SIZES {
        fill(&mut line, &member, filled, size).await;
        filled = size;
        let mut times = recent(&mut line, &member, size, calls).await;
        row(
            &format!("{store}, {size} items: since {BEHIND} changes ago"),
            format!("p50 {:.2} ms, p99 {:.2} ms", percentile(&mut times, 50.0), percentile(&mut times, 99.0)),
        );
        if size >= 10_000 {
            list(store, &service, &mut line, &member, size).await;
        }
    }
}

async fn fill(line: &mut DeviceLine, member: &Member, from: usize, to: usize) {
    let mut random = Random::new(from as u64 + 1);
    let mut number = from;
    while number < to {
        let count = COMMIT_ITEMS.min(to - number);
        let items =
            (number..number + count).map(|number| ItemMetadata::from_commit(&new_file(random.next(), &format!("{number:06}"))));
        let request = CommitRequest {
            workspace_id: member.workspace(),
            device_id: None,
            items: items.collect(),
            request_id: Some(format!("fill-{number}")),
            user_id: None,
        };
        let answer = line.call(SYNC_SERVICE, "commit", &request).await;
        assert!(answer["items"].as_array().unwrap().iter().all(|item| item["commitSucceed"] == true), "{answer}");
        number += count;
    }
}

/// Milliseconds of each call.
async fn recent(line: &mut DeviceLine, member: &Member, size: usize, calls: usize) -> Vec<f64> {
    let request = json!({"workspaceId": member.workspace(), "since": size as u64 - BEHIND});
    let mut times = Vec::new();
    for _ in 0..calls {
        let start = Instant::now();
        let answer: Value = line.call_briefly(SYNC_SERVICE, "getChanges", &request).await;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        assert_eq!(answer["items"].as_array().map(Vec::len), Some(BEHIND as usize));
    }
    times
}

/// The whole list, in pages and at once.
async fn list(store: &str, service: &Service, line: &mut DeviceLine, member: &Member, size: usize) {
    let pid = service.server.pid();
    let (before, mut seconds, mut bytes) = (memory(pid), Vec::new(), 0);
    forget_memory_peak(pid);
    for _ in 0..LISTS {
        let (start, mut since, mut items) = (Instant::now(), 0, 0);
        bytes = 0;
        while items < size {
            let page = line.call_raw(SYNC_SERVICE, "getChanges", &json!({"workspaceId": member.workspace(), "since": since})).await;
            bytes += page.len();
            // What the caller does with it does not count among the service's times, but is little.
            items += page.matches(r#""revision":"#).count();
            since = items as u64;
        }
        assert_eq!(items, size);
        seconds.push(start.elapsed().as_secs_f64());
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let peak = usage_of(pid).memory_peak;
    row(
        &format!("{store}, {size} items: all, page by page"),
        format!(
            "{:.2} s, {:.1} MiB; memory of the service {:.0} MiB before, {:.0} MiB at most",
            median(&mut seconds),
            mib(bytes as u64),
            mib(before),
            mib(peak)
        ),
    );
    forget_memory_peak(pid);
    let (before, start) = (memory(pid), Instant::now());
    let whole = line.call_raw(SYNC_SERVICE, "getChanges", &json!({"workspaceId": member.workspace()})).await;
    let said = if whole.contains(r#""error":{"#) { "refused" } else { "answered" };
    row(
        &format!("{store}, {size} items: all at once, as the original"),
        format!(
            "{said} in {:.2} s, {:.1} MiB; memory {:.0} MiB before, {:.0} MiB at most",
            start.elapsed().as_secs_f64(),
            mib(whole.len() as u64),
            mib(before),
            mib(usage_of(pid).memory_peak)
        ),
    );
}

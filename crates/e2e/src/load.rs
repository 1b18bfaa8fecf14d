//! Devices that commit one version after the other, whatever happens to the service, and remember what was acknowledged. A commit that
//! was not answered is sent again under its request id, through a new line if need be, until it is.

use crate::device_line::{DeviceLine, join};
use crate::http;
use crate::server::Invitation;
use serde_json::{Value, json};
use stacksync_core::commit::ItemCommit;
use stacksync_core::values::{Body, ChunkName, ChunkRef, FileBody, ItemId, ModifiedAt, Name, Place, Status, Version};
use stacksync_protocol::chunk_service::{PutTickets, PutTicketsRequest};
use stacksync_protocol::item::ItemMetadata;
use stacksync_protocol::sync_service::{CommitRequest, Workspace};
use stacksync_protocol::{CHUNK_SERVICE, SYNC_SERVICE};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// The content of every file.
const CONTENT: &[u8] = b"the one chunk of every file";
/// Versions of one item, before the next one begins.
const VERSIONS: u64 = 4;
/// Longest wait for one answer, before the line is given up.
const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// Longest time without any acknowledgement in the end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Load that is under way.
#[derive(Debug)]
pub struct Load {
    runtime: Runtime,
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<BTreeMap<i64, u64>>>,
    address: SocketAddr,
    token: String,
    workspace: Uuid,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    repeated: AtomicU64,
    slowest_ms: AtomicU64,
}

/// What was acknowledged.
#[derive(Debug)]
pub struct Ledger {
    /// The latest acknowledged version of each item.
    pub versions: BTreeMap<i64, u64>,
    /// Commits.
    pub acknowledged: u64,
    /// Commits that were sent more than once.
    pub repeated: u64,
    /// Longest time of one commit, from its first try, in milliseconds.
    pub slowest_ms: u64,
}

impl Load {
    /// One device of the account that the invitations are for, per invitation, each with one commit in flight.
    ///
    /// # Panics
    /// If they cannot join.
    pub fn start(address: SocketAddr, invitations: &[Invitation]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let shared = Arc::new(Shared::default());
        let tokens: Vec<String> =
            invitations.iter().enumerate().map(|(n, invitation)| join(address, invitation, &format!("load {n}")).token).collect();
        let token = tokens.first().expect("a device").clone();
        let workspace = runtime.block_on(prepare(address, &token));
        let writers = tokens.into_iter().enumerate().map(|(number, token)| {
            let writer = Writer { address, token, workspace, number: number as i64, shared: Arc::clone(&shared), line: None };
            runtime.spawn(writer.work())
        });
        let writers = writers.collect();
        Self { runtime, shared, writers, address, token, workspace }
    }

    /// The workspace that is written to.
    pub fn workspace(&self) -> Uuid {
        self.workspace
    }

    /// Commits that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until so many more commits were acknowledged.
    ///
    /// # Panics
    /// If they are not.
    #[track_caller]
    pub fn wait_for_more(&self, commits: u64) {
        let enough = self.acknowledged() + commits;
        let began = Instant::now();
        while self.acknowledged() < enough {
            assert!(began.elapsed() < PATIENCE, "no {commits} commits within {} s", PATIENCE.as_secs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets every device end the commit that it has begun, and compares what was acknowledged with what the service has.
    ///
    /// # Panics
    /// If an acknowledged commit is lost, or one took effect twice.
    pub fn end(self) -> Ledger {
        self.shared.stop.store(true, Ordering::SeqCst);
        let mut versions = BTreeMap::new();
        for writer in self.writers {
            let ended = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, writer).await });
            versions.extend(ended.expect("every device ends its last commit in time").expect("no device fails"));
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        let ledger = Ledger {
            versions,
            acknowledged: load(&self.shared.acknowledged),
            repeated: load(&self.shared.repeated),
            slowest_ms: load(&self.shared.slowest_ms),
        };
        self.runtime.block_on(check(self.address, &self.token, self.workspace, &ledger));
        ledger
    }
}

struct Writer {
    address: SocketAddr,
    token: String,
    workspace: Uuid,
    number: i64,
    shared: Arc<Shared>,
    line: Option<DeviceLine>,
}

impl Writer {
    /// The latest acknowledged version of each of its items.
    async fn work(mut self) -> BTreeMap<i64, u64> {
        let mut versions = BTreeMap::new();
        let mut count = 0_u64;
        while !self.shared.stop.load(Ordering::SeqCst) {
            let item = (self.number + 1) << 32 | (count / VERSIONS) as i64;
            let version = count % VERSIONS + 1;
            self.commit(item, version).await;
            versions.insert(item, version);
            count += 1;
        }
        versions
    }

    /// Until it is acknowledged.
    async fn commit(&mut self, item: i64, version: u64) {
        let request = CommitRequest {
            workspace_id: self.workspace,
            device_id: None,
            items: vec![ItemMetadata::from_commit(&file(item, version))],
            request_id: Some(format!("{item}-{version}")),
            user_id: None,
        };
        let began = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            match self.attempt(&request).await {
                Some(Ok(answer)) => {
                    let taken = answer["items"][0]["commitSucceed"] == true;
                    assert!(taken, "version {version} of {item} was refused: {answer}");
                    break;
                }
                // Not now: the service says so, or is gone.
                Some(Err(_)) | None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
            assert!(began.elapsed() < PATIENCE, "version {version} of {item} was never acknowledged");
        }
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.slowest_ms.fetch_max(took, Ordering::SeqCst);
        self.shared.acknowledged.fetch_add(1, Ordering::SeqCst);
        self.shared.repeated.fetch_add(u64::from(tries > 1), Ordering::SeqCst);
    }

    /// `None` if there is no line, or it ended.
    async fn attempt(&mut self, request: &CommitRequest) -> Option<Result<Value, Value>> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => open(self.address, &self.token).await?,
        };
        let answer = tokio::time::timeout(ANSWER_WAIT, line.attempt(SYNC_SERVICE, "commit", request)).await.ok()??;
        self.line = Some(line);
        Some(answer)
    }
}

async fn open(address: SocketAddr, token: &str) -> Option<DeviceLine> {
    let headers = [("authorization", format!("Bearer {token}"))];
    tokio::time::timeout(ANSWER_WAIT, DeviceLine::try_open(address, &headers)).await.ok()?.ok()
}

fn file(item: i64, version: u64) -> ItemCommit {
    let chunk = ChunkRef { name: ChunkName::of(CONTENT), len: CONTENT.len() as u32 };
    ItemCommit {
        id: ItemId::new(item).expect("an id"),
        version: Version::new(version).expect("a version"),
        status: if version == 1 { Status::New } else { Status::Changed },
        place: Place { parent: None, name: Name::new(&format!("file {item}")).expect("a name") },
        body: Body::File(FileBody {
            size: CONTENT.len() as u64,
            chunks: [chunk].into(),
            adler32: version as u32,
            executable: false,
        }),
        modified: ModifiedAt(1_700_000_000_000_000_000 + version as i64),
    }
}

/// Finds the workspace, and puts the chunk of all files there.
async fn prepare(address: SocketAddr, token: &str) -> Uuid {
    let mut line = DeviceLine::open(address, token).await;
    let found = line.call(SYNC_SERVICE, "getWorkspaces", &json!({})).await;
    let workspaces: Vec<Workspace> = serde_json::from_value(found).expect("workspaces");
    let workspace_id = workspaces.first().expect("a workspace").id;
    let request = PutTicketsRequest {
        workspace_id,
        chunks: vec![ChunkName::of(CONTENT).to_string()],
        batched: Vec::new(),
        relay: false,
        bundles: false,
    };
    let tickets: PutTickets = serde_json::from_value(line.call(CHUNK_SERVICE, "putTickets", &request).await).expect("tickets");
    for ticket in &tickets.tickets {
        let packed = stacksync_chunks::pack::pack(CONTENT).expect("a chunk");
        let (status, body) = http::request(address, &ticket.method, &ticket.url, &packed).expect("an answer");
        assert!((200..300).contains(&status), "{status} {body}");
    }
    workspace_id
}

/// Nothing that was acknowledged is lost, and nothing happened twice: every commit took one revision, and every item its bytes once.
async fn check(address: SocketAddr, token: &str, workspace: Uuid, ledger: &Ledger) {
    let mut line = None;
    let began = Instant::now();
    while line.is_none() {
        assert!(began.elapsed() < PATIENCE, "no line to the service");
        line = open(address, token).await;
    }
    let mut line = line.expect("it is there");
    let (mut since, mut found, mut revisions) = (0, BTreeMap::new(), Vec::new());
    let head = loop {
        let page = line.call(SYNC_SERVICE, "getChanges", &json!({ "workspaceId": workspace, "since": since, "limit": 1000 })).await;
        for item in page["items"].as_array().expect("items") {
            revisions.push(item["revision"].as_u64().expect("a revision"));
            found.insert(item["id"].as_i64().expect("an id"), item["version"].as_u64().expect("a version"));
        }
        since = page["to"].as_u64().expect("a revision");
        let head = page["head"].as_u64().expect("a revision");
        if since >= head {
            break head;
        }
    };
    let lost: Vec<_> = ledger.versions.iter().filter(|(item, version)| found.get(item) != Some(version)).take(5).collect();
    assert!(lost.is_empty(), "acknowledged, but not there as acknowledged: {lost:?}");
    assert_eq!(found.len(), ledger.versions.len(), "items that nobody was told of");
    assert!(revisions.windows(2).all(|pair| pair[0] < pair[1]), "revisions twice");
    assert_eq!(head, ledger.acknowledged, "revisions and acknowledged commits: each commit took effect once");
    let account = line.call(SYNC_SERVICE, "getAccountInfo", &json!({})).await;
    assert_eq!(account["quotaUsed"].as_u64(), Some((found.len() * CONTENT.len()) as u64), "bytes of the account: {account}");
}

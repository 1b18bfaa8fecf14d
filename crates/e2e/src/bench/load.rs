//! Load: many clients, each with a line of its own and one commit in flight, until the notice of the commit has come.
//!
//! A commit is one new file of two chunks in the client's own workspace. Clients either commit as fast as they are told, or at a given
//! rate: then the time of a commit counts from the moment at which it was due, so that a service that falls behind is seen to.

use super::amqp_line::AmqpLine;
use super::service::Service;
use crate::device_line::{DeviceLine, join};
use crate::http;
use crate::random::Random;
use serde::Serialize;
use stacksync_core::commit::ItemCommit;
use stacksync_core::values::{Body as Content, ChunkName, ChunkRef, FileBody, ItemId, ModifiedAt, Name, Place, Status, Version};
use stacksync_protocol::chunk_service::{PutTickets, PutTicketsRequest};
use stacksync_protocol::item::ItemMetadata;
use stacksync_protocol::sync_service::{CommitRequest, Workspace};
use stacksync_protocol::{CHUNK_SERVICE, SYNC_SERVICE};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The chunks of every file.
const CHUNKS: [&[u8]; 2] = [b"the first chunk of every file", b"the second chunk of every file"];
/// The exchange of the calls of original clients.
const CALLS: &str = "rpc_global_exchange";

/// How a client reaches the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As one of ours: a WebSocket to the server; the answer is waited for, too.
    WebSocket,
    /// As one of the original's: through the message broker that listens here; the notice is the only answer.
    Broker(u16),
}

/// Who may commit where.
#[derive(Clone, Debug)]
pub struct Member {
    token: String,
    user: Uuid,
    device: Uuid,
    workspace: Uuid,
}

impl Member {
    /// A new user with a device, whose workspace has the chunks of every file.
    ///
    /// # Panics
    /// If the server does not let him in.
    pub async fn new(service: &Service, name: &str) -> Self {
        let joined = join(service.server.address(), &service.add_user(name), "load");
        let mut line = DeviceLine::open(service.server.address(), &joined.token).await;
        let found = line.call(SYNC_SERVICE, "getWorkspaces", &serde_json::json!({})).await;
        let workspaces: Vec<Workspace> = serde_json::from_value(found).unwrap();
        let workspace = workspaces[0].id;
        put_chunks(&mut line, service, workspace, &CHUNKS).await;
        Self { token: joined.token, user: joined.user_id, device: joined.device_id, workspace }
    }

    /// Puts the chunks of every file at another instance, which has a storage of its own.
    ///
    /// # Panics
    /// If it does not take them.
    pub async fn put_chunks(&self, service: &Service) {
        let mut line = DeviceLine::open(service.server.address(), &self.token).await;
        put_chunks(&mut line, service, self.workspace, &CHUNKS).await;
    }

    /// The token of his device.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// His workspace.
    pub const fn workspace(&self) -> Uuid {
        self.workspace
    }
}

/// Puts chunks where the files of a workspace may name them.
///
/// # Panics
/// If the server does not take them.
pub async fn put_chunks(line: &mut DeviceLine, service: &Service, workspace_id: Uuid, contents: &[&[u8]]) {
    let name = |content: &&[u8]| ChunkName::of(content).to_string();
    let request = PutTicketsRequest {
        workspace_id,
        chunks: contents.iter().map(name).collect(),
        batched: Vec::new(),
        relay: false,
        bundles: false,
    };
    let tickets: PutTickets = serde_json::from_value(line.call(CHUNK_SERVICE, "putTickets", &request).await).unwrap();
    for ticket in &tickets.tickets {
        let number = ticket.chunk.expect("no batches were asked for") as usize;
        let packed = stacksync_chunks::pack::pack(contents[number]).unwrap();
        let (status, body) = http::request(service.server.address(), &ticket.method, &ticket.url, &packed).unwrap();
        assert!((200..300).contains(&status), "{status} {body}");
    }
}

enum Line {
    WebSocket(Box<DeviceLine>),
    Broker(AmqpLine),
}

/// A call as the original's clients write it in JSON.
#[derive(Serialize)]
struct Call<'a> {
    method: &'a str,
    params: [&'a CommitRequest; 1],
    id: &'a str,
    r#async: bool,
}

/// A client with a line.
pub struct Client {
    line: Line,
    member: Member,
    random: Random,
}

impl Client {
    /// Opens the line, and follows the workspace.
    pub async fn open(service: &Service, member: Member, way: Way) -> Self {
        let reference = member.workspace.to_string();
        let line = match way {
            Way::WebSocket => {
                let mut line = DeviceLine::open(service.server.address(), &member.token).await;
                line.follow(1, &reference).await;
                Line::WebSocket(Box::new(line))
            }
            Way::Broker(port) => {
                let mut line = AmqpLine::open(port).await;
                line.follow(&reference).await;
                Line::Broker(line)
            }
        };
        // Ids that no client before had.
        let random = Random::new(Uuid::new_v4().as_u64_pair().0);
        Self { line, member, random }
    }

    /// Commits one file, and waits until the notice of it has come.
    ///
    /// # Panics
    /// If the commit fails.
    pub async fn commit(&mut self) {
        let id = Uuid::new_v4().to_string();
        let item = ItemMetadata::from_commit(&new_file(self.random.next(), &id));
        let mut request = CommitRequest {
            workspace_id: self.member.workspace,
            device_id: Some(self.member.device),
            items: vec![item],
            request_id: Some(id.clone()),
            user_id: Some(self.member.user),
        };
        match &mut self.line {
            Line::WebSocket(line) => {
                line.call_and_be_told(SYNC_SERVICE, "commit", &request, &format!(r#""requestId":"{id}""#)).await
            }
            Line::Broker(line) => {
                // Such a client makes no ids: it has one for itself until it is told.
                request.items.iter_mut().for_each(|item| item.temp_id = item.id.take());
                let body = Call { method: "commit", params: [&request], id: &id, r#async: true };
                line.cast(CALLS, SYNC_SERVICE, &id, &serde_json::to_vec(&body).unwrap()).await;
                line.told(id.as_bytes()).await;
            }
        }
    }
}

/// A file as the clients commit them.
pub fn new_file(random: u64, name: &str) -> ItemCommit {
    let chunk = |content: &&[u8]| ChunkRef { name: ChunkName::of(content), len: content.len() as u32 };
    let size = CHUNKS.iter().map(|content| content.len() as u64).sum();
    let body = FileBody { size, chunks: CHUNKS.iter().map(chunk).collect(), adler32: 1, executable: false };
    ItemCommit {
        id: ItemId::from_random(random),
        version: Version::FIRST,
        status: Status::New,
        place: Place { parent: None, name: Name::new(name).unwrap() },
        body: Content::File(body),
        modified: ModifiedAt(1_700_000_000_000_000_000),
    }
}

/// What a load came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Commits per second.
    pub rate: f64,
    /// Milliseconds of each commit.
    pub times_ms: Vec<f64>,
}

/// All clients commit as fast as they can.
///
/// # Panics
/// If a commit fails.
pub async fn at_full_speed(clients: Vec<Client>, duration: Duration) -> (Vec<Client>, Outcome) {
    run(clients, duration, None).await
}

/// All clients together commit so often per second.
///
/// # Panics
/// If a commit fails.
pub async fn at_rate(clients: Vec<Client>, rate: f64, duration: Duration) -> (Vec<Client>, Outcome) {
    let every = Duration::from_secs_f64(clients.len() as f64 / rate);
    run(clients, duration, Some(every)).await
}

async fn run(clients: Vec<Client>, duration: Duration, every: Option<Duration>) -> (Vec<Client>, Outcome) {
    let start = Instant::now();
    let count = clients.len() as u32;
    let works = clients.into_iter().zip(0..).map(|(client, number)| {
        let pace = every.map(|every| (every / count * number, every));
        tokio::spawn(work(client, start, start + duration, pace))
    });
    let works: Vec<_> = works.collect();
    let (mut clients, mut times_ms) = (Vec::new(), Vec::new());
    for work in works {
        let (client, times) = work.await.unwrap();
        clients.push(client);
        times_ms.extend(times);
    }
    (clients, Outcome { rate: times_ms.len() as f64 / start.elapsed().as_secs_f64(), times_ms })
}

/// Commits until the end; with a pace, at these moments: the first, and how far they are apart.
async fn work(mut client: Client, start: Instant, end: Instant, pace: Option<(Duration, Duration)>) -> (Client, Vec<f64>) {
    let mut times = Vec::new();
    let mut due = pace.map_or(start, |(first, _)| start + first);
    loop {
        match pace {
            None => due = Instant::now(),
            Some(_) => tokio::time::sleep_until(due.into()).await,
        }
        if due >= end {
            return (client, times);
        }
        client.commit().await;
        times.push(due.elapsed().as_secs_f64() * 1000.0);
        due += pace.map_or(Duration::ZERO, |(_, every)| every);
    }
}

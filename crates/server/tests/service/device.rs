//! A device that joined: its token, its session, and what it can say.

use crate::http::{self, Answer};
use objectmq::websocket::{Client, ClientOptions, Connection};
use objectmq::{
    Binding, BoxFuture, Broker, CallError, CallOptions, ConnectionState, Incoming, RawValue, RemoteError, RemoteObject, Transport,
    encode_result,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stacksync_chunks::pack;
use stacksync_core::values::ChunkName;
use stacksync_protocol::chunk_service::{PutTickets, Ticket};
use stacksync_protocol::date::Date;
use stacksync_protocol::item::ItemMetadata;
use stacksync_protocol::sync_service::{Changes, CommitNotification, CommitRequest, Workspace};
use stacksync_protocol::{CHUNK_SERVICE, SYNC_SERVICE};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use uuid::Uuid;

pub struct Device {
    pub id: Uuid,
    pub user: Uuid,
    pub token: String,
    pub workspace: Uuid,
    pub client: Client,
    pub broker: Broker,
    address: SocketAddr,
}

/// A notice as it came: method and parameter.
pub type Heard = (String, Value);

struct Ear(mpsc::UnboundedSender<Heard>);

impl RemoteObject for Ear {
    fn call(&self, incoming: Incoming) -> BoxFuture<'_, Result<Box<RawValue>, RemoteError>> {
        let _ = self.0.send((incoming.method.clone(), incoming.param().unwrap()));
        Box::pin(std::future::ready(encode_result(&())))
    }
}

/// A session with this token, as soon as it is there.
pub async fn session(address: SocketAddr, token: &str) -> Client {
    let token = token.to_owned();
    let connector = move || {
        let token = token.clone();
        async move {
            let stream =
                TcpStream::connect(address).await.map_err(|error| objectmq::transport::Trouble::Unreachable(error.to_string()))?;
            let headers = vec![("Authorization".to_owned(), format!("Bearer {token}"))];
            Ok(Connection { stream: Box::new(stream), url: format!("ws://{address}/v1/objectmq"), headers })
        }
    };
    Client::start(Arc::new(connector), ClientOptions::default())
}

impl Device {
    pub async fn connect(address: SocketAddr, joined: &Value) -> Self {
        let text = |key: &str| joined[key].as_str().unwrap().to_owned();
        let client = session(address, &text("token")).await;
        let broker = Broker::new(Arc::new(client.clone()));
        let id = |key: &str| Uuid::parse_str(&text(key)).unwrap();
        let mut device =
            Self { id: id("deviceId"), user: id("userId"), token: text("token"), workspace: Uuid::nil(), client, broker, address };
        device.workspace = device.workspaces().await[0].id;
        device
    }

    pub async fn call<R: DeserializeOwned>(
        &self,
        object: &str,
        method: &str,
        param: &(impl Serialize + Sync),
    ) -> Result<R, CallError> {
        self.broker.lookup(object).call(method, param, CallOptions::new(Duration::from_secs(20), 1)).await
    }

    /// The kind of the error that a call is answered with.
    pub async fn refusal(&self, object: &str, method: &str, param: Value) -> String {
        match self.call::<Value>(object, method, &param).await {
            Err(CallError::Remote(error)) => error.kind,
            other => panic!("{method} was answered with {other:?}"),
        }
    }

    pub async fn workspaces(&self) -> Vec<Workspace> {
        self.call(SYNC_SERVICE, "getWorkspaces", &json!({})).await.unwrap()
    }

    pub async fn changes(&self, since: u64) -> Changes {
        self.call(SYNC_SERVICE, "getChanges", &json!({ "workspaceId": self.workspace, "since": since })).await.unwrap()
    }

    /// All items of the workspace, page by page.
    pub async fn item_ids(&self) -> HashSet<i64> {
        let (mut since, mut ids) = (0, HashSet::new());
        loop {
            let page = self.changes(since).await;
            ids.extend(page.items.iter().filter_map(|item| item.id));
            since = page.to;
            if page.to == page.head {
                return ids;
            }
        }
    }

    pub fn request(&self, items: Vec<ItemMetadata>) -> CommitRequest {
        CommitRequest {
            workspace_id: self.workspace,
            device_id: Some(self.id),
            items,
            request_id: Some(Uuid::new_v4().to_string()),
            user_id: Some(self.user),
        }
    }

    pub async fn commit(&self, items: Vec<ItemMetadata>) -> CommitNotification {
        self.call(SYNC_SERVICE, "commit", &self.request(items)).await.unwrap()
    }

    /// The reason for which the last of these items is refused; the others must pass.
    pub async fn reason(&self, items: Vec<ItemMetadata>) -> String {
        let answer = self.commit(items).await;
        let (last, others) = answer.items.split_last().unwrap();
        assert!(others.iter().all(|info| info.commit_succeed), "{others:?}");
        assert!(!last.commit_succeed, "{last:?}");
        assert!(last.message.as_ref().is_some_and(|message| !message.is_empty()));
        last.reason.clone().unwrap()
    }

    /// Follows a reference.
    pub async fn follow(&self, reference: &str) -> (Binding, mpsc::UnboundedReceiver<Heard>) {
        let (sender, heard) = mpsc::unbounded_channel();
        let binding = self.broker.listen(reference, Arc::new(Ear(sender))).await.unwrap();
        // Following is asked for, not waited for: a call behind it on the same connection shows that it is done.
        self.workspaces().await;
        (binding, heard)
    }

    /// Uploads chunks, each through its own ticket.
    pub async fn put(&self, plains: &[&[u8]]) {
        let names: Vec<String> = plains.iter().map(|plain| ChunkName::of(plain).to_string()).collect();
        let tickets = self.put_tickets(&names).await;
        for ticket in &tickets.tickets {
            let plain = plains[ticket.chunk.unwrap() as usize];
            let answer = self.use_ticket(ticket, &pack::pack(plain).unwrap()).await;
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
    }

    pub async fn put_tickets(&self, names: &[String]) -> PutTickets {
        self.call(CHUNK_SERVICE, "putTickets", &json!({ "workspaceId": self.workspace, "chunks": names })).await.unwrap()
    }

    pub async fn use_ticket(&self, ticket: &Ticket, body: &[u8]) -> Answer {
        http::send(self.address, &ticket.method, &ticket.url, &[], body).await
    }

    /// Waits until its session has ended for good or is being tried again.
    pub async fn disconnected(&self) {
        let mut state = self.client.state();
        let lost = state.wait_for(|state| *state != ConnectionState::Connected);
        tokio::time::timeout(Duration::from_secs(10), lost).await.expect("the session ends").unwrap();
    }
}

/// The next notice that comes.
pub async fn next(heard: &mut mpsc::UnboundedReceiver<Heard>) -> Heard {
    tokio::time::timeout(Duration::from_secs(10), heard.recv()).await.expect("a notice comes").unwrap()
}

pub fn folder(id: i64, name: &str) -> ItemMetadata {
    ItemMetadata {
        id: Some(id),
        version: 1,
        status: "NEW".into(),
        modified_at: Some(Date::from_unix_ns(1_420_167_845_123_456_789)),
        is_folder: true,
        filename: name.into(),
        ..ItemMetadata::default()
    }
}

pub fn file(id: i64, name: &str, plains: &[&[u8]]) -> ItemMetadata {
    ItemMetadata {
        is_folder: false,
        size: plains.iter().map(|plain| plain.len() as i64).sum(),
        chunks: plains.iter().map(|plain| ChunkName::of(plain).to_string()).collect(),
        chunk_sizes: Some(plains.iter().map(|plain| plain.len() as u32).collect()),
        ..folder(id, name)
    }
}

pub fn below(parent: i64, item: ItemMetadata) -> ItemMetadata {
    ItemMetadata { parent_id: Some(parent), ..item }
}

pub fn version(number: i64, status: &str, item: ItemMetadata) -> ItemMetadata {
    ItemMetadata { version: number, status: status.into(), ..item }
}

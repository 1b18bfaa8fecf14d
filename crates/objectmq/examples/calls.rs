//! How many synchronous calls per second one instance carries, with its callers on the same machine:
//! `cargo run --release -p objectmq --example calls [SECONDS]`.
//!
//! The object does nothing but answer, so this is the cost of the middleware alone: no database, no TLS.

use objectmq::local::{Hub, HubLimits};
use objectmq::transport::{Address, Trouble};
use objectmq::websocket::{
    Client, ClientOptions, Connection, Door, DoorOptions, Gate, READ_BUFFER_BYTES, Refusal, TungsteniteSocket,
};
use objectmq::{
    BindOptions, BoxFuture, Broker, CallOptions, Caller, ConnectionState, Incoming, RawValue, RemoteError, RemoteObject, Transport,
    encode_result,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

const SESSIONS: usize = 64;
const FOLLOWERS: usize = 64;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// About what a commit of one file says.
#[derive(Clone, Serialize, Deserialize)]
struct Commit {
    workspace: String,
    request: String,
    name: String,
    chunks: Vec<String>,
    size: u64,
}

struct Service;

impl RemoteObject for Service {
    fn call(&self, incoming: Incoming) -> BoxFuture<'_, Result<Box<RawValue>, RemoteError>> {
        Box::pin(async move {
            let commit: Commit = incoming.param()?;
            encode_result(&commit.size)
        })
    }
}

struct Counted(Arc<AtomicU64>);

impl RemoteObject for Counted {
    fn call(&self, _: Incoming) -> BoxFuture<'_, Result<Box<RawValue>, RemoteError>> {
        self.0.fetch_add(1, Relaxed);
        Box::pin(async { encode_result(&()) })
    }
}

struct Open(Caller);

impl Gate for Open {
    fn caller(&self) -> Caller {
        self.0.clone()
    }

    fn admit_publish(&self, _: Address<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn admit_follow<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async { Ok(()) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let seconds = std::env::args().nth(1).map_or(Ok(3), |text| text.parse())?;
    let span = Duration::from_secs(seconds);
    let hub = Hub::new(HubLimits::default());
    let server = Broker::new(Arc::new(hub.clone()));
    let _bound = server.bind("service", Arc::new(Service), BindOptions::default()).await?;
    let address = open_door(hub.clone()).await?;

    let local: Vec<Broker> = (0..SESSIONS).map(|_| Broker::new(Arc::new(hub.clone()))).collect();
    let mut remote = Vec::new();
    for _ in 0..SESSIONS {
        remote.push(connect(address).await?);
    }
    for callers in [1, 8] {
        report("local", callers, &local, span).await?;
        report("websocket", callers, &remote, span).await?;
    }
    notices(&server, &remote, span).await
}

async fn open_door(hub: Hub) -> Result<std::net::SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let door = Door::new(hub, DoorOptions::default());
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            number += 1;
            let (door, caller) = (door.clone(), Caller::new(&format!("device {number}"), number));
            tokio::spawn(async move {
                stream.set_nodelay(true)?;
                let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
                let socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
                door.serve(TungsteniteSocket(socket), Arc::new(Open(caller))).await;
                Ok::<(), Failure>(())
            });
        }
    });
    Ok(address)
}

async fn connect(address: std::net::SocketAddr) -> Result<Broker, Failure> {
    let connector = move || async move {
        let connected = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        };
        let stream = connected.await.map_err(|error| Trouble::Unreachable(error.to_string()))?;
        Ok(Connection { stream: Box::new(stream), url: format!("ws://{address}/"), headers: Vec::new() })
    };
    let client = Client::start(Arc::new(connector), ClientOptions::default());
    client.state().wait_for(|state| *state == ConnectionState::Connected).await?;
    Ok(Broker::new(Arc::new(client)))
}

async fn report(transport: &str, callers: usize, brokers: &[Broker], span: Duration) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let tasks: Vec<_> = brokers
        .iter()
        .flat_map(|broker| std::iter::repeat_n(broker, callers))
        .map(|broker| tokio::spawn(call_until(broker.clone(), stop.clone())))
        .collect();
    tokio::time::sleep(span).await;
    stop.store(true, Relaxed);
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await??);
    }
    let rate = took.len() as f64 / started.elapsed().as_secs_f64();
    took.sort_unstable();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("{transport:9} {} sessions x {callers} callers: {rate:8.0} calls/s, p50 {p50:?}, p99 {p99:?}", brokers.len());
    Ok(())
}

async fn call_until(broker: Broker, stop: Arc<AtomicBool>) -> Result<Vec<Duration>, Failure> {
    let commit = Commit {
        workspace: "fedcba98-7654-4321-8123-0123456789ab".into(),
        request: "laptop-1420167845123".into(),
        name: "report.txt".into(),
        chunks: vec!["0123456789abcdef".repeat(4); 2],
        size: 1_048_576,
    };
    let proxy = broker.lookup("service");
    let mut took = Vec::new();
    while !stop.load(Relaxed) {
        let started = Instant::now();
        let size: u64 = proxy.call("commit", &commit, CallOptions::default()).await?;
        assert_eq!(size, commit.size);
        took.push(started.elapsed());
    }
    Ok(took)
}

async fn notices(server: &Broker, remote: &[Broker], span: Duration) -> Result<(), Failure> {
    let heard = Arc::new(AtomicU64::new(0));
    let mut listening = Vec::new();
    for broker in remote.iter().take(FOLLOWERS) {
        listening.push(broker.listen("news", Arc::new(Counted(heard.clone()))).await?);
    }
    let news = server.lookup("news");
    let started = Instant::now();
    let mut sent = 0_u64;
    while started.elapsed() < span {
        news.multi_cast("notifyCommit", &"a notice of some length, as they are").await?;
        sent += 1;
        // The next when all have this one, so that nobody falls behind.
        while heard.load(Relaxed) < sent * listening.len() as u64 {
            tokio::task::yield_now().await;
        }
    }
    let rate = heard.load(Relaxed) as f64 / started.elapsed().as_secs_f64();
    println!("websocket {} followers: {rate:8.0} notices/s delivered", listening.len());
    Ok(())
}

//! The transport over an in-memory network: a door, and clients whose connections can be cut.

mod hostile;
mod sessions;

use super::*;
use crate::conformance::{World, conformance_tests};
use crate::local::{Hub, HubLimits};
use crate::queue::lock;
use crate::transport::{Address, Trouble};
use crate::{BoxFuture, Broker, Caller, ConnectionState, Transport};
use std::sync::{Arc, Mutex};
use tokio::io::DuplexStream;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

/// A server whose clients are connected through pipes.
#[derive(Clone)]
pub struct Net {
    pub hub: Hub,
    pub door: Door,
    /// Verdicts on following wait for a permit.
    pub follows: Arc<Semaphore>,
    clients: Arc<Mutex<Vec<Broker>>>,
}

/// Lets in everything but what is named "forbidden".
pub struct Open(pub Caller, pub Arc<Semaphore>);

fn judge(reference: &str) -> Result<(), Refusal> {
    if reference == "forbidden" { Err(Refusal("forbidden, as it says".into())) } else { Ok(()) }
}

impl Gate for Open {
    fn caller(&self) -> Caller {
        self.0.clone()
    }

    fn admit_publish(&self, to: Address<'_>) -> Result<(), Refusal> {
        let (Address::Unicast(reference) | Address::Multi(reference) | Address::Reply(reference)) = to;
        judge(reference)
    }

    fn admit_follow<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async {
            let _permit = self.1.acquire().await;
            judge(reference)
        })
    }

    fn admit_consume<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(std::future::ready(judge(reference)))
    }
}

impl Net {
    pub fn new(hub_limits: HubLimits, options: DoorOptions) -> Net {
        let hub = Hub::new(hub_limits);
        Net { door: Door::new(hub.clone(), options), hub, follows: Arc::new(Semaphore::new(1)), clients: Arc::default() }
    }

    /// The server's end of a pipe, served as a session of `caller`; the client's end.
    pub fn plug(&self, caller: Caller) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (door, follows) = (self.door.clone(), self.follows.clone());
        tokio::spawn(async move {
            let config = super::tungstenite::config(door.frame_bytes_max());
            if let Ok(socket) = accept_async_with_config(ours, Some(config)).await {
                door.serve(TungsteniteSocket(socket), Arc::new(Open(caller, follows))).await;
            }
        });
        theirs
    }

    /// A session without a handshake, driven by hand.
    pub async fn raw(&self, caller: Caller) -> Raw {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (door, follows) = (self.door.clone(), self.follows.clone());
        let config = super::tungstenite::config(door.frame_bytes_max());
        let served = TungsteniteSocket(WebSocketStream::from_raw_socket(ours, Role::Server, Some(config)).await);
        let session = tokio::spawn(async move { door.serve(served, Arc::new(Open(caller, follows))).await });
        Raw { socket: WebSocketStream::from_raw_socket(theirs, Role::Client, None).await, session }
    }

    pub fn client(&self, caller: Caller, options: ClientOptions) -> Client {
        let net = self.clone();
        let connector = move || {
            let stream = net.plug(caller.clone());
            async move {
                let url = "wss://server.example/v1/objectmq".to_owned();
                Ok::<_, Trouble>(Connection { stream: Box::new(stream), url, headers: Vec::new() })
            }
        };
        Client::start(Arc::new(connector), options)
    }
}

pub struct Raw {
    pub socket: WebSocketStream<DuplexStream>,
    pub session: tokio::task::JoinHandle<SessionEnd>,
}

pub async fn connected(client: &Client) {
    let mut state = client.state();
    crate::conformance::soon(state.wait_for(|state| *state == ConnectionState::Connected)).await.unwrap();
}

impl World for Net {
    fn broker(&self) -> BoxFuture<'_, Broker> {
        Box::pin(async {
            let number = lock(&self.clients).len();
            let client = self.client(Caller::new(&format!("device {number}"), number), ClientOptions::default());
            connected(&client).await;
            let broker = Broker::new(Arc::new(client));
            lock(&self.clients).push(broker.clone());
            broker
        })
    }
}

conformance_tests!(Net::new(HubLimits::default(), DoorOptions::default()));

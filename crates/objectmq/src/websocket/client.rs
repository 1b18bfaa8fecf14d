//! The client's side: one connection to a door, made again whenever it is lost, with everything that was followed or consumed
//! followed and consumed again.

use super::inboxes::{Inboxes, Wants};
use super::outlet::{NotTaken, Outlet, OutletLimits};
use super::pump::{End, Inflow, Pump};
use super::socket::CloseReason;
use super::tungstenite::{self, TungsteniteSocket};
use super::{Backoff, Keepalive, frame_bytes_max, frames};
use crate::queue::lock;
use crate::transport::{Address, Guard, Inbox, MESSAGE_BYTES_MAX, ReplyQueue, ReplySink, Trouble};
use crate::{BoxFuture, ConnectionState, Message, SendError, Stats, Transport};
use bytes::Bytes;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, handshake::client::Request};

/// Names our reply queue to our own broker; on the wire a session has only one.
const REPLY_QUEUE: &str = "session";
/// Bytes of a refused handshake's answer that are kept for the report.
const REJECTION_BYTES_MAX: usize = 200;

/// A connection that lasted so long was a good one: the wait before the next starts small again.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// Makes the connection below the WebSocket: name, proxy, TLS and its pinning, authentication. A closure will do.
pub trait Connector: Send + Sync + 'static {
    /// One attempt. It need not have a time limit of its own.
    fn connect(&self) -> BoxFuture<'_, Result<Connection, Trouble>>;
}

impl<F, A> Connector for F
where
    F: Fn() -> A + Send + Sync + 'static,
    A: Future<Output = Result<Connection, Trouble>> + Send + 'static,
{
    fn connect(&self) -> BoxFuture<'_, Result<Connection, Trouble>> {
        Box::pin(self())
    }
}

/// A connection on which the WebSocket handshake has yet to be made.
pub struct Connection {
    /// Bytes to and from the server; encrypted below, if at all.
    pub stream: Box<dyn Duplex>,
    /// For the handshake, for example `wss://host:port/v1/objectmq`. Nothing is connected to because of it.
    pub url: String,
    /// Further headers of the handshake, for example (`Authorization`, `Bearer ...`).
    pub headers: Vec<(String, String)>,
}

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for S {}

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// When to ping, and when to give the connection up.
    pub keepalive: Keepalive,
    /// Waits between attempts to connect.
    pub backoff: Backoff,
    /// Time for one attempt, handshake included.
    pub connect_timeout: Duration,
    /// Notifications that may wait for one listener; more are dropped and counted.
    pub follower_messages_max: usize,
    /// Longest body, in bytes.
    pub message_bytes_max: usize,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            keepalive: Keepalive::default(),
            backoff: Backoff::default(),
            connect_timeout: Duration::from_secs(15),
            follower_messages_max: 4_096,
            message_bytes_max: MESSAGE_BYTES_MAX,
        }
    }
}

/// The transport of one broker over one WebSocket at a time. Cheap to clone; all clones are one transport. It ends when it is closed
/// or its last clone is dropped.
///
/// Listening and binding while there is no connection succeed: they take effect with the next connection. What the gate refuses
/// then, or withdraws later, ends the binding.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    _end: Arc<Guard>,
}

struct Shared {
    options: ClientOptions,
    stats: Arc<Stats>,
    state: watch::Sender<ConnectionState>,
    inboxes: Inboxes,
    sink: Mutex<Option<Arc<dyn ReplySink>>>,
    stop: watch::Sender<bool>,
    retry: Notify,
}

impl Client {
    /// Starts to connect, and keeps doing so. Must be called inside a tokio runtime.
    pub fn start(connector: Arc<dyn Connector>, options: ClientOptions) -> Client {
        let stats: Arc<Stats> = Arc::default();
        let shared = Arc::new(Shared {
            options,
            inboxes: Inboxes::new(options.follower_messages_max, stats.clone()),
            stats,
            state: watch::Sender::new(ConnectionState::Connecting),
            sink: Mutex::default(),
            stop: watch::Sender::new(false),
            retry: Notify::new(),
        });
        tokio::spawn(shared.clone().run(connector));
        let ending = shared.clone();
        Client { shared, _end: Arc::new(Guard::new(move || ending.end())) }
    }

    /// Cuts a wait before the next attempt short, for example because the network came back.
    pub fn retry_now(&self) {
        self.shared.retry.notify_one();
    }
}

impl Transport for Client {
    fn send<'a>(&'a self, to: Address<'a>, message: Message) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            if *self.shared.stop.borrow() {
                return Err(SendError::Closed);
            }
            let link = match to {
                // Who was asked over this connection may answer before all is restored.
                Address::Reply(_) => self.shared.inboxes.link(),
                Address::Unicast(_) | Address::Multi(_) => self.shared.inboxes.restored_link(),
            };
            let gone = || SendError::Disconnected("there is no connection".to_owned());
            let frame = match to {
                Address::Unicast(reference) => frames::publish(reference, frames::Spread::One, &message),
                Address::Multi(reference) => frames::publish(reference, frames::Spread::All, &message),
                Address::Reply(name) => frames::answer_to(name, &message),
            };
            match link.ok_or_else(gone)?.send(frame).await {
                Ok(()) => Ok(()),
                Err(NotTaken::Gone | NotTaken::Full) => Err(gone()),
            }
        })
    }

    /// There can be one at a time: a client is the transport of one broker.
    fn replies(&self, sink: Arc<dyn ReplySink>) -> BoxFuture<'_, Result<ReplyQueue, SendError>> {
        let mut place = lock(&self.shared.sink);
        let opened = if place.is_some() {
            Err(SendError::Busy("another broker uses this connection".to_owned()))
        } else {
            *place = Some(sink);
            let shared = Arc::downgrade(&self.shared);
            let guard = Guard::new(move || {
                if let Some(shared) = shared.upgrade() {
                    lock(&shared.sink).take();
                }
            });
            Ok(ReplyQueue { name: REPLY_QUEUE.into(), guard })
        };
        Box::pin(std::future::ready(opened))
    }

    fn consume<'a>(&'a self, reference: &'a str, unsettled: usize) -> BoxFuture<'a, Result<Inbox, SendError>> {
        Box::pin(self.shared.inboxes.open(reference, Wants::Calls { unsettled }))
    }

    fn subscribe<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Inbox, SendError>> {
        Box::pin(self.shared.inboxes.open(reference, Wants::Notices))
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.state.subscribe()
    }

    fn stats(&self) -> &Arc<Stats> {
        &self.shared.stats
    }

    fn message_bytes_max(&self) -> usize {
        self.shared.options.message_bytes_max
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.shared.end();
            // The sender is ours, so this cannot fail.
            let _ = self.shared.state.subscribe().wait_for(|state| *state == ConnectionState::Closed).await;
        })
    }
}

impl Shared {
    fn end(&self) {
        self.stop.send_replace(true);
        if let Some(link) = self.inboxes.link() {
            link.end(CloseReason::new(CloseReason::NORMAL, "done"));
        }
    }

    async fn run(self: Arc<Self>, connector: Arc<dyn Connector>) {
        let mut stop = self.stop.subscribe();
        let mut failures: u32 = 0;
        while !*stop.borrow() {
            self.state.send_replace(ConnectionState::Connecting);
            let socket = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                socket = self.connect(&*connector) => socket,
            };
            let trouble = match socket {
                Err(trouble) => trouble,
                Ok(socket) => {
                    let connected = Instant::now();
                    let (end, was_restored) = self.carry_on(socket).await;
                    if was_restored && connected.elapsed() >= STABLE_AFTER {
                        failures = 0;
                    }
                    Trouble::Lost(end.to_string())
                }
            };
            failures = failures.saturating_add(1);
            if !*stop.borrow() {
                self.wait(failures, trouble, &mut stop).await;
            }
        }
        self.inboxes.close();
        self.state.send_replace(ConnectionState::Closed);
    }

    async fn wait(&self, failures: u32, trouble: Trouble, stop: &mut watch::Receiver<bool>) {
        let retry_in = self.options.backoff.wait(failures, getrandom::u32().unwrap_or(u32::MAX / 2));
        tracing::debug!(%trouble, ?retry_in, "not connected");
        self.state.send_replace(ConnectionState::Waiting { retry_in, trouble });
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.retry.notified() => {}
            () = tokio::time::sleep(retry_in) => {}
        }
    }

    async fn connect(&self, connector: &dyn Connector) -> Result<TungsteniteSocket<Box<dyn Duplex>>, Trouble> {
        let attempt = async {
            let Connection { stream, url, headers } = connector.connect().await?;
            let request = request(&url, headers)?;
            let config = tungstenite::config(frame_bytes_max(self.options.message_bytes_max));
            let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await.map_err(trouble)?;
            Ok(TungsteniteSocket(socket))
        };
        let timeout = self.options.connect_timeout;
        tokio::time::timeout(timeout, attempt)
            .await
            .unwrap_or_else(|_| Err(Trouble::Unreachable(format!("no connection within {} s", timeout.as_secs()))))
    }

    /// Uses a connection until it ends. Answers why it ended, and whether all that was followed was followed again over it.
    async fn carry_on(&self, socket: TungsteniteSocket<Box<dyn Duplex>>) -> (End, bool) {
        let outflow = Outlet::open(OutletLimits::default());
        let outlet = outflow.outlet.clone();
        if self.inboxes.restore(outlet.clone()) {
            self.state.send_replace(ConnectionState::Connected);
        }
        // Closed between the last look and now: nobody else knows this outlet.
        if *self.stop.borrow() {
            outlet.end(CloseReason::new(CloseReason::NORMAL, "done"));
        }
        let mut inflow = ClientInflow { shared: self, outlet };
        let end = Pump::new(socket, outflow, &mut inflow, self.options.keepalive, &self.stats).run().await;
        let was_restored = self.inboxes.disconnect();
        let sink = lock(&self.sink).clone();
        if let Some(sink) = sink {
            sink.disconnected(&end.to_string());
        }
        (end, was_restored)
    }
}

fn request(url: &str, headers: Vec<(String, String)>) -> Result<Request, Trouble> {
    let unusable = |what: &str| Trouble::Unreachable(format!("{what} cannot be used"));
    let mut request = url.into_client_request().map_err(|_| unusable(url))?;
    for (name, value) in headers {
        // The value may be a secret: it is not told.
        let value = HeaderValue::from_str(&value).map_err(|_| unusable(&format!("the value of header {name}")))?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable(&format!("header {name}")))?;
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

fn trouble(error: Error) -> Trouble {
    match error {
        Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let text = String::from_utf8_lossy(&body[..body.len().min(REJECTION_BYTES_MAX)]).into_owned();
            Trouble::Rejected { status: response.status().as_u16(), text }
        }
        other => Trouble::Unreachable(other.to_string()),
    }
}

/// Reads the frames of one connection.
struct ClientInflow<'a> {
    shared: &'a Shared,
    outlet: Arc<Outlet>,
}

impl ClientInflow<'_> {
    fn read(&self, frame: &Bytes) -> Result<(), frames::Flaw> {
        let inboxes = &self.shared.inboxes;
        let read = frames::FrameIn::read(frame)?;
        match read.op {
            frames::Op::Answer => {
                let message = read.message(frame, None)?;
                match &*lock(&self.shared.sink) {
                    Some(sink) => sink.answer(message),
                    None => self.shared.stats.answers_lost.add(1),
                }
            }
            frames::Op::Notice => inboxes.notice(read.n()?, read.message(frame, read.reply_to()?.map(Into::into))?),
            frames::Op::Deliver => {
                let message = read.message(frame, read.reply_to()?.map(Into::into))?;
                inboxes.deliver(read.n()?, read.tag()?, message, &self.outlet);
            }
            frames::Op::Ok => self.confirmed(inboxes.confirm(read.n()?, Ok(()))),
            frames::Op::Error => self.failed(&read),
            frames::Op::Publish | frames::Op::Consume | frames::Op::Follow | frames::Op::Leave | frames::Op::Settle => {
                return Err(format!("{:?} is not for a client", read.op));
            }
        }
        Ok(())
    }

    fn failed(&self, read: &frames::FrameIn<'_>) {
        let error = read.error();
        if let Ok(id) = read.id() {
            if let Some(sink) = &*lock(&self.shared.sink) {
                sink.failed(id, error);
            }
        } else if let Ok(n) = read.n() {
            self.confirmed(self.shared.inboxes.confirm(n, Err(error)));
        } else {
            tracing::warn!(%error, "the server could not read a frame");
        }
    }

    fn confirmed(&self, all_restored: bool) {
        if all_restored {
            self.shared.state.send_replace(ConnectionState::Connected);
        }
    }
}

impl Inflow for ClientInflow<'_> {
    fn text(&mut self, frame: Bytes) {
        if let Err(flaw) = self.read(&frame) {
            self.shared.stats.malformed.add(1);
            tracing::debug!(flaw, "a frame could not be read");
        }
    }

    fn binary(&mut self) {
        self.shared.stats.malformed.add(1);
    }
}

//! The transport over a message broker that speaks AMQP 0-9-1: RabbitMQ, as the original uses it.
//!
//! Exchanges, queues, flags and properties are the original's (`topology`, `properties`), so that its clients and services take part.
//! What is better: every message that is sent is confirmed by the broker, or sent again with the same id; what is consumed is
//! acknowledged when it was dealt with, and what nobody can deal with goes to a queue of dead letters; when the connection is lost,
//! another one is made, to any node of the broker, everything is declared and consumed again, and only then calls go out.

mod config;
mod consume;
mod link;
mod look;
mod properties;
mod publish;
mod topology;

pub use config::{AmqpConfig, AmqpTls, DeadLetters, DeliveryMode, Password, QueueFlags, QueueKind};
pub use look::QueueView;

use crate::queue::{Queue, lock};
use crate::transport::{Address, Guard, Inbox, ReplyQueue, ReplySink, Trouble};
use crate::{BoxFuture, ConnectionState, Message, SendError, Stats, Transport};
use consume::{Consuming, NOTICES_UNSETTLED_MAX, Purpose};
use link::Link;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

/// How long a new connection waits for everything to be consumed again before calls go out all the same.
const ESTABLISH_WAIT: Duration = Duration::from_secs(30);

/// The transport. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Amqp(Arc<Shared>);

/// What the parts of the transport share.
struct Shared {
    config: AmqpConfig,
    stats: Arc<Stats>,
    state: watch::Sender<ConnectionState>,
    /// The connection, while there is one.
    link: watch::Sender<Option<Arc<Link>>>,
    /// Consumers, and for each the life of the connection in which it last began to consume.
    consumers: watch::Sender<HashMap<u64, u64>>,
    /// Which life of the connection this is.
    generation: AtomicU64,
    last_consumer: AtomicU64,
    sinks: Mutex<HashMap<Arc<str>, Arc<dyn ReplySink>>>,
    closed: watch::Sender<bool>,
}

impl Amqp {
    /// Connects, and stays connected.
    ///
    /// # Errors
    /// If no host lets us in now. Later the transport tries again and again.
    pub async fn connect(config: AmqpConfig) -> Result<Amqp, Trouble> {
        let link = Link::connect(&config).await?;
        let shared = Arc::new(Shared {
            config,
            stats: Arc::default(),
            state: watch::Sender::new(ConnectionState::Connected),
            link: watch::Sender::new(Some(link.clone())),
            consumers: watch::Sender::default(),
            generation: AtomicU64::new(1),
            last_consumer: AtomicU64::new(0),
            sinks: Mutex::default(),
            closed: watch::Sender::new(false),
        });
        tokio::spawn(shared.clone().stay_connected(link));
        Ok(Amqp(shared))
    }

    /// Why the broker takes no messages now, if it does not: it is short of disk or memory.
    pub fn blocked(&self) -> Option<String> {
        self.0.link.borrow().as_ref().and_then(|link| link.blocked())
    }

    /// Starts a consumer; it lives as long as the guard.
    async fn start(&self, purpose: Purpose) -> Result<Guard, SendError> {
        if *self.0.closed.borrow() {
            return Err(SendError::Closed);
        }
        let id = self.0.last_consumer.fetch_add(1, Relaxed) + 1;
        let (stop, stopping) = watch::channel(false);
        let guard = Guard::new(move || {
            stop.send_replace(true);
        });
        let (ready, begun) = oneshot::channel();
        let consuming = Consuming { shared: self.0.clone(), purpose, id, stop: stopping };
        tokio::spawn(consuming.run(ready));
        begun.await.unwrap_or(Err(SendError::Closed))?;
        Ok(guard)
    }
}

impl Shared {
    /// Keeps a link alive, until the transport is closed.
    async fn stay_connected(self: Arc<Self>, mut link: Arc<Link>) {
        let mut closed = self.closed.subscribe();
        loop {
            let why = tokio::select! {
                biased;
                () = told(&mut closed) => return self.end(&link).await,
                why = link.ended() => why,
            };
            tracing::warn!(why, "the connection to the message broker is lost");
            self.stats.connections_lost.add(1);
            self.link.send_replace(None);
            self.set_state(ConnectionState::Connecting);
            link.close().await;
            let connected = tokio::select! {
                biased;
                () = told(&mut closed) => return self.end(&link).await,
                connected = self.connect_again(Trouble::Lost(why)) => connected,
            };
            link = connected;
            self.generation.fetch_add(1, Relaxed);
            self.link.send_replace(Some(link.clone()));
            tokio::select! {
                () = self.all_consume() => {}
                _ = link.ended() => continue,
                () = told(&mut closed) => return self.end(&link).await,
            }
            self.set_state(ConnectionState::Connected);
            tracing::info!("connected to the message broker again");
        }
    }

    async fn connect_again(&self, mut trouble: Trouble) -> Arc<Link> {
        loop {
            let retry_in = self.config.retry_pause;
            self.set_state(ConnectionState::Waiting { retry_in, trouble });
            tokio::time::sleep(retry_in).await;
            self.set_state(ConnectionState::Connecting);
            match Link::connect(&self.config).await {
                Ok(link) => return link,
                Err(error) => {
                    tracing::warn!(%error, "no connection to the message broker");
                    trouble = error;
                }
            }
        }
    }

    async fn end(&self, link: &Link) {
        self.link.send_replace(None);
        link.close().await;
    }

    /// Waits until everything is consumed in this life of the connection, so that answers find their way back.
    async fn all_consume(&self) {
        let generation = self.generation.load(Relaxed);
        let mut consumers = self.consumers.subscribe();
        let all = consumers.wait_for(|consumers| consumers.values().all(|established| *established >= generation));
        if tokio::time::timeout(ESTABLISH_WAIT, all).await.is_err() {
            tracing::error!("not everything could be consumed again; see the warnings before");
        }
    }

    fn set_state(&self, state: ConnectionState) {
        self.state.send_if_modified(|now| {
            let change = *now != ConnectionState::Closed && *now != state;
            if change {
                *now = state;
            }
            change
        });
    }

    fn established(&self, id: u64) {
        let generation = self.generation.load(Relaxed);
        self.consumers.send_modify(|consumers| {
            consumers.insert(id, generation);
        });
    }

    fn forget(&self, id: u64) {
        self.consumers.send_modify(|consumers| {
            consumers.remove(&id);
        });
    }

    /// How long a consumer waits before it tries again.
    fn pause_of(&self, link: &Link) -> Duration {
        // With another connection it may try at once.
        if link.has_ended() { Duration::ZERO } else { self.config.retry_pause.min(Duration::from_millis(500)) }
    }
}

/// Waits until the flag is set. If nobody is left who could set it, that says the same.
async fn told(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|flag| *flag).await;
}

impl Transport for Amqp {
    fn send<'a>(&'a self, to: Address<'a>, message: Message) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.0.send(to, message))
    }

    fn replies(&self, sink: Arc<dyn ReplySink>) -> BoxFuture<'_, Result<ReplyQueue, SendError>> {
        Box::pin(async move {
            let name = self.0.config.reply_queue.clone();
            // A name that the broker makes could not be declared again after a reconnection.
            let name: Arc<str> = name.unwrap_or_else(|| format!("reply.{}", Uuid::new_v4().simple())).into();
            let consuming = self.start(Purpose::Replies { name: name.clone(), sink: sink.clone() }).await?;
            lock(&self.0.sinks).insert(name.clone(), sink);
            let (shared, key) = (Arc::downgrade(&self.0), name.clone());
            let guard = Guard::new(move || {
                drop(consuming);
                if let Some(shared) = shared.upgrade() {
                    lock(&shared.sinks).remove(&key);
                }
            });
            Ok(ReplyQueue { name, guard })
        })
    }

    fn consume<'a>(&'a self, reference: &'a str, unsettled: usize) -> BoxFuture<'a, Result<Inbox, SendError>> {
        Box::pin(async move {
            let unsettled = unsettled.clamp(1, u16::MAX.into());
            let queue = Arc::new(Queue::new(unsettled, self.0.stats.clone()));
            let guard = self.start(Purpose::Calls { reference: reference.into(), unsettled, queue: queue.clone() }).await?;
            Ok(Inbox::new(queue, None, guard))
        })
    }

    fn subscribe<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Inbox, SendError>> {
        Box::pin(async move {
            let queue = Arc::new(Queue::new(NOTICES_UNSETTLED_MAX, self.0.stats.clone()));
            let guard = self.start(Purpose::Notices { reference: reference.into(), queue: queue.clone() }).await?;
            Ok(Inbox::new(queue, None, guard))
        })
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.0.state.subscribe()
    }

    fn stats(&self) -> &Arc<Stats> {
        &self.0.stats
    }

    fn message_bytes_max(&self) -> usize {
        self.0.config.message_bytes_max
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.0.state.send_replace(ConnectionState::Closed);
            self.0.closed.send_replace(true);
            for sink in std::mem::take(&mut *lock(&self.0.sinks)).into_values() {
                sink.disconnected("closed");
            }
            let mut link = self.0.link.subscribe();
            let _ = tokio::time::timeout(Duration::from_secs(10), link.wait_for(Option::is_none)).await;
        })
    }
}

#[cfg(test)]
mod tests;

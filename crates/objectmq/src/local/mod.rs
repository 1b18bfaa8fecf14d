//! The transport inside one process: a hub of queues and exchanges in memory. The server's objects are bound to it, and the
//! [`websocket`](crate::websocket) door brings the outside to it.
//!
//! A unicast queue lives as long as it has consumers. When the last one leaves, what still waits is told to its senders as
//! [`SendError::NotBound`]: nothing waits for ever, and nobody can fill the memory with queues.

use crate::queue::{NotTaken, Queue, lock};
use crate::stats::Stats;
use crate::transport::{
    Address, ConnectionState, DELIVERIES_MAX, Guard, Inbox, MESSAGE_BYTES_MAX, Parcel, ReplyQueue, ReplySink, Settler,
};
use crate::{BoxFuture, Caller, Message, SendError, Transport};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use tokio::sync::watch;
use uuid::Uuid;

/// Limits of a hub.
#[derive(Clone, Copy, Debug)]
pub struct HubLimits {
    /// Messages that wait for the consumers of one reference.
    pub queue_messages_max: usize,
    /// Notifications that wait for one follower inside the process.
    pub follower_messages_max: usize,
    /// Longest body, in bytes.
    pub message_bytes_max: usize,
}

impl Default for HubLimits {
    fn default() -> HubLimits {
        HubLimits { queue_messages_max: 8_192, follower_messages_max: 1_024, message_bytes_max: MESSAGE_BYTES_MAX }
    }
}

/// The hub. Cheap to clone; all clones are one hub.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    limits: HubLimits,
    stats: Arc<Stats>,
    queues: RwLock<HashMap<Arc<str>, Arc<UnicastQueue>>>,
    exchanges: RwLock<HashMap<Arc<str>, Followers>>,
    replies: RwLock<HashMap<Arc<str>, Arc<dyn ReplySink>>>,
    last_follower: AtomicU64,
    state: watch::Sender<ConnectionState>,
}

/// The followers of one reference, with their numbers.
type Followers = Vec<(u64, Arc<dyn Follower>)>;

/// Gets the notifications of what it follows. Must not block; it drops what it has no room for, and counts that.
pub(crate) trait Follower: Send + Sync {
    fn notify(&self, notice: &Notice);
}

/// A multi message on its way to many followers.
pub(crate) struct Notice {
    pub message: Message,
    pub caller: Caller,
    /// The message as some follower encoded it, for the others to use.
    pub encoded: std::sync::OnceLock<bytes::Bytes>,
}

impl Hub {
    /// An empty hub.
    pub fn new(limits: HubLimits) -> Hub {
        Hub(Arc::new(Shared {
            limits,
            stats: Arc::default(),
            queues: RwLock::default(),
            exchanges: RwLock::default(),
            replies: RwLock::default(),
            last_follower: AtomicU64::new(0),
            state: watch::Sender::new(ConnectionState::Connected),
        }))
    }

    /// How many messages wait for the consumers of a reference.
    pub fn queue_depth(&self, reference: &str) -> usize {
        read(&self.0.queues).get(reference).map_or(0, |queue| queue.queue.len())
    }

    /// Whether anybody follows a reference.
    pub fn is_followed(&self, reference: &str) -> bool {
        read(&self.0.exchanges).contains_key(reference)
    }

    /// The references that somebody follows.
    pub fn followed(&self) -> Vec<Arc<str>> {
        read(&self.0.exchanges).keys().cloned().collect()
    }

    /// The counters of this hub, of the brokers on it, and of its doors.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.0.stats
    }

    /// Delivers a message of a known sender. Never waits.
    pub(crate) fn deliver(&self, to: Address<'_>, parcel: Parcel) -> Result<(), SendError> {
        let limit = self.0.limits.message_bytes_max;
        if parcel.message.body.len() > limit {
            return Err(SendError::TooLarge { bytes: parcel.message.body.len(), limit });
        }
        match to {
            Address::Unicast(reference) => self.deliver_unicast(reference, parcel),
            Address::Multi(reference) => {
                self.deliver_multi(reference, parcel);
                Ok(())
            }
            Address::Reply(name) => {
                self.deliver_reply(name, parcel.message);
                Ok(())
            }
        }
    }

    fn deliver_unicast(&self, reference: &str, parcel: Parcel) -> Result<(), SendError> {
        let queue = read(&self.0.queues).get(reference).cloned();
        let Some(queue) = queue else {
            self.0.stats.unroutable.add(1);
            return Err(SendError::NotBound(reference.to_owned()));
        };
        queue.queue.offer(parcel.into()).map_err(|why| match why {
            NotTaken::Full => {
                self.0.stats.busy.add(1);
                SendError::Busy(format!("the queue of {reference:?} is full"))
            }
            NotTaken::Closed => {
                self.0.stats.unroutable.add(1);
                SendError::NotBound(reference.to_owned())
            }
        })
    }

    fn deliver_multi(&self, reference: &str, parcel: Parcel) {
        let exchanges = read(&self.0.exchanges);
        let Some(followers) = exchanges.get(reference) else { return };
        let Parcel { message, caller, .. } = parcel;
        let notice = Notice { message, caller, encoded: std::sync::OnceLock::new() };
        for (_, follower) in followers {
            follower.notify(&notice);
        }
    }

    fn deliver_reply(&self, name: &str, message: Message) {
        let sink = read(&self.0.replies).get(name).cloned();
        match sink {
            Some(sink) => sink.answer(message),
            None => self.0.stats.answers_lost.add(1),
        }
    }

    /// Opens a reply queue.
    pub(crate) fn open_replies(&self, sink: Arc<dyn ReplySink>) -> ReplyQueue {
        let name: Arc<str> = format!("reply.{}", Uuid::new_v4().simple()).into();
        write(&self.0.replies).insert(name.clone(), sink);
        let (shared, key) = (Arc::downgrade(&self.0), name.clone());
        let guard = Guard::new(move || {
            if let Some(shared) = shared.upgrade() {
                write(&shared.replies).remove(&key);
            }
        });
        ReplyQueue { name, guard }
    }

    /// Adds a follower of a reference until the guard is dropped.
    pub(crate) fn follow(&self, reference: &str, follower: Arc<dyn Follower>) -> Guard {
        let id = self.0.last_follower.fetch_add(1, Relaxed) + 1;
        let reference: Arc<str> = reference.into();
        write(&self.0.exchanges).entry(reference.clone()).or_default().push((id, follower));
        let shared = Arc::downgrade(&self.0);
        Guard::new(move || {
            let Some(shared) = shared.upgrade() else { return };
            let mut exchanges = write(&shared.exchanges);
            if let Some(followers) = exchanges.get_mut(&reference) {
                followers.retain(|(other, _)| *other != id);
                if followers.is_empty() {
                    exchanges.remove(&reference);
                }
            }
        })
    }

    /// Adds a consumer of a reference until the inbox is dropped.
    pub(crate) fn take_part(&self, reference: &str) -> Inbox {
        let mut queues = write(&self.0.queues);
        let queue = queues.entry(reference.into()).or_insert_with_key(|reference| {
            Arc::new(UnicastQueue {
                reference: reference.clone(),
                queue: Arc::new(Queue::new(self.0.limits.queue_messages_max, self.0.stats.clone())),
                consumers: Mutex::new(0),
                hub: Arc::downgrade(&self.0),
            })
        });
        *lock(&queue.consumers) += 1;
        let queue = queue.clone();
        drop(queues);
        let leaving = queue.clone();
        Inbox::new(queue.queue.clone(), Some(queue), Guard::new(move || leaving.leave()))
    }

    /// Tells the sender of a request that will not be answered.
    fn fail(&self, message: &Message, error: SendError) {
        let Some(reply_to) = &message.reply_to else { return };
        let sink = read(&self.0.replies).get(reply_to).cloned();
        if let Some(sink) = sink {
            sink.failed(&message.correlation_id, error);
        }
    }
}

impl Transport for Hub {
    fn send<'a>(&'a self, to: Address<'a>, message: Message) -> BoxFuture<'a, Result<(), SendError>> {
        let closed = *self.0.state.borrow() == ConnectionState::Closed;
        let sent = if closed { Err(SendError::Closed) } else { self.deliver(to, Parcel::new(message, Caller::anonymous())) };
        Box::pin(std::future::ready(sent))
    }

    fn replies(&self, sink: Arc<dyn ReplySink>) -> BoxFuture<'_, Result<ReplyQueue, SendError>> {
        Box::pin(std::future::ready(Ok(self.open_replies(sink))))
    }

    fn consume<'a>(&'a self, reference: &'a str, _unsettled: usize) -> BoxFuture<'a, Result<Inbox, SendError>> {
        Box::pin(std::future::ready(Ok(self.take_part(reference))))
    }

    fn subscribe<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Inbox, SendError>> {
        let stats = self.0.stats.clone();
        let queue = Arc::new(Queue::new(self.0.limits.follower_messages_max, stats.clone()));
        let following = self.follow(reference, Arc::new(QueueFollower { queue: queue.clone(), stats }));
        Box::pin(std::future::ready(Ok(Inbox::new(queue, None, following))))
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.0.state.subscribe()
    }

    fn stats(&self) -> &Arc<Stats> {
        &self.0.stats
    }

    fn message_bytes_max(&self) -> usize {
        self.0.limits.message_bytes_max
    }

    /// Closing the hub ends all its queues, whoever opened them.
    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.state.send_replace(ConnectionState::Closed);
        let queues = std::mem::take(&mut *write(&self.0.queues));
        for queue in queues.into_values() {
            for waiting in queue.queue.close() {
                self.fail(&waiting.parcel.message, SendError::Closed);
            }
        }
        write(&self.0.exchanges).clear();
        Box::pin(std::future::ready(()))
    }
}

/// The queue of one reference.
struct UnicastQueue {
    reference: Arc<str>,
    queue: Arc<Queue>,
    consumers: Mutex<usize>,
    hub: Weak<Shared>,
}

impl UnicastQueue {
    fn leave(&self) {
        let Some(shared) = self.hub.upgrade() else { return };
        let mut queues = write(&shared.queues);
        let mut consumers = lock(&self.consumers);
        *consumers -= 1;
        if *consumers > 0 {
            return;
        }
        if queues.get(&self.reference).is_some_and(|queue| std::ptr::eq(queue.as_ref(), self)) {
            queues.remove(&self.reference);
        }
        drop((consumers, queues));
        let hub = Hub(shared);
        for waiting in self.queue.close() {
            hub.fail(&waiting.parcel.message, SendError::NotBound(self.reference.to_string()));
        }
    }
}

impl Settler for UnicastQueue {
    fn done(&self, _tag: u64) {}

    fn dead(&self, _tag: u64, _parcel: Parcel, _why: &str) {
        if let Some(hub) = self.hub.upgrade() {
            hub.stats.dead.add(1);
        }
    }

    fn again(&self, _tag: u64, mut parcel: Parcel) {
        let Some(hub) = self.hub.upgrade().map(Hub) else { return };
        parcel.deliveries += 1;
        if parcel.deliveries >= DELIVERIES_MAX {
            hub.0.stats.dead.add(1);
            hub.fail(&parcel.message, SendError::Malformed(format!("given up after {DELIVERIES_MAX} deliveries")));
            return;
        }
        let message = parcel.message.clone();
        if self.queue.put_back(parcel.into()).is_err() {
            hub.fail(&message, SendError::NotBound(self.reference.to_string()));
        }
    }
}

/// A follower inside the process.
struct QueueFollower {
    queue: Arc<Queue>,
    stats: Arc<Stats>,
}

impl Follower for QueueFollower {
    fn notify(&self, notice: &Notice) {
        let parcel = Parcel::new(notice.message.clone(), notice.caller.clone());
        if self.queue.offer(parcel.into()).is_err() {
            self.stats.dropped.add(1);
        }
    }
}

impl Drop for QueueFollower {
    fn drop(&mut self) {
        self.queue.close();
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

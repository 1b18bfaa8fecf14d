//! The seam below the broker: how messages travel. A transport knows nothing of methods or results.
//!
//! What every transport guarantees (the conformance suite checks it):
//! * a unicast message is handed to one consumer; if that consumer goes away before it settled the message, another gets it;
//! * a multi message is handed to every subscriber of that moment, in the order in which one sender sent them;
//! * what waits is bounded; what does not fit is refused to the sender (unicast) or dropped and counted (multi).

use crate::queue::{Queue, lock};
use crate::stats::Stats;
use crate::{BoxFuture, Caller, Message, SendError};
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

pub use crate::message::{CORRELATION_ID_BYTES_MAX, MESSAGE_BYTES_MAX, REFERENCE_BYTES_MAX};

/// Times that a message is handed out before it is given up: it seems to kill whoever takes it.
pub const DELIVERIES_MAX: u8 = 5;

/// A way for messages to travel.
pub trait Transport: Send + Sync + 'static {
    /// Hands a message over. `Ok` means that the transport has it, not that it arrived. A failure that is found out later is told to
    /// the [`ReplySink`], if the message has a `reply_to`.
    fn send<'a>(&'a self, to: Address<'a>, message: Message) -> BoxFuture<'a, Result<(), SendError>>;

    /// Opens a reply queue whose answers go to `sink`, as long as the returned value lives.
    fn replies(&self, sink: Arc<dyn ReplySink>) -> BoxFuture<'_, Result<ReplyQueue, SendError>>;

    /// Takes part in the unicast queue of a reference. At most `unsettled` messages are handed out and not settled.
    fn consume<'a>(&'a self, reference: &'a str, unsettled: usize) -> BoxFuture<'a, Result<Inbox, SendError>>;

    /// Follows the multi exchange of a reference.
    fn subscribe<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Inbox, SendError>>;

    /// Whether messages can be sent now.
    fn state(&self) -> watch::Receiver<ConnectionState>;

    /// The counters of this transport.
    fn stats(&self) -> &Arc<Stats>;

    /// Longest body that is carried, in bytes.
    fn message_bytes_max(&self) -> usize;

    /// Ends it. Everything under way fails with [`SendError::Closed`].
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    /// To one consumer of the reference.
    Unicast(&'a str),
    /// To every subscriber of the reference.
    Multi(&'a str),
    /// To the reply queue of this name.
    Reply(&'a str),
}

/// Takes what comes back to a caller. Must not block.
pub trait ReplySink: Send + Sync {
    /// An answer arrived.
    fn answer(&self, message: Message);
    /// The request with this correlation id did not arrive.
    fn failed(&self, correlation_id: &str, error: SendError);
    /// The connection is lost: what was asked before now may stay unanswered.
    fn disconnected(&self, why: &str);
}

/// An open reply queue. Dropping it closes it.
pub struct ReplyQueue {
    /// What goes into `reply_to`.
    pub name: Arc<str>,
    /// Closes it.
    pub guard: Guard,
}

/// Whether a transport can send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// The first, or another, attempt is under way.
    Connecting,
    /// Connected, and everything followed is followed again.
    Connected,
    /// Not connected; the next attempt comes after `retry_in`.
    Waiting {
        /// Time until the next attempt.
        retry_in: Duration,
        /// Why there is no connection.
        trouble: Trouble,
    },
    /// Closed by its owner.
    Closed,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The server cannot be reached: name, network, TLS.
    #[error("cannot reach the server: {0}")]
    Unreachable(String),
    /// The server answered the handshake with this HTTP status, for example 401.
    #[error("the server refused the connection with status {status}: {text}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// What it said, shortened.
        text: String,
    },
    /// The server is not the one that it should be: its certificate is not trusted, or not for its name. Waiting does not help.
    #[error("the server is not trusted: {0}")]
    Untrusted(String),
    /// There was a connection, and it ended.
    #[error("the connection was lost: {0}")]
    Lost(String),
}

/// Messages for one consumer or subscriber. Dropping it stops the flow.
pub struct Inbox {
    queue: Arc<Queue>,
    settler: Option<Arc<dyn Settler>>,
    guard: Mutex<Option<Guard>>,
}

impl Inbox {
    /// An inbox that is filled through `queue`. `settler` is for what the queue holds without a settler of its own; `guard` runs
    /// when the inbox is dropped.
    pub(crate) fn new(queue: Arc<Queue>, settler: Option<Arc<dyn Settler>>, guard: Guard) -> Inbox {
        Inbox { queue, settler, guard: Mutex::new(Some(guard)) }
    }

    /// Stops the flow: what nobody took yet, others get.
    pub(crate) fn stop(&self) {
        let guard = lock(&self.guard).take();
        drop(guard);
    }

    /// The next message, or `None` when nothing comes any more. Many may wait at once.
    pub async fn next(&self) -> Option<Delivery> {
        let waiting = self.queue.next().await?;
        let settler = waiting.settler.or_else(|| self.settler.clone());
        Some(Delivery { parcel: waiting.parcel, settler, tag: waiting.tag })
    }
}

/// Runs something once, when dropped.
pub struct Guard(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Guard {
    /// Runs `action` when dropped.
    pub fn new(action: impl FnOnce() + Send + Sync + 'static) -> Guard {
        Guard(Some(Box::new(action)))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(action) = self.0.take() {
            action();
        }
    }
}

/// A message on its way, with who sent it.
#[derive(Debug)]
pub struct Parcel {
    /// The message.
    pub message: Message,
    /// Who sent it.
    pub caller: Caller,
    pub(crate) deliveries: u8,
    pub(crate) load: Option<Load>,
}

impl Parcel {
    /// A message that was not handed out yet.
    pub fn new(message: Message, caller: Caller) -> Parcel {
        Parcel { message, caller, deliveries: 0, load: None }
    }
}

/// One message of a session that is in flight; counted for as long as it lives.
#[derive(Debug)]
pub(crate) struct Load(Arc<AtomicUsize>);

impl Load {
    /// Counts one more, or `None` at the limit.
    pub(crate) fn take(count: &Arc<AtomicUsize>, limit: usize) -> Option<Load> {
        if count.fetch_add(1, AcqRel) >= limit {
            count.fetch_sub(1, AcqRel);
            return None;
        }
        Some(Load(count.clone()))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}

/// Is told what became of a delivery.
pub(crate) trait Settler: Send + Sync {
    /// It was dealt with.
    fn done(&self, tag: u64);
    /// It was not: somebody else must get it.
    fn again(&self, tag: u64, parcel: Parcel);
    /// Nobody can deal with it.
    fn dead(&self, tag: u64, parcel: Parcel, why: &str);
}

/// A message in the hands of whoever deals with it. Dropping it without [`Delivery::done`] gives it to somebody else.
pub struct Delivery {
    parcel: Parcel,
    settler: Option<Arc<dyn Settler>>,
    tag: u64,
}

impl Delivery {
    /// The message.
    pub fn message(&self) -> &Message {
        &self.parcel.message
    }

    /// Who sent it.
    pub fn caller(&self) -> &Caller {
        &self.parcel.caller
    }

    /// Nobody can deal with it, however often it is delivered. Whoever waits was told.
    pub fn dead(mut self, why: &str) {
        if let Some(settler) = self.settler.take() {
            let parcel = self.take_parcel();
            settler.dead(self.tag, parcel, why);
        }
    }

    fn take_parcel(&mut self) -> Parcel {
        Parcel {
            message: self.parcel.message.clone(),
            caller: self.parcel.caller.clone(),
            deliveries: self.parcel.deliveries,
            load: self.parcel.load.take(),
        }
    }

    /// It was dealt with, whatever came of it.
    pub fn done(mut self) {
        if let Some(settler) = self.settler.take() {
            settler.done(self.tag);
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(settler) = self.settler.take() {
            let parcel = self.take_parcel();
            settler.again(self.tag, parcel);
        }
    }
}

//! The broker: calls out through proxies, calls in through bindings, over one transport.

mod answers;
mod binding;
mod pending;
mod proxy;
mod worker;

pub use answers::AnswerLimits;
pub use binding::{BindOptions, Binding};
pub use proxy::{CallOptions, Proxy};

use crate::envelope::Encodings;
use crate::queue::lock;
use crate::transport::{REFERENCE_BYTES_MAX, ReplyQueue};
use crate::{BindError, CallError, ConnectionState, RemoteObject, Stats, Transport};
use binding::{Bound, Reach};
use pending::Pending;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{OnceCell, Semaphore, watch};

/// Synchronous calls that one broker has under way; more wait for their turn.
pub const CALLS_IN_FLIGHT_MAX: usize = 512;

/// Gives access to remote objects, and makes objects remote. Cheap to clone; all clones are one broker.
#[derive(Clone)]
pub struct Broker(Arc<Shared>);

struct Shared {
    transport: Arc<dyn Transport>,
    encodings: Encodings,
    pending: Arc<Pending>,
    replies: OnceCell<ReplyQueue>,
    in_flight: Semaphore,
    bound: Arc<Mutex<HashMap<Arc<str>, Arc<Bound>>>>,
    /// Workers of all bindings, those of dropped ones included.
    running: Arc<watch::Sender<usize>>,
}

impl Broker {
    /// A broker on a transport that speaks JSON. Nothing is sent before the first call or binding.
    pub fn new(transport: Arc<dyn Transport>) -> Broker {
        Broker::with_encodings(transport, Encodings::default())
    }

    /// A broker on a transport that speaks these encodings.
    pub fn with_encodings(transport: Arc<dyn Transport>, encodings: Encodings) -> Broker {
        Broker(Arc::new(Shared {
            pending: Arc::new(Pending::new(transport.stats().clone())),
            transport,
            encodings,
            replies: OnceCell::new(),
            in_flight: Semaphore::new(CALLS_IN_FLIGHT_MAX),
            bound: Arc::default(),
            running: Arc::new(watch::Sender::new(0)),
        }))
    }

    /// Binds an object: it gets its share of the unicast calls to the reference, and all multi calls. It does so until the binding
    /// is dropped or unbound. Must be called inside a tokio runtime.
    pub async fn bind(&self, reference: &str, object: Arc<dyn RemoteObject>, options: BindOptions) -> Result<Binding, BindError> {
        self.start(reference, object, Reach::UnicastAndMulti(options)).await
    }

    /// Follows a reference: the object gets the multi calls only, one after the other, in order.
    pub async fn listen(&self, reference: &str, object: Arc<dyn RemoteObject>) -> Result<Binding, BindError> {
        self.start(reference, object, Reach::Multi).await
    }

    /// A proxy for whatever is bound to the reference. Nothing is sent; that nobody is bound is found out by calling.
    pub fn lookup(&self, reference: &str) -> Proxy {
        Proxy::new(self.clone(), reference)
    }

    /// Whether calls can be sent now.
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.0.transport.state()
    }

    /// The counters of the transport and of all brokers on it.
    pub fn stats(&self) -> &Arc<Stats> {
        self.0.transport.stats()
    }

    /// Stops taking calls, finishes those that were taken, fails the calls out that still wait, and closes the transport.
    pub async fn close(&self) {
        for bound in lock(&self.0.bound).values() {
            bound.stop();
        }
        // The sender is ours, so this cannot fail.
        let _ = self.0.running.subscribe().wait_for(|running| *running == 0).await;
        self.0.pending.close();
        self.0.transport.close().await;
    }

    async fn start(&self, reference: &str, object: Arc<dyn RemoteObject>, reach: Reach) -> Result<Binding, BindError> {
        if reference.is_empty() || reference.len() > REFERENCE_BYTES_MAX {
            return Err(BindError::BadReference(reference.to_owned()));
        }
        let binding = Binding::reserve(&self.0.bound, &self.0.running, reference)?;
        match binding.start(&self.0.transport, &self.0.encodings, object, reach).await {
            Ok(()) => Ok(binding),
            Err(source) => Err(BindError::Transport { reference: reference.to_owned(), source }),
        }
    }

    /// The name of our reply queue, opened at the first call.
    async fn reply_to(&self) -> Result<Arc<str>, CallError> {
        let open = || self.0.transport.replies(self.0.pending.clone());
        Ok(self.0.replies.get_or_try_init(open).await?.name.clone())
    }
}

#[cfg(test)]
mod tests;

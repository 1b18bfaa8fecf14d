//! A transport that only catches what the service tells everybody: the world delivers it.

use objectmq::envelope::{Encodings, Request};
use objectmq::transport::{Address, ConnectionState, Inbox, MESSAGE_BYTES_MAX, ReplyQueue, ReplySink};
use objectmq::{BoxFuture, Message, SendError, Stats, Transport};
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// A notice as it was sent.
#[derive(Debug)]
pub struct Told {
    /// To whoever follows this.
    pub reference: String,
    /// The call that it is.
    pub request: Request,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Wire {
    told: Mutex<Vec<Told>>,
    stats: Arc<Stats>,
}

impl Wire {
    /// What was told since this was asked last.
    pub fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn catch(&self, to: Address<'_>, message: &Message) -> Result<(), SendError> {
        let Address::Multi(reference) = to else { return Err(SendError::Closed) };
        let (_, request) = Encodings::default().decode_request(&message.kind, &message.body).map_err(|_| SendError::Closed)?;
        let told = Told { reference: reference.to_owned(), request };
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(told);
        Ok(())
    }
}

impl Transport for Wire {
    fn send<'a>(&'a self, to: Address<'a>, message: Message) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(ready(self.catch(to, &message)))
    }

    fn replies(&self, _sink: Arc<dyn ReplySink>) -> BoxFuture<'_, Result<ReplyQueue, SendError>> {
        Box::pin(ready(Err(SendError::Closed)))
    }

    fn consume<'a>(&'a self, _reference: &'a str, _unsettled: usize) -> BoxFuture<'a, Result<Inbox, SendError>> {
        Box::pin(ready(Err(SendError::Closed)))
    }

    fn subscribe<'a>(&'a self, _reference: &'a str) -> BoxFuture<'a, Result<Inbox, SendError>> {
        Box::pin(ready(Err(SendError::Closed)))
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        watch::channel(ConnectionState::Connected).1
    }

    fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    fn message_bytes_max(&self) -> usize {
        MESSAGE_BYTES_MAX
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
}

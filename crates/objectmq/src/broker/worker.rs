//! What happens to one message at a bound object: decode, recognise a retry, call, answer, settle. Whatever the message is, it is
//! settled, and whoever waits is answered.

use super::answers::{Answers, Begin, Turn};
use crate::envelope::{Answered, Encoding, Encodings, EnvelopeError, Request};
use crate::error::{REMOTE_EXCEPTION, SERIALIZER_EXCEPTION};
use crate::transport::{Address, Delivery, Inbox};
use crate::{Caller, Incoming, Message, MessageType, RawValue, RemoteError, RemoteObject, SendError, Transport};
use bytes::Bytes;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::watch;

pub struct Worker {
    pub reference: Arc<str>,
    pub transport: Arc<dyn Transport>,
    pub encodings: Encodings,
    pub object: Arc<dyn RemoteObject>,
    pub answers: Answers,
}

/// Which way a message came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Unicast,
    Multi,
}

impl Kind {
    fn response_type(self) -> MessageType {
        match self {
            Kind::Unicast => MessageType::NormalResponse,
            Kind::Multi => MessageType::MultiResponse,
        }
    }
}

impl Worker {
    /// Takes messages until told to stop, or until nothing comes any more.
    pub async fn run(&self, inbox: Arc<Inbox>, kind: Kind, mut stop: watch::Receiver<bool>) {
        let mut stopped = std::pin::pin!(stop.wait_for(|stop| *stop));
        loop {
            let delivery = tokio::select! {
                biased;
                // Others get what nobody took yet, although calls that were taken still keep the inbox.
                _ = &mut stopped => return inbox.stop(),
                delivery = inbox.next() => delivery,
            };
            let Some(delivery) = delivery else { return };
            match self.serve(&delivery, kind).await {
                Ok(()) => delivery.done(),
                Err(why) => delivery.dead(&why),
            }
        }
    }

    /// Why nobody can deal with the message, if nobody can.
    async fn serve(&self, delivery: &Delivery, kind: Kind) -> Result<(), String> {
        let message = delivery.message();
        match self.encodings.decode_request(&message.kind, &message.body) {
            Err(error) => {
                let why = error.to_string();
                self.refuse(message, kind, error).await;
                Err(why)
            }
            Ok((encoding, request)) => {
                let reply_to = message.reply_to.as_ref().filter(|name| !request.asynchronous && !name.is_empty());
                match reply_to {
                    None => self.take(delivery, request).await,
                    Some(reply_to) => {
                        self.answer(delivery, kind, encoding, request, reply_to).await;
                        Ok(())
                    }
                }
            }
        }
    }

    /// Answers what could not be read, in the encoding that its sender most likely has.
    async fn refuse(&self, message: &Message, kind: Kind, error: EnvelopeError) {
        self.transport.stats().malformed.add(1);
        tracing::debug!(reference = &*self.reference, id = &*message.correlation_id, %error, "a call could not be read");
        let Some(reply_to) = &message.reply_to else { return };
        let error = RemoteError::new(SERIALIZER_EXCEPTION, error.to_string());
        let encoding = self.encodings.guess(&message.kind, &message.body);
        let body = self.encode(encoding, "", &message.correlation_id, Err(&error));
        self.reply(message, kind, reply_to, body).await;
    }

    /// Carries out a call that nobody waits for. If it fails nobody is told, so it is kept.
    async fn take(&self, delivery: &Delivery, request: Request) -> Result<(), String> {
        self.transport.stats().casts.add(1);
        let method = request.method.clone();
        self.execute(delivery, request).await.map(drop).map_err(|error| {
            tracing::warn!(reference = &*self.reference, method, %error, "an asynchronous call failed");
            error.to_string()
        })
    }

    /// Carries out a call that somebody waits for, once.
    async fn answer(&self, delivery: &Delivery, kind: Kind, encoding: Encoding, request: Request, reply_to: &Arc<str>) {
        let message = delivery.message();
        let stats = self.transport.stats();
        let turn = match kind {
            Kind::Multi => None,
            // Without an id nobody can tell a retry from another call.
            Kind::Unicast if message.correlation_id.is_empty() => None,
            Kind::Unicast => match self.answers.begin(identity(delivery.caller(), reply_to), message, reply_to) {
                Begin::First(turn) => Some(turn),
                Begin::UnderWay => return stats.duplicates.add(1),
                Begin::Answered(body) => {
                    stats.duplicates.add(1);
                    return self.reply(message, kind, reply_to, body).await;
                }
                Begin::IdReused => {
                    stats.malformed.add(1);
                    let error = RemoteError::new(REMOTE_EXCEPTION, "this id belongs to another call");
                    let body = self.encode(encoding, &request.method, &message.correlation_id, Err(&error));
                    return self.reply(message, kind, reply_to, body).await;
                }
            },
        };
        stats.calls.add(1);
        let id = request.id.clone().unwrap_or_else(|| message.correlation_id.to_string());
        let method = request.method.clone();
        let outcome = self.execute(delivery, request).await;
        let body = self.encode(encoding, &method, &id, outcome.as_deref());
        self.reply(message, kind, reply_to, body.clone()).await;
        for retry_from in turn.map(|turn: Turn<'_>| turn.finish(body.clone())).unwrap_or_default() {
            if retry_from != *reply_to {
                self.reply(message, kind, &retry_from, body.clone()).await;
            }
        }
    }

    async fn execute(&self, delivery: &Delivery, request: Request) -> Result<Box<RawValue>, RemoteError> {
        let id = request.id.unwrap_or_else(|| delivery.message().correlation_id.to_string());
        let Request { method, params, asynchronous, .. } = request;
        let incoming = Incoming { caller: delivery.caller().clone(), method, params, id, asynchronous };
        let stats = self.transport.stats();
        let outcome = AssertUnwindSafe(async { self.object.call(incoming).await }).catch_unwind().await.unwrap_or_else(|_| {
            stats.panics.add(1);
            tracing::error!(reference = &*self.reference, "a call panicked");
            Err(RemoteError::failed("the call failed for an internal reason"))
        });
        if outcome.is_err() {
            stats.failures.add(1);
        }
        outcome
    }

    fn encode(&self, encoding: Encoding, method: &str, id: &str, outcome: Result<&RawValue, &RemoteError>) -> Bytes {
        let limit = self.transport.message_bytes_max();
        let answered = Answered { method, id, reference: &self.reference };
        let why = match self.encodings.encode_response(encoding, &answered, outcome) {
            Ok(body) if body.len() <= limit => return body.into(),
            Ok(body) => format!("the result has {} bytes, more than the {limit} that are carried", body.len()),
            Err(error) => error.to_string(),
        };
        let error = RemoteError::new(SERIALIZER_EXCEPTION, why);
        self.encodings.encode_response(encoding, &answered, Err(&error)).map(Bytes::from).unwrap_or_default()
    }

    async fn reply(&self, message: &Message, kind: Kind, reply_to: &Arc<str>, body: Bytes) {
        let response = Message {
            app_id: self.reference.clone(),
            correlation_id: message.correlation_id.clone(),
            reply_to: None,
            kind: kind.response_type(),
            body,
        };
        let sent = self.transport.send(Address::Reply(reply_to), response).await;
        if let Err(error) = sent {
            self.transport.stats().answers_lost.add(1);
            let closed = matches!(error, SendError::Closed | SendError::Disconnected(_));
            tracing::debug!(reference = &*self.reference, closed, %error, "an answer could not be sent");
        }
    }
}

/// Whose retry it would be: the authenticated caller, over all his connections, else whoever reads this reply queue.
fn identity<'a>(caller: &'a Caller, reply_to: &'a Arc<str>) -> &'a Arc<str> {
    caller.identity().unwrap_or(reply_to)
}

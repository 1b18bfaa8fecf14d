//! A proxy: the calling side of a remote object.

use super::Broker;
use crate::envelope::{Answer, Call, Encodings, EnvelopeError};
use crate::message::CORRELATION_ID_BYTES_MAX;
use crate::transport::Address;
use crate::{CallError, ConnectionState, Message, SendError};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How long a synchronous call waits.
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// Time per try.
    pub timeout: Duration,
    /// Tries in total, at least one. All tries are one call: they have the same id.
    pub tries: u32,
    /// The id of the call, if the caller has one that must survive a restart; else a random one. At most 128 bytes.
    pub id: Option<Arc<str>>,
}

impl Default for CallOptions {
    /// One try of 60 s, as in the original.
    fn default() -> CallOptions {
        CallOptions { timeout: Duration::from_secs(60), tries: 1, id: None }
    }
}

impl CallOptions {
    /// `tries` tries of `timeout` each.
    pub fn new(timeout: Duration, tries: u32) -> CallOptions {
        CallOptions { timeout, tries, id: None }
    }
}

/// The calling side of what is bound to a reference. Cheap to clone.
#[derive(Clone)]
pub struct Proxy {
    broker: Broker,
    reference: Arc<str>,
}

impl Proxy {
    pub(super) fn new(broker: Broker, reference: &str) -> Proxy {
        Proxy { broker, reference: reference.into() }
    }

    /// The reference that this proxy calls.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// Calls a method of one bound instance and waits for its result. `param` is the only parameter, `&()` stands for none.
    ///
    /// A try that meets no connection waits for one. A connection that is lost meanwhile ends the try at once.
    pub async fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        param: &(impl Serialize + Sync),
        options: CallOptions,
    ) -> Result<R, CallError> {
        let id = options.id.clone().unwrap_or_else(random_id);
        let body = self.encode(method, param, &id, Answer::Wanted)?;
        let answer = self.ask(method, id, body, &options).await?;
        decode(&self.broker.0.encodings, &answer)
    }

    /// Calls a method of one bound instance and does not wait. `Ok` means that it was sent.
    pub async fn cast(&self, method: &str, param: &(impl Serialize + Sync)) -> Result<(), CallError> {
        let id = random_id();
        let body = self.encode(method, param, &id, Answer::Unwanted)?;
        Ok(self.send(Address::Unicast(&self.reference), self.message(id, None, body)).await?)
    }

    /// Calls a method of every bound instance and does not wait: a notification.
    pub async fn multi_cast(&self, method: &str, param: &(impl Serialize + Sync)) -> Result<(), CallError> {
        let id = random_id();
        let body = self.encode(method, param, &id, Answer::Unwanted)?;
        Ok(self.send(Address::Multi(&self.reference), self.message(id, None, body)).await?)
    }

    /// Calls a method of every bound instance and returns the results that came within `timeout`, which always passes in full.
    /// Instances that answered with an error, or with something else, are left out. No answer at all is a timeout.
    pub async fn multi_call<R: DeserializeOwned>(
        &self,
        method: &str,
        param: &(impl Serialize + Sync),
        timeout: Duration,
    ) -> Result<Vec<R>, CallError> {
        let id = random_id();
        let body = self.encode(method, param, &id, Answer::Wanted)?;
        let message = self.message(id.clone(), Some(self.broker.reply_to().await?), body);
        let waiting = self.broker.0.pending.many(&id);
        self.send(Address::Multi(&self.reference), message).await?;
        tokio::time::sleep(timeout).await;
        let answers = waiting.answers();
        if answers.is_empty() {
            return Err(CallError::Timeout { method: method.to_owned(), tries: 1, timeout });
        }
        Ok(answers.iter().filter_map(|answer| decode(&self.broker.0.encodings, answer).ok()).collect())
    }

    /// Sends until one try is answered.
    async fn ask(&self, method: &str, id: Arc<str>, body: Bytes, options: &CallOptions) -> Result<Message, CallError> {
        let turn = tokio::time::timeout(options.timeout, self.broker.0.in_flight.acquire()).await;
        let _turn = turn.map_err(|_| CallError::Busy("too many calls are under way".to_owned()))?.map_err(|_| CallError::Closed)?;
        let message = self.message(id, Some(self.broker.reply_to().await?), body);
        let tries = options.tries.max(1);
        let timed_out = || CallError::Timeout { method: method.to_owned(), tries, timeout: options.timeout };
        let mut failure = timed_out();
        for _ in 0..tries {
            match tokio::time::timeout(options.timeout, self.attempt(&message)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(SendError::Disconnected(why))) => failure = CallError::Disconnected(why),
                Ok(Err(error)) => return Err(error.into()),
                Err(_elapsed) => failure = timed_out(),
            }
        }
        Err(failure)
    }

    /// One try: sends as soon as there is a connection, and waits.
    async fn attempt(&self, message: &Message) -> Result<Message, SendError> {
        let (_entry, waiting) = self.broker.0.pending.one(&message.correlation_id);
        while let Err(error) = self.send(Address::Unicast(&self.reference), message.clone()).await {
            let SendError::Disconnected(_) = error else { return Err(error) };
            self.connected().await?;
        }
        waiting.await.unwrap_or(Err(SendError::Closed))
    }

    /// Waits until there is a connection.
    async fn connected(&self) -> Result<(), SendError> {
        let mut state = self.broker.0.transport.state();
        let settled = state.wait_for(|state| matches!(state, ConnectionState::Connected | ConnectionState::Closed)).await;
        match settled.as_deref() {
            Ok(ConnectionState::Connected) => Ok(()),
            Ok(_) | Err(_) => Err(SendError::Closed),
        }
    }

    async fn send(&self, to: Address<'_>, message: Message) -> Result<(), SendError> {
        self.broker.0.transport.send(to, message).await
    }

    fn message(&self, id: Arc<str>, reply_to: Option<Arc<str>>, body: Bytes) -> Message {
        Message { app_id: self.reference.clone(), correlation_id: id, reply_to, kind: self.broker.0.encodings.request_type(), body }
    }

    fn encode(&self, method: &str, param: &impl Serialize, id: &str, answer: Answer) -> Result<Bytes, CallError> {
        if id.is_empty() || id.len() > CORRELATION_ID_BYTES_MAX {
            return Err(CallError::Malformed(format!("a call's id has 1 to {CORRELATION_ID_BYTES_MAX} bytes")));
        }
        let body = self.broker.0.encodings.encode_request(&Call { method, id, answer }, param).map_err(malformed)?;
        let limit = self.broker.0.transport.message_bytes_max();
        if body.len() > limit {
            return Err(CallError::TooLarge { bytes: body.len(), limit });
        }
        Ok(body.into())
    }
}

/// Random bytes that are fetched at a time: the kernel is asked for many ids at once.
const RANDOM_BYTES: usize = 4_096;

thread_local! {
    /// Random bytes, and where the unused ones begin.
    static RANDOM: RefCell<([u8; RANDOM_BYTES], usize)> = const { RefCell::new(([0; RANDOM_BYTES], RANDOM_BYTES)) };
}

fn random_id() -> Arc<str> {
    let stored = RANDOM.with_borrow_mut(|(bytes, used)| {
        if *used >= RANDOM_BYTES {
            getrandom::fill(bytes).ok()?;
            *used = 0;
        }
        let (id, _) = bytes.get(*used..)?.split_first_chunk()?;
        *used += id.len();
        Some(uuid::Builder::from_random_bytes(*id).into_uuid())
    });
    stored.unwrap_or_else(Uuid::new_v4).hyphenated().encode_lower(&mut Uuid::encode_buffer()).into()
}

fn decode<R: DeserializeOwned>(encodings: &Encodings, answer: &Message) -> Result<R, CallError> {
    let body = encodings.open(&answer.body).map_err(malformed)?;
    let response = encodings.decode_response(&body).map_err(malformed)?;
    let result = response.outcome.map_err(CallError::Remote)?;
    let text = result.as_ref().map_or("null", |result| result.get());
    serde_json::from_str(text).map_err(|error| CallError::Malformed(format!("the result is not what was expected: {error}")))
}

fn malformed(error: EnvelopeError) -> CallError {
    CallError::Malformed(error.to_string())
}

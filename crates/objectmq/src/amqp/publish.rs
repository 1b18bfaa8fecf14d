//! Sending: every message is confirmed by the broker, or sent again.
//!
//! A call that somebody waits for is sent again by the caller, who also limits how long; whatever else was not confirmed is sent again
//! here, with the same id, as soon as there is a connection.

use super::config::DeadLetters;
use super::link::Link;
use super::properties::{outgoing, short};
use super::topology::{self, DeclareError, text};
use super::{Address, Shared};
use crate::queue::lock;
use crate::{ConnectionState, Message, SendError};
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Confirmation, ErrorKind, ExchangeKind};
use std::sync::Arc;
use std::time::Duration;

/// Times that a message is sent before its sender is told that there is no connection.
const TRIES_MAX: usize = 3;
/// How long a message waits for another connection before that.
const CONNECTION_WAIT: Duration = Duration::from_secs(30);
/// Where a message goes, in the broker's terms.
struct Target {
    exchange: ShortString,
    routing_key: ShortString,
    mandatory: bool,
}

/// Why a try to send failed.
enum Failure {
    /// For good.
    Final(SendError),
    /// Nobody knows whether it was sent.
    Unknown(String),
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Failure {
        Failure::Final(error)
    }
}

impl From<lapin::Error> for Failure {
    fn from(error: lapin::Error) -> Failure {
        Failure::Unknown(error.to_string())
    }
}

impl From<DeclareError> for Failure {
    fn from(error: DeclareError) -> Failure {
        match error {
            DeclareError::Amqp(error) => error.into(),
            DeclareError::Name(error) => error.into(),
        }
    }
}

/// An [`Address`] of its own.
#[derive(Clone)]
enum To {
    Unicast(Arc<str>),
    Multi(Arc<str>),
    Reply(Arc<str>),
}

impl From<Address<'_>> for To {
    fn from(address: Address<'_>) -> To {
        match address {
            Address::Unicast(reference) => To::Unicast(reference.into()),
            Address::Multi(reference) => To::Multi(reference.into()),
            Address::Reply(name) => To::Reply(name.into()),
        }
    }
}

impl Shared {
    /// Sends. Dropping the future does not stop what has begun: the library counts a message before it is written, and must not be
    /// stopped in between, or it takes every later confirmation for that of the message before.
    pub(super) async fn send(self: &Arc<Shared>, to: Address<'_>, message: Message) -> Result<(), SendError> {
        let sending = tokio::spawn(self.clone().send_whole(to.into(), message));
        sending.await.unwrap_or_else(|error| Err(SendError::Disconnected(error.to_string())))
    }

    async fn send_whole(self: Arc<Shared>, to: To, message: Message) -> Result<(), SendError> {
        let limit = self.config.message_bytes_max;
        if message.body.len() > limit {
            return Err(SendError::TooLarge { bytes: message.body.len(), limit });
        }
        let properties = outgoing(&message, self.config.delivery_mode)?;
        let somebody_waits = message.reply_to.is_some();
        let mut why = "not connected".to_owned();
        for attempt in 0..TRIES_MAX {
            if attempt > 0 {
                self.stats.resent.add(1);
                self.connected().await?;
            }
            let link = self.link()?;
            match self.attempt(&link, &to, &message, &properties).await {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Unknown(error)) => why = error,
            }
            if somebody_waits {
                break;
            }
        }
        Err(if *self.closed.borrow() { SendError::Closed } else { SendError::Disconnected(why) })
    }

    /// The connection, if there is one and it is ready.
    fn link(&self) -> Result<Arc<Link>, SendError> {
        match &*self.state.borrow() {
            ConnectionState::Closed => return Err(SendError::Closed),
            ConnectionState::Waiting { trouble, .. } => return Err(SendError::Disconnected(trouble.to_string())),
            ConnectionState::Connecting => return Err(SendError::Disconnected("connecting".to_owned())),
            ConnectionState::Connected => {}
        }
        let link = self.link.borrow().clone().filter(|link| !link.has_ended());
        link.ok_or_else(|| SendError::Disconnected("the connection was lost".to_owned()))
    }

    async fn connected(&self) -> Result<(), SendError> {
        let mut state = self.state.subscribe();
        let ready = state.wait_for(|state| matches!(state, ConnectionState::Connected | ConnectionState::Closed));
        match tokio::time::timeout(CONNECTION_WAIT, ready).await {
            Ok(_) => Ok(()),
            Err(_) => Err(SendError::Disconnected("no connection in time".to_owned())),
        }
    }

    async fn attempt(&self, link: &Link, to: &To, message: &Message, properties: &BasicProperties) -> Result<(), Failure> {
        let target = self.target(link, to).await?;
        let mandatory = target.mandatory;
        let returned = self.publish(link, target, &message.body, properties.clone()).await?;
        match (returned, to) {
            (Some(returned), To::Unicast(reference)) if is_this(&returned, message) => {
                self.stats.unroutable.add(1);
                Err(SendError::NotBound(reference.to_string()).into())
            }
            // The library pairs confirmations and returned messages by their order, which need not be that of the broker.
            (Some(returned), _) if mandatory => {
                self.tell_sender(&returned);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Where a message goes; sees to it that the exchange is there, since sending to a missing one takes the channel down.
    async fn target(&self, link: &Link, to: &To) -> Result<Target, Failure> {
        match to {
            To::Reply(name) => {
                let routing_key = short("the reply queue", name)?;
                Ok(Target { exchange: ShortString::default(), routing_key, mandatory: false })
            }
            To::Unicast(reference) => {
                let exchange = short("omq.rpc_exchange", &self.config.rpc_exchange)?;
                let routing_key = short("the reference", reference)?;
                if !exchange.as_str().is_empty() && !lock(&link.exchanges).contains(exchange.as_str()) {
                    self.find(link, &exchange, reference).await?;
                }
                Ok(Target { exchange, routing_key, mandatory: true })
            }
            To::Multi(reference) => {
                let exchange = topology::multi_exchange(reference)?;
                if !lock(&link.exchanges).contains(exchange.as_str()) {
                    let channel = link.throwaway().await?;
                    topology::declare_multi_exchange(&channel, reference).await?;
                    lock(&link.exchanges).insert(exchange.to_string());
                    // It was only made for this.
                    let _ = channel.close(200, "OK".into()).await;
                }
                Ok(Target { exchange, routing_key: ShortString::default(), mandatory: false })
            }
        }
    }

    /// Looks whether the exchange of the calls is there: whoever binds an object declares it.
    async fn find(&self, link: &Link, exchange: &ShortString, reference: &str) -> Result<(), Failure> {
        let channel = link.throwaway().await?;
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        match channel.exchange_declare(exchange.clone(), ExchangeKind::Direct, options, FieldTable::default()).await {
            Ok(()) => {
                lock(&link.exchanges).insert(exchange.to_string());
                let _ = channel.close(200, "OK".into()).await;
                Ok(())
            }
            Err(error) if is_not_found(&error) => {
                self.stats.unroutable.add(1);
                Err(SendError::NotBound(reference.to_owned()).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Publishes and waits for the confirmation. Returns a message that the broker returned.
    async fn publish(
        &self,
        link: &Link,
        target: Target,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<Option<BasicReturnMessage>, Failure> {
        if let Some(why) = link.blocked() {
            self.stats.busy.add(1);
            return Err(SendError::Busy(format!("the message broker takes no messages: {why}")).into());
        }
        let options = BasicPublishOptions { mandatory: target.mandatory, ..BasicPublishOptions::default() };
        let channel = link.publisher().await?;
        let confirm = channel.basic_publish(target.exchange, target.routing_key, options, body, properties).await?;
        let confirmed = tokio::select! {
            biased;
            confirmed = tokio::time::timeout(self.config.confirm_timeout, confirm) => confirmed,
            why = link.ended() => return Err(Failure::Unknown(why)),
        };
        match confirmed {
            Ok(Ok(Confirmation::Ack(returned))) => Ok(returned),
            Ok(Ok(Confirmation::NotRequested)) => Ok(None),
            Ok(Ok(Confirmation::Nack(_))) => {
                self.stats.busy.add(1);
                Err(SendError::Busy("the message broker did not take the message".to_owned()).into())
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_elapsed) => match link.blocked() {
                Some(why) => Err(SendError::Busy(format!("the message broker takes no messages: {why}")).into()),
                None => {
                    // A connection that was cut does not always say so.
                    let why = "the message broker did not confirm a message in time";
                    link.lose(why);
                    Err(Failure::Unknown(why.to_owned()))
                }
            },
        }
    }

    /// Tells the sender of a returned message, which was paired with another one.
    fn tell_sender(&self, returned: &BasicReturnMessage) {
        self.stats.unroutable.add(1);
        let properties = &returned.delivery.properties;
        let (Some(reply_to), Some(id)) = (properties.reply_to(), properties.correlation_id()) else { return };
        let sink = lock(&self.sinks).get(reply_to.as_str()).cloned();
        if let Some(sink) = sink {
            sink.failed(id.as_str(), SendError::NotBound(returned.delivery.routing_key.to_string()));
        }
    }

    /// Puts a message that nobody can deal with where people can look at it. Whether it is there.
    pub(super) async fn bury(&self, reference: &str, message: &Message, why: &str) -> bool {
        tracing::warn!(reference, id = &*message.correlation_id, why, "a message was given up");
        match self.config.dead_letters {
            DeadLetters::Rejected => false,
            DeadLetters::Kept => match self.keep_dead(reference, message, why).await {
                Ok(()) => true,
                Err(Failure::Final(error)) => {
                    tracing::error!(reference, %error, "a dead letter was not kept");
                    false
                }
                Err(Failure::Unknown(error)) => {
                    tracing::error!(reference, error, "a dead letter was not kept");
                    false
                }
            },
        }
    }

    async fn keep_dead(&self, reference: &str, message: &Message, why: &str) -> Result<(), Failure> {
        let link = self.link()?;
        let queue = topology::dead_letter_queue(reference)?;
        if !lock(&link.exchanges).contains(queue.as_str()) {
            let channel = link.throwaway().await?;
            topology::declare_dead_letter_queue(&channel, &self.config, reference).await?;
            lock(&link.exchanges).insert(queue.to_string());
            let _ = channel.close(200, "OK".into()).await;
        }
        let mut headers = FieldTable::default();
        headers.insert("x-objectmq-reason".into(), text(why));
        headers.insert("x-objectmq-queue".into(), text(reference));
        let properties = outgoing(message, None)?.with_headers(headers).with_delivery_mode(2);
        let target = Target { exchange: ShortString::default(), routing_key: queue, mandatory: false };
        self.publish(&link, target, &message.body, properties).await.map(drop)
    }
}

fn is_this(returned: &BasicReturnMessage, message: &Message) -> bool {
    let id = returned.delivery.properties.correlation_id().as_ref().map_or("", ShortString::as_str);
    id == &*message.correlation_id
}

fn is_not_found(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(said) => matches!(said.kind(), AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)),
        _ => false,
    }
}

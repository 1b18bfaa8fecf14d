//! Exchanges and queues, exactly as the original declares them, so that both can declare the same ones.

use super::config::{AmqpConfig, QueueFlags, QueueKind};
use super::properties::short;
use crate::SendError;
use crate::transport::DELIVERIES_MAX;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ErrorKind, ExchangeKind};

/// Most messages in a queue of dead letters; older ones go.
const DEAD_LETTERS_MAX: i64 = 10_000;
/// Most bytes in a queue of dead letters; older ones go.
const DEAD_LETTERS_BYTES_MAX: i64 = 64 << 20;

/// Why something was not declared.
pub enum DeclareError {
    /// The broker, or nobody, said why.
    Amqp(lapin::Error),
    /// A name is too long.
    Name(SendError),
}

impl From<lapin::Error> for DeclareError {
    fn from(error: lapin::Error) -> DeclareError {
        DeclareError::Amqp(error)
    }
}

impl From<SendError> for DeclareError {
    fn from(error: SendError) -> DeclareError {
        DeclareError::Name(error)
    }
}

/// The exchange of the multi calls to a reference.
pub fn multi_exchange(reference: &str) -> Result<ShortString, SendError> {
    short("the exchange", &format!("multi#{reference}"))
}

/// The queue that keeps the messages to a reference which nobody could deal with.
pub fn dead_letter_queue(reference: &str) -> Result<ShortString, SendError> {
    short("the queue of dead letters", &format!("dead.{reference}"))
}

/// Declares the exchange of the multi calls.
pub async fn declare_multi_exchange(channel: &Channel, reference: &str) -> Result<ShortString, DeclareError> {
    let exchange = multi_exchange(reference)?;
    let options = ExchangeDeclareOptions::default();
    channel.exchange_declare(exchange.clone(), ExchangeKind::Fanout, options, FieldTable::default()).await?;
    Ok(exchange)
}

/// Declares the queue of an object with its exchange, and returns its name.
pub async fn declare_object_queue(channel: &Channel, config: &AmqpConfig, reference: &str) -> Result<ShortString, DeclareError> {
    let queue = short("the reference", reference)?;
    let mut arguments = FieldTable::default();
    let mut options = flags(config.object_queues);
    if config.queue_kind == QueueKind::Quorum {
        options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let dead = dead_letter_queue(reference)?;
        arguments.insert("x-queue-type".into(), text("quorum"));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERIES_MAX.into()));
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        arguments.insert("x-dead-letter-routing-key".into(), text(dead.as_str()));
    }
    channel.queue_declare(queue.clone(), options, arguments).await?;
    if !config.rpc_exchange.is_empty() {
        let exchange = short("omq.rpc_exchange", &config.rpc_exchange)?;
        let options = ExchangeDeclareOptions::default();
        channel.exchange_declare(exchange.clone(), ExchangeKind::Direct, options, FieldTable::default()).await?;
        channel.queue_bind(queue.clone(), exchange, queue.clone(), QueueBindOptions::default(), FieldTable::default()).await?;
    }
    Ok(queue)
}

/// Declares the queue of one follower of a reference, with its exchange, and returns its name.
pub async fn declare_multi_queue(channel: &Channel, config: &AmqpConfig, reference: &str) -> Result<ShortString, DeclareError> {
    let exchange = declare_multi_exchange(channel, reference).await?;
    let (name, options) = match &config.multi_queue {
        Some(name) => (short("omq.multi_queue_name", name)?, flags(config.multi_queues)),
        // A name of the broker's own making: another one after each reconnection.
        None => (ShortString::default(), QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() }),
    };
    let queue = channel.queue_declare(name, options, FieldTable::default()).await?.name().clone();
    channel.queue_bind(queue.clone(), exchange, ShortString::default(), QueueBindOptions::default(), FieldTable::default()).await?;
    Ok(queue)
}

/// Declares the reply queue of this name.
pub async fn declare_reply_queue(channel: &Channel, config: &AmqpConfig, name: &str) -> Result<ShortString, DeclareError> {
    let name = short("the reply queue", name)?;
    let mut arguments = FieldTable::default();
    let options = match config.reply_queue {
        Some(_) => {
            if let Some(lifetime) = config.reply_lifetime {
                let millis = i32::try_from(lifetime.as_millis()).unwrap_or(i32::MAX);
                arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(millis));
            }
            flags(config.reply_queues)
        }
        None => QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() },
    };
    channel.queue_declare(name.clone(), options, arguments).await?;
    Ok(name)
}

/// Declares the queue of the dead letters of a reference: replicated if the queue of the object is, so that nothing depends on one node.
/// The channel may be closed by that. One that was declared otherwise before will do.
pub async fn declare_dead_letter_queue(channel: &Channel, config: &AmqpConfig, reference: &str) -> Result<(), DeclareError> {
    let queue = dead_letter_queue(reference)?;
    let mut arguments = FieldTable::default();
    if config.queue_kind == QueueKind::Quorum {
        arguments.insert("x-queue-type".into(), text("quorum"));
    }
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(DEAD_LETTERS_MAX));
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(DEAD_LETTERS_BYTES_MAX));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(queue, options, arguments).await {
        Err(error) if !is_declared_otherwise(&error) => Err(error.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn is_declared_otherwise(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(said) => matches!(said.kind(), AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED)),
        _ => false,
    }
}

/// A value of a header.
pub fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn flags(flags: QueueFlags) -> QueueDeclareOptions {
    let QueueFlags { durable, exclusive, auto_delete } = flags;
    QueueDeclareOptions { durable, exclusive, auto_delete, ..QueueDeclareOptions::default() }
}

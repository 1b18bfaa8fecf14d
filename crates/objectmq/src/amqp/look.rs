//! A look at queues, without using or changing them: passive declarations, which need no plugin of the broker.

use super::config::AmqpConfig;
use super::link::Link;
use super::properties::short;
use crate::transport::Trouble;
use lapin::ErrorKind;
use lapin::options::QueueDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;

/// What a look at a queue found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueView {
    /// There is none of that name.
    Missing,
    /// There is one.
    There {
        /// Messages that wait for a consumer.
        messages: u32,
        /// Consumers.
        consumers: u32,
    },
    /// The broker does not let us look, and says why.
    Hidden(String),
}

impl AmqpConfig {
    /// Connects, looks at these queues, and goes; the answers are in the order of the names.
    ///
    /// # Errors
    /// If no host lets us in.
    pub async fn look(&self, queues: &[String]) -> Result<Vec<QueueView>, Trouble> {
        let link = Link::connect(self).await?;
        let mut views = Vec::with_capacity(queues.len());
        for queue in queues {
            views.push(look(&link, queue).await?);
        }
        link.close().await;
        Ok(views)
    }
}

async fn look(link: &Link, queue: &str) -> Result<QueueView, Trouble> {
    let lost = |error: &lapin::Error| Trouble::Lost(error.to_string());
    let Ok(name) = short("the queue", queue) else { return Ok(QueueView::Missing) };
    // A channel for each: the broker closes it when there is no such queue.
    let channel = link.throwaway().await.map_err(|error| lost(&error))?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(name, options, FieldTable::default()).await {
        Ok(found) => Ok(QueueView::There { messages: found.message_count(), consumers: found.consumer_count() }),
        Err(error) => match error.kind() {
            ErrorKind::ProtocolError(said) => match said.kind() {
                AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Ok(QueueView::Missing),
                AMQPErrorKind::Soft(_) => Ok(QueueView::Hidden(said.get_message().to_string())),
                AMQPErrorKind::Hard(_) => Err(lost(&error)),
            },
            _ => Err(lost(&error)),
        },
    }
}

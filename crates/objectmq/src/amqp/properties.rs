//! Our messages as AMQP's, property by property.

use super::config::DeliveryMode;
use crate::{Message, MessageType, SendError};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::ShortString;
use std::sync::Arc;

/// A name on the wire: at most 255 bytes.
pub fn short(what: &str, text: &str) -> Result<ShortString, SendError> {
    ShortString::try_new(text).map_err(|_| SendError::Malformed(format!("{what} has {} bytes, more than 255", text.len())))
}

/// The properties of a message that is sent. What it does not have is not set.
pub fn outgoing(message: &Message, delivery_mode: Option<DeliveryMode>) -> Result<BasicProperties, SendError> {
    let mut properties = BasicProperties::default()
        .with_app_id(short("the reference", &message.app_id)?)
        .with_type(short("the type", message.kind.as_str())?);
    if !message.correlation_id.is_empty() {
        properties = properties.with_correlation_id(short("the correlation id", &message.correlation_id)?);
    }
    if let Some(reply_to) = &message.reply_to {
        properties = properties.with_reply_to(short("the reply queue", reply_to)?);
    }
    let is_request = !matches!(message.kind, MessageType::NormalResponse | MessageType::MultiResponse);
    Ok(match delivery_mode.filter(|_| is_request) {
        None => properties,
        Some(DeliveryMode::Transient) => properties.with_delivery_mode(1),
        Some(DeliveryMode::Persistent) => properties.with_delivery_mode(2),
    })
}

/// A message that arrived. What it lacks is empty.
pub fn incoming(delivery: &mut Delivery) -> Message {
    let text = |property: &Option<ShortString>| -> Arc<str> { property.as_ref().map_or("", ShortString::as_str).into() };
    let properties = &delivery.properties;
    let reply_to = text(properties.reply_to());
    Message {
        app_id: text(properties.app_id()),
        correlation_id: text(properties.correlation_id()),
        reply_to: Some(reply_to).filter(|name| !name.is_empty()),
        kind: MessageType::from(properties.kind().as_ref().map_or("", ShortString::as_str)),
        body: std::mem::take(&mut delivery.data).into(),
    }
}

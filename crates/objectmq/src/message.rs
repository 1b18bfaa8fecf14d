//! A message as every transport carries it: the properties of an AMQP message that ObjectMQ uses, and a body.

use bytes::Bytes;
use std::sync::Arc;

/// Longest reference, in bytes.
pub const REFERENCE_BYTES_MAX: usize = 255;
/// Longest correlation id, in bytes.
pub const CORRELATION_ID_BYTES_MAX: usize = 128;
/// Longest body that a transport carries unless it is told otherwise, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A message. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Request: the reference that is called. Response: the reference of the object that answers.
    pub app_id: Arc<str>,
    /// The id of the call; a response has that of its request.
    pub correlation_id: Arc<str>,
    /// Where a response is to be sent; absent if none is wanted.
    pub reply_to: Option<Arc<str>>,
    /// What the body is.
    pub kind: MessageType,
    /// The encoded [`Request`](crate::envelope::Request) or [`Response`](crate::envelope::Response).
    pub body: Bytes,
}

/// The `type` property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// A request encoded as JSON.
    Gson,
    /// A request encoded by Java's own serialization.
    Java,
    /// The response of the one instance that took the request.
    NormalResponse,
    /// A response of one of all instances.
    MultiResponse,
    /// What this version does not know, for example a request in another encoding.
    Other(Arc<str>),
}

impl MessageType {
    /// As it stands in the property.
    pub fn as_str(&self) -> &str {
        match self {
            MessageType::Gson => "gson",
            MessageType::Java => "java",
            MessageType::NormalResponse => "normalResponse",
            MessageType::MultiResponse => "multiResponse",
            MessageType::Other(text) => text,
        }
    }
}

impl From<&str> for MessageType {
    fn from(text: &str) -> MessageType {
        match text {
            "gson" => MessageType::Gson,
            "java" => MessageType::Java,
            "normalResponse" => MessageType::NormalResponse,
            "multiResponse" => MessageType::MultiResponse,
            other => MessageType::Other(other.into()),
        }
    }
}

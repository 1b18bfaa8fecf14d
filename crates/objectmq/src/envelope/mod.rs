//! How a call becomes the body of a message, and back. Which encoding a request has stands in the `type` property of its message,
//! and its response has the same; encodings are chosen per message, so that old and new callers live side by side.
//!
//! Decoding keeps parameters and results as they are ([`RawValue`]): only whoever knows their type decodes them, once. It accepts
//! what the callers of the original send, and nothing in it may panic on, or nest with, what comes from outside.

mod json;

use crate::{MessageType, RawValue, RemoteError};
use serde::Serialize;

/// Most parameters of one call.
pub const PARAMS_MAX: usize = 16;
/// Longest name of a method, in bytes.
pub const METHOD_BYTES_MAX: usize = 256;

/// A call.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Its parameters.
    pub params: Vec<Box<RawValue>>,
    /// The id of the call, if the body has one. Equal to the correlation id of the message when an original caller sends it.
    pub id: Option<String>,
    /// Whether nobody waits for an answer.
    pub asynchronous: bool,
}

/// An answer.
#[derive(Debug)]
pub struct Response<'a> {
    /// The result, or the error of the object. A method without a result has none.
    pub outcome: Result<Option<&'a RawValue>, RemoteError>,
    /// The id of the call.
    pub id: Option<String>,
    /// The reference of the object that answers.
    pub reference: Option<String>,
}

/// Why a body could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// No encoding of this name is known.
    #[error("unknown message type {0:?}")]
    UnknownType(String),
    /// The body is not what it should be.
    #[error("not a {what}: {why}")]
    Malformed {
        /// Request or response.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A value cannot be encoded.
    #[error("cannot be encoded: {0}")]
    Unencodable(String),
}

/// An encoding of requests and responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serializer {
    /// JSON as the original's `gson` encodes it.
    Json,
}

impl Serializer {
    /// The encoding of a request with this `type` property.
    pub fn of_request(kind: &MessageType) -> Result<Serializer, EnvelopeError> {
        match kind {
            MessageType::Gson => Ok(Serializer::Json),
            MessageType::NormalResponse | MessageType::MultiResponse | MessageType::Other(_) => {
                Err(EnvelopeError::UnknownType(kind.as_str().to_owned()))
            }
        }
    }

    /// The `type` property of requests in this encoding.
    pub fn request_type(self) -> MessageType {
        match self {
            Serializer::Json => MessageType::Gson,
        }
    }

    /// Encodes a call with one parameter. A parameter that encodes as `null`, such as `()`, means a call without parameters.
    pub fn encode_request(self, call: &Call<'_>, param: &impl Serialize) -> Result<Vec<u8>, EnvelopeError> {
        match self {
            Serializer::Json => json::encode_request(call, param),
        }
    }

    /// Reads a call.
    pub fn decode_request(self, body: &[u8]) -> Result<Request, EnvelopeError> {
        match self {
            Serializer::Json => json::decode_request(body),
        }
    }

    /// Encodes an answer.
    pub fn encode_response(
        self,
        id: &str,
        reference: &str,
        outcome: Result<&RawValue, &RemoteError>,
    ) -> Result<Vec<u8>, EnvelopeError> {
        match self {
            Serializer::Json => json::encode_response(id, reference, outcome),
        }
    }

    /// Reads an answer.
    pub fn decode_response(self, body: &[u8]) -> Result<Response<'_>, EnvelopeError> {
        match self {
            Serializer::Json => json::decode_response(body),
        }
    }
}

/// What a request says beside its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: &'a str,
    /// The id of the call.
    pub id: &'a str,
    /// Whether an answer is wanted.
    pub answer: Answer,
}

/// Whether an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Somebody waits for it.
    Wanted,
    /// An asynchronous call.
    Unwanted,
}

#[cfg(test)]
mod tests;
